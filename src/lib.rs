//! Standardized Max Logits: from the logits of a segmentation network to a map of what it has never learned.
//!
//! A network that segments streets calls an object that it never saw "road", quietly. SML (Jung et al., "Standardized
//! Max Logits", ICCV 2021) finds such objects without training anything: it takes each pixel's largest logit,
//! *standardizes* it with mean and variance of the predicted class, *suppresses* the false alarms along class
//! boundaries, and *smooths* the rest with a dilated Gaussian.
//!
//! ```text
//! image -> backbone -> logits -> standardize -> suppress -> smooth -> anomaly map -> render | evaluate
//! ```
//!
//! * [`Engine`] runs the three stages on borrowed [`Logits`]; it is built once from [`Params`], [`ClassStatistics`] and a
//!   [`Capacity`], and allocates nothing afterwards.
//! * [`ClassStatistics`] are measured with a [`StatisticsAccumulator`], stored as JSON, merged and imported.
//! * [`reference`](mod@reference) is the method in float64, written literally: the oracle of every backend.
//! * [`metrics`] evaluates scores, `render` draws them, `files` reads and writes arrays and pictures, `video` frames.
//! * [`obstacles`] finds and follows the objects in anomaly maps; a [`TemporalSmoother`] steadies these before.
//! * `frame_loop` keeps network and engine at work on a stream of frames: bounded, in order, measured.
//! * `torch` holds backbones on libtorch and takes its tensors as logits without a copy.
//! * `cuda` finds the NVIDIA driver, its GPUs and the run-time compiler.
//!
//! # Features
//! `cli`, `torch` and `cuda` are on by default. Without them the library is the CPU engine and plain types: no
//! libtorch, no CUDA, nothing to install. `files` alone adds arrays, pictures and rendering, `frame-loop` the frame loop. `serve` (on
//! by default) is `sml serve`, `rerun` logs for the Rerun viewer, `c-interface` the functions of `include/sml.h`.
//!
//! # Example
//! ```
//! use sml::{Capacity, ClassStatistics, Device, Engine, Layout, Logits, LogitsShape, Params, Size};
//!
//! // Two classes, logits at 1/4 of the picture's resolution.
//! let statistics = ClassStatistics::from_json(r#"{"mean": [7.0, 6.0], "variance": [4.0, 1.0]}"#)?;
//! let (shape, picture) = (LogitsShape::new(1, 2, 32, 64)?, Size::new(128, 256));
//! let mut engine =
//!     Engine::new(Device::Cpu, Params::default(), Some(&statistics), Capacity::of(shape, picture))?;
//!
//! let frame: Vec<f32> = (0..shape.elements()).map(|i| (i % 11) as f32).collect();
//! let map = engine.submit(&Logits::packed(&frame[..], shape, Layout::Nchw)?, picture)?;
//! let most_anomalous = map.score.iter().copied().fold(f32::NEG_INFINITY, f32::max);
//! assert!(most_anomalous.is_finite());
//! # Ok::<(), sml::Error>(())
//! ```

mod accumulate;
mod anomaly_map;
#[cfg(feature = "c-interface")]
pub mod c_interface;
mod capacity;
pub mod cityscapes;
#[cfg(feature = "cli")]
pub mod cli;
mod connected_components;
mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
#[cfg(feature = "files")]
pub mod dataset;
#[cfg(feature = "torch")]
pub mod demo;
mod device;
#[doc(hidden)]
pub mod drawn_logits;
mod engine;
mod error;
#[cfg(feature = "files")]
pub mod evaluation;
#[cfg(feature = "files")]
pub mod files;
#[cfg(feature = "frame-loop")]
pub mod frame_loop;
mod instruction_set;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod latency;
#[cfg(any(feature = "torch", feature = "cuda"))]
mod loaded_library;
mod logits;
mod measured;
pub mod metrics;
pub mod obstacles;
mod operating_points;
mod params;
mod preprocessing;
mod provenance;
pub mod reference;
#[cfg(feature = "files")]
pub mod render;
#[cfg(feature = "rerun")]
pub mod rerun_log;
mod resampling;
mod statistics;
mod temporal_smoothing;
#[cfg(feature = "torch")]
pub mod torch;
#[cfg(feature = "files")]
pub mod video;

pub use accumulate::{MomentAccumulator, StatisticsAccumulator};
pub use anomaly_map::{AnomalyMap, AnomalyMapMut, ScoreMut};
pub use capacity::Capacity;
pub use cpu::preprocess::{InputMut, Preprocessor};
pub use device::{ComputeCapability, DeviceRequest, Gpu};
pub use engine::{Device, Engine, StageTimings, Warning};
pub use error::{Error, Result};
pub use instruction_set::InstructionSet;
pub use logits::{ElementType, Layout, Logits, LogitsData, LogitsShape, Size};
pub use metrics::ScoreHistogram;
pub use operating_points::{OperatingPoint, OperatingPoints};
pub use params::{
    BorderLabels, MissingStatistics, NonFinite, Params, Replacement, Score, Smoothing, Stage, Suppression,
    Temperature,
};
pub use preprocessing::{ChannelOrder, PictureView, PixelFormat, Preprocessing};
pub use provenance::Provenance;
pub use statistics::{ClassMoments, ClassStatistics};
pub use temporal_smoothing::{PictureChange, TemporalSmoother, TemporalSmoothing};
