//! Thresholds and the points of the curve that they give, for exact scores and histograms alike.
//!
//! A threshold calls every pixel unexpected whose score is at or above it. Each distinct score is one threshold and
//! gives one point of the ROC curve and of the precision-recall curve. [`Ranked`] is what the two modes know about
//! their pixels; everything here is computed from it by look-ups, never by a walk over all points.

use serde::{Deserialize, Serialize};

use super::keys::{key, score};
use crate::{Error, Result};

/// A threshold and what it finds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ThresholdRow {
    /// Pixels with at least this anomaly score are called unexpected. In JSON, an infinite one is the text `"inf"` or
    /// `"-inf"`.
    #[serde(with = "json_number")]
    pub threshold: f32,
    /// Share of the unexpected pixels that are found.
    pub tpr: f64,
    /// Share of the normal pixels that are called unexpected.
    pub fpr: f64,
    /// Share of the found pixels that are unexpected; 1 where nothing is found.
    pub precision: f64,
}

impl ThresholdRow {
    /// Harmonic mean of precision and recall (`tpr`); 0 where both are.
    pub fn f1(&self) -> f64 {
        if self.tpr > 0.0 { 2.0 * self.precision * self.tpr / (self.precision + self.tpr) } else { 0.0 }
    }
}

/// A point of the ROC curve and of the precision-recall curve at once; recall is `tpr`.
pub type CurvePoint = ThresholdRow;

/// Which threshold is wanted. Rates and shares are in `0.0..=1.0`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ThresholdAt {
    /// The highest threshold that finds at least this share of the unexpected pixels, which is above 0. At 0.95 its
    /// false positive rate is [`AnomalyMetrics::fpr95`](super::AnomalyMetrics::fpr95).
    Tpr(f64),
    /// The lowest threshold that calls at most this share of the normal pixels unexpected. Where already the highest
    /// score calls more, it lies just above every score and finds nothing (unless that score is infinite: then it is
    /// the threshold, and its row shows the larger rate).
    Fpr(f64),
    /// The highest threshold with at most this share of all labelled pixels below it; 0.99 is the 99th percentile.
    Quantile(f64),
    /// The threshold with the largest pixel-wise F1; the highest of them where several have it.
    BestF1,
}

/// How many pixels score at or above a threshold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Point {
    /// Unexpected ones: true positives.
    pub found: u64,
    /// Normal ones: false positives.
    pub alarms: u64,
}

/// Pixels in the order of their scores. Ranks count from 1, the highest score.
pub(super) trait Ranked {
    /// All pixels.
    fn total(&self) -> Point;
    /// The pixels whose keys are `key` or higher.
    fn from(&self, key: u32) -> Point;
    /// The lowest key that is above all pixels that are not told apart from `key`.
    fn above(&self, key: u32) -> Option<u32>;
    /// Key of the unexpected pixel of this rank, which exists.
    fn unexpected(&self, rank: u64) -> u32;
    /// Key of the normal pixel of this rank, which exists.
    fn normal(&self, rank: u64) -> u32;
    /// Key of the threshold with the largest F1, the highest of them.
    fn best_f1(&self) -> u32;

    /// What lies strictly above the pixels of `key`.
    fn beyond(&self, key: u32) -> Point {
        self.above(key).map_or(Point::default(), |above| self.from(above))
    }

    fn row(&self, key: u32) -> ThresholdRow {
        let (total, Point { found, alarms }) = (self.total(), self.from(key));
        let precision = if found + alarms == 0 { 1.0 } else { found as f64 / (found + alarms) as f64 };
        ThresholdRow {
            threshold: score(key),
            tpr: found as f64 / total.found as f64,
            fpr: alarms as f64 / total.alarms as f64,
            precision,
        }
    }
}

/// The rows that are asked for, in the order of the requests. Both kinds of pixels are present.
pub(super) fn rows(ranked: &impl Ranked, wanted: &[ThresholdAt]) -> Result<Vec<ThresholdRow>> {
    wanted.iter().map(|&at| Ok(ranked.row(key_at(ranked, at)?))).collect()
}

