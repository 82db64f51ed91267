//! `sml calibrate`: class statistics from pictures and saved logits, and thresholds that `sml run` then uses.

use image::{GrayImage, Luma, Rgb, RgbImage};
use ndarray::{Array4, Axis};
use sml::{ClassStatistics, Params, Size};

use crate::arrays::*;
use crate::pictures::*;
use crate::program::Folder;
use crate::torchscript::{identity, write_module};

/// Counts, means and unbiased variances of the max logit by predicted class, computed in the plainest way.
fn by_hand(logits: &[&Array4<f32>], classes: usize) -> Vec<(u64, f64, f64)> {
    let mut values = vec![Vec::new(); classes];
    for pixel in logits.iter().flat_map(|logits| logits.lanes(Axis(1))) {
        if pixel.iter().all(|v| v.is_finite()) {
            let (class, max) =
                pixel.iter().enumerate().fold((0, f32::NEG_INFINITY), |best, (class, &value)| {
                    if value > best.1 { (class, value) } else { best }
                });
            values[class].push(f64::from(max));
        }
    }
    let moments = |values: &Vec<f64>| {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        (values.len() as u64, mean, squares / (count - 1.0))
    };
    values.iter().map(moments).collect()
}

#[track_caller]
fn assert_measured(folder: &Folder, file: &str, want: &[(u64, f64, f64)]) {
    let statistics = ClassStatistics::read(folder.path(file)).unwrap();
    assert_eq!(statistics.classes().len(), want.len());
    for (got, want) in statistics.classes().iter().zip(want) {
        assert_eq!(got.count, Some(want.0));
        let close = |got: Option<f64>, want: f64| (got.unwrap() - want).abs() < 1e-9;
        assert!(close(got.mean, want.1) && close(got.variance, want.2), "{got:?} is not {want:?}");
    }
}

#[test]
fn saved_logits_are_measured_by_predicted_class() {
    let folder = Folder::new();
    let first = random_logits::<f32>(1, [2, 4, 20, 30]);
    let second = random_logits::<f32>(2, [1, 4, 11, 13]);
    folder.write("first.npy", to_npy(&first));
    folder.write("second.safetensors", to_safetensors("logits", &second));
    let arguments = ["calibrate", "first.npy", "second.safetensors", "-o", "stats.json"];
    let run = folder.sml(&arguments).succeeded();
    assert_eq!(run.stdout(), "");
    run.assert_told(&["3 images, 4 of 4 classes with statistics -> stats.json"]);
    assert_measured(&folder, "stats.json", &by_hand(&[&first, &second], 4));
    let provenance = &folder.read_json("stats.json")["provenance"];
    assert_eq!(provenance["images"], 3);
    assert_eq!(provenance["conditioned_on"], "predicted class");
    assert_eq!(provenance["sources"], serde_json::json!(["first.npy", "second.safetensors"]));

    let last = first.view().permuted_axes([0, 2, 3, 1]).as_standard_layout().into_owned();
    folder.write("last.NPY", to_npy(&last));
    folder.sml(&["calibrate", "last.NPY", "--layout", "nhwc", "-o", "last.json"]).succeeded();
    assert_measured(&folder, "last.json", &by_hand(&[&first], 4));
}

#[test]
fn logits_are_measured_at_full_size() {
    let folder = Folder::new();
    let logits = random_logits::<f32>(3, [1, 4, 9, 11]);
    folder.write("logits.npy", to_npy(&logits));
    for (grid, align_corners) in [("false", false), ("true", true)] {
        let arguments =
            ["calibrate", "logits.npy", "--size", "36x44", "--align-corners", grid, "-o", "stats.json"];
        folder.sml(&arguments).succeeded();
        let params = Params {
            score: sml::Score::MaxLogit,
            suppression: None,
            smoothing: None,
            align_corners,
            ..Params::default()
        };
        let (score, prediction) = engine_map(&logits, None, params, Size::new(36, 44));
        let mut accumulator = sml::StatisticsAccumulator::new(4);
        let max_logits: Vec<f32> = score.iter().map(|v| -v).collect();
        accumulator.add(&max_logits, prediction.as_slice().unwrap()).unwrap();
        let want = accumulator.finish(sml::Provenance::default());
        let got = ClassStatistics::read(folder.path("stats.json")).unwrap();
        assert_eq!(got.classes(), want.classes(), "align_corners {grid}");
    }
}

