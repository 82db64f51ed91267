//! The results as comma-separated values: one line a stage, under a line with the columns' names.

use super::report::{Latency, Row};

const COLUMNS: [&str; 26] = [
    "stage",
    "shape",
    "dtype",
    "from",
    "layout",
    "threads",
    "suppression",
    "frames",
    "frames_per_s",
    "p50_us",
    "p90_us",
    "p99_us",
    "p999_us",
    "max_us",
    "mean_us",
    "stddev_us",
    "submit_p50_us",
    "submit_p99_us",
    "bytes",
    "gb_per_s",
    "copy_gb_per_s",
    "read_gb_per_s",
    "copy_percent",
    "read_percent",
    "device",
    "version",
];

/// What is not known stays empty. Only the suppression has a comma, and is quoted for it.
pub(super) fn table(rows: &[Row], device: &str, version: &str) -> String {
    let mut text = COLUMNS.join(",");
    text.push('\n');
    for row in rows {
        text += &line(row, device, version).join(",");
        text.push('\n');
    }
    text
}

fn line(row: &Row, device: &str, version: &str) -> [String; COLUMNS.len()] {
    let Latency { p50, p90, p99, p999, max, mean, stddev } = row.latency_us;
    let known = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    [
        row.stage.clone(),
        row.shape.clone(),
        row.dtype.clone(),
        row.from.to_string(),
        row.layout.clone().unwrap_or_default(),
        row.threads.to_string(),
        format!("\"{}\"", row.suppression),
        row.frames.to_string(),
        known(row.frames_per_s),
        p50.to_string(),
        p90.to_string(),
        p99.to_string(),
        p999.to_string(),
        max.to_string(),
        mean.to_string(),
        stddev.to_string(),
        known(row.submit_us.map(|submit| submit.p50)),
        known(row.submit_us.map(|submit| submit.p99)),
        row.bytes.map(|bytes| bytes.to_string()).unwrap_or_default(),
        known(row.gb_per_s),
        known(row.copy_gb_per_s),
        known(row.read_gb_per_s),
        known(row.copy_percent),
        known(row.read_percent),
        device.to_owned(),
        version.to_owned(),
    ]
}
