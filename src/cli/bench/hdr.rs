//! Histograms in the forms that the tools around HdrHistogram read: its interval log with histograms of version 2, compressed, and its
//! table of percentiles.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use super::outputs::Kept;

/// Nanoseconds of a millisecond and of a microsecond.
const MILLISECOND: f64 = 1e6;
const MICROSECOND: f64 = 1e3;

/// Steps of the table of percentiles for each halving of the distance to 100 %, as the reference implementation's.
const TICKS: u32 = 5;

/// One histogram of nanoseconds for each stage, under its name as tag. Its interval is the whole run; the highest value that a
/// line tells in plain text is in milliseconds.
///
/// # Errors
/// Those of `out`.
pub(super) fn write_log(
    out: &mut dyn Write,
    kept: &[Kept],
    began: SystemTime,
    passed: Duration,
) -> io::Result<()> {
    let mut out = out;
    let mut serializer = V2DeflateSerializer::new();
    let mut log = IntervalLogWriterBuilder::new()
        .add_comment(concat!(
            "[Latencies of sml ",
            env!("CARGO_PKG_VERSION"),
            " in nanoseconds, one tag a stage]"
        ))
        .with_start_time(began)
        .with_base_time(began)
        .with_max_value_divisor(MILLISECOND)
        .begin_log_with(&mut out, &mut serializer)?;
    for Kept { label, samples } in kept {
        log.write_histogram(samples.histogram(), Duration::ZERO, passed, Tag::new(label))
            .map_err(|error| io::Error::other(error.to_string()))?;
    }
    Ok(())
}

/// The table of percentiles of one histogram, in microseconds, in the reference implementation's form.
pub(super) fn percentiles(histogram: &Histogram<u64>) -> String {
    let mut text =
        format!("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    let mut counted = 0;
    for step in histogram.iter_quantiles(TICKS) {
        let value = step.value_iterated_to() as f64 / MICROSECOND;
        let quantile = step.quantile_iterated_to();
        counted += step.count_since_last_iteration();
        let _ = write!(text, "{value:>12.3} {quantile:>14.12} {counted:>10}");
        let _ =
            if quantile < 1.0 { writeln!(text, " {:>14.2}", 1.0 / (1.0 - quantile)) } else { writeln!(text) };
    }
    let [mean, deviation, max] =
        [histogram.mean(), histogram.stdev(), histogram.max() as f64].map(|value| value / MICROSECOND);
    let (total, buckets) = (histogram.len(), histogram.buckets());
    let sub_buckets = histogram.distinct_values() / usize::from(buckets).max(1);
    let _ = write!(
        text,
        "#[Mean    = {mean:>12.3}, StdDeviation   = {deviation:>12.3}]\n\
         #[Max     = {max:>12.3}, Total count    = {total:>12}]\n\
         #[Buckets = {buckets:>12}, SubBuckets     = {sub_buckets:>12}]\n"
    );
    text
}
