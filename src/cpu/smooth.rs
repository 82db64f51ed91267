//! Stage 3: dilated Gaussian smoothing (paper section 3.4, SPEC section 5).
//!
//! The Gaussian is separable. For each output row the vertical pass combines as many input rows as there are taps into a
//! row buffer, which is padded with its outermost values on both sides; the horizontal pass then combines shifted
//! views of that buffer. Both are sums in the order of the taps, without fused multiply-add, so that the result is
//! the same whatever the vector width, lane or thread.
//!
//! A lane is smoothed in place: the rows behind the one at work are kept as they were, and so were those of the lanes beside it
//! ([`Edges`](super::edges::Edges)).

use std::ops::Range;

use half::f16;
use pulp::{NullaryFnOnce, Simd, WithSimd};

use super::rolling::Rolling;

/// Weights and spacing of the taps in one direction.
#[derive(Clone, Debug)]
pub(super) struct Taps {
    pub weights: Vec<f32>,
    pub dilation: usize,
}

impl Taps {
    /// Pixels between the centre and the outermost tap.
    pub(super) fn reach(&self) -> usize {
        self.weights.len() / 2 * self.dilation
    }
}

/// Rows, smoothed and negated: the official score becomes the anomaly score. What has been begun goes on where it ended, as far as
/// `until` says; the scratch memory is the same all the way.
pub(super) struct Lane<'a> {
    pub taps: &'a Taps,
    pub width: usize,
    /// Rows of the image, and the lane's first among them.
    pub height: usize,
    pub first: usize,
    /// The rows above and below it as they were before the stage, as many as the reach; none beyond the image.
    pub above: &'a [f32],
    pub below: &'a [f32],
    /// Image rows that are smoothed now: those before have been, and what is below them within the reach is ready.
    pub rows: Range<usize>,
    pub scratch: &'a mut Scratch,
    /// Where the result goes, unless `narrow` is given.
    pub score: &'a mut [f32],
    pub narrow: Option<&'a mut [f16]>,
}

/// Scratch memory of one lane.
pub(super) struct Scratch {
    /// The rows behind the one at work, as they were.
    behind: Rolling<f32>,
    /// One row and the reach on both sides.
    padded: Vec<f32>,
    /// One smoothed row.
    smoothed: Vec<f32>,
}

impl Scratch {
    pub(super) fn new(taps: &Taps, width: usize) -> Self {
        Self {
            behind: Rolling::new(taps.reach().max(1), width),
            padded: vec![0.0; width + 2 * taps.reach()],
            smoothed: vec![0.0; width],
        }
    }
}

impl WithSimd for Lane<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let width = self.width;
        for y in self.rows.clone() {
            self.blur_columns(simd, y);
            let Self { taps, scratch, score, narrow, first, .. } = &mut self;
            let Scratch { behind, padded, smoothed } = &mut **scratch;
            let (padded, at) = (&mut padded[..width + 2 * taps.reach()], (y - *first) * width);
            match narrow {
                Some(narrow) => {
                    let (out, smoothed) = (&mut narrow[at..][..width], &mut smoothed[..width]);
                    blur_row(simd, taps, padded, smoothed);
                    // The conversion without intrinsics rounds the same on every processor.
                    out.iter_mut().zip(smoothed).for_each(|(out, v)| *out = f16::from_f32_const(*v));
                }
                None => {
                    let own = &mut score[at..][..width];
                    behind.row_mut(y, width).copy_from_slice(own);
                    blur_row(simd, taps, padded, own);
                }
            }
        }
    }
}

impl Lane<'_> {
    /// Vertical pass for row `y`, into the middle of `padded`.
    #[inline(always)]
    fn blur_columns<S: Simd>(&mut self, simd: S, y: usize) {
        let Self { taps, width, height, first, above, below, scratch, score, narrow, .. } = self;
        let (width, first, reach, height) = (*width, *first, taps.reach(), *height);
        let Scratch { behind, padded, .. } = &mut **scratch;
        let end = first + score.len() / width;
        let row = |tap: usize| {
            let near = (y + tap * taps.dilation).saturating_sub(reach).min(height - 1);
            if near < first {
                &above[above.len() - (first - near) * width..][..width]
            } else if near < y && narrow.is_none() {
                behind.row(near, width)
            } else if near < end {
                &score[(near - first) * width..][..width]
            } else {
                &below[(near - end) * width..][..width]
            }
        };
        weighted_sum(simd, &taps.weights, row, false, &mut padded[reach..reach + width]);
    }
}

