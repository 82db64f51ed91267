//! Sources, outputs and options that are not as they should be.

use image::ImageFormat;

use super::ffmpeg::{StandIn, portable_pixmaps};
use super::{HEIGHT, WIDTH, folder_of_frames, frames, lines};
use crate::pictures::{encoded, picture};
use crate::program::Folder;

const WATCH: [&str; 6] = ["watch", "drive.mp4", "--video", "overlay.mp4", "--obstacles", "found.jsonl"];
const FRAME: usize = (WIDTH * HEIGHT * 3) as usize;

/// Three frames for the stand-in to decode.
fn three_frames(folder: &Folder) -> StandIn<'_> {
    let stand_in = StandIn::new(folder);
    let rgb: Vec<u8> = frames()[..3].iter().flat_map(|frame| frame.as_raw().clone()).collect();
    stand_in.decodes(&rgb, WIDTH, HEIGHT, 25.0);
    stand_in
}

/// Nothing hidden is left.
#[track_caller]
fn assert_tidy(folder: &Folder) {
    let names = folder.names(".");
    assert!(!names.iter().any(|name| name.starts_with(".sml")), "{names:?}");
}

#[test]
fn without_ffmpeg_it_says_what_to_do() {
    let folder = folder_of_frames();
    folder.write("drive.mp4", "a video");
    for arguments in [&["watch", "drive.mp4"][..], &["watch", "frames", "--video", "o.mp4"]] {
        let mut command = folder.command(arguments);
        command.env("SML_FFMPEG", "/nowhere/ffmpeg");
        crate::program::Finished::of(command, arguments).failed(&[
            "/nowhere/ffmpeg",
            "SML_FFMPEG",
            "--frames",
        ]);
        assert_tidy(&folder);
    }
}

#[test]
fn a_decoder_that_dies_leaves_whole_files_of_the_frames_before() {
    let folder = Folder::new();
    let stand_in = three_frames(&folder);
    let cases = [
        (
            "cat frames.ppm; echo '[h264 @ 0x1] Error while decoding' >&2; exit 69",
            "Error while decoding; exit status: 69",
        ),
        ("cat frames.ppm; head -c 700 frames.ppm; kill -KILL $$", "ended within a frame (ffmpeg: "),
        ("cat frames.ppm; head -c 700 frames.ppm", "ended within a frame"),
        ("cat frames.ppm; printf 'P6\\n7'", "ended within a frame"),
        (
            "cat frames.ppm; printf 'GIF89a and more, which is no pixmap at all, by any means'",
            "something else than frames",
        ),
        (
            "cat frames.ppm; printf 'P6\\n8 6\\n255\\n'; head -c 144 frames.ppm",
            "changes from 40x72 to 6x8 pixels",
        ),
    ];
    for (script, problem) in cases {
        stand_in.decode(script);
        stand_in.sml(&WATCH).failed(&["drive.mp4: ", problem]);
        assert_eq!(lines(&folder, "found.jsonl").len(), 3, "{script}");
        assert_eq!(folder.read("overlay.mp4").len(), 3 * FRAME, "{script}");
        assert_tidy(&folder);
    }
}

#[test]
fn a_source_without_a_frame_writes_nothing() {
    let folder = Folder::new();
    let stand_in = three_frames(&folder);
    for (script, problem) in [
        ("echo 'Error opening input files: Invalid data found' >&2; exit 183", "Invalid data found"),
        ("exit 0", "holds no frames"),
    ] {
        stand_in.decode(script);
        stand_in.sml(&WATCH).failed(&["drive.mp4: ", problem]);
        assert!(!folder.path("overlay.mp4").exists() && !folder.path("found.jsonl").exists());
        assert_tidy(&folder);
    }
    folder.sml(&["watch", "nothing.mp4"]).failed(&["nothing.mp4"]);
}

