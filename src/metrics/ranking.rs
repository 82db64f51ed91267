//! AUROC, AP and FPR95 of anomaly scores, exact over any number of images.
//!
//! Every metric here depends on the order of the scores alone. A score is therefore kept as a 32-bit key that sorts
//! as an unsigned integer the way the scores sort as numbers: 4 bytes a labelled pixel, in one list for the
//! unexpected pixels and one for the normal ones, so that the label costs nothing. Evaluation sorts both lists on all
//! threads, which takes 4 bytes a pixel more while it lasts, and then looks at each distinct score of an unexpected
//! pixel once: only there do recall and the sums of AUROC and AP change. The unexpected pixels are cut into parts of
//! a fixed size for that, whose sums are added in their order, so that the result does not depend on the number of
//! threads. Counts are integers to the end, so that AUROC is rounded once.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::curve::{self, CurvePoint, Point, Ranked, ThresholdAt, ThresholdRow, rank_at_rate};
use super::keys::{Keys, key, score};
use super::sum::Sum;
use crate::{Error, Result};

/// Label of a pixel that belongs to an unexpected object: a positive.
pub const UNEXPECTED: u8 = 1;

/// Label of a normal pixel: a negative. Every label but this one and [`UNEXPECTED`] is ignored.
pub const NORMAL: u8 = 0;

/// What the metrics are called in an error.
const ALL_METRICS: &str = "AUROC, AP and FPR95";

/// Pixels that are added at a time: their keys stay in the L1 cache.
const CHUNK: usize = 1 << 11;

/// Unexpected pixels of one part of the walk.
const PART: usize = 1 << 16;

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

/// Anomaly scores with their labels, collected over any number of images. Takes 4 bytes of memory a labelled pixel,
/// and twice that while it sorts them.
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
    positives: Keys,
    negatives: Keys,
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
        check(scores, labels)?;
        let mut keys = [[0; CHUNK]; 2];
        for (scores, labels) in scores.chunks(CHUNK).zip(labels.chunks(CHUNK)) {
            let [normal, unexpected] = &mut keys;
            let mut counts = [0, 0];
            for (&score, &label) in scores.iter().zip(labels) {
                // Written always and kept when the count moves on: labels of noise cost no more than those of objects.
                let key = key(score);
                normal[counts[0]] = key;
                unexpected[counts[1]] = key;
                counts[0] += usize::from(label == NORMAL);
                counts[1] += usize::from(label == UNEXPECTED);
            }
            self.negatives.extend(&normal[..counts[0]]);
            self.positives.extend(&unexpected[..counts[1]]);
            self.ignored += (scores.len() - counts[0] - counts[1]) as u64;
        }
        Ok(())
    }

    /// Adds keys of pixels that all have this label.
    pub(super) fn extend(&mut self, label: u8, keys: &[u32]) {
        match label {
            UNEXPECTED => self.positives.extend(keys),
            NORMAL => self.negatives.extend(keys),
            _ => self.ignored += keys.len() as u64,
        }
    }

    /// Adds all pixels of another collection, such as that of another shard. Neither order nor grouping of what is
    /// merged changes any result.
    pub fn merge(&mut self, other: Self) {
        self.positives.append(other.positives);
        self.negatives.append(other.negatives);
        self.ignored += other.ignored;
    }

    /// Labelled pixels so far.
    pub fn labelled(&self) -> u64 {
        (self.positives.len() + self.negatives.len()) as u64
    }

    /// The metrics over all pixels added so far. More may be added afterwards.
    ///
    /// # Errors
    /// [`Error::UndefinedMetric`] when there is no unexpected or no normal pixel.
    pub fn evaluate(&mut self) -> Result<AnomalyMetrics> {
        let ignored = self.ignored;
        let sorted = self.sorted()?;
        let areas = sorted.areas();
        let (p, n) = (sorted.unexpected.len() as f64, sorted.normal.len() as f64);
        let (fpr95, fpr95_interp) = curve::fpr95(&sorted)?;
        Ok(AnomalyMetrics {
            auroc: areas.twice_wins as f64 / 2.0 / (p * n),
            ap: areas.precision.total() / p,
            fpr95,
            fpr95_interp,
            positives: sorted.unexpected.len() as u64,
            negatives: sorted.normal.len() as u64,
            ignored,
        })
    }

    /// The highest threshold that finds at least the share `tpr` of the unexpected pixels, where a pixel is found
    /// when its score is at or above the threshold. `tpr` is in `0.0 < tpr <= 1.0`. No normal pixel is needed.
    ///
    /// At 0.95 it is the threshold whose false positive rate is [`AnomalyMetrics::fpr95`].
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for `tpr` out of its range, [`Error::UndefinedMetric`] when no pixel is
    /// unexpected.
    pub fn threshold_at_tpr(&mut self, tpr: f64) -> Result<f32> {
        let rank = rank_at_rate(tpr, (self.positives.len() as u64).max(1))?;
        if self.positives.is_empty() {
            return Err(Error::UndefinedMetric {
                metric: "threshold at a true positive rate",
                problem: "no pixel is labelled 1 (unexpected)".to_owned(),
            });
        }
        let unexpected = self.positives.sorted();
        Ok(score(Sorted { unexpected, normal: &[] }.unexpected(rank)))
    }

    /// Thresholds and what they find, in the order of the requests.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for a rate or share out of its range, [`Error::UndefinedMetric`] when there is no
    /// unexpected or no normal pixel.
    pub fn thresholds(&mut self, wanted: &[ThresholdAt]) -> Result<Vec<ThresholdRow>> {
        curve::rows(&self.sorted()?, wanted)
    }

    /// The curve as at most `most` points (at least 2), from the highest threshold down. Every point lies on the exact
    /// curve, and both ends are kept: the highest score, and the lowest, where all pixels are found.
    ///
    /// # Errors
    /// [`Error::UndefinedMetric`] when there is no unexpected or no normal pixel.
    pub fn curve(&mut self, most: usize) -> Result<Vec<CurvePoint>> {
        Ok(curve::thin(&self.sorted()?, most))
    }

    fn sorted(&mut self) -> Result<Sorted<'_>> {
        both_present(self.positives.len() as u64, self.negatives.len() as u64)?;
        Ok(Sorted { unexpected: self.positives.sorted(), normal: self.negatives.sorted() })
    }
}

