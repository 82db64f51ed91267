//! Component metrics of SegmentMeIfYouCan: how well each object is found, whatever its size.
//!
//! After Chan et al., "SegmentMeIfYouCan: A Benchmark for Anomaly Segmentation" (NeurIPS 2021, section 3.2), and the
//! benchmark's own program (`road_anomaly_benchmark`, metric `SegEval`), to its last digit:
//!
//! * Components are 8-connected. Labelled ones consist of unexpected pixels; predicted ones of labelled pixels whose
//!   score reaches the threshold.
//! * Predicted components with fewer pixels than the track's minimum are dropped. Labelled components with fewer than
//!   theirs become ignored, and with them what was predicted on them.
//! * The adjusted IoU (sIoU) of a labelled component k compares it with the union of the predicted components that
//!   touch it, where pixels of these that lie on other labelled components do not count against k:
//!   |k and prediction| / (|k| + pixels of these predicted components on no labelled component).
//! * The positive predictive value (PPV) of a predicted component is the share of its pixels on labelled components.
//! * For each of eleven limits from 0.25 to 0.75, a labelled component with at least that sIoU is found, one with less
//!   is missed, a predicted component with a PPV below it is a false alarm; F1 is of these numbers over all images.
//!
//! The benchmark chooses the threshold with the largest pixel-wise F1, [`ThresholdAt::BestF1`](super::ThresholdAt),
//! so that a second pass over the images is needed. It finds that threshold on a grid of quantiles and asks for scores
//! strictly above it; here it is exact and scores at it count, as everywhere.

use serde::{Deserialize, Serialize};

use super::ranking::{NORMAL, UNEXPECTED, check};
use super::sum::Sum;
use crate::connected_components::{Components, Connectivity, Run, overlaps};
use crate::{Error, Result, Size};

/// What the metrics are called in an error.
const NAME: &str = "component metrics";

/// Number of sIoU limits, and the distance between them from 0.25 on.
const LIMITS: usize = 11;
const STEP: f64 = 0.05;

/// Component metrics (Chan et al., "SegmentMeIfYouCan", NeurIPS Datasets and Benchmarks 2021): how well each object is
/// found, whatever its size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComponentMetrics {
    /// Anomaly score from which a pixel is predicted to be unexpected.
    #[serde(with = "super::curve::json_number")]
    pub threshold: f32,
    /// Mean adjusted IoU over the labelled components (sIoU).
    pub siou: f64,
    /// Mean positive predictive value over the predicted components; `None` when nothing is predicted.
    pub ppv: Option<f64>,
    /// Mean of F1 over the sIoU thresholds 0.25, 0.30 ... 0.75.
    pub mean_f1: f64,
    /// The sIoU thresholds with their F1.
    pub f1: Vec<(f64, f64)>,
    /// Labelled components.
    pub labelled: u64,
    /// Predicted components.
    pub predicted: u64,
}

/// Components with fewer pixels than these are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentSizes {
    /// Least pixels of a labelled component.
    pub labelled: u64,
    /// Least pixels of a predicted component.
    pub predicted: u64,
}

impl ComponentSizes {
    /// The benchmark's anomaly track (RoadAnomaly21), and whatever else has large objects.
    pub const ANOMALY_TRACK: Self = Self { labelled: 100, predicted: 500 };
    /// The benchmark's obstacle track (RoadObstacle21, LostAndFound): small obstacles on the road.
    pub const OBSTACLE_TRACK: Self = Self { labelled: 10, predicted: 50 };
}

/// How many pixels of how many: an exact fraction.
type Share = (u64, u64);

