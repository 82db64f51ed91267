//! Metrics out of histograms, and the proof of how far off they may be.
//!
//! # What is known
//! Let bin after bin, from the highest scores down, hold p unexpected and n normal pixels, and let T and F be the
//! numbers of unexpected and normal pixels in all bins above; P and N are the numbers of all. Pixels of different bins
//! are in the right order; within a bin any order is possible, ties included. The metrics are evaluated as if all
//! pixels of a bin tied, which is one of the possible orders.
//!
//! The lower edge of every bin that is not empty is a threshold that parts exactly its bins: the points (T, F) after
//! each bin lie on the exact curve.
//!
//! # AUROC
//! AUROC x P x N counts the pairs of an unexpected and a normal pixel that are in the right order, a tie by one half.
//! Pairs of two bins are counted rightly. The p x n pairs within a bin are counted as ties, as p n / 2; the truth is
//! between 0 and p n. Hence the error is at most the sum of p n / 2 over the bins, divided by P N.
//!
//! # AP
//! AP x P is the sum, over the unexpected pixels, of the precision at their own scores. Number the unexpected pixels
//! of a bin r = 1 ... p from the highest score down, equal ones in any order. At the score of pixel r, j with
//! r <= j <= p of them are found, and f with 0 <= f <= n normal ones: its precision is (T + j) / (T + j + F + f).
//! x / (x + c) grows with x and falls with c, so that
//!
//! * it is at most (T + p) / (T + p + F), and the bin's part of the sum is at most p (T + p) / (T + p + F);
//! * it is at least (T + r) / (T + r + F + n), and the bin's part is at least the sum of that over r, which is at
//!   least the integral of x / (x + c) from T to T + p with c = F + n, that is p - c ln(1 + p / (T + c)).
//!
//! The value as ties, p (T + p) / (T + p + F + n), lies between the two. The bound is the larger of the two distances,
//! summed over the bins and divided by P.
//!
//! # FPR95
//! The unexpected pixel with which the rate of 95 % is reached lies in a known bin, so that the exact FPR at its score
//! is between F / N and (F + n) / N of that bin; the value as ties is the latter. The bound is n / N.
//!
//! Interpolated: let A be the last bin after which the rate is at most 95 % (or the beginning of the curve), and B the
//! first after which it is above. Both are exact points of the curve. The exact value lies between the alarms of
//! the last exact point with a rate of at most 95 % and those of the first exact point with more; the former is A or
//! comes behind it, the latter is B or comes before it, and alarms never fall along the curve. So both the exact value
//! and the one as ties lie between the FPR at A and at B, and the bound is the larger distance to these two.
//!
//! # Rounding
//! Counts are integers and sums are compensated; each value is off by some units in the last place. [`ROUNDING`] is
//! added to each bound, which is some thousand times that.

use serde::{Deserialize, Serialize};

use super::curve::{self, Point, Ranked, TPR_OF_FPR95};
use super::histogram::KEYS_A_BIN;
use super::ranking::AnomalyMetrics;
use super::sum::Sum;
use crate::Result;

/// Allowance for the arithmetic.
const ROUNDING: f64 = 1e-12;

/// Unexpected pixels of a bin up to which their sum is taken term by term.
const FEW: u64 = 16;

/// Metrics out of histograms with their error bounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BoundedMetrics {
    /// The metrics as if all scores of a bin were equal. The numbers of pixels are exact.
    pub metrics: AnomalyMetrics,
    /// How far each of them may be from the exact value.
    pub bounds: MetricBounds,
}

impl BoundedMetrics {
    /// The largest of the bounds: no metric is further off than this.
    pub fn error_bound(&self) -> f64 {
        let MetricBounds { auroc, ap, fpr95, fpr95_interp } = self.bounds;
        auroc.max(ap).max(fpr95).max(fpr95_interp)
    }
}

/// How far each metric of [`AnomalyMetrics`] may be from the exact value, in either direction.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricBounds {
    /// Of [`AnomalyMetrics::auroc`].
    pub auroc: f64,
    /// Of [`AnomalyMetrics::ap`].
    pub ap: f64,
    /// Of [`AnomalyMetrics::fpr95`].
    pub fpr95: f64,
    /// Of [`AnomalyMetrics::fpr95_interp`].
    pub fpr95_interp: f64,
}

/// A bin that is not empty, with what lies in it and above.
struct Step {
    /// Lowest key of the bin.
    key: u32,
    /// Pixels in this bin and above.
    point: Point,
}

/// Bins that are not empty, from the highest scores down.
pub(super) struct Cumulative {
    steps: Vec<Step>,
}

impl Cumulative {
    /// From the counts of normal and of unexpected pixels in all bins, the lowest scores first.
    pub fn new(normal: &[u64], unexpected: &[u64]) -> Self {
        let mut point = Point::default();
        let bins = (0_u32..).zip(normal.iter().zip(unexpected));
        let filled = bins.filter(|(_, (n, p))| **n > 0 || **p > 0).map(|(bin, (&n, &p))| (bin, n, p));
        let mut filled: Vec<(u32, u64, u64)> = filled.collect();
        filled.reverse();
        let steps = filled.into_iter().map(|(bin, n, p)| {
            point = Point { found: point.found + p, alarms: point.alarms + n };
            Step { key: bin * KEYS_A_BIN, point }
        });
        Self { steps: steps.collect() }
    }

