//! A tiny tree of each layout: which pictures it holds, which labels belong to them, and what their values mean.

use sml::dataset::{Dataset, DatasetKind, FindingKind, FolderLabels, Shard};

use super::{Tree, anomaly, assert_refused, names};

/// Cityscapes in the official form or the short one.
fn cityscapes(long: bool) -> Tree {
    let tree = Tree::new();
    let (images, labels) = match long {
        true => ("leftImg8bit_trainvaltest/leftImg8bit", "gtFine_trainvaltest/gtFine"),
        false => ("leftImg8bit", "gtFine"),
    };
    for (split, city, frame) in [
        ("train", "aachen", "aachen_000001_000019"),
        ("train", "aachen", "aachen_000000_000019"),
        ("train", "zurich", "zurich_000000_000019"),
        ("val", "frankfurt", "frankfurt_000001_058914"),
        ("test", "berlin", "berlin_000000_000019"),
    ] {
        tree.picture(&format!("{images}/{split}/{city}/{frame}_leftImg8bit.png"));
        for companion in ["color", "instanceIds", "labelTrainIds"] {
            tree.labels(&format!("{labels}/{split}/{city}/{frame}_gtFine_{companion}.png"), &[3]);
        }
        tree.labels(
            &format!("{labels}/{split}/{city}/{frame}_gtFine_labelIds.png"),
            &[7, 8, 33, 0, 34, 255, 31, 6, 11],
        );
    }
    tree
}

#[test]
fn cityscapes_in_both_forms() {
    for long in [true, false] {
        let tree = cityscapes(long);
        let train = tree.open_split(DatasetKind::Cityscapes, "train").unwrap();
        let expected =
            ["aachen/aachen_000000_000019", "aachen/aachen_000001_000019", "zurich/zurich_000000_000019"];
        assert_eq!(names(&train), expected.map(|name| (name, true)));
        assert_eq!((train.name(), train.split()), ("cityscapes", Some("train")));
        let sample = train.read(&train.items()[0]).unwrap();
        assert!(sample.anomaly.is_none() && train.has_train_ids());
        let train_ids: Vec<u8> = sample.train_ids.unwrap().iter().copied().take(9).collect();
        assert_eq!(train_ids, [0, 1, 18, 255, 255, 255, 16, 255, 2]);
        // 34 and 255 are no label ids.
        assert_eq!((sample.undefined_labels, sample.content.files()), (2, 2));
        for (split, count) in [("val", 1), ("test", 1)] {
            assert_eq!(tree.open_split(DatasetKind::Cityscapes, split).unwrap().items().len(), count);
        }
        assert_refused(tree.open(DatasetKind::Cityscapes), &["holds the splits test, train, val", "--split"]);
        assert_refused(
            tree.open_split(DatasetKind::Cityscapes, "trian"),
            &["no split trian", "test, train, val"],
        );
    }
}

#[test]
fn cityscapes_without_labels_is_still_pictures() {
    let tree = Tree::new();
    tree.picture("leftImg8bit/train/ulm/ulm_000000_000019_leftImg8bit.png");
    let dataset = tree.open(DatasetKind::Cityscapes).unwrap();
    assert_eq!(names(&dataset), [("ulm/ulm_000000_000019", false)]);
    // The count is not that of the official copy, and the labels are missed.
    let kinds: Vec<FindingKind> = dataset.findings().iter().map(|finding| finding.kind).collect();
    assert_eq!(kinds, [FindingKind::Count, FindingKind::Missing]);
    assert!(dataset.findings()[1].path.ends_with("gtFine"), "{}", dataset.findings()[1]);
    std::fs::create_dir_all(tree.root().join("gtFine/val")).unwrap();
    let dataset = tree.open(DatasetKind::Cityscapes).unwrap();
    let missing = dataset.findings().iter().filter(|finding| finding.kind == FindingKind::Missing);
    assert_eq!(missing.count(), 1, "one finding for a whole split without labels");
}

#[test]
fn fishyscapes_in_the_original_projects_form() {
    let tree = Tree::new();
    for frame in ["a_000000_000001", "b_000000_000002"] {
        tree.picture(&format!("leftImg8bit_trainvaltest/leftImg8bit/val/city/{frame}_leftImg8bit.png"));
        let labels = format!("gtFine_trainvaltest/gtFine/val/city/{frame}_gtFine_labelIds.png");
        tree.labels(&labels, &[1, 0, 255, 7, 1]);
    }
    for kind in [DatasetKind::FishyscapesLostAndFound, DatasetKind::FishyscapesStatic] {
        let dataset = tree.open(kind).unwrap();
        assert_eq!(dataset.split(), Some("val"));
        assert_eq!(names(&dataset), [("city/a_000000_000001", true), ("city/b_000000_000002", true)]);
        assert_eq!(anomaly(&dataset, 1, 5), [1, 0, 255, 255, 1]);
        assert!(!dataset.has_train_ids());
    }
}