#[test]
fn broken_pixels_are_left_out_whatever_they_are_replaced_by() {
    let folder = Folder::new();
    let mut logits = random_logits::<f32>(4, [1, 3, 30, 30]);
    for at in 0..10 {
        logits.slice_mut(ndarray::s![0, .., at, 2 * at]).fill(f32::NAN);
    }
    folder.write("logits.npy", to_npy(&logits));
    let arguments = ["calibrate", "logits.npy", "-o", "stats.json"];
    let run = folder.sml(&arguments).succeeded();
    run.assert_told(&["sml: warning: 10 pixels with NaN or infinite max logits left out"]);
    assert_measured(&folder, "stats.json", &by_hand(&[&logits], 3));
    let replaced = [&arguments[..], &["--thresholds", "--non-finite", "replace:50"]].concat();
    folder.sml(&replaced).succeeded();
    assert_measured(&folder, "stats.json", &by_hand(&[&logits], 3));
}

#[test]
fn pictures_are_measured_through_the_network() {
    let folder = Folder::new();
    write_module(&folder, identity);
    // One colour each: the max logit is 51 / 255 and 102 / 255 of class 0.
    folder.write("in/1.png", png(&RgbImage::from_pixel(16, 8, Rgb([51, 0, 0]))));
    folder.write("in/2.png", png(&RgbImage::from_pixel(16, 8, Rgb([102, 0, 0]))));
    let run = folder
        .sml(&["calibrate", "in", "--model", "net.pt", "--device", "cpu", "-o", "stats.json"])
        .succeeded();
    run.assert_told(&[
        "2 images, 1 of 3 classes with statistics",
        "sml: warning: classes [1, 2] were seldom or never predicted",
    ]);
    let stats = folder.read_json("stats.json");
    assert_eq!(stats["count"], serde_json::json!([256, 0, 0]));
    assert_eq!(stats["mean"][1], serde_json::Value::Null);
    assert!((stats["mean"][0].as_f64().unwrap() - 0.3).abs() < 1e-7);
    assert!((stats["variance"][0].as_f64().unwrap() - 0.01 * 256.0 / 255.0).abs() < 1e-7);
    let provenance = &stats["provenance"];
    assert_eq!((&provenance["model"], &provenance["images"]), (&"net".into(), &2.into()));
    assert_eq!(provenance["model_sha256"], sml::torch::sha256_hex(&folder.read("net.pt")));
    assert_eq!(provenance["class_names"], serde_json::json!(["red", "green", "blue"]));
    let date = provenance["date"].as_str().unwrap();
    let shape: String = date.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "0000-00-00", "{date}");
}

/// Normal pictures in `normal`, and in `objects` pictures with a square whose labels lie in `labels`.
fn street_with_objects() -> Folder {
    let folder = Folder::new();
    write_module(&folder, identity);
    for seed in 0..3 {
        let normal = picture(seed, 48, 32);
        folder.write(&format!("normal/{seed}.png"), png(&normal));
        let inside = |x: u32, y: u32| (20..32).contains(&x) && (12..24).contains(&y);
        let object = RgbImage::from_fn(48, 32, |x, y| {
            if inside(x, y) { Rgb([10, 12, (x + y) as u8 % 20]) } else { *normal.get_pixel(x, y) }
        });
        let labels = GrayImage::from_fn(48, 32, |x, y| {
            Luma([if inside(x, y) {
                1
            } else if y < 2 {
                255
            } else {
                0
            }])
        });
        folder.write(&format!("objects/{seed}.png"), png(&object));
        let mut bytes = std::io::Cursor::new(Vec::new());
        labels.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
        let name = if seed == 0 { "0_unexpected.png".to_owned() } else { format!("{seed}.png") };
        folder.write(&format!("labels/{name}"), bytes.into_inner());
    }
    folder
}

