//! From a picture to its anomaly map: network and engine with the engine's size following the pictures'.

use std::time::{Duration, Instant};

use image::RgbImage;
use tch::{Device as TorchDevice, Tensor};

use crate::torch::{Backbone, torch_error};
use crate::{
    AnomalyMap, Capacity, ClassStatistics, Device, Engine, Error, Logits, LogitsShape, Params, Result, Size,
    StageTimings,
};

/// Time that one picture took.
#[derive(Clone, Copy, Debug, Default)]
pub struct FrameTimings {
    /// Resizing, normalisation, transfer to the network's device.
    pub preprocess: Duration,
    /// The network, and the transfer of its logits to the host where it ran on a GPU.
    pub backbone: Duration,
    /// The engine's stages.
    pub stages: StageTimings,
}

impl FrameTimings {
    /// Stage names with their times, in order.
    pub fn rows(&self) -> [(&'static str, Duration); 5] {
        let StageTimings { standardize, suppress, smooth } = self.stages;
        [
            ("preprocess", self.preprocess),
            ("backbone", self.backbone),
            ("standardize", standardize),
            ("suppress", suppress),
            ("smooth", smooth),
        ]
    }
}

/// The network's logits for `picture`, float32 or narrower, in host memory, with the times that they took.
///
/// # Errors
/// When libtorch fails.
pub fn picture_logits(backbone: &dyn Backbone, picture: &RgbImage) -> Result<(Tensor, FrameTimings)> {
    let start = Instant::now();
    let input = backbone.preprocess(picture)?;
    let preprocess = start.elapsed();
    let start = Instant::now();
    let logits = backbone.forward(&input)?;
    let logits = logits.f_to_device(TorchDevice::Cpu).map_err(torch_error("bring the logits to the host"))?;
    Ok((logits, FrameTimings { preprocess, backbone: start.elapsed(), ..FrameTimings::default() }))
}

/// An engine that is built again when a frame exceeds it.
pub struct Pipeline {
    params: Params,
    statistics: Option<ClassStatistics>,
    engine: Option<Engine>,
    /// Warnings are the same for every size: they are shown once.
    warned: bool,
}

impl Pipeline {
    /// A pipeline without an engine yet: the first frame tells its size.
    pub fn new(params: Params, statistics: Option<ClassStatistics>) -> Self {
        Self { params, statistics, engine: None, warned: false }
    }

    /// Runs the post-processing on logits, upsampled to `size`.
    ///
    /// # Errors
    /// As [`Engine::new`] and [`Engine::submit`].
    pub fn submit(&mut self, logits: &Logits<'_>, size: Size) -> Result<AnomalyMap<'_>> {
        self.engine_for(logits.shape(), size)?.submit(logits, size)
    }

    /// Runs the post-processing on a tensor of logits in host memory, upsampled to `size`.
    ///
    /// # Errors
    /// As [`Engine::new`] and [`Engine::submit_tensor`].
    pub fn submit_tensor(&mut self, logits: &Tensor, size: Size) -> Result<AnomalyMap<'_>> {
        let dimensions: Vec<usize> = logits.size().iter().map(|&n| n as usize).collect();
        let [batch, classes, height, width] = dimensions[..] else {
            return Err(Error::Shape {
                what: "logits tensor",
                given: format!("{dimensions:?}"),
                expected: "4 dimensions (N, C, h, w)".to_owned(),
            });
        };
        let shape = LogitsShape::new(batch, classes, height, width)?;
        self.engine_for(shape, size)?.submit_tensor(logits, size)
    }

    fn engine_for(&mut self, shape: LogitsShape, size: Size) -> Result<&mut Engine> {
        let capacity = Capacity::of(shape, size);
        let engine = match self.engine.take().filter(|engine| engine.capacity() == capacity) {
            Some(engine) => engine,
            None => {
                let engine = Engine::new(Device::Cpu, self.params, self.statistics.as_ref(), capacity)?;
                if !self.warned {
                    super::warn(&engine);
                    self.warned = true;
                }
                engine
            }
        };
        Ok(self.engine.insert(engine))
    }

    /// Time that the stages of the latest frame took.
    pub fn timings(&self) -> StageTimings {
        self.engine.as_ref().map(Engine::timings).unwrap_or_default()
    }
}
