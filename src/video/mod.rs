//! Frames one after the other: out of pictures, videos, cameras and raw bytes, and into videos.
//!
//! Videos and cameras are the ffmpeg program's business: it is started as a process of its own, decodes whatever it can into a
//! pipe of uncompressed pictures ([`VideoDecoder`]), and encodes what is written to it ([`VideoEncoder`]). Nothing of it is
//! linked, and nothing else needs it: [`PictureFrames`] reads picture files and [`RawFrames`] bytes from any reader.
//!
//! A source of frames is a [`Frames`]: of one size and format, read into memory that the caller lends.

mod decoder;
mod encoder;
mod ffmpeg;
mod pictures;
mod portable_pixmap;
mod raw;

pub use decoder::{VideoDecoder, VideoInput};
pub use encoder::VideoEncoder;
pub use ffmpeg::{Ffmpeg, Stopper};
pub use pictures::PictureFrames;
pub use raw::RawFrames;

use crate::{PixelFormat, Result, Size};

/// A source of frames of one size and format.
pub trait Frames: Send {
    /// Rows and columns of every frame.
    fn size(&self) -> Size;

    /// Bytes of a pixel of every frame.
    fn format(&self) -> PixelFormat;

    /// Frames a second, where the source knows.
    fn rate(&self) -> Option<f64> {
        None
    }

    /// Writes the next frame, rows without padding, to `pixels`, which is exactly as long. `false` when there are no more; what
    /// `pixels` holds then says nothing.
    ///
    /// # Errors
    /// When a frame cannot be read or decoded, is incomplete, or has another size. Only where the source says so can it be read
    /// further.
    fn read(&mut self, pixels: &mut [u8]) -> Result<bool>;

    /// Whether after an error the next call goes on with the frame behind the broken one.
    fn survives_errors(&self) -> bool {
        false
    }
}

/// Bytes of a frame.
fn bytes(size: Size, format: PixelFormat) -> usize {
    size.pixels() * format.bytes()
}
