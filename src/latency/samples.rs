//! Measurements of one thing.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::Latency;
use crate::{Error, Result};

/// Microseconds in a nanosecond.
const MICROSECONDS: f64 = 1e-3;

/// Longest time that the histogram tells apart: an hour, in nanoseconds.
const LONGEST: u64 = 3_600_000_000_000;

/// Digits of the histogram.
const DIGITS: u8 = 3;

/// Measurements of one thing, in memory that is there before the first one.
#[derive(Clone, Debug)]
pub struct Samples {
    /// Nanoseconds of all measurements.
    histogram: Histogram<u64>,
    /// Microseconds of every `stride`-th measurement, in their order.
    kept: Vec<f64>,
    stride: u64,
    count: u64,
    /// Microseconds, and the sum of squared distances from it.
    mean: f64,
    squares: f64,
    longest: f64,
}

impl Samples {
    /// Measurements that are kept as they are. Of more, percentiles are the histogram's, whose error is at most 0.1 %.
    pub const MOST_KEPT: usize = 1 << 17;

    /// Room for `expected` measurements or, where nobody knows how many will come, for all that are ever kept.
    ///
    /// # Errors
    /// None: the histogram's bounds are valid.
    pub fn with_room_for(expected: Option<u64>) -> Result<Self> {
        let room = expected.map_or(Self::MOST_KEPT, |number| number.min(Self::MOST_KEPT as u64) as usize);
        let histogram = Histogram::new_with_bounds(1, LONGEST, DIGITS).map_err(|error| Error::Shape {
            what: "histogram of latencies",
            given: error.to_string(),
            expected: "bounds that it can have".to_owned(),
        })?;
        // Written once, so that no page is touched for the first time while something is measured.
        let mut kept = vec![1.0; room.max(2)];
        kept.clear();
        Ok(Self { histogram, kept, stride: 1, count: 0, mean: 0.0, squares: 0.0, longest: 0.0 })
    }

    /// Takes a measurement. Allocates nothing.
    pub fn add(&mut self, time: Duration) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.histogram.saturating_record(nanoseconds.max(1));
        let microseconds = nanoseconds as f64 * MICROSECONDS;
        if self.count.is_multiple_of(self.stride) {
            self.keep(microseconds);
        }
        self.count += 1;
        let distance = microseconds - self.mean;
        self.mean += distance / self.count as f64;
        self.squares += distance * (microseconds - self.mean);
        self.longest = self.longest.max(microseconds);
    }

    fn keep(&mut self, microseconds: f64) {
        if self.kept.len() == self.kept.capacity() {
            self.drop_every_second();
            if !self.count.is_multiple_of(self.stride) {
                return;
            }
        }
        self.kept.push(microseconds);
    }

    fn drop_every_second(&mut self) {
        let half = self.kept.len().div_ceil(2);
        for place in 0..half {
            self.kept[place] = self.kept[2 * place];
        }
        self.kept.truncate(half);
        self.stride *= 2;
    }

    /// How many measurements were taken.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The kept measurements in microseconds, in the order in which they were taken, evenly over the run.
    pub fn kept(&self) -> &[f64] {
        &self.kept
    }

    /// Of how many measurements each kept one is the first.
    pub fn stride(&self) -> u64 {
        self.stride
    }

    /// At most `most` of the kept measurements, evenly over the run, in microseconds to the nanosecond.
    pub fn thinned(&self, most: usize) -> Vec<f64> {
        let number = self.kept.len().min(most);
        let at = |place: usize| self.kept[place * self.kept.len() / number];
        (0..number).map(|place| (at(place) * 1e3).round() / 1e3).collect()
    }

    /// All measurements in nanoseconds, to three digits.
    pub fn histogram(&self) -> &Histogram<u64> {
        &self.histogram
    }

    /// Takes the measurements of another engine that ran meanwhile: kept ones come in turns.
    ///
    /// # Errors
    /// None: all histograms have the same bounds.
    pub fn merge(&mut self, mut other: Self) -> Result<()> {
        self.histogram.add(&other.histogram).map_err(|error| Error::Shape {
            what: "histogram of latencies",
            given: error.to_string(),
            expected: "one of the same bounds".to_owned(),
        })?;
        while self.stride < other.stride {
            self.drop_every_second();
        }
        while other.stride < self.stride {
            other.drop_every_second();
        }
        self.kept = in_turns(&self.kept, &other.kept);
        let (count, added) = (self.count as f64, other.count as f64);
        let all = (count + added).max(1.0);
        let distance = other.mean - self.mean;
        self.mean += distance * added / all;
        self.squares += other.squares + distance * distance * count * added / all;
        self.longest = self.longest.max(other.longest);
        self.count += other.count;
        Ok(())
    }

    /// What they come to: exact where all were kept, else with the histogram's percentiles. Zeros of no measurements.
    pub fn latency(&self) -> Latency {
        let mut sorted = self.kept.clone();
        sorted.sort_by(f64::total_cmp);
        let percentile = |per_mille: usize| {
            if self.stride == 1 {
                return nearest_rank(&sorted, per_mille);
            }
            let value = self.histogram.value_at_quantile(per_mille as f64 / 1e3) as f64 * MICROSECONDS;
            value.min(self.longest)
        };
        let [p50, p90, p99, p999] = [500, 900, 990, 999].map(percentile);
        let variance = self.squares / self.count.max(1) as f64;
        Latency { p50, p90, p99, p999, max: self.longest, mean: self.mean, stddev: variance.max(0.0).sqrt() }
    }
}

