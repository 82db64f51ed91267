//! The report as JSON: its fields, what must hold between them, and that benches/NOTES.md describes each.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{SMALL, bench, number, report, stages};

#[test]
fn the_json_states_what_was_measured() {
    for (dtype, bytes) in [("f32", 4), ("f16", 2), ("bf16", 2)] {
        for layout in ["nchw", "nhwc"] {
            let form = ["--from", "4", "--dtype", dtype, "--layout", layout];
            let run = bench(&[&["--json", "--shape", "2x5x32x64"], &form[..]].concat()).succeeded();
            assert_eq!(run.stderr(), "");
            let report = run.json();
            assert_eq!(report["schema"], 1);
            assert_eq!(report["version"], env!("CARGO_PKG_VERSION"));
            assert_eq!((&report["frames"], &report["warmup"]), (&5.into(), &1.into()));
            assert_eq!(report["machine"]["device"], "cpu");
            assert!(report["machine"]["threads"].as_u64().unwrap() > 0);
            assert!(number(&report["first"]["frame_us"]) > 0.0);
            assert_eq!(stages(&report), ["standardize", "suppress", "smooth", "all"]);
            let all = &report["results"][3];
            assert_eq!((&all["shape"], &all["from"]), (&"2x5x32x64".into(), &4.into()));
            assert_eq!((&all["dtype"], &all["layout"]), (&dtype.into(), &layout.into()));
            assert_eq!(all["bytes"], 2 * (5 * 8 * 16 * bytes + 5 * 32 * 64));
        }
    }
}

#[test]
fn rates_percentages_and_samples_follow_from_the_latency() {
    let report = report(&[]);
    for row in report["results"].as_array().unwrap() {
        let close = |found: &Value, want: f64| {
            assert!((number(found) - want).abs() <= 1e-9 * want, "{found} for {want}: {row:#}");
        };
        close(&row["gb_per_s"], number(&row["bytes"]) / 1e3 / number(&row["latency_us"]["p50"]));
        for limit in ["copy", "read"] {
            let bandwidth = number(&row[format!("{limit}_gb_per_s")]);
            assert!(bandwidth > 0.0);
            close(&row[format!("{limit}_percent")], 100.0 * number(&row["gb_per_s"]) / bandwidth);
        }
        assert_eq!(row["frames"], 5);
        let samples: Vec<f64> = row["samples_us"].as_array().unwrap().iter().map(number).collect();
        let mut sorted = samples.clone();
        sorted.sort_by(f64::total_cmp);
        assert_eq!(samples.len(), 5);
        close(&row["latency_us"]["max"], sorted[4]);
        close(&row["latency_us"]["p50"], sorted[2]);
        assert!((number(&row["latency_us"]["mean"]) - samples.iter().sum::<f64>() / 5.0).abs() < 1e-6);
    }
    let (parts, all) = report["results"].as_array().unwrap().split_at(3);
    for frame in 0..5 {
        let time = |row: &Value| number(&row["samples_us"][frame]);
        assert!(parts.iter().map(time).sum::<f64>() <= time(&all[0]) + 0.01, "{report:#}");
    }
    // Of the whole frame only.
    assert_eq!(all[0]["submit_us"], all[0]["latency_us"], "on the CPU the call does the work");
    assert!(number(&all[0]["frames_per_s"]) > 0.0);
    assert!(parts.iter().all(|row| row["submit_us"].is_null() && row["frames_per_s"].is_null()));
    // Five frames in the time that passed.
    let rate = 5.0 / number(&report["measured_s"]);
    assert!((number(&all[0]["frames_per_s"]) / rate - 1.0).abs() < 1e-9);
    assert!(number(&all[0]["latency_us"]["mean"]) * 5.0 <= number(&report["measured_s"]) * 1e6);
}

#[test]
fn the_first_frame_the_options_and_the_memory_are_told() {
    let report = report(&[]);
    let first = &report["first"];
    for name in ["construction_us", "construction_again_us", "frame_us", "warmup_us"] {
        assert!(number(&first[name]) > 0.0, "{name}: {first:#}");
    }
    assert!(
        first["compile_us"].is_null() && first["kernels_compiled"].is_null(),
        "nothing is compiled on the CPU"
    );
    let options = &report["options"];
    assert_eq!((&options["stages"], &options["cache"]), (&"all".into(), &"turns".into()));
    assert_eq!((&options["batch"], &options["concurrency"]), (&1.into(), &1.into()));
    assert!(options["graph"].is_null() && options["model"].is_null() && options["duration_s"].is_null());
    assert_eq!((&report["inputs"], &report["interrupted"]), (&3.into(), &false.into()));
    if cfg!(target_os = "linux") {
        let inputs = 3 * 5 * 32 * 64 * 4;
        assert!(report["memory"]["peak_bytes"].as_u64().unwrap() > inputs, "{:#}", report["memory"]);
    }
    assert!(report["memory"]["device_bytes"].is_null());
    let date = report["machine"]["date"].as_str().unwrap();
    assert!(date.len() == 10 && date.starts_with("20"), "{date}");
}

#[test]
fn pinned_threads_are_told() {
    assert_eq!(report(&[])["machine"]["threads_pinned"], false);
    if cfg!(target_os = "linux") {
        assert_eq!(report(&["--pin-threads"])["machine"]["threads_pinned"], true);
        let table = bench(&["--pin-threads", SMALL[0], SMALL[1]]).succeeded();
        assert!(table.stdout().contains(" threads, pinned, "), "{}", table.stdout());
    }
}

/// Names of all fields of an object and of those within it.
fn fields(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                found.insert(name.clone());
                fields(value, found);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| fields(value, found)),
        _ => {}
    }
}

#[test]
fn the_notes_describe_every_field() {
    let notes = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/NOTES.md");
    let notes = std::fs::read_to_string(notes).unwrap();
    let (_, notes) = notes.split_once("## The JSON of `sml bench`").unwrap();
    let mut found = BTreeSet::new();
    fields(&report(&[]), &mut found);
    let sweep = bench(&["--json", "--sweep", "batch", "--shape", "2x5x32x64"]).succeeded();
    fields(&sweep.json(), &mut found);
    assert!(found.len() > 40, "{found:?}");
    for name in found {
        assert!(notes.contains(&format!("`{name}`")), "benches/NOTES.md says nothing of `{name}`");
    }
}
