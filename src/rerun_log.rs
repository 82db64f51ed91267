//! What a frame loop finds, for the [Rerun](https://rerun.io) viewer: into a file, or to a viewer that runs.
//!
//! Everything lies on one timeline, `frame` (the frames' numbers), and on `source_time` (the source's clock) beside it:
//!
//! | entity | what |
//! |---|---|
//! | `/` | names and colours of the classes |
//! | `frame/picture` | the picture, as JPEG |
//! | `frame/picture/obstacles` | boxes around obstacles, labelled `#id score` |
//! | `frame/prediction` | the predicted classes, lossless |
//! | `frame/anomaly` | the heat map of the anomaly score, as JPEG |
//! | `latency/...` | milliseconds of each part of the frame's way, and of the whole |
//!
//! The viewer is a program of its own (`pip install rerun-sdk`, or `cargo install rerun-cli`), of the version of the `re_sdk` crate that
//! this crate is built with or a later one.

use std::fmt;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use image::RgbImage;
use image::codecs::jpeg::JpegEncoder;
use re_sdk::{RecordingStream, RecordingStreamBuilder};
use re_sdk_types::archetypes::{AnnotationContext, Boxes2D, EncodedImage, Scalars, SegmentationImage};
use re_sdk_types::components::{ImageFormat, MediaType};
use re_sdk_types::datatypes::{ChannelDatatype, ClassDescriptionMapElem, Rgba32};

use crate::frame_loop::{AnomalyFrame, FramePart};
use crate::render::{ScoreRange, heat_map, palette, photograph};
use crate::{Error, Result};

/// Quality of the pictures, of 100.
const QUALITY: u8 = 90;
/// Frames after which what was logged is waited for: so many are at most in memory, and a full disk is found out.
const AHEAD: u64 = 16;
/// How long is waited for the disk or the viewer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Where a viewer on this machine listens.
const LOCAL_VIEWER: &str = "127.0.0.1:9876";

/// Where a log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RerunTarget {
    /// A file, which appears when it is whole.
    File(PathBuf),
    /// A viewer that runs, by its address and port.
    Viewer(String),
}

impl FromStr for RerunTarget {
    type Err = Error;

    /// `connect`, `connect=ADDRESS:PORT`, or the name of a file that ends in `.rrd`.
    fn from_str(text: &str) -> Result<Self> {
        if text == "connect" {
            return Ok(Self::Viewer(LOCAL_VIEWER.to_owned()));
        }
        let is_address = |address: &&str| {
            let port =
                address.rsplit_once(':').map(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
            port == Some(true) && !address.contains(['/', '@', '?', '#', ' '])
        };
        if let Some(address) = text.strip_prefix("connect=").filter(is_address) {
            return Ok(Self::Viewer(address.to_owned()));
        }
        if Path::new(text).extension().is_some_and(|ending| ending == "rrd") {
            return Ok(Self::File(text.into()));
        }
        Err(Error::InvalidParameter {
            field: "rerun",
            given: format!("{text:?}"),
            expected: "FILE.rrd, connect, or connect=ADDRESS:PORT",
        })
    }
}

/// As [`FromStr`] reads it.
impl fmt::Display for RerunTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Viewer(address) => write!(f, "connect={address}"),
        }
    }
}

/// A log that grows with every frame. Dropped without [`finish`](Self::finish), a file does not appear.
pub struct RerunLog {
    recording: RecordingStream,
    target: RerunTarget,
    /// What the file is called while it grows; deleted when dropped.
    growing: Option<tempfile::TempPath>,
    logged: u64,
}

impl RerunLog {
    /// Begins a log of a network with these classes.
    ///
    /// # Errors
    /// [`Error::Io`] where the file cannot be written, or no viewer answers within a few seconds.
    pub fn open(target: &RerunTarget, class_names: &[String]) -> Result<Self> {
        // A variable of the environment would turn logging off, or elsewhere, without a word.
        let builder = RecordingStreamBuilder::new("sml").enabled(true);
        let failed = |error: &dyn fmt::Display| failure(target, error);
        let (recording, growing) = match target {
            RerunTarget::File(path) => {
                let growing = growing_file(path)?;
                (builder.save(&growing).map_err(|error| failed(&error))?, Some(growing))
            }
            RerunTarget::Viewer(address) => {
                let address = format!("rerun+http://{address}/proxy");
                (builder.connect_grpc_opts(address).map_err(|error| failed(&error))?, None)
            }
        };
        // One timeline for everything: neither the computer's clock nor a count of calls beside it.
        for timeline in ["log_time", "log_tick"] {
            recording.disable_timeline(timeline);
        }
        let log = Self { recording, target: target.clone(), growing, logged: 0 };
        log.keep("/", true, &AnnotationContext::new(class_names.iter().enumerate().map(described)))?;
        log.wait()?;
        Ok(log)
    }

