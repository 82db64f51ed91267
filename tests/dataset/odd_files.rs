//! What lies between the files of a real copy: hidden files, links, upper case, duplicates, things without a counterpart.

use sml::dataset::{DatasetKind, FindingKind};

use super::{SIDE, Tree, anomaly, assert_refused, names, problems};

#[test]
fn hidden_files_and_other_things_are_passed_over() {
    let tree = Tree::new();
    tree.picture("images/a.png").labels("labels_masks/a.png", &[0, 1]);
    for name in [
        "images/._a.png",
        "images/.DS_Store",
        "labels_masks/._a.png",
        "images/Thumbs.db",
        "images/readme.txt",
    ] {
        std::fs::write(tree.path(name), b"no picture").unwrap();
    }
    std::fs::create_dir_all(tree.root().join("images/folder.png")).unwrap();
    let dataset = tree.open(DatasetKind::RoadAnomaly21).unwrap();
    assert_eq!(names(&dataset), [("a", true)]);
    assert_eq!(problems(&dataset), Vec::<String>::new());
}

#[test]
fn extensions_may_be_in_upper_case() {
    let tree = Tree::new();
    tree.picture("images/A.JPG").labels("labels_masks/A.PNG", &[1, 0]);
    tree.picture("images/b.JPEG").labels("labels_masks/b_labels_semantic.Png", &[0]);
    let dataset = tree.open(DatasetKind::RoadAnomaly21).unwrap();
    assert_eq!(names(&dataset), [("A", true), ("b", true)]);
    assert_eq!(anomaly(&dataset, 0, 2), [1, 0]);
    let cities = Tree::new();
    cities.picture("leftImg8bit/val/ulm/ulm_0_0_leftImg8bit.PNG");
    cities.labels("gtFine/val/ulm/ulm_0_0_gtFine_labelIds.PNG", &[7]);
    assert_eq!(names(&cities.open(DatasetKind::Cityscapes).unwrap()), [("ulm/ulm_0_0", true)]);
}

#[test]
fn two_files_of_one_name_are_refused() {
    let pictures = Tree::new();
    pictures.picture("images/a.png").picture("images/a.jpg").labels("labels_masks/a.png", &[0]);
    assert_refused(
        pictures.open(DatasetKind::RoadAnomaly21),
        &["second picture \"a\"", "a.jpg", "a.png", "move"],
    );
    let labels = Tree::new();
    labels.picture("images/a.png").labels("labels_masks/a.png", &[0]);
    labels.labels("labels_masks/a_labels_semantic.png", &[1]);
    assert_refused(
        labels.open(DatasetKind::RoadAnomaly21),
        &["second label file \"a\"", "a_labels_semantic.png"],
    );
}

#[test]
fn what_has_no_counterpart_is_told() {
    let tree = Tree::new();
    tree.picture("images/a.png").picture("images/b.png").labels("labels_masks/a.png", &[0]);
    tree.labels("labels_masks/c.png", &[0]);
    let dataset = tree.open(DatasetKind::RoadAnomaly21).unwrap();
    assert_eq!(names(&dataset), [("a", true), ("b", false)]);
    let kinds: Vec<_> =
        dataset.findings().iter().map(|finding| (finding.kind, finding.path.clone())).collect();
    assert_eq!(
        kinds,
        [
            (FindingKind::WithoutLabels, tree.root().join("images/b.png")),
            (FindingKind::WithoutPicture, tree.root().join("labels_masks/c.png")),
        ]
    );
    assert!(dataset.read(&dataset.items()[1]).unwrap().anomaly.is_none());
}

#[test]
fn labels_of_another_size_are_refused_when_they_are_read() {
    let tree = Tree::new();
    tree.picture("images/a.png").labels_of_size("labels_masks/a.png", &[0], SIDE, SIDE / 2);
    let dataset = tree.open(DatasetKind::RoadAnomaly21).unwrap();
    let refusal = dataset.read(&dataset.items()[0]);
    assert_refused(
        refusal,
        &["labels_masks/a.png", "has 4x8 pixels (height x width)", "8x8, as its picture has"],
    );
    // Without the picture there is nothing to compare with.
    let labels = dataset.read_labels(&dataset.items()[0]).unwrap().unwrap();
    assert_eq!(labels.anomaly.unwrap().dim(), (4, 8));
}

