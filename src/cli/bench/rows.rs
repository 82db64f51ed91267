//! Measurements as rows of the report.

use super::bandwidth::Bandwidth;
use super::case::{Case, ResultShape};
use super::measurement::Recorded;
use super::report::{MOST_SAMPLES, Row};
use crate::Result;

/// What rows of one case have in common.
pub(super) struct About {
    pub shape: ResultShape,
    pub dtype: String,
    pub from: usize,
    pub layout: Option<String>,
    pub suppression: String,
    pub threads: usize,
}

impl About {
    pub fn case(case: &Case, threads: usize) -> Self {
        Self {
            shape: case.result,
            dtype: case.dtype().to_owned(),
            from: case.from,
            layout: Some(case.layout().to_owned()),
            suppression: case.suppression(),
            threads,
        }
    }

    /// One row a stage. `bytes` tells what a stage moves at least, where that is known.
    ///
    /// # Errors
    /// Those of `bytes`.
    pub fn rows(
        &self,
        recorded: &[Recorded],
        bandwidth: Option<Bandwidth>,
        bytes: impl Fn(&str) -> Result<Option<u64>>,
    ) -> Result<Vec<Row>> {
        let row = |recorded: &Recorded| Ok(self.row(recorded, bandwidth, bytes(recorded.stage)?));
        recorded.iter().filter(|recorded| recorded.samples.count() > 0).map(row).collect()
    }

    fn row(&self, recorded: &Recorded, bandwidth: Option<Bandwidth>, bytes: Option<u64>) -> Row {
        let latency_us = recorded.samples.latency();
        let rate = bytes.filter(|_| latency_us.p50 > 0.0).map(|bytes| bytes as f64 / 1e3 / latency_us.p50);
        // Only beside a rate has a limit a meaning.
        let limits = bandwidth.filter(|_| bytes.is_some());
        let percent = |limit: Option<f64>| rate.zip(limit).map(|(rate, limit)| 100.0 * rate / limit);
        let (copy, read) = (limits.map(|limits| limits.copy), limits.map(|limits| limits.read));
        Row {
            stage: recorded.stage.to_owned(),
            shape: self.shape.to_string(),
            dtype: self.dtype.clone(),
            from: self.from,
            layout: self.layout.clone(),
            threads: self.threads,
            suppression: self.suppression.clone(),
            frames: recorded.samples.count(),
            frames_per_s: recorded.frames_per_s.map(|rate| rate * self.shape.batch as f64),
            latency_us,
            submit_us: recorded.submit.as_ref().map(crate::latency::Samples::latency),
            bytes,
            gb_per_s: rate,
            copy_gb_per_s: copy,
            read_gb_per_s: read,
            copy_percent: percent(copy),
            read_percent: percent(read),
            samples_us: recorded.samples.thinned(MOST_SAMPLES),
        }
    }
}
