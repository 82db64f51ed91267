//! Class statistics of logits that lie on a GPU, without bringing a map to the host.
//!
//! The engine writes max logits and predictions into tensors of its own, the accumulator sums them up on the same stream behind
//! it, and some hundred bytes come back for each batch. The sums of a batch do not depend on the batches before, so that a
//! measurement that is broken off and resumed ends in the same bits.
#![allow(unsafe_code)]

use tch::Tensor;

use super::current_stream;
use crate::cuda::CudaStatisticsAccumulator;
use crate::{
    Capacity, Device, Engine, Error, LogitsShape, NonFinite, Params, Result, Score, Size,
    StatisticsAccumulator,
};

/// Measures max logits by predicted class on one GPU.
pub struct DeviceStatistics {
    ordinal: usize,
    classes: usize,
    params: Params,
    accumulator: CudaStatisticsAccumulator,
    /// Built again when a batch exceeds it.
    engine: Option<Engine>,
}

impl DeviceStatistics {
    /// For logits of `classes` classes on `cuda:ordinal`, upsampled on the grid that `align_corners` says.
    ///
    /// # Errors
    /// As [`CudaStatisticsAccumulator::new`].
    pub fn new(ordinal: usize, classes: usize, align_corners: bool) -> Result<Self> {
        let params = Params {
            score: Score::MaxLogit,
            suppression: None,
            smoothing: None,
            // A score put in the place of a broken pixel is no max logit: it must not be measured.
            non_finite: NonFinite::Propagate,
            align_corners,
            ..Params::default()
        };
        let accumulator = CudaStatisticsAccumulator::new(ordinal, classes)?;
        Ok(Self { ordinal, classes, params, accumulator, engine: None })
    }

    /// The sums over a batch of logits N x C x h x w on the GPU, upsampled to `size`. Waits for them.
    ///
    /// # Errors
    /// [`Error::Shape`] for another rank or number of classes; as [`Engine::new`], [`Engine::submit_tensor`] and
    /// [`CudaStatisticsAccumulator::add`].
    pub fn measure(&mut self, logits: &Tensor, size: Size) -> Result<StatisticsAccumulator> {
        let dimensions: Vec<usize> = logits.size().iter().map(|&n| n as usize).collect();
        let shape = match dimensions[..] {
            [batch, classes, height, width] if classes == self.classes => {
                LogitsShape::new(batch, classes, height, width)?
            }
            _ => {
                return Err(Error::Shape {
                    what: "logits tensor",
                    given: format!("{dimensions:?}"),
                    expected: format!("4 dimensions (N, {}, h, w)", self.classes),
                });
            }
        };
        let capacity = Capacity::of(shape, size);
        let mut engine = match self.engine.take().filter(|engine| engine.capacity() == capacity) {
            Some(engine) => engine,
            None => Engine::new(Device::Cuda(self.ordinal), self.params, None, capacity)?,
        };
        let map = engine.submit_tensor(logits, size)?;
        let (score, prediction) = (map.score.data_ptr() as u64, map.prediction.data_ptr() as u64);
        let stream = current_stream(self.ordinal)?;
        // SAFETY: both maps are the engine's own, on this GPU, and hold a pixel of every image of the batch each. The engine
        // writes them on this stream before the sums are taken, and nobody else does until `take` has waited for them;
        // it predicts classes below the number that was compared above.
        unsafe { self.accumulator.add(score, prediction, shape.batch * size.pixels(), true, stream) }?;
        let sums = self.accumulator.take();
        self.engine = Some(engine);
        sums
    }
}