/// Horizontal pass over the row in the middle of `padded`, and the negation.
#[inline(always)]
fn blur_row<S: Simd>(simd: S, taps: &Taps, padded: &mut [f32], out: &mut [f32]) {
    let (reach, width) = (taps.reach(), out.len());
    let (left, right) = (padded[reach], padded[reach + width - 1]);
    padded[..reach].fill(left);
    padded[reach + width..].fill(right);
    weighted_sum(simd, &taps.weights, |tap| &padded[tap * taps.dilation..][..width], true, out);
}

/// A lane's scores, negated: what is left of the stage where smoothing is off.
pub(super) struct Negation<'a> {
    pub score: &'a mut [f32],
    /// Where the result goes, if it is given.
    pub narrow: Option<&'a mut [f16]>,
}

impl NullaryFnOnce for Negation<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        match self.narrow {
            Some(out) => {
                out.iter_mut().zip(self.score).for_each(|(out, v)| *out = f16::from_f32_const(-*v));
            }
            None => self.score.iter_mut().for_each(|v| *v = -*v),
        }
    }
}

/// The sum of the taps' values, each times its weight, in the order of the taps; negated where asked. Seven taps pass at once, so that
/// the usual kernel's sums never leave the registers.
#[inline(always)]
fn weighted_sum<'a, S: Simd>(
    simd: S,
    weights: &[f32],
    values: impl Fn(usize) -> &'a [f32],
    negates: bool,
    out: &mut [f32],
) {
    let mut next = 0;
    while next < weights.len() {
        let together = (weights.len() - next).min(7);
        let pass = Pass { next, negates: negates && next + together == weights.len() };
        match together {
            7 => pass.add::<S, 7>(simd, weights, &values, out),
            6 => pass.add::<S, 6>(simd, weights, &values, out),
            5 => pass.add::<S, 5>(simd, weights, &values, out),
            4 => pass.add::<S, 4>(simd, weights, &values, out),
            3 => pass.add::<S, 3>(simd, weights, &values, out),
            2 => pass.add::<S, 2>(simd, weights, &values, out),
            _ => pass.add::<S, 1>(simd, weights, &values, out),
        }
        next += together;
    }
}

/// Some of the taps.
#[derive(Clone, Copy)]
struct Pass {
    /// The first of them: that of all begins the sums.
    next: usize,
    negates: bool,
}

impl Pass {
    #[inline(always)]
    fn add<'a, S: Simd, const N: usize>(
        self,
        simd: S,
        weights: &[f32],
        values: impl Fn(usize) -> &'a [f32],
        out: &mut [f32],
    ) {
        let length = out.len();
        let weights: [f32; N] = std::array::from_fn(|i| weights[self.next + i]);
        let values: [&[f32]; N] = std::array::from_fn(|i| &values(self.next + i)[..length]);
        let (outs, out_tail) = S::as_mut_simd_f32s(out);
        let (vectors, tail) = (outs.len(), length - out_tail.len());
        let splats: [S::f32s; N] = std::array::from_fn(|i| simd.splat_f32s(weights[i]));
        let runs: [&[S::f32s]; N] = std::array::from_fn(|i| &S::as_simd_f32s(values[i]).0[..vectors]);
        for i in 0..vectors {
            let first = simd.mul_f32s(splats[0], runs[0][i]);
            let mut sum = if self.next == 0 { first } else { simd.add_f32s(outs[i], first) };
            for tap in 1..N {
                sum = simd.add_f32s(sum, simd.mul_f32s(splats[tap], runs[tap][i]));
            }
            outs[i] = if self.negates { simd.neg_f32s(sum) } else { sum };
        }
        for (i, out) in out_tail.iter_mut().enumerate() {
            let first = weights[0] * values[0][tail + i];
            let mut sum = if self.next == 0 { first } else { *out + first };
            for tap in 1..N {
                sum += weights[tap] * values[tap][tail + i];
            }
            *out = if self.negates { -sum } else { sum };
        }
    }
}