const NETWORK: [&str; 4] = ["--model", "net.pt", "--device", "cpu"];

/// The fraction of white pixels at the places that `counts` picks, over the three results in `out`.
fn white(folder: &Folder, counts: impl Fn(u32, u32, u32) -> bool) -> f64 {
    let (mut white, mut all) = (0, 0);
    for seed in 0..3 {
        for (x, y, pixel) in grey(folder, &format!("out/{seed}_mask.png")).enumerate_pixels() {
            if counts(seed, x, y) {
                all += 1;
                white += u32::from(pixel.0 == [255]);
            }
        }
    }
    f64::from(white) / f64::from(all)
}

#[test]
fn thresholds_by_false_positive_rate_hold_on_the_same_pictures() {
    let folder = street_with_objects();
    let calibrate = ["calibrate", "normal", "--thresholds", "-o", "stats.json"];
    folder.sml(&[&calibrate[..], &NETWORK].concat()).succeeded();
    let shown = folder.sml(&["stats", "show", "stats.json"]).succeeded();
    assert!(shown.stdout().contains("threshold at 5 % false positives: "), "{}", shown.stdout());
    assert!(shown.stdout().contains("threshold at 95 % true positives: not measured"), "{}", shown.stdout());

    let run = ["run", "normal", "--stats", "stats.json", "-o", "out"];
    folder.sml(&[&run[..], &["--fpr", "0.1"], &NETWORK].concat()).succeeded();
    let reported = white(&folder, |_, _, _| true);
    // A threshold is the lower edge of a narrow bin: at least the rate is above it, and hardly more.
    assert!((0.1..0.13).contains(&reported), "{reported}");

    let tpr = folder.sml(&[&run[..], &["--tpr", "0.95"], &NETWORK].concat());
    tpr.refused(&["tpr", "no labelled pixels", "sml calibrate --labels"]);
    let other = folder.sml(&[&run[..], &["--fpr", "0.1", "--smoothing", "none"], &NETWORK].concat());
    other.refused(&["fpr", "other parameters", "--threshold"]);
    // Merged statistics have no thresholds, and merging says so.
    let merged = folder.sml(&["stats", "merge", "stats.json", "stats.json", "-o", "merged.json"]).succeeded();
    merged.assert_told(&["sml: warning: stats.json: its thresholds are left out"]);
}

#[test]
fn thresholds_by_true_positive_rate_come_from_labels() {
    let folder = street_with_objects();
    let method = ["--suppression", "none", "--smoothing", "none"];
    let calibrate =
        ["calibrate", "normal", "--labelled", "objects", "--labels", "labels", "-o", "stats.json"];
    folder.sml(&[&calibrate[..], &method, &NETWORK].concat()).succeeded();
    let run = ["run", "objects", "--stats", "stats.json", "-o", "out"];
    let inside = |_: u32, x: u32, y: u32| (20..32).contains(&x) && (12..24).contains(&y);
    folder.sml(&[&run[..], &["--tpr", "0.9"], &method, &NETWORK].concat()).succeeded();
    let found = white(&folder, inside);
    assert!((0.9..0.97).contains(&found), "{found}");
    folder.sml(&[&run[..], &["--fpr", "0.2"], &method, &NETWORK].concat()).succeeded();
    let mistaken = white(&folder, |seed, x, y| y >= 2 && !inside(seed, x, y));
    assert!((0.2..0.25).contains(&mistaken), "{mistaken}");
}

