//! Class statistics: mean and variance of the max logit of each predicted class, measured once on normal images.
//!
//! [`ClassStatistics`] are what is stored in JSON, merged, imported, and given to the engine. A class without data is an
//! explicit state ([`ClassMoments::is_usable`]), never a number that happens to be wrong.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::accumulate::MomentAccumulator;
use crate::{Error, LogitsShape, MissingStatistics, OperatingPoints, Provenance, Result};

/// Statistics of one class. `None` marks what is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ClassMoments {
    /// Pixels measured; `None` when an import did not tell.
    pub count: Option<u64>,
    /// Mean max logit.
    pub mean: Option<f64>,
    /// Unbiased variance of the max logit.
    pub variance: Option<f64>,
}

impl ClassMoments {
    /// True when a max logit can be standardized with them: two pixels or more, and a variance above zero.
    pub fn is_usable(&self) -> bool {
        self.count.is_none_or(|n| n >= 2) && self.mean.is_some() && self.variance.is_some_and(|v| v > 0.0)
    }
}

/// Statistics of all classes, by train id, with their provenance (paper section 3.2, SPEC section 3).
///
/// In JSON: `{"mean": [...], "variance": [...], "count": [...], "provenance": {...}}`, where `null` marks a class
/// without data; `count` and `provenance` may be left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Columns", into = "Columns")]
pub struct ClassStatistics {
    classes: Vec<ClassMoments>,
    provenance: Provenance,
    operating_points: Option<OperatingPoints>,
}

impl ClassStatistics {
    /// Statistics from their parts. A mean or variance that is NaN becomes `None`.
    ///
    /// # Errors
    /// When there are no classes or more than 255, a mean is infinite, or a variance is infinite or negative.
    pub fn new(classes: Vec<ClassMoments>, provenance: Provenance) -> Result<Self> {
        let invalid = |problem: String, expected: &str| {
            Err(Error::InvalidStatistics { problem, expected: expected.to_owned() })
        };
        if classes.is_empty() || classes.len() > LogitsShape::MAX_CLASSES {
            return invalid(format!("{} classes", classes.len()), "1 to 255");
        }
        let known = |value: Option<f64>| value.filter(|v| !v.is_nan());
        let mut checked = Vec::with_capacity(classes.len());
        for (class, moments) in classes.into_iter().enumerate() {
            let (mean, variance) = (known(moments.mean), known(moments.variance));
            if let Some(mean) = mean.filter(|m| m.is_infinite()) {
                return invalid(format!("mean of class {class} is {mean}"), "a finite number, or null");
            }
            if let Some(variance) = variance.filter(|v| v.is_infinite() || *v < 0.0) {
                return invalid(
                    format!("variance of class {class} is {variance}"),
                    "a finite number of 0 or more, or null",
                );
            }
            checked.push(ClassMoments { count: moments.count, mean, variance });
        }
        Ok(Self { classes: checked, provenance, operating_points: None })
    }

    /// Statistics out of accumulators, which hold nothing that [`ClassStatistics::new`] would refuse.
    pub(crate) fn measured(classes: Vec<ClassMoments>, provenance: Provenance) -> Self {
        Self { classes, provenance, operating_points: None }
    }

    /// Statistics from vectors by train id, as an import gives them: NaN marks a class without data, counts are
    /// not known.
    ///
    /// # Errors
    /// When the lengths differ, and as [`ClassStatistics::new`].
    pub fn from_vectors(mean: &[f64], variance: &[f64], provenance: Provenance) -> Result<Self> {
        if mean.len() != variance.len() {
            return Err(different_lengths("variance", variance.len(), mean.len()));
        }
        let classes = mean.iter().zip(variance).map(|(&mean, &variance)| ClassMoments {
            count: None,
            mean: Some(mean),
            variance: Some(variance),
        });
        Self::new(classes.collect(), provenance)
    }

    /// Reads statistics from JSON text.
    ///
    /// # Errors
    /// When the text is not JSON of that form, or the numbers contradict each other.
    pub fn from_json(text: &str) -> Result<Self> {
        serde_json::from_str(text).map_err(|error| Error::InvalidStatistics {
            problem: error.to_string(),
            expected: r#"JSON with "mean", "variance" and "count", one number a class"#.to_owned(),
        })
    }

