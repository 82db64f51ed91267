//! `sml post`: saved logits to anomaly maps, bit for bit as the library makes them.

use half::{bf16, f16};
use ndarray::Array4;
use sml::{
    BorderLabels, ClassStatistics, MissingStatistics, NonFinite, Params, Replacement, Score, Size, Smoothing,
    Stage, Suppression, Temperature,
};
use zip::CompressionMethod::{Deflated, Stored};

use crate::arrays::*;
use crate::data::golden;
use crate::program::Folder;

const SHAPE: [usize; 4] = [2, 5, 23, 31];
const SIZE: Size = Size::new(23, 31);

/// A folder with `stats.json` for the 5 classes of the logits.
fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("stats.json", statistics(5).to_json());
    folder
}

/// `out/` holds exactly the two results, and they are the engine's.
#[track_caller]
fn assert_results(folder: &Folder, want: &(ndarray::Array3<f32>, ndarray::Array3<u8>), what: &str) {
    assert_eq!(folder.names("out"), ["prediction.npy", "score.npy"].map(String::from).into(), "{what}");
    assert_same_bits(&read_scores(&folder.read("out/score.npy")), &want.0, what);
    assert_eq!(read_prediction(&folder.read("out/prediction.npy")), want.1, "{what}");
}

#[test]
fn every_format_and_element_type_gives_the_engines_map() {
    let folder = folder();
    let check = |name: &str, bytes: Vec<u8>, want: &_| {
        folder.write(name, bytes);
        folder.sml(&["post", name, "--stats", "stats.json", "-o", "out"]).succeeded();
        assert_results(&folder, want, name);
    };
    let single = random_logits::<f32>(1, SHAPE);
    let half = random_logits::<f16>(2, SHAPE);
    let brain = random_logits::<bf16>(3, SHAPE);
    let statistics = statistics(5);
    let want = engine_map(&single, Some(&statistics), Params::default(), SIZE);
    check("single.npy", to_npy(&single), &want);
    check("stored.npz", npz(&[("anything", to_npy(&single))], Stored), &want);
    check("deflated.npz", npz(&[("anything", to_npy(&single))], Deflated), &want);
    check("single.safetensors", to_safetensors("out", &single), &want);
    let want = engine_map(&half, Some(&statistics), Params::default(), SIZE);
    check("half.npy", to_npy(&half), &want);
    check("half.npz", npz(&[("arr_0", to_npy(&half))], Deflated), &want);
    check("half.safetensors", to_safetensors("out", &half), &want);
    let want = engine_map(&brain, Some(&statistics), Params::default(), SIZE);
    check("brain.safetensors", to_safetensors("out", &brain), &want);
}

#[test]
fn channels_last_and_a_single_image_are_read_as_they_lie() {
    let folder = folder();
    let logits = random_logits::<f32>(4, SHAPE);
    let last = logits.view().permuted_axes([0, 2, 3, 1]).as_standard_layout().into_owned();
    let want = engine_map(&logits, Some(&statistics(5)), Params::default(), SIZE);
    folder.write("last.npy", to_npy(&last));
    folder.sml(&["post", "last.npy", "--layout", "nhwc", "--stats", "stats.json", "-o", "out"]).succeeded();
    assert_results(&folder, &want, "nhwc");

    let one = logits.slice(ndarray::s![1..2, .., .., ..]).to_owned();
    let want = engine_map(&one, Some(&statistics(5)), Params::default(), SIZE);
    folder.write("one.npy", npy("<f4", &SHAPE[1..], &bytes(&one)));
    folder.sml(&["post", "one.npy", "--layout", "nchw", "--stats", "stats.json", "-o", "out"]).succeeded();
    assert_results(&folder, &want, "C x H x W");
}

