//! x

#[cfg(feature = "cli")]
pub mod cli;
mod error;
#[cfg(feature = "files")]
pub mod files;
mod logits;
mod operating_points;
mod params;
mod statistics;

pub use error::{Error, Result};
pub use logits::{ElementType, Layout, Logits, LogitsData, LogitsShape, Size};
pub use operating_points::{OperatingPoint, OperatingPoints, ScoreHistogram};
pub use params::{
    BorderLabels, MissingStatistics, NonFinite, Params, Replacement, Score, Smoothing, Stage, Suppression,
    Temperature,
};
pub use statistics::{ClassMoments, ClassStatistics, MomentAccumulator, Provenance, StatisticsAccumulator};
