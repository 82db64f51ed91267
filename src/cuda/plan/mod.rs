//! Which kernels an engine needs and how each frame launches them: pure arithmetic, without a driver.
//!
//! A [`Plan`] is made once from parameters, capacity and the GPU's limits. It says what to compile ([`Plan::variants`]) and
//! how much memory to allocate ([`Plan::workspace`]); then it turns every frame into at most three [`Launch`]es. The
//! engine hands these to the driver; the tests hand the same ones to kernels that run on the host.

mod arguments;

pub use arguments::{
    AccumulateArgs, Arguments, DeviceMoments, SmoothArgs, StandardizeArgs, SuppressArgs,
};

use crate::{ElementType, LogitsShape, Size};

/// What a stage's kernel writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Output {
    /// The score for the next stage, float32, high for normal pixels.
    Score = 0,
    /// The anomaly score, float32: the negated score.
    AnomalyF32 = 1,
    /// The anomaly score rounded to float16.
    AnomalyF16 = 2,
}

/// One launch of a kernel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Launch {
    /// Which of [`Plan::variants`].
    pub slot: usize,
    /// Name of the kernel in it.
    pub entry: &'static str,
    /// Blocks.
    pub grid: [u32; 3],
    /// Threads of a block.
    pub block: [u32; 3],
    /// Dynamic shared memory of a block.
    pub shared_bytes: u32,
    /// The kernel's one parameter.
    pub arguments: Arguments,
}

/// Logits in device memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceLogits {
    /// Address of the first logit.
    pub pointer: u64,
    /// Element type.
    pub element: ElementType,
    /// Shape.
    pub shape: LogitsShape,
    /// Strides in elements, in the order N, C, H, W.
    pub strides: [usize; 4],
}

/// One batch in device memory: where its logits lie and where its result goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceFrame {
    /// The logits.
    pub logits: DeviceLogits,
    /// Rows and columns of the result.
    pub size: Size,
    /// Address of N x H x W anomaly scores.
    pub score: u64,
    /// True for float16 scores, false for float32.
    pub half_score: bool,
    /// Address of N x H x W predictions, uint8.
    pub prediction: u64,
    /// Address of N counts, uint64.
    pub non_finite: u64,
}

/// Memory that an engine keeps on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Workspace<T> {
    /// Mean and standard deviation of each class, two float32 each. Filled when the engine is built.
    pub standardization: T,
    /// Counts and tickets of `standardize`: zeroed when the engine is built.
    pub counters: T,
    /// Standardized scores.
    pub standardized: T,
    /// Suppressed scores.
    pub suppressed: T,
}
