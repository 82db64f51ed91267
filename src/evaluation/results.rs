//! The result of an evaluation as plain data, in the order in which it is written as JSON.

use serde::{Deserialize, Serialize};

use crate::Params;
use crate::metrics::{AnomalyMetrics, ComponentMetrics, CurvePoint, ThresholdRow};

/// One evaluation. Rates are in `0.0..=1.0`; `null` in JSON stands for a number that is not defined, never for zero.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Version of this form; [`Evaluation::SCHEMA`] today.
    pub schema: u32,
    /// Version of the program that measured.
    pub version: String,
    /// Day of the evaluation, YYYY-MM-DD, UTC.
    pub date: String,
    /// What was evaluated on.
    pub dataset: DatasetFacts,
    /// Name of the network; `None` where scores or logits came out of files.
    pub model: Option<String>,
    /// SHA-256 of the network's weights.
    pub model_sha256: Option<String>,
    /// Where the network and the post-processing ran, such as `cpu` or `cuda:0`.
    pub device: Option<String>,
    /// SHA-256 of the file of class statistics.
    pub statistics_sha256: Option<String>,
    /// Parameters of the last stage; the other scores differ from them as their names say.
    pub params: Option<Params>,
    /// How the pixel metrics were computed.
    pub mode: Mode,
    /// Names of the classes that the network knows, in the order of its logits; empty where it is not known.
    #[serde(default)]
    pub class_names: Vec<String>,
    /// One entry a score and stage, in the order of the method.
    pub scores: Vec<ScoreResult>,
    /// The closed set: how well the network segments the known classes, where train ids are labelled.
    pub closed_set: Option<ClosedSet>,
    /// Images that could not be evaluated; the numbers are those of the others.
    pub failures: Vec<Failure>,
}

impl Evaluation {
    /// Version of the form that this program writes.
    pub const SCHEMA: u32 = 1;
}

/// A dataset, so that two results can be told to come from the same pictures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DatasetFacts {
    /// Name of the layout, such as `fishyscapes-static`.
    pub name: String,
    /// Split or subset, where the layout has several.
    pub split: Option<String>,
    /// Images that were evaluated.
    pub images: u64,
    /// Files that were read: images and labels.
    pub files: u64,
    /// Digest over names and contents of these files, independent of their order.
    pub sha256: String,
}

/// How pixel metrics were computed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// From all scores, exactly.
    Exact,
    /// From histograms; each result states how far off it may be.
    Histogram,
}

/// What one score achieved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScoreResult {
    /// Name: `msp`, `max_logit`, `entropy`, `energy`, `sml`, `sml+suppression`, `sml+suppression+smoothing`, or the
    /// setting of a sweep behind it in brackets.
    pub name: String,
    /// Pixel metrics over all images.
    #[serde(flatten)]
    pub pixels: AnomalyMetrics,
    /// In histogram mode: no metric of `pixels` is further off than this.
    pub error_bound: Option<f64>,
    /// Component metrics of SegmentMeIfYouCan, where they were asked for.
    pub components: Option<ComponentMetrics>,
    /// AUROC over the pixels of each predicted class, in the order of [`Evaluation::class_names`]; `None` where a class lacks
    /// unexpected or normal pixels.
    pub auroc_by_class: Vec<Option<f64>>,
    /// Rates at selected thresholds, from the highest threshold down.
    pub thresholds: Vec<ThresholdRow>,
    /// The curves, thinned to at most some thousand points, from the highest threshold down.
    pub curve: Vec<CurvePoint>,
}

/// How well the network segments the classes that it knows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClosedSet {
    /// Mean IoU over the classes that have one.
    pub miou: f64,
    /// IoU of each class with its name.
    pub iou: Vec<(String, Option<f64>)>,
}

/// An image that was left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Its name in the dataset.
    pub image: String,
    /// Why, in one line.
    pub problem: String,
}