#[test]
fn each_option_reaches_the_engine() {
    let folder = folder();
    let logits = random_logits::<f32>(5, SHAPE);
    folder.write("logits.npy", to_npy(&logits));
    let paper = Params::default();
    let score = |score| Params { score, ..paper };
    let cases: Vec<(&[&str], Params, Size)> = vec![
        (&["--score", "msp"], score(Score::Msp), SIZE),
        (&["--score", "max_logit"], score(Score::MaxLogit), SIZE),
        (&["--score", "sml"], score(Score::Sml), SIZE),
        (&["--score", "entropy"], score(Score::Entropy), SIZE),
        (&["--score", "energy"], score(Score::Energy(Temperature::default())), SIZE),
        (&["--score", "energy:2.5"], score(Score::Energy(Temperature::new(2.5).unwrap())), SIZE),
        (&["--suppression", "none"], Params { suppression: None, ..paper }, SIZE),
        (
            &["--suppression", "8,2"],
            Params { suppression: Some(Suppression::new(8, 2).unwrap()), ..paper },
            SIZE,
        ),
        (&["--smoothing", "none"], Params { smoothing: None, ..paper }, SIZE),
        (
            &["--smoothing", "5,1.5,2"],
            Params { smoothing: Some(Smoothing::new(5, 1.5, 2).unwrap()), ..paper },
            SIZE,
        ),
        (&["--border-labels", "one"], Params { border_labels: BorderLabels::One, ..paper }, SIZE),
        (&["--size", "61x90"], paper, Size::new(61, 90)),
        (&["--size", "61x90", "--align-corners", "false"], paper, Size::new(61, 90)),
        (
            &["--size", "61x90", "--align-corners", "true"],
            Params { align_corners: true, ..paper },
            Size::new(61, 90),
        ),
        (&["--size", "9x1"], paper, Size::new(9, 1)),
    ];
    let mut maps = Vec::new();
    for (options, params, size) in cases {
        let mut arguments = vec!["post", "logits.npy", "--stats", "stats.json", "-o", "out"];
        arguments.extend(options);
        folder.sml(&arguments).succeeded();
        let want = engine_map(&logits, Some(&statistics(5)), params, size);
        assert_eq!(want.0.dim(), (2, size.height, size.width));
        assert_results(&folder, &want, &options.join(" "));
        maps.push(want.0);
    }
    let same: Vec<_> = (0..maps.len())
        .flat_map(|b| (0..b).map(move |a| (a, b)))
        .filter(|&(a, b)| maps[a] == maps[b])
        .collect();
    // The default said aloud: `--align-corners false` is the only option here that changes nothing.
    assert_eq!(same, [(11, 12)], "cases that this test cannot tell apart");
}

#[test]
fn only_sml_needs_statistics() {
    let folder = Folder::new();
    let logits = random_logits::<f32>(6, SHAPE);
    folder.write("logits.npy", to_npy(&logits));
    for score in ["msp", "max_logit", "entropy", "energy"] {
        folder.sml(&["post", "logits.npy", "--score", score, "-o", "out"]).succeeded();
        let params = Params { score: score.parse().unwrap(), ..Params::default() };
        assert_results(&folder, &engine_map(&logits, None, params, SIZE), score);
    }
}

#[test]
fn logits_are_converted_to_the_type_that_is_asked_for() {
    let folder = folder();
    let logits = random_logits::<f32>(7, SHAPE);
    folder.write("logits.npy", to_npy(&logits));
    let run = |dtype: &str| {
        folder
            .sml(&["post", "logits.npy", "--dtype", dtype, "--stats", "stats.json", "-o", "out"])
            .succeeded();
    };
    let statistics = statistics(5);
    let params = Params::default();
    run("float32");
    assert_results(&folder, &engine_map(&logits, Some(&statistics), params, SIZE), "float32");
    run("float16");
    let half: Array4<f16> = logits.mapv(f16::from_f32);
    assert_results(&folder, &engine_map(&half, Some(&statistics), params, SIZE), "float16");
    run("bfloat16");
    let brain: Array4<bf16> = logits.mapv(bf16::from_f32);
    assert_results(&folder, &engine_map(&brain, Some(&statistics), params, SIZE), "bfloat16");
    assert_ne!(half.mapv(|v| v.to_f32()), brain.mapv(|v| v.to_f32()));
}

#[test]
fn raw_values_have_the_official_sign() {
    let folder = folder();
    let logits = random_logits::<f32>(8, SHAPE);
    folder.write("logits.npy", to_npy(&logits));
    folder.sml(&["post", "logits.npy", "--raw", "--stats", "stats.json", "-o", "out"]).succeeded();
    let names = ["prediction.npy", "score.npy", "smoothed.npy", "standardized.npy", "suppressed.npy"];
    assert_eq!(folder.names("out"), names.map(String::from).into());
    let stage = |name: &str| read_scores(&folder.read(&format!("out/{name}.npy")));

    assert_same_bits(&stage("score"), &stage("smoothed").mapv(|v| -v), "score = -smoothed");
    for (name, through) in [("standardized", Stage::Standardize), ("suppressed", Stage::Suppress)] {
        let want = engine_map(&logits, Some(&statistics(5)), Params::default().through(through), SIZE).0;
        assert_same_bits(&stage(name), &want.mapv(|v| -v), name);
    }
    // By hand, at one pixel: (max logit - mean) / deviation.
    let class = usize::from(read_prediction(&folder.read("out/prediction.npy"))[(1, 4, 3)]);
    let max = logits.slice(ndarray::s![1, .., 4, 3]).iter().copied().fold(f32::MIN, f32::max);
    assert_eq!(logits[(1, class, 4, 3)], max);
    let moments = statistics(5).classes()[class];
    let want = (f64::from(max) - moments.mean.unwrap()) / moments.variance.unwrap().sqrt();
    let got = f64::from(stage("standardized")[(1, 4, 3)]);
    assert!((got - want).abs() < 1e-5, "{got} is not {want}");
}

