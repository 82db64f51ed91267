//! Classes without statistics: each policy, through the engine and through the reference.

use ndarray::Array4;
use proptest::prelude::*;
use sml::{
    Capacity, ClassMoments, ClassStatistics, Device, Engine, Error, Layout, Logits, LogitsShape,
    MissingStatistics, Params, Provenance, Score, Size, Stage, StatisticsAccumulator, Warning, reference,
};

use super::{assert_mean, assert_variance, message, moments, statistics, two_pass};

const NONE: ClassMoments = ClassMoments { count: Some(0), mean: None, variance: None };

fn params(missing: MissingStatistics) -> Params {
    Params { missing, ..Params::default() }.through(Stage::Standardize)
}

/// An engine for a row of one pixel a class.
fn engine(missing: MissingStatistics, statistics: &ClassStatistics) -> sml::Result<Engine> {
    let classes = statistics.classes().len();
    let size = Size::new(1, classes);
    let capacity = Capacity { batch: 1, classes, logits: size, output: size };
    Engine::new(Device::Cpu, params(missing), Some(statistics), capacity)
}

/// Anomaly scores of a row of pixels, each predicted as the class of its place, with the max logit `value`.
fn scores(engine: &mut Engine, value: f32) -> Vec<f32> {
    let Capacity { classes, logits, .. } = engine.capacity();
    let elements: Vec<f32> =
        (0..classes * classes).map(|i| if i / classes == i % classes { value } else { -100.0 }).collect();
    let shape = LogitsShape::new(1, classes, 1, classes).unwrap();
    let map = engine.submit(&Logits::packed(&elements[..], shape, Layout::Nchw).unwrap(), logits).unwrap();
    assert!(map.prediction.iter().enumerate().all(|(place, &class)| usize::from(class) == place));
    map.score.iter().copied().collect()
}

/// Mean and variance that the reference standardizes `class` with, found from what it makes of two max logits.
fn used_moments(statistics: &ClassStatistics, class: usize) -> (f64, f64) {
    let score = |value: f64| {
        let classes = statistics.classes().len();
        let logits =
            Array4::from_shape_fn((1, classes, 1, 1), |(_, c, ..)| if c == class { value } else { -1e9 });
        let params = params(MissingStatistics::Pooled);
        let stages = reference::stages(logits.view(), &params, Some(statistics), Size::new(1, 1)).unwrap();
        stages.standardized[(0, 0, 0)]
    };
    let (at_zero, at_one) = (score(0.0), score(1.0));
    let deviation = 1.0 / (at_one - at_zero);
    (-at_zero * deviation, deviation * deviation)
}

#[test]
fn complete_statistics_warn_of_nothing() {
    let complete = statistics(&[moments(5, 1.0, 4.0), moments(7, 3.0, 0.25)]);
    for missing in [MissingStatistics::Pooled, MissingStatistics::Error, MissingStatistics::Propagate] {
        let mut engine = engine(missing, &complete).unwrap();
        assert_eq!(engine.warnings(), []);
        assert_eq!(scores(&mut engine, 5.0), [-2.0, -4.0]);
    }
}

#[test]
fn pooled_statistics_stand_in_and_the_engine_says_so() {
    // Pixels 1, 3 of one class, 5, 7 of another: mean 4, variance 20 / 3.
    let measured = statistics(&[moments(2, 2.0, 2.0), NONE, moments(2, 6.0, 2.0)]);
    let mut engine = engine(MissingStatistics::Pooled, &measured).unwrap();
    let want = Warning::ClassesWithoutStatistics { classes: vec![1], pooled: true };
    assert_eq!(engine.warnings(), std::slice::from_ref(&want));
    assert_eq!(want.to_string(), "classes [1] have no usable statistics: standardized with the pooled ones");
    let got = scores(&mut engine, 5.0);
    let deviations = [2.0_f64, 20.0 / 3.0, 2.0].map(f64::sqrt);
    let want = [-3.0 / deviations[0], -1.0 / deviations[1], 1.0 / deviations[2]];
    for (got, want) in got.into_iter().zip(want) {
        assert!((f64::from(got) - want).abs() < 1e-6, "{got} instead of {want}");
    }
}

#[test]
fn without_counts_every_usable_class_weighs_the_same() {
    // Mixture of two: mean 4, variance 2 within and 4 between.
    let imported = ClassStatistics::from_vectors(
        &[2.0, f64::NAN, 6.0, 9.0],
        &[2.0, f64::NAN, 2.0, 0.0],
        Provenance::default(),
    )
    .unwrap();
    for class in [1, 3] {
        let (mean, variance) = used_moments(&imported, class);
        assert_mean(mean, 4.0);
        assert_variance(variance, 6.0, 4.0);
    }
}