    /// Reads statistics from a JSON file.
    ///
    /// # Errors
    /// When the file cannot be read or does not hold statistics; the message names it.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(|error| Error::io(path, "read", error))?;
        Self::from_json(&text).map_err(|error| match error {
            Error::InvalidStatistics { problem, expected } => Error::file(path, problem, expected),
            other => other,
        })
    }

    /// The statistics as JSON text, one line a field.
    pub fn to_json(&self) -> String {
        // Columns hold only numbers, strings and sequences of them, which always serialize.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// Moments by train id.
    pub fn classes(&self) -> &[ClassMoments] {
        &self.classes
    }

    /// Where the statistics come from.
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// Thresholds measured along with the statistics, if any.
    pub fn operating_points(&self) -> Option<&OperatingPoints> {
        self.operating_points.as_ref()
    }

    /// The same statistics with thresholds measured under them.
    #[must_use]
    pub fn with_operating_points(mut self, points: OperatingPoints) -> Self {
        self.operating_points = Some(points);
        self
    }

    /// Statistics of all pixels that either has measured. Thresholds are dropped: they cannot be merged.
    ///
    /// # Errors
    /// When the numbers of classes differ, or a class with data has no count.
    pub fn merge(&self, other: &Self) -> Result<Self> {
        if self.classes.len() != other.classes.len() {
            return Err(different_class_counts(self.classes.len(), other.classes.len()));
        }
        let known = |moments: &ClassMoments, class: usize| {
            moments.accumulator().ok_or_else(|| Error::InvalidStatistics {
                problem: format!("class {class} has no count"),
                expected: "counts in both, to weigh them by (imported statistics have none)".to_owned(),
            })
        };
        let mut classes = Vec::with_capacity(self.classes.len());
        for (class, (mine, theirs)) in self.classes.iter().zip(&other.classes).enumerate() {
            let mut sum = known(mine, class)?;
            sum.merge(&known(theirs, class)?);
            classes.push(sum.moments());
        }
        Ok(Self::measured(classes, self.provenance.merge(&other.provenance)))
    }

    /// Train ids of the classes that cannot be standardized.
    pub fn classes_without_statistics(&self) -> Vec<usize> {
        (0..self.classes.len()).filter(|&class| !self.classes[class].is_usable()).collect()
    }

    /// Mean and standard deviation that the engine uses for each class.
    ///
    /// # Errors
    /// When `missing` is an error and a class has no statistics, or it is pooled and no class has any.
    pub(crate) fn standardization(&self, missing: MissingStatistics) -> Result<Standardization> {
        let without = self.classes_without_statistics();
        let mut mean: Vec<f64> = self.classes.iter().map(|m| m.mean.unwrap_or(f64::NAN)).collect();
        let mut variance: Vec<f64> = self.classes.iter().map(|m| m.variance.unwrap_or(f64::NAN)).collect();
        match missing {
            MissingStatistics::Error if !without.is_empty() => {
                return Err(Error::ClassesWithoutStatistics { classes: without });
            }
            MissingStatistics::Pooled if !without.is_empty() => {
                let (pooled_mean, pooled_variance) = self.pooled()?;
                for &class in &without {
                    (mean[class], variance[class]) = (pooled_mean, pooled_variance);
                }
            }
            _ => {}
        }
        Ok(Standardization {
            mean: mean.iter().map(|&m| m as f32).collect(),
            standard_deviation: variance.iter().map(|v| v.sqrt() as f32).collect(),
            without_statistics: without,
        })
    }

    /// Mean and variance over all pixels of all classes. Without counts every usable class weighs the same.
    pub(crate) fn pooled(&self) -> Result<(f64, f64)> {
        let mut pool = MomentAccumulator::default();
        let accumulators: Option<Vec<_>> = self.classes.iter().map(ClassMoments::accumulator).collect();
        let (mean, variance) = match accumulators {
            Some(accumulators) => {
                accumulators.iter().for_each(|accumulator| pool.merge(accumulator));
                (pool.mean(), pool.variance())
            }
            None => self.pooled_without_counts(),
        };
        match (mean, variance) {
            (Some(mean), Some(variance)) if variance > 0.0 => Ok((mean, variance)),
            _ => Err(Error::InvalidStatistics {
                problem: "no class has statistics to pool".to_owned(),
                expected: "at least one class with a mean and a variance above 0".to_owned(),
            }),
        }
    }

    /// Moments of an equal mixture of the usable classes: mean of the variances plus variance of the means.
    fn pooled_without_counts(&self) -> (Option<f64>, Option<f64>) {
        let usable: Vec<(f64, f64)> = self
            .classes
            .iter()
            .filter(|moments| moments.is_usable())
            .filter_map(|moments| moments.mean.zip(moments.variance))
            .collect();
        if usable.is_empty() {
            return (None, None);
        }
        let count = usable.len() as f64;
        let mean = usable.iter().map(|(mean, _)| mean).sum::<f64>() / count;
        let variance = usable.iter().map(|(m, v)| v + (m - mean) * (m - mean)).sum::<f64>() / count;
        (Some(mean), Some(variance))
    }
}

