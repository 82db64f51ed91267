//! How well a score tells unexpected pixels from normal ones, and how well a network segments.
//!
//! Pixel metrics over all images at once: [`PixelScores`] collects anomaly scores with their labels, image after
//! image, and evaluates AUROC, AP and FPR95 exactly; [`ScoreHistograms`] does so in constant memory and states how far
//! off it may be; [`ClassRanking`] keeps predicted classes apart. All of them merge, and give thresholds and curves.
//!
//! [`ComponentScores`] judges whole objects, as the benchmark SegmentMeIfYouCan does. [`ConfusionMatrix`] collects
//! predictions with their train ids and gives the intersection over union of each class and its mean.

mod bin_counting;
mod bounds;
mod checksum;
mod classes;
mod components;
mod curve;
mod histogram;
mod keys;
mod radix;
mod ranking;
mod segmentation;
mod sum;

pub use bounds::{BoundedMetrics, MetricBounds};
pub use classes::ClassRanking;
pub use components::{ComponentMetrics, ComponentScores, ComponentSizes};
pub(crate) use curve::json_number;
pub use curve::{CurvePoint, ThresholdAt, ThresholdRow};
pub use histogram::{ScoreHistogram, ScoreHistograms};
pub use ranking::{AnomalyMetrics, NORMAL, PixelScores, UNEXPECTED};
pub use segmentation::{ConfusionMatrix, IGNORED_TRAIN_ID};
