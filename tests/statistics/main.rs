//! Class statistics and thresholds: the arithmetic against a literal two-pass definition in float64, the JSON form, and
//! what the engine makes of classes without statistics.
#![allow(clippy::unwrap_used, reason = "functions that tests share fail as tests do")]

mod accumulation;
mod json;
mod missing;
mod thresholds;

use sml::{ClassMoments, ClassStatistics, Provenance};

/// Mean and unbiased variance as they are defined: two passes over all values.
fn two_pass(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let deviations = values.iter().map(|value| value - mean);
    // In exact arithmetic the deviations sum to 0; what they do sum to is the rounding of the mean, taken out again.
    let (sum, squares) = deviations.fold((0.0, 0.0), |(sum, squares), d| (sum + d, squares + d * d));
    (mean, (squares - sum * sum / count) / (count - 1.0))
}

/// Asserts that a variance agrees as far as float64 can: 1e-12 of it, and what rounding values of the size of `mean` costs.
/// Subtracting sums of squares would lose `mean^2` instead of `mean * deviation`, and fail by far.
#[track_caller]
fn assert_variance(got: f64, want: f64, mean: f64) {
    let tolerance = 1e-12 * want + 1e-14 * mean.abs() * want.sqrt();
    assert!((got - want).abs() <= tolerance, "variance {got} instead of {want} at the mean {mean}");
}

#[track_caller]
fn assert_mean(got: f64, want: f64) {
    assert!((got - want).abs() <= 1e-12 * want.abs().max(1.0), "mean {got} instead of {want}");
}

/// The message of an error, which must be one line and hold every one of `parts`.
#[track_caller]
fn message<T: std::fmt::Debug>(result: sml::Result<T>, parts: &[&str]) -> String {
    let text = result.unwrap_err().to_string();
    assert_eq!(text.lines().count(), 1, "{text}");
    parts.iter().for_each(|part| assert!(text.contains(part), "{part:?} is not in: {text}"));
    text
}

fn moments(count: u64, mean: f64, variance: f64) -> ClassMoments {
    ClassMoments { count: Some(count), mean: Some(mean), variance: Some(variance) }
}

fn statistics(classes: &[ClassMoments]) -> ClassStatistics {
    ClassStatistics::new(classes.to_vec(), Provenance::default()).unwrap()
}
