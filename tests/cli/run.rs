//! `sml run`: pictures through a network to maps and pictures of them. No test depends on what the network has learned.

use std::collections::BTreeSet;

use image::ImageFormat;
use ndarray::Array2;
use serde_json::Value;

use crate::arrays::*;
use crate::data;
use crate::pictures::*;
use crate::program::{Finished, Folder};
use crate::torchscript::{identity, logarithm, write_module};

const ENDINGS: [&str; 5] =
    ["overlay.png", "prediction.png", "prediction_color.png", "score.npy", "score.png"];

/// A folder with statistics for the 19 classes of the bundled network.
fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("stats.json", statistics(19).to_json());
    folder
}

fn run(folder: &Folder, arguments: &[&str]) -> Finished {
    let options = ["--stats", "stats.json", "--device", "cpu", "-o", "out"];
    folder.sml(&[&["run"], arguments, &options].concat())
}

/// The names of the results of these pictures.
fn results(pictures: &[&str]) -> BTreeSet<String> {
    pictures.iter().flat_map(|name| ENDINGS.map(|ending| format!("{name}_{ending}"))).collect()
}

/// The scores of a picture, H x W.
fn scores(folder: &Folder, name: &str) -> Array2<f32> {
    let (shape, descr, elements) = read_npy(&folder.read(&format!("out/{name}_score.npy")));
    assert_eq!(descr, "<f4");
    Array2::from_shape_vec(<[usize; 2]>::try_from(shape).unwrap(), elements).unwrap()
}

#[test]
fn a_picture_gives_what_logits_and_post_give() {
    let folder = folder();
    folder.write("street.png", png(&picture(1, 61, 43)));
    let ended = run(&folder, &["street.png"]).succeeded();
    assert_eq!(ended.stdout(), "");
    ended.assert_told(&["street.png -> out/street_overlay.png"]);
    assert_eq!(folder.names("out"), results(&["street"]));

    folder.sml(&["logits", "street.png", "--device", "cpu", "-o", "logits.npy"]).succeeded();
    folder.sml(&["post", "logits.npy", "--size", "43x61", "--stats", "stats.json", "-o", "post"]).succeeded();
    let score = scores(&folder, "street");
    assert_eq!(score.dim(), (43, 61));
    assert_same_bits(
        &score.clone().insert_axis(ndarray::Axis(0)),
        &read_scores(&folder.read("post/score.npy")),
        "run against logits and post",
    );
    let prediction = read_prediction(&folder.read("post/prediction.npy"));
    let train_ids = grey(&folder, "out/street_prediction.png");
    assert_eq!(train_ids.dimensions(), (61, 43));
    assert!(train_ids.as_raw().iter().eq(&prediction));

    let colors = rgb(&folder, "out/street_prediction_color.png");
    for (x, y, color) in colors.enumerate_pixels() {
        let class = usize::from(train_ids.get_pixel(x, y).0[0]);
        assert_eq!(color.0, sml::cityscapes::CLASSES[class].color, "at {x}, {y}");
    }
    let image::DynamicImage::ImageLuma16(map) = decoded(&folder, "out/street_score.png") else {
        panic!("the map has not 16 bits")
    };
    assert_eq!(map.dimensions(), (61, 43));
    let extreme = |pick: fn(f32, f32) -> f32| score.iter().copied().reduce(pick).unwrap();
    let (low, high) = (extreme(f32::min), extreme(f32::max));
    for (grey, score) in map.as_raw().iter().zip(&score) {
        let want = (score - low) / (high - low) * 65535.0;
        assert!((f32::from(*grey) - want).abs() < 2.0, "{grey} is not {want}");
    }
    // The picture and a colour bar beside or below it.
    let (width, height) = rgb(&folder, "out/street_overlay.png").dimensions();
    assert!(width >= 61 && height >= 43 && (width, height) != (61, 43), "{width} x {height}");
}