fn key_at(ranked: &impl Ranked, at: ThresholdAt) -> Result<u32> {
    let total = ranked.total();
    match at {
        ThresholdAt::Tpr(rate) => Ok(ranked.unexpected(rank_at_rate(rate, total.found)?)),
        ThresholdAt::Fpr(rate) => {
            check("fpr", rate, "a number from 0 to 1", rate >= 0.0)?;
            Ok(key_at_fpr(ranked, most_within(rate, total.alarms)))
        }
        ThresholdAt::Quantile(share) => {
            check("quantile", share, "a number from 0 to 1", share >= 0.0)?;
            Ok(key_at_quantile(ranked, most_within(share, total.found + total.alarms)))
        }
        ThresholdAt::BestF1 => Ok(ranked.best_f1()),
    }
}

fn check(field: &'static str, given: f64, expected: &'static str, high_enough: bool) -> Result<()> {
    if high_enough && given <= 1.0 {
        return Ok(());
    }
    Err(Error::InvalidParameter { field, given: given.to_string(), expected })
}

/// The true positive rate at which FPR95 is read.
pub(super) const TPR_OF_FPR95: f64 = 0.95;

/// FPR95 at the first point that reaches the rate, and interpolated. Both kinds of pixels are present.
pub(super) fn fpr95(ranked: &impl Ranked) -> Result<(f64, f64)> {
    let total = ranked.total();
    let (p, n) = (total.found as f64, total.alarms as f64);
    let key = ranked.unexpected(rank_at_rate(TPR_OF_FPR95, total.found)?);
    let here = ranked.from(key);
    let (tpr, fpr) = (here.found as f64 / p, here.alarms as f64 / n);
    if tpr > TPR_OF_FPR95 {
        // The point before it has all that lies above this score.
        let before = ranked.beyond(key);
        let (tpr_before, fpr_before) = (before.found as f64 / p, before.alarms as f64 / n);
        let slope = (fpr - fpr_before) / (tpr - tpr_before);
        return Ok((fpr, slope * (TPR_OF_FPR95 - tpr_before) + fpr_before));
    }
    // The rate is met exactly: the last point that has it lies above the next unexpected pixel, which exists because
    // all of them are more than 95 %.
    let last = ranked.beyond(ranked.unexpected((here.found + 1).min(total.found)));
    Ok((fpr, last.alarms as f64 / n))
}

/// The least number of `total` pixels, which are not none, whose share reaches `tpr` in the arithmetic of the metrics.
pub(super) fn rank_at_rate(tpr: f64, total: u64) -> Result<u64> {
    check("tpr", tpr, "a number above 0 and up to 1", tpr > 0.0)?;
    let all = total as f64;
    // `ceil` alone can be one too high or too low, because the product is rounded.
    let mut rank = ((tpr * all).ceil() as u64).clamp(1, total);
    while rank > 1 && (rank - 1) as f64 / all >= tpr {
        rank -= 1;
    }
    while rank < total && (rank as f64 / all) < tpr {
        rank += 1;
    }
    Ok(rank)
}

/// The largest number of `total` pixels, which are not none, whose share is at most `rate`.
fn most_within(rate: f64, total: u64) -> u64 {
    let all = total as f64;
    let mut count = ((rate * all) as u64).min(total);
    while count > 0 && count as f64 / all > rate {
        count -= 1;
    }
    while count < total && (count + 1) as f64 / all <= rate {
        count += 1;
    }
    count
}

