//! Percentiles, mean and spread.

use serde::{Deserialize, Serialize};

/// Latency in microseconds. A percentile is the least measurement that so many per cent of all do not exceed, so that of few
/// frames the high ones are the maximum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// The median.
    pub p50: f64,
    /// 90 % do not exceed it.
    pub p90: f64,
    /// 99 % do not exceed it.
    pub p99: f64,
    /// 99.9 % do not exceed it.
    pub p999: f64,
    /// The longest.
    pub max: f64,
    /// Arithmetic mean.
    pub mean: f64,
    /// Standard deviation of the measurements themselves, not an estimate of other ones'.
    pub stddev: f64,
}
