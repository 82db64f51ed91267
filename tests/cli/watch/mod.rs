//! `sml watch`: what it reads and writes, and how it ends.

mod faults;
mod ffmpeg;
mod interrupt;

use image::{ImageFormat, RgbImage};
use serde_json::Value;

use crate::pictures::{encoded, picture};
use crate::program::Folder;
use ffmpeg::StandIn;

/// Small enough to be quick, and no multiple of what the network likes.
pub const WIDTH: u32 = 72;
pub const HEIGHT: u32 = 40;

/// Pictures in `frames`, whose names people and computers sort differently.
pub const NAMES: [&str; 4] = ["f1.png", "f2.png", "f10.png", "f11.png"];

pub fn frames() -> Vec<RgbImage> {
    (0..NAMES.len() as u32).map(|seed| picture(seed, WIDTH, HEIGHT)).collect()
}

pub fn folder_of_frames() -> Folder {
    let folder = Folder::new();
    for (name, picture) in NAMES.iter().zip(frames()) {
        folder.write(&format!("frames/{name}"), encoded(&picture, ImageFormat::Png));
    }
    folder
}

/// The objects of a file of lines.
pub fn lines(folder: &Folder, name: &str) -> Vec<Value> {
    let text = String::from_utf8(folder.read(name)).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "{name} ends within a line");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What every run finds the same.
fn without_times(mut lines: Vec<Value>) -> Vec<Value> {
    for line in &mut lines {
        let line = line.as_object_mut().unwrap();
        assert!(line.remove("latency_ms").unwrap().as_f64().unwrap() > 0.0);
        line.remove("picture");
    }
    lines
}

#[test]
fn a_folder_becomes_overlays_and_obstacles() {
    let folder = folder_of_frames();
    // Everything is an obstacle.
    let arguments = [
        "watch",
        "frames",
        "--frames",
        "out",
        "--obstacles",
        "found.jsonl",
        "--threshold",
        "-1000",
        "--json",
        "--rate",
        "50",
        "--deadline",
        "60000",
    ];
    let ended = folder.sml(&arguments).succeeded();
    let summary = ended.json();
    assert_eq!(
        (&summary["submitted"], &summary["delivered"], &summary["dropped"]),
        (&4.into(), &4.into(), &0.into())
    );
    assert_eq!((&summary["obstacles"], &summary["interrupted"]), (&4.into(), &false.into()));
    assert!(summary["latencies_us"]["backbone"]["p50"].as_f64().unwrap() > 0.0);
    assert!(summary["latencies_us"]["after"]["max"].as_f64().unwrap() > 0.0);
    ended.assert_told(&["4 frames submitted: 4 delivered, 0 dropped", "-> found.jsonl"]);

    let found = lines(&folder, "found.jsonl");
    let ids: Vec<&Value> = found.iter().map(|line| &line["frame"]).collect();
    assert_eq!(ids, [0, 1, 2, 3]);
    for (line, name) in found.iter().zip(NAMES) {
        assert_eq!(line["picture"], format!("frames/{name}"));
        let obstacle = &line["obstacles"][0];
        assert_eq!((&obstacle["id"], &obstacle["area"]), (&1.into(), &(WIDTH * HEIGHT).into()));
        assert_eq!(obstacle["surrounding_class"], Value::Null);
        assert_eq!(line["missed_deadline"], false);
    }
    assert_eq!(found[3]["timestamp_s"], 3.0 / 50.0);
    let overlays = folder.names("out");
    let wanted = ["f10_overlay.png", "f11_overlay.png", "f1_overlay.png", "f2_overlay.png"];
    assert!(overlays.iter().eq(wanted), "{overlays:?}");
    let overlay = image::load_from_memory(&folder.read("out/f10_overlay.png")).unwrap();
    assert_eq!((overlay.width(), overlay.height()), (WIDTH, HEIGHT));
}

#[test]
fn overlays_are_jpeg_on_request() {
    let folder = folder_of_frames();
    folder.sml(&["watch", "frames/f1.png", "--frames", "out", "--frame-format", "jpeg"]).succeeded();
    assert!(folder.read("out/f1_overlay.jpg").starts_with(&[0xff, 0xd8]));
}

