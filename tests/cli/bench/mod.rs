//! `sml bench` at tiny sizes: what it prints and writes, and what it refuses. No time is judged here, only what must hold between
//! the numbers of one run.

mod files;
mod json;
mod options;
mod refusals;
mod stopping;
mod sweep;
#[cfg(feature = "torch")]
mod whole_frames;

use serde_json::Value;

use crate::program::{Finished, Folder};

/// Few frames, on the CPU.
const QUICK: [&str; 6] = ["--frames", "5", "--warmup", "1", "--device", "cpu"];

/// A small frame.
const SMALL: [&str; 2] = ["--shape", "1x5x32x64"];

fn bench(options: &[&str]) -> Finished {
    Folder::new().sml(&[&["bench"], &QUICK[..], options].concat())
}

/// The report of a small frame with these options.
#[track_caller]
fn report(options: &[&str]) -> Value {
    let run = bench(&[&["--json"], &SMALL[..], options].concat()).succeeded();
    assert_eq!(run.stderr(), "");
    run.json()
}

/// The stages of the results, each with percentiles in order.
fn stages(report: &Value) -> Vec<&str> {
    let results = report["results"].as_array().unwrap();
    for result in results {
        let of = |name: &str| result["latency_us"][name].as_f64().unwrap();
        let rising = ["p50", "p90", "p99", "p999", "max"].map(of);
        assert!(rising[0] >= 0.0 && rising.is_sorted(), "{result:#}");
        assert!(of("mean") <= of("max") && of("stddev") <= of("max"), "{result:#}");
    }
    results.iter().map(|result| result["stage"].as_str().unwrap()).collect()
}

#[track_caller]
fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn the_table_names_machine_shape_stages_and_bandwidth() {
    let run = bench(&SMALL).succeeded();
    let table = run.stdout();
    let words = [
        "on cpu",
        "threads",
        "logits 1x5x32x64 f32 nchw -> 32x64",
        "5 frames after the first and 1",
        "3 inputs take turns",
        "construction",
        "once more",
        "warm-up",
        "p99.9",
        "images/s; the call returns when the result is complete",
        "GB/s",
        "% of copying memory",
        "% of reading it",
    ];
    for word in words {
        assert!(table.contains(word), "{word}: {table}");
    }
    if cfg!(target_os = "linux") {
        assert!(table.contains("host memory") && table.contains("inputs included"), "{table}");
    }
    let rows: Vec<&str> = table.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let at = rows.iter().position(|&first| first == "standardize").unwrap();
    assert_eq!(rows[at..at + 4], ["standardize", "suppress", "smooth", "all"]);
    let all = table.lines().find(|line| line.starts_with("all ")).unwrap();
    assert!(all.ends_with("100.00 %"), "{all}");
}

#[test]
fn help_tells_the_options_and_examples() {
    let help = Folder::new().sml(&["bench", "--help"]).succeeded();
    let options = [
        "--shape",
        "--batch",
        "--from",
        "--dtype",
        "--layout",
        "--stages",
        "--graph",
        "--cold",
        "--hot",
        "--concurrency",
        "--sweep",
        "--frames",
        "--duration",
        "--warmup",
        "--json",
        "--csv",
        "--plot",
        "--hdr",
        "--device",
        "Examples:",
        "130",
    ];
    for word in options {
        assert!(help.stdout().contains(word), "{word}: {}", help.stdout());
    }
}
