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
use std::time::Duration;

use cudarc::driver::sys;

use super::context::Context;
use super::device_memory::DeviceMemory;
use super::pinned_memory::PinnedMemory;
use super::queue::{Failure, Queue, Step};
use super::stream::{Event, OwnStream, RawStream};
use crate::{Error, Result};

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
}

/// What a frame's copies took, by the GPU's clock.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CopyTimes {
    pub upload: Duration,
    pub download: Duration,
}

/// Streams and memory for frames of one size on one GPU.
pub(super) struct FrameLanes {
    /// Its stream is the one for copies to the GPU.
    queue: Queue,
    download: OwnStream,
    /// The stream of the work, which the caller keeps alive.
    work: RawStream,
    lanes: [Lane; LANES],
    started: usize,
    finished: usize,
}

impl FrameLanes {
    /// Lanes on `cuda:ordinal`, around work on the stream `work`.
    ///
    /// # Safety
    /// `work` is a stream of this GPU's primary context and lives longer than the result.
    ///
    /// # Errors
    /// [`Error::Device`] where the GPU cannot be used; [`Error::DeviceMemory`] and [`Error::Cuda`] where the driver refuses.
    pub unsafe fn new(
        ordinal: usize,
        work: RawStream,
        input_bytes: usize,
        result_bytes: usize,
    ) -> Result<Self> {
        let context = Context::retain(ordinal)?;
        let event = || Event::for_timing(&context);
        let lane = || -> Result<Lane> {
            Ok(Lane {
                input: DeviceMemory::allocate(&context, input_bytes, "frames under way")?,
                result: DeviceMemory::allocate(&context, result_bytes, "results under way")?,
                begun: event()?,
                uploaded: event()?,
                computed: event()?,
                downloaded: event()?,
            })
        };
        let lanes = [lane()?, lane()?];
        let (queue, download) = (Queue::new(&context)?, OwnStream::new(&context)?);
        Ok(Self { queue, download, work, lanes, started: 0, finished: 0 })
    }

    /// The context of the GPU.
    pub fn context(&self) -> &Arc<Context> {
        self.queue.context()
    }

    /// Host memory for a frame or a result.
    ///
    /// # Errors
    /// [`Error::Cuda`] if the driver refuses.
    pub fn pinned(&self, bytes: usize) -> Result<PinnedBlock> {
        let memory = PinnedMemory::allocate(self.queue.context(), bytes.max(1), "frames and results")?;
        Ok(PinnedBlock { memory, bytes })
    }

    /// The lane that the next frame takes.
    pub fn next_lane(&self) -> usize {
        self.started % LANES
    }

    /// The lane of the frame that is finished next.
    pub fn oldest_lane(&self) -> usize {
        self.finished % LANES
    }

    /// Device addresses of the lane that the next frame takes: of its input and of its result.
    pub fn addresses(&self) -> (u64, u64) {
        let lane = &self.lanes[self.next_lane()];
        (lane.input.address(), lane.result.address())
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

    /// Waits for the frame that was started first among those not finished, and says what its copies took.
    ///
    /// # Errors
    /// As [`upload`](Self::upload); [`Error::Shape`] where none is under way.
    pub fn finish(&mut self) -> Result<CopyTimes> {
        let Self { queue, lanes, started, finished, .. } = self;
        check("frames to finish", *finished + 1, *started)?;
        let lane = &lanes[*finished % LANES];
        let times = queue.call(|| {
            lane.downloaded.synchronize().map_err(ordering)?;
            let between = |from: &Event, to: &Event| {
                let milliseconds = from.milliseconds_until(to).map_err(timing)?;
                Ok(Duration::from_secs_f64(f64::from(milliseconds.max(0.0)) / 1e3))
            };
            Ok(CopyTimes {
                upload: between(&lane.begun, &lane.uploaded)?,
                download: between(&lane.computed, &lane.downloaded)?,
            })
        })?;
        *finished += 1;
        Ok(times)
    }

    /// Reads something of the GPU's, its context bound; a failure counts as one of these lanes.
    ///
    /// # Errors
    /// As [`upload`](Self::upload).
    pub fn call<T>(&mut self, call: impl FnOnce() -> Result<T, Failure>) -> Result<T> {
        self.queue.call(call)
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

fn timing(error: cudarc::driver::result::DriverError) -> Failure {
    (Step::Time, error)
}

fn ordering(error: cudarc::driver::result::DriverError) -> Failure {
    (Step::Order, error)
}

fn check(what: &'static str, given: usize, most: usize) -> Result<()> {
    if given <= most {
        return Ok(());
    }
    Err(Error::Shape { what, given: given.to_string(), expected: format!("at most {most}") })
}
