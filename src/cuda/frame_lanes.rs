//! Frames on their way through a GPU, two at a time: while the kernels of one run, the next is copied to the GPU and the last one's
//! result to the host.
//!
//! Three streams: one for copies to the GPU, the caller's for the work, one for copies to the host; a GPU has engines of its own for
//! each direction of copying. A *lane* is device memory for one frame and one result, with events between the streams. The lanes
//! are used in turn, and a lane again only after the host has waited for its result, so that no stream waits for a lane.
//!
//! Host memory that is copied from or to is pinned, and handed over for as long as the copy takes. Checked against the driver
//! stand-in (calls, order, errors, leaks); not yet run on a GPU.
#![allow(unsafe_code)]

use std::sync::Arc;

use cudarc::driver::result::DriverError;
use cudarc::driver::sys;

use super::context::Context;
use super::device_memory::DeviceMemory;
use super::frame_clock::{FrameClock, between, timing};
use super::pinned_memory::PinnedMemory;
use super::queue::{Failure, Queue, Step};
use super::stream::{Event, OwnStream, RawStream};
use super::stream_work::StreamFrame;
use crate::frame_loop::{ResultMemory, WorkTimings};
use crate::{Error, Result, Size};

/// Frames under way at once: one whose kernels run, and one that is copied in before or out behind them.
pub(crate) const LANES: usize = 2;

/// Pinned host memory that is copied from and to by [`FrameLanes`] alone, which hold it as long as a copy may be under way.
pub(crate) struct PinnedBlock {
    memory: PinnedMemory,
    bytes: usize,
}

impl PinnedBlock {
    pub fn as_bytes(&self) -> &[u8] {
        // SAFETY: copies are made by `FrameLanes` alone, whose unsafe calls ask for this to be left alone until they are complete.
        unsafe { &self.memory.host()[..self.bytes] }
    }

    pub fn as_bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `self` is borrowed exclusively.
        unsafe { &mut self.memory.host_mut()[..self.bytes] }
    }
}

/// Device memory and events for one frame. All events tell time.
struct Lane {
    input: DeviceMemory,
    result: DeviceMemory,
    /// Before the copy to the GPU.
    begun: Event,
    uploaded: Event,
    /// The result is there.
    computed: Event,
    downloaded: Event,
    /// Of the work between the copies.
    clock: FrameClock,
}

/// Streams and memory for frames of one size on one GPU.
pub(super) struct FrameLanes {
    /// Its stream is the one for copies to the GPU.
    queue: Queue,
    download: OwnStream,
    /// The stream of the work, which the caller keeps alive.
    work: RawStream,
    lanes: [Lane; LANES],
    size: Size,
    started: usize,
    finished: usize,
}

impl FrameLanes {
    /// Lanes on `cuda:ordinal`, around work on the stream `work` that makes results of `size` out of frames of `input_bytes` bytes.
    ///
    /// # Safety
    /// `work` is a stream of this GPU's primary context and lives longer than the result.
    ///
    /// # Errors
    /// [`Error::Device`] where the GPU cannot be used; [`Error::DeviceMemory`] and [`Error::Cuda`] where the driver refuses.
    pub unsafe fn new(ordinal: usize, work: RawStream, input_bytes: usize, size: Size) -> Result<Self> {
        let context = Context::retain(ordinal)?;
        let result_bytes = ResultMemory::bytes(size);
        let event = || Event::for_timing(&context);
        let lane = || -> Result<Lane> {
            Ok(Lane {
                input: DeviceMemory::allocate(&context, input_bytes, "frames under way")?,
                result: DeviceMemory::allocate(&context, result_bytes, "results under way")?,
                begun: event()?,
                uploaded: event()?,
                computed: event()?,
                downloaded: event()?,
                clock: FrameClock::new(&context)?,
            })
        };
        let lanes = [lane()?, lane()?];
        let (queue, download) = (Queue::new(&context)?, OwnStream::new(&context)?);
        Ok(Self { queue, download, work, lanes, size, started: 0, finished: 0 })
    }

    /// Host memory for a frame or a result.
    ///
    /// # Errors
    /// [`Error::Cuda`] if the driver refuses.
    pub fn pinned(&self, bytes: usize) -> Result<PinnedBlock> {
        let memory = PinnedMemory::allocate(self.queue.context(), bytes.max(1), "frames and results")?;
        Ok(PinnedBlock { memory, bytes })
    }

    /// Sets the memory of the next frame to zeros. Waits for it.
    ///
    /// # Errors
    /// As [`upload`](Self::upload).
    pub fn zero_input(&mut self) -> Result<()> {
        let Self { queue, lanes, started, .. } = self;
        let (lane, stream) = (&lanes[*started % LANES], queue.stream().raw().handle());
        queue.call(|| {
            let zeroed = lane.input.zero(stream);
            // SAFETY: the stream is the queue's own, and `call` binds its context.
            zeroed.and_then(|()| unsafe { sys::cuStreamSynchronize(stream) }.result()).map_err(ordering)
        })
    }

