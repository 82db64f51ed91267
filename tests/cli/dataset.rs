//! `sml dataset check`.

use image::{GrayImage, ImageFormat, Luma, RgbImage};

use crate::program::Folder;

fn png(image: impl Into<image::DynamicImage>) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// A picture and its labels in Cityscapes' short layout.
fn city(folder: &Folder, split: &str, frame: &str) {
    folder.write(&format!("city/leftImg8bit/{split}/x/{frame}_leftImg8bit.png"), png(RgbImage::new(4, 4)));
    let labels = GrayImage::from_pixel(4, 4, Luma([7]));
    folder.write(&format!("city/gtFine/{split}/x/{frame}_gtFine_labelIds.png"), png(labels));
}

#[test]
fn a_check_tells_what_is_missing_and_fails() {
    let folder = Folder::new();
    city(&folder, "train", "x_0_0");
    city(&folder, "val", "x_0_1");
    std::fs::remove_file(folder.path("city/gtFine/val/x/x_0_1_gtFine_labelIds.png")).unwrap();
    let run = folder.sml(&["dataset", "check", "--root", "city"]);
    let text = run.stdout().to_owned();
    for part in [
        "cityscapes train: 1 picture, 1 with labels, 2 files\n  sha256 ",
        "cityscapes val: 1 picture, 0 with labels, 1 file\n",
        "city holds no pictures of the split test\n",
        "city holds 1 pictures of the split train; the official copy has 2975\n",
        "city/leftImg8bit/val/x/x_0_1_leftImg8bit.png has no labels\n",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    run.ended_with(1, "sml: city: 4 findings, told on stdout: expected a complete copy of the dataset\n");

    let run = folder.sml(&["dataset", "check", "--root", "city", "--json", "--split", "train", "--deep"]);
    let object = run.json();
    assert_eq!(object["dataset"], "cityscapes");
    let split = &object["splits"][0];
    assert_eq!((&split["split"], &split["images"], &split["files"]), (&"train".into(), &1.into(), &2.into()));
    assert_eq!(split["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(object["findings"][0]["kind"], "count");
}

#[test]
fn a_complete_copy_passes() {
    let folder = Folder::new();
    folder.write("set/images/a.png", png(RgbImage::new(4, 4)));
    folder.write("set/labels/a.png", png(GrayImage::new(4, 4)));
    let check = ["dataset", "check", "--root", "set"];
    let run = folder.sml(&[&check[..], &["--deep"]].concat()).succeeded();
    assert!(run.stdout().starts_with("folders: 1 picture, 1 with labels, 2 files\n"), "{}", run.stdout());
    assert_eq!(run.stderr(), "");

    // With all values told, others are a finding.
    folder.write("set/labels/a.png", png(GrayImage::from_pixel(4, 4, Luma([3]))));
    let strict = [&check[..], &["--deep", "--ignore", "255", "--anomaly-value", "2"]].concat();
    let run = folder.sml(&strict);
    let expected = "set/labels/a.png holds values that folders does not define: 3 (16 pixels)\n";
    assert!(run.stdout().ends_with(expected), "{}", run.stdout());
    run.ended_with(1, "sml: set: 1 finding, told on stdout: expected a complete copy of the dataset\n");
}

#[test]
fn long_lists_are_cut_for_people_only() {
    let folder = Folder::new();
    for n in 0..25 {
        folder.write(&format!("set/images/{n:02}.png"), png(RgbImage::new(2, 2)));
    }
    folder.write("set/labels/00.png", png(GrayImage::new(2, 2)));
    let run = folder.sml(&["dataset", "check", "--root", "set"]);
    assert_eq!(run.stdout().matches("has no labels").count(), 10, "{}", run.stdout());
    assert!(
        run.stdout().contains("and 14 more like this (WithoutLabels): --json lists all"),
        "{}",
        run.stdout()
    );
    let run = folder.sml(&["dataset", "check", "--root", "set", "--json"]);
    assert_eq!(run.json()["findings"].as_array().unwrap().len(), 24);
}

#[test]
fn what_cannot_be_checked_is_one_line() {
    let folder = Folder::new();
    folder.write("set/images/a.png", png(RgbImage::new(4, 4)));
    folder.write("set/labels_masks/a.png", png(GrayImage::new(4, 4)));
    folder.sml(&["dataset", "check", "--root", "absent"]).failed(&["absent", "cannot read"]);
    folder
        .sml(&["dataset", "check", "--root", "set"])
        .failed(&["may be fishyscapes", "--dataset to tell which"]);
    let other = ["dataset", "check", "--root", "set", "--dataset", "cityscapes"];
    folder.sml(&other).failed(&["does not hold cityscapes", "it holds images, labels_masks"]);
    folder.sml(&["dataset", "check", "--dataset", "cityscapes"]).misused(&["--root <DIR>"]);
    folder.sml(&["dataset", "check", "--root", "set", "--dataset", "kitti"]).misused(&["kitti"]);
    folder.sml(&["dataset", "check", "--root", "set", "--anomaly-value", "256"]).misused(&["256"]);
}

#[cfg(feature = "torch")]
#[test]
fn wrong_usage_of_datasets_is_told() {
    let folder = Folder::new();
    folder.sml(&["dataset", "check"]).refused(&["--root is missing"]);
    let mixed = ["dataset", "check", "--root", ".", "--dataset", "cityscapes", "--anomaly-value", "2"];
    folder.sml(&mixed).refused(&["--anomaly-value", "given with --dataset cityscapes", "folders only"]);
}
