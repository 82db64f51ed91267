//! What is written of every result: overlays as a video or as pictures, and obstacles as JSON lines.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use image::RgbImage;
use image::codecs::jpeg::JpegEncoder;
use serde::Serialize;

use super::super::overlays::Overlays;
use super::super::rerun::{RerunLog, RerunTarget};
use super::super::run::write_picture;
use super::super::stdout::json_line_is_read;
use super::super::threshold::score_range;
use crate::files::{PictureSource, prepare_folder, write_whole};
use crate::frame_loop::AnomalyFrame;
use crate::obstacles::Obstacle;
use crate::render::ScoreRange;
use crate::video::{Ffmpeg, VideoEncoder};
use crate::{Error, Result, Size};

/// Quality of JPEG overlays, of 100.
const QUALITY: u8 = 90;

/// Where results go.
#[derive(Args)]
#[command(next_help_heading = "Output")]
pub(super) struct OutputArgs {
    /// Write the overlays as a video: heat map on the picture, boxes around obstacles. The ending tells the format (.mp4, .mkv). Needs the
    /// ffmpeg program. The file appears when it is whole
    #[arg(long, value_name = "FILE")]
    video: Option<PathBuf>,

    /// Write the overlays as pictures into a folder, each as it is made
    #[arg(long, value_name = "DIR")]
    frames: Option<PathBuf>,

    /// Format of these pictures
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = PictureFormat::Png, requires = "frames")]
    frame_format: PictureFormat,

    /// Write a JSON object a frame with its obstacles, each as it is made; - is stdout
    #[arg(long, value_name = "FILE|-")]
    obstacles: Option<PathBuf>,

    /// Log pictures, classes, heat maps, obstacles and latencies for the Rerun viewer: into a file, which appears when it is whole,
    /// or to a viewer that runs (on this machine unless an address is given). Only in an sml built with --features rerun
    #[arg(long, value_name = "FILE.rrd|connect[=ADDRESS:PORT]")]
    rerun: Option<RerunTarget>,

    /// Scores that the overlay's colours span, LOW,HIGH. By default from the median to the 99.5 % percentile of the latest
    /// frames
    #[arg(long, value_name = "LOW,HIGH", allow_hyphen_values = true, value_parser = score_range)]
    range: Option<ScoreRange>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum PictureFormat {
    Png,
    Jpeg,
}

impl OutputArgs {
    pub(super) fn writes_obstacles(&self) -> bool {
        self.obstacles.is_some()
    }

    pub(super) fn uses_stdout(&self) -> bool {
        self.obstacles.as_deref() == Some(Path::new("-"))
    }

    /// Whether pictures are needed.
    pub(super) fn draws(&self) -> bool {
        self.video.is_some() || self.frames.is_some() || self.rerun.is_some()
    }

    /// Opens all outputs, for frames of `size`, `rate` of them a second, and a network of these classes. `pictures` are the frames'
    /// files, if they have such.
    pub(super) fn open(
        &self,
        ffmpeg: &Ffmpeg,
        size: Size,
        rate: f64,
        class_names: &[String],
        pictures: Vec<PictureSource>,
    ) -> Result<Outputs> {
        if let Some(folder) = &self.frames {
            prepare_folder(folder)?;
        }
        let lines = self.obstacles.as_deref().map(Lines::open).transpose()?;
        let encoder = |path: &PathBuf| VideoEncoder::create(ffmpeg, path, size, rate);
        let video = self.video.as_ref().map(encoder).transpose()?;
        let log = |target: &RerunTarget| RerunLog::open(target, class_names);
        Ok(Outputs {
            video,
            rerun: self.rerun.as_ref().map(log).transpose()?,
            folder: self.frames.clone().map(|folder| (folder, self.frame_format)),
            lines,
            pictures,
            overlays: Overlays::new(self.range),
            shown: None,
            obstacles: 0,
        })
    }

    /// What was written, for a person.
    pub(super) fn names(&self) -> impl Iterator<Item = &Path> {
        let all = [&self.video, &self.frames, &self.obstacles].into_iter().flatten();
        all.map(PathBuf::as_path).filter(|path| *path != Path::new("-"))
    }
}

/// All outputs of a run.
pub(super) struct Outputs {
    video: Option<VideoEncoder>,
    folder: Option<(PathBuf, PictureFormat)>,
    lines: Option<Lines>,
    rerun: Option<RerunLog>,
    pictures: Vec<PictureSource>,
    overlays: Overlays,
    /// The frame that the video shows last, and its overlay.
    shown: Option<(u64, RgbImage)>,
    obstacles: u64,
}

