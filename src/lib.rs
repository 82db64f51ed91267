//! x

pub mod cityscapes;
#[cfg(feature = "cli")]
pub mod cli;
mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
#[cfg(feature = "torch")]
pub mod demo;
mod device;
mod engine;
mod error;
#[cfg(feature = "files")]
pub mod files;
#[cfg(any(feature = "torch", feature = "cuda"))]
mod loaded_library;
mod logits;
pub mod metrics;
mod operating_points;
mod params;
pub mod reference;
#[cfg(feature = "files")]
pub mod render;
mod statistics;
#[cfg(feature = "torch")]
pub mod torch;

pub use device::{ComputeCapability, DeviceRequest, Gpu};
pub use engine::{AnomalyMap, AnomalyMapMut, Capacity, Device, Engine, ScoreMut, StageTimings, Warning};
pub use error::{Error, Result};
pub use logits::{ElementType, Layout, Logits, LogitsData, LogitsShape, Size};
pub use operating_points::{OperatingPoint, OperatingPoints, ScoreHistogram};
pub use params::{
    BorderLabels, MissingStatistics, NonFinite, Params, Replacement, Score, Smoothing, Stage, Suppression,
    Temperature,
};
pub use statistics::{ClassMoments, ClassStatistics, MomentAccumulator, Provenance, StatisticsAccumulator};