    /// The next frame's memory, for the work on it, which begins here.
    ///
    /// # Errors
    /// As [`upload`](Self::upload).
    pub fn begin(&mut self) -> Result<StreamFrame<'_>> {
        let Self { queue, work, lanes, size, started, .. } = self;
        let Lane { input, result, clock, .. } = &mut lanes[*started % LANES];
        // SAFETY: the stream is alive and of the queue's context, which `call` binds.
        queue.call(|| unsafe { clock.begin(work.handle()) })?;
        let result = ResultMemory::places(*size).map(|place| result.address() + place);
        Ok(StreamFrame { input: input.address(), result, size: *size, stream: *work, queue, clock })
    }

    /// Waits for all work that was given so far.
    ///
    /// # Errors
    /// As [`upload`](Self::upload).
    pub fn wait_for_work(&mut self) -> Result<()> {
        let Self { queue, work, .. } = self;
        // SAFETY: the stream is alive and of the queue's context, which `call` binds.
        queue.call(|| unsafe { sys::cuStreamSynchronize(work.handle()) }.result().map_err(ordering))
    }

    /// Copies a frame to the GPU, and lets the work wait for it. Returns at once.
    ///
    /// # Safety
    /// `from` is neither written to nor dropped until the frame is [finished](Self::finish) or `self` is dropped.
    ///
    /// # Errors
    /// [`Error::Shape`] where no lane is free or the frame is larger than a lane; [`Error::Cuda`] if the driver refuses, also if
    /// it reports that earlier work on the GPU failed; from then on [`Error::Poisoned`].
    pub unsafe fn upload(&mut self, from: &PinnedBlock) -> Result<()> {
        let Self { queue, work, lanes, started, finished, .. } = self;
        let lane = &lanes[*started % LANES];
        check("frames under way", *started - *finished + 1, LANES)?;
        check("bytes of the frame", from.bytes, lane.input.bytes())?;
        let stream = queue.stream().raw().handle();
        let work = work.handle();
        queue.call(|| {
            // SAFETY: streams and events are alive and of the context that `call` binds; the lane is free, since the host has
            // waited for its last frame; the block is the caller's duty.
            unsafe {
                lane.begun.record(stream).map_err(timing)?;
                from.memory
                    .upload(lane.input.address(), from.bytes, stream)
                    .map_err(|error| (Step::Copy("a frame to the GPU"), error))?;
                lane.uploaded.record(stream).map_err(timing)?;
                lane.uploaded.hold_back(work).map_err(ordering)
            }
        })
    }

    /// Copies the result to the host, behind what the work's stream was given so far. Returns at once.
    ///
    /// # Safety
    /// `to` is neither read, written to nor dropped until the frame is [finished](Self::finish) or `self` is dropped.
    ///
    /// # Errors
    /// As [`upload`](Self::upload).
    pub unsafe fn download(&mut self, to: &PinnedBlock) -> Result<()> {
        let Self { queue, download, work, lanes, started, .. } = self;
        let lane = &lanes[*started % LANES];
        check("bytes of the result", to.bytes, lane.result.bytes())?;
        let (stream, work) = (download.raw().handle(), work.handle());
        queue.call(|| {
            // SAFETY: as in `upload`; the copy waits for the work, and the work for nothing of it.
            unsafe {
                lane.computed.record(work).map_err(timing)?;
                lane.computed.hold_back(stream).map_err(ordering)?;
                to.memory
                    .download(0, lane.result.address(), to.bytes, stream)
                    .map_err(|error| (Step::Copy("a result to the host"), error))?;
                lane.downloaded.record(stream).map_err(timing)
            }
        })?;
        *started += 1;
        Ok(())
    }

    /// Waits for the frame that was started first among those not finished, and says what its parts took by the GPU's clock.
    ///
    /// # Errors
    /// As [`upload`](Self::upload); [`Error::Shape`] where none is under way.
    pub fn finish(&mut self) -> Result<WorkTimings> {
        let Self { queue, lanes, started, finished, .. } = self;
        check("frames to finish", *finished + 1, *started)?;
        let lane = &lanes[*finished % LANES];
        let times = queue.call(|| {
            lane.downloaded.synchronize().map_err(ordering)?;
            let parts = lane.clock.read()?;
            Ok(WorkTimings {
                upload: between(&lane.begun, &lane.uploaded)? + parts.preparation,
                backbone: parts.backbone,
                stages: parts.stages,
                download: between(&lane.computed, &lane.downloaded)?,
            })
        })?;
        *finished += 1;
        Ok(times)
    }
}

impl Drop for FrameLanes {
    /// Waits for all three streams: host and device memory may be freed then.
    fn drop(&mut self) {
        let context = Arc::clone(self.queue.context());
        let waited = context.bind().is_ok_and(|_bound| {
            // SAFETY: the stream is alive, and its context is bound.
            let work = unsafe { sys::cuStreamSynchronize(self.work.handle()) }.result();
            work.is_ok() && self.queue.stream().synchronize().is_ok() && self.download.synchronize().is_ok()
        });
        if !waited {
            // Whatever the work became, all of it must be over. An error leaves nothing to wait for.
            let _ = context.synchronize();
        }
    }
}

fn ordering(error: DriverError) -> Failure {
    (Step::Order, error)
}

fn check(what: &'static str, given: usize, most: usize) -> Result<()> {
    if given <= most {
        return Ok(());
    }
    Err(Error::Shape { what, given: given.to_string(), expected: format!("at most {most}") })
}