#[test]
fn labels_with_a_palette_are_their_indices() {
    let tree = Tree::new();
    tree.picture("images/a.png");
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, SIDE, SIDE);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette(vec![0_u8, 0, 0, 250, 170, 30, 9, 9, 9]);
    let mut writer = encoder.write_header().unwrap();
    let indices: Vec<u8> = (0..SIDE * SIDE).map(|n| (n % 3) as u8).collect();
    writer.write_image_data(&indices).unwrap();
    writer.finish().unwrap();
    std::fs::write(tree.path("labels_masks/a.png"), bytes).unwrap();
    let dataset = tree.open(DatasetKind::RoadAnomaly21).unwrap();
    assert_eq!(anomaly(&dataset, 0, 6), [0, 1, 255, 0, 1, 255]);
}

#[test]
fn coloured_and_damaged_labels_are_refused() {
    let tree = Tree::new();
    tree.picture("images/a.png").picture("labels_masks/a.png");
    let dataset = tree.open(DatasetKind::RoadAnomaly21).unwrap();
    assert_refused(dataset.read(&dataset.items()[0]), &["labels_masks/a.png", "Rgb8", "8-bit grey PNG"]);
    let bytes = std::fs::read(tree.path("images/a.png")).unwrap();
    std::fs::write(tree.path("labels_masks/a.png"), &bytes[..40]).unwrap();
    assert_refused(dataset.read(&dataset.items()[0]), &["labels_masks/a.png"]);
}

#[cfg(unix)]
#[test]
fn links_are_followed_and_broken_ones_reported() {
    use std::os::unix::fs::symlink;
    let elsewhere = Tree::new();
    elsewhere.picture("real/ulm_0_0_leftImg8bit.png");
    let tree = Tree::new();
    std::fs::create_dir_all(tree.root().join("leftImg8bit/train")).unwrap();
    symlink(elsewhere.root().join("real"), tree.root().join("leftImg8bit/train/ulm")).unwrap();
    symlink(elsewhere.root().join("nothing"), tree.path("leftImg8bit/train/bonn/bonn_0_0_leftImg8bit.png"))
        .unwrap();
    let dataset = tree.open(DatasetKind::Cityscapes).unwrap();
    assert_eq!(names(&dataset), [("bonn/bonn_0_0", false), ("ulm/ulm_0_0", false)]);
    assert_refused(dataset.read(&dataset.items()[0]), &["bonn_0_0_leftImg8bit.png", "cannot read"]);
    assert!(dataset.read(&dataset.items()[1]).is_ok());
    // A folder that contains itself does no harm: layouts have a fixed depth.
    symlink(tree.root(), tree.root().join("leftImg8bit/train/loop")).unwrap();
    assert_eq!(tree.open(DatasetKind::Cityscapes).unwrap().items().len(), 2);
}

#[test]
fn contents_are_what_was_decoded() {
    let tree = Tree::new();
    tree.picture("images/a.png").labels("labels_masks/a.png", &[0, 1]);
    let dataset = tree.open(DatasetKind::RoadAnomaly21).unwrap();
    let before = dataset.read(&dataset.items()[0]).unwrap().content;
    let labels = dataset.read_labels(&dataset.items()[0]).unwrap().unwrap().content;
    assert_eq!((before.files(), labels.files()), (2, 1));
    tree.labels("labels_masks/a.png", &[0, 0, 1]);
    let after = dataset.read(&dataset.items()[0]).unwrap().content;
    assert!(before.files() == after.files() && before.sha256() != after.sha256());
    // The same files in another place are the same.
    let copy = Tree::new();
    copy.picture("images/a.png").labels("labels_masks/a.png", &[0, 1]);
    let dataset = copy.open(DatasetKind::RoadAnomaly21).unwrap();
    assert_eq!(dataset.read(&dataset.items()[0]).unwrap().content, before);
}