#[test]
fn a_video_and_raw_frames_are_the_same_frames() {
    let folder = folder_of_frames();
    let rgb: Vec<u8> = frames().iter().flat_map(|frame| frame.as_raw().clone()).collect();
    let bgr: Vec<u8> = rgb.as_chunks::<3>().0.iter().flat_map(|[r, g, b]| [*b, *g, *r]).collect();
    let stand_in = StandIn::new(&folder);
    stand_in.decodes(&rgb, WIDTH, HEIGHT, 12.5);

    let size = format!("{HEIGHT}x{WIDTH}");
    let raw =
        ["watch", "-", "--raw-size", &size, "--obstacles", "-", "--rate", "12.5", "--minimum-area", "1"];
    let from_rgb = folder.sml_reading(&raw, &rgb).succeeded().json_lines();
    let from_bgr = folder.sml_reading(&[&raw[..], &["--raw-format", "bgr24"]].concat(), &bgr).succeeded();
    let watch =
        ["watch", "drive.mp4", "--obstacles", "video.jsonl", "--video", "overlay.mp4", "--minimum-area", "1"];
    stand_in.sml(&watch).succeeded();
    let pictures =
        ["watch", "frames", "--obstacles", "pictures.jsonl", "--rate", "12.5", "--minimum-area", "1"];
    folder.sml(&pictures).succeeded();

    let wanted = without_times(from_rgb);
    assert_eq!(wanted.len(), 4);
    assert!(wanted.iter().any(|line| line["obstacles"].as_array().unwrap().len() > 1), "{wanted:?}");
    assert_eq!(wanted[3]["timestamp_s"], 3.0 / 12.5);
    assert_eq!(without_times(from_bgr.json_lines()), wanted);
    assert_eq!(without_times(lines(&folder, "video.jsonl")), wanted);
    assert_eq!(without_times(lines(&folder, "pictures.jsonl")), wanted);
    // The stand-in "encodes" what it is given.
    assert_eq!(folder.read("overlay.mp4").len(), rgb.len());
    stand_in.assert_told(&format!("-s {WIDTH}x{HEIGHT} -r 12.5"));
    let left = folder.names(".");
    assert!(!left.iter().any(|name| name.starts_with(".sml")), "{left:?}");
}

#[test]
fn smoothing_over_time_is_off_unless_asked_for() {
    let folder = folder_of_frames();
    let scores = |smoothing: &[&str]| -> Vec<f64> {
        let arguments = ["watch", "frames", "--obstacles", "found.jsonl", "--threshold", "-1000"];
        folder.sml(&[&arguments[..], smoothing].concat()).succeeded();
        lines(&folder, "found.jsonl")
            .iter()
            .map(|l| l["obstacles"][0]["mean_score"].as_f64().unwrap())
            .collect()
    };
    let plain = scores(&[]);
    assert_eq!(scores(&["--temporal-smoothing", "1"]), plain);
    // Every change of the picture is large.
    assert_eq!(scores(&["--temporal-smoothing", "0.5,0"]), plain);
    let smooth = scores(&["--temporal-smoothing", "0.5,255"]);
    assert_eq!(smooth[0], plain[0]);
    assert!((smooth[1] - (plain[0] + plain[1]) / 2.0).abs() < 1e-4, "{smooth:?} {plain:?}");
}

#[test]
fn frames_that_are_dropped_are_counted_and_keep_their_time_in_the_video() {
    let folder = folder_of_frames();
    let frames = frames();
    let many: Vec<u8> = (0..60).flat_map(|id| frames[id % 4].as_raw().clone()).collect();
    let stand_in = StandIn::new(&folder);
    stand_in.decodes(&many, WIDTH, HEIGHT, 25.0);
    // A consumer that is slower than the source.
    stand_in.encodes_slowly();
    let arguments = [
        "watch",
        "drive.mp4",
        "--video",
        "overlay.mp4",
        "--obstacles",
        "found.jsonl",
        "--policy",
        "drop-oldest",
        "--queue",
        "1",
        "--json",
    ];
    let summary = stand_in.sml(&arguments).succeeded().json();
    let count = |name: &str| summary[name].as_u64().unwrap();
    assert_eq!(count("submitted"), 60);
    assert_eq!(count("delivered") + count("dropped"), 60);
    assert!(count("dropped") > 0, "{summary}");
    let ids: Vec<u64> = lines(&folder, "found.jsonl").iter().map(|l| l["frame"].as_u64().unwrap()).collect();
    assert_eq!(ids.len() as u64, count("delivered"));
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "{ids:?}");
    let frame = (WIDTH * HEIGHT * 3) as u64;
    // From the first frame with a result to the last one, with every one that was dropped between.
    assert_eq!(folder.read("overlay.mp4").len() as u64, frame * (ids[ids.len() - 1] - ids[0] + 1));
}

#[test]
fn nothing_is_dropped_where_the_source_waits() {
    let folder = folder_of_frames();
    let frames = frames();
    let many: Vec<u8> = (0..12).flat_map(|id| frames[id % 4].as_raw().clone()).collect();
    let stand_in = StandIn::new(&folder);
    stand_in.decodes(&many, WIDTH, HEIGHT, 25.0);
    stand_in.encodes_slowly();
    let arguments = ["watch", "drive.mp4", "--video", "o.mp4", "--json", "--deadline", "0.001"];
    let summary = stand_in.sml(&arguments).succeeded().json();
    assert_eq!((&summary["delivered"], &summary["dropped"]), (&12.into(), &0.into()));
    assert_eq!(summary["missed_deadlines"], 12);
}
