//! Frames on a GPU: picture, network, engine and results on one stream, with one wait at the end.
//!
//! libtorch is made to work on that stream by a guard, on which the preprocessing's kernel, the network, the engine's kernels and
//! the copies to and from pinned memory follow each other without an event or a synchronisation between them. The stream is
//! the pipeline's own, so that neither waits for CUDA's default stream, and memory that libtorch frees is used again for the
//! next frame.
#![allow(unsafe_code)]

use tch::Device;

use super::cuda_stream::StreamGuard;
use super::gpu_graph::{self, Captured};
use super::input_tensor::{InputTensor, form_of};
use super::pipeline::FrameTimings;
use super::{AnomalyTensors, Backbone, PostProcessor};
use crate::cuda::{CudaPreprocessor, DeviceResults, FrameStream, Mark};
use crate::{AnomalyMap, Error, PictureView, Result, Size, Warning};

/// The stream, and what frames of one size and format need. Fields are dropped in this order: the preprocessing waits for its
/// kernel before the input is freed.
pub(super) struct GpuFrames {
    graph: Graph,
    sized: Option<Prepared>,
    frame: FrameStream,
    ordinal: usize,
    profiled: bool,
    /// Free memory of the GPU before the first frame.
    free_before: Option<u64>,
}

/// The whole frame as one graph.
enum Graph {
    /// Not asked for, or not to be had.
    Off,
    /// Frames run plainly first: the network's first passes are slower than the others, and allocate.
    Wanted {
        frames: usize,
    },
    Captured(Captured),
}

struct Prepared {
    preprocessor: CudaPreprocessor,
    input: InputTensor,
}

impl GpuFrames {
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) where the GPU cannot be used, [`Error::Cuda`](crate::Error::Cuda) where the
    /// driver refuses.
    pub fn new(ordinal: usize, profiled: bool, graph: bool) -> Result<Self> {
        let frame = FrameStream::new(ordinal)?;
        let free_before = frame.free_bytes();
        let graph = if graph { Graph::Wanted { frames: 0 } } else { Graph::Off };
        Ok(Self { graph, sized: None, frame, ordinal, profiled, free_before })
    }

    /// Gives a frame to the stream.
    ///
    /// # Errors
    /// As [`CudaPreprocessor::submit`], [`Backbone::forward`] and [`PostProcessor::submit_in_place`].
    pub fn submit<'a>(
        &mut self,
        backbone: &dyn Backbone,
        post_processor: &'a mut PostProcessor,
        picture: &PictureView<'_>,
    ) -> Result<AnomalyTensors<'a>> {
        let stream = self.frame.stream();
        // SAFETY: the stream is of this GPU, and lent to libtorch it is never destroyed.
        let _guard = unsafe { StreamGuard::new(stream, self.ordinal) }?;
        let Prepared { preprocessor, input } = match self.sized.take().filter(|sized| sized.fits(picture)) {
            Some(fits) => self.sized.insert(fits),
            None => {
                self.give_up_the_graph(post_processor);
                self.sized.insert(Prepared::new(self.ordinal, backbone, picture)?)
            }
        };
        mark(&mut self.frame, self.profiled, Mark::Start)?;
        // SAFETY: the tensor holds the whole input, in the form that the preprocessor was built for, and was allocated for this
        // stream; what used it before, the frame before, came on the same stream. The stream is alive; nobody captures it.
        unsafe { preprocessor.submit(picture, input.address(), stream) }?;
        mark(&mut self.frame, self.profiled, Mark::Prepared)?;
        let logits = backbone.forward(input.tensor())?;
        mark(&mut self.frame, self.profiled, Mark::Logits)?;
        // The logits are dropped while the engine may still read them: libtorch gives their memory to nothing but later work on
        // the same stream.
        let tensors = post_processor.submit_in_place(&logits, picture.size())?;
        mark(&mut self.frame, self.profiled, Mark::Map)?;
        Ok(tensors)
    }

    /// Gives a frame to the stream and waits for its result in host memory.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub fn run(
        &mut self,
        backbone: &dyn Backbone,
        post_processor: &mut PostProcessor,
        picture: &PictureView<'_>,
    ) -> Result<AnomalyMap<'_>> {
        if self.replay(backbone, post_processor, picture)? {
            return self.frame.map();
        }
        let tensors = self.submit(backbone, post_processor, picture)?;
        let from = results(&tensors, picture.size());
        // SAFETY: the engine's tensors of one image of that size, contiguous, float32, uint8 and int64; they were written on
        // this stream, and the next frame, which may replace them, comes behind the copies.
        unsafe { self.frame.fetch(from) }?;
        mark(&mut self.frame, self.profiled, Mark::End)?;
        if let Graph::Wanted { frames } = &mut self.graph {
            *frames += 1;
        }
        self.frame.map()
    }

    /// Gives a frame to the stream as a graph; captures it first where its time has come. False where there is none.
    fn replay(
        &mut self,
        backbone: &dyn Backbone,
        post_processor: &mut PostProcessor,
        picture: &PictureView<'_>,
    ) -> Result<bool> {
        let Some(Prepared { preprocessor, input }) = self.sized.as_mut().filter(|sized| sized.fits(picture))
        else {
            return Ok(false);
        };
        if self.profiled {
            return Ok(false);
        }
        if let Graph::Wanted { frames } = self.graph
            && frames > backbone.slow_passes()
        {
            self.frame.finish()?;
            let taken = taken(&self.frame, self.free_before);
            // The graph has a stream of its own, whose memory nobody else gets.
            let mut stream = FrameStream::new(self.ordinal)?;
            stream.reserve(picture.size())?;
            // SAFETY: input, engine and its tensors, and the stream's pinned memory live as long as the graph: it is dropped before
            // any of them changes. The engine's tensors are of one image of that size, written on this stream.
            let captured = unsafe {
                gpu_graph::capture(&mut stream, self.ordinal, taken, |stream| {
                    let logits = backbone.forward(input.tensor())?;
                    let tensors = post_processor.submit_in_place(&logits, picture.size())?;
                    stream.fetch(results(&tensors, picture.size()))
                })
            };
            self.graph = match captured {
                Ok((captured, ())) => {
                    self.frame = stream;
                    Graph::Captured(captured)
                }
                Err(poisoned @ Error::Poisoned { .. }) => return Err(poisoned),
                Err(reason) => {
                    post_processor.warn(&Warning::Graph(reason.to_string()));
                    Graph::Off
                }
            };
        }
        let Graph::Captured(captured) = &self.graph else { return Ok(false) };
        let stream = self.frame.stream();
        // SAFETY: as in `submit`. The graph uses what `self` and the engine hold, and was captured on this stream.
        unsafe {
            preprocessor.submit(picture, input.address(), stream)?;
            self.frame.replay(&captured.graph)?;
        }
        Ok(true)
    }

    /// A graph is for pictures of one size, and made once: its stream and memory stay with libtorch.
    fn give_up_the_graph(&mut self, post_processor: &mut PostProcessor) {
        match std::mem::replace(&mut self.graph, Graph::Off) {
            Graph::Captured(_) => {
                post_processor.warn(&Warning::Graph("pictures of another size or format came".to_owned()))
            }
            wanted => self.graph = wanted,
        }
    }

    /// The parts of the latest frame by the GPU's clock; zero where it was not profiled. Waits for it.
    ///
    /// # Errors
    /// [`Error::Cuda`](crate::Error::Cuda) when the GPU reports that work failed.
    pub fn timings(&mut self) -> Result<FrameTimings> {
        let mut between = |first, second| self.frame.between(first, second).map(Option::unwrap_or_default);
        let whole = between(Mark::Start, Mark::End)?;
        Ok(FrameTimings {
            preprocess: between(Mark::Start, Mark::Prepared)?,
            backbone: between(Mark::Prepared, Mark::Logits)?,
            total: if whole.is_zero() { between(Mark::Start, Mark::Map)? } else { whole },
            ..FrameTimings::default()
        })
    }

    /// Whether frames run as one graph now.
    pub fn is_one_graph(&self) -> bool {
        matches!(self.graph, Graph::Captured(_))
    }

    /// Whether frames run as one graph, or will.
    #[cfg(feature = "frame-loop")]
    pub fn wants_a_graph(&self) -> bool {
        !matches!(self.graph, Graph::Off)
    }

    /// The stream, for a loop of frames, and how much of the GPU's memory was free before the first frame.
    #[cfg(feature = "frame-loop")]
    pub fn into_stream(self) -> (FrameStream, Option<u64>) {
        (self.frame, self.free_before)
    }

    /// Events between the parts of each frame from now on, or none.
    pub fn profile(&mut self, on: bool) {
        self.profiled = on;
    }

    /// Waits for the latest frame.
    ///
    /// # Errors
    /// [`Error::Cuda`](crate::Error::Cuda) when the GPU reports that work failed.
    pub fn synchronize(&mut self) -> Result<()> {
        self.frame.finish()
    }
}

