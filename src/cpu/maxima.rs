//! Max logit and predicted class of a run of pixels whose logits are read where they lie.
//!
//! A run is short enough for its running maxima to stay near the processor while the classes pass by, and long enough
//! for the memory's prefetchers to follow each class; several classes pass at once, so that the maxima are read and written
//! less often. float16 and bfloat16 are compared as integers of the same order, twice as many to a vector as float32.
//! Vectors are spelled out: whether the compiler finds them in plain loops changes with the number of classes that pass.
//!
//! A logit that is not finite makes the run fail: it is then done again pixel by pixel, by rules that know NaN.

use half::{bf16, f16};
use pulp::Simd;

use super::prefetch;

/// Bytes of a run of one class.
const RUN: usize = 32768;

/// Pixels of a run.
pub(super) const fn run_of<T>() -> usize {
    RUN / size_of::<T>()
}

/// Classes that pass at once.
const TOGETHER: usize = 6;

/// Running maxima of one run.
pub(super) struct Maxima {
    class: Vec<u32>,
    key: Vec<i16>,
    key_class: Vec<u16>,
}

impl Maxima {
    pub fn new() -> Self {
        Self {
            class: vec![0; run_of::<f32>()],
            key: vec![0; run_of::<u16>()],
            key_class: vec![0; run_of::<u16>()],
        }
    }
}

/// A stored logit whose runs have maxima.
pub(super) trait Element: Copy + Send + Sync {
    /// Max logit and class of each pixel of a run of up to [`run_of`] pixels. `plane` gives the run of a class. False when a
    /// logit is not finite; the results mean nothing then.
    fn maxima<'a, S: Simd>(
        simd: S,
        scratch: &mut Maxima,
        classes: usize,
        plane: impl Fn(usize) -> &'a [Self],
        value: &mut [f32],
        class: &mut [u8],
    ) -> bool
    where
        Self: 'a;
}

impl Element for f32 {
    #[inline(always)]
    fn maxima<'a, S: Simd>(
        simd: S,
        scratch: &mut Maxima,
        classes: usize,
        plane: impl Fn(usize) -> &'a [Self],
        value: &mut [f32],
        class: &mut [u8],
    ) -> bool {
        let winners = &mut scratch.class[..value.len()];
        let finite = of_floats(simd, winners, classes, plane, value);
        class.iter_mut().zip(winners).for_each(|(class, winner)| *class = *winner as u8);
        finite
    }
}

/// As [`Element::maxima`] for float32, with the classes as wide as the logits.
#[inline(always)]
pub(super) fn of_floats<'a, S: Simd>(
    simd: S,
    winners: &mut [u32],
    classes: usize,
    plane: impl Fn(usize) -> &'a [f32],
    value: &mut [f32],
) -> bool {
    let (mut finite, mut next) = (true, 0);
    while next < classes {
        // One more at first: 19 classes, the usual number, leave no rest.
        let most = if next == 0 { TOGETHER + 1 } else { TOGETHER };
        let together = (classes - next).min(most);
        let first = next as u32;
        finite &= match together {
            7 => pass::<S, 7>(simd, std::array::from_fn(|i| plane(next + i)), first, value, winners),
            6 => pass::<S, 6>(simd, std::array::from_fn(|i| plane(next + i)), first, value, winners),
            5 => pass::<S, 5>(simd, std::array::from_fn(|i| plane(next + i)), first, value, winners),
            4 => pass::<S, 4>(simd, std::array::from_fn(|i| plane(next + i)), first, value, winners),
            3 => pass::<S, 3>(simd, std::array::from_fn(|i| plane(next + i)), first, value, winners),
            2 => pass::<S, 2>(simd, std::array::from_fn(|i| plane(next + i)), first, value, winners),
            _ => pass::<S, 1>(simd, [plane(next)], first, value, winners),
        };
        next += together;
    }
    finite
}

