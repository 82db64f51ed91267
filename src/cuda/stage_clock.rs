//! How long the stages of a frame took on the GPU, by events between their launches.
#![allow(unsafe_code)]

use std::sync::Arc;
use std::time::Duration;

use cudarc::driver::result::DriverError;
use cudarc::driver::sys::CUstream;

use super::context::Context;
use super::kernels::KernelFile;
use super::stream::Event;
use crate::{Result, StageTimings};

/// Launches of a frame at most.
pub(super) const MOST_LAUNCHES: usize = 3;

/// Events around the launches of the latest frame that was timed.
pub(super) struct StageClock {
    events: [Event; MOST_LAUNCHES + 1],
    /// Which stage each launch of that frame belongs to.
    stages: [Option<KernelFile>; MOST_LAUNCHES],
}

impl StageClock {
    pub fn new(context: &Arc<Context>) -> Result<Self> {
        let event = || Event::for_timing(context);
        let events = [event()?, event()?, event()?, event()?];
        Ok(Self { events, stages: [None; MOST_LAUNCHES] })
    }

    /// From now on there is nothing to [read](Self::read), until a frame is timed.
    #[cfg(feature = "frame-loop")]
    pub fn forget(&mut self) {
        self.stages = [None; MOST_LAUNCHES];
    }

    /// Call before the first launch of a frame.
    ///
    /// # Safety
    /// The stream is alive and is not being captured, and its context is bound.
    pub unsafe fn start(&mut self, stream: CUstream) -> Result<(), DriverError> {
        self.stages = [None; MOST_LAUNCHES];
        // SAFETY: the caller's duty.
        unsafe { self.events[0].record(stream) }
    }

    /// Call behind each launch, with its place among the frame's launches.
    ///
    /// # Safety
    /// As for [`start`](Self::start), with the same stream.
    pub unsafe fn lap(
        &mut self,
        place: usize,
        stage: KernelFile,
        stream: CUstream,
    ) -> Result<(), DriverError> {
        // SAFETY: the caller's duty.
        unsafe { self.events[place + 1].record(stream) }?;
        self.stages[place] = Some(stage);
        Ok(())
    }

    /// Waits for the latest frame that was timed, and reads its clock. `None` before the first one.
    pub fn read(&self) -> Result<Option<StageTimings>, DriverError> {
        let count = self.stages.iter().flatten().count();
        if count == 0 {
            return Ok(None);
        }
        self.events[count].synchronize()?;
        let mut timings = StageTimings::default();
        for (place, stage) in self.stages.iter().flatten().enumerate() {
            let milliseconds = self.events[place].milliseconds_until(&self.events[place + 1])?;
            let time = Duration::from_secs_f64(f64::from(milliseconds.max(0.0)) / 1e3);
            match stage {
                KernelFile::Standardize => timings.standardize += time,
                KernelFile::Suppress => timings.suppress += time,
                KernelFile::Smooth => timings.smooth += time,
                KernelFile::Accumulate | KernelFile::Preprocess => {}
            }
        }
        Ok(Some(timings))
    }
}
