//! How long the parts of one frame's work took on a GPU, by events in its stream.
#![allow(unsafe_code)]

use std::sync::Arc;
use std::time::Duration;

use cudarc::driver::result::DriverError;
use cudarc::driver::sys::CUstream;

use super::context::Context;
use super::queue::{Failure, Step};
use super::stage_clock::StageClock;
use super::stream::Event;
use crate::{Result, StageTimings};

/// One for each frame under way, so that the clock of a frame runs on while the next one begins.
pub(super) struct FrameClock {
    begun: Event,
    prepared: Event,
    logits: Event,
    /// Whether this frame has the latter two.
    is_prepared: bool,
    has_logits: bool,
    /// The engine has it while it is given a frame.
    stages: Option<StageClock>,
}

/// What the parts took; zero where they were not marked.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PartTimes {
    pub preparation: Duration,
    pub backbone: Duration,
    pub stages: StageTimings,
}

impl FrameClock {
    pub fn new(context: &Arc<Context>) -> Result<Self> {
        let event = || Event::for_timing(context);
        let (begun, prepared, logits) = (event()?, event()?, event()?);
        let stages = Some(StageClock::new(context)?);
        Ok(Self { begun, prepared, logits, is_prepared: false, has_logits: false, stages })
    }

    /// Marks where the work on a frame begins, and forgets the frame before.
    ///
    /// # Safety
    /// The stream is alive and of the events' context, which is bound.
    pub unsafe fn begin(&mut self, stream: CUstream) -> Result<(), Failure> {
        (self.is_prepared, self.has_logits) = (false, false);
        if let Some(stages) = &mut self.stages {
            stages.forget();
        }
        // SAFETY: the caller's duty.
        unsafe { self.begun.record(stream) }.map_err(timing)
    }

    /// # Safety
    /// As [`begin`](Self::begin).
    pub unsafe fn mark_prepared(&mut self, stream: CUstream) -> Result<(), Failure> {
        // SAFETY: the caller's duty.
        unsafe { self.prepared.record(stream) }.map_err(timing)?;
        self.is_prepared = true;
        Ok(())
    }

    /// # Safety
    /// As [`begin`](Self::begin).
    pub unsafe fn mark_logits(&mut self, stream: CUstream) -> Result<(), Failure> {
        // SAFETY: the caller's duty.
        unsafe { self.logits.record(stream) }.map_err(timing)?;
        self.has_logits = true;
        Ok(())
    }

    /// The clock of the engine's stages, to be exchanged for the engine's own and back.
    pub fn stages(&mut self) -> &mut Option<StageClock> {
        &mut self.stages
    }

    /// What the parts took of a frame that is complete.
    pub fn read(&self) -> Result<PartTimes, Failure> {
        let mut times = PartTimes::default();
        let mut latest = &self.begun;
        if self.is_prepared {
            times.preparation = between(latest, &self.prepared)?;
            latest = &self.prepared;
        }
        if self.has_logits {
            times.backbone = between(latest, &self.logits)?;
        }
        let stages = self.stages.as_ref().map(StageClock::read).transpose().map_err(timing)?;
        times.stages = stages.flatten().unwrap_or_default();
        Ok(times)
    }
}

/// Time from one event to a later one, both reached.
pub(super) fn between(from: &Event, to: &Event) -> Result<Duration, Failure> {
    let milliseconds = from.milliseconds_until(to).map_err(timing)?;
    Ok(Duration::from_secs_f64(f64::from(milliseconds.max(0.0)) / 1e3))
}

pub(super) fn timing(error: DriverError) -> Failure {
    (Step::Time, error)
}
