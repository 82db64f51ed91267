//! `sml bench --peers`: real peers where there is a Python for them, and stand-ins for one that cannot or does not do its part.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::program::{Finished, Folder};

const TINY: [&str; 6] = ["bench", "--shape", "1x5x64x96", "--frames", "2", "--json"];

/// The Python of the tests, if it can import these.
fn python_with(modules: &str) -> Option<String> {
    let python = std::env::var("SML_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let output = Command::new(&python).arg("-c").arg(format!("import {modules}")).output();
    if output.is_ok_and(|output| output.status.success()) {
        // Programs run in folders of their own.
        let absolute = std::path::absolute(&python).unwrap();
        return Some(if python.contains('/') { absolute.to_str().unwrap().to_owned() } else { python });
    }
    let required = std::env::var_os("SML_REQUIRE_PYTHON").is_some_and(|value| value == "1");
    assert!(!required, "SML_REQUIRE_PYTHON=1 and {python} cannot import {modules}: run make bench-env");
    println!("skipped: {python} cannot import {modules}; run make bench-env and set SML_PYTHON");
    None
}

fn beside(python: &str, options: &[&str]) -> Finished {
    let folder = Folder::new();
    let mut command = folder.command(&[&TINY[..], options].concat());
    command.env("SML_PYTHON", python).env("TMPDIR", folder.path(""));
    let run = Finished::of(command, options);
    assert!(folder.names("").is_empty(), "left behind: {:?}", folder.names(""));
    run
}

/// A program that takes Python's place: its answers as shell commands, for each line that it is asked.
fn stand_in(folder: &Folder, first: &str, answers: &str) -> String {
    let script = format!(
        "#!/bin/sh\ncd \"$2\" || exit 9\n{first}\nwhile read -r command number; do\n  case $command in\n{answers}\n  esac\ndone\n"
    );
    let path = folder.write("stand-in", script);
    make_executable(&path);
    path.to_str().unwrap().to_owned()
}

#[cfg(unix)]
fn make_executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// The results of one version, one a form of the logits.
fn of<'a>(report: &'a Value, version: &str) -> Vec<&'a Value> {
    let results = report["results"].as_array().unwrap();
    results.iter().filter(|one| one["version"] == version).collect()
}

fn assert_measured(report: &Value, version: &str) {
    let rows = of(report, version);
    assert_eq!(
        rows.iter().map(|row| row["from"].as_u64().unwrap()).collect::<Vec<_>>(),
        [1, 4],
        "{report:#}"
    );
    for row in rows {
        let beside = &row["beside_sml"];
        assert_eq!(
            (&beside["turns"], row["samples_us"].as_array().unwrap().len()),
            (&2.into(), 4),
            "{row:#}"
        );
        let of = |name: &str| beside["ratio"][name].as_f64().unwrap();
        assert!(
            of("least") > 0.0 && [of("least"), of("p10"), of("median"), of("p90"), of("most")].is_sorted()
        );
    }
}

#[test]
fn opencv_agrees_and_is_measured_in_turns() {
    let Some(python) = python_with("numpy, cv2") else { return };
    for dtype in ["f32", "f16"] {
        let report = beside(&python, &["--peers=opencv,opencv-banded", "--dtype", dtype]).succeeded().json();
        assert_eq!(
            (&report["different"], &report["skipped"]),
            (&Value::Array(vec![]), &Value::Array(vec![]))
        );
        assert!(report["versions"]["cv2"].is_string(), "{report:#}");
        for version in ["read", "opencv", "opencv banded"] {
            assert_measured(&report, version);
        }
        let ours = of(&report, "sml");
        assert_eq!((ours.len(), &ours[0]["dtype"], &ours[0]["frames"]), (2, &dtype.into(), &12.into()));
    }
}

#[test]
fn pytorch_agrees_and_is_measured_in_turns() {
    let Some(python) = python_with("numpy, torch") else { return };
    let report = beside(&python, &["--peers=official,careful"]).succeeded().json();
    assert_eq!((&report["different"], &report["skipped"]), (&Value::Array(vec![]), &Value::Array(vec![])));
    for version in ["official eager", "careful eager"] {
        assert_measured(&report, version);
    }
}

#[cfg(unix)]
mod stand_ins {
    use super::*;

    const VERSIONS: &str = r#"echo '{"versions": {"python": "0"}}'"#;

    #[test]
    fn a_missing_environment_is_one_line_that_names_the_remedy() {
        beside("/nowhere/python", &["--peers"]).failed(&["/nowhere/python", "make bench-env"]);
        let folder = Folder::new();
        let python = stand_in(&folder, r#"echo '{"missing": "cv2", "reason": "no module"}'; exit 1"#, "");
        beside(&python, &["--peers=opencv"]).failed(&["cannot import cv2 (no module)", "make bench-env"]);
        let python = stand_in(&folder, "echo broken >&2; exit 3", "");
        beside(&python, &["--peers=opencv"]).failed(&["it ended: broken", "make bench-env"]);
        let python = stand_in(&folder, "echo hello", "");
        beside(&python, &["--peers=opencv"]).failed(&["answer", "make bench-env"]);
    }

    #[test]
    fn another_result_is_reported_and_not_timed() {
        let folder = Folder::new();
        let zeros = "head -c 24576 /dev/zero > score.bin; head -c 6144 /dev/zero > prediction.bin";
        let answers =
            format!("    prepare) {zeros}; echo '{{\"seconds\": 0.1}}';;\n    run) echo timed >> ../timed;;");
        let python = stand_in(&folder, VERSIONS, &answers);
        let report = beside(&python, &["--peers=opencv"]).succeeded().json();
        let different = report["different"].as_array().unwrap();
        assert_eq!(different.len(), 2, "{report:#}");
        assert!(different[0]["reason"].as_str().unwrap().contains("beyond rounding"), "{report:#}");
        assert!(of(&report, "opencv").is_empty() && of(&report, "sml").len() == 2, "{report:#}");
    }

    #[test]
    fn a_peer_that_fails_leaves_the_others() {
        let folder = Folder::new();
        let answers =
            r#"    prepare) echo '{"error": "RuntimeError: no compiler"}'; echo gone >&2; exit 1;;"#;
        let python = stand_in(&folder, VERSIONS, answers);
        let run = beside(&python, &["--peers=compiled,opencv"]).succeeded();
        let report = run.json();
        let skipped = report["skipped"].as_array().unwrap();
        let reasons: Vec<&str> = skipped.iter().map(|one| one["reason"].as_str().unwrap()).collect();
        assert_eq!(reasons, [["RuntimeError: no compiler", "it ended: gone"]; 2].concat(), "{report:#}");
        assert_measured(&report, "read");
    }
}

#[test]
fn options_that_mean_nothing_are_refused() {
    let folder = Folder::new();
    let sml = |options: &[&str]| folder.sml(&[&["bench", "--peers=opencv"], options].concat());
    folder.sml(&["bench", "--peers=numba"]).misused(&["numba", "opencv-banded"]);
    sml(&["--shape", "1x5x30x64"]).refused(&["--shape", "30x64 from 1/4"]);
    sml(&["--dtype", "bf16"]).refused(&["bf16", "NumPy has no bfloat16"]);
    sml(&["--layout", "nhwc"]).misused(&["--layout", "--peers"]);
    sml(&["--warmup", "3"]).misused(&["--warmup", "--peers"]);
}