#[test]
fn folders_patterns_and_formats() {
    let folder = folder();
    for (name, format) in [
        ("in/2.png", ImageFormat::Png),
        ("in/10.jpg", ImageFormat::Jpeg),
        ("in/1.WebP", ImageFormat::WebP),
        ("in/.hidden.png", ImageFormat::Png),
        ("in/deeper/3.png", ImageFormat::Png),
    ] {
        folder.write(name, encoded(&picture(2, 40, 24), format));
    }
    folder.write("in/notes.txt", "no picture");
    let names = |ended: &Finished| -> Vec<String> {
        ended.json_lines().iter().map(|line| line["picture"].as_str().unwrap().to_owned()).collect()
    };
    let ended = run(&folder, &["in", "--json"]).succeeded();
    assert_eq!(names(&ended), ["in/1.WebP", "in/2.png", "in/10.jpg"]);
    assert_eq!(folder.names("out"), results(&["1", "2", "10"]));
    for line in ended.json_lines() {
        assert_eq!((&line["height"], &line["width"]), (&Value::from(24), &Value::from(40)));
        for file in line["files"].as_object().unwrap().values() {
            assert!(folder.path(file.as_str().unwrap()).is_file(), "{file}");
        }
    }
    // Both are lossless.
    assert_eq!(scores(&folder, "1"), scores(&folder, "2"));

    let ended = run(&folder, &["in/[12]*.[pj]*", "in/deeper/*", "--json"]).succeeded();
    assert_eq!(names(&ended), ["in/2.png", "in/10.jpg", "in/deeper/3.png"]);
}

#[test]
fn standard_input_is_a_picture() {
    let folder = folder();
    let street = png(&picture(3, 32, 24));
    folder.write("street.png", &street);
    run(&folder, &["street.png"]).succeeded();
    let arguments = ["run", "-", "--json", "--stats", "stats.json", "--device", "cpu", "-o", "out"];
    let ended = folder.sml_reading(&arguments, &street).succeeded();
    assert_eq!(ended.json()["picture"], "-");
    assert_eq!(folder.names("out"), results(&["stdin", "street"]));
    assert_eq!(scores(&folder, "stdin"), scores(&folder, "street"));
    std::fs::remove_dir_all(folder.path("out")).unwrap();
    folder.sml_reading(&arguments, &street[..street.len() / 2]).failed(&["-: ", "expected a whole PNG"]);
    folder.assert_nothing_in("out");
}

#[test]
fn the_summary_tells_what_the_files_hold() {
    let folder = folder();
    folder.write("street.png", png(&picture(4, 40, 32)));
    let summary = run(&folder, &["street.png", "--json", "--threshold", "-0.5"]).succeeded().json();
    let score = scores(&folder, "street");
    let extreme = |pick: fn(f32, f32) -> f32| score.iter().copied().reduce(pick).unwrap();
    assert_eq!(summary["score_min"].as_f64().unwrap() as f32, extreme(f32::min));
    assert_eq!(summary["score_max"].as_f64().unwrap() as f32, extreme(f32::max));
    assert_eq!(summary["threshold"], -0.5);
    assert_eq!(summary["non_finite_logits"], 0);
    assert_eq!(summary["files"]["mask"], "out/street_mask.png");
    assert!(summary.get("timings_ms").is_none());
    let unexpected = score.iter().filter(|&&score| score >= -0.5).count() as f64 / score.len() as f64;
    assert_eq!(summary["unexpected_fraction"], unexpected);
}

#[test]
fn the_mask_is_white_at_and_above_the_threshold() {
    let folder = folder();
    folder.write("street.png", png(&picture(5, 40, 32)));
    run(&folder, &["street.png"]).succeeded();
    let score = scores(&folder, "street");
    let mut sorted: Vec<f32> = score.iter().copied().collect();
    sorted.sort_by(f32::total_cmp);
    let median = sorted[sorted.len() / 2];
    run(&folder, &["street.png", "--threshold", &median.to_string()]).succeeded();
    let mask = grey(&folder, "out/street_mask.png");
    assert_eq!(mask.dimensions(), (40, 32));
    for (mask, score) in mask.as_raw().iter().zip(&score) {
        assert_eq!(*mask, if *score >= median { 255 } else { 0 }, "{score} against {median}");
    }
    assert!(mask.as_raw().contains(&255) && mask.as_raw().contains(&0));
}

