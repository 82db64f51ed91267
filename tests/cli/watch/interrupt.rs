//! Ctrl-C, and a service manager's SIGTERM.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::ffmpeg::StandIn;
use super::{HEIGHT, WIDTH, frames, lines};
use crate::program::Folder;

/// Waits for a file with at least so many lines.
#[track_caller]
fn wait_for_lines(folder: &Folder, name: &str, least: usize) {
    let begin = Instant::now();
    while std::fs::read_to_string(folder.path(name)).map_or(0, |text| text.lines().count()) < least {
        assert!(begin.elapsed() < Duration::from_secs(120), "{name} has no {least} lines");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

#[test]
fn an_endless_video_ends_whole() {
    let folder = Folder::new();
    let stand_in = StandIn::new(&folder);
    let rgb: Vec<u8> = frames().iter().flat_map(|frame| frame.as_raw().clone()).collect();
    stand_in.decodes(&rgb, WIDTH, HEIGHT, 25.0);
    stand_in.decode("while cat frames.ppm; do sleep 0.05; done");
    for name in ["-INT", "-TERM"] {
        let arguments =
            ["watch", "drive.mp4", "--video", "overlay.mp4", "--obstacles", "found.jsonl", "--json"];
        let _ = std::fs::remove_file(folder.path("found.jsonl"));
        let mut command = stand_in.command(&arguments);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        wait_for_lines(&folder, "found.jsonl", 6);
        signal(&child, name);
        let begin = Instant::now();
        let output = child.wait_with_output().unwrap();
        assert!(begin.elapsed() < Duration::from_secs(20));
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}\n{told}", output.status);
        assert!(told.starts_with("interrupted after"), "{told}");
        let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(summary["interrupted"], true);
        let count = |name: &str| summary[name].as_u64().unwrap();
        assert_eq!(count("submitted"), count("delivered") + count("dropped"));
        assert_eq!(lines(&folder, "found.jsonl").len() as u64, count("delivered"));
        let frame = u64::from(WIDTH * HEIGHT * 3);
        assert_eq!(folder.read("overlay.mp4").len() as u64, frame * count("delivered"));
        let names = folder.names(".");
        assert!(!names.iter().any(|name| name.starts_with(".sml")), "{names:?}");
    }
}

#[test]
fn a_pipe_that_is_silent_does_not_hold_it() {
    let folder = Folder::new();
    let arguments = ["watch", "-", "--raw-size", "40x72", "--obstacles", "found.jsonl"];
    let mut command = folder.command(&arguments);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // One frame, and then nothing, without an end.
    let mut pipe = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut pipe, frames()[0].as_raw()).unwrap();
    wait_for_lines(&folder, "found.jsonl", 1);
    signal(&child, "-INT");
    let output = child.wait_with_output().unwrap();
    drop(pipe);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(lines(&folder, "found.jsonl").len(), 1);
}