#[test]
fn labels_that_do_not_fit() {
    let folder = street_with_objects();
    let calibrate =
        ["calibrate", "normal", "--labelled", "objects", "--labels", "labels", "-o", "stats.json"];
    let calibrate = [&calibrate[..], &NETWORK].concat();
    folder.write("labels/2.png", png(&picture(1, 48, 32)));
    folder.sml(&calibrate).failed(&["labels/2.png", "expected labels as 8-bit grey PNG"]);
    let mut small = std::io::Cursor::new(Vec::new());
    GrayImage::new(4, 4).write_to(&mut small, image::ImageFormat::Png).unwrap();
    folder.write("labels/2.png", small.into_inner());
    folder.sml(&calibrate).failed(&["labels/2.png", "4x4 pixels", "expected 32x48"]);
    std::fs::remove_file(folder.path("labels/2.png")).unwrap();
    folder.sml(&calibrate).failed(&["labels", "holds no labels", "2.png or 2_unexpected.png"]);
    assert!(!folder.path("stats.json").exists());
}

#[test]
fn options_that_contradict_each_other_are_wrong_usage() {
    let folder = Folder::new();
    folder.write("logits.npy", to_npy(&random_logits::<f32>(5, [1, 3, 8, 8])));
    folder.write("street.png", png(&picture(1, 16, 16)));
    let calibrate = |options: &[&str]| folder.sml(&[&["calibrate", "-o", "stats.json"], options].concat());
    for option in [["--size", "9x9"], ["--align-corners", "true"], ["--layout", "nhwc"]] {
        calibrate(&[&["street.png"], &option[..]].concat()).refused(&[option[0], "saved logits only"]);
    }
    for option in [["--model", "net.pt"], ["--weights", "w.safetensors"], ["--device", "cpu"]] {
        calibrate(&[&["logits.npy"], &option[..]].concat()).refused(&[option[0], "saved logits"]);
    }
    for option in
        [["--score", "msp"], ["--suppression", "none"], ["--smoothing", "none"], ["--non-finite", "replace"]]
    {
        calibrate(&[&["logits.npy"], &option[..]].concat())
            .refused(&["the method", "--thresholds or --labelled"]);
    }
    let labelled = ["--labelled", "street.png", "--labels", "."];
    calibrate(&[&["logits.npy"], &labelled[..]].concat()).refused(&["--labelled", "given with saved logits"]);
    calibrate(&["street.png", "--labelled", "street.png"]).misused(&["--labels <DIR>"]);
    calibrate(&["street.png", "--labels", "."]).misused(&["--labelled <IMAGES>"]);
    assert!(!folder.path("stats.json").exists());
}

#[test]
fn inputs_that_do_not_belong_together() {
    let folder = Folder::new();
    folder.write("three.npy", to_npy(&random_logits::<f32>(6, [1, 3, 8, 8])));
    folder.write("two.npy", to_npy(&random_logits::<f32>(7, [1, 2, 8, 8])));
    folder.write("cut.npy", &to_npy(&random_logits::<f32>(8, [1, 3, 8, 8]))[..300]);
    std::fs::create_dir(folder.path("empty")).unwrap();
    let calibrate = |inputs: &[&str]| folder.sml(&[&["calibrate", "-o", "stats.json"], inputs].concat());
    for inputs in [["three.npy", "two.npy"], ["two.npy", "three.npy"]] {
        calibrate(&inputs).failed(&[inputs[1], "classes", "as the first input has"]);
    }
    calibrate(&["three.npy", "cut.npy", "--strict"]).failed(&["cut.npy", "expected"]);
    calibrate(&["cut.npy"]).failed(&["cut.npy", "expected"]);
    calibrate(&["empty"]).failed(&["empty", "holds no pictures"]);
    calibrate(&["no*.png"]).failed(&["no*.png", "holds no pictures"]);
    assert!(!folder.path("stats.json").exists());
}
