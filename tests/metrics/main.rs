//! The metrics against the stored official values, and against literal quadratic definitions on random scores.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "functions that tests share fail as tests do"
)]

mod components;
#[cfg(feature = "files")]
#[path = "../data/mod.rs"]
mod data;
mod histograms;
mod thresholds;

#[cfg(feature = "files")]
use data::golden::{Case, Golden};
use proptest::prelude::*;
use sml::Error;
use sml::metrics::{AnomalyMetrics, ClassRanking, PixelScores};

/// AUROC, AP, FPR95 and interpolated FPR95 straight from their definitions.
struct Definition {
    auroc: f64,
    ap: f64,
    fpr95: f64,
    fpr95_interp: f64,
}

fn definition(scores: &[f32], labels: &[u8]) -> Definition {
    let with = |label| scores.iter().zip(labels).filter(move |&(_, &l)| l == label).map(|(&s, _)| s);
    let (positives, negatives): (Vec<f32>, Vec<f32>) = (with(1).collect(), with(0).collect());
    let (p, n) = (positives.len() as f64, negatives.len() as f64);
    let wins: f64 = positives
        .iter()
        .flat_map(|a| {
            negatives.iter().map(move |b| if a > b { 1.0 } else { f64::from(u8::from(a == b)) * 0.5 })
        })
        .sum();

    let mut thresholds: Vec<f32> = positives.iter().chain(&negatives).copied().collect();
    thresholds.sort_by(|a, b| b.partial_cmp(a).expect("no NaN"));
    thresholds.dedup();
    let at_or_above = |list: &[f32], t: f32| list.iter().filter(|&&s| s >= t).count() as f64;
    let mut curve = vec![(0.0, 0.0)];
    let mut ap = 0.0;
    for &t in &thresholds {
        let (tp, fp) = (at_or_above(&positives, t), at_or_above(&negatives, t));
        let recall_before = curve.last().expect("has the origin").0;
        ap += (tp / p - recall_before) * (tp / (tp + fp));
        curve.push((tp / p, fp / n));
    }
    let fpr95 = curve.iter().find(|(tpr, _)| *tpr >= 0.95).expect("ends at 1").1;
    let before = curve.iter().rposition(|(tpr, _)| *tpr <= 0.95).expect("begins at 0");
    let (x0, y0) = curve[before];
    let (x1, y1) = curve[before + 1];
    Definition { auroc: wins / (p * n), ap, fpr95, fpr95_interp: y0 + (y1 - y0) * (0.95 - x0) / (x1 - x0) }
}

fn evaluate(scores: &[f32], labels: &[u8]) -> Result<AnomalyMetrics, Error> {
    let mut pixels = PixelScores::new();
    pixels.add(scores, labels)?;
    pixels.evaluate()
}

/// Few distinct values, so that ties are common, or finely graded ones; and labels of which some are ignored.
pub fn pixels() -> impl Strategy<Value = (Vec<f32>, Vec<u8>)> {
    let score = prop_oneof![(-3_i8..3).prop_map(f32::from), -2.0_f32..2.0, Just(-0.0_f32)];
    let label = prop_oneof![4 => Just(0_u8), 3 => Just(1_u8), 1 => Just(2_u8), 1 => Just(255_u8)];
    prop::collection::vec((score, label), 2..160)
        .prop_map(|pixels| pixels.into_iter().unzip())
        .prop_filter("both labels", |(_, labels): &(Vec<f32>, Vec<u8>)| {
            labels.contains(&0) && labels.contains(&1)
        })
}