impl ClassMoments {
    /// The accumulator that would give these moments; `None` when there is data and its count is not known.
    fn accumulator(&self) -> Option<MomentAccumulator> {
        let count = if self.mean.is_some() { self.count? } else { 0 };
        Some(MomentAccumulator::from_moments(count, self.mean, self.variance.unwrap_or(0.0)))
    }
}

/// What a max logit of each class is standardized with, in the engine's arithmetic.
#[derive(Clone, Debug)]
pub(crate) struct Standardization {
    /// Mean of each class.
    pub mean: Vec<f32>,
    /// Standard deviation of each class: the float64 square root, rounded once.
    pub standard_deviation: Vec<f32>,
    /// Classes whose own statistics could not be used.
    pub without_statistics: Vec<usize>,
}

/// The JSON form: one column a quantity.
#[derive(Serialize, Deserialize)]
struct Columns {
    mean: Vec<Option<f64>>,
    variance: Vec<Option<f64>>,
    #[serde(default)]
    count: Option<Vec<Option<u64>>>,
    #[serde(default)]
    provenance: Provenance,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    operating_points: Option<OperatingPoints>,
}

impl From<ClassStatistics> for Columns {
    fn from(statistics: ClassStatistics) -> Self {
        let column =
            |quantity: fn(&ClassMoments) -> Option<f64>| statistics.classes.iter().map(quantity).collect();
        Self {
            mean: column(|m| m.mean),
            variance: column(|m| m.variance),
            count: Some(statistics.classes.iter().map(|m| m.count).collect()),
            provenance: statistics.provenance,
            operating_points: statistics.operating_points,
        }
    }
}

impl TryFrom<Columns> for ClassStatistics {
    type Error = Error;

    fn try_from(columns: Columns) -> Result<Self> {
        let classes = columns.mean.len();
        let count = columns.count.unwrap_or_else(|| vec![None; classes]);
        for (name, given) in [("variance", columns.variance.len()), ("count", count.len())] {
            if given != classes {
                return Err(different_lengths(name, given, classes));
            }
        }
        let moments = (0..classes)
            .map(|class| ClassMoments {
                count: count[class],
                mean: columns.mean[class],
                variance: columns.variance[class],
            })
            .collect();
        let mut statistics = Self::new(moments, columns.provenance)?;
        statistics.operating_points = columns.operating_points;
        Ok(statistics)
    }
}

pub(crate) fn different_class_counts(mine: usize, theirs: usize) -> Error {
    Error::InvalidStatistics {
        problem: format!("{theirs} classes are to be merged into {mine}"),
        expected: "statistics of the same classes".to_owned(),
    }
}

fn different_lengths(name: &str, given: usize, classes: usize) -> Error {
    Error::InvalidStatistics {
        problem: format!("{name} holds {given} numbers and mean holds {classes}"),
        expected: "one number a class in each".to_owned(),
    }
}
