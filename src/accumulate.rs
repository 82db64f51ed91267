//! Moments of max logits, streamed in and merged, in float64.
//!
//! [`MomentAccumulator`] takes values one by one (Welford) and merges with others (Chan et al.), so that any number of
//! images can be measured by any number of threads without losing digits. [`StatisticsAccumulator`] keeps one a class. It sums
//! blocks of pixels on all threads and merges them in order: the result depends on the pixels alone, and rounding errors
//! grow with the number of blocks instead of pixels, of which a large dataset has billions.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::statistics::{ClassMoments, ClassStatistics, different_class_counts};
use crate::{Error, Provenance, Result};

/// Pixels that are summed one by one.
const BLOCK: usize = 1 << 16;

/// Count, mean and sum of squared deviations of a stream of numbers, in float64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MomentAccumulator {
    count: u64,
    mean: f64,
    squared_deviations: f64,
}

impl MomentAccumulator {
    /// Adds one value (Welford's update).
    #[inline]
    pub fn add(&mut self, value: f64) {
        self.count += 1;
        let deviation = value - self.mean;
        self.mean += deviation / self.count as f64;
        self.squared_deviations += deviation * (value - self.mean);
    }

    /// Adds all that `other` has seen (Chan's update).
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            *self = *other;
            return;
        }
        let (a, b) = (self.count as f64, other.count as f64);
        let difference = other.mean - self.mean;
        self.mean += difference * (b / (a + b));
        self.squared_deviations += other.squared_deviations + difference * difference * (a * b / (a + b));
        self.count += other.count;
    }

    /// The accumulator that would give these moments.
    pub(crate) fn from_moments(count: u64, mean: Option<f64>, variance: f64) -> Self {
        match mean {
            Some(mean) if count > 0 => {
                Self { count, mean, squared_deviations: variance * (count - 1) as f64 }
            }
            _ => Self::default(),
        }
    }

    /// Count, mean and variance as statistics hold them.
    pub(crate) fn moments(&self) -> ClassMoments {
        ClassMoments { count: Some(self.count), mean: self.mean(), variance: self.variance() }
    }

    /// Number of values.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Mean; `None` before the first value.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then_some(self.mean)
    }

    /// Unbiased variance (divided by n - 1); `None` before the second value.
    pub fn variance(&self) -> Option<f64> {
        (self.count > 1).then(|| self.squared_deviations / (self.count - 1) as f64)
    }
}

/// Accumulates the max logits of images, each under its predicted class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatisticsAccumulator {
    classes: Vec<MomentAccumulator>,
    non_finite: u64,
}

impl StatisticsAccumulator {
    /// For `classes` classes, with nothing seen yet.
    pub fn new(classes: usize) -> Self {
        Self { classes: vec![MomentAccumulator::default(); classes], non_finite: 0 }
    }

    /// One that has seen what a GPU has summed up: count, mean and sum of squared deviations of each class, and the number
    /// of pixels left out.
    #[cfg(feature = "cuda")]
    pub(crate) fn from_sums(classes: impl Iterator<Item = (u64, f64, f64)>, non_finite: u64) -> Self {
        let classes = classes.map(|(count, mean, squared_deviations)| MomentAccumulator {
            count,
            mean,
            squared_deviations,
        });
        Self { classes: classes.collect(), non_finite }
    }

    /// Adds one image or a part of it: the max logit and the predicted class of each pixel. A max logit that is not
    /// finite is counted and left out, so that one broken pixel cannot spoil a calibration.
    ///
    /// # Errors
    /// When the lengths differ or a prediction is not below the number of classes; nothing is added then.
    pub fn add(&mut self, max_logits: &[f32], predictions: &[u8]) -> Result<()> {
        if max_logits.len() != predictions.len() {
            return Err(Error::Shape {
                what: "number of predictions",
                given: predictions.len().to_string(),
                expected: format!("{}, one a max logit", max_logits.len()),
            });
        }
        if let Some(class) = predictions.iter().find(|&&p| usize::from(p) >= self.classes.len()) {
            return Err(Error::Shape {
                what: "predicted class",
                given: class.to_string(),
                expected: format!("less than {}", self.classes.len()),
            });
        }
        let blocks: Vec<Self> = max_logits
            .par_chunks(BLOCK)
            .zip(predictions.par_chunks(BLOCK))
            .map(|(max_logits, predictions)| self.block(max_logits, predictions))
            .collect();
        blocks.iter().for_each(|block| self.merge_same(block));
        Ok(())
    }

    /// The sums over some pixels, whose predictions are classes.
    fn block(&self, max_logits: &[f32], predictions: &[u8]) -> Self {
        let mut sums = Self::new(self.classes.len());
        for (&value, &class) in max_logits.iter().zip(predictions) {
            if value.is_finite() {
                sums.classes[usize::from(class)].add(f64::from(value));
            } else {
                sums.non_finite += 1;
            }
        }
        sums
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes.len()
    }

    /// Adds all that `other` has seen. Merging in a fixed order gives a fixed result.
    ///
    /// # Errors
    /// When the numbers of classes differ.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        if self.classes.len() != other.classes.len() {
            return Err(different_class_counts(self.classes.len(), other.classes.len()));
        }
        self.merge_same(other);
        Ok(())
    }

    /// Merges one of as many classes.
    fn merge_same(&mut self, other: &Self) {
        for (mine, theirs) in self.classes.iter_mut().zip(&other.classes) {
            mine.merge(theirs);
        }
        self.non_finite += other.non_finite;
    }

    /// Pixels left out because their max logit was not finite.
    pub fn non_finite(&self) -> u64 {
        self.non_finite
    }

    /// The statistics of all that was added.
    pub fn finish(&self, provenance: Provenance) -> ClassStatistics {
        ClassStatistics::measured(self.classes.iter().map(MomentAccumulator::moments).collect(), provenance)
    }
}
