//! Stage 3: dilated Gaussian smoothing (paper section 3.4, SPEC section 5).
//!
//! The Gaussian is separable. For each output row the vertical pass combines as many input rows as there are taps into a
//! row buffer, which is padded with its outermost values on both sides; the horizontal pass then combines shifted
//! views of that buffer. Both are sums in the order of the taps, without fused multiply-add, so that the result is
//! the same whatever the vector width, band or thread.

use half::f16;
use pulp::NullaryFnOnce;

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

/// Rows of an image from `first` on, smoothed and negated into `out`.
pub(super) struct Rows<'a, T> {
    pub score: &'a [f32],
    pub width: usize,
    pub first: usize,
    pub taps: &'a Taps,
    /// One row and the reach on both sides.
    pub padded: &'a mut [f32],
    /// One row.
    pub smoothed: &'a mut [f32],
    pub out: &'a mut [T],
}

impl<T: ScoreElement> NullaryFnOnce for Rows<'_, T> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { score, width, first, taps, padded, smoothed, out } = self;
        let smoothed = &mut smoothed[..width];
        for (i, out) in out.chunks_exact_mut(width).enumerate() {
            row(score, width, first + i, taps, padded, smoothed);
            for (out, score) in out.iter_mut().zip(&*smoothed) {
                *out = T::from_f32(-score);
            }
        }
    }
}

/// Element type of the result.
pub(super) trait ScoreElement: Send {
    fn from_f32(value: f32) -> Self;
}

impl ScoreElement for f32 {
    #[inline(always)]
    fn from_f32(value: f32) -> Self {
        value
    }
}

impl ScoreElement for f16 {
    #[inline(always)]
    fn from_f32(value: f32) -> Self {
        // The conversion without intrinsics rounds the same on every processor.
        Self::from_f32_const(value)
    }
}

/// Smooths image row `y` of `score` into `out`. `padded` holds at least `width + 2 * reach` values.
#[inline(always)]
fn row(score: &[f32], width: usize, y: usize, taps: &Taps, padded: &mut [f32], out: &mut [f32]) {
    let height = score.len() / width;
    let reach = taps.reach();
    let padded = &mut padded[..width + 2 * reach];
    let centre = &mut padded[reach..reach + width];
    for (tap, &weight) in taps.weights.iter().enumerate() {
        let near = (y + tap * taps.dilation).saturating_sub(reach).min(height - 1);
        accumulate(&score[near * width..][..width], weight, tap == 0, centre);
    }
    let (left, right) = (centre[0], centre[width - 1]);
    padded[..reach].fill(left);
    padded[reach + width..].fill(right);
    for (tap, &weight) in taps.weights.iter().enumerate() {
        accumulate(&padded[tap * taps.dilation..][..width], weight, tap == 0, out);
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
