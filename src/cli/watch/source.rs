//! SOURCE: where the frames come from.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::super::method::size;
use crate::files::{PictureSource, list_pictures};
use crate::video::{Ffmpeg, Frames, PictureFrames, RawFrames, Stopper, VideoDecoder, VideoInput};
use crate::{Error, PixelFormat, Result, Size};

/// Frames a second that pictures and raw frames count as in timestamps and videos, unless a rate is given.
const DEFAULT_RATE: f64 = 10.0;

/// The source, and what it does not say itself.
#[derive(Args)]
pub(in super::super) struct SourceArgs {
    /// A folder of pictures (in the order in which people count) or a pattern; a video; the address of a camera (rtsp://..., /dev/video0);
    /// or - for raw frames on standard input. Videos and cameras need the ffmpeg program
    #[arg(value_name = "SOURCE")]
    source: PathBuf,

    /// Frames a second. Pictures and raw frames are taken at this pace, and a video or a camera is brought to it, a video
    /// played at it; without, frames are taken as fast as they come
    #[arg(long, value_name = "FPS", value_parser = rate)]
    rate: Option<f64>,

    /// Rows and columns of raw frames
    #[arg(long, value_name = "HxW", value_parser = size)]
    raw_size: Option<Size>,

    /// Pixels of raw frames
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = RawFormat::Rgb24)]
    raw_format: RawFormat,

    /// Leave out pictures that cannot be decoded or have another size than the first, with a warning, instead of ending at
    /// the first one
    #[arg(long)]
    skip_broken: bool,
}

/// Bytes of a pixel, as ffmpeg calls them.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum RawFormat {
    Rgb24,
    Bgr24,
}

impl From<RawFormat> for PixelFormat {
    fn from(format: RawFormat) -> Self {
        match format {
            RawFormat::Rgb24 => Self::Rgb8,
            RawFormat::Bgr24 => Self::Bgr8,
        }
    }
}

fn rate(text: &str) -> Result<f64> {
    text.parse().ok().filter(|rate| (0.001..=1000.0).contains(rate)).ok_or_else(|| Error::InvalidParameter {
        field: "rate",
        given: format!("{text:?}"),
        expected: "frames a second, from 0.001 to 1000",
    })
}

/// An opened source.
pub(in super::super) struct Source {
    pub(in super::super) frames: Box<dyn Frames>,
    /// Whether frames come when they come, and are lost on whoever is slow.
    pub(in super::super) live: bool,
    /// The files of the frames, if they have such.
    pub(in super::super) pictures: Vec<PictureSource>,
    /// Ends the source from another thread, where something has to be ended.
    pub(in super::super) stopper: Option<Stopper>,
    /// Frames a second at which they are to be taken.
    pub(in super::super) pace: Option<f64>,
    pub(in super::super) skip_broken: bool,
}

impl Source {
    /// Frames a second that timestamps and videos count in, where the source has no clock.
    pub(in super::super) fn rate(&self) -> f64 {
        self.frames.rate().or(self.pace).unwrap_or(DEFAULT_RATE)
    }
}

impl SourceArgs {
    /// Opens the source: reads the first picture, or starts ffmpeg.
    ///
    /// # Errors
    /// When it is none, cannot be read, or an option is missing or says nothing about it.
    pub(in super::super) fn open(&self, ffmpeg: &Ffmpeg) -> Result<Source> {
        if self.source == Path::new("-") {
            return self.raw();
        }
        if let Some(size) = self.raw_size {
            let (given, expected) = (size.to_string(), "to come with raw frames on standard input (-) only");
            return Err(Error::InvalidParameter { field: "--raw-size", given, expected });
        }
        match self.video() {
            Some(input) => self.decode(ffmpeg, input),
            None => self.pictures(),
        }
    }

    /// `None` for pictures, and for what does not exist.
    fn video(&self) -> Option<VideoInput> {
        let text = self.source.to_string_lossy();
        if text.contains("://") {
            return Some(VideoInput::Address(text.into_owned()));
        }
        if text.starts_with("/dev/video") {
            return Some(VideoInput::Camera(self.source.clone()));
        }
        const PICTURES: [&str; 4] = ["png", "jpg", "jpeg", "webp"];
        let ending = self.source.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        let video = self.source.is_file() && !PICTURES.contains(&ending.as_str());
        video.then(|| VideoInput::File(self.source.clone()))
    }

    fn decode(&self, ffmpeg: &Ffmpeg, input: VideoInput) -> Result<Source> {
        let live = input.is_live();
        let decoder = VideoDecoder::open(ffmpeg, input, self.rate)?;
        Ok(Source {
            live,
            pictures: Vec::new(),
            stopper: Some(decoder.stopper()),
            // A camera has its own pace.
            pace: self.rate.filter(|_| !live),
            skip_broken: self.skip_broken,
            frames: Box::new(decoder),
        })
    }

    fn pictures(&self) -> Result<Source> {
        let pictures = list_pictures(std::slice::from_ref(&self.source))?;
        let frames = Box::new(PictureFrames::new(pictures.clone())?);
        let (pace, skip_broken) = (self.rate, self.skip_broken);
        Ok(Source { frames, live: false, pictures, stopper: None, pace, skip_broken })
    }

    fn raw(&self) -> Result<Source> {
        let size = self.raw_size.ok_or_else(|| Error::InvalidParameter {
            field: "--raw-size",
            given: "missing".to_owned(),
            expected: "the HEIGHTxWIDTH of the raw frames on standard input",
        })?;
        let frames = Box::new(RawFrames::new(std::io::stdin(), "-", size, self.raw_format.into())?);
        let (pace, skip_broken) = (self.rate, self.skip_broken);
        Ok(Source { frames, live: false, pictures: Vec::new(), stopper: None, pace, skip_broken })
    }
}