/// Components of any number of images at one threshold.
///
/// ```
/// use sml::Size;
/// use sml::metrics::{ComponentScores, ComponentSizes};
///
/// // One object of four pixels, half of which is found, with two pixels beside it.
/// let labels = [1, 1, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0];
/// let scores = [0.0, 0.9, 0.9, 0.0, 0.0, 0.0, 0.0, 0.0, 0.9, 0.9, 0.0, 0.0, 0.0, 0.0];
/// let mut components = ComponentScores::new(0.5, ComponentSizes { labelled: 1, predicted: 1 })?;
/// components.add(&scores, &labels, Size::new(2, 7))?;
/// let metrics = components.evaluate()?;
/// assert_eq!((metrics.siou, metrics.ppv), (2.0 / 6.0, Some(0.5)));
/// # Ok::<(), sml::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComponentScores {
    #[serde(with = "super::curve::json_number")]
    threshold: f32,
    sizes: ComponentSizes,
    /// sIoU of each labelled component.
    labelled: Vec<Share>,
    /// PPV of each predicted component.
    predicted: Vec<Share>,
}

impl ComponentScores {
    /// No images yet. Pixels whose score is at or above `threshold` are predicted to be unexpected.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] when `threshold` is NaN.
    pub fn new(threshold: f32, sizes: ComponentSizes) -> Result<Self> {
        if threshold.is_nan() {
            return Err(Error::InvalidParameter {
                field: "threshold",
                given: threshold.to_string(),
                expected: "an anomaly score",
            });
        }
        Ok(Self { threshold, sizes, labelled: Vec::new(), predicted: Vec::new() })
    }

    /// Adds the pixels of one whole image, row by row; `scores` and `labels` as for
    /// [`PixelScores::add`](super::PixelScores::add).
    ///
    /// # Errors
    /// [`Error::Shape`] when the lengths differ, are not those of `size` or exceed 2^32 - 1; [`Error::UndefinedMetric`] when labelled
    /// scores are NaN. After an error nothing of this image has been added.
    pub fn add(&mut self, scores: &[f32], labels: &[u8], size: Size) -> Result<()> {
        check(scores, labels)?;
        if size.height.checked_mul(size.width) != Some(labels.len()) {
            return Err(Error::Shape {
                what: "number of pixels",
                given: labels.len().to_string(),
                expected: format!("that of {size}"),
            });
        }
        if u32::try_from(labels.len()).is_err() {
            return Err(Error::Shape {
                what: "number of pixels",
                given: labels.len().to_string(),
                expected: "at most 2^32 - 1 in one image".to_owned(),
            });
        }
        if labels.is_empty() {
            return Ok(());
        }
        let labelled = MaskComponents::find(size.width, labels.iter().map(|&label| label == UNEXPECTED));
        let reaches = |(&score, &label): (&f32, &u8)| {
            score >= self.threshold && (label == NORMAL || label == UNEXPECTED)
        };
        let predicted = MaskComponents::find(size.width, scores.iter().zip(labels).map(reaches));
        self.compare(&labelled, &predicted, labels.len() as u64);
        Ok(())
    }

    fn compare(&mut self, labelled: &MaskComponents, predicted: &MaskComponents, pixels: u64) {
        let counts = |component: usize| labelled.sizes[component] >= self.sizes.labelled;
        let unlabelled = pixels - labelled.sizes.iter().sum::<u64>();
        // Pixels of predicted components that take part: all but those on labelled components that are too small. The
        // benchmark drops the background by the same rule, which matters where an object fills the picture.
        let mut sizes = predicted.sizes.clone();
        // How many of them lie on labelled components.
        let mut covered = vec![0; sizes.len()];
        let mut found = vec![0; labelled.sizes.len()];
        let mut touching = Vec::new();
        overlaps(&labelled.runs, &predicted.runs, |component, prediction, length| {
            let length = u64::from(length);
            if predicted.sizes[prediction] < self.sizes.predicted {
                return;
            }
            if counts(component) {
                found[component] += length;
                covered[prediction] += length;
                touching.push((component, prediction));
            } else {
                sizes[prediction] -= length;
            }
        });
        if unlabelled < self.sizes.labelled {
            sizes.clone_from(&covered);
        }
        // Labelled component and those pixels of predictions that touch it which lie on no labelled component.
        let mut unions = labelled.sizes.clone();
        touching.sort_unstable();
        touching.dedup();
        for (component, prediction) in touching {
            unions[component] += sizes[prediction] - covered[prediction];
        }
        let kept = (0..unions.len()).filter(|&component| counts(component));
        self.labelled.extend(kept.map(|component| (found[component], unions[component])));
        let large =
            (0..sizes.len()).filter(|&prediction| predicted.sizes[prediction] >= self.sizes.predicted);
        let seen = large.filter(|&prediction| sizes[prediction] > 0);
        self.predicted.extend(seen.map(|prediction| (covered[prediction], sizes[prediction])));
    }

