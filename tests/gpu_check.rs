//! scripts/gpu_check.sh on a made-up machine: its order, limits and summary, so that the first minute on a real GPU is not
//! spent on mending the script. Programs, tools and torch are stand-ins of a few lines.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "clippy's exception covers test functions only")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

const TEST_PROGRAM: &str = r#"
case " $* " in
    *" --list "*) echo 'small_frames: test' ;;
    *) echo 'test result: ok. 3 passed; 0 failed; 0 ignored' ;;
esac
"#;
const BROKEN_TEST_PROGRAM: &str = r#"
case " $* " in
    *" --list "*) ;;
    *) echo 'test result: FAILED. 1 passed; 2 failed; 0 ignored'; exit 101 ;;
esac
"#;
const LATENCY: &str = r#"
while [ $# -gt 0 ]; do [ "$1" != --json ] || cp "$(dirname "$0")/../latency.json" "$2"; shift; done
"#;
const PEERS: &str = r#"
import pathlib, shutil, sys
here = pathlib.Path(__file__).parent
assert "--ours" in sys.argv
shutil.copy(here / "peers.json", sys.argv[sys.argv.index("--json") + 1])
"#;
const TORCH: &str = r#"
import os
__version__ = "2.11.0"
class cuda:
    def is_available(): return os.environ["HAS_GPU"] == "1"
    def get_device_name(_): return "NVIDIA Test 5"
"#;
/// Runs the program behind its options.
const SANITIZER: &str = r#"
while [ "${1#-}" != "$1" ]; do case "$1" in --tool | --error-exitcode | --print-limit) shift 2 ;; --leak-check) shift 2 ;; *) shift ;; esac; done
exec "$@"
"#;
const NCU: &str = r#"
echo '==PROF== Connected'
echo '"ID","Kernel Name","gpu__time_duration.sum","dram__bytes_read.sum"'
echo '"","","ns","byte"'
echo '"0","standardize_planar","21000","79700000"'
"#;

/// A bundle of stand-ins.
struct Machine {
    folder: TempDir,
}

