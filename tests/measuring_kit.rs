//! What measurements rest on and neither GPU nor peers are needed to check: that engine and peers draw the same frame, and that
//! README.md shows what was measured.
#![allow(clippy::unwrap_used, reason = "clippy's exception covers test functions only")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use sml::{Size, drawn_logits};

/// The table's program on a repository of its own, or on this one.
fn results_table(repository: &Path, arguments: &[&str]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/results_table.py");
    let mut command = Command::new("python3");
    command.arg(script).arg("--repository").arg(repository).args(arguments).output().unwrap()
}

fn expect_success(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn expect_error(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn result(version: &str, dtype: &str, from: u32, p50: f64) -> Value {
    json!({
        "version": version, "stage": "all", "shape": "1x19x1024x2048", "dtype": dtype, "from": from, "layout": "nchw",
        "cache": "cold", "graph": false, "frames": 100,
        "latency_us": { "p50": p50, "p90": p50, "p99": p50, "p999": 1.5 * p50, "max": p50, "mean": p50, "stddev": 0.0 },
        "bytes": 90_000_000, "gb_per_s": 90_000.0 / p50, "copy_gb_per_s": 4000.0, "read_gb_per_s": 3000.0,
    })
}

fn results_file(folder: &Path, name: &str, gpu: &str, results: &[Value]) -> String {
    let machine =
        json!({ "gpu": gpu, "driver": "1.2", "torch": "2.11.0", "date": "2026-01-31T12:00:00+00:00" });
    let path = folder.join(name);
    fs::write(&path, json!({ "schema": 1, "machine": machine, "results": results }).to_string()).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn the_frame_is_the_one_that_its_twin_draws() {
    let drawn = drawn_logits::scene(1, 3, Size::new(16, 24));
    assert_eq!(drawn_logits::digest(&drawn), drawn_logits::DIGEST);
    let twin = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/frame.py");
    let twin = fs::read_to_string(twin).unwrap();
    let digest = format!("DIGEST = 0x{:016X}", drawn_logits::DIGEST);
    assert!(
        twin.lines().any(|line| line == digest),
        "benches/peers/frame.py has another digest than {digest}"
    );
}

#[test]
fn the_readme_shows_the_newest_results() {
    expect_success(&results_table(Path::new(env!("CARGO_MANIFEST_DIR")), &["check"]));
}

#[test]
fn results_become_the_table_and_a_changed_table_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let readme = root.join("README.md");
    let original = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    fs::write(&readme, &original).unwrap();

    let mut graph = result("sml", "f16", 1, 40.0);
    graph["graph"] = json!(true);
    let ours = [result("sml", "f16", 1, 44.0), graph, result("sml", "f16", 4, 20.0)];
    let peers = [result("official eager", "f16", 1, 4000.0), result("careful compiled", "f16", 1, 400.0)];
    let ours = results_file(root, "ours.json", "NVIDIA Test 5", &ours);
    let peers = results_file(root, "peers.json", "NVIDIA Test 5", &peers);
    let merged = root.join("merged.json").to_str().unwrap().to_owned();
    expect_success(&results_table(root, &["merge", &ours, &peers, "-o", &merged]));
    expect_success(&results_table(root, &["keep", &merged]));
    assert!(root.join("benches/results/test-5-2026-01-31.json").is_file());

    assert!(expect_error(&results_table(root, &["check"])).contains("results_table.py write"));
    expect_success(&results_table(root, &["write"]));
    expect_success(&results_table(root, &["check"]));
    let written = fs::read_to_string(&readme).unwrap();
    let row = "| f16, full resolution | 1x19x1024x2048 | 40.0 µs | 60.0 µs | 2250 GB/s, 56 % | 4000 µs, 100.0 x \
               | not measured | 400 µs, 10.0 x |";
    assert!(written.contains(row), "{written}");
    assert!(written.contains("| f16, 1/4 resolution | 1x19x1024x2048 | 20.0 µs |"), "{written}");
    assert!(written.starts_with(original.split("<!--").next().unwrap()), "the rest is as it was");

    fs::write(&readme, written.replace("40.0 µs", "39.0 µs")).unwrap();
    expect_error(&results_table(root, &["check"]));
}

/// As `sml bench --peers --json` prints it.
fn cpu_results(different: &[Value], interrupted: bool) -> Value {
    let row = |version: &str, from: u32, p50: f64, ratio: Option<f64>| {
        let mut row = json!({
            "version": version, "stage": "all", "shape": "1x19x1024x2048", "dtype": "f32", "from": from,
            "latency_us": { "p50": p50, "p90": p50 },
        });
        if let Some(ratio) = ratio {
            row["beside_sml"] = json!({
                "turns": 9, "ratio": { "median": ratio, "p10": ratio * 0.9, "p90": ratio * 1.1, "least": 0.0, "most": 0.0 },
            });
        }
        row
    };
    let machine = json!({
        "cpu": "Test(R) CPU 7 @ 2.0GHz", "threads": 2, "threads_pinned": true, "instruction_set": "avx2", "load_average": 0.25, "date": "2026-01-31",
        "device": "cpu", "gpu": null,
    });
    let results = [
        row("sml", 1, 10_000.0, None),
        row("read", 1, 5_000.0, Some(0.5)),
        row("official eager", 1, 400_000.0, Some(40.0)),
        row("sml", 4, 8_000.0, None),
        row("read", 4, 300.0, Some(0.04)),
    ];
    json!({
        "schema": 1, "program": "sml bench --peers", "machine": machine, "versions": { "torch": "2.11.0+cu130", "cv2": "4.13.0" },
        "results": results, "interrupted": interrupted, "different": different, "skipped": [],
    })
}

#[test]
fn results_on_the_cpu_become_the_other_table() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let readme = root.join("README.md");
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md"), &readme).unwrap();
    let file = root.join("cpu.json").to_str().unwrap().to_owned();
    fs::write(&file, cpu_results(&[], false).to_string()).unwrap();
    let kept = expect_success(&results_table(root, &["keep", &file]));
    assert!(kept.trim_end().ends_with("benches/results/cpu-test-7-2-threads-2026-01-31.json"), "{kept}");
    expect_error(&results_table(root, &["check"]));
    expect_success(&results_table(root, &["write"]));
    expect_success(&results_table(root, &["check"]));
    let written = fs::read_to_string(&readme).unwrap();
    for line in [
        "Measured on Test(R) CPU 7 @ 2.0GHz with 2 pinned threads (avx2; PyTorch 2.11.0, OpenCV 4.13.0), 2026-01-31, by \
         `make bench-peers`; load average before it 0.25:",
        "| median of a frame, all stages | 1x19x1024x2048 float32, full resolution | 1x19x1024x2048 float32, 1/4 resolution |",
        "| sml | **10.0 ms** | **8.0 ms** |",
        "| reading the logits once: the floor | 5.0 ms, 0.50 x (0.45 to 0.55) | 0.30 ms, 0.04 x (0.04 to 0.04) |",
        "| PyTorch, official passes | 400 ms, 40.0 x (36.0 to 44.0) | not measured |",
    ] {
        assert!(written.contains(line), "{line}: {written}");
    }

    // A run that shows nothing to quote stays out.
    for (wrong, word) in [
        (
            cpu_results(&[json!({ "version": "opencv", "reason": "its score differs" })], false),
            "its score differs",
        ),
        (cpu_results(&[], true), "interrupted"),
    ] {
        fs::write(&file, wrong.to_string()).unwrap();
        assert!(expect_error(&results_table(root, &["keep", &file])).contains(word));
    }
}

#[test]
fn results_that_make_no_table_are_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let here = results_file(root, "a.json", "NVIDIA Test 5", &[result("sml", "f16", 1, 40.0)]);
    let there = results_file(root, "b.json", "NVIDIA Test 6", &[]);
    let target = root.join("c.json").to_str().unwrap().to_owned();
    let different = expect_error(&results_table(root, &["merge", &here, &there, "-o", &target]));
    assert!(different.contains("different GPUs"), "{different}");
    assert!(expect_error(&results_table(root, &["keep", &there])).contains("no cold frame"));
    fs::write(root.join("d.json"), "{").unwrap();
    let broken = expect_error(&results_table(root, &["print", root.join("d.json").to_str().unwrap()]));
    assert!(broken.starts_with("error: ") && broken.trim_end().lines().count() == 1, "{broken}");
    assert!(!root.join("benches").exists() && !root.join("c.json").exists(), "nothing is written");
}
