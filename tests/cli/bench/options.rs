//! Options that change what is measured or how.

use super::{bench, number, report, stages};
use crate::program::Folder;

#[test]
fn a_single_stage_is_reported_alone() {
    let pixels = 32 * 64;
    let expected = [
        ("standardize", 5 * pixels * 4 + 5 * pixels, "none"),
        ("suppress", 9 * pixels, "4,4"),
        ("smooth", 8 * pixels, "4,4"),
    ];
    for (stage, bytes, suppression) in expected {
        let report = report(&["--stages", stage]);
        assert_eq!(stages(&report), [stage]);
        let row = &report["results"][0];
        assert_eq!((&row["bytes"], &row["suppression"]), (&bytes.into(), &suppression.into()));
        assert_eq!(report["options"]["stages"], stage);
        assert!(row["frames_per_s"].is_null() && row["submit_us"].is_null());
    }
    let table = bench(&["--shape", "1x5x32x64", "--stages", "smooth"]).succeeded();
    assert!(!table.stdout().contains("share") && !table.stdout().contains("images/s"), "{}", table.stdout());
}

#[test]
fn cold_frames_have_flushed_caches_between_them_and_hot_ones_have_one_input() {
    let cold = report(&["--cold"]);
    assert_eq!((&cold["options"]["cache"], &cold["inputs"]), (&"cold".into(), &3.into()));
    assert!(cold["results"][3]["frames_per_s"].is_null(), "the flushes lie in the time that passed");
    let frames = number(&cold["results"][3]["latency_us"]["mean"]) * 5.0;
    assert!(frames < number(&cold["measured_s"]) * 1e6, "flushing takes no time: {cold:#}");

    let hot = report(&["--hot"]);
    assert_eq!((&hot["options"]["cache"], &hot["inputs"]), (&"hot".into(), &1.into()));
    assert!(number(&hot["results"][3]["frames_per_s"]) > 0.0);
    let told = bench(&["--shape", "1x5x32x64", "--hot"]).succeeded();
    assert!(told.stdout().contains("one input again and again"), "{}", told.stdout());
}

#[test]
fn a_batch_counts_its_images() {
    let report = report(&["--batch", "1"]);
    assert_eq!(report["results"][3]["shape"], "1x5x32x64");
    let run = bench(&["--json", "--shape", "32x64", "--batch", "3"]).succeeded();
    let report = run.json();
    let all = &report["results"][3];
    assert_eq!((&all["shape"], &report["options"]["batch"]), (&"3x19x32x64".into(), &3.into()));
    assert_eq!(all["bytes"], 3 * 32 * 64 * (19 * 4 + 5));
    let rate = 3.0 * 5.0 / number(&report["measured_s"]);
    assert!((number(&all["frames_per_s"]) / rate - 1.0).abs() < 1e-9, "images, not batches, a second");
}

#[test]
fn a_duration_is_measured_instead_of_frames() {
    let options = ["bench", "--device", "cpu", "--shape", "1x5x32x64", "--duration", "300ms", "--json"];
    let report = Folder::new().sml(&options).succeeded().json();
    assert_eq!(report["options"]["duration_s"], 0.3);
    assert!(number(&report["measured_s"]) >= 0.3);
    let frames = report["frames"].as_u64().unwrap();
    assert!(frames >= 1);
    for row in report["results"].as_array().unwrap() {
        assert_eq!(row["frames"], frames);
        assert_eq!(row["samples_us"].as_array().unwrap().len() as u64, frames.min(10_000));
    }
}

#[test]
fn engines_side_by_side_measure_their_own_frames() {
    let report = report(&["--concurrency", "3"]);
    assert_eq!((&report["frames"], &report["options"]["concurrency"]), (&15.into(), &3.into()));
    assert_eq!(stages(&report), ["standardize", "suppress", "smooth", "all"]);
    let all = &report["results"][3];
    assert_eq!(all["samples_us"].as_array().unwrap().len(), 15);
    let rate = 15.0 / number(&report["measured_s"]);
    assert!((number(&all["frames_per_s"]) / rate - 1.0).abs() < 1e-9);
    let told = bench(&["--shape", "1x5x32x64", "--concurrency", "2"]).succeeded();
    assert!(told.stdout().contains("2 engines side by side"), "{}", told.stdout());
}
