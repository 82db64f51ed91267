//! `sml watch --rerun`: what is logged for the Rerun viewer, read back with Rerun's own decoder.
#![cfg(all(feature = "rerun", feature = "cli", feature = "torch"))]
#![allow(clippy::panic, clippy::unwrap_used, reason = "what cannot be made fails the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::BufReader;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use re_log_encoding::DecoderApp;
use re_sdk::external::re_log_types::LogMsg;
use re_sdk::log::Chunk;
use re_sdk_types::components::{Blob, ImageBuffer, Scalar, Text};

const FRAMES: usize = 3;

fn watch(folder: &Path, target: &str) -> Output {
    for scene in &sml::demo::SCENES[..FRAMES] {
        std::fs::create_dir_all(folder.join("scenes")).unwrap();
        std::fs::write(folder.join("scenes").join(format!("{}.png", scene.name)), scene.picture).unwrap();
    }
    Command::new(env!("CARGO_BIN_EXE_sml"))
        .args(["watch", "scenes", "--device", "cpu", "--rate", "50", "--rerun", target])
        .args(["--obstacles", "obstacles.jsonl"])
        .current_dir(folder)
        .env("OMP_WAIT_POLICY", "passive")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// All chunks of a file, by entity.
fn chunks(file: &Path) -> BTreeMap<String, Vec<Chunk>> {
    let reader = BufReader::new(std::fs::File::open(file).unwrap());
    let mut chunks: BTreeMap<String, Vec<Chunk>> = BTreeMap::new();
    for message in DecoderApp::decode_eager(reader).unwrap() {
        if let LogMsg::ArrowMsg(_, message) = message.unwrap() {
            let chunk = Chunk::from_arrow_msg(&message).unwrap();
            chunks.entry(chunk.entity_path().to_string()).or_default().push(chunk);
        }
    }
    chunks
}

/// The values of one component in every row, in the order of the frames.
fn rows<C: re_sdk::Component>(chunks: &[Chunk], ending: &str) -> Vec<(i64, Vec<C>)> {
    let mut rows = Vec::new();
    for chunk in chunks {
        let frames = chunk.timelines()[&"frame".into()].times_raw().to_vec();
        let component =
            chunk.components_identifiers().find(|component| component.as_str().ends_with(ending)).unwrap();
        let values = chunk.iter_component::<C>(component);
        rows.extend(frames.into_iter().zip(values.map(|values| values.as_slice().to_vec())));
    }
    rows.sort_by_key(|(frame, _)| *frame);
    rows
}

#[test]
fn a_file_holds_every_frame_on_one_timeline() {
    let folder = tempfile::tempdir().unwrap();
    let output = watch(folder.path(), "run.rrd");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let names: BTreeSet<String> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names, ["obstacles.jsonl", "run.rrd", "scenes"].map(String::from).into());

    let chunks = chunks(&folder.path().join("run.rrd"));
    let frames: Vec<i64> = (0..FRAMES as i64).collect();
    for entity in ["/frame/picture", "/frame/anomaly", "/frame/prediction", "/frame/picture/obstacles"] {
        let times: BTreeSet<i64> = chunks[entity]
            .iter()
            .flat_map(|chunk| chunk.timelines()[&"frame".into()].times_raw().to_vec())
            .collect();
        assert!(times.iter().eq(&frames), "{entity}: {times:?}");
    }
    for (entity, chunks) in chunks.iter().filter(|(entity, _)| entity.starts_with("/frame")) {
        for chunk in chunks {
            // Rerun adds when something was logged, and as how manieth.
            let names = chunk.timelines().keys().map(ToString::to_string);
            let timelines: BTreeSet<String> = names.filter(|name| !name.starts_with("log_")).collect();
            assert_eq!(timelines, ["frame", "source_time"].map(String::from).into(), "{entity}");
        }
    }

    // Pictures are what was shown, classes are what the network has.
    let pictures = rows::<Blob>(&chunks["/frame/picture"], "blob");
    for ((_, picture), scene) in pictures.iter().zip(&sml::demo::SCENES) {
        let logged = image::load_from_memory(&picture[0]).unwrap().into_rgb8();
        let scene = image::load_from_memory(scene.picture).unwrap().into_rgb8();
        assert_eq!(logged.dimensions(), scene.dimensions());
        let off: u64 =
            logged.as_raw().iter().zip(scene.as_raw()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
        assert!((off as f64) < 8.0 * scene.as_raw().len() as f64, "not the same picture");
    }
    for (_, prediction) in rows::<ImageBuffer>(&chunks["/frame/prediction"], "buffer") {
        assert_eq!(prediction[0].len(), 512 * 256);
        assert!(prediction[0].iter().all(|class| *class < 19), "classes of Cityscapes");
    }
    assert!(chunks["/"].iter().any(|chunk| chunk.is_static()), "the classes' colours");

    // Boxes are those of the JSON lines.
    let lines = std::fs::read_to_string(folder.path().join("obstacles.jsonl")).unwrap();
    let labels = rows::<Text>(&chunks["/frame/picture/obstacles"], "labels");
    let mut found = 0;
    for (line, (frame, labels)) in lines.lines().zip(&labels) {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["frame"], *frame);
        let obstacles = line["obstacles"].as_array().unwrap();
        assert_eq!(labels.len(), obstacles.len());
        for (label, obstacle) in labels.iter().zip(obstacles) {
            let score = obstacle["max_score"].as_f64().unwrap();
            assert_eq!(label.as_str(), format!("#{} {score:.2}", obstacle["id"]));
        }
        found += labels.len();
    }
    assert!(found > 0, "no obstacles to compare");

    for part in ["backbone", "standardize", "total"] {
        let latencies = rows::<Scalar>(&chunks[&format!("/latency/{part}")], "scalars");
        assert_eq!(latencies.len(), FRAMES, "{part}");
        assert!(latencies.iter().all(|(_, value)| value[0].0.0 > 0.0), "{part}");
    }
}

#[test]
fn a_log_that_cannot_be_written_is_told_in_one_line_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for (target, part) in [("nowhere/run.rrd", "nowhere/run.rrd"), ("connect=127.0.0.1:1", "127.0.0.1:1")] {
        let output = watch(folder.path(), target);
        let errors = String::from_utf8_lossy(&output.stderr);
        let last = errors.lines().last().unwrap_or_default();
        assert_eq!(output.status.code(), Some(1), "{errors}");
        assert!(last.starts_with("sml: ") && last.contains(part), "{errors}");
    }
    assert!(!folder.path().join("nowhere").exists());
}
