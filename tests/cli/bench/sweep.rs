//! `--sweep` along each axis, at tiny sizes.

use serde_json::Value;

use super::{bench, number, stages};
use crate::program::Folder;

/// A sweep's report, checked for what every sweep has.
#[track_caller]
fn sweep(axis: &str, options: &[&str]) -> Value {
    let run = bench(&[&["--json", "--sweep", axis], options].concat()).succeeded();
    assert_eq!(run.stderr(), "");
    let report = run.json();
    let sweep = &report["sweep"];
    let points = sweep["points"].as_array().unwrap();
    assert_eq!(sweep["axis"], axis);
    assert!(points.iter().map(|point| number(&point["x"])).is_sorted_by(|a, b| a < b), "{sweep:#}");
    let stages = stages(&report);
    assert_eq!(stages.len() % points.len(), 0);
    let each = stages.len() / points.len();
    assert_eq!(sweep["stage"], stages[each - 1]);
    for (place, point) in points.iter().enumerate() {
        let row = &report["results"][(place + 1) * each - 1];
        assert_eq!((&point["shape"], &point["p50_us"]), (&row["shape"], &row["latency_us"]["p50"]));
        let numbers: Vec<f64> =
            point["shape"].as_str().unwrap().split('x').map(|number| number.parse().unwrap()).collect();
        let want = 1e3 * number(&point["p50_us"]) / (numbers[0] * numbers[2] * numbers[3]);
        assert!((number(&point["ns_per_pixel"]) / want - 1.0).abs() < 1e-9, "{point:#}");
    }
    assert_eq!(sweep["slope"].is_null(), points.len() < 2);
    report
}

fn places(report: &Value) -> Vec<f64> {
    report["sweep"]["points"].as_array().unwrap().iter().map(|point| number(&point["x"])).collect()
}

#[test]
fn sizes_halve_and_are_judged_by_their_cost_a_pixel() {
    let report = sweep("sizes", &["--shape", "1x5x64x128", "--from", "4"]);
    let shapes: Vec<&str> = report["sweep"]["points"]
        .as_array()
        .unwrap()
        .iter()
        .map(|point| point["shape"].as_str().unwrap())
        .collect();
    assert_eq!(shapes, ["1x5x12x24", "1x5x16x32", "1x5x24x44", "1x5x32x64", "1x5x44x92", "1x5x64x128"]);
    let points = report["sweep"]["points"].as_array().unwrap();
    let mut costs: Vec<f64> = points.iter().map(|point| number(&point["ns_per_pixel"])).collect();
    costs.sort_by(f64::total_cmp);
    for point in points {
        let deviation = number(&point["deviation"]);
        assert!((deviation - (number(&point["ns_per_pixel"]) / costs[3] - 1.0)).abs() < 1e-9);
        assert_eq!(point["reason"].is_string(), deviation.abs() > 0.15, "{point:#}");
    }
    assert!(report["sweep"]["fixed_us"].is_number() && report["sweep"]["unit_us"].is_number());
    assert!(report["results"].as_array().unwrap().iter().all(|row| row["from"] == 4));
}

#[test]
fn classes_batches_and_widths_are_what_the_axis_says() {
    let classes = sweep("classes", &["--shape", "1x7x32x64"]);
    assert_eq!(places(&classes), [2.0, 5.0, 7.0]);
    assert!(classes["sweep"]["points"].as_array().unwrap().iter().all(|point| point["deviation"].is_null()));

    let batch = sweep("batch", &["--shape", "32x64", "--batch", "3", "--stages", "standardize"]);
    assert_eq!(places(&batch), [1.0, 2.0, 3.0]);
    assert_eq!(batch["results"][2]["shape"], "3x19x32x64");
    assert!(batch["sweep"]["points"][0]["deviation"].is_number());

    let widths = sweep("widths", &["--shape", "1x5x96x96", "--stages", "suppress"]);
    assert_eq!(places(&widths), [1.0, 2.0, 4.0, 8.0, 16.0, 32.0]);
    let suppression: Vec<&str> = widths["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["suppression"].as_str().unwrap())
        .collect();
    assert_eq!(suppression, ["1,1", "2,2", "4,4", "8,4", "16,4", "32,4"]);
}

#[test]
fn threads_are_those_of_the_engine() {
    let folder = Folder::new();
    let options =
        ["bench", "--device", "cpu", "--sweep", "threads", "--shape", "1x5x32x64", "--frames", "3", "--json"];
    let mut command = folder.command(&options);
    command.env("RAYON_NUM_THREADS", "3");
    let report = crate::program::Finished::of(command, &options).succeeded().json();
    assert_eq!(places(&report), [1.0, 2.0, 3.0]);
    let threads: Vec<u64> =
        report["results"].as_array().unwrap().iter().map(|row| row["threads"].as_u64().unwrap()).collect();
    assert_eq!(threads, [1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3]);
    assert!(report["sweep"]["fixed_us"].is_null());
}

#[test]
fn the_table_tells_slope_and_evenness_and_the_files_hold_every_point() {
    let folder = Folder::new();
    let options = [
        "bench",
        "--device",
        "cpu",
        "--frames",
        "3",
        "--sweep",
        "batch",
        "--shape",
        "2x5x32x64",
        "--plot",
        "a.svg",
        "--csv",
        "a.csv",
        "--hdr",
        "a.hlog",
    ];
    let run = folder.sml(&options).succeeded();
    for word in ["sweep of batch", "images a frame", "1x5x32x64", "2x5x32x64", "slope", "cost per pixel is"] {
        assert!(run.stdout().contains(word), "{word}: {}", run.stdout());
    }
    let svg = String::from_utf8(folder.read("a.svg")).unwrap();
    assert!(svg.contains("images a frame") && svg.contains("fitted slope"), "{svg}");
    let csv = String::from_utf8(folder.read("a.csv")).unwrap();
    assert_eq!(csv.lines().count(), 1 + 2 * 4);
    let log = String::from_utf8(folder.read("a.hlog")).unwrap();
    assert!(log.contains("Tag=all@1,") && log.contains("Tag=smooth@2,"), "{log}");
}
