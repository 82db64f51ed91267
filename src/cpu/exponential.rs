//! `exp` for float32 that the compiler can vectorize: the scores based on the softmax need one a logit.
//!
//! Range reduction to `2^n * e^r` with `|r| <= ln(2) / 2` and a polynomial for `e^r` (its Taylor series to degree 7,
//! whose remainder is below 1e-8 there). No fused multiply-add, no table, no library call: the result does not
//! depend on the processor.

/// `ln 2` in two parts: the first has so few bits that its product with `n` is exact.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;

/// Adding and subtracting it rounds to the nearest integer, which is then found in the low bits.
const ROUNDER: f32 = 12_582_912.0;

/// Below this the result is 0: `e^x` would leave the range of normal numbers.
const SMALLEST: f32 = -87.0;

/// `e^x` for `x <= 0` (and a little above), with a relative error below 2e-7; 0 below -87; NaN for NaN.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    let clamped = if x < SMALLEST { SMALLEST } else { x };
    let shifted = clamped * std::f32::consts::LOG2_E + ROUNDER;
    let n = shifted - ROUNDER;
    let r = (clamped - n * LN_2_HIGH) - n * LN_2_LOW;
    let mut sum = 1.0 / 5040.0;
    for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        sum = sum * r + coefficient;
    }
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0_f32.to_bits()));
    if x < SMALLEST { 0.0 } else { sum * power }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_float64() {
        let mut worst = 0.0_f64;
        for i in 0..=870_000 {
            let x = -(i as f32) * 1e-4;
            let want = f64::from(x).exp();
            worst = worst.max((f64::from(exp(x)) - want).abs() / want);
        }
        assert!(worst < 2e-7, "relative error {worst}");
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert!(exp(f32::NAN).is_nan());
    }
}