#[test]
fn a_broken_picture_ends_it_or_is_left_out() {
    let folder = folder_of_frames();
    folder.write("frames/f3.png", &encoded(&picture(3, WIDTH, HEIGHT), ImageFormat::Png)[..300]);
    folder.write("frames/f4.png", encoded(&picture(4, WIDTH + 2, HEIGHT), ImageFormat::Png));
    let arguments = ["watch", "frames", "--obstacles", "found.jsonl", "--frames", "out", "--json"];
    folder.sml(&arguments).failed(&["frames/f3.png", "truncated"]);
    assert_eq!(lines(&folder, "found.jsonl").len(), 2);
    assert_eq!(folder.names("out").len(), 2);

    let ended = folder.sml(&[&arguments[..], &["--skip-broken"]].concat()).succeeded();
    ended.assert_told(&["warning: left out: frames/f3.png", "frames/f4.png: is a picture of 40x74 pixels"]);
    assert_eq!(ended.json()["broken_pictures"], 2);
    let ids: Vec<u64> =
        lines(&folder, "found.jsonl").iter().map(|line| line["frame"].as_u64().unwrap()).collect();
    assert_eq!(ids, [0, 1, 4, 5]);
    assert_eq!(lines(&folder, "found.jsonl")[2]["picture"], "frames/f10.png");
}

#[test]
fn a_full_disk_leaves_no_half_file() {
    let folder = Folder::new();
    let stand_in = three_frames(&folder);
    let older = folder.write("overlay.mp4", "an older video");
    stand_in.encode("head -c 5000 > \"$target\"; echo '[out#0 @ 0x1] Error writing: No space left on device' >&2; exit 228");
    stand_in
        .sml(&WATCH)
        .failed(&["overlay.mp4: cannot be written", "No space left on device; exit status: 228"]);
    assert_eq!(std::fs::read(older).unwrap(), b"an older video");
    assert_tidy(&folder);

    // The video is completed where it is the lines that find no room.
    let full = ["watch", "drive.mp4", "--video", "overlay.mp4", "--obstacles", "/dev/full"];
    stand_in.encode("cat > \"$target\"");
    stand_in.sml(&full).failed(&["/dev/full: cannot write", "No space left"]);
    assert_tidy(&folder);
}

#[test]
fn raw_frames_must_be_whole() {
    let folder = Folder::new();
    let rgb = [frames()[0].as_raw().clone(), vec![7; 100]].concat();
    let arguments = ["watch", "-", "--raw-size", "40x72", "--obstacles", "found.jsonl"];
    folder.sml_reading(&arguments, &rgb).failed(&["-: ends within a frame, after 100 of 8640 bytes"]);
    assert_eq!(lines(&folder, "found.jsonl").len(), 1);
}

#[test]
fn frames_of_a_strange_program_are_bounded() {
    let folder = Folder::new();
    let stand_in = three_frames(&folder);
    folder.write("tools/frames.ppm", portable_pixmaps(&[], 1, 1));
    stand_in.decode("printf 'P6\\n32768 32768\\n255\\n'");
    stand_in.sml(&WATCH).failed(&["drive.mp4: ", "something else than frames"]);
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    let folder = folder_of_frames();
    folder.sml(&["watch", "frames", "--json", "--obstacles", "-"]).refused(&["--json", "--obstacles FILE"]);
    folder.sml(&["watch", "-"]).refused(&["--raw-size is missing"]);
    folder.sml(&["watch", "frames", "--raw-size", "4x5"]).refused(&["--raw-size", "standard input"]);
    let no_thresholds = ["watch", "frames", "--score", "msp", "--obstacles", "found.jsonl"];
    folder.sml(&no_thresholds).refused(&["--obstacles", "--threshold SCORE"]);
    assert!(!folder.path("found.jsonl").exists());
    folder.sml(&["watch", "frames", "--queue", "0"]).refused(&["queue is 0"]);
    for wrong in [
        &["--rate", "0"][..],
        &["--deadline", "0"],
        &["--policy", "newest"],
        &["--drivable", "street"],
        &["--drivable-margin", "3"],
        &["--minimum-area", "0"],
        &["--temporal-smoothing", "2"],
        &["--threshold", "NaN"],
        &["--fpr", "0.1", "--tpr", "0.9"],
        &["--raw-format", "nv12"],
        &["--frame-format", "jpeg"],
    ] {
        folder.sml(&[&["watch", "frames"], wrong].concat()).misused(&[wrong[0]]);
    }
}

#[test]
fn without_a_threshold_it_watches_all_the_same() {
    let folder = folder_of_frames();
    let ended = folder.sml(&["watch", "frames", "--score", "msp", "--frames", "out"]).succeeded();
    ended.assert_told(&["obstacles are not looked for"]);
    assert_eq!(folder.names("out").len(), 4);
}