/// Lets the runs of `N` classes, the first of them `first`, pass by the maxima; class 0 begins them. False when a logit is not
/// finite.
#[inline(always)]
fn pass<S: Simd, const N: usize>(
    simd: S,
    planes: [&[f32]; N],
    first: u32,
    value: &mut [f32],
    winners: &mut [u32],
) -> bool {
    if first == 0 {
        maxima_of::<S, N, true>(simd, planes, first, value, winners)
    } else {
        maxima_of::<S, N, false>(simd, planes, first, value, winners)
    }
}

#[inline(always)]
fn maxima_of<S: Simd, const N: usize, const BEGINS: bool>(
    simd: S,
    planes: [&[f32]; N],
    first: u32,
    value: &mut [f32],
    winners: &mut [u32],
) -> bool {
    let length = value.len();
    let (values, value_tail) = S::as_mut_simd_f32s(value);
    let (winners, winner_tail) = S::as_mut_simd_u32s(&mut winners[..length]);
    let (vectors, tail) = (values.len(), length - value_tail.len());
    let winners = &mut winners[..vectors];
    let runs = planes.map(|plane| &S::as_simd_f32s(&plane[..length]).0[..vectors]);
    let names: [S::u32s; N] = std::array::from_fn(|offset| simd.splat_u32s(first + offset as u32));
    let (lowest, nobody) = (simd.splat_f32s(f32::NEG_INFINITY), simd.splat_u32s(0));
    // A sum of products with zero: it stays zero until a factor is not finite.
    let zero = simd.splat_f32s(0.0);
    let mut broken = zero;
    for i in 0..vectors {
        let (mut best, mut winner) = if BEGINS { (lowest, nobody) } else { (values[i], winners[i]) };
        for ((run, name), plane) in runs.iter().zip(names).zip(planes) {
            prefetch::ahead(plane, i * S::F32_LANES);
            let candidate = run[i];
            broken = simd.mul_add_e_f32s(candidate, zero, broken);
            let wins = simd.greater_than_f32s(candidate, best);
            winner = simd.select_u32s(wins, name, winner);
            best = simd.select_f32s(wins, candidate, best);
        }
        (values[i], winners[i]) = (best, winner);
    }
    let mut broken = simd.reduce_sum_f32s(broken);
    for (i, (best, winner)) in value_tail.iter_mut().zip(winner_tail).enumerate() {
        if BEGINS {
            (*best, *winner) = (f32::NEG_INFINITY, 0);
        }
        for (offset, plane) in planes.iter().enumerate() {
            let candidate = plane[tail + i];
            broken += candidate * 0.0;
            if candidate > *best {
                (*best, *winner) = (candidate, first + offset as u32);
            }
        }
    }
    broken == 0.0
}

/// Defines the maxima of a 16-bit float: its type, the bits of its infinity, and how its bits widen to float32.
macro_rules! narrow_element {
    ($float:ty, $infinity:literal, $widen:expr) => {
        impl Element for $float {
            #[inline(always)]
            fn maxima<'a, S: Simd>(
                _simd: S,
                scratch: &mut Maxima,
                classes: usize,
                plane: impl Fn(usize) -> &'a [Self],
                value: &mut [f32],
                class: &mut [u8],
            ) -> bool {
                let bits = |c| bytemuck::cast_slice(plane(c));
                if !narrow_maxima(scratch, classes, bits, $infinity, class) {
                    return false;
                }
                for (value, &key) in value.iter_mut().zip(&scratch.key) {
                    *value = $widen(bits_of(key));
                }
                restore_zeros(value, class, |c, i| plane(c)[i].to_f32_const());
                true
            }
        }
    };
}
narrow_element!(f16, 0x7c00, super::element::f32_from_half_bits);
narrow_element!(bf16, 0x7f80, |bits| f32::from_bits(u32::from(bits) << 16));

/// The integer that is ordered as the float with these bits: its magnitude, negated for the sign. Both zeros are 0.
#[inline(always)]
fn key_of(bits: u16) -> i16 {
    let sign = bits as i16 >> 15;
    ((bits & 0x7fff) as i16 ^ sign).wrapping_sub(sign)
}