#[test]
fn thresholds_out_of_range_are_wrong_usage() {
    let folder = folder();
    folder.write("street.png", png(&picture(6, 16, 16)));
    for option in [
        "--threshold=nan",
        "--threshold=inf",
        "--threshold=high",
        "--tpr=1.5",
        "--tpr=-0.1",
        "--fpr=nan",
        "--range=1",
        "--range=2,1",
        "--range=0,nan",
    ] {
        run(&folder, &["street.png", option]).misused(&[option.split('=').next().unwrap()]);
    }
    run(&folder, &["street.png", "--tpr", "0.95", "--threshold", "1"]).misused(&["cannot be used with"]);
    run(&folder, &["street.png", "--tpr", "0.95", "--fpr", "0.05"]).misused(&["cannot be used with"]);
    folder.assert_nothing_in("out");
}

#[test]
fn rates_need_a_calibration() {
    let folder = folder();
    folder.write("street.png", png(&picture(6, 16, 16)));
    for option in [["--tpr", "0.95"], ["--fpr", "0.05"]] {
        run(&folder, &[&["street.png"][..], &option].concat()).failed(&[
            "stats.json",
            "no thresholds",
            "sml calibrate --thresholds",
        ]);
    }
    folder.assert_nothing_in("out");
}

#[test]
fn timings_name_every_stage() {
    let folder = folder();
    folder.write("1.png", png(&picture(7, 32, 24)));
    folder.write("2.png", png(&picture(8, 24, 32)));
    let ended = run(&folder, &["1.png", "2.png", "--timings", "--json"]).succeeded();
    let stages =
        ["preprocess", "backbone", "standardize", "suppress", "smooth", "post_processing", "end_to_end"];
    let lines: Vec<&str> = ended.stderr().lines().collect();
    let starts = ["1.png: ", "2.png: ", "median without the first picture: "];
    assert_eq!(lines.len(), starts.len(), "{}", ended.stderr());
    for (line, start) in lines.iter().zip(starts) {
        assert!(line.starts_with(start), "{line}");
        let spoken = |stage: &&str| line.contains(&format!("{} ", stage.replace('_', " ")));
        assert!(stages.iter().all(spoken) && line.contains(" %), end to end "), "{line}");
    }
    for line in ended.json_lines() {
        let times = line["timings_ms"].as_object().unwrap();
        assert_eq!(times.len(), stages.len());
        assert!(stages.iter().all(|stage| times[*stage].as_f64().unwrap() >= 0.0), "{line}");
        let time = |part: &str| times[part].as_f64().unwrap();
        assert!(time("backbone") > 0.0, "{line}");
        let post_processing = time("standardize") + time("suppress") + time("smooth");
        assert!((time("post_processing") - post_processing).abs() < 1e-6, "{line}");
        let parts = time("preprocess") + time("backbone") + post_processing;
        assert!(parts <= time("end_to_end") + 1e-6, "{line}");
    }
}

#[test]
fn one_fixed_range_colours_all_overlays_alike() {
    let folder = folder();
    folder.write("street.png", png(&picture(9, 48, 32)));
    let overlay = |arguments: &[&str]| {
        run(&folder, arguments).succeeded();
        rgb(&folder, "out/street_overlay.png")
    };
    let own = overlay(&["street.png"]);
    let fixed = overlay(&["street.png", "--range", "-40,60"]);
    assert!(own != fixed, "the range changed nothing");
}

#[test]
fn pictures_whose_results_would_collide_are_refused() {
    let folder = folder();
    folder.write("a/street.png", png(&picture(1, 16, 16)));
    folder.write("b/street.jpg", encoded(&picture(1, 16, 16), ImageFormat::Jpeg));
    run(&folder, &["a/street.png", "b"]).failed(&[
        "b/street.jpg",
        "a/street.png",
        "expected pictures with different names",
    ]);
    assert!(!folder.path("out").exists());
    // The same picture twice is one picture.
    let ended = run(&folder, &["a/street.png", "a", "--json"]).succeeded();
    assert_eq!(ended.json_lines().len(), 1);
}