    /// All pixels.
    pub fn counted(&self) -> Point {
        self.steps.last().map_or(Point::default(), |step| step.point)
    }

    /// Points before and after each bin.
    fn bins(&self) -> impl Iterator<Item = (Point, Point)> {
        let before = [Point::default()].into_iter().chain(self.steps.iter().map(|step| step.point));
        before.zip(self.steps.iter().map(|step| step.point))
    }

    /// The metrics and their bounds. Both kinds of pixels are present.
    pub fn evaluate(&self, ignored: u64) -> Result<BoundedMetrics> {
        let total = self.counted();
        let (p, n) = (total.found as f64, total.alarms as f64);
        let (mut twice_area, mut twice_unsure) = (0_u128, 0_u128);
        let [mut precision, mut above, mut below] = [Sum::default(); 3];
        for (before, after) in self.bins() {
            let (found, alarms) = (after.found - before.found, after.alarms - before.alarms);
            twice_area += u128::from(alarms) * u128::from(before.found + after.found);
            twice_unsure += u128::from(alarms) * u128::from(found);
            if found > 0 {
                let [least, tied, most] = precision_sums(before, after);
                precision.add(tied);
                above.add(most - tied);
                below.add(tied - least);
            }
        }
        let (fpr95, fpr95_interp) = curve::fpr95(self)?;
        let [fpr95_bound, interp_bound] = self.fpr95_bounds(fpr95_interp)?;
        Ok(BoundedMetrics {
            metrics: AnomalyMetrics {
                auroc: twice_area as f64 / 2.0 / (p * n),
                ap: precision.total() / p,
                fpr95,
                fpr95_interp,
                positives: total.found,
                negatives: total.alarms,
                ignored,
            },
            bounds: MetricBounds {
                auroc: twice_unsure as f64 / 2.0 / (p * n) + ROUNDING,
                ap: above.total().max(below.total()) / p + ROUNDING,
                fpr95: fpr95_bound + ROUNDING,
                fpr95_interp: interp_bound + ROUNDING,
            },
        })
    }

    fn fpr95_bounds(&self, interpolated: f64) -> Result<[f64; 2]> {
        let total = self.counted();
        let n = total.alarms as f64;
        let key = self.unexpected(curve::rank_at_rate(TPR_OF_FPR95, total.found)?);
        let within = self.from(key).alarms - self.beyond(key).alarms;
        // The rates as the curve has them, so that equality means the same here and there.
        let up_to = |step: &Step| step.point.found as f64 / total.found as f64 <= TPR_OF_FPR95;
        let behind = self.steps.partition_point(up_to);
        let alarms = |step: Option<&Step>| step.map_or(0, |step| step.point.alarms) as f64;
        let low = alarms(behind.checked_sub(1).and_then(|last| self.steps.get(last))) / n;
        let high = alarms(self.steps.get(behind)) / n;
        Ok([within as f64 / n, (interpolated - low).max(high - interpolated)])
    }
}

/// The sum of the precisions at the unexpected pixels of a bin: at least, with all pixels tied, at most.
fn precision_sums(before: Point, after: Point) -> [f64; 3] {
    let found = after.found - before.found;
    let (p, t, c) = (found as f64, before.found as f64, after.alarms as f64);
    let share = |x: f64, c: f64| x / (x + c);
    let least = if after.alarms == 0 {
        p
    } else if found <= FEW {
        (1..=found).map(|rank| share(t + rank as f64, c)).sum()
    } else {
        p - c * (p / (t + c)).ln_1p()
    };
    [least, p * share(t + p, c), p * share(t + p, before.alarms as f64)]
}

impl Ranked for Cumulative {
    fn total(&self) -> Point {
        self.counted()
    }

    /// Of a key within a bin, what lies above that bin.
    fn from(&self, key: u32) -> Point {
        let count = self.steps.partition_point(|step| step.key >= key);
        count.checked_sub(1).map_or(Point::default(), |last| self.steps[last].point)
    }

    fn above(&self, key: u32) -> Option<u32> {
        (key / KEYS_A_BIN * KEYS_A_BIN).checked_add(KEYS_A_BIN)
    }

    fn unexpected(&self, rank: u64) -> u32 {
        self.steps[self.steps.partition_point(|step| step.point.found < rank)].key
    }

    fn normal(&self, rank: u64) -> u32 {
        self.steps[self.steps.partition_point(|step| step.point.alarms < rank)].key
    }

    fn best_f1(&self) -> u32 {
        let total = self.counted();
        let f1 = |point: Point| 2.0 * point.found as f64 / (point.found + point.alarms + total.found) as f64;
        let better = |best: (f64, u32), step: &Step| {
            let f1 = f1(step.point);
            if f1 > best.0 { (f1, step.key) } else { best }
        };
        self.steps.iter().fold((0.0, 0), better).1
    }
}