proptest! {
    #[test]
    fn equals_the_definition((scores, labels) in pixels()) {
        let got = evaluate(&scores, &labels).expect("both labels are present");
        let want = definition(&scores, &labels);
        prop_assert!((got.auroc - want.auroc).abs() < 1e-12, "{} {}", got.auroc, want.auroc);
        prop_assert!((got.ap - want.ap).abs() < 1e-12, "{} {}", got.ap, want.ap);
        prop_assert_eq!(got.fpr95, want.fpr95);
        prop_assert!((got.fpr95_interp - want.fpr95_interp).abs() < 1e-12, "{got:?} {}", want.fpr95_interp);
    }

    #[test]
    fn depends_on_order_alone((scores, labels) in pixels()) {
        // Doubling is exact, so that ties stay ties and order stays order.
        let doubled: Vec<f32> = scores.iter().map(|s| s * 2.0).collect();
        let (plain, doubled) = (evaluate(&scores, &labels), evaluate(&doubled, &labels));
        prop_assert_eq!(plain.expect("defined"), doubled.expect("defined"));
    }

    #[test]
    fn negated_scores_mirror_auroc((scores, labels) in pixels()) {
        let negated: Vec<f32> = scores.iter().map(|s| -s).collect();
        let sum = evaluate(&scores, &labels).expect("defined").auroc
            + evaluate(&negated, &labels).expect("defined").auroc;
        prop_assert!((sum - 1.0).abs() < 1e-12);
    }

    #[test]
    fn images_and_their_order_do_not_matter((scores, labels) in pixels(), cut in any::<prop::sample::Index>()) {
        let cut = cut.index(scores.len());
        let mut parts = PixelScores::new();
        parts.add(&scores[cut..], &labels[cut..]).expect("no NaN");
        parts.add(&scores[..cut], &labels[..cut]).expect("no NaN");
        let whole = evaluate(&scores, &labels).expect("defined");
        prop_assert_eq!(parts.evaluate().expect("defined"), whole);
        let (mut merged, mut other) = (PixelScores::new(), PixelScores::new());
        merged.add(&scores[cut..], &labels[cut..]).expect("no NaN");
        other.add(&scores[..cut], &labels[..cut]).expect("no NaN");
        merged.merge(other);
        prop_assert_eq!(merged.evaluate().expect("defined"), whole);
    }

    #[test]
    fn classes_are_judged_by_their_own_pixels((scores, labels) in pixels(), seed in any::<u64>()) {
        let predictions: Vec<u8> =
            (0..scores.len()).map(|i| (seed.rotate_left(i as u32 * 7) % 4) as u8).collect();
        let mut ranking = ClassRanking::new(5).expect("five classes");
        let half = scores.len() / 2;
        ranking.add(&scores[..half], &labels[..half], &predictions[..half]).expect("no NaN");
        let mut rest = ClassRanking::new(5).expect("five classes");
        rest.add(&scores[half..], &labels[half..], &predictions[half..]).expect("no NaN");
        ranking.merge(rest).expect("as many classes");
        for (class, got) in ranking.evaluate().into_iter().enumerate() {
            // Pixels of other classes are ignored, or not there at all.
            let of_class = predictions.iter().map(|&p| usize::from(p) == class);
            let labels: Vec<u8> = labels.iter().zip(of_class).map(|(&l, own)| if own { l } else { 255 }).collect();
            let want = evaluate(&scores, &labels).ok();
            prop_assert_eq!(got.map(|m| (m.auroc, m.ap, m.fpr95)), want.map(|m| (m.auroc, m.ap, m.fpr95)));
        }
        prop_assert_eq!(ranking.into_total().evaluate().ok(), evaluate(&scores, &labels).ok());
    }

    #[test]
    fn threshold_is_the_highest_that_reaches_the_rate((scores, labels) in pixels(), tpr in 0.001_f64..=1.0) {
        let mut pixels = PixelScores::new();
        pixels.add(&scores, &labels).expect("no NaN");
        let threshold = pixels.threshold_at_tpr(tpr).expect("has positives");
        let share = |label: u8, above: &dyn Fn(f32) -> bool| {
            let all = labels.iter().filter(|&&l| l == label).count() as f64;
            scores.iter().zip(&labels).filter(|&(&s, &l)| l == label && above(s)).count() as f64 / all
        };
        prop_assert!(share(1, &|s| s >= threshold) >= tpr);
        prop_assert!(share(1, &|s| s > threshold) < tpr);
        let at_95 = pixels.threshold_at_tpr(0.95).expect("has positives");
        prop_assert_eq!(pixels.evaluate().expect("defined").fpr95, share(0, &|s| s >= at_95));
    }
}

