//! Thresholds for the anomaly score, measured by a calibration: which score leaves a given fraction of pixels above it.
//!
//! A [`ScoreHistogram`] summarizes the scores of any number of images in a fixed amount of memory. [`OperatingPoints`] keeps, for a fixed grid of rates, the thresholds on
//! normal pixels (false positive rate) and, where labelled unexpected pixels were given, on those (true positive rate).

use serde::{Deserialize, Serialize};

use crate::metrics::ScoreHistogram;
use crate::{Error, Params, Result};

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
