//! How sure a ratio of two medians is: a bootstrap of both runs.
//!
//! Neighbouring measurements resemble each other (clocks, other programs), so whole blocks of them are drawn, not single ones
//! (Künsch, "The Jackknife and the Bootstrap for General Stationary Observations", 1989): blocks of about the square root of their
//! number, which begin anywhere and wrap around the end. The interval is between percentiles of the drawn ratios. Draws come from a
//! seed: the same files give the same interval.

/// Ratios that are drawn for an interval.
const DRAWS: usize = 2000;

/// Probability that the interval is meant to hold.
pub(super) const CONFIDENCE: f64 = 0.95;

/// Measurements of each run that an interval needs.
pub(super) const LEAST: usize = 10;

/// The ratio of B's median to A's with its interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Interval {
    pub low: f64,
    pub high: f64,
}

/// Interval of median(`b`) / median(`a`); `None` where there are too few measurements.
pub(super) fn interval(a: &[f64], b: &[f64], seed: u64) -> Option<Interval> {
    if a.len().min(b.len()) < LEAST {
        return None;
    }
    let mut random = Random(seed);
    let mut drawn = [Vec::with_capacity(a.len()), Vec::with_capacity(b.len())];
    let mut ratios: Vec<f64> = (0..DRAWS)
        .map(|_| {
            let [a, b] = [(a, 0), (b, 1)].map(|(times, side)| {
                random.draw(times, &mut drawn[side]);
                median(&mut drawn[side])
            });
            b / a
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    let tail = (1.0 - CONFIDENCE) / 2.0;
    let at = |part: f64| ratios[((part * DRAWS as f64) as usize).min(DRAWS - 1)];
    Some(Interval { low: at(tail), high: at(1.0 - tail) })
}

/// The middle one, or the mean of the two in the middle. Reorders them; NaN of none.
pub(super) fn median(times: &mut [f64]) -> f64 {
    let middle = times.len() / 2;
    if times.is_empty() {
        return f64::NAN;
    }
    let odd = times.len() % 2 == 1;
    let (below, upper, _) = times.select_nth_unstable_by(middle, f64::total_cmp);
    if odd { *upper } else { (below.iter().copied().fold(f64::MIN, f64::max) + *upper) / 2.0 }
}

/// SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// As many measurements as there are, in blocks.
    fn draw(&mut self, times: &[f64], drawn: &mut Vec<f64>) {
        drawn.clear();
        let block = times.len().isqrt().max(1);
        while drawn.len() < times.len() {
            // Of so few places a remainder prefers none by more than one in 2^50.
            let first = (self.next() % times.len() as u64) as usize;
            let wanted = block.min(times.len() - drawn.len());
            let before_end = wanted.min(times.len() - first);
            drawn.extend_from_slice(&times[first..first + before_end]);
            drawn.extend_from_slice(&times[..wanted - before_end]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Measurements around `center`, uniform within `spread` to both sides.
    fn around(center: f64, spread: f64, number: usize, seed: u64) -> Vec<f64> {
        let mut random = Random(seed);
        let unit = |bits: u64| (bits >> 11) as f64 / (1_u64 << 53) as f64;
        (0..number).map(|_| center + spread * (2.0 * unit(random.next()) - 1.0)).collect()
    }

    #[test]
    fn the_interval_holds_the_true_ratio_as_often_as_it_says() {
        let mut held = 0;
        for run in 0..100 {
            let (a, b) = (around(100.0, 10.0, 100, 2 * run), around(110.0, 10.0, 100, 2 * run + 1));
            let Interval { low, high } = interval(&a, &b, run).unwrap();
            assert!(low < high && high - low < 0.1, "{low} {high}");
            held += u32::from((low..=high).contains(&1.1));
        }
        assert!((85..=100).contains(&held), "{held} of 100");
    }

    #[test]
    fn equal_runs_show_no_difference_and_narrow_intervals_come_with_more_measurements() {
        let width = |number: usize| {
            let Interval { low, high } =
                interval(&around(50.0, 5.0, number, 1), &around(50.0, 5.0, number, 2), 3).unwrap();
            assert!(low < 1.0 && high > 1.0, "{low} {high}");
            high - low
        };
        assert!(width(4000) < width(40) / 3.0);
    }

    #[test]
    fn slow_waves_widen_it() {
        let waves = |shift: f64| -> Vec<f64> {
            (0..400).map(|i| 100.0 + 10.0 * ((f64::from(i) + shift) / 60.0).sin()).collect()
        };
        let mut shuffled = waves(0.0);
        // The same numbers without their order: every 143rd of 400, which have no common factor.
        shuffled = (0..400).map(|i| shuffled[i * 143 % 400]).collect();
        let width = |a: &[f64], b: &[f64]| interval(a, b, 5).map(|i| i.high - i.low).unwrap();
        assert!(width(&waves(0.0), &waves(0.0)) > 2.0 * width(&shuffled, &shuffled));
    }

    #[test]
    fn it_is_the_same_every_time_and_needs_some_measurements() {
        let (a, b) = (around(1.0, 0.1, 50, 1), around(2.0, 0.1, 60, 2));
        assert_eq!(interval(&a, &b, 9), interval(&a, &b, 9));
        assert_ne!(interval(&a, &b, 9), interval(&a, &b, 10));
        assert_eq!(interval(&a[..LEAST - 1], &b, 9), None);
    }

    #[test]
    fn medians() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [4.0, 1.0, 3.0, 2.0]), 2.5);
        assert!(median(&mut []).is_nan());
    }
}
