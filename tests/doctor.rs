//! `sml doctor` and `sml completions` through the real program, on whatever machine runs the tests.

#![cfg(feature = "cli")]
#![allow(clippy::panic, clippy::unwrap_used)]

#[cfg(feature = "torch")]
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn sml(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sml"));
    command.args(arguments);
    command
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output.stdout)))
}

#[cfg(any(feature = "torch", feature = "cuda"))]
fn check<'a>(report: &'a Value, name: &str) -> &'a Value {
    let checks = report["checks"].as_array().unwrap();
    checks
        .iter()
        .find(|check| check["name"] == name)
        .unwrap_or_else(|| panic!("no check {name} in {report:#}"))
}

#[cfg(feature = "cuda")]
fn has_gpu(report: &Value) -> bool {
    report["facts"]["cuda"]["driver"]["present"]["gpus"].as_array().is_some_and(|gpus| !gpus.is_empty())
}

#[test]
fn the_report_for_a_person_goes_to_stdout_without_colour_in_a_pipe() {
    let output = sml(&["doctor"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    assert_eq!(text(&output.stderr), "");
    let report = text(&output.stdout);
    assert!(!report.contains('\x1b'), "{report}");
    for name in ["program", "processor", "threads", "libtorch"] {
        let verdicts = ["ok", "note"].map(|verdict| format!("{verdict:<8} {name} "));
        assert!(
            report.lines().any(|line| verdicts.iter().any(|start| line.starts_with(start))),
            "{name}: {report}"
        );
    }
}

#[test]
fn the_report_for_machines_is_one_json_object() {
    let output = sml(&["doctor", "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    assert_eq!(text(&output.stderr), "");
    let report = json(&output);
    assert_eq!(report["ok"], true);
    assert_eq!(report["device"], "auto");
    assert_eq!(report["facts"]["program"]["version"], env!("CARGO_PKG_VERSION"));
    assert!(report["facts"]["threads"]["engine"].as_u64().unwrap() >= 1);
    for check in report["checks"].as_array().unwrap() {
        assert!(["ok", "note", "problem"].contains(&check["status"].as_str().unwrap()), "{check}");
        assert_eq!(check["status"] == "problem", check["remedy"].is_string(), "{check}");
    }
}

#[test]
#[cfg(feature = "torch")]
fn libtorch_is_found_and_computes() {
    let report = json(&sml(&["doctor", "--json"]).output().unwrap());
    let libtorch = &report["facts"]["libtorch"];
    assert!(Path::new(libtorch["path"].as_str().unwrap()).is_file(), "{libtorch}");
    assert_eq!(libtorch["version"], "2.11.0");
    assert_eq!(libtorch["computation_error"], Value::Null);
    assert!(report["facts"]["threads"]["libtorch"].as_u64().unwrap() >= 1);
    assert_eq!(check(&report, "libtorch computes")["status"], "ok");
}

#[test]
#[cfg(all(feature = "torch", feature = "cuda"))]
fn the_compiler_that_set_up_brings_compiles_a_kernel_without_a_gpu() {
    let report = json(&sml(&["doctor", "--json"]).output().unwrap());
    let nvrtc = &report["facts"]["cuda"]["nvrtc"]["present"];
    if nvrtc.is_null() {
        assert!(std::env::var_os("SML_REQUIRE_DATA").is_none(), "{report:#}");
        eprintln!("skipped: this machine has no NVRTC");
        return;
    }
    assert_eq!(nvrtc["proof_error"], Value::Null);
    assert!(Path::new(nvrtc["path"].as_str().unwrap()).is_file(), "{nvrtc}");
    assert_eq!(check(&report, "NVRTC")["status"], "ok");
}

#[test]
fn a_gpu_that_is_not_there_fails_with_one_line_after_the_report() {
    let output = sml(&["doctor", "--device", "cuda:99", "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let report = json(&output);
    assert_eq!(report["ok"], false);
    let error = text(&output.stderr);
    assert!(
        error.starts_with("sml: device cuda:99: not usable as it is (") && error.lines().count() == 1,
        "{error}"
    );
}

#[test]
fn the_cpu_needs_no_gpu_and_loads_no_cuda_half() {
    let output = sml(&["doctor", "--device", "cpu", "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    let report = json(&output);
    assert_eq!(report["facts"]["libtorch"]["cuda_half"], Value::Null);
    let problems =
        report["checks"].as_array().unwrap().iter().filter(|check| check["needed"] == true).count();
    assert_eq!(problems, 0, "{report:#}");
}

#[test]
fn a_device_that_nobody_knows_is_wrong_usage() {
    let output = sml(&["doctor", "--device", "gpu"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("expected auto, cpu, cuda or cuda:N"), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "");
}

#[test]
#[cfg(feature = "cuda")]
fn the_kernel_cache_is_the_folder_of_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("kernel"), [0; 7]).unwrap();
    let report = json(&sml(&["doctor", "--json"]).env("SML_CACHE_DIR", folder.path()).output().unwrap());
    let cache = &report["facts"]["cuda"]["kernel_cache"];
    assert_eq!(cache["folder"], folder.path().to_str().unwrap());
    assert_eq!((&cache["exists"], &cache["files"], &cache["bytes"]), (&true.into(), &1.into(), &7.into()));
    assert_eq!(check(&report, "kernel cache")["status"], "ok");

    let below_a_file = folder.path().join("kernel/cache");
    let report = json(&sml(&["doctor", "--json"]).env("SML_CACHE_DIR", below_a_file).output().unwrap());
    let status = if has_gpu(&report) { "problem" } else { "note" };
    assert_eq!(check(&report, "kernel cache")["status"], status);
}

/// A folder with this machine's libtorch and no CUDA half.
#[cfg(all(feature = "torch", target_os = "linux"))]
fn folder_with_libtorch() -> tempfile::TempDir {
    let report = json(&sml(&["doctor", "--device", "cpu", "--json"]).output().unwrap());
    let library = Path::new(report["facts"]["libtorch"]["path"].as_str().unwrap());
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    for entry in library.parent().unwrap().read_dir().unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        if name == "libtorch_cpu.so" {
            // The system tells the path of a library with its symbolic links resolved, so it has to be the file itself.
            let here = folder.path().join(name);
            std::fs::hard_link(entry.path(), &here)
                .or_else(|_| std::fs::copy(entry.path(), &here).map(drop))
                .unwrap();
        } else if name != "libtorch_cuda.so" {
            std::os::unix::fs::symlink(entry.path(), folder.path().join(name)).unwrap();
        }
    }
    folder
}

#[test]
#[cfg(all(feature = "torch", target_os = "linux"))]
fn a_cuda_half_that_does_not_load_is_told_in_the_loaders_words() {
    let folder = folder_with_libtorch();
    let half = folder.path().join("libtorch_cuda.so");
    std::fs::write(&half, "not a library").unwrap();
    let output = sml(&["doctor", "--json"]).env("LD_LIBRARY_PATH", folder.path()).output().unwrap();
    let report = json(&output);
    let reason =
        report["facts"]["libtorch"]["cuda_half"]["broken"].as_str().unwrap_or_else(|| panic!("{report:#}"));
    assert_eq!(reason, format!("{}: file too short", half.display()));
    assert!(check(&report, "libtorch CUDA half")["text"].as_str().unwrap().contains("does not load"));
    assert_eq!(output.status.code(), Some(0), "the CPU path works all the same");
}

/// Another library stands in for the CUDA half here: it loads, and registers nothing.
#[test]
#[cfg(all(feature = "torch", target_os = "linux"))]
fn a_cuda_half_beside_the_cpu_half_is_loaded() {
    let folder = folder_with_libtorch();
    let half = folder.path().join("libtorch_cuda.so");
    let mut libraries = folder.path().read_dir().unwrap().map(|entry| entry.unwrap());
    let stand_in =
        libraries.find(|entry| entry.file_name().to_string_lossy().starts_with("libgomp")).unwrap();
    std::fs::copy(stand_in.path(), &half).unwrap();
    let output = sml(&["doctor", "--json"]).env("LD_LIBRARY_PATH", folder.path()).output().unwrap();
    let report = json(&output);
    assert_eq!(report["facts"]["libtorch"]["cuda_half"]["present"], half.to_str().unwrap(), "{report:#}");
    assert_eq!(report["facts"]["libtorch"]["gpus"], 0);
    assert_eq!(check(&report, "libtorch CUDA half")["status"], "ok");
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
}

#[test]
fn completions_know_the_commands() {
    for (shell, mark) in [("bash", "complete -F"), ("zsh", "#compdef sml"), ("fish", "complete -c sml")] {
        let output = sml(&["completions", shell]).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        let script = text(&output.stdout);
        assert!(script.contains(mark) && script.contains("doctor"), "{shell}");
    }
    assert_eq!(sml(&["completions", "tcsh"]).output().unwrap().status.code(), Some(2));
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let mut child = sml(&["completions", "zsh"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
}
