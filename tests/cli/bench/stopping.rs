//! Ctrl-C ends a measurement, and what was measured so far is told.
#![cfg(target_os = "linux")]

use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{SMALL, stages};
use crate::program::Folder;

/// Long enough for a few frames of the small shape on a machine that has other work.
const WHILE: Duration = Duration::from_secs(3);

/// Whether the process catches SIGINT yet.
fn catches(process: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or_default();
    u64::from_str_radix(mask.trim(), 16).is_ok_and(|mask| mask & 2 != 0)
}

#[test]
fn an_interrupted_run_tells_what_it_has() {
    for signal in ["-INT", "-TERM"] {
        let folder = Folder::new();
        let options =
            [&["bench", "--device", "cpu", "--duration", "30h", "--json", "--csv", "a.csv"], &SMALL[..]]
                .concat();
        let mut command = folder.command(&options);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let start = Instant::now();
        while !catches(child.id()) {
            assert!(start.elapsed() < Duration::from_secs(60), "the program never catches SIGINT");
            sleep(Duration::from_millis(20));
        }
        sleep(WHILE);
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(130), "{signal}: {errors}");
        assert_eq!(errors, "sml: interrupted: the figures are those of the frames until then\n", "{signal}");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["interrupted"], true);
        let frames = report["frames"].as_u64().unwrap();
        assert!(frames > 0);
        assert_eq!(stages(&report), ["standardize", "suppress", "smooth", "all"]);
        assert!(report["results"].as_array().unwrap().iter().all(|row| row["frames"] == frames));
        let csv = String::from_utf8(folder.read("a.csv")).unwrap();
        assert_eq!(csv.lines().count(), 5, "{csv}");
    }
}
