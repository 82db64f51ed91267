//! A pipeline on a GPU as the work of a frame loop: picture to map on one stream, between copies that are the loop's.
//!
//! Nothing of a frame is waited for here. The picture is read and the map is written in the loop's memory, which differs from frame to
//! frame; where a graph is wanted it therefore holds the network alone, the part with the hundreds of kernels.
#![allow(unsafe_code)]

use tch::{Device, Tensor};

use super::cuda_stream::StreamGuard;
use super::gpu_frames::{GpuFrames, taken};
use super::gpu_graph::{self, Captured};
use super::input_tensor::{InputTensor, form_of};
use super::interop::device_logits;
use super::{Backbone, PostProcessor};
use crate::cuda::{CudaPreprocessor, FrameStream, RawStream, StreamFrame, StreamWork};
use crate::{Error, PixelFormat, Result, Size, Warning};

/// Fields are dropped in this order: the graph before what it uses, and what waits for its kernels before their memory.
pub(crate) struct StreamPipeline {
    /// The network, and the tensor that it leaves its logits in.
    graph: Option<(Captured, Tensor)>,
    preprocessor: CudaPreprocessor,
    /// Bytes of a picture's row.
    row: usize,
    input: InputTensor,
    /// Of which only the stream is used, which is never destroyed.
    stream: FrameStream,
    ordinal: usize,
    /// Where a graph is wanted: the stream of the first frames, and the GPU's free memory before them.
    before_graph: Option<(FrameStream, Option<u64>)>,
    post_processor: PostProcessor,
    backbone: Box<dyn Backbone>,
}

impl StreamPipeline {
    /// Out of the parts of a pipeline on `cuda:ordinal`, for pictures of one size and format.
    ///
    /// # Errors
    /// [`Error::Shape`] for a picture that does not suit the network; [`Error::Torch`], [`Error::DeviceMemory`] and [`Error::Cuda`] where
    /// libtorch or the driver refuse.
    pub(super) fn new(
        (frames, post_processor, backbone): (GpuFrames, PostProcessor, Box<dyn Backbone>),
        ordinal: usize,
        (size, format): (Size, PixelFormat),
    ) -> Result<Self> {
        let wants_a_graph = frames.wants_a_graph();
        let (stream, free_before) = frames.into_stream();
        // A graph has a stream of its own, whose memory nobody else gets.
        let (stream, before_graph) = match wants_a_graph {
            true => (FrameStream::new(ordinal)?, Some((stream, free_before))),
            false => (stream, None),
        };
        // SAFETY: the stream is of this GPU, and lent to libtorch it is never destroyed.
        let guard = unsafe { StreamGuard::new(stream.stream(), ordinal) }?;
        let (element, layout) = form_of(backbone.input_format());
        let kind = (size, format);
        let preprocessor = CudaPreprocessor::new(ordinal, backbone.preprocessing(), kind, element, layout)?;
        let input_size = preprocessor.plan().input_size();
        let input = InputTensor::new(input_size, backbone.input_format(), Device::Cuda(ordinal))?;
        drop(guard);
        let (graph, row) = (None, size.width * format.bytes());
        Ok(Self { graph, preprocessor, row, input, stream, ordinal, before_graph, post_processor, backbone })
    }

    /// Gives preprocessing and network to a stream; libtorch must work on it already. The logits are made on it.
    fn network(&mut self, frame: &StreamFrame<'_>, stream: RawStream) -> Result<Tensor> {
        self.prepare_input(frame, stream)?;
        self.backbone.forward(self.input.tensor())
    }

    fn prepare_input(&mut self, frame: &StreamFrame<'_>, stream: RawStream) -> Result<()> {
        // SAFETY: the loop's frame is a packed picture of the size and format that the preprocessor was built for, and is left alone
        // until the work's stream has come behind its last use. The tensor holds the whole input in the form that the preprocessor was
        // built for; what used it before came on the same stream or was waited for. The stream is alive.
        unsafe { self.preprocessor.submit_device(frame.input(), self.row, self.input.address(), stream) }
    }

    /// Captures the network, after the passes that are slower than the others. Without a graph, frames go on plainly.
    fn capture(
        &mut self,
        frame: &StreamFrame<'_>,
        first: FrameStream,
        free_before: Option<u64>,
    ) -> Result<()> {
        self.slow_passes(frame, first)?;
        let Self { stream, ordinal, backbone, input, post_processor, .. } = self;
        let taken = taken(stream, free_before);
        // SAFETY: the input lives as long as the graph, which is dropped before it; both are used on the graph's stream alone.
        let captured =
            unsafe { gpu_graph::capture(stream, *ordinal, taken, |_| backbone.forward(input.tensor())) };
        match captured {
            Ok(captured) => self.graph = Some(captured),
            Err(poisoned @ Error::Poisoned { .. }) => return Err(poisoned),
            Err(reason) => post_processor.warn(&Warning::Graph(reason.to_string())),
        }
        Ok(())
    }

    /// The network's first passes, on a stream of their own, which is waited for.
    fn slow_passes(&mut self, frame: &StreamFrame<'_>, mut first: FrameStream) -> Result<()> {
        // SAFETY: the stream is of this GPU, and lent to libtorch it is never destroyed.
        let _guard = unsafe { StreamGuard::new(first.stream(), self.ordinal) }?;
        for _ in 0..self.backbone.slow_passes().max(1) {
            drop(self.network(frame, first.stream())?);
        }
        first.finish()
    }
}

// SAFETY: the stream is lent, so that it is never destroyed, and does not change. libtorch works on it under the guard; preprocessor
// and engine are told to, and what runs on another stream in `prepare` is waited for there.
unsafe impl StreamWork for StreamPipeline {
    fn ordinal(&self) -> usize {
        self.ordinal
    }

    fn stream(&self) -> RawStream {
        self.stream.stream()
    }

    /// On the loop's thread, since libtorch has threads of its own for every thread that it works for.
    fn prepare(&mut self, frame: &mut StreamFrame<'_>) -> Result<()> {
        if let Some((first, free_before)) = self.before_graph.take() {
            self.capture(frame, first, free_before)?;
        }
        let passes = if self.graph.is_some() { 1 } else { self.backbone.slow_passes().max(1) };
        (0..passes).try_for_each(|_| self.give(frame))
    }

    fn give(&mut self, frame: &mut StreamFrame<'_>) -> Result<()> {
        let stream = self.stream();
        // SAFETY: the stream is of this GPU, and lent to libtorch it is never destroyed.
        let _guard = unsafe { StreamGuard::new(stream, self.ordinal) }?;
        self.prepare_input(frame, stream)?;
        frame.mark_prepared()?;
        let Self { graph, input, stream, ordinal, post_processor, backbone, .. } = self;
        let plain;
        let logits = match graph {
            Some((captured, logits)) => {
                // SAFETY: the graph uses what `self` holds, and was captured on this stream.
                unsafe { stream.replay(&captured.graph) }?;
                &*logits
            }
            None => {
                plain = backbone.forward(input.tensor())?;
                &plain
            }
        };
        frame.mark_logits()?;
        let logits = device_logits(logits, *ordinal)?;
        let engine = post_processor.engine_for(crate::Device::Cuda(*ordinal), logits.shape, frame.size())?;
        // SAFETY: the logits were made on this stream. They may be dropped while the engine still reads them: libtorch gives their memory
        // to nothing but later work on the same stream.
        unsafe { frame.post_process(engine, logits) }
    }
}
