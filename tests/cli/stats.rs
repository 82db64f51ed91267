//! `sml stats`: show, import and merge.

use ndarray::Array4;
use sml::{ClassStatistics, Provenance, StatisticsAccumulator};

use crate::arrays::{npy, random_logits};
use crate::data;
use crate::program::Folder;

fn vector(values: &[f64]) -> Vec<u8> {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    npy("<f8", &[values.len()], &bytes)
}

#[test]
fn show_prints_a_table() {
    let folder = Folder::new();
    folder.write(
        "stats.json",
        r#"{"mean": [9.5, null], "variance": [4, null], "count": [1234, 0],
            "provenance": {"images": 7, "model": "net", "class_names": ["road", "zebra"]}}"#,
    );
    let run = folder.sml(&["stats", "show", "stats.json"]).succeeded();
    assert_eq!(run.stderr(), "");
    let lines: Vec<Vec<&str>> = run.stdout().lines().map(|line| line.split_whitespace().collect()).collect();
    let has = |words: &[&str]| lines.iter().any(|line| line == words);
    assert!(has(&["id", "class", "pixels", "mean", "variance", "deviation"]), "{}", run.stdout());
    assert!(has(&["0", "road", "1234", "9.5000", "4.0000", "2.0000"]), "{}", run.stdout());
    assert!(has(&["1", "zebra", "0", "-", "-", "-", "without", "statistics"]), "{}", run.stdout());
    assert!(has(&["images:", "7"]) && has(&["model:", "net"]), "{}", run.stdout());
}

#[test]
fn the_smallest_statistics_are_accepted_and_shown_as_json() {
    let folder = Folder::new();
    for text in [
        r#"{"mean": [1, 2], "variance": [3, 4], "count": [5, 6]}"#,
        r#"{"mean": [1, 2], "variance": [3, 4]}"#,
        r#"{"mean": [1, 2], "variance": [3, 4], "a field of others": {"deep": [1]}}"#,
    ] {
        folder.write("stats.json", text);
        let run = folder.sml(&["stats", "show", "--json", "stats.json"]).succeeded();
        let again = ClassStatistics::from_json(run.stdout()).unwrap();
        assert_eq!(again, ClassStatistics::from_json(text).unwrap());
        assert_eq!(run.json()["mean"], serde_json::json!([1.0, 2.0]));
    }
}

#[test]
fn import_takes_plain_vectors() {
    let folder = Folder::new();
    folder.write("mean.npy", vector(&[1.5, f64::NAN, -2.25]));
    folder.write("var.npy", vector(&[0.5, f64::NAN, 4.0]));
    let run = folder.sml(&["stats", "import", "mean.npy", "var.npy", "-o", "stats.json"]).succeeded();
    assert_eq!(run.stdout(), "");
    run.assert_told(&["3 classes -> stats.json"]);
    let stats = folder.read_json("stats.json");
    assert_eq!(stats["mean"], serde_json::json!([1.5, null, -2.25]));
    assert_eq!(stats["variance"], serde_json::json!([0.5, null, 4.0]));
    assert_eq!(stats["provenance"]["sources"], serde_json::json!(["mean.npy", "var.npy"]));
}

#[test]
fn import_takes_the_official_files() {
    let Some(official) = data::path("golden/official_statistics") else { return };
    let folder = Folder::new();
    let [mean, variance] =
        ["cityscapes_mean.npy", "cityscapes_var.npy"].map(|name| official.join(name).display().to_string());
    folder.sml(&["stats", "import", &mean, &variance, "-o", "stats.json"]).succeeded();
    let stats = ClassStatistics::read(folder.path("stats.json")).unwrap();
    assert_eq!(stats.classes().len(), 19);
    assert!(stats.classes_without_statistics().is_empty());
    let direct = |path: &str| sml::files::read_class_vector(path.as_ref()).unwrap();
    let column = |of: fn(&sml::ClassMoments) -> Option<f64>| -> Vec<f64> {
        stats.classes().iter().map(|moments| of(moments).unwrap()).collect()
    };
    assert_eq!(column(|moments| moments.mean), direct(&mean));
    assert_eq!(column(|moments| moments.variance), direct(&variance));
}

