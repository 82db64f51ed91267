//! Thresholds and curves of the exact mode against counting one by one.

use proptest::prelude::*;
use sml::Error;
use sml::metrics::{CurvePoint, PixelScores, ThresholdAt};

use crate::pixels;

fn collect(scores: &[f32], labels: &[u8]) -> PixelScores {
    let mut pixels = PixelScores::new();
    pixels.add(scores, labels).expect("no NaN");
    pixels
}

/// The whole curve: a point for each distinct score.
fn definition(scores: &[f32], labels: &[u8]) -> Vec<CurvePoint> {
    let of = |label: u8| scores.iter().zip(labels).filter(move |&(_, &l)| l == label).map(|(&s, _)| s + 0.0);
    let mut thresholds: Vec<f32> = of(0).chain(of(1)).collect();
    thresholds.sort_unstable_by(|a, b| b.total_cmp(a));
    thresholds.dedup();
    let share = |label: u8, t: f32| (of(label).filter(|&s| s >= t).count() as f64, of(label).count() as f64);
    thresholds
        .into_iter()
        .map(|threshold| {
            let ((tp, p), (fp, n)) = (share(1, threshold), share(0, threshold));
            CurvePoint { threshold, tpr: tp / p, fpr: fp / n, precision: tp / (tp + fp) }
        })
        .collect()
}

proptest! {
    #[test]
    fn a_curve_with_room_is_whole((scores, labels) in pixels()) {
        prop_assert_eq!(collect(&scores, &labels).curve(1000).expect("defined"), definition(&scores, &labels));
    }

    #[test]
    fn a_thinned_curve_keeps_its_ends_and_lies_on_the_whole_one((scores, labels) in pixels(), most in 0_usize..40) {
        let whole = definition(&scores, &labels);
        let thin = collect(&scores, &labels).curve(most).expect("defined");
        prop_assert!(thin.len() <= most.max(2));
        prop_assert_eq!((thin.first(), thin.last()), (whole.first(), whole.last()));
        prop_assert!(thin.windows(2).all(|pair| pair[0].threshold > pair[1].threshold));
        prop_assert!(thin.iter().all(|point| whole.contains(point)));
    }

    #[test]
    fn thresholds_are_those_that_were_asked_for((scores, labels) in pixels(), rate in 0.001_f64..=1.0) {
        let wanted =
            [ThresholdAt::Tpr(rate), ThresholdAt::Fpr(rate), ThresholdAt::Quantile(rate), ThresholdAt::BestF1];
        let got = collect(&scores, &labels).thresholds(&wanted).expect("defined");
        let whole = definition(&scores, &labels);
        prop_assert_eq!(Some(&got[0]), whole.iter().find(|row| row.tpr >= rate));
        match whole.iter().rfind(|row| row.fpr <= rate) {
            Some(row) => prop_assert_eq!(&got[1], row),
            None => {
                prop_assert_eq!((got[1].tpr, got[1].fpr, got[1].precision), (0.0, 0.0, 1.0));
                prop_assert!(got[1].threshold > whole[0].threshold);
            }
        }
        let labelled: Vec<f32> = scores.iter().zip(&labels).filter(|(_, l)| **l <= 1).map(|(&s, _)| s).collect();
        let below = |t: f32| labelled.iter().filter(|&&s| s < t).count() as f64 / labelled.len() as f64;
        let quantile = whole.iter().find(|row| below(row.threshold) <= rate).expect("the lowest has none below");
        prop_assert_eq!(&got[2], quantile);
        let best = whole.iter().map(CurvePoint::f1).fold(0.0, f64::max);
        let first = whole.iter().find(|row| row.f1() >= best - 1e-12).expect("there is a best");
        prop_assert!((got[3].f1() - best).abs() < 1e-12);
        prop_assert_eq!(&got[3], first);
    }
}

#[test]
fn long_curves_are_thinned_evenly() {
    let scrambled = |i: u32| i.wrapping_mul(2_654_435_761) >> 8;
    let labels: Vec<u8> = (0..300_000).map(|i| u8::from(scrambled(i) % 50 == 0)).collect();
    let scores: Vec<f32> = (0..300_000)
        .map(|i| (scrambled(i + 7) % 100_000) as f32 + 3e4 * f32::from(labels[i as usize]))
        .collect();
    let curve = collect(&scores, &labels).curve(1000).expect("defined");
    assert!((900..=1000).contains(&curve.len()), "{}", curve.len());
    let gap =
        |of: fn(&CurvePoint) -> f64| curve.windows(2).map(|p| of(&p[1]) - of(&p[0])).fold(0.0, f64::max);
    assert!(gap(|p| p.tpr) < 0.005 && gap(|p| p.fpr) < 0.005, "{} {}", gap(|p| p.tpr), gap(|p| p.fpr));
    let last = curve.last().expect("has points");
    assert_eq!(
        (last.tpr, last.fpr, last.precision),
        (1.0, 1.0, labels.iter().filter(|&&l| l == 1).count() as f64 / 3e5)
    );
}

#[test]
fn infinite_and_impossible_thresholds_say_so() {
    let infinity = f32::INFINITY;
    let mut pixels = collect(&[infinity, 1.0, -infinity, 0.5], &[0, 1, 0, 1]);
    let row = pixels.thresholds(&[ThresholdAt::Fpr(0.1)]).expect("defined")[0];
    // No threshold excludes an infinite normal score; the row says what it costs.
    assert_eq!((row.threshold, row.fpr), (infinity, 0.5));
    let lowest = pixels.thresholds(&[ThresholdAt::Fpr(1.0)]).expect("defined")[0];
    assert_eq!((lowest.threshold, lowest.tpr, lowest.fpr), (-infinity, 1.0, 1.0));
    for row in [row, lowest] {
        let json = serde_json::to_string(&row).expect("is plain data");
        assert_eq!(serde_json::from_str::<CurvePoint>(&json).expect("comes back"), row, "{json}");
    }
    for wrong in [
        ThresholdAt::Tpr(0.0),
        ThresholdAt::Fpr(-0.1),
        ThresholdAt::Quantile(1.1),
        ThresholdAt::Fpr(f64::NAN),
    ] {
        assert!(matches!(pixels.thresholds(&[wrong]), Err(Error::InvalidParameter { .. })), "{wrong:?}");
    }
}
