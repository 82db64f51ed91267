//! A bare engine on a GPU in a frame loop: logits come from the host, results go there, and copies and kernels overlap.
//!
//! The engine works on its own stream; see `frame_lanes.rs` for the other two.
#![allow(unsafe_code)]

use std::collections::VecDeque;

use super::frame_lanes::{FrameLanes, LANES};
use super::plan::{DeviceFrame, DeviceLogits};
use super::queue::Step;
use super::stage_clock::StageClock;
use crate::frame_loop::{FrameForm, HostMemory, Job, Lanes, ResultMemory};
use crate::{Device, Engine, Error, Result, Size};

/// Fields are dropped in this order: the lanes first, which wait for copies and kernels; the engine, whose stream those were on,
/// and the frames, whose memory they used, afterwards.
pub(crate) struct EngineLanes {
    lanes: FrameLanes,
    engine: Engine,
    jobs: VecDeque<Job>,
    /// One a lane, so that the clock of a frame runs on while the next one begins.
    clocks: [Option<StageClock>; LANES],
    frame: DeviceFrame,
}

impl EngineLanes {
    /// # Errors
    /// When the engine cannot take such frames, or runs on the CPU; [`Error::DeviceMemory`] and [`Error::Cuda`] where the driver
    /// refuses.
    pub fn new(mut engine: Engine, form: FrameForm, size: Size) -> Result<Self> {
        let (FrameForm::Logits { shape, element, layout }, Device::Cuda(ordinal), Some(stream)) =
            (form, engine.device(), engine.stream())
        else {
            let device = engine.device().to_string();
            let problem = "lanes are for an engine on a GPU and for logits".to_owned();
            return Err(Error::Device { device, problem, remedy: "build it with Device::Cuda".to_owned() });
        };
        engine.check(shape, size)?;
        engine.profile(false)?;
        // SAFETY: the stream is the engine's own, which is dropped behind the lanes.
        let lanes = unsafe { FrameLanes::new(ordinal, stream, form.bytes(), ResultMemory::bytes(size)) }?;
        let clock = || StageClock::new(lanes.context()).map(Some);
        let clocks = [clock()?, clock()?];
        let logits = DeviceLogits { pointer: 0, element, shape, strides: layout.strides(shape) };
        let frame = DeviceFrame { logits, size, score: 0, half_score: false, prediction: 0, non_finite: 0 };
        Ok(Self { lanes, engine, jobs: VecDeque::with_capacity(LANES), clocks, frame })
    }
}

impl Lanes for EngineLanes {
    fn depth(&self) -> usize {
        LANES
    }

    fn memory(&self, bytes: usize) -> Result<HostMemory> {
        self.lanes.pinned(bytes).map(HostMemory::Pinned)
    }

    fn prepare(&mut self) -> Result<()> {
        Ok(())
    }

    fn start(&mut self, job: Job) -> Result<()> {
        let Self { lanes, engine, jobs, clocks, frame } = self;
        jobs.push_back(job);
        let Some(Job { input, output, .. }) = jobs.back() else { return Ok(()) };
        let (from, to) = (input.memory.pinned()?, output.result.block.pinned()?);
        let (logits, result) = lanes.addresses();
        frame.logits.pointer = logits;
        [frame.non_finite, frame.score, frame.prediction] =
            ResultMemory::places(frame.size).map(|place| result + place);
        let clock = &mut clocks[lanes.next_lane()];
        let Some(stream) = engine.stream() else { return Ok(()) };
        // SAFETY: both blocks lie in a job of `self`, which leaves it only when it is finished, and are dropped behind the lanes. The
        // lane's memory holds a frame and a result of just this form, one behind the other; nothing else uses it until the frame is
        // finished. The stream is the engine's own.
        unsafe {
            lanes.upload(from)?;
            engine.on_gpu()?.exchange_clock(clock);
            let given = engine.submit_device(frame, stream);
            engine.on_gpu()?.exchange_clock(clock);
            given?;
            lanes.download(to)
        }
    }

    fn finish(&mut self) -> Result<Option<Job>> {
        let Self { lanes, jobs, clocks, .. } = self;
        if jobs.is_empty() {
            return Ok(None);
        }
        let clock = &clocks[lanes.oldest_lane()];
        let times = lanes.finish()?;
        let stages = lanes
            .call(|| clock.as_ref().map(StageClock::read).transpose().map_err(|error| (Step::Time, error)))?;
        let Some(mut job) = jobs.pop_front() else { return Ok(None) };
        (job.timings.upload, job.timings.download) = (times.upload, times.download);
        job.timings.stages = stages.flatten().unwrap_or_default();
        Ok(Some(job))
    }
}
