//! The stream that whole frames run on, from picture to result: its results in host memory, and its clock.
//!
//! Network and engine give their work to this stream themselves; this adds what lies around them: marks between the parts, the copy
//! of the results into pinned memory, and the one wait for all of it.
#![allow(unsafe_code)]

use std::time::Duration;

use cudarc::driver::sys;
use ndarray::ArrayView3;

use super::context::Context;
use super::pinned_memory::PinnedMemory;
use super::queue::{Queue, Step};
use super::stream::{Event, RawStream};
use crate::{AnomalyMap, Error, Result, Size};

/// A place between the parts of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Before the picture is copied to the GPU.
    Start,
    /// The network's input is made.
    Prepared,
    /// The logits are there.
    Logits,
    /// The anomaly map is there.
    Map,
    /// The results are in host memory.
    End,
}

/// How many there are.
const MARKS: usize = 5;

/// Results of one image in pinned memory, in this order: counts (uint64), scores (float32), predictions (uint8).
struct Results {
    memory: PinnedMemory,
    size: Size,
}

/// A stream for frames from picture to result, with memory for the result and a clock.
///
/// [`CudaPreprocessor`](super::CudaPreprocessor), a network (libtorch's, TensorRT's, one's own) and
/// [`Engine::submit_device`](crate::Engine::submit_device) are given [`stream`](Self::stream) one after the other; `torch::Pipeline`
/// is made of these parts.
///
/// Fields are dropped in this order: the queue first, which waits for the latest copy.
pub struct FrameStream {
    queue: Queue,
    results: Option<Results>,
    events: [Event; MARKS],
    /// Which marks the latest frame has.
    marked: [bool; MARKS],
}

/// Device addresses of one image's results.
#[derive(Clone, Copy, Debug)]
pub struct DeviceResults {
    /// float32.
    pub score: u64,
    /// uint8.
    pub prediction: u64,
    /// One uint64.
    pub non_finite: u64,
    /// Rows and columns.
    pub size: Size,
}

impl FrameStream {
    /// A new stream of `cuda:ordinal`, which does not wait for CUDA's default stream.
    ///
    /// # Errors
    /// [`Error::Device`] where the GPU cannot be used, [`Error::Cuda`] where the driver refuses.
    pub fn new(ordinal: usize) -> Result<Self> {
        let context = Context::retain(ordinal)?;
        let event = || Event::for_timing(&context);
        let events = [event()?, event()?, event()?, event()?, event()?];
        Ok(Self { queue: Queue::new(&context)?, results: None, events, marked: [false; MARKS] })
    }

    /// The stream. It lives as long as the process: libtorch's allocator keeps memory for the streams that it has worked on.
    pub fn stream(&self) -> RawStream {
        self.queue.stream().lend()
    }

    /// Records a mark behind what the stream was given so far. [`Mark::Start`] forgets the frame before.
    ///
    /// # Errors
    /// [`Error::Cuda`] if the driver refuses, also if it reports that earlier work on the GPU failed; from then on
    /// [`Error::Poisoned`].
    pub fn mark(&mut self, mark: Mark) -> Result<()> {
        if mark == Mark::Start {
            self.marked = [false; MARKS];
        }
        let (event, stream) = (&self.events[mark as usize], self.queue.stream().raw());
        self.queue.call(|| {
            // SAFETY: the stream is the queue's own, and of the event's context, which `call` binds.
            unsafe { event.record(stream.handle()) }.map_err(|error| (Step::Time, error))
        })?;
        self.marked[mark as usize] = true;
        Ok(())
    }

    /// Time between two marks of the latest frame; `None` where one is missing. Waits for the later one.
    ///
    /// # Errors
    /// As [`mark`](Self::mark).
    pub fn between(&mut self, first: Mark, second: Mark) -> Result<Option<Duration>> {
        if !(self.marked[first as usize] && self.marked[second as usize]) {
            return Ok(None);
        }
        let (first, second) = (&self.events[first as usize], &self.events[second as usize]);
        let milliseconds = self.queue.call(|| {
            second
                .synchronize()
                .and_then(|()| first.milliseconds_until(second))
                .map_err(|error| (Step::Time, error))
        })?;
        Ok(Some(Duration::from_secs_f64(f64::from(milliseconds.max(0.0)) / 1e3)))
    }