#[test]
fn the_summary_tells_what_the_files_hold() {
    let folder = folder();
    let mut logits = random_logits::<f32>(9, SHAPE);
    logits[(0, 2, 7, 7)] = f32::NAN;
    logits[(1, 0, 0, 0)] = f32::INFINITY;
    folder.write("logits.npy", to_npy(&logits));
    let run = folder.sml(&["post", "logits.npy", "--json", "--stats", "stats.json", "-o", "out"]).succeeded();
    let summary = run.json();
    assert_eq!(run.stderr(), "");
    let score = read_scores(&folder.read("out/score.npy"));
    let finite: Vec<f64> = score.iter().filter(|v| v.is_finite()).map(|&v| f64::from(v)).collect();
    let number = |field: &str| summary[field].as_f64().unwrap_or_else(|| panic!("{field}: {summary}"));
    assert_eq!(summary["shape"], serde_json::json!([2, 23, 31]));
    assert_eq!(summary["classes"], 5);
    // A float32 in JSON has the fewest digits that tell it apart from its neighbours.
    assert_eq!(number("min") as f32, finite.iter().copied().fold(f64::MAX, f64::min) as f32);
    assert_eq!(number("max") as f32, finite.iter().copied().fold(f64::MIN, f64::max) as f32);
    assert!((number("mean") - finite.iter().sum::<f64>() / finite.len() as f64).abs() < 1e-9);
    assert_eq!(summary["non_finite_logits"], 2);
    assert_eq!(summary["non_finite_scores"], score.len() - finite.len());
    assert!(score.len() > finite.len());
    let prediction = read_prediction(&folder.read("out/prediction.npy"));
    let counts: Vec<usize> = (0..5).map(|class| prediction.iter().filter(|&&p| p == class).count()).collect();
    assert_eq!(summary["pixels_per_class"], serde_json::json!(counts));
}

#[test]
fn the_summary_for_a_person_goes_to_stderr() {
    let folder = folder();
    folder.write("logits.npy", to_npy(&random_logits::<f32>(10, SHAPE)));
    let run = folder.sml(&["post", "logits.npy", "--stats", "stats.json", "-o", "out"]).succeeded();
    assert_eq!(run.stdout(), "");
    run.assert_told(&["2 x 23 x 31 pixels, 5 classes -> out", "anomaly score: min "]);
}

#[test]
fn broken_pixels_are_counted_and_replaced_by_the_policy() {
    let folder = folder();
    let mut logits = random_logits::<f32>(11, [1, 5, 40, 40]);
    logits[(0, 3, 20, 20)] = f32::NAN;
    logits[(0, 1, 2, 30)] = f32::NEG_INFINITY;
    folder.write("logits.npy", to_npy(&logits));
    let size = Size::new(40, 40);
    let replaced = |value| NonFinite::Replace(Replacement::new(value).unwrap());
    for (policy, non_finite) in [
        ("propagate", NonFinite::Propagate),
        ("replace", NonFinite::Replace(Replacement::default())),
        ("replace:3.5", replaced(3.5)),
        ("replace:-2", replaced(-2.0)),
    ] {
        let arguments =
            ["post", "logits.npy", "--stats", "stats.json", "--json", "--non-finite", policy, "-o", "out"];
        let summary = folder.sml(&arguments).succeeded().json();
        assert_eq!(summary["non_finite_logits"], 2, "{policy}");
        assert_eq!(summary["non_finite_scores"] == 0, policy != "propagate", "{policy}: {summary}");
        let params = Params { non_finite, ..Params::default() };
        assert_results(&folder, &engine_map(&logits, Some(&statistics(5)), params, size), policy);
    }
}

