//! Operating points: thresholds found by counting, against sorting all scores.

use proptest::prelude::*;
use sml::{OperatingPoint, OperatingPoints, Params, ScoreHistogram, Smoothing};

use super::message;

fn histogram(scores: &[f32]) -> ScoreHistogram {
    let mut histogram = ScoreHistogram::default();
    scores.iter().for_each(|&score| histogram.add(score));
    histogram
}

fn points(normal: &[f32], unexpected: &[f32]) -> OperatingPoints {
    OperatingPoints::new(Params::default(), &histogram(normal), &histogram(unexpected))
}

fn at_or_above(scores: &[f32], threshold: f32) -> usize {
    scores.iter().filter(|&&score| score >= threshold).count()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_threshold_leaves_the_wanted_fraction_above_it_and_hardly_more(
        scores in prop::collection::vec(-30.0_f32..30.0, 1..500),
        percent in 1_u32..=100,
    ) {
        let rate = f64::from(percent) / 100.0;
        let threshold = points(&scores, &[]).threshold_at_fpr(rate, &Params::default()).unwrap();
        let wanted = (rate * scores.len() as f64).ceil() as usize;
        prop_assert!(at_or_above(&scores, threshold) >= wanted);
        // The bins are 1/2048 of the score wide: a threshold that much higher is too high.
        let higher = threshold + threshold.abs() / 2048.0 + f32::MIN_POSITIVE;
        prop_assert!(at_or_above(&scores, higher) < wanted, "{} of {}", threshold, wanted);
    }

    #[test]
    fn higher_rates_have_lower_thresholds(
        scores in prop::collection::vec(any::<f32>(), 1..200),
        rates in (0.0..=1.0_f64, 0.0..=1.0_f64),
    ) {
        prop_assume!(scores.iter().any(|score| !score.is_nan()));
        let points = points(&[], &scores);
        let [low, high] = [rates.0.min(rates.1), rates.0.max(rates.1)]
            .map(|rate| points.threshold_at_tpr(rate, &Params::default()).unwrap());
        prop_assert!(low >= high, "{} at the lower rate, {} at the higher", low, high);
        prop_assert!(low.is_finite() && high.is_finite());
    }
}

#[test]
fn both_kinds_of_pixels_have_their_own_thresholds() {
    let points = points(&[1.0, 2.0, 3.0, 4.0], &[16.0, 32.0]);
    let params = Params::default();
    assert_eq!(points.threshold_at_fpr(0.25, &params).unwrap(), 4.0);
    assert_eq!(points.threshold_at_fpr(0.5, &params).unwrap(), 3.0);
    assert_eq!(points.threshold_at_fpr(1.0, &params).unwrap(), 1.0);
    assert_eq!(points.threshold_at_tpr(0.5, &params).unwrap(), 32.0);
    assert_eq!(points.threshold_at_tpr(0.95, &params).unwrap(), 16.0);
}

#[test]
fn thresholds_between_two_rates_are_interpolated() {
    let point = |rate, threshold| OperatingPoint { rate, threshold };
    let points = OperatingPoints {
        params: Params::default(),
        false_positive: vec![point(0.1, 8.0), point(0.3, 4.0), point(1.0, 0.0)],
        true_positive: Vec::new(),
    };
    let at = |rate| points.threshold_at_fpr(rate, &Params::default()).unwrap();
    assert_eq!([at(0.0), at(0.1), at(0.3), at(1.0)], [8.0, 8.0, 4.0, 0.0]);
    assert!((at(0.15) - 7.0).abs() < 1e-6, "{}", at(0.15));
    assert!((at(0.65) - 2.0).abs() < 1e-6, "{}", at(0.65));
}

#[test]
fn scores_that_are_not_finite() {
    let mut histogram = histogram(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1.0]);
    assert_eq!(histogram.total(), 3);
    histogram.add(f32::NAN);
    assert_eq!(histogram.total(), 3);
    let top = histogram.threshold(0.1).unwrap();
    assert!(top.is_finite() && top > 1e38, "{top}");
    assert_eq!(histogram.threshold(0.5), Some(1.0));
    assert_eq!(histogram.threshold(1.0), Some(f32::MIN));
    assert_eq!(ScoreHistogram::default().threshold(0.5), None);
}

#[test]
fn wrong_questions_are_refused() {
    let points = points(&[1.0, 2.0], &[]);
    let params = Params::default();
    for rate in [-0.1, 1.1, f64::NAN] {
        message(points.threshold_at_fpr(rate, &params), &["fpr is", "a rate from 0 to 1"]);
    }
    message(points.threshold_at_tpr(0.95, &params), &["tpr is 0.95", "no labelled pixels", "--threshold"]);
    let other = Params { smoothing: Some(Smoothing::new(5, 1.0, 6).unwrap()), ..params };
    message(points.threshold_at_fpr(0.05, &other), &["fpr is 0.05, with other parameters"]);
}
