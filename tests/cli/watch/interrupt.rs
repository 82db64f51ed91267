//! Ctrl-C, and a service manager's SIGTERM.

use std::io::{BufRead, BufReader};
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

/// The same with SIGHUP ignored, as `nohup` does it.
fn without_hangups(command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"trap "" HUP; exec "$0" "$@""#]).arg(command.get_program()).args(command.get_args());
    command.get_envs().filter_map(|(name, value)| Some((name, value?))).for_each(|(name, value)| {
        shell.env(name, value);
    });
    shell.current_dir(command.get_current_dir().unwrap());
    shell
}

/// The terminal's end does not end it there, and what does ends it whole.
#[test]
fn under_nohup_it_outlives_the_terminal_and_ends_whole_all_the_same() {
    let folder = Folder::new();
    for name in ["-INT", "-TERM"] {
        let _ = std::fs::remove_file(folder.path("found.jsonl"));
        let command = folder.command(&["watch", "-", "--raw-size", "40x72", "--obstacles", "found.jsonl"]);
        let mut command = without_hangups(&command);
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut pipe = child.stdin.take().unwrap();
        for more in 1..=2 {
            std::io::Write::write_all(&mut pipe, frames()[0].as_raw()).unwrap();
            wait_for_lines(&folder, "found.jsonl", more);
            signal(&child, "-HUP");
        }
        signal(&child, name);
        let output = child.wait_with_output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {told}", output.status);
        assert!(told.contains("interrupted after"), "{told}");
        assert_eq!(lines(&folder, "found.jsonl").len(), 2);
    }
}

/// `sml watch CAMERA --obstacles - | head -1` ends, and the video is whole.
#[test]
fn a_reader_that_goes_away_ends_it_whole() {
    let folder = Folder::new();
    let stand_in = StandIn::new(&folder);
    let rgb: Vec<u8> = frames().iter().flat_map(|frame| frame.as_raw().clone()).collect();
    stand_in.decodes(&rgb, WIDTH, HEIGHT, 25.0);
    stand_in.decode("while cat frames.ppm; do sleep 0.05; done");
    let arguments = ["watch", "drive.mp4", "--video", "overlay.mp4", "--obstacles", "-"];
    let mut command = stand_in.command(&arguments);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with(r#"{"frame":0,"#), "{line}");
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.starts_with("ended after"), "{told}");
    let video = folder.read("overlay.mp4").len();
    assert!(video > 0 && video.is_multiple_of((WIDTH * HEIGHT * 3) as usize), "{video} bytes");
    let names = folder.names(".");
    assert!(!names.iter().any(|name| name.starts_with(".sml")), "{names:?}");
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