/// A line about one frame.
#[derive(Serialize)]
struct Line<'a> {
    frame: u64,
    timestamp_s: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    picture: Option<&'a Path>,
    latency_ms: f64,
    missed_deadline: bool,
    non_finite_logits: u64,
    obstacles: &'a [Obstacle],
}

impl Outputs {
    /// Writes a result wherever it has to go.
    pub(super) fn take(&mut self, frame: &AnomalyFrame) -> Result<()> {
        self.obstacles += frame.obstacles().len() as u64;
        let picture = self.pictures.get(frame.stamp().id as usize).map(PictureSource::path);
        if let Some(lines) = &mut self.lines {
            lines.write(&Line {
                frame: frame.stamp().id,
                timestamp_s: frame.stamp().timestamp.as_secs_f64(),
                picture,
                latency_ms: frame.telemetry().total.as_secs_f64() * 1e3,
                missed_deadline: frame.missed_deadline(),
                non_finite_logits: frame.non_finite(),
                obstacles: frame.obstacles(),
            })?;
        }
        if let Some(log) = &mut self.rerun {
            log.log(frame, self.overlays.range(frame)?)?;
        }
        if self.video.is_some() || self.folder.is_some() { self.draw(frame) } else { Ok(()) }
    }

    /// Whether whoever read them on stdout has gone away.
    pub(super) fn abandoned(&self) -> bool {
        self.lines.as_ref().is_some_and(|lines| lines.abandoned)
    }

    /// How many obstacles there were, in all frames together.
    pub(super) fn obstacles(&self) -> u64 {
        self.obstacles
    }

    /// Completes the files.
    pub(super) fn finish(self) -> Result<()> {
        let logged = self.rerun.map_or(Ok(()), RerunLog::finish);
        self.video.map_or(Ok(()), VideoEncoder::finish).and(logged)
    }

    fn draw(&mut self, frame: &AnomalyFrame) -> Result<()> {
        let overlay = self.overlays.draw(frame)?;
        let id = frame.stamp().id;
        if let Some((folder, format)) = &self.folder {
            let name = match self.pictures.get(id as usize) {
                Some(picture) => picture.name(),
                None => format!("frame_{id:06}"),
            };
            format.write(&folder.join(name), &overlay)?;
        }
        if let Some(video) = &mut self.video {
            // Frames without a result are shown as the last one with, so that the video keeps the source's time.
            if let Some((last, shown)) = &self.shown {
                for _ in last + 1..id {
                    video.write(shown.as_raw())?;
                }
            }
            video.write(overlay.as_raw())?;
            self.shown = Some((id, overlay));
        }
        Ok(())
    }
}

impl PictureFormat {
    /// Writes an overlay; `name` without an ending.
    fn write(self, name: &Path, overlay: &RgbImage) -> Result<()> {
        let mut path = name.as_os_str().to_owned();
        match self {
            Self::Png => {
                path.push("_overlay.png");
                write_picture(Path::new(&path), overlay)
            }
            Self::Jpeg => {
                path.push("_overlay.jpg");
                write_whole(Path::new(&path), |out| {
                    let encoder = JpegEncoder::new_with_quality(out, QUALITY);
                    overlay.write_with_encoder(encoder).map_err(std::io::Error::other)
                })
            }
        }
    }
}

/// A file of lines that is whole after each of them, or stdout.
struct Lines {
    /// `None` for stdout.
    file: Option<(File, PathBuf)>,
    /// Bytes of whole lines.
    whole: u64,
    /// Whether stdout's reader has gone away.
    abandoned: bool,
}

impl Lines {
    fn open(path: &Path) -> Result<Self> {
        if path == Path::new("-") {
            return Ok(Self { file: None, whole: 0, abandoned: false });
        }
        let file = File::create(path).map_err(|error| Error::io(path, "write", error))?;
        Ok(Self { file: Some((file, path.to_owned())), whole: 0, abandoned: false })
    }

    fn write(&mut self, line: &impl Serialize) -> Result<()> {
        let Some((file, path)) = &mut self.file else {
            self.abandoned |= !json_line_is_read(line)?;
            return Ok(());
        };
        let write = |file: &mut File| {
            let mut text = serde_json::to_vec(line)?;
            text.push(b'\n');
            file.write_all(&text).map(|()| text.len() as u64)
        };
        match write(file) {
            Ok(length) => {
                self.whole += length;
                Ok(())
            }
            Err(error) => {
                // What fitted of the line goes again, where the file is one that can be cut.
                let _ = file.set_len(self.whole);
                Err(Error::io(&*path, "write", error))
            }
        }
    }
}
