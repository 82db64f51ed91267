//! AUROC, AP and FPR95 of anomaly scores, exact over any number of images.
//!
//! Every metric here depends on the order of the scores alone. A score is therefore kept as a 32-bit key that sorts
//! as an unsigned integer the way the scores sort as numbers: 4 bytes a labelled pixel, in one list for the
//! unexpected pixels and one for the normal ones, so that the label costs nothing. Evaluation sorts both lists and
//! walks them together from the highest score down. One step of that walk is one distinct threshold: pixels of
//! equal score enter together, as the definitions demand. Counts are integers to the end, so that AUROC is rounded
//! once.

use std::cmp::Reverse;
use std::iter::Peekable;
use std::slice;

use rayon::slice::ParallelSliceMut;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Label of a pixel that belongs to an unexpected object: a positive.
pub const UNEXPECTED: u8 = 1;

/// Label of a normal pixel: a negative. Every label but this one and [`UNEXPECTED`] is ignored.
pub const NORMAL: u8 = 0;

/// The true positive rate at which FPR95 is read.
const TPR_OF_FPR95: f64 = 0.95;

/// What the metrics are called in an error.
const ALL_METRICS: &str = "AUROC, AP and FPR95";

/// How well a score separates unexpected from normal pixels (SPEC section 8). Rates are in `0.0..=1.0`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AnomalyMetrics {
    /// Area under the receiver operating characteristic: the chance that an unexpected pixel scores higher than a
    /// normal one, where a tie counts one half (Mann-Whitney, which is the trapezoid rule).
    pub auroc: f64,
    /// Average precision: the sum of (recall gained) x (precision) over the distinct thresholds, without
    /// interpolation.
    pub ap: f64,
    /// False positive rate at the highest threshold whose true positive rate is at least 0.95.
    pub fpr95: f64,
    /// False positive rate at a true positive rate of 0.95, linear between the two neighbouring points of the
    /// curve; where the curve is flat at exactly 0.95, its last point. Tables of the literature print this one.
    pub fpr95_interp: f64,
    /// Unexpected pixels.
    pub positives: u64,
    /// Normal pixels.
    pub negatives: u64,
    /// Pixels with any other label; they take no part.
    pub ignored: u64,
}

/// Anomaly scores with their labels, collected over any number of images. Takes 4 bytes of memory a labelled pixel.
///
/// ```
/// use sml::metrics::PixelScores;
///
/// let mut scores = PixelScores::new();
/// scores.add(&[0.9, 0.2, 0.4, 7.0], &[1, 0, 0, 255])?;
/// scores.add(&[0.3, 0.1], &[1, 0])?;
/// let metrics = scores.evaluate()?;
/// assert_eq!(metrics.auroc, 5.0 / 6.0);
/// assert_eq!((metrics.positives, metrics.negatives, metrics.ignored), (2, 3, 1));
/// # Ok::<(), sml::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct PixelScores {
    positives: Vec<u32>,
    negatives: Vec<u32>,
    ignored: u64,
}

impl PixelScores {
    /// No pixels yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the pixels of an image, or of a part of one.
    ///
    /// `scores` are anomaly scores (higher = more anomalous; infinities take part as the largest and smallest
    /// values). `labels` are [`UNEXPECTED`] or [`NORMAL`]; pixels with any other label are ignored, whatever their
    /// score.
    ///
    /// # Errors
    /// [`Error::Shape`] when the lengths differ; [`Error::UndefinedMetric`] with their number when labelled scores
    /// are NaN, because NaN has no rank. After an error nothing of this image has been added.
    pub fn add(&mut self, scores: &[f32], labels: &[u8]) -> Result<()> {
        if scores.len() != labels.len() {
            return Err(Error::Shape {
                what: "number of labels",
                given: labels.len().to_string(),
                expected: format!("one a score, {}", scores.len()),
            });
        }
        let labelled = |&(_, &label): &(&f32, &u8)| label == UNEXPECTED || label == NORMAL;
        let pixels = || scores.iter().zip(labels).filter(labelled);
        let nan = pixels().filter(|(score, _)| score.is_nan()).count();
        if nan > 0 {
            return Err(Error::UndefinedMetric {
                metric: ALL_METRICS,
                problem: format!("{nan} of {} labelled scores are NaN", pixels().count()),
            });
        }
        let before = self.positives.len() + self.negatives.len();
        for (&score, &label) in pixels() {
            let list = if label == UNEXPECTED { &mut self.positives } else { &mut self.negatives };
            list.push(key(score));
        }
        let added = self.positives.len() + self.negatives.len() - before;
        self.ignored += (scores.len() - added) as u64;
        Ok(())
    }

