//! Runs that end early and go on, parts that are merged, states that do not fit.

use std::time::{Duration, Instant};

use serde_json::Value;
use sml::Size;

use super::set::{LOGITS, images, with, write_logits, write_scores};
use crate::program::Folder;

/// The result without what may differ between runs.
fn comparable(mut json: Value) -> Value {
    json.as_object_mut().unwrap().remove("date");
    json
}

#[test]
fn a_killed_run_goes_on_and_ends_with_the_same_result() {
    for mode in ["exact", "histogram"] {
        let folder = Folder::new();
        write_logits(&folder, 40, Size::new(128, 160));
        let arguments = with(&LOGITS, &["--mode", mode, "--json", "-o", "out"]);
        let whole = folder.sml(&with(&LOGITS, &["--mode", mode, "--json"])).succeeded().json();
        let mut child = folder.command(&arguments).stderr(std::process::Stdio::null()).spawn().unwrap();
        let journal = folder.path("out/state/journal.jsonl");
        let start = Instant::now();
        let lines = || std::fs::read(&journal).map_or(0, |text| text.iter().filter(|b| **b == b'\n').count());
        // Histograms are written now and then only: there the state is all that has to be there.
        while (mode == "exact" && lines() < 5) || !journal.exists() {
            assert!(start.elapsed() < Duration::from_secs(60), "nothing was done in a minute");
            assert!(child.try_wait().unwrap().is_none(), "the run ended before it was killed");
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        assert!(!child.wait().unwrap().success());
        assert!(!folder.path("out/results.json").exists());
        let before = lines();
        if mode == "exact" {
            // What a killed process may leave behind the last whole record and line.
            for file in ["labels.u8", "predictions.u8", "score-03.f32", "journal.jsonl"] {
                let path = folder.path(format!("out/state/{file}"));
                let mut bytes = std::fs::read(&path).unwrap();
                bytes.extend(b"{\"index\": 39, \"na");
                std::fs::write(&path, bytes).unwrap();
            }
        }
        let run = folder.sml(&arguments).succeeded();
        if mode == "exact" {
            run.assert_told(&[&format!("going on: {before} of 40 images are done")]);
        }
        assert_eq!(comparable(run.json()), comparable(whole), "{mode}");
        assert!(!folder.path("out/state").exists());
    }
}

#[test]
fn records_that_were_lost_are_made_again() {
    let folder = Folder::new();
    write_logits(&folder, 4, Size::new(24, 32));
    let whole = folder.sml(&with(&LOGITS, &["--json", "-o", "out", "--keep-state"])).succeeded().json();
    // The third image's scores are not whole in one file: it and the fourth are measured anew.
    let path = folder.path("out/state/score-05.f32");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() * 5 / 8]).unwrap();
    let run = folder.sml(&with(&LOGITS, &["--json", "-o", "out"])).succeeded();
    run.assert_told(&["going on: 2 of 4 images are done"]);
    assert_eq!(comparable(run.json()), comparable(whole));
}

#[test]
fn a_finished_state_is_evaluated_again_without_its_images() {
    let folder = Folder::new();
    write_scores(&folder, "mine", &images(3));
    let arguments = ["eval", "--scores", "mine", "--labels", "labels", "-o", "out", "--keep-state", "--json"];
    let first = folder.sml(&arguments).succeeded().json();
    let again = folder.sml(&arguments).succeeded();
    again.assert_told(&["going on: 3 of 3 images are done"]);
    assert_eq!(comparable(again.json()), comparable(first));
}

#[test]
fn a_state_of_other_options_is_refused_until_a_fresh_start() {
    let folder = Folder::new();
    write_logits(&folder, 2, Size::new(24, 32));
    folder.sml(&with(&LOGITS, &["-o", "out", "--keep-state"])).succeeded();
    let other = with(&LOGITS, &["-o", "out", "--keep-state", "--smoothing", "7,1,3"]);
    folder.sml(&other).failed(&["out/state", "another evaluation", "dilation", "6 and not 3", "--fresh"]);
    let histogram = with(&LOGITS, &["-o", "out", "--mode", "histogram"]);
    folder.sml(&histogram).failed(&["mode is \"exact\" and not \"histogram\""]);
    let shard = with(&LOGITS, &["-o", "out", "--shard", "1/2"]);
    folder.sml(&shard).failed(&["the shard is 1/1 and not 1/2"]);
    folder.sml(&with(&other, &["--fresh"])).succeeded();
}

#[test]
fn parts_merge_to_the_result_of_one_run() {
    for mode in ["exact", "histogram"] {
        let folder = Folder::new();
        write_logits(&folder, 5, Size::new(24, 32));
        folder.write("logits/frame03.npy", "damaged");
        let part = |shard: &str, output: &str| {
            let arguments = with(&LOGITS, &["--mode", mode, "--shard", shard, "-o", output]);
            folder.sml(&arguments).succeeded();
        };
        part("1/2", "a");
        folder
            .sml(&["eval", "merge", "a", "-o", "all"])
            .failed(&["a: 2 of 5 images are in none of the parts"]);
        part("2/2", "b");
        let merged = folder.sml(&["eval", "merge", "b", "a", "-o", "all", "--json"]).succeeded();
        let whole = folder.sml(&with(&LOGITS, &["--mode", mode, "--json"])).succeeded();
        assert_eq!(comparable(merged.json()), comparable(whole.json()), "{mode}");
        assert_eq!(merged.json()["failures"][0]["image"], "frame03");
        assert_eq!(comparable(folder.read_json("all/results.json")), comparable(whole.json()));
        folder.sml(&["eval", "merge", "a", "a", "-o", "all"]).failed(&["holds frame00, and so does a"]);
        folder.sml(&["eval", "merge", "a", "nowhere", "-o", "all"]).failed(&["nowhere", "cannot read"]);
        let other = with(&LOGITS, &["--mode", mode, "--shard", "2/2", "-o", "c", "--score", "msp"]);
        folder.sml(&other).succeeded();
        folder.sml(&["eval", "merge", "a", "c", "-o", "all"]).failed(&["does not go together with", "rows"]);
    }
}

#[test]
fn a_folder_in_use_is_left_alone() {
    let folder = Folder::new();
    write_scores(&folder, "mine", &images(2));
    let arguments = ["eval", "--scores", "mine", "--labels", "labels", "-o", "out", "--keep-state"];
    folder.sml(&arguments).succeeded();
    let plan = std::fs::File::open(folder.path("out/state/plan.json")).unwrap();
    plan.lock().unwrap();
    folder.sml(&arguments).failed(&["out/state", "in use by another process"]);
    plan.unlock().unwrap();
    folder.sml(&arguments).succeeded();
}
