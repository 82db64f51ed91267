//! An engine that follows the size of what it is given: it is built again when a batch has another shape.

use std::fmt;

use tch::{Device as TorchDevice, Tensor};

#[cfg(feature = "cuda")]
use super::HostAnomalyMap;
use super::{AnomalyTensors, torch_error};
use crate::{
    AnomalyMap, AnomalyMapMut, Capacity, ClassStatistics, Device, Engine, Error, Logits, LogitsShape, Params,
    Result, Size, StageTimings, Warning,
};

/// What is done with the warnings of an engine.
type ShowWarning = Box<dyn FnMut(&Warning) + Send>;

/// The post-processing of logits of any size, where they lie.
///
/// The first batch builds the engine, and every batch of another shape, on another device or to be upsampled to another size
/// builds it again: that takes time and memory, after which batches of the same shape take neither.
pub struct PostProcessor {
    params: Params,
    statistics: Option<ClassStatistics>,
    engine: Option<Engine>,
    profiled: bool,
    show_warning: Option<ShowWarning>,
    /// Whether the first engine was built: the warnings of later ones are the same.
    warned: bool,
    /// The latest result of [`PostProcessor::submit_tensor`] that was not the engine's own.
    #[cfg(feature = "cuda")]
    result: HostAnomalyMap,
}

impl PostProcessor {
    /// One without an engine yet: the first batch tells its size.
    pub fn new(params: Params, statistics: Option<ClassStatistics>) -> Self {
        Self {
            params,
            statistics,
            engine: None,
            profiled: false,
            show_warning: None,
            warned: false,
            #[cfg(feature = "cuda")]
            result: HostAnomalyMap::default(),
        }
    }

    /// The same, with `show` called once for each warning, when the first engine is built.
    #[must_use]
    pub fn on_warning(mut self, show: impl FnMut(&Warning) + Send + 'static) -> Self {
        self.show_warning = Some(Box::new(show));
        self
    }

    /// Measures the stages of each batch from now on, or ceases to: see [`Engine::profile`].
    ///
    /// # Errors
    /// As [`Engine::profile`].
    pub fn profile(&mut self, on: bool) -> Result<()> {
        self.profiled = on;
        self.engine.as_mut().map_or(Ok(()), |engine| engine.profile(on))
    }

    pub(super) fn warn(&mut self, warning: &Warning) {
        if let Some(show) = &mut self.show_warning {
            show(warning);
        }
    }

    /// The method's parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// The engine of the latest batch.
    pub fn engine(&self) -> Option<&Engine> {
        self.engine.as_ref()
    }

    /// Runs the post-processing on logits in host memory, upsampled to `size`.
    ///
    /// # Errors
    /// As [`Engine::new`] and [`Engine::submit`].
    pub fn submit(&mut self, logits: &Logits<'_>, size: Size) -> Result<AnomalyMap<'_>> {
        self.engine_for(Device::Cpu, logits.shape(), size)?.submit(logits, size)
    }

    /// Runs the post-processing on a tensor of logits, where it lies, upsampled to `size`, and brings the result to the
    /// host. Waits for it.
    ///
    /// # Errors
    /// As [`Engine::new`] and [`Engine::submit_tensor`].
    pub fn submit_tensor(&mut self, logits: &Tensor, size: Size) -> Result<AnomalyMap<'_>> {
        let shape = shape_of(logits)?;
        match engine_device(logits.device()) {
            Some(Device::Cpu) => self.engine_for(Device::Cpu, shape, size)?.submit_host_tensor(logits, size),
            #[cfg(feature = "cuda")]
            Some(device) => {
                self.result = self.engine_for(device, shape, size)?.submit_tensor(logits, size)?.to_host()?;
                Ok(self.result.view())
            }
            None => {
                let logits = logits
                    .f_to_device(TorchDevice::Cpu)
                    .map_err(torch_error("bring the logits to the host"))?;
                self.engine_for(Device::Cpu, shape, size)?.submit_host_tensor(&logits, size)
            }
        }
    }

    /// Runs the post-processing on a tensor of logits, where it lies, upsampled to `size`. The result stays there, and on a
    /// GPU is not complete when this returns: see [`Engine::submit_tensor`].
    ///
    /// # Errors
    /// As [`Engine::new`] and [`Engine::submit_tensor`]; [`Error::Device`] for logits on a device that this build has no
    /// engine for.
    pub fn submit_in_place(&mut self, logits: &Tensor, size: Size) -> Result<AnomalyTensors<'_>> {
        let shape = shape_of(logits)?;
        let device = engine_device(logits.device()).ok_or_else(|| Error::Device {
            device: format!("{:?}", logits.device()).to_lowercase(),
            problem: "this build has no engine for it".to_owned(),
            remedy: "bring the logits to the CPU first".to_owned(),
        })?;
        self.engine_for(device, shape, size)?.submit_tensor(logits, size)
    }

    /// As [`submit_tensor`](Self::submit_tensor) for a tensor on the CPU, with the result written into the caller's memory.
    ///
    /// # Errors
    /// As [`Engine::new`] and [`Engine::submit_host_tensor_into`].
    pub fn submit_host_tensor_into(&mut self, logits: &Tensor, result: AnomalyMapMut<'_>) -> Result<()> {
        let shape = shape_of(logits)?;
        self.engine_for(Device::Cpu, shape, result.size)?.submit_host_tensor_into(logits, result)
    }

    /// Time that the stages of the latest batch took; zero where nothing was measured.
    ///
    /// # Errors
    /// As [`Engine::timings`].
    pub fn timings(&mut self) -> Result<StageTimings> {
        let timings = self.engine.as_mut().map(Engine::timings).transpose()?;
        Ok(timings.flatten().unwrap_or_default())
    }

    /// The engine for such logits, built where there is none yet.
    ///
    /// # Errors
    /// As [`Engine::new`].
    pub(super) fn engine_for(
        &mut self,
        device: Device,
        shape: LogitsShape,
        size: Size,
    ) -> Result<&mut Engine> {
        let capacity = Capacity::of(shape, size);
        let fits = |engine: &Engine| engine.capacity() == capacity && engine.device() == device;
        let engine = match self.engine.take().filter(fits) {
            Some(engine) => engine,
            None => {
                let mut engine = Engine::new(device, self.params, self.statistics.as_ref(), capacity)?;
                if self.profiled {
                    engine.profile(true)?;
                }
                if !self.warned {
                    self.warned = true;
                    engine.warnings().iter().for_each(|warning| self.warn(warning));
                }
                engine
            }
        };
        Ok(self.engine.insert(engine))
    }
}

impl fmt::Debug for PostProcessor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostProcessor").field("params", &self.params).finish_non_exhaustive()
    }
}

fn shape_of(logits: &Tensor) -> Result<LogitsShape> {
    let dimensions: Vec<usize> = logits.size().iter().map(|&n| n as usize).collect();
    let [batch, classes, height, width] = dimensions[..] else {
        return Err(Error::Shape {
            what: "logits tensor",
            given: format!("{dimensions:?}"),
            expected: "4 dimensions (N, C, h, w)".to_owned(),
        });
    };
    LogitsShape::new(batch, classes, height, width)
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
