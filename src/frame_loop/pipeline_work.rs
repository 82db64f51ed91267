//! A network with its post-processing as the work of a loop, on the CPU or where only libtorch can work.

use std::time::Duration;

use super::form::FrameInput;
use super::telemetry::WorkTimings;
use super::work::{FrameWork, wrong_frame};
use crate::torch::{FrameTimings, Pipeline};
use crate::{AnomalyMapMut, PictureView, PixelFormat, Result, Size};

pub(super) struct PipelineWork {
    pipeline: Pipeline,
    size: Size,
    format: PixelFormat,
}

impl PipelineWork {
    pub fn new(pipeline: Pipeline, size: Size, format: PixelFormat) -> Self {
        Self { pipeline, size, format }
    }
}

impl FrameWork for PipelineWork {
    /// On the loop's thread, since libtorch has threads of its own for every thread that it works for.
    fn prepare(&mut self) -> Result<()> {
        let black = vec![0; self.size.pixels() * self.format.bytes()];
        let picture = PictureView::packed(&black, self.size, self.format)?;
        for _ in 0..self.pipeline.backbone().slow_passes().max(1) {
            self.pipeline.run(&picture)?;
        }
        Ok(())
    }

    fn run(&mut self, frame: &FrameInput<'_>, result: AnomalyMapMut<'_>) -> Result<WorkTimings> {
        let FrameInput::Picture(picture) = frame else { return Err(wrong_frame("logits", "a picture")) };
        self.pipeline.run_into(picture, result)?;
        let timings = self.pipeline.timings()?;
        let FrameTimings { preprocess, backbone, stages, total } = timings;
        // What is left of a frame on another device is the way back.
        let download = match self.pipeline.backbone().device() {
            tch::Device::Cpu => Duration::ZERO,
            _ => total.saturating_sub(preprocess + backbone + timings.post_processing()),
        };
        Ok(WorkTimings { upload: preprocess, backbone, stages, download })
    }
}
