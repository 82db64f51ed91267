//! The small pieces of real datasets that lie beside the repository.

use sml::dataset::{Dataset, DatasetKind, FolderLabels};

use super::data;

/// Pixels of each anomaly label: unexpected, normal, ignored.
fn counts(dataset: &Dataset) -> [u64; 3] {
    let mut counts = [0; 3];
    for item in dataset.items() {
        let sample = dataset.read(item).unwrap();
        assert_eq!(sample.undefined_labels, 0, "{}", item.name);
        for label in sample.anomaly.unwrap() {
            counts[match label {
                1 => 0,
                0 => 1,
                _ => 2,
            }] += 1;
        }
    }
    counts
}

#[test]
fn pieces_of_five_datasets_are_detected_and_read() {
    for (folder, kind, pictures, ignores) in [
        ("fishyscapes_lost_and_found", DatasetKind::FishyscapesLostAndFound, 4, true),
        ("fishyscapes_static", DatasetKind::FishyscapesStatic, 6, true),
        ("road_anomaly", DatasetKind::RoadAnomaly, 6, false),
        ("road_anomaly21", DatasetKind::RoadAnomaly21, 2, true),
        ("road_obstacle21", DatasetKind::RoadObstacle21, 2, true),
    ] {
        let Some(root) = data::path(format!("images/{folder}")) else { return };
        let dataset = Dataset::open(None, &root, None, &FolderLabels::default()).unwrap();
        assert_eq!(dataset.kind(), kind);
        assert_eq!(dataset.items().len(), pictures);
        assert!(dataset.items().iter().all(|item| item.labels.is_some()), "{folder}");
        let [unexpected, normal, ignored] = counts(&dataset);
        assert!(
            unexpected > 1000 && normal > 100_000 && (ignored > 0) == ignores,
            "{folder}: {unexpected} {normal} {ignored}"
        );
    }
}

#[test]
fn a_wrong_dataset_shows_in_values_that_it_does_not_define() {
    let Some(root) = data::path("images/road_anomaly") else { return };
    let wrong = Some(DatasetKind::FishyscapesStatic);
    let dataset = Dataset::open(wrong, &root, None, &FolderLabels::default()).unwrap();
    let sample = dataset.read(&dataset.items()[0]).unwrap();
    assert!(sample.undefined_labels > 0 && sample.anomaly.unwrap().iter().all(|&label| label != 1));
}