impl Prepared {
    /// libtorch must work on the frames' stream already.
    fn new(ordinal: usize, backbone: &dyn Backbone, picture: &PictureView<'_>) -> Result<Self> {
        let (element, layout) = form_of(backbone.input_format());
        let kind = (picture.size(), picture.format());
        let preprocessor = CudaPreprocessor::new(ordinal, backbone.preprocessing(), kind, element, layout)?;
        let size = preprocessor.plan().input_size();
        let input = InputTensor::new(size, backbone.input_format(), Device::Cuda(ordinal))?;
        Ok(Self { preprocessor, input })
    }

    /// Whether it was made for pictures like this one.
    fn fits(&self, picture: &PictureView<'_>) -> bool {
        let plan = self.preprocessor.plan();
        (plan.picture_size(), plan.format()) == (picture.size(), picture.format())
    }
}

/// The engine's results of one image.
fn results(tensors: &AnomalyTensors<'_>, size: Size) -> DeviceResults {
    DeviceResults {
        score: tensors.score.data_ptr() as u64,
        prediction: tensors.prediction.data_ptr() as u64,
        non_finite: tensors.non_finite.data_ptr() as u64,
        size,
    }
}

/// How much less of the GPU's memory is free than there was before the first frame.
pub(super) fn taken(stream: &FrameStream, free_before: Option<u64>) -> u64 {
    free_before.zip(stream.free_bytes()).map_or(0, |(before, now)| before.saturating_sub(now))
}

fn mark(frame: &mut FrameStream, profiled: bool, mark: Mark) -> Result<()> {
    if profiled { frame.mark(mark) } else { Ok(()) }
}