/// The float's bits again, but for the sign of zero.
#[inline(always)]
fn bits_of(key: i16) -> u16 {
    (key as u16 & 0x8000) | key.unsigned_abs()
}

/// A maximum of zero gets its sign back.
#[inline(always)]
fn restore_zeros(value: &mut [f32], class: &[u8], logit: impl Fn(usize, usize) -> f32) {
    let zeros: u32 = value.iter().map(|value| u32::from(*value == 0.0)).sum();
    if zeros > 0 {
        for (i, (value, class)) in value.iter_mut().zip(class).enumerate() {
            if *value == 0.0 {
                *value = logit(usize::from(*class), i);
            }
        }
    }
}

/// Keys of the maxima, and the classes, of 16-bit floats of which `infinity` and more are not finite.
#[inline(always)]
fn narrow_maxima<'a>(
    scratch: &mut Maxima,
    classes: usize,
    plane: impl Fn(usize) -> &'a [u16],
    infinity: u16,
    class: &mut [u8],
) -> bool {
    let length = class.len();
    let (keys, winners) = (&mut scratch.key[..length], &mut scratch.key_class[..length]);
    // Lower than every key.
    keys.fill(i16::MIN);
    winners.fill(0);
    let (mut magnitude, mut next) = (0, 0);
    while next < classes {
        let together = (classes - next).min(if next == 0 { TOGETHER + 1 } else { TOGETHER });
        let first = next as u16;
        magnitude = magnitude.max(match together {
            7 => pass_narrow::<7>(std::array::from_fn(|i| plane(next + i)), first, keys, winners),
            6 => pass_narrow::<6>(std::array::from_fn(|i| plane(next + i)), first, keys, winners),
            5 => pass_narrow::<5>(std::array::from_fn(|i| plane(next + i)), first, keys, winners),
            4 => pass_narrow::<4>(std::array::from_fn(|i| plane(next + i)), first, keys, winners),
            3 => pass_narrow::<3>(std::array::from_fn(|i| plane(next + i)), first, keys, winners),
            2 => pass_narrow::<2>(std::array::from_fn(|i| plane(next + i)), first, keys, winners),
            _ => pass_narrow([plane(next)], first, keys, winners),
        });
        next += together;
    }
    class.iter_mut().zip(winners).for_each(|(class, winner)| *class = *winner as u8);
    magnitude < infinity
}

/// As [`pass`], for 16-bit floats. Returns the bits of the largest magnitude.
#[inline(always)]
fn pass_narrow<const N: usize>(
    planes: [&[u16]; N],
    first: u16,
    keys: &mut [i16],
    winners: &mut [u16],
) -> u16 {
    let length = keys.len();
    let winners = &mut winners[..length];
    let planes = planes.map(|plane| &plane[..length]);
    let mut magnitude = 0;
    for i in 0..length {
        let (mut best, mut winner) = (keys[i], winners[i]);
        for (offset, plane) in planes.iter().enumerate() {
            let bits = plane[i];
            magnitude = magnitude.max(bits & 0x7fff);
            let candidate = key_of(bits);
            let wins = candidate > best;
            winner = if wins { first + offset as u16 } else { winner };
            best = if wins { candidate } else { best };
        }
        (keys[i], winners[i]) = (best, winner);
    }
    magnitude
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_ordered_as_the_floats_and_give_them_back() {
        let finite: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).filter(|v| v.is_finite()).collect();
        for pair in finite.windows(2) {
            let keys = [key_of(pair[0].to_bits()), key_of(pair[1].to_bits())];
            assert_eq!(keys[0].cmp(&keys[1]), pair[0].partial_cmp(&pair[1]).unwrap(), "{pair:?}");
        }
        for value in finite {
            assert!(f16::from_bits(bits_of(key_of(value.to_bits()))) == value, "{value}");
        }
    }
}