/// 0 of no measurements.
fn nearest_rank(sorted: &[f64], per_mille: usize) -> f64 {
    let rank = (sorted.len() * per_mille).div_ceil(1000);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

fn in_turns(a: &[f64], b: &[f64]) -> Vec<f64> {
    let both = a.len().min(b.len());
    let turns = a.iter().zip(b).flat_map(|(a, b)| [*a, *b]);
    turns.chain(a[both..].iter().copied()).chain(b[both..].iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(microseconds: impl IntoIterator<Item = u64>, room: Option<u64>) -> Samples {
        let mut samples = Samples::with_room_for(room).unwrap();
        microseconds.into_iter().for_each(|time| samples.add(Duration::from_micros(time)));
        samples
    }

    fn close(found: f64, want: f64, tolerance: f64) {
        assert!((found - want).abs() <= tolerance * want.abs().max(1e-9), "{found} for {want}");
    }

    #[test]
    fn percentiles_are_measurements() {
        let latency = of((1..=2000).rev(), Some(2000)).latency();
        let Latency { p50, p90, p99, p999, max, mean, stddev } = latency;
        for (found, want) in
            [p50, p90, p99, p999, max, mean].into_iter().zip([1000.0, 1800.0, 1980.0, 1998.0, 2000.0, 1000.5])
        {
            close(found, want, 1e-9);
        }
        close(stddev, ((2000.0_f64.powi(2) - 1.0) / 12.0).sqrt(), 1e-9);
    }

    #[test]
    fn one_measurement_is_every_percentile() {
        let Latency { p50, p999, max, mean, stddev, .. } = of([7], Some(1)).latency();
        assert_eq!([p50, p999, max, mean, stddev].map(f64::round), [7.0, 7.0, 7.0, 7.0, 0.0]);
    }

    #[test]
    fn no_measurement_is_zero() {
        assert_eq!(of([], None).latency(), Latency::default());
    }

    #[test]
    fn more_than_are_kept_are_thinned_evenly_and_counted_all() {
        let samples = of(1..=1000, Some(100));
        assert_eq!((samples.count(), samples.stride()), (1000, 16));
        let want: Vec<f64> = (0..63).map(|place| f64::from(1 + 16 * place)).collect();
        assert_eq!(samples.kept(), want);
        let Latency { p50, p99, max, mean, stddev, .. } = samples.latency();
        for (found, want) in [(p50, 500.0), (p99, 990.0)] {
            close(found, want, 1e-3);
        }
        close(max, 1000.0, 1e-12);
        close(mean, 500.5, 1e-9);
        close(stddev, ((1000.0_f64.powi(2) - 1.0) / 12.0).sqrt(), 1e-9);
    }

    #[test]
    fn thinned_ones_lie_evenly() {
        let samples = of(1..=100, Some(100));
        assert_eq!(samples.thinned(4), [1.0, 26.0, 51.0, 76.0]);
        assert_eq!(samples.thinned(1000).len(), 100);
        assert!(of([], None).thinned(10).is_empty());
    }

    #[test]
    fn merged_measurements_are_those_of_both() {
        let mut merged = of(1..=60, Some(100));
        merged.merge(of(61..=100, Some(100))).unwrap();
        let (found, want) = (merged.latency(), of(1..=100, Some(100)).latency());
        assert_eq!((found.p50, found.p99, found.max), (want.p50, want.p99, want.max));
        close(found.mean, want.mean, 1e-9);
        close(found.stddev, want.stddev, 1e-9);
        assert_eq!(merged.kept()[..4], [1.0, 61.0, 2.0, 62.0]);
        assert_eq!((merged.count(), merged.kept().len(), merged.histogram().len()), (100, 100, 100));

        let mut uneven = of(1..=400, Some(100));
        uneven.merge(of([5, 6, 7], Some(100))).unwrap();
        assert_eq!((uneven.count(), uneven.stride()), (403, 4));
    }
}
