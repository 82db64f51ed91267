//! Frames whose picture is prepared on the CPU: those of a network on the CPU, and of one on a device that only libtorch
//! knows.
//!
//! Preprocessing and post-processing run on rayon's threads, the network on libtorch's, one behind the other, so that each has
//! all cores while it runs.

use std::time::Instant;

use tch::{Device, Tensor};

use super::input_tensor::InputTensor;
use super::pipeline::FrameTimings;
use super::{AnomalyTensors, Backbone, PostProcessor, torch_error};
use crate::measured::{Whole, measured};
use crate::{AnomalyMap, AnomalyMapMut, PictureView, Preprocessor, Result};

/// What frames of one size need.
pub(super) struct HostFrames {
    preprocessor: Preprocessor,
    input: InputTensor,
    pub timings: FrameTimings,
}

impl HostFrames {
    /// # Errors
    /// As [`Preprocessor::new`].
    pub fn new(backbone: &dyn Backbone, picture: &PictureView<'_>) -> Result<Self> {
        let preprocessor = Preprocessor::new(backbone.preprocessing(), picture.size())?;
        let input = InputTensor::new(preprocessor.input_size(), backbone.input_format(), Device::Cpu)?;
        Ok(Self { preprocessor, input, timings: FrameTimings::default() })
    }

    /// Whether it was made for pictures like this one.
    pub fn fits(&self, picture: &PictureView<'_>) -> bool {
        self.preprocessor.picture_size() == picture.size()
    }

    /// The frame's result in host memory.
    ///
    /// # Errors
    /// As [`Backbone::forward`] and [`PostProcessor::submit_tensor`].
    pub fn run<'a>(
        &mut self,
        backbone: &dyn Backbone,
        post_processor: &'a mut PostProcessor,
        picture: &PictureView<'_>,
    ) -> Result<AnomalyMap<'a>> {
        let start = Instant::now();
        let logits = self.logits(backbone, picture)?;
        let map = post_processor.submit_tensor(&logits, picture.size())?;
        self.timings.total = start.elapsed();
        Ok(map)
    }

    /// The frame's result in memory of the caller's.
    ///
    /// # Errors
    /// As [`Backbone::forward`] and [`PostProcessor::submit_host_tensor_into`].
    pub fn run_into(
        &mut self,
        backbone: &dyn Backbone,
        post_processor: &mut PostProcessor,
        picture: &PictureView<'_>,
        result: AnomalyMapMut<'_>,
    ) -> Result<()> {
        let start = Instant::now();
        let logits = self.logits(backbone, picture)?;
        post_processor.submit_host_tensor_into(&host(logits)?, result)?;
        self.timings.total = start.elapsed();
        Ok(())
    }

    /// The frame's result in tensors.
    ///
    /// # Errors
    /// As [`Backbone::forward`] and [`PostProcessor::submit_in_place`].
    pub fn submit<'a>(
        &mut self,
        backbone: &dyn Backbone,
        post_processor: &'a mut PostProcessor,
        picture: &PictureView<'_>,
    ) -> Result<AnomalyTensors<'a>> {
        let start = Instant::now();
        let logits = host(self.logits(backbone, picture)?)?;
        let tensors = post_processor.submit_in_place(&logits, picture.size())?;
        self.timings.total = start.elapsed();
        Ok(tensors)
    }

    fn logits(&mut self, backbone: &dyn Backbone, picture: &PictureView<'_>) -> Result<Tensor> {
        let frame = Whole::current();
        (self.timings.preprocess, self.timings.backbone) = Default::default();
        let moved = measured!(frame, "preprocess", self.timings.preprocess, self.prepare(backbone, picture))?;
        let input = moved.as_ref().unwrap_or(self.input.tensor());
        measured!(frame, "backbone", self.timings.backbone, backbone.forward(input))
    }

    /// Makes the network's input; `None` where it is used where it lies.
    fn prepare(&mut self, backbone: &dyn Backbone, picture: &PictureView<'_>) -> Result<Option<Tensor>> {
        self.input.fill(&mut self.preprocessor, picture)?;
        let moved = |device| {
            let tensor = self.input.tensor();
            tensor.f_to_device(device).map_err(torch_error("bring the input to the network"))
        };
        match backbone.device() {
            Device::Cpu => Ok(None),
            device => moved(device).map(Some),
        }
    }
}

/// The tensor in host memory, moved there if it lies elsewhere.
fn host(logits: Tensor) -> Result<Tensor> {
    match logits.device() {
        Device::Cpu => Ok(logits),
        _ => logits.f_to_device(Device::Cpu).map_err(torch_error("bring the logits to the host")),
    }
}
