//! Histograms against the exact metrics: never further off than they say.

use proptest::prelude::*;
use sml::metrics::{PixelScores, ScoreHistograms, ThresholdAt};

use crate::pixels;

/// Scores that share bins: a few bins, and values that differ within them and at their edges.
fn crowded() -> impl Strategy<Value = (Vec<f32>, Vec<u8>)> {
    let score = (0_u32..5, prop_oneof![Just(0_u32), Just(4095), 0_u32..4096], any::<bool>()).prop_map(
        |(bin, within, negative)| {
            let score = f32::from_bits(0x3f80_0000 + bin * 4096 + within);
            if negative { -score } else { score }
        },
    );
    let label = prop_oneof![3 => Just(0_u8), 3 => Just(1_u8), 1 => Just(255_u8)];
    prop::collection::vec((score, label), 2..400)
        .prop_map(|pixels| pixels.into_iter().unzip())
        .prop_filter("both labels", |(_, labels): &(Vec<f32>, Vec<u8>)| {
            labels.contains(&0) && labels.contains(&1)
        })
}

/// In each bin, all unexpected pixels above all normal ones, or below: the worst cases of the proof.
fn extremes() -> impl Strategy<Value = (Vec<f32>, Vec<u8>)> {
    let bin = (1_usize..60, 1_usize..60, any::<bool>());
    prop::collection::vec(bin, 1..6).prop_map(|bins| {
        let (mut scores, mut labels) = (Vec::new(), Vec::new());
        for (index, (unexpected, normal, above)) in bins.into_iter().enumerate() {
            for pixel in 0..unexpected + normal {
                scores.push(f32::from_bits(0x4000_0000 + (index * 4096 + pixel) as u32));
                labels.push(u8::from(if above { pixel >= normal } else { pixel < unexpected }));
            }
        }
        (scores, labels)
    })
}

fn assert_within_bounds(scores: &[f32], labels: &[u8]) {
    let (mut exact, mut histograms) = (PixelScores::new(), ScoreHistograms::new());
    exact.add(scores, labels).expect("no NaN");
    histograms.add(scores, labels).expect("no NaN");
    let (want, got) = (exact.evaluate().expect("defined"), histograms.evaluate().expect("defined"));
    let off = [
        (got.metrics.auroc - want.auroc, got.bounds.auroc),
        (got.metrics.ap - want.ap, got.bounds.ap),
        (got.metrics.fpr95 - want.fpr95, got.bounds.fpr95),
        (got.metrics.fpr95_interp - want.fpr95_interp, got.bounds.fpr95_interp),
    ];
    for (index, (off, bound)) in off.into_iter().enumerate() {
        assert!(off.abs() <= bound, "metric {index}: off by {off}, bound {bound}");
        assert!(bound <= got.error_bound());
    }
    let counts = |m: sml::metrics::AnomalyMetrics| (m.positives, m.negatives, m.ignored);
    assert_eq!(counts(got.metrics), counts(want));
}

/// Shares at a threshold, counted one by one.
fn shares(scores: &[f32], labels: &[u8], threshold: f32) -> [f64; 3] {
    let count = |label: u8| {
        let of = |least: f32| scores.iter().zip(labels).filter(|&(&s, &l)| l == label && s >= least).count();
        (of(threshold) as f64, of(f32::NEG_INFINITY) as f64)
    };
    let ((found, all_unexpected), (alarms, all_normal)) = (count(1), count(0));
    let precision = if found + alarms == 0.0 { 1.0 } else { found / (found + alarms) };
    [found / all_unexpected, alarms / all_normal, precision]
}

proptest! {
    // Two tables of 16 MiB are cleared and walked for each case.
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_exact_value_is_never_outside_the_bound((scores, labels) in prop_oneof![crowded(), extremes(), pixels()]) {
        assert_within_bounds(&scores, &labels);
    }

    #[test]
    fn rows_and_points_state_exact_rates((scores, labels) in prop_oneof![crowded(), pixels()], rate in 0.01_f64..=1.0) {
        let mut histograms = ScoreHistograms::new();
        histograms.add(&scores, &labels).expect("no NaN");
        let wanted =
            [ThresholdAt::Tpr(rate), ThresholdAt::Fpr(rate), ThresholdAt::Quantile(rate), ThresholdAt::BestF1];
        let rows = histograms.thresholds(&wanted).expect("defined");
        let curve = histograms.curve(10).expect("defined");
        for row in rows.iter().chain(&curve) {
            let want = shares(&scores, &labels, row.threshold);
            prop_assert_eq!([row.tpr, row.fpr, row.precision], want, "{:?}", row);
        }
        prop_assert!(rows[0].tpr >= rate && rows[1].fpr <= rate);
    }

    #[test]
    fn merging_and_writing_change_nothing((scores, labels) in crowded(), cut in any::<prop::sample::Index>()) {
        let cut = cut.index(scores.len());
        let of = |scores: &[f32], labels: &[u8]| {
            let mut histograms = ScoreHistograms::new();
            histograms.add(scores, labels).expect("no NaN");
            histograms
        };
        let mut parts = of(&scores[cut..], &labels[cut..]);
        parts.merge(&of(&scores[..cut], &labels[..cut]));
        let mut written = Vec::new();
        parts.write_to(&mut written).expect("memory takes all");
        let mut read = ScoreHistograms::read_from(&mut &written[..]).expect("is whole");
        prop_assert_eq!(read.evaluate().ok(), of(&scores, &labels).evaluate().ok());
    }
}

#[test]
fn the_bound_of_ordinary_scores_is_small() {
    // Two overlapping bells of scores, as sums of scrambled numbers.
    let uniform =
        |i: u32| (i.wrapping_mul(2_654_435_761) ^ (i >> 3).wrapping_mul(40_503)) as f32 / u32::MAX as f32;
    let bell = |i: u32| (0..6).map(|k| uniform(i.wrapping_mul(6) + k)).sum::<f32>() - 3.0;
    let labels: Vec<u8> = (0..200_000_u32).map(|i| u8::from(i % 20 == 0)).collect();
    let scores: Vec<f32> =
        (0..200_000_u32).zip(&labels).map(|(i, &label)| bell(i) + f32::from(label)).collect();
    let mut histograms = ScoreHistograms::new();
    histograms.add(&scores, &labels).expect("no NaN");
    let bound = histograms.evaluate().expect("defined").error_bound();
    assert!(bound < 2e-3, "{bound}");
    assert_within_bounds(&scores, &labels);
}

#[test]
fn refusals_are_those_of_the_exact_mode() {
    let mut histograms = ScoreHistograms::new();
    let mut exact = PixelScores::new();
    for (scores, labels) in [(&[1.0, f32::NAN][..], &[1_u8, 0][..]), (&[1.0, 2.0], &[1])] {
        let errors = (histograms.add(scores, labels), exact.add(scores, labels));
        assert_eq!(errors.0.expect_err("refused").to_string(), errors.1.expect_err("refused").to_string());
    }
    assert_eq!(
        histograms.evaluate().expect_err("empty").to_string(),
        exact.evaluate().expect_err("empty").to_string()
    );
}
