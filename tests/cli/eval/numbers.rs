//! What is printed and written is what the definitions give.

use serde_json::Value;
use sml::evaluation::Evaluation;
use sml::{Params, Score, Size, reference};

use super::literal::{Literal, metrics};
use super::set::{CLASSES, Image, LOGITS, images, with, write_logits, write_scores};
use crate::arrays::statistics;
use crate::program::Folder;

#[track_caller]
fn assert_close(given: &Value, want: Literal, tolerance: f64) {
    for (key, want) in
        [("auroc", want.auroc), ("ap", want.ap), ("fpr95", want.fpr95), ("fpr95_interp", want.fpr95_interp)]
    {
        let given = given[key].as_f64().unwrap_or_else(|| panic!("{key} is {}", given[key]));
        assert!((given - want).abs() <= tolerance, "{key} is {given} and should be {want}");
    }
}

fn over_all(images: &[Image]) -> Literal {
    let scores: Vec<f64> =
        images.iter().flat_map(|image| &image.scores).map(|score| f64::from(*score)).collect();
    let labels: Vec<u8> = images.iter().flat_map(|image| image.labels.clone()).collect();
    metrics(&scores, &labels)
}

fn count(images: &[Image], label: u8) -> usize {
    images.iter().flat_map(|image| &image.labels).filter(|given| **given == label).count()
}

