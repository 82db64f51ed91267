//! `sml calibrate` on datasets: by prediction and by label, mIoU, single bad images, shards.

use image::{GrayImage, Luma, Rgb, RgbImage};
use serde_json::{Value, json};

use crate::data;
use crate::pictures::*;
use crate::program::Folder;
use crate::torchscript::*;

const NETWORK: [&str; 4] = ["--model", "net.pt", "--device", "cpu"];
const SIDE: u32 = 16;

/// A picture of one colour with labels by column.
fn city(folder: &Folder, frame: &str, color: [u8; 3], label: impl Fn(u32) -> u8) {
    folder.write(
        &format!("city/leftImg8bit/train/x/{frame}_leftImg8bit.png"),
        png(&RgbImage::from_pixel(SIDE, SIDE, Rgb(color))),
    );
    let labels = GrayImage::from_fn(SIDE, SIDE, |x, _| Luma([label(x)]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    labels.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    folder.write(&format!("city/gtFine/train/x/{frame}_gtFine_labelIds.png"), bytes.into_inner());
}

/// Two frames: red, half road and half sidewalk; green, a quarter not labelled and the rest sidewalk.
fn two_frames() -> Folder {
    let folder = Folder::new();
    write_module_of_19_classes(&folder);
    city(&folder, "a_0_0", [51, 0, 0], |x| if x < SIDE / 2 { 7 } else { 8 });
    city(&folder, "a_0_1", [0, 102, 0], |x| if x < SIDE / 4 { 0 } else { 8 });
    folder
}

fn calibrate(folder: &Folder, more: &[&str]) -> crate::program::Finished {
    let base = ["calibrate", "--root", "city", "--json", "-o", "stats.json"];
    folder.sml(&[&base[..], &NETWORK, more].concat())
}

fn moments(folder: &Folder, class: usize) -> (Value, f64) {
    let stats = folder.read_json("stats.json");
    (stats["count"][class].clone(), stats["mean"][class].as_f64().unwrap_or(f64::NAN))
}

#[test]
fn a_dataset_is_measured_by_prediction_with_miou() {
    let folder = two_frames();
    let run = calibrate(&folder, &["--miou"]).succeeded();
    run.assert_told(&[
        "2 images, 2 of 19 classes with statistics -> stats.json",
        "4 files, sha256 ",
        "mIoU ",
    ]);
    let object = run.json();
    assert_eq!((&object["images"], &object["files"]), (&json!(2), &json!(4)));
    assert_eq!((&object["dataset"], &object["split"]), (&json!("cityscapes"), &json!("train")));
    let (count, mean) = moments(&folder, 0);
    assert!(count == 256 && (mean - 0.2).abs() < 1e-7, "{count} {mean}");
    assert_eq!(moments(&folder, 1).0, 256);
    // Red is road: right on 128 of 256 pixels. Green is sidewalk: right on 192; 128 more are labelled so.
    let iou = &object["iou"];
    assert_eq!((iou["road"].as_f64(), iou["sidewalk"].as_f64()), (Some(0.5), Some(192.0 / 320.0)));
    assert_eq!(object["miou"].as_f64(), Some((0.5 + 0.6) / 2.0));
    assert_eq!(iou["sky"], Value::Null);

    let provenance = &folder.read_json("stats.json")["provenance"];
    assert_eq!(provenance["content_sha256"], object["sha256"]);
    assert_eq!((&provenance["files"], &provenance["dataset"]), (&json!(4), &json!("cityscapes")));
    let check = folder.sml(&["dataset", "check", "--root", "city", "--split", "train", "--json"]);
    assert_eq!(check.json()["splits"][0]["sha256"], object["sha256"], "the digest of the same files");
    let shown = folder.sml(&["stats", "show", "stats.json"]).succeeded();
    assert!(shown.stdout().contains("dataset: cityscapes train\nfiles: 4\n"), "{}", shown.stdout());
}

#[test]
fn by_label_the_class_is_that_of_the_ground_truth() {
    let folder = two_frames();
    let run = calibrate(&folder, &["--condition-on", "label"]).succeeded();
    assert_eq!(run.json()["conditioned_on"], "ground-truth class");
    run.assert_told(&["were seldom or never labelled"]);
    let (count, mean) = moments(&folder, 0);
    assert!(count == 128 && (mean - 0.2).abs() < 1e-7, "{count} {mean}");
    let (count, mean) = moments(&folder, 1);
    let want = (128.0 * 0.2 + 192.0 * 0.4) / 320.0;
    assert!(count == 320 && (mean - want).abs() < 1e-7, "{count} {mean} {want}");
    assert_eq!(run.json()["miou"], Value::Null);
}

#[test]
fn labels_are_needed_where_they_are_asked_for() {
    let folder = two_frames();
    let base = ["calibrate", "-o", "stats.json"];
    let run = |more: &[&str]| folder.sml(&[&base[..], more, &NETWORK].concat());
    run(&["city/leftImg8bit/train/x", "--condition-on", "label"]).refused(&["without a dataset", "--root"]);
    run(&["city/leftImg8bit/train/x", "--miou"]).refused(&["without a dataset", "--root"]);
    run(&["city/leftImg8bit/train/x", "--root", "city"]).misused(&["--root"]);
    run(&["--root", "city", "--dataset", "fishyscapes-static", "--split", "train", "--miou"])
        .refused(&["given with fishyscapes-static", "cityscapes"]);
    run(&["--root", "city", "--shard", "3/3"]).refused(&["--shard is 3/3", "fewer inputs"]);
    run(&["--root", "city", "--shard", "1/2", "--thresholds"]).misused(&["--thresholds"]);
    write_module(&folder, identity);
    run(&["--root", "city", "--miou"]).refused(&["a network of 3 classes", "19 classes"]);
    assert!(!folder.path("stats.json").exists());
}

#[test]
fn a_bad_image_is_left_out_and_counted_or_fatal() {
    let folder = two_frames();
    city(&folder, "a_0_2", [9, 9, 90], |_| 7);
    calibrate(&folder, &[]).succeeded();
    let whole = folder.read_json("stats.json")["count"].clone();
    folder.write("city/leftImg8bit/train/x/a_0_2_leftImg8bit.png", b"no picture");
    // Labels of another size than their picture.
    city(&folder, "a_0_3", [0, 0, 7], |_| 7);
    folder.write("city/gtFine/train/x/a_0_3_gtFine_labelIds.png", {
        let mut bytes = std::io::Cursor::new(Vec::new());
        GrayImage::new(3, 3).write_to(&mut bytes, image::ImageFormat::Png).unwrap();
        bytes.into_inner()
    });
    let run = calibrate(&folder, &[]).succeeded();
    run.assert_told(&[
        "sml: warning: left out: city/leftImg8bit/train/x/a_0_2_leftImg8bit.png",
        "2 inputs left out",
    ]);
    let object = run.json();
    assert_eq!((&object["images"], &object["files"]), (&json!(2), &json!(4)));
    let failures: Vec<&str> =
        object["failures"].as_array().unwrap().iter().filter_map(|f| f["image"].as_str()).collect();
    assert_eq!(failures, ["x/a_0_2", "x/a_0_3"]);
    let stats = folder.read_json("stats.json");
    assert_eq!(stats["provenance"]["left_out"], 2);
    assert_ne!(stats["count"], whole);

    std::fs::remove_file(folder.path("stats.json")).unwrap();
    let strict = ["calibrate", "city/leftImg8bit/train/x", "--strict", "-o", "stats.json"];
    folder.sml(&[&strict[..], &NETWORK].concat()).failed(&["a_0_2_leftImg8bit.png", "expected a whole PNG"]);
    assert!(!folder.path("stats.json").exists());
}

#[test]
fn nothing_that_can_be_measured_is_a_failure() {
    let folder = Folder::new();
    write_module(&folder, identity);
    folder.write("in/a.png", b"no picture");
    folder.write("in/b.png", b"no picture either");
    let run = folder.sml(&[&["calibrate", "in", "-o", "stats.json"][..], &NETWORK].concat());
    assert!(run.stderr().ends_with(
        "is the first of 2 inputs, none of which could be measured: expected pictures or logits\n"
    ));
    assert!(!folder.path("stats.json").exists());
}

#[test]
fn shards_of_a_dataset_merge_into_the_whole() {
    let folder = Folder::new();
    write_module_of_19_classes(&folder);
    for n in 0..7_u32 {
        let shade = |scale: u32| (n * scale * 13 % 200) as u8;
        city(&folder, &format!("a_0_{n}"), [shade(1), shade(2), shade(3)], |_| 7);
    }
    calibrate(&folder, &[]).succeeded();
    let whole = folder.read_json("stats.json");
    for count in [2, 3, 7] {
        let mut merge = vec!["stats".to_owned(), "merge".to_owned()];
        for index in 1..=count {
            let shard = format!("{index}/{count}");
            calibrate(&folder, &["--shard", &shard]).succeeded();
            assert_eq!(folder.read_json("stats.json")["provenance"]["shards"], json!([shard]));
            let part = format!("part{index}.json");
            std::fs::rename(folder.path("stats.json"), folder.path(&part)).unwrap();
            merge.push(part);
        }
        merge.extend(["-o".to_owned(), "merged.json".to_owned()]);
        let merge: Vec<&str> = merge.iter().map(String::as_str).collect();
        folder.sml(&merge).succeeded();
        let merged = folder.read_json("merged.json");
        assert_same_to_1e_12(&merged, &whole);
        assert_eq!(merged["provenance"], whole["provenance"], "{count} parts are the whole again");
    }
    // One part is missing, and one counts twice.
    let run = folder.sml(&["stats", "merge", "part1.json", "part2.json", "-o", "merged.json"]).succeeded();
    run.assert_told(&["sml: warning: the shards 1/7, 2/7 are not a whole set"]);
    let run = folder.sml(&["stats", "merge", "part1.json", "part1.json", "-o", "merged.json"]).succeeded();
    run.assert_told(&["part1.json: measured on the same files as part1.json, which now count twice"]);
}

#[track_caller]
pub fn assert_same_to_1e_12(got: &Value, want: &Value) {
    assert_eq!(got["count"], want["count"]);
    for column in ["mean", "variance"] {
        for (got, want) in got[column].as_array().unwrap().iter().zip(want[column].as_array().unwrap()) {
            let close = match (got.as_f64(), want.as_f64()) {
                (Some(got), Some(want)) => (got - want).abs() <= 1e-12 * want.abs(),
                (got, want) => got == want,
            };
            assert!(close, "{column}: {got} and not {want}");
        }
    }
}

#[test]
fn real_pictures_through_the_real_network() {
    let (Some(weights), Some(pictures)) =
        (data::path("models/dabnet_cityscapes.safetensors"), data::path("images/normal"))
    else {
        return;
    };
    let folder = Folder::new();
    let frame = "frankfurt_000001_058914";
    std::fs::create_dir_all(folder.path("city/leftImg8bit/val/frankfurt")).unwrap();
    let copy = folder.path(format!("city/leftImg8bit/val/frankfurt/{frame}_leftImg8bit.png"));
    std::fs::copy(pictures.join(format!("{frame}_leftImg8bit.png")), copy).unwrap();
    let train_ids =
        image::open(pictures.join(format!("{frame}_labelTrainIds_derived.png"))).unwrap().into_luma8();
    let label_ids = GrayImage::from_fn(train_ids.width(), train_ids.height(), |x, y| {
        let train_id = train_ids.get_pixel(x, y).0[0];
        let label = sml::cityscapes::LABELS.iter().find(|label| label.train_id == Some(train_id));
        Luma([label.map_or(0, |label| label.id)])
    });
    let path = format!("city/gtFine/val/frankfurt/{frame}_gtFine_labelIds.png");
    let mut bytes = std::io::Cursor::new(Vec::new());
    label_ids.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    folder.write(&path, bytes.into_inner());
    let weights = weights.display().to_string();
    let arguments = [
        "calibrate",
        "--dataset",
        "cityscapes",
        "--split",
        "val",
        "--root",
        "city",
        "--miou",
        "--json",
        "-o",
        "stats.json",
        "--model",
        "dabnet",
        "--weights",
        &weights,
        "--device",
        "cpu",
    ];
    let object = folder.sml(&arguments).succeeded().json();
    assert_eq!((&object["images"], &object["files"]), (&json!(1), &json!(2)));
    let pixels: u64 =
        object["classes"].as_array().unwrap().iter().filter_map(|class| class["count"].as_u64()).sum();
    assert_eq!(pixels, 1024 * 2048);
    // What the published weights reach on this picture: large classes well, absent ones not at all.
    let iou = |class: &str| object["iou"][class].as_f64().unwrap();
    assert!(iou("road") > 0.97 && iou("building") > 0.93 && iou("person") > 0.88, "{}", object["iou"]);
    assert!((0.45..0.55).contains(&object["miou"].as_f64().unwrap()));
}
