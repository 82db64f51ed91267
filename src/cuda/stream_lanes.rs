//! Work on a GPU's stream in a frame loop: frames come from the host, results go there, and copies and work overlap.
//!
//! See `frame_lanes.rs` for the streams, and `stream_work.rs` for the work.
#![allow(unsafe_code)]

use std::collections::VecDeque;

use tracing::debug_span;

use super::frame_lanes::{FrameLanes, LANES};
use super::plan::DeviceLogits;
use super::stream::RawStream;
use super::stream_work::{StreamFrame, StreamWork};
use crate::frame_loop::{FrameForm, HostMemory, Job, Lanes};
use crate::{Device, Engine, Error, Result, Size};

/// Fields are dropped in this order: the lanes first, which wait for copies and work; the work, whose stream that was on,
/// and the frames, whose memory was used, afterwards.
pub(crate) struct StreamLanes<W> {
    lanes: FrameLanes,
    work: W,
    jobs: VecDeque<Job>,
}

impl<W: StreamWork> StreamLanes<W> {
    /// # Errors
    /// [`Error::Device`] where the GPU cannot be used; [`Error::DeviceMemory`] and [`Error::Cuda`] where the driver refuses.
    pub fn new(work: W, form: FrameForm, size: Size) -> Result<Self> {
        // SAFETY: the stream lives as long as the work, which is dropped behind the lanes.
        let lanes = unsafe { FrameLanes::new(work.ordinal(), work.stream(), form.bytes(), size) }?;
        Ok(Self { lanes, work, jobs: VecDeque::with_capacity(LANES) })
    }
}

impl<W: StreamWork> Lanes for StreamLanes<W> {
    fn depth(&self) -> usize {
        LANES
    }

    fn memory(&self, bytes: usize) -> Result<HostMemory> {
        self.lanes.pinned(bytes).map(HostMemory::Pinned)
    }

    fn prepare(&mut self) -> Result<()> {
        self.lanes.zero_input()?;
        self.work.prepare(&mut self.lanes.begin()?)?;
        self.lanes.wait_for_work()
    }

    fn start(&mut self, job: Job) -> Result<()> {
        let Self { lanes, work, jobs } = self;
        jobs.push_back(job);
        let Some(Job { input, output, .. }) = jobs.back() else { return Ok(()) };
        let (from, to) = (input.memory.pinned()?, output.result.block.pinned()?);
        // SAFETY: both blocks lie in a job of `self`, which leaves it only when it is finished, and are dropped behind the lanes. All
        // work on the lane's memory lies on the work's stream: that is what `StreamWork` promises.
        unsafe {
            lanes.upload(from)?;
            work.give(&mut lanes.begin()?)?;
            lanes.download(to)
        }
    }

    fn finish(&mut self) -> Result<Option<Job>> {
        let Some(id) = self.jobs.front().map(|job| job.input.stamp.id) else { return Ok(None) };
        let timings = debug_span!("wait", id).in_scope(|| self.lanes.finish())?;
        Ok(self.jobs.pop_front().map(|job| Job { timings, ..job }))
    }
}

/// A bare engine on a GPU: the frames are logits.
pub(crate) struct EngineOnStream {
    engine: Engine,
    stream: RawStream,
    ordinal: usize,
    /// But for their address.
    logits: DeviceLogits,
}

impl EngineOnStream {
    /// # Errors
    /// When the engine cannot take such frames, or runs on the CPU.
    pub fn new(mut engine: Engine, form: FrameForm, size: Size) -> Result<Self> {
        let (FrameForm::Logits { shape, element, layout }, Device::Cuda(ordinal), Some(stream)) =
            (form, engine.device(), engine.stream())
        else {
            let device = engine.device().to_string();
            let problem = "frames on a stream are for an engine on a GPU and for logits".to_owned();
            return Err(Error::Device { device, problem, remedy: "build it with Device::Cuda".to_owned() });
        };
        engine.check(shape, size)?;
        // Each frame has a clock of its own.
        engine.profile(false)?;
        let logits = DeviceLogits { pointer: 0, element, shape, strides: layout.strides(shape) };
        Ok(Self { engine, stream, ordinal, logits })
    }
}

// SAFETY: the stream is the engine's own, alive as long as the engine, which gives all its work to the stream that it is told.
unsafe impl StreamWork for EngineOnStream {
    fn ordinal(&self) -> usize {
        self.ordinal
    }

    fn stream(&self) -> RawStream {
        self.stream
    }

    fn give(&mut self, frame: &mut StreamFrame<'_>) -> Result<()> {
        let logits = DeviceLogits { pointer: frame.input(), ..self.logits };
        // SAFETY: the loop's frames have just this form.
        unsafe { frame.post_process(&mut self.engine, logits) }
    }
}