    /// Allocates host memory for results of this size, where that was not done yet.
    ///
    /// # Errors
    /// As [`mark`](Self::mark).
    pub fn reserve(&mut self, size: Size) -> Result<()> {
        if self.results.as_ref().is_none_or(|results| results.size != size) {
            // The old block may still be copied to.
            self.queue.synchronize()?;
            let memory = PinnedMemory::allocate(self.queue.context(), bytes_of(size), "results")?;
            self.results = Some(Results { memory, size });
        }
        Ok(())
    }

    /// Bytes of the GPU's memory that are free, if the driver tells.
    pub fn free_bytes(&self) -> Option<u64> {
        self.queue.context().free_bytes()
    }

    pub(super) fn queue_mut(&mut self) -> &mut Queue {
        &mut self.queue
    }

    /// Lets the stream copy one image's results to the host, behind what it was given so far. Allocates where they are of
    /// another size than those before.
    ///
    /// # Safety
    /// The results are of this GPU and of that size, are written on this stream, and live until the copy is complete.
    ///
    /// # Errors
    /// As [`mark`](Self::mark).
    pub unsafe fn fetch(&mut self, from: DeviceResults) -> Result<()> {
        let size = from.size;
        self.reserve(size)?;
        let Some(Results { memory, .. }) = &self.results else { return Ok(()) };
        let stream = self.queue.stream().raw();
        let (scores, predictions) = (size_of::<u64>(), size_of::<u64>() + size.pixels() * size_of::<f32>());
        // SAFETY: the block has room for all three, one behind the other; the host looks at it only behind `map`'s wait; the
        // rest is the caller's duty.
        unsafe {
            self.queue.submit(stream, |_captured| {
                let stream = stream.handle();
                memory
                    .download(0, from.non_finite, size_of::<u64>(), stream)
                    .and_then(|()| memory.download(scores, from.score, predictions - scores, stream))
                    .and_then(|()| memory.download(predictions, from.prediction, size.pixels(), stream))
                    .map_err(|error| (Step::Copy("a result to the host"), error))
            })
        }
    }

    /// Waits for the latest [`fetch`](Self::fetch).
    ///
    /// # Errors
    /// As [`mark`](Self::mark).
    fn synchronize(&mut self) -> Result<()> {
        self.queue.synchronize()
    }

    /// Waits for all that the stream was given so far, by whomever.
    ///
    /// # Errors
    /// As [`mark`](Self::mark).
    pub fn finish(&mut self) -> Result<()> {
        let stream = self.queue.stream().raw();
        self.queue.call(|| {
            // SAFETY: the stream is the queue's own; `call` binds its context.
            unsafe { sys::cuStreamSynchronize(stream.handle()) }
                .result()
                .map_err(|error| (Step::Order, error))
        })
    }

    /// The results that were fetched last. Waits for them.
    ///
    /// # Errors
    /// As [`mark`](Self::mark); [`Error::Shape`] before the first fetch.
    pub fn map(&mut self) -> Result<AnomalyMap<'_>> {
        self.synchronize()?;
        let nothing = || Error::Shape {
            what: "result",
            given: "not there".to_owned(),
            expected: "one that was fetched".to_owned(),
        };
        let Results { memory, size } = self.results.as_ref().ok_or_else(nothing)?;
        // SAFETY: the copies to it are complete, and the next ones need `self` exclusively.
        let bytes = unsafe { memory.host() };
        let (counts, rest) = bytes.split_at(size_of::<u64>());
        let (scores, predictions) = rest.split_at(size.pixels() * size_of::<f32>());
        let dimensions = (1, size.height, size.width);
        let wrong = |error: ndarray::ShapeError| Error::Shape {
            what: "result",
            given: error.to_string(),
            expected: size.to_string(),
        };
        Ok(AnomalyMap {
            score: ArrayView3::from_shape(dimensions, bytemuck::cast_slice(scores)).map_err(wrong)?,
            prediction: ArrayView3::from_shape(dimensions, predictions).map_err(wrong)?,
            non_finite: bytemuck::cast_slice(counts),
        })
    }
}

fn bytes_of(size: Size) -> usize {
    size_of::<u64>() + size.pixels() * (size_of::<f32>() + size_of::<u8>())
}

impl std::fmt::Debug for FrameStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FrameStream").field("stream", &self.stream()).finish_non_exhaustive()
    }
}