/// The lowest key with at most `alarms` normal pixels at or above it.
fn key_at_fpr(ranked: &impl Ranked, alarms: u64) -> u32 {
    let total = ranked.total();
    if alarms >= total.alarms {
        // Every pixel may be called unexpected.
        return ranked.unexpected(total.found).min(ranked.normal(total.alarms));
    }
    // This normal pixel is one too many: the threshold is the lowest score above it.
    let barred = ranked.normal(alarms + 1);
    let beyond = ranked.beyond(barred);
    let unexpected = (beyond.found > 0).then(|| ranked.unexpected(beyond.found));
    let normal = (beyond.alarms > 0).then(|| ranked.normal(beyond.alarms));
    let lowest = [unexpected, normal].into_iter().flatten().min();
    // Nothing is above an infinite score: its own row tells what that costs.
    let highest = key(f32::INFINITY);
    lowest.unwrap_or_else(|| ranked.above(barred).unwrap_or(highest)).min(highest)
}

/// The highest key with at most `below` pixels below it: that of the pixel with as many below.
fn key_at_quantile(ranked: &impl Ranked, below: u64) -> u32 {
    let total = ranked.total();
    let all = total.found + total.alarms;
    let rank = all - below.min(all - 1);
    // The highest key from which at least `rank` pixels are found, by bisection over the keys.
    let (mut low, mut high) = (0, u32::MAX);
    while low < high {
        let middle = high - (high - low) / 2;
        let point = ranked.from(middle);
        if point.found + point.alarms >= rank { low = middle } else { high = middle - 1 }
    }
    low
}

/// At most `most` (and at least 2) points of the curve, from the highest threshold down. Both ends are among them.
///
/// Every point lies on the curve; what is left out lies between. Points are spread evenly over the unexpected pixels
/// (recall) and the normal ones (false positive rate), and in equal ratios near the highest scores, where a
/// precision-recall curve moves most and where low false positive rates lie.
pub(super) fn thin(ranked: &impl Ranked, most: usize) -> Vec<CurvePoint> {
    let total = ranked.total();
    let most = most.max(2);
    let mut keys = all_keys(ranked, most).unwrap_or_else(|| {
        let ends = [total.found, total.alarms].map(|count| count.max(1));
        let mut keys = vec![
            ranked.unexpected(1).max(ranked.normal(1)),
            ranked.unexpected(ends[0]).min(ranked.normal(ends[1])),
        ];
        let third = (most - 2) / 3;
        for step in 1..=third {
            let share = step as f64 / (third + 1) as f64;
            let evenly = |all: u64| ((all as f64 * share) as u64).clamp(1, all);
            let ratio = (total.alarms as f64).powf(share) as u64;
            keys.push(ranked.unexpected(evenly(total.found)));
            keys.push(ranked.normal(evenly(total.alarms)));
            keys.push(ranked.normal(ratio.clamp(1, total.alarms)));
        }
        keys
    });
    keys.sort_unstable_by(|a, b| b.cmp(a));
    keys.dedup();
    keys.into_iter().map(|key| ranked.row(key)).collect()
}

/// Every distinct key, unless there are more than `most`.
fn all_keys(ranked: &impl Ranked, most: usize) -> Option<Vec<u32>> {
    let total = ranked.total();
    let mut keys = Vec::new();
    let mut seen = Point::default();
    while seen != total {
        if keys.len() == most {
            return None;
        }
        let unexpected = (seen.found < total.found).then(|| ranked.unexpected(seen.found + 1));
        let normal = (seen.alarms < total.alarms).then(|| ranked.normal(seen.alarms + 1));
        let key = unexpected.max(normal)?;
        keys.push(key);
        seen = ranked.from(key);
    }
    Some(keys)
}

/// JSON has no infinity.
pub(crate) mod json_number {
    use serde::{Deserialize, Deserializer, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Number<'a> {
        Finite(f32),
        Infinite(std::borrow::Cow<'a, str>),
    }

    pub fn serialize<S: Serializer>(number: &f32, serializer: S) -> Result<S::Ok, S::Error> {
        if number.is_finite() { serializer.serialize_f32(*number) } else { serializer.collect_str(number) }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f32, D::Error> {
        match Number::deserialize(deserializer)? {
            Number::Finite(number) => Ok(number),
            Number::Infinite(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}
