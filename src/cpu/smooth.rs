//! Stage 3: dilated Gaussian smoothing (paper section 3.4, SPEC section 5).
//!
//! The Gaussian is separable. For each output row the vertical pass combines as many input rows as there are taps into a
//! row buffer, which is padded with its outermost values on both sides; the horizontal pass then combines shifted
//! views of that buffer. Both are sums in the order of the taps, without fused multiply-add, so that the result is
//! the same whatever the vector width, lane or thread.
//!
//! A lane is smoothed in place: the rows behind the one at work are kept as they were, and so were those of the lanes beside it
//! ([`Edges`](super::edges::Edges)).

use half::f16;
use pulp::NullaryFnOnce;

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

/// A lane's rows, smoothed and negated: the official score becomes the anomaly score.
pub(super) struct Lane<'a> {
    pub taps: &'a Taps,
    pub width: usize,
    /// Rows of the image, and the lane's first among them.
    pub height: usize,
    pub first: usize,
    /// The rows above and below it as they were before the stage, as many as the reach; none beyond the image.
    pub above: &'a [f32],
    pub below: &'a [f32],
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

impl NullaryFnOnce for Lane<'_> {
    type Output = ();

    #[inline(always)]
    fn call(mut self) {
        let width = self.width;
        for i in 0..self.score.len() / width {
            self.blur_columns(i);
            let Self { taps, scratch, score, narrow, first, .. } = &mut self;
            let Scratch { behind, padded, smoothed } = &mut **scratch;
            let smoothed = &mut smoothed[..width];
            blur_row(taps, &mut padded[..width + 2 * taps.reach()], smoothed);
            let own = &mut score[i * width..][..width];
            match narrow {
                Some(narrow) => {
                    let out = &mut narrow[i * width..][..width];
                    // The conversion without intrinsics rounds the same on every processor.
                    out.iter_mut().zip(smoothed).for_each(|(out, v)| *out = f16::from_f32_const(-*v));
                }
                None => {
                    behind.row_mut(*first + i, width).copy_from_slice(own);
                    own.iter_mut().zip(smoothed).for_each(|(out, v)| *out = -*v);
                }
            }
        }
    }
}

impl Lane<'_> {
    /// Vertical pass for the lane's row `i`, into the middle of `padded`.
    #[inline(always)]
    fn blur_columns(&mut self, i: usize) {
        let Self { taps, width, height, first, above, below, scratch, score, narrow } = self;
        let (width, first, reach) = (*width, *first, taps.reach());
        let Scratch { behind, padded, .. } = &mut **scratch;
        let (y, end) = (first + i, first + score.len() / width);
        let centre = &mut padded[reach..reach + width];
        for (tap, &weight) in taps.weights.iter().enumerate() {
            let near = (y + tap * taps.dilation).saturating_sub(reach).min(*height - 1);
            let row = if near < first {
                &above[above.len() - (first - near) * width..][..width]
            } else if near < y && narrow.is_none() {
                behind.row(near, width)
            } else if near < end {
                &score[(near - first) * width..][..width]
            } else {
                &below[(near - end) * width..][..width]
            };
            accumulate(row, weight, tap == 0, centre);
        }
    }
}

/// Horizontal pass over the row in the middle of `padded`.
#[inline(always)]
fn blur_row(taps: &Taps, padded: &mut [f32], out: &mut [f32]) {
    let (reach, width) = (taps.reach(), out.len());
    let (left, right) = (padded[reach], padded[reach + width - 1]);
    padded[..reach].fill(left);
    padded[reach + width..].fill(right);
    for (tap, &weight) in taps.weights.iter().enumerate() {
        accumulate(&padded[tap * taps.dilation..][..width], weight, tap == 0, out);
    }
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

/// `out = weight * values` for the first tap, `out += weight * values` for the others.
#[inline(always)]
fn accumulate(values: &[f32], weight: f32, first: bool, out: &mut [f32]) {
    if first {
        out.iter_mut().zip(values).for_each(|(out, value)| *out = weight * value);
    } else {
        out.iter_mut().zip(values).for_each(|(out, value)| *out += weight * value);
    }
}
