//! Moments of max logits, measured where the maps lie.
//!
//! Calibrating on a GPU would otherwise bring every map of max logits to the host: 8 MB for a picture of 1024 x 2048. Here
//! only the sums come back, once, at the end.
#![allow(unsafe_code)]

use super::context::Context;
use super::cuda_engine::limits;
use super::device_memory::DeviceMemory;
use super::driver_error::refused;
use super::kernel_set::KernelSet;
use super::plan::{AccumulatePlan, DeviceMoments};
use super::queue::{Queue, Step};
use super::stream::RawStream;
#[cfg(doc)]
use crate::Error;
use crate::{LogitsShape, Result, StatisticsAccumulator};

/// Accumulates the max logits of images that lie in a GPU's memory, each under its predicted class.
///
/// The order of all additions depends on the GPU's number of multiprocessors and on the sizes of the images alone: the same
/// images in the same order give the same bits. Fields are dropped in this order: the queue first, which waits for the work.
pub struct CudaStatisticsAccumulator {
    queue: Queue,
    plan: AccumulatePlan,
    kernels: KernelSet,
    moments: DeviceMemory,
    partials: DeviceMemory,
}

impl CudaStatisticsAccumulator {
    /// For `classes` classes, 1 to 255, on `cuda:ordinal`, with nothing seen yet.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of classes; [`Error::Device`] where the GPU cannot be used;
    /// [`Error::DeviceMemory`] and [`Error::Cuda`] where the driver refuses.
    pub fn new(ordinal: usize, classes: usize) -> Result<Self> {
        LogitsShape::new(1, classes, 1, 1)?;
        let context = Context::retain(ordinal)?;
        let plan = AccumulatePlan::new(classes, limits(&context)?);
        let (moments, partials) = plan.bytes();
        let moments = DeviceMemory::allocate(&context, moments, "moments of the classes")?;
        let partials = DeviceMemory::allocate(&context, partials, "partial moments of the classes")?;
        let kernels = KernelSet::load(&context, plan.variants(), |_| 0)?;
        let queue = Queue::new(&context)?;
        let zeroed = moments.zero(queue.stream().raw().handle()).and_then(|()| queue.stream().synchronize());
        zeroed.map_err(|error| refused("zero the moments", error))?;
        Ok(Self { queue, plan, kernels, moments, partials })
    }

    /// Adds `pixels` pixels: their max logits, float32, at the device address `max_logit`, and their classes, uint8, at
    /// `prediction`. With `negated` the first map holds anomaly scores of [`Score::MaxLogit`](crate::Score::MaxLogit), which
    /// are the negated max logits. A max logit that is not finite is counted and left out. Returns when the work is given
    /// to the stream, long before it is complete.
    ///
    /// # Safety
    /// * Both maps are of this GPU, or ones that it can use, aligned to their elements, hold that many pixels, and are not
    ///   written to until the work is complete. Every prediction is below the number of classes.
    /// * `stream` is alive, and of this GPU's primary context.
    ///
    /// # Errors
    /// [`Error::Cuda`] if the driver refuses, also if it reports that earlier work on the GPU failed; from then on
    /// [`Error::Poisoned`].
    pub unsafe fn add(
        &mut self,
        max_logit: u64,
        prediction: u64,
        pixels: usize,
        negated: bool,
        stream: RawStream,
    ) -> Result<()> {
        let Self { queue, plan, kernels, moments, partials } = self;
        let sums = (partials.address(), moments.address());
        let launches = plan.launches(max_logit, prediction, pixels, negated, sums);
        // SAFETY: the launches are for these kernels and this memory; the rest is the caller's duty.
        unsafe {
            queue.submit(stream, |_captured| {
                launches.iter().try_for_each(|launch| kernels.give(launch, stream.handle()))
            })
        }
    }

    /// All that was added so far. Waits for it.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn read(&mut self) -> Result<StatisticsAccumulator> {
        self.queue.synchronize()?;
        let mut rows = vec![DeviceMoments::default(); self.plan.moments()];
        let stream = self.queue.stream().raw().handle();
        let (moments, bytes) = (&self.moments, bytemuck::cast_slice_mut(&mut rows));
        self.queue.call(|| moments.read(bytes, stream).map_err(|error| (Step::Read, error)))?;
        let left_out = rows.pop().map_or(0, |last| last.count);
        let moments = rows.iter().map(|row| (row.count, row.mean, row.squared_deviations));
        Ok(StatisticsAccumulator::from_sums(moments, left_out))
    }

    /// All that was added since the last call, and nothing from then on. Waits for it.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn take(&mut self) -> Result<StatisticsAccumulator> {
        let taken = self.read()?;
        let stream = self.queue.stream();
        let zeroed = self.moments.zero(stream.raw().handle()).and_then(|()| stream.synchronize());
        self.queue.call(|| zeroed.map_err(|error| (Step::Read, error)))?;
        Ok(taken)
    }
}

impl std::fmt::Debug for CudaStatisticsAccumulator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CudaStatisticsAccumulator").field("plan", &self.plan).finish_non_exhaustive()
    }
}
