//! Statistics as JSON: what is accepted, what is refused and with which words.

use proptest::prelude::*;
use sml::{ClassMoments, ClassStatistics, OperatingPoints, Params, Provenance, ScoreHistogram};

use super::{message, moments, statistics};

fn class() -> impl Strategy<Value = ClassMoments> {
    let number = || prop::num::f64::NORMAL | prop::num::f64::ZERO | prop::num::f64::SUBNORMAL;
    let count = proptest::option::of(any::<u64>());
    let (mean, variance) = (proptest::option::of(number()), proptest::option::of(number()));
    (count, mean, variance).prop_map(|(count, mean, variance)| ClassMoments {
        count,
        mean,
        variance: variance.map(f64::abs),
    })
}

fn provenance() -> impl Strategy<Value = Provenance> {
    let text = || proptest::option::of("\\PC{0,12}");
    let texts = || prop::collection::vec("\\PC{0,12}", 0..3);
    let number = || proptest::option::of(any::<u64>());
    let measured = (number(), text(), text(), text(), text(), texts(), texts());
    let set = (text(), text(), texts(), number(), text(), number());
    (measured, set).prop_map(
        |(
            (images, model, model_sha256, conditioned_on, date, sources, class_names),
            (dataset, split, shards, files, content_sha256, left_out),
        )| Provenance {
            images,
            model,
            model_sha256,
            dataset,
            split,
            shards,
            files,
            content_sha256,
            left_out,
            conditioned_on,
            date,
            sources,
            class_names,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_on_the_way_through_json(
        classes in prop::collection::vec(class(), 1..30),
        provenance in provenance(),
        scores in proptest::option::of(prop::collection::vec(any::<f32>(), 1..50)),
    ) {
        let mut statistics = ClassStatistics::new(classes, provenance).unwrap();
        if let Some(scores) = scores {
            let mut histogram = ScoreHistogram::default();
            scores.into_iter().for_each(|score| histogram.add(score));
            statistics = statistics.with_operating_points(
                OperatingPoints::new(Params::default(), &histogram, &ScoreHistogram::default()),
            );
        }
        let json = statistics.to_json();
        prop_assert_eq!(ClassStatistics::from_json(&json).unwrap(), statistics, "{}", json);
    }

    #[test]
    fn any_text_is_refused_in_one_line(text in "\\PC{0,40}", bytes in "[\\[\\]{}\":,0-9a-z\n ]{0,60}") {
        for text in [text, bytes] {
            if let Err(error) = ClassStatistics::from_json(&text) {
                prop_assert_eq!(error.to_string().lines().count(), 1, "{}", error);
            }
        }
    }
}

#[test]
fn mean_variance_and_count_are_enough() {
    let got = ClassStatistics::from_json(r#"{"mean": [1.5, 2], "variance": [0.5, 4], "count": [10, 20]}"#);
    assert_eq!(got.unwrap(), statistics(&[moments(10, 1.5, 0.5), moments(20, 2.0, 4.0)]));
}

#[test]
fn counts_may_be_left_out() {
    let got = ClassStatistics::from_json(r#"{"mean": [1.5], "variance": [0.5]}"#).unwrap();
    assert_eq!(got.classes(), [ClassMoments { count: None, mean: Some(1.5), variance: Some(0.5) }]);
    assert!(got.classes_without_statistics().is_empty());
}

#[test]
fn fields_of_others_are_left_alone() {
    let text = r#"{"mean": [1.5], "variance": [0.5], "count": [3], "network": "some net", "provenance": {"gpu": 1}}"#;
    assert_eq!(ClassStatistics::from_json(text).unwrap(), statistics(&[moments(3, 1.5, 0.5)]));
}

#[test]
fn null_marks_a_class_without_data() {
    let text =
        r#"{"mean": [1.0, null, 3.0, null], "variance": [1.0, null, null, 2.0], "count": [9, 0, 1, null]}"#;
    let got = ClassStatistics::from_json(text).unwrap();
    assert_eq!(got.classes()[1], ClassMoments { count: Some(0), mean: None, variance: None });
    assert_eq!(got.classes_without_statistics(), [1, 2, 3]);
    assert_eq!(ClassStatistics::from_json(&got.to_json()).unwrap(), got);
}

#[test]
fn a_class_needs_two_pixels_and_some_variance() {
    let usable = |moments: ClassMoments| moments.is_usable();
    assert!(usable(moments(2, 0.0, 1e-300)));
    assert!(!usable(moments(1, 0.0, 1.0)));
    assert!(!usable(moments(0, 0.0, 1.0)));
    assert!(!usable(moments(100, 0.0, 0.0)));
    assert!(usable(ClassMoments { count: None, ..moments(2, 0.0, 1.0) }));
    assert!(!usable(ClassMoments { mean: None, ..moments(2, 0.0, 1.0) }));
    assert!(!usable(ClassMoments { variance: None, ..moments(2, 0.0, 1.0) }));
}

#[test]
fn vectors_of_an_import() {
    let from =
        |mean: &[f64], variance: &[f64]| ClassStatistics::from_vectors(mean, variance, Provenance::default());
    let got = from(&[1.0, f64::NAN, -2.0], &[0.5, f64::NAN, 0.0]).unwrap();
    let class = |mean, variance| ClassMoments { count: None, mean, variance };
    let want = [class(Some(1.0), Some(0.5)), class(None, None), class(Some(-2.0), Some(0.0))];
    assert_eq!(got.classes(), want);
    assert_eq!(got.classes_without_statistics(), [1, 2]);
    message(from(&[1.0, 2.0], &[1.0]), &["variance holds 1 numbers and mean holds 2"]);
    message(from(&[], &[]), &["0 classes", "1 to 255"]);
    message(from(&[0.0; 256], &[1.0; 256]), &["256 classes", "1 to 255"]);
    message(from(&[0.0, f64::NEG_INFINITY], &[1.0; 2]), &["mean of class 1 is -inf", "a finite number"]);
    message(from(&[0.0; 2], &[1.0, -0.5]), &["variance of class 1 is -0.5", "0 or more"]);
    message(from(&[0.0; 2], &[f64::INFINITY, 1.0]), &["variance of class 0 is inf", "0 or more"]);
}

#[test]
fn broken_json_is_refused_with_what_is_wrong() {
    let refused = |text: &str, parts: &[&str]| message(ClassStatistics::from_json(text), parts);
    let expected = r#"expected JSON with "mean", "variance" and "count", one number a class"#;
    refused("", &["class statistics: EOF", expected]);
    refused(r#"{"mean": [1.0"#, &["EOF", "line 1", expected]);
    refused("[]", &["invalid length 0", expected]);
    refused("3", &["invalid type", expected]);
    refused("{}", &["missing field `mean`"]);
    refused(r#"{"mean": [1.0]}"#, &["missing field `variance`"]);
    refused(r#"{"mean": [1.0], "variance": ["a"]}"#, &["invalid type: string \"a\""]);
    refused(r#"{"mean": [NaN], "variance": [1.0]}"#, &["line 1 column"]);
    refused(r#"{"mean": [1e999], "variance": [1.0]}"#, &["number out of range"]);
    refused(r#"{"mean": [1.0], "variance": [1.0], "count": [-1]}"#, &["invalid value: integer `-1`"]);
    refused(r#"{"mean": [1.0], "variance": [1.0], "count": [2.5]}"#, &["2.5", "u64"]);
    refused(r#"{"mean": [1.0], "variance": [1.0]} {}"#, &["trailing characters"]);
    refused(r#"{"mean": [1, 2], "variance": [1]}"#, &["variance holds 1 numbers and mean holds 2"]);
    refused(
        r#"{"mean": [1], "variance": [1], "count": [1, 2, 3]}"#,
        &["count holds 3 numbers and mean holds 1"],
    );
    refused(r#"{"mean": [], "variance": []}"#, &["0 classes"]);
    refused(r#"{"mean": [1, 2], "variance": [1, -4]}"#, &["variance of class 1 is -4"]);
}

#[test]
fn a_broken_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("statistics.json");
    message(ClassStatistics::read(&file), &["statistics.json: cannot read"]);
    std::fs::write(&file, r#"{"mean": [1, 2], "variance": [1]}"#).unwrap();
    message(ClassStatistics::read(&file), &["statistics.json: ", "variance holds 1 numbers"]);
    std::fs::write(&file, [0xff, 0xfe]).unwrap();
    message(ClassStatistics::read(&file), &["statistics.json: cannot read", "UTF-8"]);
    let whole = statistics(&[moments(3, 1.5, 0.5)]);
    std::fs::write(&file, whole.to_json()).unwrap();
    assert_eq!(ClassStatistics::read(&file).unwrap(), whole);
}