impl Machine {
    fn new() -> Self {
        let machine = Self { folder: TempDir::new().unwrap() };
        let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
        for script in ["gpu_check.sh", "results_table.py"] {
            let text = fs::read_to_string(repository.join("scripts").join(script)).unwrap();
            machine.put(&format!("bundle/{script}"), &text);
        }
        let result = |version: &str, p50: f64| {
            format!(
                r#"{{"schema": 1, "machine": {{"gpu": "NVIDIA Test 5", "date": "2026-01-31T00:00:00Z"}}, "results": [
                {{"version": "{version}", "stage": "all", "shape": "1x19x1024x2048", "dtype": "f16", "from": 1, "layout": "nchw",
                "cache": "cold", "latency_us": {{"p50": {p50}, "p999": {p50}}}, "gb_per_s": 2000, "copy_gb_per_s": 4000}}]}}"#
            )
        };
        machine.put("bundle/contents", "commit 0123\n");
        machine.put("bundle/latency.json", &result("sml", 40.0));
        machine.put("bundle/benches/peers/peers.json", &result("official eager", 4000.0));
        machine.put("bundle/benches/peers/run.py", PEERS);
        machine.put("python/torch/__init__.py", TORCH);
        for (name, text) in [
            ("bundle/bin/sml", "echo fine"),
            ("bundle/bin/test-one", TEST_PROGRAM),
            ("bundle/bin/gpu_latency", LATENCY),
            ("tools/compute-sanitizer", SANITIZER),
            ("tools/ncu", NCU),
            ("tools/nvidia-smi", "echo a table"),
        ] {
            machine.put_program(name, text);
        }
        machine
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.folder.path().join(relative)
    }

    fn put(&self, relative: &str, text: &str) {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    }

    fn put_program(&self, relative: &str, text: &str) {
        self.put(relative, &format!("#!/bin/sh\n{text}\n"));
        fs::set_permissions(self.path(relative), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Exit code, and what was printed.
    fn check(&self, gpu: bool, options: &[&str]) -> (i32, String) {
        let path = format!("{}:{}", self.path("tools").display(), std::env::var("PATH").unwrap());
        let output = Command::new("bash")
            .arg(self.path("bundle/gpu_check.sh"))
            .args(options)
            .arg(self.path("out"))
            .env("PATH", path)
            .env("PYTHONPATH", self.path("python"))
            .env("HAS_GPU", if gpu { "1" } else { "0" })
            .env_remove("SML_REQUIRE_GPU")
            .output()
            .unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    }

    /// How a step went, from the summary.
    fn verdict(&self, step: &str) -> String {
        let summary = fs::read_to_string(self.path("out/summary.txt")).unwrap();
        let line = summary.lines().find(|line| line.starts_with(step));
        line.map_or(String::new(), |line| line[step.len()..].trim().to_owned())
    }
}

const GPU_STEPS: [&str; 9] = [
    "embedded",
    "memcheck",
    "racecheck",
    "synccheck",
    "initcheck",
    "latency",
    "counters",
    "peers",
    "results",
];

#[test]
fn every_step_runs_and_the_summary_comes_last() {
    let machine = Machine::new();
    let (code, printed) = machine.check(true, &["--require-gpu"]);
    assert_eq!(code, 0, "{printed}");
    for step in ["libtorch", "doctor", "tests"].iter().chain(&GPU_STEPS) {
        assert!(machine.verdict(step).starts_with("ok"), "{step}: {printed}");
    }
    assert!(machine.verdict("tests").ends_with("(3 passed, 0 failed)"), "{printed}");
    assert!(printed.contains("| 40.0 µs |") && printed.contains("4000 µs, 100.0 x"), "{printed}");
    assert!(printed.contains("standardize_planar") && printed.contains("79.7"), "{printed}");
    assert!(printed.trim_end().lines().last().unwrap().starts_with("results "), "{printed}");
    let files: Vec<_> =
        fs::read_dir(machine.path("out")).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert!(files.len() <= 8 && files.iter().any(|name| name == "results.json"), "{files:?}");
}

#[test]
fn a_failing_step_stops_no_other() {
    let machine = Machine::new();
    machine.put_program("bundle/bin/test-two", BROKEN_TEST_PROGRAM);
    machine.put_program("tools/ncu", "echo 'permission to read counters is missing'; exit 9");
    machine.put_program("tools/compute-sanitizer", "[ \"$2\" != racecheck ] || { echo 'a race'; exit 99; }");
    let (code, printed) = machine.check(true, &[]);
    assert_eq!(code, 1, "{printed}");
    assert!(
        machine.verdict("tests").starts_with("FAILED")
            && machine.verdict("tests").ends_with("(4 passed, 2 failed)")
    );
    assert!(machine.verdict("racecheck").contains("exit code 1; see sanitizer.log: a race"), "{printed}");
    assert!(machine.verdict("counters").contains("permission to read counters"), "{printed}");
    for step in ["memcheck", "synccheck", "initcheck", "latency", "peers", "results"] {
        assert!(machine.verdict(step).starts_with("ok"), "{step}: {printed}");
    }
}

#[test]
fn a_step_that_hangs_is_stopped() {
    let machine = Machine::new();
    machine.put_program("bundle/bin/gpu_latency", "sleep 300");
    let (code, printed) = machine.check(true, &["--seconds", "8"]);
    assert_eq!(code, 1, "{printed}");
    assert!(machine.verdict("latency").contains("stopped at its limit"), "{printed}");
    assert!(machine.verdict("peers").contains("no time was left"), "{printed}");
}

#[test]
fn without_a_gpu_it_says_what_it_skips() {
    let machine = Machine::new();
    let (code, printed) = machine.check(false, &[]);
    assert_eq!(code, 0, "{printed}");
    assert!(machine.verdict("tests").starts_with("ok"), "{printed}");
    for step in ["GPU tests"].iter().chain(&GPU_STEPS) {
        assert!(machine.verdict(step).starts_with("skipped"), "{step}: {printed}");
    }
    assert_eq!(machine.check(false, &["--require-gpu"]).0, 1);
}

#[test]
fn wrong_use_is_told_in_a_line() {
    let machine = Machine::new();
    assert_eq!(machine.check(true, &["--fast"]).0, 2);
    assert_eq!(machine.check(true, &["--seconds", "soon"]).0, 2);
    fs::remove_file(machine.path("bundle/bin/sml")).unwrap();
    assert_eq!(machine.check(true, &[]).0, 2);
}