#[test]
fn classes_without_statistics_follow_the_policy() {
    let folder = Folder::new();
    let text = r#"{"mean": [6, null, 7, 8, 9], "variance": [1, null, 1, 0, 2], "count": [10, 0, 20, 1, 30]}"#;
    folder.write("stats.json", text);
    let logits = random_logits::<f32>(12, SHAPE);
    folder.write("logits.npy", to_npy(&logits));
    let statistics = ClassStatistics::from_json(text).unwrap();
    let arguments = ["post", "logits.npy", "--stats", "stats.json", "-o", "out", "--missing"];
    for (policy, missing) in
        [("pooled", MissingStatistics::Pooled), ("propagate", MissingStatistics::Propagate)]
    {
        let run = folder.sml(&[&arguments[..], &[policy]].concat()).succeeded();
        run.assert_told(&["sml: warning: classes [1, 3] have no usable statistics"]);
        let params = Params { missing, ..Params::default() };
        assert_results(&folder, &engine_map(&logits, Some(&statistics), params, SIZE), policy);
    }
    std::fs::remove_dir_all(folder.path("out")).unwrap();
    folder.sml(&[&arguments[..], &["error"]].concat()).failed(&["stats.json", "classes [1, 3]"]);
    folder.assert_nothing_in("out");
}

#[test]
fn an_array_is_found_by_name() {
    let folder = folder();
    let (first, second) = (random_logits::<f32>(13, SHAPE), random_logits::<f32>(14, SHAPE));
    folder.write("two.npz", npz(&[("first", to_npy(&first)), ("second", to_npy(&second))], Stored));
    folder.sml(&["post", "two.npz", "--array", "second", "--stats", "stats.json", "-o", "out"]).succeeded();
    let want = engine_map(&second, Some(&statistics(5)), Params::default(), SIZE);
    assert_results(&folder, &want, "second");
}

#[test]
fn a_second_run_replaces_the_results_of_the_first() {
    let folder = folder();
    let (first, second) = (random_logits::<f32>(15, SHAPE), random_logits::<f32>(16, [1, 5, 3, 4]));
    folder.write("first.npy", to_npy(&first));
    folder.write("second.npy", to_npy(&second));
    for name in ["first.npy", "second.npy"] {
        folder.sml(&["post", name, "--stats", "stats.json", "-o", "out"]).succeeded();
    }
    let want = engine_map(&second, Some(&statistics(5)), Params::default(), Size::new(3, 4));
    assert_results(&folder, &want, "second");
}

/// What the official code made of the golden logits, within the tolerance of the specification.
#[test]
fn golden_vectors_come_out_of_the_program() {
    let own = golden::sets().remove(0);
    let mut cases = 0;
    for case in own.cases().filter(|case| ["pipeline", "upsample_pipeline"].contains(&case.kind())) {
        // Other parameters are the engine's business (tests/golden.rs).
        let chosen = ["/w4i4/d6", "/sml/w4i4/d6/pinned", "/ml/off/nosmooth"];
        if !case.is_required() || !chosen.iter().any(|end| case.id().ends_with(end)) {
            continue;
        }
        let (logits, statistics, params) = own.input(case);
        let folder = Folder::new();
        folder.write("logits.npy", to_npy(&logits));
        folder.write("stats.json", statistics.to_json());
        let (score, size) = (params.score.to_string(), case.out_size().to_string());
        let mut arguments = vec!["post", "logits.npy", "--stats", "stats.json", "-o", "out", "--raw"];
        arguments.extend(["--score", &score, "--size", &size, "--align-corners", "true"]);
        arguments.extend(["--missing", "propagate"]);
        if case.id().ends_with("/off/nosmooth") {
            arguments.extend(["--suppression", "none", "--smoothing", "none"]);
        }
        if params.border_labels == BorderLabels::One {
            arguments.extend(["--border-labels", "one"]);
        }
        folder.sml(&arguments).succeeded();

        let prediction = read_prediction(&folder.read("out/prediction.npy"));
        assert_eq!(prediction, own.bytes(case, "pred"), "{}", case.id());
        let suffix = if case.has("final_f64") { "f64" } else { "f32" };
        let tolerance = 3e-6 * case.finite_scale();
        for (file, array) in [("standardized", "raw"), ("suppressed", "suppressed"), ("smoothed", "final")] {
            let got = read_scores(&folder.read(&format!("out/{file}.npy"))).mapv(f64::from);
            let want = own.scores(case, &format!("{array}_{suffix}"));
            assert_eq!(got.dim(), want.dim(), "{}", case.id());
            for (got, want) in got.iter().zip(&want) {
                let close = (got - want).abs() <= tolerance || (got.is_nan() && want.is_nan()) || got == want;
                assert!(close, "{} {file}: got {got}, expected {want}", case.id());
            }
        }
        cases += 1;
    }
    assert!(cases > 20, "only {cases} golden cases");
}
