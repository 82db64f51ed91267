//! Videos and cameras, decoded by ffmpeg.

use std::io::{self, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};
use std::time::Duration;

use super::Frames;
use super::ffmpeg::{Ffmpeg, Process, Stopper};
use super::portable_pixmap::read_header;
use crate::{Error, PixelFormat, Result, Size};

/// What ffmpeg decodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VideoInput {
    /// A file.
    File(PathBuf),
    /// A camera of Video4Linux, such as `/dev/video0`.
    Camera(PathBuf),
    /// An address that ffmpeg knows, such as `rtsp://camera/stream`.
    Address(String),
}

impl VideoInput {
    /// Whether frames come when they come: whoever is slow misses them.
    pub fn is_live(&self) -> bool {
        !matches!(self, Self::File(_))
    }

    /// What errors call it.
    fn name(&self) -> &Path {
        match self {
            Self::File(path) | Self::Camera(path) => path,
            Self::Address(address) => Path::new(address),
        }
    }

    fn give_to(&self, command: &mut Command) {
        match self {
            Self::File(path) => {
                // Not an address, whatever the file is called.
                let mut file = std::ffi::OsString::from("file:");
                file.push(path);
                command.arg("-i").arg(file);
            }
            Self::Camera(path) => {
                command.args(["-f", "v4l2", "-i"]).arg(path);
            }
            Self::Address(address) => {
                if address.starts_with("rtsp://") || address.starts_with("rtsps://") {
                    // Over UDP lost packets become broken frames.
                    command.args(["-rtsp_transport", "tcp"]);
                }
                command.args(["-fflags", "nobuffer", "-i"]).arg(address);
            }
        }
    }
}

/// Frames of a video or a camera, in red, green and blue, at a constant rate: ffmpeg repeats and leaves out frames of streams
/// that have none.
///
/// After an error it is at its end.
#[derive(Debug)]
pub struct VideoDecoder {
    input: VideoInput,
    pixels: BufReader<ChildStdout>,
    process: Process,
    size: Size,
    rate: Option<f64>,
    /// Whether the header of the next frame has been read already.
    begun: bool,
    ended: bool,
}

/// How long ffmpeg may take to end once its pipe is closed.
const PATIENCE: Duration = Duration::from_secs(5);

impl VideoDecoder {
    /// Starts ffmpeg and waits for the first frame's size. With `rate`, ffmpeg brings the stream to so many frames a second.
    ///
    /// # Errors
    /// [`Error::File`] where there is no ffmpeg, or it cannot read or decode the input; [`Error::Io`] where it cannot be started.
    pub fn open(ffmpeg: &Ffmpeg, input: VideoInput, rate: Option<f64>) -> Result<Self> {
        let mut command = ffmpeg.command();
        command.arg("-nostdin");
        input.give_to(&mut command);
        if let Some(rate) = rate {
            command.arg("-r").arg(rate.to_string());
        }
        command.args(["-map", "0:v:0", "-f", "image2pipe", "-c:v", "ppm", "-pix_fmt", "rgb24", "-"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let process = ffmpeg.start(command)?;
        let stdout = process.with_child(|child| child.stdout.take());
        let stdout = stdout.ok_or_else(|| Error::io(input.name(), "read", ErrorKind::BrokenPipe.into()))?;
        let pixels = BufReader::with_capacity(1 << 16, stdout);
        let size = Size::new(0, 0);
        let mut decoder = Self { input, pixels, process, size, rate, begun: true, ended: false };
        match read_header(&mut decoder.pixels) {
            Ok(Some(size)) => decoder.size = size,
            Ok(None) => {
                decoder.end("cannot be read")?;
                return Err(decoder.error("holds no frames".to_owned()));
            }
            Err(error) => return Err(decoder.failed(&error)),
        }
        decoder.rate = rate.or_else(|| decoder.process.rate());
        Ok(decoder)
    }

    /// What ends it from another thread.
    pub fn stopper(&self) -> Stopper {
        self.process.stopper()
    }

    /// Reads the header of the next frame. `false` at the end.
    fn begin(&mut self) -> Result<bool> {
        if self.ended {
            return Ok(false);
        }
        if std::mem::take(&mut self.begun) {
            return Ok(true);
        }
        match read_header(&mut self.pixels) {
            Ok(Some(size)) if size == self.size => Ok(true),
            Ok(Some(size)) => {
                self.ended = true;
                self.process.stopper().stop();
                Err(self.error(format!("changes from {} to {size} pixels", self.size)))
            }
            Ok(None) => {
                self.end("ended early")?;
                Ok(false)
            }
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// The pipe is closed: ffmpeg ends, and says how it went.
    fn end(&mut self, problem: &str) -> Result<()> {
        self.ended = true;
        self.process.wait(Some(PATIENCE)).map_err(|said| self.error(format!("{problem} (ffmpeg: {said})")))
    }

    /// The error behind a pipe that ended within a frame, or held something else.
    fn failed(&mut self, error: &io::Error) -> Error {
        if error.kind() == ErrorKind::InvalidData {
            self.ended = true;
            self.process.stopper().stop();
            return self.error(format!("came out of ffmpeg as something else than frames ({error})"));
        }
        match self.end("ended within a frame") {
            Ok(()) => self.error("ended within a frame".to_owned()),
            Err(error) => error,
        }
    }

    fn error(&self, problem: String) -> Error {
        Error::file(self.input.name(), problem, "a video or a camera that ffmpeg decodes to its end")
    }
}

impl Frames for VideoDecoder {
    fn size(&self) -> Size {
        self.size
    }

    fn format(&self) -> PixelFormat {
        PixelFormat::Rgb8
    }

    fn rate(&self) -> Option<f64> {
        self.rate
    }

    fn read(&mut self, pixels: &mut [u8]) -> Result<bool> {
        if !self.begin()? {
            return Ok(false);
        }
        self.pixels.read_exact(pixels).map_err(|error| self.failed(&error))?;
        Ok(true)
    }
}
