//! Streaming and merging equal the definition over all values at once.

use proptest::prelude::*;
use proptest::sample::Index;
use sml::{ClassMoments, ClassStatistics, MomentAccumulator, Provenance, StatisticsAccumulator};

use super::{assert_mean, assert_variance, message, moments, statistics, two_pass};

const CLASSES: usize = 4;

/// Logits as networks have them, and values far from 0 whose digits a careless sum would lose.
fn values() -> impl Strategy<Value = Vec<f64>> {
    let offset = prop_oneof![Just(0.0), Just(1e6), Just(-1e6), -50.0..50.0];
    let spread = prop_oneof![Just(1.0), Just(1e-3), Just(1e3)];
    (offset, spread, prop::collection::vec(-1.0..1.0_f64, 2..300))
        .prop_map(|(offset, spread, noise)| noise.iter().map(|noise| offset + spread * noise).collect())
}

/// Max logits and predictions of some pixels.
fn pixels() -> impl Strategy<Value = (Vec<f32>, Vec<u8>)> {
    let offset = prop_oneof![Just(0.0_f32), Just(1e6)];
    let pixels = prop::collection::vec((-20.0_f32..20.0, 0..CLASSES as u8), 1..400);
    (offset, pixels)
        .prop_map(|(offset, pixels)| pixels.into_iter().map(|(value, class)| (value + offset, class)).unzip())
}

fn accumulated(values: &[f64]) -> MomentAccumulator {
    let mut accumulator = MomentAccumulator::default();
    values.iter().for_each(|&value| accumulator.add(value));
    accumulator
}

fn measured(max_logits: &[f32], predictions: &[u8]) -> StatisticsAccumulator {
    let mut accumulator = StatisticsAccumulator::new(CLASSES);
    accumulator.add(max_logits, predictions).unwrap();
    accumulator
}

#[track_caller]
fn assert_same_moments(got: &ClassMoments, want: &ClassMoments) {
    assert_eq!(got.count, want.count);
    assert_eq!((got.mean.is_some(), got.variance.is_some()), (want.mean.is_some(), want.variance.is_some()));
    if let (Some(got), Some(want)) = (got.mean, want.mean) {
        assert_mean(got, want);
    }
    if let (Some(got), Some(variance), Some(mean)) = (got.variance, want.variance, want.mean) {
        assert_variance(got, variance, mean);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn streaming_equals_two_passes(values in values()) {
        let accumulator = accumulated(&values);
        let (mean, variance) = two_pass(&values);
        prop_assert_eq!(accumulator.count(), values.len() as u64);
        assert_mean(accumulator.mean().unwrap(), mean);
        assert_variance(accumulator.variance().unwrap(), variance, mean);
    }

    #[test]
    fn merging_any_parts_equals_all_at_once(
        values in values(),
        cuts in prop::collection::vec(any::<Index>(), 0..6),
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(values.len() + 1)).collect();
        cuts.extend([0, values.len()]);
        cuts.sort_unstable();
        let mut merged = MomentAccumulator::default();
        cuts.windows(2).for_each(|cut| merged.merge(&accumulated(&values[cut[0]..cut[1]])));
        let (mean, variance) = two_pass(&values);
        prop_assert_eq!(merged.count(), values.len() as u64);
        assert_mean(merged.mean().unwrap(), mean);
        assert_variance(merged.variance().unwrap(), variance, mean);
    }

    #[test]
    fn each_class_has_the_moments_of_its_pixels((max_logits, predictions) in pixels()) {
        let got = measured(&max_logits, &predictions).finish(Provenance::default());
        prop_assert_eq!(got.classes().len(), CLASSES);
        for (class, moments) in got.classes().iter().enumerate() {
            let own: Vec<f64> = max_logits
                .iter()
                .zip(&predictions)
                .filter(|&(_, &prediction)| usize::from(prediction) == class)
                .map(|(&value, _)| f64::from(value))
                .collect();
            prop_assert_eq!(moments.count, Some(own.len() as u64));
            prop_assert_eq!(moments.mean.is_some(), !own.is_empty());
            prop_assert_eq!(moments.variance.is_some(), own.len() > 1);
            if let (Some(mean), Some(variance)) = (moments.mean, moments.variance) {
                let want = two_pass(&own);
                assert_mean(mean, want.0);
                assert_variance(variance, want.1, want.0);
            }
        }
    }

    #[test]
    fn statistics_of_halves_merge_into_those_of_the_whole(
        (max_logits, predictions) in pixels(),
        cut in any::<Index>(),
    ) {
        let cut = cut.index(max_logits.len() + 1);
        let mut first = measured(&max_logits[..cut], &predictions[..cut]);
        let second = measured(&max_logits[cut..], &predictions[cut..]);
        let whole = measured(&max_logits, &predictions).finish(Provenance::default());
        let [a, b] = [&first, &second].map(|half| half.finish(Provenance::default()));
        let of_statistics = a.merge(&b).unwrap();
        first.merge(&second).unwrap();
        let of_accumulators = first.finish(Provenance::default());
        for (class, want) in whole.classes().iter().enumerate() {
            assert_same_moments(&of_accumulators.classes()[class], want);
            assert_same_moments(&of_statistics.classes()[class], want);
        }
    }
}

