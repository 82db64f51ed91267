//! The result of a batch: in the engine's memory, or in memory that the caller lends.

use half::f16;
use ndarray::ArrayView3;

use crate::Size;

/// Memory for anomaly scores, N x H x W.
#[derive(Debug)]
pub enum ScoreMut<'a> {
    /// float32.
    F32(&'a mut [f32]),
    /// float16: the float32 result, rounded.
    F16(&'a mut [f16]),
}

impl ScoreMut<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::F32(score) => score.len(),
            Self::F16(score) => score.len(),
        }
    }
}

/// Memory that the caller owns, for the result of one batch.
#[derive(Debug)]
pub struct AnomalyMapMut<'a> {
    /// Rows and columns of the result.
    pub size: Size,
    /// Anomaly scores, N x H x W: higher is more anomalous.
    pub score: ScoreMut<'a>,
    /// Predicted classes, N x H x W.
    pub prediction: &'a mut [u8],
    /// Pixels of each image with a logit that is not finite, N.
    pub non_finite: &'a mut [u64],
}

/// The result of one batch, in the engine's own memory until the next call.
#[derive(Clone, Copy, Debug)]
pub struct AnomalyMap<'a> {
    /// Anomaly scores, N x H x W: higher is more anomalous.
    pub score: ArrayView3<'a, f32>,
    /// Predicted classes, N x H x W.
    pub prediction: ArrayView3<'a, u8>,
    /// Pixels of each image with a logit that is not finite, N.
    pub non_finite: &'a [u64],
}
