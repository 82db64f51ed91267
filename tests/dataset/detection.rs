//! Which dataset a folder holds when nobody says it.

use sml::dataset::{Dataset, DatasetKind, FolderLabels};

use super::{Tree, assert_refused};

#[test]
fn a_shared_layout_asks_which_dataset_it_is() {
    let tree = Tree::new();
    tree.picture("images/0.png").labels("labels_masks/0.png", &[0, 1]);
    assert_refused(
        tree.detect(),
        &["may be fishyscapes-lost-and-found, fishyscapes-static, road-anomaly,", "--dataset to tell which"],
    );
    let cities = Tree::new();
    cities.picture("leftImg8bit/val/x/x_0_0_leftImg8bit.png");
    cities.labels("gtFine/val/x/x_0_0_gtFine_labelIds.png", &[0, 1]);
    assert_refused(cities.detect(), &["may be cityscapes, fishyscapes-lost-and-found, fishyscapes-static"]);
}

#[test]
fn the_folders_own_name_decides_among_those_that_fit() {
    let tree = Tree::new();
    for (folder, kind) in [
        ("fishyscapes_static", DatasetKind::FishyscapesStatic),
        ("FS_LostAndFound", DatasetKind::FishyscapesLostAndFound),
        ("RoadAnomaly", DatasetKind::RoadAnomaly),
        ("dataset_AnomalyTrack", DatasetKind::RoadAnomaly21),
        ("road-obstacle-21", DatasetKind::RoadObstacle21),
    ] {
        tree.picture(&format!("{folder}/images/0.png")).labels(&format!("{folder}/labels_masks/0.png"), &[0]);
        let root = tree.root().join(folder);
        assert_eq!(Dataset::open(None, root, None, &FolderLabels::default()).unwrap().kind(), kind);
    }
    // A name does not make a dataset of what has another structure.
    tree.picture("road_anomaly/images/0.png").labels("road_anomaly/labels/0.png", &[0]);
    let root = tree.root().join("road_anomaly");
    assert_eq!(
        Dataset::open(None, root, None, &FolderLabels::default()).unwrap().kind(),
        DatasetKind::Folders
    );
}

#[test]
fn cityscapes_with_a_training_split_is_itself() {
    let tree = Tree::new();
    for split in ["train", "val"] {
        tree.picture(&format!("leftImg8bit/{split}/x/x_0_0_leftImg8bit.png"));
        tree.labels(&format!("gtFine/{split}/x/x_0_0_gtFine_labelIds.png"), &[7]);
    }
    let (kind, splits) = Dataset::splits(None, tree.root(), &FolderLabels::default()).unwrap();
    assert_eq!((kind, splits), (DatasetKind::Cityscapes, vec!["train".to_owned(), "val".to_owned()]));
}

#[test]
fn nothing_that_fits_is_told_with_what_is_there() {
    let tree = Tree::new();
    assert_refused(
        tree.detect(),
        &["fits no known layout (it holds nothing)", "cityscapes,", "sml dataset --help"],
    );
    tree.picture("photos/a.png");
    assert_refused(tree.detect(), &["it holds photos"]);
    assert_refused(
        tree.open(DatasetKind::Cityscapes),
        &["does not hold cityscapes (it holds photos)", "leftImg8bit/SPLIT/CITY/*_leftImg8bit.png"],
    );
    for kind in DatasetKind::ALL {
        assert_refused(tree.open(kind), &["does not hold", kind.name()]);
    }
    let file = tree.path("file");
    std::fs::write(&file, b"").unwrap();
    assert_refused(Dataset::open(None, &file, None, &FolderLabels::default()), &["is a file"]);
    let absent = tree.root().join("absent");
    assert_refused(Dataset::open(None, absent, None, &FolderLabels::default()), &["absent", "cannot read"]);
}

#[test]
fn a_split_where_there_are_none() {
    let tree = Tree::new();
    tree.picture("images/0.png").labels("labels_masks/0.png", &[0, 1]);
    assert_refused(
        tree.open_split(DatasetKind::RoadAnomaly, "val"),
        &["has no splits here", "val", "no --split"],
    );
}