#[test]
fn import_refuses_vectors_that_do_not_fit() {
    let folder = Folder::new();
    folder.write("mean.npy", vector(&[1.0, 2.0]));
    folder.write("var.npy", vector(&[1.0, 2.0, 3.0]));
    folder.write("negative.npy", vector(&[1.0, -1.0]));
    folder.write("plane.npy", npy("<f8", &[2, 2], &[0; 32]));
    folder.write("cut.npy", &vector(&[1.0, 2.0])[..90]);
    let before = folder.names("");
    let import =
        |mean: &str, variance: &str| folder.sml(&["stats", "import", mean, variance, "-o", "s.json"]);
    import("mean.npy", "var.npy").failed(&["var.npy", "3 numbers", "mean holds 2"]);
    import("mean.npy", "negative.npy").failed(&["negative.npy", "variance of class 1 is -1"]);
    import("mean.npy", "plane.npy").failed(&["plane.npy", "expected"]);
    import("cut.npy", "mean.npy").failed(&["cut.npy", "expected"]);
    import("absent.npy", "mean.npy").failed(&["absent.npy", "cannot read"]);
    assert_eq!(folder.names(""), before);
}

/// What a calibration on these values gives.
fn measured(images: &[Array4<f32>]) -> ClassStatistics {
    let mut accumulator = StatisticsAccumulator::new(3);
    for image in images {
        let values: Vec<f32> = image.iter().copied().collect();
        let classes: Vec<u8> = (0..values.len()).map(|i| (i % 3) as u8).collect();
        accumulator.add(&values, &classes).unwrap();
    }
    accumulator.finish(Provenance { images: Some(images.len() as u64), ..Provenance::default() })
}

#[test]
fn merged_parts_equal_the_whole() {
    let folder = Folder::new();
    let images: Vec<_> = (0..5).map(|seed| random_logits::<f32>(seed, [1, 3, 6, 7])).collect();
    for (name, part) in [("a.json", &images[..1]), ("b.json", &images[1..3]), ("c.json", &images[3..])] {
        folder.write(name, measured(part).to_json());
    }
    folder.sml(&["stats", "merge", "a.json", "b.json", "c.json", "-o", "all.json"]).succeeded();
    let merged = ClassStatistics::read(folder.path("all.json")).unwrap();
    let whole = measured(&images);
    assert_eq!(merged.provenance().images, Some(5));
    for (merged, whole) in merged.classes().iter().zip(whole.classes()) {
        assert_eq!(merged.count, whole.count);
        let close = |a: Option<f64>, b: Option<f64>| (a.unwrap() - b.unwrap()).abs() < 1e-12;
        assert!(close(merged.mean, whole.mean) && close(merged.variance, whole.variance));
    }
}

#[test]
fn merge_refuses_statistics_that_do_not_belong_together() {
    let folder = Folder::new();
    folder.write("two.json", r#"{"mean": [1, 2], "variance": [3, 4], "count": [5, 6]}"#);
    folder.write("one.json", r#"{"mean": [1], "variance": [3], "count": [5]}"#);
    folder.write("uncounted.json", r#"{"mean": [1, 2], "variance": [3, 4]}"#);
    folder.write("broken.json", "{");
    let before = folder.names("");
    let merge = |other: &str| folder.sml(&["stats", "merge", "two.json", other, "-o", "all.json"]);
    merge("one.json").failed(&["one.json", "1 classes", "2", "expected statistics of the same classes"]);
    merge("uncounted.json").failed(&["uncounted.json", "class 0 has no count"]);
    merge("broken.json").failed(&["broken.json", "expected JSON"]);
    merge("absent.json").failed(&["absent.json", "cannot read"]);
    folder.sml(&["stats", "merge", "two.json", "-o", "all.json"]).misused(&["2 values required"]);
    assert_eq!(folder.names(""), before);
}

#[test]
fn statistics_are_replaced_only_by_whole_ones() {
    let folder = Folder::new();
    folder.write("mean.npy", vector(&[1.0]));
    folder.write("stats.json", "older");
    folder.sml(&["stats", "import", "mean.npy", "absent.npy", "-o", "stats.json"]).failed(&["absent.npy"]);
    assert_eq!(folder.read("stats.json"), b"older");
    folder
        .sml(&["stats", "import", "mean.npy", "mean.npy", "-o", "no/folder.json"])
        .failed(&["no/folder.json"]);
    assert!(!folder.path("no").exists());
}
