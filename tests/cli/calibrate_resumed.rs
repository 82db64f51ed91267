//! `sml calibrate --checkpoint`: killed at any moment, it goes on where it was and ends in the same numbers.

use std::process::Stdio;
use std::time::Duration;

use crate::arrays::*;
use crate::calibrate_dataset::assert_same_to_1e_12;
use crate::program::Folder;

const FILES: usize = 24;

/// Saved logits that take the program some milliseconds each.
fn saved_logits() -> (Folder, Vec<String>) {
    let folder = Folder::new();
    let mut names = Vec::new();
    for n in 0..FILES {
        let name = format!("{n:02}.npy");
        folder.write(&name, to_npy(&random_logits::<f32>(n as u64, [1, 5, 32, 64])));
        names.push(name);
    }
    (folder, names)
}

fn arguments<'a>(names: &'a [String], more: &[&'a str]) -> Vec<&'a str> {
    let options = ["calibrate", "--size", "256x512", "-o", "stats.json", "--checkpoint", "state.json"];
    options.into_iter().chain(more.iter().copied()).chain(names.iter().map(String::as_str)).collect()
}

/// How many inputs the checkpoint has seen; 0 before there is one. It is replaced as a whole, so it can be read at any time.
fn inputs_done(folder: &Folder) -> u64 {
    let bytes = std::fs::read(folder.path("state.json")).unwrap_or_default();
    let state: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
    state["measured"]["inputs"].as_u64().unwrap_or(0)
}

/// What a run writes, without its date.
fn result(folder: &Folder) -> serde_json::Value {
    let mut stats = folder.read_json("stats.json");
    stats["provenance"]["date"] = serde_json::Value::Null;
    stats
}

#[test]
fn killed_again_and_again_it_ends_in_the_same_numbers() {
    let (folder, names) = saved_logits();
    folder.sml(&arguments(&names, &[])).succeeded();
    let whole = result(&folder);
    assert!(!folder.path("state.json").exists(), "removed when the result is written");
    std::fs::remove_file(folder.path("stats.json")).unwrap();

    let always = arguments(&names, &["--checkpoint-every", "0"]);
    let mut seen = Vec::new();
    for target in [1, 4, 9, 15, 20] {
        let mut child = folder.command(&always).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // The program tells by its checkpoint how far it is, so that it is killed in the middle on slow machines, too.
        while inputs_done(&folder) < target && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        // SIGKILL: nothing in the program can react.
        child.kill().unwrap();
        child.wait().unwrap();
        if folder.path("stats.json").exists() {
            break;
        }
        seen.push(inputs_done(&folder));
    }
    assert!(
        seen.is_sorted() && seen.iter().any(|done| (1..FILES as u64).contains(done)),
        "killed at {seen:?}"
    );
    if !folder.path("stats.json").exists() {
        folder.sml(&always).succeeded();
    }
    assert_eq!(result(&folder), whole, "to the last bit");
}

#[test]
fn the_state_of_another_measurement_is_refused_with_what_differs() {
    let (folder, names) = saved_logits();
    let begun = arguments(&names[..3], &["--checkpoint-every", "0"]);
    // Something that fails after the first pass leaves the state: an output that is a folder.
    std::fs::create_dir(folder.path("stats.json")).unwrap();
    folder.sml(&begun).failed(&["stats.json", "cannot write"]);
    assert_eq!(folder.read_json("state.json")["measured"]["inputs"], 3);
    std::fs::remove_dir(folder.path("stats.json")).unwrap();

    let refused = |arguments: &[&str], parts: &[&str]| {
        let before = folder.read("state.json");
        folder.sml(arguments).failed(&[&["state.json", "is of another measurement"], parts].concat());
        assert_eq!(folder.read("state.json"), before);
    };
    refused(&arguments(&names[..4], &[]), &["inputs was 3 with digest", "and is 4 with digest"]);
    refused(&arguments(&names[1..4], &[]), &["inputs was 3", "remove it to begin anew"]);
    refused(&arguments(&names[..3], &["--align-corners", "true"]), &["align-corners was false and is true"]);
    refused(&arguments(&names[..3], &["--shard", "1/2"]), &["shard was none and is 1/2"]);
    let mut other_size = arguments(&names[..3], &[]);
    other_size[2] = "64x64";
    refused(&other_size, &["size was 256x512 and is 64x64"]);
    // The same one goes on.
    let run = folder.sml(&arguments(&names[..3], &[])).succeeded();
    run.assert_told(&["going on behind 3 of 3 inputs"]);
    assert!(!folder.path("state.json").exists());
}

#[test]
fn what_is_no_state_is_refused_and_left_alone() {
    let (folder, names) = saved_logits();
    for text in [
        "",
        "{}",
        "[1, 2]",
        r#"{"format": 2, "measurement": {}, "measured": {}}"#,
        r#"{"mean": [1], "variance": [1]}"#,
    ] {
        folder.write("state.json", text);
        folder.sml(&arguments(&names[..2], &[])).failed(&["state.json", "checkpoint"]);
        assert_eq!(folder.read("state.json"), text.as_bytes());
    }
    std::fs::remove_file(folder.path("state.json")).unwrap();
    let absent = ["calibrate", "00.npy", "-o", "stats.json", "--checkpoint", "absent/state.json"];
    folder.sml(&absent).failed(&["absent/state.json", "does not exist"]);
    folder
        .sml(&["calibrate", "00.npy", "-o", "stats.json", "--checkpoint-every", "5"])
        .misused(&["--checkpoint"]);
    let negative = ["calibrate", "00.npy", "-o", "s.json", "--checkpoint", "c", "--checkpoint-every=-1"];
    folder.sml(&negative).misused(&["checkpoint-every is -1"]);
    assert!(!folder.path("stats.json").exists());
}

#[test]
fn any_parts_of_saved_logits_merge_into_the_whole() {
    let (folder, names) = saved_logits();
    let plain = |out: &str, files: &[&str]| {
        folder.sml(&[&["calibrate", "--size", "64x128", "-o", out], files].concat()).succeeded();
    };
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    plain("whole.json", &all);
    let whole = folder.read_json("whole.json");
    for seed in 1..4_usize {
        // A random split into three parts, none of them empty.
        let part_of = |n: usize| if n < 3 { n } else { (n * 7 + seed * n * n) % 3 };
        for part in 0..3 {
            let files: Vec<&str> =
                all.iter().enumerate().filter(|(n, _)| part_of(*n) == part).map(|(_, name)| *name).collect();
            plain(&format!("part{part}.json"), &files);
        }
        // The order of merging changes rounding only.
        for order in [["part0.json", "part1.json", "part2.json"], ["part2.json", "part0.json", "part1.json"]]
        {
            folder.sml(&[&["stats", "merge", "-o", "merged.json"], &order[..]].concat()).succeeded();
            assert_same_to_1e_12(&folder.read_json("merged.json"), &whole);
        }
    }
}

#[test]
#[cfg(target_os = "linux")]
fn interrupted_it_says_what_is_kept_and_goes_on_from_there() {
    let (folder, names) = saved_logits();
    folder.sml(&arguments(&names, &[])).succeeded();
    let whole = result(&folder);
    std::fs::remove_file(folder.path("stats.json")).unwrap();

    let always = arguments(&names, &["--checkpoint-every", "0"]);
    let mut child = folder.command(&always).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while inputs_done(&folder) == 0 {
        assert!(child.try_wait().unwrap().is_none(), "the run ended before it was interrupted");
        std::thread::sleep(Duration::from_millis(1));
    }
    let kill = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(kill.unwrap().success());
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{errors}");
    let done = inputs_done(&folder);
    let told =
        format!("sml: interrupted: {done} of {FILES} inputs are done; the same command goes on from there\n");
    assert_eq!(errors, told);
    assert!(output.stdout.is_empty() && !folder.path("stats.json").exists());

    folder.sml(&arguments(&names, &[])).succeeded();
    assert_eq!(result(&folder), whole);
}