    /// Logs one frame of a loop that [keeps pictures](crate::frame_loop::FrameLoopOptions::keep_picture); without them, everything
    /// else. `range` is what the heat map's colours span.
    ///
    /// # Errors
    /// [`Error::Io`] where the file cannot be written or the viewer has gone.
    pub fn log(&mut self, frame: &AnomalyFrame, range: ScoreRange) -> Result<()> {
        let stamp = frame.stamp();
        self.recording.set_time_sequence("frame", i64::try_from(stamp.id).unwrap_or(i64::MAX));
        self.recording.set_duration_secs("source_time", stamp.timestamp.as_secs_f64());
        if let Some(picture) = frame.picture() {
            self.picture("frame/picture", &photograph(&picture)?)?;
        }
        self.picture("frame/anomaly", &heat_map(frame.score(), range)?)?;
        self.prediction(frame)?;
        self.obstacles(frame)?;
        for part in FramePart::ALL {
            let milliseconds = frame.telemetry().part(part).as_secs_f64() * 1e3;
            self.keep(&format!("latency/{}", part.name()), false, &Scalars::single(milliseconds))?;
        }
        self.logged += 1;
        if self.logged.is_multiple_of(AHEAD) { self.wait() } else { Ok(()) }
    }

    /// Completes the log: a file appears under its name.
    ///
    /// # Errors
    /// As [`log`](Self::log).
    pub fn finish(self) -> Result<()> {
        self.wait()?;
        let Self { recording, target, growing, .. } = self;
        // The writing thread is joined here.
        recording.disconnect();
        drop(recording);
        match (growing, &target) {
            (Some(growing), RerunTarget::File(path)) => {
                growing.persist(path).map_err(|refused| Error::io(path, "write", refused.error))
            }
            _ => Ok(()),
        }
    }

    fn picture(&self, entity: &str, picture: &RgbImage) -> Result<()> {
        let mut jpeg = Cursor::new(Vec::new());
        JpegEncoder::new_with_quality(&mut jpeg, QUALITY)
            .encode_image(picture)
            .map_err(|error| failure(&self.target, &error))?;
        let image = EncodedImage::new(jpeg.into_inner()).with_media_type(MediaType::jpeg());
        self.keep(entity, false, &image)
    }

    fn prediction(&self, frame: &AnomalyFrame) -> Result<()> {
        let side = |side: usize| u32::try_from(side).unwrap_or(u32::MAX);
        let size = [side(frame.size().width), side(frame.size().height)];
        let classes: Vec<u8> = frame.prediction().iter().copied().collect();
        let image = SegmentationImage::new(classes, ImageFormat::segmentation(size, ChannelDatatype::U8));
        self.keep("frame/prediction", false, &image)
    }

    /// No boxes where there are no obstacles: those of the frame before go.
    fn obstacles(&self, frame: &AnomalyFrame) -> Result<()> {
        let boxes = frame.obstacles().iter().map(|obstacle| obstacle.bounding_box);
        let corners = boxes.clone().map(|area| [area.left as f32, area.top as f32]);
        let sizes = boxes.map(|area| [area.width as f32, area.height as f32]);
        let labels =
            frame.obstacles().iter().map(|obstacle| format!("#{} {:.2}", obstacle.id, obstacle.max_score));
        let boxes = Boxes2D::from_mins_and_sizes(corners, sizes).with_labels(labels);
        self.keep("frame/picture/obstacles", false, &boxes)
    }

    fn keep(&self, entity: &str, always: bool, what: &dyn re_sdk::AsComponents) -> Result<()> {
        let logged = self.recording.log_with_static(entity, always, what);
        logged.map_err(|error| failure(&self.target, &error))
    }

    /// Waits until everything so far is written or sent.
    fn wait(&self) -> Result<()> {
        self.recording.flush_with_timeout(PATIENCE).map_err(|error| failure(&self.target, &error))
    }
}

impl fmt::Debug for RerunLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RerunLog")
            .field("target", &self.target)
            .field("logged", &self.logged)
            .finish_non_exhaustive()
    }
}

/// A hidden file in the folder of `path`, with the permissions of any new file.
fn growing_file(path: &Path) -> Result<tempfile::TempPath> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".sml-").suffix(".part");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let refused = |error: std::io::Error| Error::io(path, "write", error.kind().into());
    builder.tempfile_in(folder).map(tempfile::NamedTempFile::into_temp_path).map_err(refused)
}

/// Name and colour of a class.
fn described((class, name): (usize, &String)) -> ClassDescriptionMapElem {
    let class = u8::try_from(class).unwrap_or(u8::MAX);
    let image::Rgb([r, g, b]) = palette::color_of(class);
    (u16::from(class), name.as_str(), Rgba32::from_rgb(r, g, b)).into()
}

fn failure(target: &RerunTarget, error: &dyn fmt::Display) -> Error {
    let error = error.to_string();
    let message = std::io::Error::other(error.lines().next().unwrap_or_default().to_owned());
    match target {
        RerunTarget::File(path) => Error::io(path, "write", message),
        RerunTarget::Viewer(address) => {
            Error::io(address, "send to the Rerun viewer there (does one run? `rerun` starts one)", message)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_files_and_viewers() {
        let target = |text: &str| text.parse::<RerunTarget>();
        assert_eq!(target("a/b.rrd").unwrap(), RerunTarget::File("a/b.rrd".into()));
        assert_eq!(target("connect").unwrap().to_string(), "connect=127.0.0.1:9876");
        for text in ["connect=robot:9876", "connect=[::1]:80", "run.rrd"] {
            assert_eq!(target(text).unwrap().to_string(), text);
        }
        for wrong in [
            "",
            "run",
            "run.rrd.gz",
            "connect=",
            "connect=robot",
            "connect=:1",
            "connect=a/b:1",
            "connect=a:99999",
        ] {
            assert!(target(wrong).is_err(), "{wrong}");
        }
    }
}