#[test]
fn an_error_names_the_classes() {
    let measured = statistics(&[NONE, moments(5, 1.0, 1.0), moments(1, 1.0, 1.0), moments(9, 1.0, 0.0)]);
    let error = engine(MissingStatistics::Error, &measured).err();
    assert!(matches!(&error, Some(Error::ClassesWithoutStatistics { classes }) if classes == &[0, 2, 3]));
    let text = error.unwrap().to_string();
    assert!(text.starts_with("classes [0, 2, 3] have no statistics") && text.lines().count() == 1, "{text}");
}

#[test]
fn propagated_scores_are_those_of_the_official_arithmetic() {
    let measured = statistics(&[NONE, moments(5, 1.0, 4.0), moments(9, 3.0, 0.0)]);
    let mut engine = engine(MissingStatistics::Propagate, &measured).unwrap();
    let want = Warning::ClassesWithoutStatistics { classes: vec![0, 2], pooled: false };
    assert_eq!(engine.warnings(), std::slice::from_ref(&want));
    assert_eq!(want.to_string(), "classes [0, 2] have no usable statistics: their scores are not finite");
    let got = scores(&mut engine, 5.0);
    assert!(got[0].is_nan());
    assert_eq!(got[1..], [-2.0, f32::NEG_INFINITY]);
    let below = scores(&mut engine, 2.0);
    assert_eq!(below[2], f32::INFINITY);
    assert!(scores(&mut engine, 3.0)[2].is_nan());
}

#[test]
fn nothing_to_pool_is_an_error() {
    let parts = ["no class has statistics to pool", "a mean and a variance above 0"];
    for classes in [vec![NONE; 3], vec![moments(1, 4.0, 1.0), NONE], vec![moments(5, 4.0, 0.0), NONE]] {
        message(engine(MissingStatistics::Pooled, &statistics(&classes)).map(drop), &parts);
    }
    let imported = ClassStatistics::from_vectors(&[f64::NAN], &[f64::NAN], Provenance::default()).unwrap();
    message(engine(MissingStatistics::Pooled, &imported).map(drop), &parts);
}

#[test]
fn statistics_must_be_there_and_fit() {
    let size = Size::new(1, 1);
    let capacity = Capacity { batch: 1, classes: 2, logits: size, output: size };
    let new = |score, statistics: Option<&ClassStatistics>| {
        let params = Params { score, missing: MissingStatistics::Error, ..Params::default() };
        Engine::new(Device::Cpu, params, statistics, capacity).map(|engine| engine.warnings().to_vec())
    };
    message(new(Score::Sml, None), &["score sml needs class statistics and none were given"]);
    let three = statistics(&[NONE; 3]);
    message(new(Score::Sml, Some(&three)), &["class statistics: 3 classes: expected 2, as the logits have"]);
    // The other scores do not look at them.
    for score in [Score::Msp, Score::MaxLogit, Score::Entropy, Score::Energy(Default::default())] {
        assert_eq!(new(score, None).unwrap(), []);
        assert_eq!(new(score, Some(&three)).unwrap(), []);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pooled_moments_are_those_of_all_pixels(
        offset in prop_oneof![Just(0.0_f32), Just(1000.0)],
        pixels in prop::collection::vec((-20.0_f32..20.0, 0_u8..3), 3..200),
    ) {
        // Class 3 has one pixel, class 4 has none, and the one pixel takes part in the pool.
        let (mut values, mut classes): (Vec<f32>, Vec<u8>) =
            pixels.into_iter().map(|(value, class)| (value + offset, class)).unzip();
        values.push(offset + 7.0);
        classes.push(3);
        let mut accumulator = StatisticsAccumulator::new(5);
        accumulator.add(&values, &classes).unwrap();
        let measured = accumulator.finish(Provenance::default());
        let all: Vec<f64> = values.iter().map(|&value| f64::from(value)).collect();
        let want = two_pass(&all);
        for class in [3, 4] {
            let (mean, variance) = used_moments(&measured, class);
            // Solving for the moments costs a few digits.
            prop_assert!((mean - want.0).abs() <= 1e-10 * want.0.abs().max(1.0), "{} {}", mean, want.0);
            prop_assert!((variance - want.1).abs() <= 1e-9 * want.1 * (1.0 + want.0.abs()), "{} {}", variance, want.1);
        }
    }
}