#[test]
fn too_few_values_have_no_moments() {
    let mut accumulator = MomentAccumulator::default();
    assert_eq!((accumulator.count(), accumulator.mean(), accumulator.variance()), (0, None, None));
    accumulator.add(3.0);
    assert_eq!((accumulator.count(), accumulator.mean(), accumulator.variance()), (1, Some(3.0), None));
    accumulator.add(3.0);
    assert_eq!((accumulator.count(), accumulator.mean(), accumulator.variance()), (2, Some(3.0), Some(0.0)));
}

#[test]
fn broken_pixels_are_counted_and_left_out() {
    let max_logits = [1.0, f32::NAN, 3.0, f32::INFINITY, f32::NEG_INFINITY];
    let mut accumulator = measured(&max_logits, &[2, 2, 2, 1, 0]);
    accumulator.merge(&measured(&[f32::NAN], &[3])).unwrap();
    assert_eq!(accumulator.non_finite(), 4);
    let got = accumulator.finish(Provenance::default());
    assert_eq!(got.classes()[2], moments(2, 2.0, 2.0));
    let none = ClassMoments { count: Some(0), mean: None, variance: None };
    assert_eq!([0, 1, 3].map(|class| got.classes()[class]), [none; 3]);
}

#[test]
fn pixels_that_do_not_fit_are_refused_whole() {
    let mut accumulator = measured(&[1.0], &[0]);
    message(accumulator.add(&[1.0, 2.0], &[0]), &["number of predictions is 1", "2, one a max logit"]);
    message(accumulator.add(&[1.0, 2.0], &[0, 4]), &["predicted class is 4", "less than 4"]);
    let other = StatisticsAccumulator::new(3);
    message(accumulator.merge(&other), &["3 classes are to be merged into 4"]);
    assert_eq!(accumulator.finish(Provenance::default()).classes()[0].count, Some(1));
}

#[test]
fn statistics_that_cannot_be_merged_are_refused() {
    let two = statistics(&[moments(5, 1.0, 2.0), moments(7, 3.0, 4.0)]);
    message(two.merge(&statistics(&[moments(5, 1.0, 2.0)])), &["1 classes are to be merged into 2"]);
    let imported = ClassStatistics::from_vectors(&[1.0, 2.0], &[1.0, 2.0], Provenance::default()).unwrap();
    let text = message(two.merge(&imported), &["class 0 has no count"]);
    assert_eq!(message(imported.merge(&two), &[]), text);
}

#[test]
fn a_class_without_data_needs_no_count_to_be_merged() {
    let unknown = ClassMoments { count: None, mean: None, variance: None };
    let [a, b] = [moments(5, 1.0, 2.0), moments(3, -1.0, 1.0)];
    let merged = statistics(&[a, unknown]).merge(&statistics(&[unknown, b])).unwrap();
    assert_eq!(merged.classes(), [a, b]);
}

