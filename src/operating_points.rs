//! Thresholds for the anomaly score, measured by a calibration: which score leaves a given fraction of pixels above it.
//!
//! A [`ScoreHistogram`] counts scores by their leading bits, so that any number of images is summarized in a fixed
//! amount of memory and histograms add up. [`OperatingPoints`] keeps, for a fixed grid of rates, the thresholds on
//! normal pixels (false positive rate) and, where labelled unexpected pixels were given, on those (true positive rate).

use serde::{Deserialize, Serialize};

use crate::{Error, Params, Result};

/// Bits of a float32 that a histogram keeps: sign, exponent and 11 bits of mantissa, so that a threshold is at
/// most 0.05 % off.
const KEPT_BITS: u32 = 20;

/// Histogram of anomaly scores over all finite float32 values.
#[derive(Clone, Debug)]
pub struct ScoreHistogram {
    counts: Vec<u64>,
    total: u64,
}

impl Default for ScoreHistogram {
    fn default() -> Self {
        Self { counts: vec![0; 1 << KEPT_BITS], total: 0 }
    }
}

impl ScoreHistogram {
    /// Counts one score. NaN is left out: no threshold finds it. An infinite score counts as the largest finite one of
    /// its sign, so that every threshold is finite (JSON cannot hold another).
    pub fn add(&mut self, score: f32) {
        if !score.is_nan() {
            self.counts[bin(score.clamp(f32::MIN, f32::MAX))] += 1;
            self.total += 1;
        }
    }

    /// Number of scores counted.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The highest threshold (lower edge of a bin) with at least the fraction `rate` of the scores at or above it.
    /// `None` while nothing is counted.
    pub fn threshold(&self, rate: f64) -> Option<f32> {
        self.thresholds([rate].into_iter()).next()
    }

    /// The threshold of each of some ascending rates, in one pass over the bins; none while nothing is counted.
    fn thresholds(&self, rates: impl Iterator<Item = f64>) -> impl Iterator<Item = f32> {
        let mut bins = self.counts.iter().enumerate().rev();
        let (mut above, mut lowest) = (0, 0);
        rates.map_while(move |rate| {
            let wanted = (rate * self.total as f64).ceil().max(1.0) as u64;
            while above < wanted {
                let (bin, &count) = bins.next()?;
                (above, lowest) = (above + count, bin);
            }
            Some(lower_edge(lowest))
        })
    }
}

/// Index of a score's bin; bins are in the order of the scores.
fn bin(score: f32) -> usize {
    let bits = score.to_bits();
    // Negative floats order backwards by their bits: flip them all; lift the others above them.
    let ordered = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
    (ordered >> (32 - KEPT_BITS)) as usize
}

/// Smallest score of a bin.
fn lower_edge(bin: usize) -> f32 {
    let ordered = (bin as u32) << (32 - KEPT_BITS);
    f32::from_bits(if ordered >> 31 == 1 { ordered & !(1 << 31) } else { !ordered })
}

/// A rate and the threshold that yields it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct OperatingPoint {
    /// Fraction of the pixels whose anomaly score is at or above the threshold.
    pub rate: f64,
    /// Anomaly score.
    pub threshold: f32,
}

/// Thresholds by rate, valid for the parameters that they were measured with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OperatingPoints {
    /// Parameters of the post-processing that made the scores.
    pub params: Params,
    /// Thresholds by false positive rate, rates ascending.
    pub false_positive: Vec<OperatingPoint>,
    /// Thresholds by true positive rate, rates ascending; empty when no unexpected pixels were labelled.
    pub true_positive: Vec<OperatingPoint>,
}

impl OperatingPoints {
    /// Summarizes the scores of normal and of unexpected pixels.
    pub fn new(params: Params, normal: &ScoreHistogram, unexpected: &ScoreHistogram) -> Self {
        let points = |histogram: &ScoreHistogram| {
            let thresholds = histogram.thresholds(rates());
            rates().zip(thresholds).map(|(rate, threshold)| OperatingPoint { rate, threshold }).collect()
        };
        Self { params, false_positive: points(normal), true_positive: points(unexpected) }
    }