#[test]
fn fishyscapes_as_published_beside_lost_and_found() {
    let frames = ["04_Maurener_Weg_8_000001_000190", "15_Rechbergstr_Deckenpfronn_000002_000050"];
    for gathered in [false, true] {
        let tree = Tree::new();
        for (number, (split, frame)) in ["train", "test"].iter().zip(frames).enumerate() {
            let scene = &frame[..frame.len() - 14];
            match gathered {
                true => tree.picture(&format!("laf_images/{frame}_leftImg8bit.png")),
                false => tree.picture(&format!("leftImg8bit/{split}/{scene}/{frame}_leftImg8bit.png")),
            };
            tree.labels(&format!("fishyscapes_lostandfound/{number:04}_{frame}_labels.png"), &[0, 1, 255]);
        }
        tree.labels("fishyscapes_lostandfound/0007_99_Nowhere_000000_000000_labels.png", &[0]);
        let dataset = tree.detect().unwrap();
        assert_eq!(dataset.kind(), DatasetKind::FishyscapesLostAndFound);
        assert_eq!(names(&dataset), frames.map(|frame| (frame, true)));
        assert_eq!(anomaly(&dataset, 0, 3), [0, 1, 255]);
        let orphans = dataset.findings().iter().filter(|f| f.kind == FindingKind::WithoutPicture);
        assert!(orphans.map(ToString::to_string).eq([format!(
            "{} has no picture 99_Nowhere_000000_000000_leftImg8bit.png of Lost and Found",
            tree.root().join("fishyscapes_lostandfound/0007_99_Nowhere_000000_000000_labels.png").display()
        )]));
    }
}

#[test]
fn lost_and_found_by_its_table_of_labels() {
    let tree = Tree::new();
    for (split, frame) in
        [("train", "01_Hanns_Klemm_Str_45_000000_000080"), ("test", "02_Other_000000_000010")]
    {
        let scene = &frame[..frame.len() - 14];
        tree.picture(&format!("leftImg8bit/{split}/{scene}/{frame}_leftImg8bit.png"));
        for companion in ["color", "instanceIds", "labelTrainIds"] {
            tree.labels(&format!("gtCoarse/{split}/{scene}/{frame}_gtCoarse_{companion}.png"), &[1]);
        }
        let labels = format!("gtCoarse/{split}/{scene}/{frame}_gtCoarse_labelIds.png");
        tree.labels(&labels, &[0, 1, 2, 31, 43, 44, 200, 201, 255]);
    }
    let dataset = tree.detect().unwrap();
    assert_eq!((dataset.kind(), dataset.split()), (DatasetKind::LostAndFound, Some("test")));
    assert_eq!(names(&dataset), [("02_Other/02_Other_000000_000010", true)]);
    assert_eq!(anomaly(&dataset, 0, 9), [255, 0, 1, 1, 1, 1, 1, 255, 255]);
    let sample = dataset.read(&dataset.items()[0]).unwrap();
    assert_eq!(sample.undefined_labels, 3, "44, 200 and 201 are not in the table");
    assert_eq!(tree.open_split(DatasetKind::LostAndFound, "train").unwrap().items().len(), 1);
}

