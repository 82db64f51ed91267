//! Drawn logits where the engine runs.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::drawn_logits::DrawnLogits;
use crate::{Device, Engine, Result, Size};

/// Logits that take turns. Engines side by side read the same ones.
pub(super) enum Inputs {
    Host(Arc<Vec<DrawnLogits>>),
    #[cfg(all(feature = "torch", feature = "cuda"))]
    Gpu(Vec<tch::Tensor>),
}

impl Inputs {
    /// Brings drawn logits to the device.
    ///
    /// # Errors
    /// When libtorch cannot.
    #[cfg(all(feature = "torch", feature = "cuda"))]
    pub fn on(device: Device, drawn: Vec<DrawnLogits>) -> Result<Self> {
        match device {
            Device::Cpu => Ok(Self::Host(Arc::new(drawn))),
            Device::Cuda(ordinal) => {
                drawn.iter().map(|drawn| gpu_tensor(drawn, ordinal)).collect::<Result<_>>().map(Self::Gpu)
            }
        }
    }

    #[cfg(not(all(feature = "torch", feature = "cuda")))]
    pub fn on(_: Device, drawn: Vec<DrawnLogits>) -> Result<Self> {
        Ok(Self::Host(Arc::new(drawn)))
    }

    /// The same memory, for another engine.
    pub fn share(&self) -> Self {
        match self {
            Self::Host(drawn) => Self::Host(Arc::clone(drawn)),
            #[cfg(all(feature = "torch", feature = "cuda"))]
            Self::Gpu(tensors) => Self::Gpu(tensors.iter().map(tch::Tensor::shallow_clone).collect()),
        }
    }

    /// One frame: the time after which the call returned, and after which the result was complete.
    ///
    /// (Mutable because tensors are not to be shared between threads, and a pool's thread may do the work.)
    ///
    /// # Errors
    /// Those of the engine.
    pub fn submit(&mut self, turn: u64, engine: &mut Engine, size: Size) -> Result<(Duration, Duration)> {
        match self {
            Self::Host(drawn) => {
                let logits = drawn[turn as usize % drawn.len()].logits()?;
                let start = Instant::now();
                black_box(engine.submit(&logits, size)?);
                let all = start.elapsed();
                Ok((all, all))
            }
            #[cfg(all(feature = "torch", feature = "cuda"))]
            Self::Gpu(tensors) => {
                let logits = &tensors[turn as usize % tensors.len()];
                let start = Instant::now();
                engine.submit_tensor(logits, size)?;
                let returned = start.elapsed();
                engine.synchronize()?;
                Ok((returned, start.elapsed()))
            }
        }
    }
}

#[cfg(all(feature = "torch", feature = "cuda"))]
fn gpu_tensor(drawn: &DrawnLogits, ordinal: usize) -> Result<tch::Tensor> {
    use crate::{ElementType, Layout, LogitsShape};
    use tch::Kind;
    let LogitsShape { batch, classes, size } = drawn.shape();
    let [batch, classes, height, width] = [batch, classes, size.height, size.width].map(|n| n as i64);
    let kind = match drawn.element_type() {
        ElementType::F32 => Kind::Float,
        ElementType::F16 => Kind::Half,
        ElementType::BF16 => Kind::BFloat16,
    };
    let dimensions = match drawn.layout() {
        Layout::Nchw => [batch, classes, height, width],
        Layout::Nhwc => [batch, height, width, classes],
    };
    let tensor = tch::Tensor::f_from_data_size(drawn.as_bytes(), &dimensions, kind)
        .and_then(|tensor| tensor.f_to_device(tch::Device::Cuda(ordinal)))
        .and_then(|tensor| match drawn.layout() {
            Layout::Nchw => Ok(tensor),
            Layout::Nhwc => tensor.f_permute([0, 3, 1, 2]),
        });
    tensor.map_err(crate::torch::torch_error("bring the logits to the GPU"))
}