    /// Threshold at which the fraction `rate` of unexpected pixels is found.
    ///
    /// # Errors
    /// When `rate` is not within 0 and 1, `params` differ from the measured ones, or nothing unexpected was labelled.
    pub fn threshold_at_tpr(&self, rate: f64, params: &Params) -> Result<f32> {
        self.lookup(&self.true_positive, "tpr", rate, params)
    }

    /// Threshold at which the fraction `rate` of normal pixels is reported wrongly.
    ///
    /// # Errors
    /// When `rate` is not within 0 and 1, or `params` differ from the measured ones.
    pub fn threshold_at_fpr(&self, rate: f64, params: &Params) -> Result<f32> {
        self.lookup(&self.false_positive, "fpr", rate, params)
    }

    fn lookup(
        &self,
        points: &[OperatingPoint],
        name: &'static str,
        rate: f64,
        params: &Params,
    ) -> Result<f32> {
        let invalid = |given: String, expected| Error::InvalidParameter { field: name, given, expected };
        if !(0.0..=1.0).contains(&rate) {
            return Err(invalid(rate.to_string(), "a rate from 0 to 1"));
        }
        if *params != self.params {
            return Err(invalid(
                format!("{rate}, with other parameters than the thresholds were measured with"),
                "the parameters of the calibration (see `sml stats show`), or --threshold",
            ));
        }
        let above = points.iter().position(|point| point.rate >= rate);
        match above {
            Some(0) => Ok(points[0].threshold),
            Some(i) => {
                let (low, high) = (points[i - 1], points[i]);
                let weight = ((rate - low.rate) / (high.rate - low.rate)) as f32;
                Ok(low.threshold + weight * (high.threshold - low.threshold))
            }
            None => Err(invalid(
                format!("{rate}, and these statistics hold no labelled pixels to measure it on"),
                "statistics calibrated with labels (`sml calibrate --labels`), or --threshold",
            )),
        }
    }
}

/// Rates whose thresholds are kept: fine at both ends.
fn rates() -> impl Iterator<Item = f64> {
    let fine = [0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005];
    let middle = (1..100).map(|percent| f64::from(percent) / 100.0);
    fine.into_iter().chain(middle).chain(fine.into_iter().rev().map(|rate| 1.0 - rate)).chain([1.0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_keep_the_order_of_scores() {
        let scores = [f32::NEG_INFINITY, -1e9, -3.5, -1e-30, 0.0, 1e-30, 0.25, 7.0, 1e9, f32::INFINITY];
        assert!(scores.windows(2).all(|pair| bin(pair[0]) < bin(pair[1])));
        for score in scores.into_iter().filter(|s| s.is_finite() && *s != 0.0) {
            let edge = lower_edge(bin(score));
            assert!(edge <= score && (score - edge) <= score.abs() * 1e-3, "{score} in the bin of {edge}");
        }
    }

    #[test]
    fn thresholds_split_the_scores() {
        let mut normal = ScoreHistogram::default();
        (0..10_000).for_each(|i| normal.add(i as f32 / 1000.0 - 5.0));
        let points = OperatingPoints::new(Params::default(), &normal, &ScoreHistogram::default());
        let threshold = points.threshold_at_fpr(0.05, &Params::default()).unwrap();
        assert!((threshold - 4.5).abs() < 0.01, "{threshold}");
        let error = points.threshold_at_tpr(0.95, &Params::default()).unwrap_err().to_string();
        assert!(error.contains("no labelled pixels"), "{error}");
        let other = Params { smoothing: None, ..Params::default() };
        assert!(points.threshold_at_fpr(0.05, &other).is_err());
        assert!(points.threshold_at_fpr(1.5, &Params::default()).is_err());
    }
}
