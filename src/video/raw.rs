//! Frames as bytes, one after the other, from any reader.

use std::io::{ErrorKind, Read};
use std::path::PathBuf;

use super::{Frames, bytes};
use crate::{Error, PixelFormat, Result, Size};

/// Frames of known size and format without anything between them, such as another program writes to a pipe.
#[derive(Debug)]
pub struct RawFrames<R> {
    reader: R,
    /// What errors call it.
    name: PathBuf,
    size: Size,
    format: PixelFormat,
}

impl<R: Read + Send> RawFrames<R> {
    /// Frames out of `reader`, which errors call `name`.
    ///
    /// # Errors
    /// [`Error::Shape`] for a size without pixels or of more than 2^31 - 1.
    pub fn new(reader: R, name: impl Into<PathBuf>, size: Size, format: PixelFormat) -> Result<Self> {
        let pixels = size.height.checked_mul(size.width).filter(|pixels| i32::try_from(*pixels).is_ok());
        if pixels.is_none_or(|pixels| pixels == 0) {
            return Err(Error::Shape {
                what: "size of the frames",
                given: size.to_string(),
                expected: "1 to 2^31 - 1 pixels".to_owned(),
            });
        }
        Ok(Self { reader, name: name.into(), size, format })
    }

    /// Whether a whole frame was there, of which `read` bytes were.
    fn whole(&self, read: usize) -> Result<bool> {
        let frame = bytes(self.size, self.format);
        match read {
            0 => Ok(false),
            read if read == frame => Ok(true),
            read => Err(Error::file(
                &self.name,
                format!("ends within a frame, after {read} of {frame} bytes"),
                format!("whole frames of {} pixels of {} bytes", self.size, self.format.bytes()),
            )),
        }
    }
}

impl<R: Read + Send> Frames for RawFrames<R> {
    fn size(&self) -> Size {
        self.size
    }

    fn format(&self) -> PixelFormat {
        self.format
    }

    fn read(&mut self, pixels: &mut [u8]) -> Result<bool> {
        let mut read = 0;
        while read < pixels.len() {
            match self.reader.read(&mut pixels[read..]) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io(&self.name, "read", error)),
            }
        }
        self.whole(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// Gives its bytes in bits and pieces.
    struct Pieces<'a>(&'a [u8]);

    impl Read for Pieces<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let length = into.len().min(5);
            self.0.read(&mut into[..length])
        }
    }

    #[test]
    fn frames_follow_each_other_and_must_be_whole() {
        let bytes: Vec<u8> = (0..40).collect();
        let mut frames = RawFrames::new(Pieces(&bytes), "-", Size::new(2, 2), PixelFormat::Bgr8).unwrap();
        let mut pixels = [0; 12];
        assert!(frames.read(&mut pixels).unwrap());
        assert_eq!(pixels[11], 11);
        assert!(frames.read(&mut pixels).unwrap());
        assert!(frames.read(&mut pixels).unwrap());
        assert_eq!(pixels[0], 24);
        let error = frames.read(&mut pixels).unwrap_err().to_string();
        assert!(error.starts_with("-: ends within a frame, after 4 of 12 bytes"), "{error}");
        assert!(!frames.read(&mut pixels).unwrap());
        assert!(RawFrames::new(&bytes[..], "-", Size::new(0, 2), PixelFormat::Rgb8).is_err());
    }
}
