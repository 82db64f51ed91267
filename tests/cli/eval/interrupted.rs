//! Ctrl-C ends an evaluation in order: nothing is left behind but what the same command goes on with.
#![cfg(target_os = "linux")]

use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use sml::Size;

use super::set::{LOGITS, with, write_logits};
use crate::program::Folder;

const IMAGES: usize = 400;

/// A set that takes seconds on any machine.
fn set() -> Folder {
    let folder = Folder::new();
    write_logits(&folder, IMAGES, Size::new(64, 96));
    folder.write("tmp/.keep", "");
    folder
}

fn start(folder: &Folder, arguments: &[&str]) -> Child {
    let mut command = folder.command(arguments);
    command.env("TMPDIR", folder.path("tmp")).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Sends SIGINT once `begun` is true, and waits for the end.
fn interrupt(mut child: Child, begun: impl Fn() -> bool) -> Output {
    let start = Instant::now();
    while !begun() {
        assert!(start.elapsed() < Duration::from_secs(60), "nothing began in a minute");
        assert!(child.try_wait().unwrap().is_none(), "the run ended before it was interrupted");
        sleep(Duration::from_millis(1));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    child.wait_with_output().unwrap()
}

fn assert_interrupted(output: &Output, told: &str) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{errors}");
    assert!(errors.starts_with("sml: interrupted: ") && errors.contains(told), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(output.stdout.is_empty());
}

#[test]
fn with_a_folder_the_same_command_goes_on() {
    for mode in ["exact", "histogram"] {
        let folder = set();
        let arguments = with(&LOGITS, &["--mode", mode, "--json", "-o", "out"]);
        let journal = folder.path("out/state/journal.jsonl");
        let begun = || std::fs::metadata(&journal).is_ok_and(|file| mode == "histogram" || file.len() > 0);
        let output = interrupt(start(&folder, &arguments), begun);
        assert_interrupted(&output, "of 400 images are done; the same command goes on from there");
        assert_eq!(folder.names("out").into_iter().collect::<Vec<_>>(), ["state"]);
        let run = folder.sml(&arguments).succeeded();
        run.assert_told(&["going on: "]);
        assert_eq!(run.json()["dataset"]["images"], IMAGES);
    }
}

#[test]
fn without_one_nothing_is_left() {
    let folder = set();
    let begun = || folder.names("tmp").iter().any(|name| name.starts_with("sml-eval-"));
    let output = interrupt(start(&folder, &with(&LOGITS, &["--json"])), || {
        begun()
            && std::fs::read_dir(folder.path("tmp")).unwrap().flatten().any(|entry| {
                entry.path().join("state/journal.jsonl").metadata().is_ok_and(|file| file.len() > 0)
            })
    });
    assert_interrupted(&output, "nothing is kept without -o DIR");
    assert!(!begun(), "the temporary folder is still there");
}
