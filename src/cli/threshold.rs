//! Options about scores: from which one on a pixel is unexpected, and which ones colours span.

use clap::Args;

use crate::render::ScoreRange;
use crate::{ClassStatistics, Error, Params, Result};

/// From which score on a pixel is unexpected.
#[derive(Args)]
#[group(multiple = false)]
pub(super) struct ThresholdArgs {
    /// Pixels whose anomaly score is at least this are unexpected
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true, value_parser = finite)]
    threshold: Option<f32>,

    /// The threshold that finds this fraction of unexpected pixels, by the calibration
    #[arg(long, value_name = "RATE", value_parser = rate)]
    tpr: Option<f64>,

    /// The threshold that mistakes this fraction of normal pixels, by the calibration
    #[arg(long, value_name = "RATE", value_parser = rate)]
    fpr: Option<f64>,
}

/// Parses a threshold. NaN would find nothing, and infinity everything or nothing.
fn finite(text: &str) -> Result<f32> {
    text.parse().ok().filter(|value: &f32| value.is_finite()).ok_or_else(|| Error::InvalidParameter {
        field: "threshold",
        given: format!("{text:?}"),
        expected: "a finite number",
    })
}

/// Parses a rate.
fn rate(text: &str) -> Result<f64> {
    text.parse().ok().filter(|rate| (0.0..=1.0).contains(rate)).ok_or_else(|| Error::InvalidParameter {
        field: "rate",
        given: format!("{text:?}"),
        expected: "a number from 0 to 1",
    })
}

impl ThresholdArgs {
    /// The threshold that was asked for, if one was.
    ///
    /// # Errors
    /// When the statistics hold no thresholds for these parameters, and a rate was given.
    pub(super) fn resolve(
        &self,
        params: &Params,
        statistics: Option<&ClassStatistics>,
    ) -> Result<Option<f32>> {
        if let Some(threshold) = self.threshold {
            return Ok(Some(threshold));
        }
        if self.tpr.is_none() && self.fpr.is_none() {
            return Ok(None);
        }
        let points = statistics.and_then(ClassStatistics::operating_points).ok_or_else(|| {
            Error::InvalidStatistics {
                problem: "no thresholds were measured with them".to_owned(),
                expected: "statistics of `sml calibrate --thresholds`, or --threshold SCORE".to_owned(),
            }
        })?;
        match (self.tpr, self.fpr) {
            (Some(rate), _) => points.threshold_at_tpr(rate, params).map(Some),
            (_, Some(rate)) => points.threshold_at_fpr(rate, params).map(Some),
            _ => Ok(None),
        }
    }
}

/// Parses `LOW,HIGH`.
pub(super) fn score_range(text: &str) -> Result<ScoreRange> {
    let numbers = text.split_once(',').and_then(|(low, high)| Some((low.parse().ok()?, high.parse().ok()?)));
    let (low, high) = numbers.ok_or_else(|| Error::InvalidParameter {
        field: "range",
        given: format!("{text:?}"),
        expected: "LOW,HIGH: two numbers, such as -1,4",
    })?;
    ScoreRange::new(low, high)
}