    /// The metrics over all pixels added so far. More may be added afterwards.
    ///
    /// # Errors
    /// [`Error::UndefinedMetric`] when there is no unexpected or no normal pixel.
    pub fn evaluate(&mut self) -> Result<AnomalyMetrics> {
        let missing = match (self.positives.is_empty(), self.negatives.is_empty()) {
            (false, false) => None,
            (true, false) => Some("no pixel is labelled 1 (unexpected)"),
            (false, true) => Some("no pixel is labelled 0 (normal)"),
            (true, true) => Some("no pixel is labelled 1 (unexpected) or 0 (normal)"),
        };
        if let Some(missing) = missing {
            return Err(Error::UndefinedMetric { metric: ALL_METRICS, problem: missing.to_owned() });
        }
        sort_descending(&mut self.positives);
        sort_descending(&mut self.negatives);
        Ok(self.walk())
    }

    /// The highest threshold that finds at least the share `tpr` of the unexpected pixels, where a pixel is found
    /// when its score is at or above the threshold. `tpr` is in `0.0 < tpr <= 1.0`.
    ///
    /// At 0.95 it is the threshold whose false positive rate is [`AnomalyMetrics::fpr95`].
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for `tpr` out of its range, [`Error::UndefinedMetric`] when no pixel is
    /// unexpected.
    pub fn threshold_at_tpr(&mut self, tpr: f64) -> Result<f32> {
        if !(tpr > 0.0 && tpr <= 1.0) {
            return Err(Error::InvalidParameter {
                field: "tpr",
                given: tpr.to_string(),
                expected: "a number above 0 and up to 1",
            });
        }
        if self.positives.is_empty() {
            return Err(Error::UndefinedMetric {
                metric: "threshold at a true positive rate",
                problem: "no pixel is labelled 1 (unexpected)".to_owned(),
            });
        }
        sort_descending(&mut self.positives);
        let total = self.positives.len() as f64;
        // The least count whose rate reaches `tpr` in the arithmetic of the metrics. `ceil` alone can be one too
        // high or too low, because the product is rounded.
        let mut count = ((tpr * total).ceil() as usize).clamp(1, self.positives.len());
        while count > 1 && (count - 1) as f64 / total >= tpr {
            count -= 1;
        }
        while count < self.positives.len() && (count as f64 / total) < tpr {
            count += 1;
        }
        Ok(score(self.positives[count - 1]))
    }

