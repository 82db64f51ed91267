//! Element types of logits, widened to float32 without intrinsics: the same bits on every processor.

use half::{bf16, f16};

use super::maxima;

/// Conversion of one stored logit.
pub(super) trait Element: maxima::Element {
    fn to_f32(self) -> f32;

    /// The same elements, where they are float32 already.
    fn as_f32(_elements: &[Self]) -> Option<&[f32]> {
        None
    }
}

impl Element for f32 {
    #[inline(always)]
    fn to_f32(self) -> f32 {
        self
    }

    #[inline(always)]
    fn as_f32(elements: &[Self]) -> Option<&[f32]> {
        Some(elements)
    }
}

impl Element for f16 {
    #[inline(always)]
    fn to_f32(self) -> f32 {
        f32_from_half_bits(self.to_bits())
    }
}

impl Element for bf16 {
    #[inline(always)]
    fn to_f32(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }
}

/// float16 to float32 without branches, so that it vectorizes: the exponent is rebiased by a multiplication, which
/// also makes subnormals right; infinities and NaN get their exponent filled up.
#[inline(always)]
pub(super) fn f32_from_half_bits(bits: u16) -> f32 {
    let (sign, magnitude) = (u32::from(bits & 0x8000) << 16, u32::from(bits & 0x7fff));
    let rebiased = (f32::from_bits(magnitude << 13) * f32::from_bits((254 - 15) << 23)).to_bits();
    let exponent = if magnitude >= 0x7c00 { 0x7f80_0000 } else { 0 };
    f32::from_bits(rebiased | exponent | sign)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_conversion_is_exact() {
        for bits in 0..=u16::MAX {
            let (got, want) = (f32_from_half_bits(bits), f16::from_bits(bits).to_f32_const());
            assert!(got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan(), "{bits:#06x}");
        }
    }
}
