//! Picture files as frames.

use image::RgbImage;

use super::Frames;
use crate::files::{PictureSource, read_picture};
use crate::{Error, PixelFormat, Result, Size};

/// Pictures of one size, in the order in which they are given.
///
/// A picture that cannot be read, is damaged, or has another size than the first one is an error, after which the next one can
/// be read.
#[derive(Debug)]
pub struct PictureFrames {
    pictures: Vec<PictureSource>,
    next: usize,
    /// The first one, decoded to learn the size.
    first: Option<RgbImage>,
    size: Size,
}

impl PictureFrames {
    /// Reads the first picture, whose size all must have.
    ///
    /// # Errors
    /// [`Error::File`] and [`Error::Io`] where it cannot be read; [`Error::Shape`] for no pictures.
    pub fn new(pictures: Vec<PictureSource>) -> Result<Self> {
        let first = pictures.first().ok_or_else(|| Error::Shape {
            what: "number of pictures",
            given: "0".to_owned(),
            expected: "at least one".to_owned(),
        })?;
        let first = read_picture(first)?;
        let size = Size::new(first.height() as usize, first.width() as usize);
        Ok(Self { pictures, next: 0, first: Some(first), size })
    }

    /// The pictures.
    pub fn pictures(&self) -> &[PictureSource] {
        &self.pictures
    }
}

impl Frames for PictureFrames {
    fn size(&self) -> Size {
        self.size
    }

    fn format(&self) -> PixelFormat {
        PixelFormat::Rgb8
    }

    fn read(&mut self, pixels: &mut [u8]) -> Result<bool> {
        let Some(source) = self.pictures.get(self.next) else { return Ok(false) };
        self.next += 1;
        let picture = match self.first.take() {
            Some(first) => first,
            None => read_picture(source)?,
        };
        let size = Size::new(picture.height() as usize, picture.width() as usize);
        if size != self.size {
            let problem = format!("is a picture of {size} pixels");
            let expected = format!("{}, as the first picture of the sequence", self.size);
            return Err(Error::file(source.path(), problem, expected));
        }
        pixels.copy_from_slice(picture.as_raw());
        Ok(true)
    }

    fn survives_errors(&self) -> bool {
        true
    }
}
