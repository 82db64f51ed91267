//! Stage 1: upsampling, prediction and score of each pixel (SPEC sections 1, 2 and 6).
//!
//! Where the score needs the winner alone (sml, max_logit) and neighbouring pixels of a class lie side by side, the logits are
//! read straight from their memory ([`maxima`](super::maxima)): a run of pixels, all its classes, once.
//!
//! For the winner alone, upsampling rules most classes out ([`upsample`]). All else goes in [`tile`]s.

use pulp::{Simd, WithSimd};

use super::columns::Columns;
use super::element::Element;
use super::maxima::{Maxima, run_of};
use super::moments::Moments;
use super::sampling::Sample;
use super::{tile, upsample};
use crate::logits::{Logits, LogitsData};
use crate::{NonFinite, Score};

/// Scratch memory of one thread.
pub(super) struct Scratch {
    tile: tile::Scratch,
    maxima: Maxima,
    upsample: upsample::Scratch,
}

impl Scratch {
    /// For logits of up to so many classes and columns.
    pub(super) fn new(classes: usize, source_width: usize) -> Self {
        Self {
            tile: tile::Scratch::new(classes, source_width),
            maxima: Maxima::new(),
            upsample: upsample::Scratch::new(classes, source_width),
        }
    }

    /// Forgets what belongs to the image before.
    pub(super) fn forget(&mut self) {
        self.upsample.forget();
    }
}

/// One image of the batch and how its pixels are scored.
#[derive(Clone, Copy)]
pub(super) struct Task<'a> {
    pub logits: Logits<'a>,
    /// Sampling positions of rows and columns; `None` when the logits have the output's size.
    pub upsampling: Option<(&'a [Sample], &'a Columns)>,
    pub score: Score,
    pub non_finite: NonFinite,
    pub moments: Option<&'a Moments>,
}

impl Task<'_> {
    /// What max logits are standardized with to become scores of the winner.
    #[inline(always)]
    pub(super) fn moments(&self) -> &Moments {
        static NEUTRAL: Moments = Moments::NEUTRAL;
        match (self.score, self.moments) {
            (Score::Sml, Some(moments)) => moments,
            _ => &NEUTRAL,
        }
    }

    /// True where the winner alone is needed and neighbouring pixels of a class lie side by side.
    #[inline(always)]
    fn is_read_in_place(&self) -> bool {
        self.upsampling.is_none() && self.logits.strides()[3] == 1 && self.score.is_the_winners()
    }
}

/// Rows of an image from `first` on; tells how many of their pixels have a logit that is not finite.
pub(super) struct Rows<'a> {
    pub task: &'a Task<'a>,
    pub scratch: &'a mut Scratch,
    pub first: usize,
    pub width: usize,
    pub score: &'a mut [f32],
    pub prediction: &'a mut [u8],
}

impl WithSimd for Rows<'_> {
    type Output = u64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> u64 {
        let Self { task, scratch, first, width, score, prediction } = self;
        if task.is_read_in_place() && task.logits.strides()[2] == width {
            // Row follows row without a gap, as if they were one.
            return in_place(simd, task, scratch, first, score, prediction);
        }
        let (mut non_finite, mut done, rows) = (0, 0, score.len() / width);
        while done < rows {
            let (score, prediction) = (&mut score[done * width..], &mut prediction[done * width..]);
            let upsampled =
                task.upsampled_winners(simd, &mut scratch.upsample, first + done, score, prediction);
            if upsampled == 0 {
                let (score, prediction) = (&mut score[..width], &mut prediction[..width]);
                non_finite += row(simd, task, scratch, first + done, score, prediction);
            }
            done += upsampled.max(1);
        }
        non_finite
    }
}

impl Task<'_> {
    /// Scores rows from `y` on where it pays to rule classes out, and tells how many.
    #[inline(always)]
    fn upsampled_winners<S: Simd>(
        &self,
        simd: S,
        scratch: &mut upsample::Scratch,
        y: usize,
        score: &mut [f32],
        prediction: &mut [u8],
    ) -> usize {
        let Some((rows, columns)) = self.upsampling else { return 0 };
        if !self.score.is_the_winners() || columns.width() < self.logits.shape().size.width {
            return 0;
        }
        let rows = &rows[y..][..score.len() / columns.width()];
        upsample::rows(simd, self, scratch, rows, columns, score, prediction)
    }
}

/// Scores output row `y`: writes the score (official sign) and prediction of each pixel, returns how many pixels
/// have a logit that is not finite.
#[inline(always)]
fn row<S: Simd>(
    simd: S,
    task: &Task<'_>,
    scratch: &mut Scratch,
    y: usize,
    score: &mut [f32],
    prediction: &mut [u8],
) -> u64 {
    if let Some((rows, _)) = task.upsampling {
        scratch.tile.interpolate_rows(task, rows[y]);
    }
    if task.is_read_in_place() {
        return in_place(simd, task, scratch, y, score, prediction);
    }
    tile::tiles(simd, task, &mut scratch.tile, y, 0, score, prediction)
}

/// Scores a row, or several that lie one behind the other, from logits that are read where they lie.
#[inline(always)]
fn in_place<S: Simd>(
    simd: S,
    task: &Task<'_>,
    scratch: &mut Scratch,
    y: usize,
    score: &mut [f32],
    prediction: &mut [u8],
) -> u64 {
    match task.logits.data() {
        LogitsData::F32(data) => runs(simd, data, task, scratch, y, score, prediction),
        LogitsData::F16(data) => runs(simd, data, task, scratch, y, score, prediction),
        LogitsData::BF16(data) => runs(simd, data, task, scratch, y, score, prediction),
    }
}

/// Scores pixels from the beginning of row `y` on, run by run.
#[inline(always)]
fn runs<T: Element, S: Simd>(
    simd: S,
    data: &[T],
    task: &Task<'_>,
    scratch: &mut Scratch,
    y: usize,
    score: &mut [f32],
    prediction: &mut [u8],
) -> u64 {
    let [_, class_stride, row_stride, _] = task.logits.strides();
    let classes = task.logits.shape().classes;
    let (mut non_finite, run) = (0, run_of::<T>());
    for (i, (score, prediction)) in score.chunks_mut(run).zip(prediction.chunks_mut(run)).enumerate() {
        let (start, length) = (y * row_stride + i * run, score.len());
        let plane = |class: usize| &data[class * class_stride + start..][..length];
        if T::maxima(simd, &mut scratch.maxima, classes, plane, score, prediction) {
            standardize_winners(task, score, prediction);
        } else {
            non_finite += tile::tiles(simd, task, &mut scratch.tile, y, i * run, score, prediction);
        }
    }
    non_finite
}

/// Turns max logits into scores of the winner.
#[inline(always)]
pub(super) fn standardize_winners(task: &Task<'_>, score: &mut [f32], prediction: &[u8]) {
    if let (Score::Sml, Some(moments)) = (task.score, task.moments) {
        moments.standardize(score, prediction);
    }
}