/// Refuses scores without a label each, and labelled scores without a rank.
pub(super) fn check(scores: &[f32], labels: &[u8]) -> Result<()> {
    if scores.len() != labels.len() {
        return Err(Error::Shape {
            what: "number of labels",
            given: labels.len().to_string(),
            expected: format!("one a score, {}", scores.len()),
        });
    }
    // Both labels that count are below 2. Chunks keep the counter narrow, and the loop in vectors.
    let chunks = scores.chunks(CHUNK).zip(labels.chunks(CHUNK));
    let nan_of = |(scores, labels): (&[f32], &[u8])| -> u32 {
        scores.iter().zip(labels).map(|(s, &label)| u32::from(s.is_nan()) & u32::from(label < 2)).sum()
    };
    let nan: u64 = chunks.map(|chunk| u64::from(nan_of(chunk))).sum();
    if nan > 0 {
        let labelled = labels.iter().filter(|&&label| label == UNEXPECTED || label == NORMAL).count();
        return Err(Error::UndefinedMetric {
            metric: ALL_METRICS,
            problem: format!("{nan} of {labelled} labelled scores are NaN"),
        });
    }
    Ok(())
}

/// Refuses to evaluate without both kinds of pixels.
pub(super) fn both_present(positives: u64, negatives: u64) -> Result<()> {
    let missing = match (positives, negatives) {
        (1.., 1..) => return Ok(()),
        (0, 1..) => "no pixel is labelled 1 (unexpected)",
        (1.., 0) => "no pixel is labelled 0 (normal)",
        (0, 0) => "no pixel is labelled 1 (unexpected) or 0 (normal)",
    };
    Err(Error::UndefinedMetric { metric: ALL_METRICS, problem: missing.to_owned() })
}

/// The keys of both kinds of pixels, the lowest first.
struct Sorted<'a> {
    unexpected: &'a [u32],
    normal: &'a [u32],
}

/// Sums over unexpected pixels, from which the areas under both curves follow, and the best F1 among them.
#[derive(Default)]
struct Areas {
    /// Two for each normal pixel below an unexpected one, one for each at its score.
    twice_wins: u128,
    /// Precision at the score of each unexpected pixel.
    precision: Sum,
    /// The largest F1 and the key of the highest score that has it.
    best_f1: (f64, u32),
}

