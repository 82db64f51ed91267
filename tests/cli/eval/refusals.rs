//! What cannot be evaluated is told in one line, and one bad image does not spoil the others.

use sml::Size;
use sml::files::write_grey_png;

use super::set::{Image, LOGITS, images, with, write_labels, write_logits, write_scores};
use crate::arrays::npy;
use crate::program::Folder;

const SCORES: [&str; 5] = ["eval", "--scores", "mine", "--labels", "labels"];

#[test]
fn a_bad_image_is_left_out_and_listed_or_fatal() {
    let folder = Folder::new();
    let set = images(4);
    write_scores(&folder, "mine", &set);
    let good = folder.sml(&with(&SCORES, &["--json"])).succeeded().json();
    // Damaged, of another size, and not there at all.
    let damaged = Image {
        name: "x-damaged".to_owned(),
        size: Size::new(3, 3),
        labels: vec![0; 9],
        scores: vec![0.0; 9],
    };
    write_scores(&folder, "mine", &[damaged]);
    folder.write("mine/x-damaged.npy", "nothing");
    let other = Image {
        name: "x-other".to_owned(),
        size: Size::new(4, 5),
        labels: vec![1; 20],
        scores: vec![0.0; 20],
    };
    write_scores(&folder, "mine", &[other]);
    folder.write("mine/x-other.npy", npy("<f4", &[5, 4], &[0; 80]));
    let missing =
        Image { name: "x-missing".to_owned(), size: Size::new(2, 2), labels: vec![1; 4], scores: Vec::new() };
    write_labels(&folder, &missing);
    let nan = Image {
        name: "x-nan".to_owned(),
        size: Size::new(1, 3),
        labels: vec![1, 0, 9],
        scores: vec![f32::NAN, 0.0, 0.0],
    };
    write_scores(&folder, "mine", &[nan]);

    let run = folder.sml(&with(&SCORES, &["--json"])).succeeded();
    run.assert_told(&["x-damaged: ", "x-missing: ", "x-other: ", "5x4", "4x5", "x-nan: ", "NaN"]);
    let json = run.json();
    let names: Vec<&str> = json["failures"]
        .as_array()
        .unwrap()
        .iter()
        .map(|failure| failure["image"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["x-damaged", "x-missing", "x-nan", "x-other"]);
    assert_eq!(json["scores"][0]["auroc"], good["scores"][0]["auroc"]);
    assert_eq!(json["dataset"], good["dataset"]);
    folder.sml(&with(&SCORES, &["--strict", "-o", "out"])).failed(&["x-damaged"]);
    let only_nan = ["eval", "--scores", "mine", "--labels", "nan", "--strict"];
    std::fs::create_dir_all(folder.path("nan")).unwrap();
    std::fs::copy(folder.path("labels/x-nan.png"), folder.path("nan/x-nan.png")).unwrap();
    folder.sml(&only_nan).failed(&["x-nan: ", "NaN at 1 labelled"]);
    assert!(!folder.path("out/results.json").exists());
    // What was damaged is tried again when the run goes on.
    folder.write("mine/x-damaged.npy", npy("<f4", &[3, 3], &[0; 36]));
    let again = folder.sml(&with(&SCORES, &["--json", "-o", "out"])).succeeded();
    again.assert_told(&["going on: 4 of 8 images are done"]);
    assert_eq!(again.json()["failures"].as_array().unwrap().len(), 3);
}

#[test]
fn a_set_on_which_the_metrics_are_not_defined_is_refused() {
    for (labels, parts) in [
        (vec![0, 0, 255], ["no pixel is labelled 1", "unexpected"]),
        (vec![1, 1, 255], ["no pixel is labelled 0", "normal"]),
        (vec![9, 255, 3], ["no pixel is labelled 1", "or 0"]),
    ] {
        let folder = Folder::new();
        write_scores(
            &folder,
            "mine",
            &[Image { name: "one".to_owned(), size: Size::new(1, 3), labels, scores: vec![0.0; 3] }],
        );
        for mode in ["exact", "histogram"] {
            folder.sml(&with(&SCORES, &["--mode", mode, "-o", "out"])).failed(&parts);
            assert!(!folder.path("out/results.json").exists());
            folder.sml(&with(&SCORES, &["--mode", mode, "-o", "out", "--fresh"])).failed(&parts);
            std::fs::remove_dir_all(folder.path("out")).unwrap();
        }
    }
}

#[test]
fn folders_that_do_not_fit_are_refused() {
    let folder = Folder::new();
    write_scores(&folder, "mine", &images(2));
    std::fs::create_dir_all(folder.path("empty")).unwrap();
    folder.sml(&["eval", "--scores", "empty", "--labels", "labels"]).failed(&[
        "empty",
        "holds no such files",
        ".npy",
    ]);
    folder.sml(&["eval", "--scores", "mine", "--labels", "empty"]).failed(&[
        "empty",
        "holds no such files",
        ".png",
    ]);
    folder.sml(&["eval", "--scores", "nowhere", "--labels", "labels"]).failed(&["nowhere", "cannot read"]);
    folder.write("strangers/someone.npy", "x");
    folder
        .sml(&["eval", "--scores", "strangers", "--labels", "labels"])
        .failed(&["strangers", "no file here has the name of one in labels"]);
    folder.write("mine/frame0.png", "x");
    folder.sml(&SCORES).failed(&["frame0", "second file named frame0"]);
    std::fs::remove_file(folder.path("mine/frame0.png")).unwrap();
    // All images bad: the first is told.
    for name in ["frame0", "frame1"] {
        folder.write(&format!("mine/{name}.npy"), "nothing");
    }
    folder.sml(&SCORES).failed(&["none of 2 images could be measured", "frame0"]);
    folder.write("taken", "a file");
    folder.sml(&with(&SCORES, &["-o", "taken"])).failed(&["taken"]);
}

#[test]
fn options_that_do_not_go_together_are_wrong_usage() {
    let folder = Folder::new();
    write_logits(&folder, 1, Size::new(8, 8));
    write_scores(&folder, "mine", &images(1));
    folder.sml(&["eval", "--scores", "mine"]).refused(&["--labels is missing"]);
    folder.sml(&["eval", "--labels", "labels"]).refused(&["--logits or --scores is missing"]);
    folder.sml(&with(&SCORES, &["--stats", "statistics.json"])).refused(&["--stats", "--scores"]);
    folder.sml(&with(&SCORES, &["--logits", "logits"])).misused(&["--logits", "--scores"]);
    folder.sml(&with(&SCORES, &["--json", "--csv"])).misused(&["--json", "--csv"]);
    folder.sml(&with(&SCORES, &["--shard", "3/2", "-o", "out"])).misused(&["3/2"]);
    folder.sml(&with(&SCORES, &["--shard", "1/2"])).misused(&["--output"]);
    folder.sml(&with(&SCORES, &["--components=huge"])).misused(&["huge", "anomaly"]);
    folder.sml(&with(&SCORES, &["--layout", "nchw"])).refused(&["--layout", "without --logits"]);
    folder.sml(&with(&LOGITS, &["--sweep", "depth=3"])).misused(&["depth=3", "dilation"]);
    folder
        .sml(&with(&LOGITS, &["--sweep", "width=3", "iterations=2"]))
        .refused(&["--sweep", "valid combination"]);
    folder.sml(&["eval", "merge"]).misused(&["<DIR>"]);
}

#[test]
fn logits_need_statistics_of_their_classes() {
    let folder = Folder::new();
    write_logits(&folder, 2, Size::new(8, 8));
    let without = ["eval", "--logits", "logits", "--labels", "labels"];
    folder.sml(&without).failed(&["score sml needs class statistics"]);
    folder.sml(&with(&without, &["--score", "max_logit"])).succeeded();
    folder.write("other.json", r#"{"mean": [1, 2], "variance": [1, 1]}"#);
    folder.sml(&with(&without, &["--stats", "other.json"])).failed(&[
        "other.json",
        "2 classes",
        "expected 5, as the logits have",
    ]);
    // Labels of another size than the logits are what the logits are upsampled to.
    write_grey_png(&folder.path("labels/frame00.png"), Size::new(5, 13), &[0, 1, 1, 0, 7].repeat(13))
        .unwrap();
    folder.sml(&LOGITS).succeeded();
}
