//! What many measurements of one thing come to.

use std::time::Duration;

use serde::Serialize;

/// Measurements of one stage, in memory that is there before the first one.
pub(super) struct Samples {
    /// Microseconds.
    times: Vec<f64>,
}

impl Samples {
    /// Room for so many.
    pub fn with_room_for(frames: usize) -> Self {
        Self { times: Vec::with_capacity(frames) }
    }

    pub fn add(&mut self, time: Duration) {
        self.times.push(time.as_secs_f64() * 1e6);
    }

    pub fn latency(&self) -> Latency {
        let mut times = self.times.clone();
        times.sort_by(f64::total_cmp);
        let number = times.len().max(1) as f64;
        let mean = times.iter().sum::<f64>() / number;
        let variance = times.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / number;
        Latency {
            p50: percentile(&times, 50.0),
            p90: percentile(&times, 90.0),
            p99: percentile(&times, 99.0),
            p999: percentile(&times, 99.9),
            max: percentile(&times, 100.0),
            mean,
            stddev: variance.sqrt(),
        }
    }
}

/// Latency in microseconds. A percentile is the least measurement that so many per cent of all do not exceed, so that of few
/// frames the high ones are the maximum.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Latency {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
    pub mean: f64,
    /// Of the measurements themselves, not an estimate of other ones'.
    pub stddev: f64,
}

/// By the nearest rank; 0 of no measurements.
fn percentile(sorted: &[f64], percent: f64) -> f64 {
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_measurements() {
        let mut samples = Samples::with_room_for(200);
        (1..=200).rev().for_each(|time| samples.add(Duration::from_micros(time)));
        let latency = samples.latency();
        let found = [latency.p50, latency.p90, latency.p99, latency.p999, latency.max, latency.mean];
        for (found, want) in found.into_iter().zip([100.0, 180.0, 198.0, 200.0, 200.0, 100.5]) {
            assert!((found - want).abs() < 1e-6, "{latency:?}");
        }
        assert!((latency.stddev - ((200.0_f64.powi(2) - 1.0) / 12.0).sqrt()).abs() < 1e-6);
    }

    #[test]
    fn one_measurement_is_every_percentile() {
        let mut samples = Samples::with_room_for(1);
        samples.add(Duration::from_micros(7));
        let Latency { p50, p999, max, mean, stddev, .. } = samples.latency();
        assert_eq!([p50, p999, max, mean, stddev].map(f64::round), [7.0, 7.0, 7.0, 7.0, 0.0]);
    }
}