#[test]
fn road_anomaly_in_both_forms() {
    let tree = Tree::new();
    for (name, extension) in [("animals01", "webp"), ("rocks", "jpg")] {
        tree.picture(&format!("frames/{name}.{extension}"));
        tree.labels(&format!("frames/{name}.labels/labels_semantic.png"), &[0, 2, 1, 255]);
        tree.labels(&format!("frames/{name}.labels/labels_instance.png"), &[5]);
    }
    std::fs::write(tree.path("frame_list.json"), r#"["animals01.webp", "rocks.webp", "zebra.webp"]"#)
        .unwrap();
    let dataset = tree.detect().unwrap();
    assert_eq!((dataset.kind(), dataset.split()), (DatasetKind::RoadAnomaly, None));
    assert_eq!(names(&dataset), [("animals01", true), ("rocks", true)]);
    assert_eq!(anomaly(&dataset, 0, 4), [0, 1, 255, 255]);
    let missing: Vec<_> = dataset.findings().iter().filter(|f| f.kind == FindingKind::Missing).collect();
    assert!(missing.len() == 1 && missing[0].path.ends_with("frames/zebra.webp"), "{missing:?}");

    let paired = Tree::new();
    paired.picture("images/0.jpg").labels("labels_masks/0.png", &[2, 0]);
    let dataset = paired.open(DatasetKind::RoadAnomaly).unwrap();
    assert_eq!(anomaly(&dataset, 0, 2), [1, 0]);
}

#[test]
fn segment_me_if_you_can_with_its_splits() {
    for (kind, extension) in [(DatasetKind::RoadAnomaly21, "jpg"), (DatasetKind::RoadObstacle21, "webp")] {
        let tree = Tree::new();
        for name in ["validation0001", "validation0000", "airplane0000"] {
            tree.picture(&format!("images/{name}.{extension}"));
        }
        for name in ["validation0000", "validation0001"] {
            tree.labels(&format!("labels_masks/{name}_labels_semantic.png"), &[0, 1, 255]);
            tree.labels(&format!("labels_masks/{name}_labels_semantic_color.png"), &[9]);
        }
        let dataset = tree.detect().unwrap();
        assert_eq!((dataset.kind(), dataset.split()), (kind, Some("validation")));
        assert_eq!(names(&dataset), [("validation0000", true), ("validation0001", true)]);
        assert_eq!(anomaly(&dataset, 0, 3), [0, 1, 255]);
        let all = tree.open_split(kind, "all").unwrap();
        assert_eq!(
            names(&all),
            [("airplane0000", false), ("validation0000", true), ("validation0001", true)]
        );
        assert!(all.findings().is_empty(), "the labels of the test pictures are not public");
        assert_eq!(names(&tree.open_split(kind, "test").unwrap()), [("airplane0000", false)]);
    }
}

#[test]
fn street_hazards_with_its_towns() {
    let tree = Tree::new();
    for (archive, split, town) in [
        ("train", "training", "t1-3"),
        ("train", "validation", "t4"),
        ("test", "test", "t5"),
        ("test", "test", "t6"),
    ] {
        tree.picture(&format!("{archive}/images/{split}/{town}/300.png"));
        tree.labels(&format!("{archive}/annotations/{split}/{town}/300.png"), &[14, 1, 13, 0, 15]);
    }
    let dataset = tree.detect().unwrap();
    assert_eq!((dataset.kind(), dataset.split()), (DatasetKind::StreetHazards, Some("test")));
    assert_eq!(names(&dataset), [("t5/300", true), ("t6/300", true)]);
    assert_eq!(anomaly(&dataset, 0, 5), [1, 0, 0, 255, 255]);
    for (split, name) in [("train", "t1-3/300"), ("validation", "t4/300")] {
        assert_eq!(names(&tree.open_split(DatasetKind::StreetHazards, split).unwrap()), [(name, true)]);
    }
}

#[test]
fn any_two_folders_with_any_values() {
    let tree = Tree::new();
    tree.picture("rgb/x.png").labels("truth/x.png", &[9, 8, 4, 0, 1]);
    let folders = FolderLabels {
        images: "rgb".into(),
        labels: "truth".into(),
        anomaly: vec![9, 8],
        normal: vec![4],
        ignore: Vec::new(),
    };
    let open = |folders: &FolderLabels| Dataset::open(Some(DatasetKind::Folders), tree.root(), None, folders);
    let dataset = open(&folders).unwrap();
    assert_eq!(anomaly(&dataset, 0, 5), [1, 1, 0, 255, 255]);
    assert_eq!(dataset.read(&dataset.items()[0]).unwrap().undefined_labels, 0, "all others are ignored");
    let strict = open(&FolderLabels { ignore: vec![0], ..folders.clone() }).unwrap();
    let undefined = strict.read(&strict.items()[0]).unwrap().undefined_labels;
    assert_eq!(undefined, 60, "1 and the rest of the map");

    assert_refused(open(&FolderLabels { normal: vec![9], ..folders.clone() }), &["9 twice"]);
    assert_refused(open(&FolderLabels { normal: vec![], anomaly: vec![], ..folders.clone() }), &["none"]);
    let elsewhere = FolderLabels { images: "photos".into(), ..folders };
    assert_refused(open(&elsewhere), &["does not hold folders", "rgb, truth", "photos/", "--image-folder"]);
}

#[test]
fn shards_are_disjoint_and_complete() {
    let tree = Tree::new();
    for n in 0..10 {
        tree.picture(&format!("images/{n}.png"));
    }
    let whole = tree.open(DatasetKind::Folders).unwrap();
    for count in [1, 3, 10, 12] {
        let mut seen: Vec<String> = Vec::new();
        for index in 1..=count {
            let shard = Shard::new(index, count).unwrap();
            let part = whole.clone().shard(shard);
            assert_eq!(part.part(), Some(shard));
            assert!(part.items().len().abs_diff(10 / count) <= 1);
            seen.extend(part.items().iter().map(|item| item.name.clone()));
        }
        seen.sort();
        assert_eq!(seen, whole.items().iter().map(|item| item.name.clone()).collect::<Vec<_>>());
    }
}