    /// Adds the components of other images, such as those of another shard. The order changes no result.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] when threshold or minimum sizes differ.
    pub fn merge(&mut self, other: Self) -> Result<()> {
        if (self.threshold, self.sizes) != (other.threshold, other.sizes) {
            return Err(Error::InvalidParameter {
                field: "threshold",
                given: format!("{} with {:?}", other.threshold, other.sizes),
                expected: "the same threshold and sizes in everything that is merged",
            });
        }
        self.labelled.extend(other.labelled);
        self.predicted.extend(other.predicted);
        Ok(())
    }

    /// The metrics over all images added so far.
    ///
    /// # Errors
    /// [`Error::UndefinedMetric`] when no labelled component is large enough.
    pub fn evaluate(&self) -> Result<ComponentMetrics> {
        if self.labelled.is_empty() {
            let least = self.sizes.labelled;
            let problem = format!("no component of at least {least} pixels is labelled 1 (unexpected)");
            return Err(Error::UndefinedMetric { metric: NAME, problem });
        }
        let (siou, ppv) = (ratios(&self.labelled), ratios(&self.predicted));
        let f1: Vec<(f64, f64)> = (0..LIMITS)
            .map(|index| {
                let limit = 0.25 + index as f64 * STEP;
                let below = |ratios: &[f64]| ratios.partition_point(|&ratio| ratio < limit);
                let (missed, false_alarms) = (below(&siou), below(&ppv));
                let twice_found = 2 * (siou.len() - missed);
                (limit, twice_found as f64 / (twice_found + missed + false_alarms) as f64)
            })
            .collect();
        let mean = |values: &[f64]| values.iter().copied().collect::<Sum>().total() / values.len() as f64;
        Ok(ComponentMetrics {
            threshold: self.threshold,
            siou: mean(&siou),
            ppv: (!ppv.is_empty()).then(|| mean(&ppv)),
            mean_f1: f1.iter().map(|(_, f1)| *f1).collect::<Sum>().total() / LIMITS as f64,
            f1,
            labelled: siou.len() as u64,
            predicted: ppv.len() as u64,
        })
    }
}

/// The fractions as numbers in ascending order, so that sums do not depend on the order of images.
fn ratios(shares: &[Share]) -> Vec<f64> {
    let mut ratios: Vec<f64> = shares.iter().map(|&(part, whole)| part as f64 / whole as f64).collect();
    ratios.sort_unstable_by(f64::total_cmp);
    ratios
}

/// The 8-connected components of a mask.
struct MaskComponents {
    runs: Vec<Run>,
    /// Pixels of each component.
    sizes: Vec<u64>,
}

impl MaskComponents {
    /// `mask` gives a pixel after the other, `width` to a row.
    fn find(width: usize, mask: impl Iterator<Item = bool>) -> Self {
        let mut runs = runs(width, mask);
        let mut sizes = vec![0; Components::default().label(&mut runs, width, Connectivity::Eight)];
        for run in &runs {
            sizes[run.component as usize] += u64::from(run.pixels());
        }
        Self { runs, sizes }
    }
}

fn runs(width: usize, mask: impl Iterator<Item = bool>) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut inside = false;
    for (index, set) in mask.enumerate() {
        if set {
            let start = index as u32;
            match runs.last_mut() {
                Some(run) if inside && index % width != 0 => run.end = start + 1,
                _ => runs.push(Run { start, end: start + 1, component: 0 }),
            }
        }
        inside = set;
    }
    runs
}