#[test]
fn merging_keeps_what_both_have_in_common() {
    let provenance = |images, model: &str, date: &str, source: &str| Provenance {
        images,
        model: Some(model.to_owned()),
        date: Some(date.to_owned()),
        sources: vec![source.to_owned()],
        ..Provenance::default()
    };
    let with = |provenance| ClassStatistics::new(vec![moments(2, 1.0, 1.0)], provenance).unwrap();
    let first = with(provenance(Some(3), "net", "2026-01-31", "a.json"));
    let second = with(provenance(Some(4), "net", "2026-02-01", "b.json"));
    let merged = first.merge(&second).unwrap();
    let want = Provenance {
        sources: vec!["a.json".to_owned(), "b.json".to_owned()],
        ..provenance(Some(7), "net", "2026-02-01", "")
    };
    assert_eq!(merged.provenance(), &want);
    let third = with(provenance(None, "another net", "2025-01-01", "c.json"));
    let merged = first.merge(&third).unwrap();
    assert_eq!((merged.provenance().images, merged.provenance().model.clone()), (None, None));
}

#[test]
fn parts_of_a_dataset_become_the_whole() {
    let part = |shard: &str, files, last_digit: &str| {
        let provenance = Provenance {
            dataset: Some("cityscapes".to_owned()),
            shards: vec![shard.to_owned()],
            files: Some(files),
            content_sha256: Some(format!("{}{last_digit}", "0".repeat(63))),
            left_out: Some(1),
            ..Provenance::default()
        };
        ClassStatistics::new(vec![moments(2, 1.0, 1.0)], provenance).unwrap()
    };
    let [first, second, third] = [part("1/3", 5, "7"), part("2/3", 4, "2"), part("3/3", 4, "4")];
    let two = third.merge(&first).unwrap();
    assert_eq!(two.provenance().shards, ["3/3", "1/3"]);
    let whole = two.merge(&second).unwrap();
    let provenance = whole.provenance();
    assert_eq!((provenance.shards.len(), provenance.files, provenance.left_out), (0, Some(13), Some(3)));
    // A digest of a set is the sum of the digests of its parts.
    #[cfg(feature = "files")]
    assert_eq!(provenance.content_sha256, Some(format!("{}d", "0".repeat(63))));
    // The same part twice, and parts of different sets, are no whole.
    assert_eq!(first.merge(&second).unwrap().merge(&second).unwrap().provenance().shards.len(), 3);
    let mut other = third.provenance().clone();
    other.dataset = Some("another".to_owned());
    let other = ClassStatistics::new(vec![moments(2, 1.0, 1.0)], other).unwrap();
    assert_eq!(two.merge(&other).unwrap().provenance().shards.len(), 3);
}

#[test]
fn millions_of_pixels_lose_no_digits_and_threads_do_not_matter() {
    // 40 images whose values lie far from 0 beside their spread, as one stream and image by image.
    let image = |n: u32| -> (Vec<f32>, Vec<u8>) {
        (0..150_000_u32)
            .map(|i| (1000.0 + ((i * 7919 + n * 104_729) % 1009) as f32 / 512.0, (i % 3) as u8))
            .unzip()
    };
    let measure = || {
        let mut accumulator = StatisticsAccumulator::new(CLASSES);
        for n in 0..40 {
            let (max_logits, predictions) = image(n);
            accumulator.add(&max_logits, &predictions).unwrap();
        }
        accumulator
    };
    let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let accumulator = measure();
    assert_eq!(accumulator, one_thread.install(measure), "the same to the last bit");
    for class in 0..3_u8 {
        let values: Vec<f64> = (0..40)
            .flat_map(|n| {
                let (max_logits, predictions) = image(n);
                let of_class = max_logits.into_iter().zip(predictions).filter(move |(_, p)| *p == class);
                of_class.map(|(value, _)| f64::from(value)).collect::<Vec<_>>()
            })
            .collect();
        // Values minus 1000 are multiples of 1/512: these sums are exact.
        let n = values.len() as f64;
        let mean = 1000.0 + values.iter().map(|value| value - 1000.0).sum::<f64>() / n;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let got = accumulator.finish(Provenance::default()).classes()[usize::from(class)];
        assert!((got.mean.unwrap() - mean).abs() <= 1e-14 * mean, "{got:?}");
        let variance = squares / (n - 1.0);
        assert!((got.variance.unwrap() - variance).abs() <= 1e-11 * variance, "{got:?} and not {variance}");
    }
}