#[test]
fn many_pixels_with_a_known_answer() {
    // Positives 1, 3, 5 ... and negatives 0, 2, 4 ...: the k-th positive beats k + 1 of n negatives.
    let n = 500_000_u32;
    let mut pixels = PixelScores::new();
    for k in (0..n).rev() {
        pixels.add(&[(2 * k) as f32, (2 * k + 1) as f32], &[0, 1]).expect("no NaN");
    }
    let metrics = pixels.evaluate().expect("both labels");
    let n = f64::from(n);
    assert_eq!(metrics.auroc, (n + 1.0) / (2.0 * n));
    // 95 % of the positives are k >= 25000; normal pixels above 50001 are those from 50002 on.
    assert_eq!(metrics.fpr95, (500_000.0 - 25_001.0) / 500_000.0);
    assert_eq!(pixels.threshold_at_tpr(0.95).expect("has positives"), 50_001.0);
}

#[test]
fn predictions_must_be_classes() {
    let mut ranking = ClassRanking::new(2).expect("two classes");
    assert!(ranking.add(&[0.0], &[0], &[2]).is_err());
    assert!(ranking.add(&[0.0], &[0], &[0, 1]).is_err());
    assert!(ranking.add(&[f32::NAN], &[0], &[0]).is_err());
    assert!(ClassRanking::new(0).is_err() && ClassRanking::new(257).is_err());
    assert!(ranking.merge(ClassRanking::new(3).expect("three classes")).is_err());
    assert_eq!(ranking.auroc(), [None, None]);
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    // Over several parts of the walk, with ties across their ends.
    let scrambled = |i: u32| i.wrapping_mul(2_654_435_761) >> 7;
    let scores: Vec<f32> = (0..600_000).map(|i| (scrambled(i) % 50_000) as f32 / 7.0).collect();
    let labels: Vec<u8> = (0..600_000).map(|i| u8::from(scrambled(i + 9) % 3 == 0)).collect();
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        pool.install(|| evaluate(&scores, &labels).expect("defined"))
    };
    let one = on(1);
    assert_eq!((one, one), (on(2), on(5)));
}

#[cfg(feature = "files")]
#[test]
fn official_values() {
    for golden in data::golden::sets() {
        let cases: Vec<&Case> = golden.cases().filter(|case| case.kind() == "metrics").collect();
        assert_eq!(cases.len(), 11);
        for case in cases {
            check(&golden, case);
        }
    }
}

#[cfg(feature = "files")]
fn check(golden: &Golden, case: &Case) {
    let id = case.id();
    // Stored with the official sign: high is normal.
    let scores: Vec<f32> = golden.scores(case, "score").iter().map(|&score| -score as f32).collect();
    let labels: Vec<u8> = golden.bytes(case, "label").into_iter().collect();
    if case.number("positives") == 0 || case.number("negatives") == 0 {
        assert!(matches!(evaluate(&scores, &labels), Err(Error::UndefinedMetric { .. })), "{id}");
        return;
    }
    let got = evaluate(&scores, &labels).expect("defined");
    for (name, got) in [("positives", got.positives), ("negatives", got.negatives), ("ignored", got.ignored)]
    {
        assert_eq!(case.number(name) as u64, got, "{id}: {name}");
    }
    for (origin, name, got) in [
        ("official", "auroc", got.auroc),
        ("official", "ap", got.ap),
        ("official", "fpr95", got.fpr95_interp),
        ("float64", "auroc", got.auroc),
        ("float64", "ap", got.ap),
        ("float64", "fpr95", got.fpr95_interp),
        ("float64", "fpr95_step", got.fpr95),
    ] {
        let want = case.field(origin)[name].as_f64().expect("a number");
        assert!((got - want).abs() < 1e-12, "{id}: {origin} {name}: {got}, not {want}");
    }
}
