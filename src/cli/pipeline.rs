//! From a picture to its anomaly map: network and engine with the engine's size following the pictures'.

use std::time::{Duration, Instant};

use image::RgbImage;
use tch::{Device as TorchDevice, Tensor};

use crate::torch::{Backbone, HostAnomalyMap, torch_error};
use crate::{
    AnomalyMap, Capacity, ClassStatistics, Device, Engine, Error, Logits, LogitsShape, Params, Result, Size,
    StageTimings,
};

/// Time that one picture took.
#[derive(Clone, Copy, Debug, Default)]
pub struct FrameTimings {
    /// Resizing, normalisation, transfer to the network's device.
    pub preprocess: Duration,
    /// The network.
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

/// The network's logits for `picture`, float32 or narrower, on the network's device, with the times that they took.
///
/// # Errors
/// When libtorch fails.
pub fn picture_logits(backbone: &dyn Backbone, picture: &RgbImage) -> Result<(Tensor, FrameTimings)> {
    let start = Instant::now();
    let input = backbone.preprocess(picture)?;
    let preprocess = start.elapsed();
    let start = Instant::now();
    let logits = backbone.forward(&input)?;
    if let TorchDevice::Cuda(ordinal) = logits.device() {
        // A GPU has only been given its work so far.
        tch::Cuda::synchronize(ordinal as i64);
    }
    Ok((logits, FrameTimings { preprocess, backbone: start.elapsed(), ..FrameTimings::default() }))
}

/// An engine that is built again when a frame exceeds it.
pub struct Pipeline {
    params: Params,
    statistics: Option<ClassStatistics>,
    engine: Option<Engine>,
    /// The latest result of [`Pipeline::submit_tensor`].
    result: HostAnomalyMap,
    /// Warnings are the same for every size: they are shown once.
    warned: bool,
}

impl Pipeline {
    /// A pipeline without an engine yet: the first frame tells its size.
    pub fn new(params: Params, statistics: Option<ClassStatistics>) -> Self {
        Self { params, statistics, engine: None, result: HostAnomalyMap::default(), warned: false }
    }

    /// Runs the post-processing on logits, upsampled to `size`.
    ///
    /// # Errors
    /// As [`Engine::new`] and [`Engine::submit`].
    pub fn submit(&mut self, logits: &Logits<'_>, size: Size) -> Result<AnomalyMap<'_>> {
        self.engine_for(Device::Cpu, logits.shape(), size)?.submit(logits, size)
    }

    /// Runs the post-processing on a tensor of logits, where it lies, upsampled to `size`.
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
        self.result = match engine_device(logits.device()) {
            Some(device) => self.engine_for(device, shape, size)?.submit_tensor(logits, size)?.to_host()?,
            None => {
                let logits = logits
                    .f_to_device(TorchDevice::Cpu)
                    .map_err(torch_error("bring the logits to the host"))?;
                self.engine_for(Device::Cpu, shape, size)?.submit_tensor(&logits, size)?.to_host()?
            }
        };
        Ok(self.result.view())
    }

    fn engine_for(&mut self, device: Device, shape: LogitsShape, size: Size) -> Result<&mut Engine> {
        let capacity = Capacity::of(shape, size);
        let engine = match self
            .engine
            .take()
            .filter(|engine| engine.capacity() == capacity && engine.device() == device)
        {
            Some(engine) => engine,
            None => {
                let mut engine = Engine::new(device, self.params, self.statistics.as_ref(), capacity)?;
                engine.profile(true)?;
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
    ///
    /// # Errors
    /// As [`Engine::timings`].
    pub fn timings(&mut self) -> Result<StageTimings> {
        let timings = self.engine.as_mut().map(Engine::timings).transpose()?;
        Ok(timings.flatten().unwrap_or_default())
    }
}

/// The device of an engine for a tensor's memory; `None` where this build has none.
fn engine_device(device: TorchDevice) -> Option<Device> {
    match device {
        TorchDevice::Cpu => Some(Device::Cpu),
        #[cfg(feature = "cuda")]
        TorchDevice::Cuda(ordinal) => Some(Device::Cuda(ordinal)),
        _ => None,
    }
}