    /// All metrics in one pass over the sorted lists, neither of which is empty.
    fn walk(&self) -> AnomalyMetrics {
        let (positives, negatives) = (self.positives.len() as u64, self.negatives.len() as u64);
        let (p, n) = (positives as f64, negatives as f64);
        // The curve begins above the highest score, where nothing is found.
        let mut here = Point::default();
        let mut twice_area = 0_u128;
        let mut precision = Sum::default();
        let mut fpr95 = None;
        let mut fpr95_interp = 0.0;
        for next in Curve::new(&self.positives, &self.negatives) {
            let (found, alarms) = (next.found - here.found, next.alarms - here.alarms);
            twice_area += u128::from(alarms) * u128::from(here.found + next.found);
            precision.add(found as f64 * (next.found as f64 / (next.found + next.alarms) as f64));
            let tpr = [here.found as f64 / p, next.found as f64 / p];
            let fpr = [here.alarms as f64 / n, next.alarms as f64 / n];
            if tpr[1] >= TPR_OF_FPR95 {
                fpr95.get_or_insert(fpr[1]);
            }
            // The last step that begins at or below 0.95 and ends above it, or else the point at exactly 0.95.
            if tpr[1] == TPR_OF_FPR95 {
                fpr95_interp = fpr[1];
            } else if tpr[0] < TPR_OF_FPR95 && tpr[1] > TPR_OF_FPR95 {
                let slope = (fpr[1] - fpr[0]) / (tpr[1] - tpr[0]);
                fpr95_interp = slope * (TPR_OF_FPR95 - tpr[0]) + fpr[0];
            }
            here = next;
        }
        AnomalyMetrics {
            auroc: twice_area as f64 / 2.0 / (p * n),
            ap: precision.total() / p,
            fpr95: fpr95.unwrap_or(1.0),
            fpr95_interp,
            positives,
            negatives,
            ignored: self.ignored,
        }
    }
}

/// Highest score first. Sorting what is sorted already takes one pass.
fn sort_descending(keys: &mut [u32]) {
    keys.par_sort_unstable_by_key(|&key| Reverse(key));
}

/// The key of a score that is not NaN: `key(a) < key(b)` exactly when `a < b`, and both zeros share one key.
fn key(score: f32) -> u32 {
    // Adding zero turns -0.0 into 0.0 and changes nothing else.
    let bits = (score + 0.0).to_bits();
    // Negative numbers sort backwards by their bits, and before the positive ones.
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

/// The score of a key.
fn score(key: u32) -> f32 {
    f32::from_bits(if key >> 31 == 1 { key & !(1 << 31) } else { !key })
}

/// How many pixels score at or above a threshold.
#[derive(Debug, Clone, Copy, Default)]
struct Point {
    /// Unexpected ones: true positives.
    found: u64,
    /// Normal ones: false positives.
    alarms: u64,
}

/// The points of the curve, one for each distinct score, from the highest down.
struct Curve<'a> {
    positives: Peekable<slice::Iter<'a, u32>>,
    negatives: Peekable<slice::Iter<'a, u32>>,
    point: Point,
}

impl<'a> Curve<'a> {
    fn new(positives: &'a [u32], negatives: &'a [u32]) -> Self {
        Self {
            positives: positives.iter().peekable(),
            negatives: negatives.iter().peekable(),
            point: Point::default(),
        }
    }
}

impl Iterator for Curve<'_> {
    type Item = Point;

    fn next(&mut self) -> Option<Point> {
        // `None` is less than every key.
        let threshold = self.positives.peek().max(self.negatives.peek()).copied().copied()?;
        while self.positives.next_if(|&&key| key == threshold).is_some() {
            self.point.found += 1;
        }
        while self.negatives.next_if(|&&key| key == threshold).is_some() {
            self.point.alarms += 1;
        }
        Some(self.point)
    }
}

/// A sum whose error does not grow with the number of terms: the rounding of each addition is kept and added at the
/// end (Neumaier 1974).
#[derive(Default)]
struct Sum {
    sum: f64,
    lost: f64,
}

impl Sum {
    fn add(&mut self, term: f64) {
        let sum = self.sum + term;
        let (large, small) = if self.sum.abs() >= term.abs() { (self.sum, term) } else { (term, self.sum) };
        self.lost += (large - sum) + small;
        self.sum = sum;
    }

