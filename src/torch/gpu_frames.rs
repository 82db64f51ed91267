//! Frames on a GPU: picture, network, engine and results on one stream, with one wait at the end.
//!
//! libtorch is made to work on that stream by a guard, on which the preprocessing's kernel, the network, the engine's kernels and
//! the copies to and from pinned memory follow each other without an event or a synchronisation between them. The stream is
//! the pipeline's own, so that neither waits for CUDA's default stream, and memory that libtorch frees is used again for the
//! next frame.
#![allow(unsafe_code)]

use tch::Device;

use super::cuda_stream::StreamGuard;
use super::input_tensor::{InputTensor, form_of};
use super::pipeline::FrameTimings;
use super::{AnomalyTensors, Backbone, PostProcessor};
use crate::cuda::{CudaPreprocessor, DeviceResults, FrameStream, Mark};
use crate::{AnomalyMap, PictureView, Result};

/// The stream, and what frames of one size and format need. Fields are dropped in this order: the preprocessing waits for its
/// kernel before the input is freed.
pub(super) struct GpuFrames {
    sized: Option<Prepared>,
    frame: FrameStream,
    ordinal: usize,
    profiled: bool,
}

struct Prepared {
    preprocessor: CudaPreprocessor,
    input: InputTensor,
}

impl GpuFrames {
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) where the GPU cannot be used, [`Error::Cuda`](crate::Error::Cuda) where the
    /// driver refuses.
    pub fn new(ordinal: usize, profiled: bool) -> Result<Self> {
        Ok(Self { sized: None, frame: FrameStream::new(ordinal)?, ordinal, profiled })
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
        let fits = self.sized.take().filter(|sized| sized.fits(picture));
        let sized = match fits {
            Some(fits) => fits,
            None => Prepared::new(self.ordinal, backbone, picture)?,
        };
        let Prepared { preprocessor, input } = self.sized.insert(sized);
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
        let tensors = self.submit(backbone, post_processor, picture)?;
        let from = DeviceResults {
            score: tensors.score.data_ptr() as u64,
            prediction: tensors.prediction.data_ptr() as u64,
            non_finite: tensors.non_finite.data_ptr() as u64,
            size: picture.size(),
        };
        // SAFETY: the engine's tensors of one image of that size, contiguous, float32, uint8 and int64; they were written on
        // this stream, and the next frame, which may replace them, comes behind the copies.
        unsafe { self.frame.fetch(from) }?;
        mark(&mut self.frame, self.profiled, Mark::End)?;
        self.frame.map()
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

fn mark(frame: &mut FrameStream, profiled: bool, mark: Mark) -> Result<()> {
    if profiled { frame.mark(mark) } else { Ok(()) }
}
