//! The result of a batch: in the engine's memory, or in memory that the caller lends.

use half::f16;
use ndarray::ArrayView3;

use crate::Size;
#[cfg(all(feature = "torch", feature = "cuda"))]
use crate::{Error, Result};

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

#[cfg(all(feature = "torch", feature = "cuda"))]
impl AnomalyMap<'_> {
    /// Copies the result of one batch.
    ///
    /// # Errors
    /// [`Error::Shape`] for memory of another length, or for scores in float16.
    pub(crate) fn copy_to(&self, result: AnomalyMapMut<'_>) -> Result<()> {
        let AnomalyMapMut { score, prediction, non_finite, .. } = result;
        let lengths = (score.len(), prediction.len(), non_finite.len());
        let fits = lengths == (self.score.len(), self.prediction.len(), self.non_finite.len());
        match (score, self.score.as_slice(), self.prediction.as_slice()) {
            (ScoreMut::F32(score), Some(scores), Some(predictions)) if fits => {
                score.copy_from_slice(scores);
                prediction.copy_from_slice(predictions);
                non_finite.copy_from_slice(self.non_finite);
                Ok(())
            }
            _ => Err(Error::Shape {
                what: "memory of the result",
                given: format!("{} scores, {} predictions, {} counts", lengths.0, lengths.1, lengths.2),
                expected: format!("{} scores in float32 and as many predictions", self.score.len()),
            }),
        }
    }
}
