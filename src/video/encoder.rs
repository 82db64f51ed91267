//! Videos, encoded by ffmpeg.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Stdio};

use tempfile::TempDir;

use super::bytes;
use super::ffmpeg::{Ffmpeg, Process};
use crate::{Error, PixelFormat, Result, Size};

/// A video file in the making. It appears under its name when it is [finished](Self::finish), whole; dropped before, it
/// leaves nothing.
#[derive(Debug)]
pub struct VideoEncoder {
    pixels: Option<ChildStdin>,
    process: Process,
    path: PathBuf,
    /// The file while it grows, in a hidden folder beside its place.
    growing: PathBuf,
    hidden: TempDir,
    frame: usize,
}

impl VideoEncoder {
    /// A video of so many frames a second. Its ending tells the format (`.mp4`, `.mkv`, `.webm` ...), and ffmpeg chooses the codec.
    /// A side of an odd number of pixels gets a black one more, which most codecs ask for.
    ///
    /// # Errors
    /// [`Error::File`] where there is no ffmpeg or the path names no file; [`Error::Io`] where its folder cannot be written to.
    pub fn create(ffmpeg: &Ffmpeg, path: &Path, size: Size, rate: f64) -> Result<Self> {
        let name =
            path.file_name().ok_or_else(|| Error::file(path, "names no file", "such as overlay.mp4"))?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        crate::files::prepare_folder(folder)?;
        if path.is_dir() {
            return Err(Error::io(path, "write", ErrorKind::IsADirectory.into()));
        }
        let hidden = tempfile::Builder::new()
            .prefix(".sml-")
            .suffix(".part")
            .tempdir_in(folder)
            .map_err(|refused| Error::io(folder, "create files in it", refused.kind().into()))?;
        let growing = hidden.path().join(name);
        let mut target = std::ffi::OsString::from("file:");
        target.push(&growing);

        let mut command = ffmpeg.command();
        command.args(["-f", "rawvideo", "-pix_fmt", "rgb24", "-s"]);
        command.arg(format!("{}x{}", size.width, size.height)).arg("-r").arg(rate.to_string());
        command.args(["-i", "-", "-an", "-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-pix_fmt", "yuv420p", "-y"]);
        command.arg(target).stdin(Stdio::piped()).stdout(Stdio::null());
        #[cfg(unix)]
        {
            // Ctrl-C in a terminal is for this program, which finishes the video then.
            std::os::unix::process::CommandExt::process_group(&mut command, 0);
        }
        let process = ffmpeg.start(command)?;
        let pixels = process.with_child(|child| child.stdin.take());
        let frame = bytes(size, PixelFormat::Rgb8);
        Ok(Self { pixels, process, path: path.to_owned(), growing, hidden, frame })
    }

    /// Adds a frame: red, green and blue, rows without padding.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of bytes; [`Error::File`] where ffmpeg has given up, with what it said (a full disk, an
    /// ending that it does not know).
    pub fn write(&mut self, pixels: &[u8]) -> Result<()> {
        if pixels.len() != self.frame {
            return Err(Error::Shape {
                what: "number of bytes of a frame",
                given: pixels.len().to_string(),
                expected: self.frame.to_string(),
            });
        }
        let written = match &mut self.pixels {
            Some(pipe) => pipe.write_all(pixels),
            None => Err(ErrorKind::BrokenPipe.into()),
        };
        written.map_err(|error| {
            self.pixels = None;
            match self.process.wait(None) {
                Err(said) => self.error(&said),
                Ok(()) => Error::io(&self.path, "write", error),
            }
        })
    }

    /// Waits until ffmpeg has written everything, and gives the file its name.
    ///
    /// # Errors
    /// [`Error::File`] where ffmpeg failed, with what it said; [`Error::Io`] where the file cannot be moved to its name. Nothing is
    /// left then, and an older file of that name is as it was.
    pub fn finish(mut self) -> Result<()> {
        self.pixels = None;
        self.process.wait(None).map_err(|said| self.error(&said))?;
        // The file behind a symbolic link is replaced, not the link.
        let behind = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        fs::rename(&self.growing, behind).map_err(|error| Error::io(&self.path, "write", error))?;
        self.hidden.close().map_err(|error| Error::io(&self.path, "tidy up beside", error))
    }

    fn error(&self, said: &str) -> Error {
        Error::file(
            &self.path,
            format!("cannot be written (ffmpeg: {said})"),
            "room on the disk, and an ending that ffmpeg knows, such as .mp4 or .mkv",
        )
    }
}
