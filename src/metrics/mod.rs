//! How well a score tells unexpected pixels from normal ones, and how well a network segments.
//!
//! [`PixelScores`] collects anomaly scores with their labels, image after image, and evaluates AUROC, AP and FPR95
//! over all pixels at once. [`ConfusionMatrix`] collects predictions with their train ids and gives the
//! intersection over union of each class and its mean.

mod ranking;
mod segmentation;

pub use ranking::{AnomalyMetrics, NORMAL, PixelScores, UNEXPECTED};
pub use segmentation::{ConfusionMatrix, IGNORED_TRAIN_ID};