impl Sorted<'_> {
    fn areas(&self) -> Areas {
        let starts = (0..self.unexpected.len()).step_by(PART).map(|start| self.start_of_tie(start));
        let mut cuts: Vec<usize> = starts.chain([self.unexpected.len()]).collect();
        cuts.dedup();
        let parts: Vec<Areas> = cuts.par_windows(2).map(|cut| self.areas_of(cut[0], cut[1])).collect();
        parts.into_iter().fold(Areas::default(), |mut all, part| {
            all.twice_wins += part.twice_wins;
            all.precision.add(part.precision.total());
            // Parts follow each other from the lowest score up.
            if part.best_f1.0 >= all.best_f1.0 {
                all.best_f1 = part.best_f1;
            }
            all
        })
    }

    /// The first of the unexpected pixels that score as the one at `index`.
    fn start_of_tie(&self, index: usize) -> usize {
        let key = self.unexpected[index];
        self.unexpected[..index].partition_point(|&other| other < key)
    }

    /// Over the unexpected pixels from `start` to before `end`, neither of which parts pixels of equal score.
    fn areas_of(&self, start: usize, end: usize) -> Areas {
        let (p, n) = (self.unexpected.len() as u64, self.normal.len() as u64);
        let mut areas = Areas::default();
        let (mut index, mut below) = (start, 0);
        while index < end {
            let key = self.unexpected[index];
            let equal = gallop(&self.unexpected[index..end], |other| other <= key);
            below += if index == start {
                self.normal.partition_point(|&other| other < key)
            } else {
                gallop(&self.normal[below..], |other| other < key)
            };
            let tied = gallop(&self.normal[below..], |other| other <= key);
            let (found, alarms) = (p - index as u64, n - below as u64);
            areas.twice_wins += equal as u128 * (2 * below + tied) as u128;
            areas.precision.add(equal as f64 * (found as f64 / (found + alarms) as f64));
            let f1 = 2.0 * found as f64 / (found + alarms + p) as f64;
            if f1 >= areas.best_f1.0 {
                areas.best_f1 = (f1, key);
            }
            index += equal;
        }
        areas
    }
}

impl Ranked for Sorted<'_> {
    fn total(&self) -> Point {
        Point { found: self.unexpected.len() as u64, alarms: self.normal.len() as u64 }
    }

    fn from(&self, key: u32) -> Point {
        let from = |keys: &[u32]| (keys.len() - keys.partition_point(|&other| other < key)) as u64;
        Point { found: from(self.unexpected), alarms: from(self.normal) }
    }

    fn above(&self, key: u32) -> Option<u32> {
        key.checked_add(1)
    }

    fn unexpected(&self, rank: u64) -> u32 {
        self.unexpected[self.unexpected.len() - rank as usize]
    }

    fn normal(&self, rank: u64) -> u32 {
        self.normal[self.normal.len() - rank as usize]
    }

    fn best_f1(&self) -> u32 {
        self.areas().best_f1.1
    }
}

/// How many keys at the front of an ascending list `belongs` holds for, in time that grows with the logarithm of
/// that number.
fn gallop(keys: &[u32], belongs: impl Fn(u32) -> bool) -> usize {
    let (mut sure, mut step) = (0, 1);
    while sure + step <= keys.len() && belongs(keys[sure + step - 1]) {
        sure += step;
        step *= 2;
    }
    let end = (sure + step).min(keys.len());
    sure + keys[sure..end].partition_point(|&key| belongs(key))
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(error.to_string(), "no AUROC, AP and FPR95: 2 of 3 labelled scores are NaN");
        assert!(scores.labelled() == 0 && scores.ignored == 0);
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
            assert!(scores.curve(10).is_err() && scores.thresholds(&[ThresholdAt::BestF1]).is_err());
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
    fn galloping_finds_what_bisection_finds() {
        let keys: Vec<u32> = (0..100).map(|i| i / 3).collect();
        for limit in 0..40 {
            for start in 0..keys.len() {
                let want = keys[start..].partition_point(|&key| key < limit);
                assert_eq!(gallop(&keys[start..], |key| key < limit), want);
            }
        }
    }
}