    fn total(&self) -> f64 {
        self.sum + self.lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_as_scores_and_come_back() {
        let ascending =
            [f32::NEG_INFINITY, f32::MIN, -1.5, -1e-40, 0.0, 1e-40, 0.5, 1.0, f32::MAX, f32::INFINITY];
        for pair in ascending.windows(2) {
            assert!(key(pair[0]) < key(pair[1]), "{pair:?}");
        }
        for value in ascending {
            assert_eq!(score(key(value)), value);
        }
        assert_eq!(key(-0.0), key(0.0));
    }

    #[test]
    fn the_two_zeros_tie() {
        let mut scores = PixelScores::new();
        scores.add(&[0.0, -0.0], &[1, 0]).unwrap();
        assert_eq!(scores.evaluate().unwrap().auroc, 0.5);
    }

    #[test]
    fn infinite_scores_rank_at_the_ends() {
        let mut scores = PixelScores::new();
        scores.add(&[f32::INFINITY, f32::MAX, f32::MIN, f32::NEG_INFINITY], &[1, 0, 1, 0]).unwrap();
        assert_eq!(scores.evaluate().unwrap().auroc, 0.75);
        assert_eq!(scores.threshold_at_tpr(0.5).unwrap(), f32::INFINITY);
    }

    #[test]
    fn nan_is_refused_with_its_number_and_nothing_is_added() {
        let mut scores = PixelScores::new();
        let error = scores.add(&[1.0, f32::NAN, f32::NAN, f32::NAN], &[1, 0, 1, 255]).unwrap_err();
        assert_eq!(error.to_string(), "AUROC, AP and FPR95 is not defined: 2 of 3 labelled scores are NaN");
        assert!(scores.positives.is_empty() && scores.negatives.is_empty() && scores.ignored == 0);
    }

    #[test]
    fn nan_of_an_ignored_pixel_does_no_harm() {
        let mut scores = PixelScores::new();
        scores.add(&[1.0, 0.0, f32::NAN], &[1, 0, 255]).unwrap();
        let metrics = scores.evaluate().unwrap();
        assert_eq!((metrics.auroc, metrics.ignored), (1.0, 1));
    }

    #[test]
    fn one_kind_of_label_is_not_enough() {
        for (labels, missing) in
            [(&[0_u8, 0][..], "labelled 1"), (&[1, 1], "labelled 0"), (&[2, 255], "1 (unexpected) or 0")]
        {
            let mut scores = PixelScores::new();
            scores.add(&[0.0, 1.0], labels).unwrap();
            let error = scores.evaluate().unwrap_err();
            assert!(matches!(error, Error::UndefinedMetric { .. }));
            assert!(error.to_string().contains(missing), "{error}");
        }
        assert!(matches!(PixelScores::new().evaluate(), Err(Error::UndefinedMetric { .. })));
    }

    #[test]
    fn lengths_must_agree() {
        let error = PixelScores::new().add(&[0.0; 3], &[0; 2]).unwrap_err();
        assert_eq!(error.to_string(), "number of labels is 2: expected one a score, 3");
    }

    #[test]
    fn threshold_needs_a_rate_and_a_positive() {
        let mut scores = PixelScores::new();
        assert!(matches!(scores.threshold_at_tpr(0.5), Err(Error::UndefinedMetric { .. })));
        scores.add(&[3.0, 2.0, 1.0], &[1, 1, 1]).unwrap();
        for tpr in [0.0, -0.5, 1.1, f64::NAN] {
            assert!(matches!(scores.threshold_at_tpr(tpr), Err(Error::InvalidParameter { .. })), "{tpr}");
        }
        for (tpr, threshold) in [(1e-9, 3.0), (1.0 / 3.0, 3.0), (0.34, 2.0), (2.0 / 3.0, 2.0), (1.0, 1.0)] {
            assert_eq!(scores.threshold_at_tpr(tpr).unwrap(), threshold, "{tpr}");
        }
    }

    #[test]
    fn evaluation_can_go_on_after_more_pixels() {
        let mut scores = PixelScores::new();
        scores.add(&[1.0, 0.0], &[1, 0]).unwrap();
        assert_eq!(scores.evaluate().unwrap().auroc, 1.0);
        scores.add(&[2.0], &[0]).unwrap();
        assert_eq!(scores.evaluate().unwrap().auroc, 0.5);
    }

    #[test]
    fn the_sum_keeps_small_terms() {
        let mut sum = Sum::default();
        for term in [1.0, 1e100, 1.0, -1e100] {
            sum.add(term);
        }
        assert_eq!(sum.total(), 2.0);
    }
}
