//! Output that cannot be written: folders that are none, names that are taken, disks that are full.

use std::path::Path;
use std::process::Command;

use crate::arrays::*;
use crate::program::{Finished, Folder};

const ARGUMENTS: [&str; 8] = ["post", "logits.npy", "--stats", "stats.json", "--raw", "--json", "-o", "out"];

/// Logits whose score maps take 40 kB each and whose prediction takes 10 kB.
fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("stats.json", statistics(3).to_json());
    folder.write("logits.npy", to_npy(&random_logits::<f32>(1, [1, 3, 100, 100])));
    folder
}

#[test]
fn a_missing_folder_is_made_with_its_parents() {
    let folder = folder();
    let arguments = ["post", "logits.npy", "--stats", "stats.json", "-o", "a/b/c"];
    folder.sml(&arguments).succeeded();
    assert_eq!(folder.names("a/b/c"), ["prediction.npy", "score.npy"].map(String::from).into());
}

#[test]
fn a_file_where_the_folder_should_be() {
    let folder = folder();
    folder.write("taken", "precious");
    for output in ["taken", "taken/below"] {
        let arguments = ["post", "logits.npy", "--stats", "stats.json", "-o", output];
        folder.sml(&arguments).failed(&[output, "cannot create the folder"]);
    }
    assert_eq!(folder.read("taken"), b"precious");
}

#[test]
fn a_folder_where_a_result_should_be() {
    let folder = folder();
    folder.write("out/score.npy/inner", "precious");
    folder.sml(&ARGUMENTS).failed(&["out/score.npy", "cannot write"]);
    assert_eq!(folder.names("out"), ["score.npy".to_owned()].into());
    assert_eq!(folder.read("out/score.npy/inner"), b"precious");
}

#[test]
fn a_folder_without_permission() {
    let folder = folder();
    folder.write("out/older", "precious");
    let mode = |mode: &str| {
        assert!(Command::new("chmod").arg(mode).arg(folder.path("out")).status().unwrap().success());
    };
    mode("555");
    let probe = std::fs::write(folder.path("out/probe"), "");
    if probe.is_ok() {
        println!("skipped: this user may write into every folder");
    } else {
        folder.sml(&ARGUMENTS).failed(&["out", "cannot create files in it"]);
        assert_eq!(folder.names("out"), ["older".to_owned()].into());
    }
    mode("755");
}

/// The program under a limit on the size of each file that it writes, in units of 512 bytes.
#[cfg(unix)]
fn sml_with_limited_files(folder: &Folder, blocks: usize, arguments: &[&str]) -> Finished {
    let mut command = Command::new("sh");
    // With the signal ignored, a write beyond the limit is an error of the write.
    command.arg("-c").arg(format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\""));
    command.arg(env!("CARGO_BIN_EXE_sml")).args(arguments).current_dir(folder.path(""));
    Finished::of(command, arguments)
}

#[cfg(unix)]
#[test]
fn a_write_that_fails_in_the_middle_leaves_nothing() {
    let folder = folder();
    // The prediction fits, a score map does not.
    sml_with_limited_files(&folder, 40, &ARGUMENTS).failed(&["out/", ".npy: cannot write", "large"]);
    folder.assert_nothing_in("out");
    let arguments = ["post", "logits.npy", "--stats", "stats.json", "-o", "out"];
    sml_with_limited_files(&folder, 40, &arguments).failed(&["out/score.npy: cannot write"]);
    folder.assert_nothing_in("out");
    let arguments = ["stats", "merge", "stats.json", "stats.json", "-o", "merged.json"];
    sml_with_limited_files(&folder, 0, &arguments).failed(&[]);
    assert_eq!(folder.names(""), ["logits.npy", "out", "stats.json"].map(String::from).into());
}

#[cfg(unix)]
#[test]
fn a_write_that_fails_in_the_middle_keeps_the_older_results() {
    let folder = folder();
    folder.sml(&ARGUMENTS).succeeded();
    let names = folder.names("out");
    let older: Vec<Vec<u8>> = names.iter().map(|name| folder.read(&format!("out/{name}"))).collect();
    folder.write("logits.npy", to_npy(&random_logits::<f32>(2, [1, 3, 100, 100])));
    sml_with_limited_files(&folder, 40, &ARGUMENTS).failed(&["out/"]);
    assert_eq!(folder.names("out"), names);
    let kept: Vec<Vec<u8>> = names.iter().map(|name| folder.read(&format!("out/{name}"))).collect();
    assert!(kept == older, "an older result was changed");
}

#[test]
fn a_full_disk_is_told_and_leaves_nothing() {
    let folder = folder();
    let out = folder.path("out");
    std::fs::create_dir(&out).unwrap();
    let Some(_disk) = SmallDisk::mount(&out) else {
        println!("skipped: this user may not mount a small disk");
        return;
    };
    folder.sml(&ARGUMENTS).failed(&["out/", ".npy: cannot write", "No space left"]);
    folder.assert_nothing_in("out");
    // There is room for a score map and a prediction, so it was not the mount that failed.
    let arguments = ["post", "logits.npy", "--stats", "stats.json", "-o", "out"];
    folder.sml(&arguments).succeeded();
    assert_eq!(folder.names("out"), ["prediction.npy", "score.npy"].map(String::from).into());
}

/// A disk of 80 kB, unmounted when it is dropped.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    fn mount(at: &'a Path) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=80k", "none"]).arg(at);
        mount.output().is_ok_and(|output| output.status.success()).then(|| Self(at))
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "{} is still mounted", self.0.display());
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_standard_output_that_is_full_is_told() {
    let folder = folder();
    let mut command = folder.command(&["stats", "show", "stats.json"]);
    command.stdout(std::fs::File::options().write(true).open("/dev/full").unwrap());
    Finished::of(command, &["stats", "show"]).failed(&["stdout: cannot write", "No space left"]);
}