#[test]
fn a_broken_picture_fails_and_leaves_the_earlier_results() {
    let folder = folder();
    let whole = png(&picture(10, 32, 24));
    folder.write("1.png", &whole);
    folder.write("2.png", &whole[..whole.len() * 2 / 3]);
    let ended = run(&folder, &["1.png", "2.png"]);
    ended.assert_told(&["1.png -> out/1_overlay.png", "sml: 2.png: ", "expected a whole PNG"]);
    assert_eq!(folder.names("out"), results(&["1"]));
    run(&folder, &["2.png"]).failed(&["2.png", "expected a whole PNG, JPEG or WebP picture"]);
}

#[test]
fn a_torchscript_module_is_run_as_its_sidecar_says() {
    let folder = Folder::new();
    folder.write("stats.json", statistics(3).to_json());
    write_module(&folder, identity);
    // Left half red, right half blue; both as strong as can be.
    let street =
        image::RgbImage::from_fn(32, 16, |x, _| image::Rgb(if x < 16 { [255, 0, 0] } else { [0, 0, 255] }));
    folder.write("street.png", png(&street));
    let options =
        ["--model", "net.pt", "--suppression", "none", "--smoothing", "none", "--score", "max_logit"];
    run(&folder, &[&["street.png"], &options[..]].concat()).succeeded();
    let prediction = grey(&folder, "out/street_prediction.png");
    assert_eq!((prediction.get_pixel(3, 8).0, prediction.get_pixel(28, 8).0), ([0], [2]));
    // The anomaly score of a max logit is its negation, and the logit is the colour.
    let score = scores(&folder, "street");
    assert!((score[(8, 3)] + 1.0).abs() < 1e-6 && (score[(8, 28)] + 1.0).abs() < 1e-6, "{score}");
}

#[test]
fn logits_that_are_not_finite_are_counted_and_replaced() {
    let folder = Folder::new();
    folder.write("stats.json", statistics(3).to_json());
    write_module(&folder, logarithm);
    // Blue is black in the left third.
    let street = image::RgbImage::from_fn(48, 16, |x, _| image::Rgb([200, 100, if x < 16 { 0 } else { 50 }]));
    folder.write("street.png", png(&street));
    let count = |policy: &str| {
        let method = ["--suppression", "none", "--smoothing", "none", "--non-finite", policy];
        let summary = run(&folder, &[&["street.png", "--model", "net.pt", "--json"][..], &method].concat())
            .succeeded()
            .json();
        assert_eq!(folder.names("out"), results(&["street"]));
        summary["non_finite_logits"].as_u64().unwrap()
    };
    // 14 columns and the half-way ones, of 16 rows.
    assert!((16 * 14..=16 * 20).contains(&count("propagate")));
    count("replace:7");
    let score = scores(&folder, "street");
    assert!(score.iter().all(|score| score.is_finite()));
    assert_eq!(score[(8, 0)], 7.0);
}

#[test]
fn dabnet_runs_on_a_real_photograph() {
    let Some(weights) = data::path("models/dabnet_cityscapes.safetensors") else { return };
    let Some(photograph) = data::path("images/road_obstacle21/images/2.webp") else { return };
    let folder = folder();
    let (weights, photograph) = (weights.display().to_string(), photograph.display().to_string());
    let arguments = [&photograph, "--json", "--model", "dabnet", "--weights", &weights, "--threshold", "3"];
    let summary = run(&folder, &arguments).succeeded().json();
    let (height, width) = (summary["height"].as_u64().unwrap(), summary["width"].as_u64().unwrap());
    assert_eq!(scores(&folder, "2").dim(), (height as usize, width as usize));
    assert_eq!(summary["non_finite_logits"], 0);
    // Road (train id 0) fills the lower middle of a photograph of a road.
    let prediction = grey(&folder, "out/2_prediction.png");
    assert_eq!(prediction.dimensions(), (width as u32, height as u32));
    let road = (0..prediction.width())
        .filter(|&x| prediction.get_pixel(x, prediction.height() * 3 / 4).0 == [0])
        .count();
    assert!(road * 2 > prediction.width() as usize, "{road} pixels of road in a row");
    // Statistics for exactly these weights are bundled.
    folder
        .sml(&[
            "run",
            &photograph,
            "--model",
            "dabnet",
            "--weights",
            &weights,
            "--device",
            "cpu",
            "-o",
            "own",
        ])
        .succeeded();
}
