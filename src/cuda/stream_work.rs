//! Work on a GPU's stream that a frame loop is built around: what makes a result of a frame.
//!
//! The loop copies frames to the GPU and results to the host on streams of its own, beside this work. The work sees addresses: of one
//! frame and of its result, which are its own from the moment at which its stream comes to them until the loop has copied the result.
#![allow(unsafe_code)]

use super::frame_clock::FrameClock;
use super::plan::{DeviceFrame, DeviceLogits};
use super::queue::Queue;
use super::stream::RawStream;
use crate::{Engine, Result, Size};

/// Makes a result of a frame on a GPU: a network of another runtime and an engine behind it, say. Given to
/// [`FrameLoop::around_stream`](crate::frame_loop::FrameLoop::around_stream), which calls it on a thread of the loop's, for one frame
/// after the other; the work on the GPU overlaps with the copies of the frames before and behind.
///
/// # Safety
/// * [`stream`](Self::stream) is a stream of the primary context of `cuda:`[`ordinal`](Self::ordinal), always the same one, alive as
///   long as `self`.
/// * All work that touches the memory of a [`StreamFrame`] lies on that stream, or is waited for by it, when
///   [`give`](Self::give) returns, also with an error; and nothing of it is left to run when [`prepare`](Self::prepare) returns but on
///   that stream.
pub unsafe trait StreamWork: Send {
    /// Number of the GPU.
    fn ordinal(&self) -> usize;

    /// The stream that the work is given to.
    fn stream(&self) -> RawStream;

    /// Called once, on the loop's thread, before the loop takes frames: what is slow the first time can be done here, on a frame of
    /// zeros.
    ///
    /// # Errors
    /// Whatever makes the work impossible: the loop is not built then.
    fn prepare(&mut self, frame: &mut StreamFrame<'_>) -> Result<()> {
        let _ = frame;
        Ok(())
    }

    /// Gives the work on a frame to the stream, and does not wait for it: reads the frame at [`StreamFrame::input`] and writes its
    /// whole result, most simply by [`StreamFrame::post_process`].
    ///
    /// # Errors
    /// Whatever makes the result impossible: the loop ends with it. So it does when this panics.
    fn give(&mut self, frame: &mut StreamFrame<'_>) -> Result<()>;
}

/// A frame in a GPU's memory, and the memory of its result.
pub struct StreamFrame<'a> {
    pub(super) input: u64,
    /// Addresses of the count of pixels with a logit that is not finite, of the scores and of the predictions.
    pub(super) result: [u64; 3],
    pub(super) size: Size,
    pub(super) stream: RawStream,
    pub(super) queue: &'a mut Queue,
    pub(super) clock: &'a mut FrameClock,
}

impl StreamFrame<'_> {
    /// Device address of the frame, in the loop's form: a picture's pixels row by row without padding, or packed logits. Aligned to 256
    /// bytes. It is there when the stream comes to work that is given to it now.
    pub fn input(&self) -> u64 {
        self.input
    }

    /// Rows and columns of the result.
    pub fn size(&self) -> Size {
        self.size
    }

    /// The stream, which is that of [`StreamWork::stream`].
    pub fn stream(&self) -> RawStream {
        self.stream
    }

    /// Device address for the scores: float32, H x W.
    pub fn score(&self) -> u64 {
        self.result[1]
    }

    /// Device address for the predicted classes: uint8, H x W.
    pub fn prediction(&self) -> u64 {
        self.result[2]
    }

    /// Device address for the count of pixels with a logit that is not finite: one uint64.
    pub fn non_finite(&self) -> u64 {
        self.result[0]
    }

    /// Marks in the stream that the network's input is made by what was given so far. It makes this time known, as part of
    /// [`FrameTelemetry::upload`](crate::frame_loop::FrameTelemetry).
    ///
    /// # Errors
    /// [`Error::Cuda`](crate::Error::Cuda) if the driver refuses.
    pub fn mark_prepared(&mut self) -> Result<()> {
        let Self { queue, clock, stream, .. } = self;
        // SAFETY: the loop made this frame for a stream that is alive, of the queue's context, which `call` binds.
        queue.call(|| unsafe { clock.mark_prepared(stream.handle()) })
    }

    /// Marks in the stream that the network's logits are made by what was given so far. It makes
    /// [`FrameTelemetry::backbone`](crate::frame_loop::FrameTelemetry) known.
    ///
    /// # Errors
    /// As [`mark_prepared`](Self::mark_prepared).
    pub fn mark_logits(&mut self) -> Result<()> {
        let Self { queue, clock, stream, .. } = self;
        // SAFETY: as above.
        queue.call(|| unsafe { clock.mark_logits(stream.handle()) })
    }

    /// Gives the post-processing of logits to the stream, upsampled to the result's [`size`](Self::size), with the result where the
    /// loop wants it, and its stages measured.
    ///
    /// # Safety
    /// The logits are one image in memory of this GPU, or memory that it can use, made by work that the stream was given before; nothing
    /// writes to them until the stream has read them.
    ///
    /// # Errors
    /// As [`Engine::submit_device`].
    pub unsafe fn post_process(&mut self, engine: &mut Engine, logits: DeviceLogits) -> Result<()> {
        let [non_finite, score, prediction] = self.result;
        let frame = DeviceFrame { logits, size: self.size, score, half_score: false, prediction, non_finite };
        engine.on_gpu()?.exchange_clock(self.clock.stages());
        // SAFETY: the result's memory is of this size, of this GPU, and the loop's until the result is copied; the stream is alive; the
        // logits are the caller's duty.
        let given = unsafe { engine.submit_device(&frame, self.stream) };
        engine.on_gpu()?.exchange_clock(self.clock.stages());
        given
    }
}

impl std::fmt::Debug for StreamFrame<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamFrame")
            .field("input", &self.input)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}
