//! Stands in for the ffmpeg program, with faults on request; and the real one, where there is one.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::{HEIGHT, NAMES, WIDTH, folder_of_frames, lines};
use crate::program::{Finished, Folder};

/// Decodes (its output is `-`) by printing `frames.ppm`, and "encodes" by writing the pixels as they come. What it does besides stands in
/// `decode.sh` and `encode.sh`.
const PROGRAM: &str = r#"#!/bin/sh
cd "$(dirname "$0")"
echo "$*" >> told
for last; do :; done
if [ "$last" = - ]; then
    echo "Input #0, mov, from 'x':" >&2
    echo "  Stream #0:0: Video: h264, 7 fps" >&2
    echo "Output #0, image2pipe, to 'pipe:':" >&2
    echo "  Stream #0:0: Video: ppm, rgb24, $(cat rate) fps, 25 tbn" >&2
    . ./decode.sh
else
    target="${last#file:}"
    case "$target" in /*) ;; *) target="../$target" ;; esac
    . ./encode.sh
fi
"#;

pub struct StandIn<'a> {
    folder: &'a Folder,
}

impl<'a> StandIn<'a> {
    /// One that decodes nothing and encodes everything, and a file to decode.
    pub fn new(folder: &'a Folder) -> Self {
        let program = folder.write("tools/ffmpeg", PROGRAM);
        std::fs::set_permissions(program, std::fs::Permissions::from_mode(0o755)).unwrap();
        folder.write("drive.mp4", "a video");
        folder.write("tools/rate", "25");
        let stand_in = Self { folder };
        stand_in.decode("");
        stand_in.encode("cat > \"$target\"");
        stand_in
    }

    /// What it does to decode; `frames.ppm` holds the frames.
    pub fn decode(&self, script: &str) {
        self.folder.write("tools/decode.sh", script);
    }

    /// What it does to encode into `$target`.
    pub fn encode(&self, script: &str) {
        self.folder.write("tools/encode.sh", script);
    }

    /// From now on it decodes to these pixels, at this rate.
    pub fn decodes(&self, rgb: &[u8], width: u32, height: u32, rate: f64) {
        self.folder.write("tools/frames.ppm", portable_pixmaps(rgb, width, height));
        self.folder.write("tools/rate", rate.to_string());
        self.decode("cat frames.ppm");
    }

    /// It takes a tenth of a second for a frame.
    pub fn encodes_slowly(&self) {
        let frame = WIDTH * HEIGHT * 3;
        self.encode(&format!(
            "while head -c {frame} > part && [ -s part ]; do cat part >> \"$target\"; sleep 0.1; done"
        ));
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.folder.command(arguments);
        command.env("SML_FFMPEG", self.folder.path("tools/ffmpeg"));
        command
    }

    pub fn sml(&self, arguments: &[&str]) -> Finished {
        Finished::of(self.command(arguments), arguments)
    }

    /// One of the command lines that it was started with holds this.
    #[track_caller]
    pub fn assert_told(&self, part: &str) {
        let told = String::from_utf8(self.folder.read("tools/told")).unwrap();
        assert!(told.lines().any(|line| line.contains(part)), "{part:?} is not in\n{told}");
    }
}

/// Frames as ffmpeg writes them to a pipe.
pub fn portable_pixmaps(rgb: &[u8], width: u32, height: u32) -> Vec<u8> {
    let frame = |pixels: &[u8]| [format!("P6\n{width} {height}\n255\n").as_bytes(), pixels].concat();
    rgb.chunks((width * height * 3) as usize).flat_map(frame).collect()
}

/// The real program: what SML_FFMPEG names, or the one on PATH. Tells why there is none.
fn real() -> Option<String> {
    let program = std::env::var("SML_FFMPEG").unwrap_or_else(|_| "ffmpeg".to_owned());
    match Command::new(&program).arg("-version").output() {
        Ok(output) if output.status.success() => Some(program),
        other => {
            eprintln!("skipped: no ffmpeg ({program}: {other:?}); set SML_FFMPEG to run this test");
            None
        }
    }
}

#[test]
fn the_real_program_decodes_and_encodes() {
    let Some(program) = real() else { return };
    let folder = folder_of_frames();
    let ffmpeg = |arguments: &[&str]| {
        let output = Command::new(&program).args(arguments).current_dir(folder.path(".")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stderr).unwrap()
    };
    for (index, name) in NAMES.iter().enumerate() {
        std::fs::copy(folder.path(format!("frames/{name}")), folder.path(format!("n{index}.png"))).unwrap();
    }
    // Without loss, so that the frames are the pictures.
    ffmpeg(&["-framerate", "5", "-i", "n%d.png", "-c:v", "ffv1", "-pix_fmt", "bgr0", "drive.mkv"]);
    let arguments =
        ["watch", "drive.mkv", "--video", "overlay.mp4", "--obstacles", "video.jsonl", "--minimum-area", "1"];
    let mut command = folder.command(&arguments);
    command.env("SML_FFMPEG", &program);
    Finished::of(command, &arguments).succeeded();
    folder
        .sml(&["watch", "frames", "--obstacles", "p.jsonl", "--rate", "5", "--minimum-area", "1"])
        .succeeded();
    let found = super::without_times(lines(&folder, "video.jsonl"));
    assert_eq!(found, super::without_times(lines(&folder, "p.jsonl")));
    assert_eq!(found[3]["timestamp_s"], 3.0 / 5.0);
    let told = ffmpeg(&["-i", "overlay.mp4", "-f", "null", "-"]);
    assert!(told.contains("frame=    4") && told.contains(&format!("{WIDTH}x{HEIGHT}")), "{told}");
}