#[test]
fn saved_scores_give_the_metrics_of_their_definitions() {
    let folder = Folder::new();
    let images = images(4);
    write_scores(&folder, "mine", &images);
    let run =
        folder.sml(&["eval", "--scores", "mine", "--labels", "labels", "--json", "-o", "out"]).succeeded();
    let (json, want) = (run.json(), over_all(&images));
    assert_close(&json, want, 1e-12);
    assert_close(&json["scores"][0], want, 1e-12);
    assert_eq!(json["scores"][0]["name"], "mine");
    assert_eq!(json["positives"], count(&images, 1));
    assert_eq!(json["negatives"], count(&images, 0));
    assert_eq!(json["ignored"], count(&images, 255) + count(&images, 7));
    assert_eq!((&json["dataset"]["images"], &json["dataset"]["files"]), (&4.into(), &8.into()));
    assert_eq!(json["dataset"]["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(json["failures"], serde_json::json!([]));
    // The files hold the same, and nothing of the work is left.
    assert_eq!(folder.read_json("out/results.json"), json);
    assert!(!folder.path("out/state").exists());
    let evaluation: Evaluation = serde_json::from_value(json).unwrap();
    let csv = String::from_utf8(folder.read("out/results.csv")).unwrap();
    let cells: Vec<&str> = csv.lines().nth(1).unwrap().split(',').collect();
    let pixels = evaluation.scores[0].pixels;
    assert_eq!(cells[..3], ["mine", &pixels.auroc.to_string(), &pixels.ap.to_string()]);
    let markdown = String::from_utf8(folder.read("out/results.md")).unwrap();
    let percent = format!("| mine | {:.2} | {:.2} |", want.auroc * 100.0, want.ap * 100.0);
    assert!(markdown.contains(&percent), "{markdown}");
    // Each metric's definition, the sign and the ignore rule stand below the table.
    run.assert_told(&[
        "AUROC: ",
        "AP: ",
        "FPR95: ",
        "FPR95 interp.: ",
        "higher is more anomalous",
        "ignored",
        "sha256",
    ]);
    // The rates at a threshold are those of the scores.
    for row in &evaluation.scores[0].thresholds {
        let of = |label: u8| {
            images.iter().flat_map(move |image| {
                image.scores.iter().zip(&image.labels).filter(move |(_, l)| **l == label).map(|(s, _)| *s)
            })
        };
        let share = |label: u8| {
            of(label).filter(|score| *score >= row.threshold).count() as f64 / of(label).count() as f64
        };
        assert_eq!((row.tpr, row.fpr), (share(1), share(0)), "{row:?}");
    }
}

#[test]
fn several_methods_are_compared_and_each_form_goes_to_stdout() {
    let folder = Folder::new();
    let images = images(3);
    write_scores(&folder, "a/mine", &images);
    let worse: Vec<Image> = images
        .iter()
        .map(|image| Image {
            name: image.name.clone(),
            size: image.size,
            labels: image.labels.clone(),
            scores: image.scores.iter().map(|score| -score).collect(),
        })
        .collect();
    write_scores(&folder, "b/other", &worse);
    let arguments = ["eval", "--scores", "a/mine", "b/other", "--labels", "labels"];
    let json = folder.sml(&with(&arguments, &["--json"])).succeeded().json();
    assert_eq!(json["scores"][0]["name"], "mine");
    assert_eq!(json["scores"][1]["name"], "other");
    assert_close(&json["scores"][0], over_all(&images), 1e-12);
    assert_close(&json["scores"][1], over_all(&worse), 1e-12);
    let csv = folder.sml(&with(&arguments, &["--csv"])).succeeded();
    assert_eq!(csv.stdout().lines().count(), 3);
    let markdown = folder.sml(&with(&arguments, &["--markdown"])).succeeded();
    assert!(markdown.stdout().contains("| mine | ") && markdown.stdout().contains("| other | "));
    // Without a folder for results nothing is left behind.
    assert_eq!(folder.names("."), ["a", "b", "labels"].map(str::to_owned).into());
}

/// What the reference in float64 makes of the set's logits, under parameters.
fn reference_metrics(set: &[(Image, ndarray::Array4<f32>)], params: &Params) -> Literal {
    let (mut scores, mut labels) = (Vec::new(), Vec::new());
    for (image, logits) in set {
        let logits = logits.mapv(f64::from);
        let stages =
            reference::stages(logits.view(), params, Some(&statistics(CLASSES)), image.size).unwrap();
        scores.extend(stages.smoothed.iter().map(|score| -score));
        labels.extend(&image.labels);
    }
    metrics(&scores, &labels)
}

#[test]
fn every_score_and_stage_of_logits_is_that_of_the_reference() {
    let folder = Folder::new();
    let set = write_logits(&folder, 3, Size::new(24, 32));
    let json = folder.sml(&with(&LOGITS, &["--json"])).succeeded().json();
    let paper = Params::default();
    let bare = Params { suppression: None, smoothing: None, ..paper };
    let of = |score: &str| Params { score: score.parse::<Score>().unwrap(), ..bare };
    let want = [
        ("msp", of("msp")),
        ("max_logit", of("max_logit")),
        ("entropy", of("entropy")),
        ("energy", of("energy")),
        ("sml", bare),
        ("sml+suppression", Params { smoothing: None, ..paper }),
        ("sml+suppression+smoothing", paper),
    ];
    let scores = json["scores"].as_array().unwrap();
    assert_eq!(scores.len(), want.len());
    for (given, (name, params)) in scores.iter().zip(&want) {
        assert_eq!(given["name"], *name);
        // Two scores that are equal in float32 may differ in float64: a pair or two of 300,000 may change places.
        assert_close(given, reference_metrics(&set, params), 2e-3);
    }
    assert_close(&json, reference_metrics(&set, &paper), 2e-3);
    // Within a class the standardization changes no order.
    let by_class = |row: usize| scores[row]["auroc_by_class"].as_array().unwrap();
    assert_eq!(by_class(1).len(), CLASSES);
    for (max_logit, sml) in by_class(1).iter().zip(by_class(4)) {
        let (Some(max_logit), Some(sml)) = (max_logit.as_f64(), sml.as_f64()) else { continue };
        assert!((max_logit - sml).abs() < 2e-3, "{max_logit} {sml}");
    }
}

#[test]
fn a_sweep_has_a_row_a_setting_and_tells_what_it_skips() {
    let folder = Folder::new();
    let set = write_logits(&folder, 2, Size::new(24, 32));
    let arguments = with(&LOGITS, &["--json", "--sweep", "width=0,4", "iterations=1,3", "dilation=2..3"]);
    let run = folder.sml(&arguments).succeeded();
    run.assert_told(&["width=4 iterations=3 dilation=2 is left out", "divisor of the width"]);
    let json = run.json();
    let scores = json["scores"].as_array().unwrap();
    assert_eq!(scores.len(), 6);
    let paper = Params::default();
    for row in scores {
        let name = row["name"].as_str().unwrap();
        let number = |key: &str| {
            let value = name.split([' ', '[', ']']).find_map(|part| part.strip_prefix(key));
            value.unwrap().parse::<u8>().unwrap()
        };
        let params = Params {
            suppression: Some(sml::Suppression::new(number("width="), number("iterations=")).unwrap()),
            smoothing: Some(sml::Smoothing::new(7, 1.0, number("dilation=")).unwrap()),
            ..paper
        };
        assert_close(row, reference_metrics(&set, &params), 2e-3);
    }
}

#[test]
fn histograms_are_within_the_bound_that_they_print() {
    let folder = Folder::new();
    write_logits(&folder, 3, Size::new(24, 32));
    let exact = folder.sml(&with(&LOGITS, &["--json"])).succeeded().json();
    let run = folder.sml(&with(&LOGITS, &["--json", "--mode", "histogram"])).succeeded();
    run.assert_told(&["from histograms", "off by at most"]);
    let histogram = run.json();
    assert_eq!(histogram["mode"], "histogram");
    for (row, exact) in
        histogram["scores"].as_array().unwrap().iter().zip(exact["scores"].as_array().unwrap())
    {
        let bound = row["error_bound"].as_f64().unwrap();
        assert!(bound > 0.0 && bound < 0.01, "{bound}");
        for key in ["auroc", "ap", "fpr95", "fpr95_interp"] {
            let off = (row[key].as_f64().unwrap() - exact[key].as_f64().unwrap()).abs();
            assert!(off <= bound, "{key} of {} is off by {off}, the bound is {bound}", row["name"]);
        }
        assert_eq!(row["positives"], exact["positives"]);
    }
    folder
        .sml(&with(&LOGITS, &["--mode", "histogram", "--components=1,1"]))
        .refused(&["--components", "--mode exact"]);
}

#[test]
fn objects_are_found_or_missed() {
    let folder = Folder::new();
    // Two objects of 4x4 pixels: one is found to the pixel, one is missed; nothing else is predicted.
    let size = Size::new(16, 24);
    let inside = |pixel: usize, left: usize| {
        let (y, x) = (pixel / 24, pixel % 24);
        (4..8).contains(&y) && (left..left + 4).contains(&x)
    };
    let labels = (0..size.pixels()).map(|p| u8::from(inside(p, 2) || inside(p, 14))).collect();
    let scores = (0..size.pixels()).map(|p| if inside(p, 2) { 2.0 } else { 0.0 }).collect();
    write_scores(&folder, "mine", &[Image { name: "one".to_owned(), size, labels, scores }]);
    let arguments = ["eval", "--scores", "mine", "--labels", "labels", "--json", "--components=1,1"];
    let run = folder.sml(&arguments).succeeded();
    run.assert_told(&["sIoU", "PPV", "mean F1: "]);
    let components = run.json()["scores"][0]["components"].clone();
    assert_eq!(components["siou"], 0.5);
    assert_eq!(components["ppv"], 1.0);
    // One found, one missed, no false alarm: 2 / (2 + 1) at every limit.
    assert!((components["mean_f1"].as_f64().unwrap() - 2.0 / 3.0).abs() < 1e-12, "{components}");
    assert_eq!((&components["labelled"], &components["predicted"]), (&2.into(), &1.into()));
}
