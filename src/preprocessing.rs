//! Pictures as they lie in memory, and what a network expects of its input.
//!
//! A picture is bytes: rows of pixels of 3 or 4 bytes, a fixed distance apart. The network's input is three planes of
//! numbers (or three numbers a pixel), resampled where its size differs, normalised, in the channel order that the network
//! was trained with. `reference::input` says literally which number each one is; the CPU (`cpu/preprocess.rs`) and the GPU
//! (`kernels/preprocess.cu`) make the same bits in one pass over the bytes.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Error, LogitsShape, Result, Size};

/// Bytes of one pixel, in their order in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PixelFormat {
    /// Red, green, blue: what PNG and JPEG decoders give.
    Rgb8,
    /// Blue, green, red: what OpenCV gives.
    Bgr8,
    /// Red, green, blue and a fourth byte, which is not read.
    Rgba8,
    /// Blue, green, red and a fourth byte, which is not read: what many cameras and screens give.
    Bgra8,
}

impl PixelFormat {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Rgb8, Self::Bgr8, Self::Rgba8, Self::Bgra8];

    /// Bytes of one pixel.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Rgb8 | Self::Bgr8 => 3,
            Self::Rgba8 | Self::Bgra8 => 4,
        }
    }

    /// Order of its colour channels.
    pub const fn order(self) -> ChannelOrder {
        match self {
            Self::Rgb8 | Self::Rgba8 => ChannelOrder::Rgb,
            Self::Bgr8 | Self::Bgra8 => ChannelOrder::Bgr,
        }
    }
}

/// A borrowed picture of 8 bits a channel in host memory. Rows may be padded: a camera's or a decoder's buffer is taken as
/// it is.
#[derive(Clone, Copy)]
pub struct PictureView<'a> {
    data: &'a [u8],
    size: Size,
    row_stride: usize,
    format: PixelFormat,
}

impl<'a> PictureView<'a> {
    /// A picture whose rows begin `row_stride` bytes apart. Padding behind the last row may be missing.
    ///
    /// # Errors
    /// [`Error::Shape`] for a picture without pixels, rows that overlap, and fewer bytes than the rows take.
    pub fn new(data: &'a [u8], size: Size, row_stride: usize, format: PixelFormat) -> Result<Self> {
        let Size { height, width } = size;
        let wrong = |what, given: String, expected| Err(Error::Shape { what, given, expected });
        if height == 0 || width == 0 {
            let given = format!("{height} x {width} pixels");
            return wrong("the picture", given, "at least one pixel".to_owned());
        }
        let row = width.checked_mul(format.bytes());
        let Some(row) = row.filter(|&row| row <= row_stride) else {
            let expected = format!("at least {width} pixels of {} bytes", format.bytes());
            return wrong("distance of the picture's rows", format!("{row_stride} bytes"), expected);
        };
        match (height - 1).checked_mul(row_stride).and_then(|start| start.checked_add(row)) {
            Some(needed) if needed <= data.len() => Ok(Self { data, size, row_stride, format }),
            needed => wrong(
                "memory of the picture",
                format!("{} bytes", data.len()),
                match needed {
                    Some(bytes) => format!("{bytes} for {size} pixels with rows {row_stride} bytes apart"),
                    None => "a picture that an address space holds".to_owned(),
                },
            ),
        }
    }

    /// A picture whose rows follow each other without padding.
    ///
    /// # Errors
    /// As [`PictureView::new`].
    pub fn packed(data: &'a [u8], size: Size, format: PixelFormat) -> Result<Self> {
        Self::new(data, size, size.width.saturating_mul(format.bytes()), format)
    }

    /// The bytes, from the first pixel on.
    pub fn data(&self) -> &'a [u8] {
        self.data
    }

    /// Rows and columns.
    pub fn size(&self) -> Size {
        self.size
    }

    /// Bytes from one row to the next.
    pub fn row_stride(&self) -> usize {
        self.row_stride
    }

    /// Bytes of a pixel.
    pub fn format(&self) -> PixelFormat {
        self.format
    }

    /// The bytes of one row's pixels, without padding.
    pub(crate) fn row(&self, row: usize) -> &'a [u8] {
        &self.data[row * self.row_stride..][..self.size.width * self.format.bytes()]
    }
}

impl fmt::Debug for PictureView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PictureView")
            .field("size", &self.size)
            .field("row_stride", &self.row_stride)
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}

/// A decoded picture.
///
/// # Errors
/// [`Error::Shape`] for a picture without pixels.
#[cfg(feature = "files")]
impl<'a> TryFrom<&'a image::RgbImage> for PictureView<'a> {
    type Error = Error;

    fn try_from(picture: &'a image::RgbImage) -> Result<Self> {
        let size = Size::new(picture.height() as usize, picture.width() as usize);
        Self::packed(picture.as_raw(), size, PixelFormat::Rgb8)
    }
}

/// Order of the three colour channels that a network was trained with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChannelOrder {
    /// Red first, as PNG and JPEG store it.
    #[default]
    Rgb,
    /// Blue first, as OpenCV reads it.
    Bgr,
}

/// What a network expects of its input: value = (pixel * scale - mean) / std, by channel in the network's own order,
/// with pixels in 0..=255.
#[derive(Debug, Clone, PartialEq)]
pub struct Preprocessing {
    /// Size that every picture is brought to; `None` keeps the picture's own.
    pub input_size: Option<Size>,
    /// Without `input_size`: sides that are not multiples of this are enlarged to the next one.
    pub multiple: usize,
    /// Order of the channels.
    pub channel_order: ChannelOrder,
    /// Factor on the pixel values, for example 1/255.
    pub scale: f64,
    /// Subtracted after scaling.
    pub mean: [f64; 3],
    /// Divisor after subtraction.
    pub std: [f64; 3],
}

impl Preprocessing {
    /// Size of the network's input for a picture of the given size.
    pub fn size_for(&self, height: usize, width: usize) -> Size {
        let next = |side: usize| side.next_multiple_of(self.multiple.max(1));
        self.input_size.unwrap_or(Size { height: next(height), width: next(width) })
    }

    /// The same for a picture and an input that can be computed with.
    ///
    /// # Errors
    /// [`Error::Shape`] for one without pixels, or of more than 2^31 rows or columns.
    pub(crate) fn checked_size_for(&self, picture: Size) -> Result<Size> {
        let check = |what, size: Size| {
            LogitsShape::new(1, 3, size.height, size.width).map(|_| size).map_err(|_| Error::Shape {
                what,
                given: size.to_string(),
                expected: "1 to 2^31 - 1 rows and columns".to_owned(),
            })
        };
        check("size of the picture", picture)?;
        check("size of the network's input", self.size_for(picture.height, picture.width))
    }

    /// The numbers to compute with for pictures of this format.
    pub(crate) fn normalization(&self, format: PixelFormat) -> Normalization {
        let narrow = |mut values: [f64; 3]| {
            if format.order() != self.channel_order {
                values.reverse();
            }
            values.map(|value| value as f32)
        };
        Normalization { scale: self.scale as f32, mean: narrow(self.mean), std: narrow(self.std) }
    }
}

/// A normalisation in float32, by the picture's channels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Normalization {
    pub scale: f32,
    pub mean: [f32; 3],
    pub std: [f32; 3],
}

impl Normalization {
    #[inline(always)]
    pub fn apply(&self, values: [f32; 3]) -> [f32; 3] {
        let Self { scale, mean, std } = self;
        std::array::from_fn(|channel| (values[channel] * scale - mean[channel]) / std[channel])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_that_do_not_fit_their_memory_are_refused() {
        let data = [0; 60];
        let size = Size::new(4, 5);
        assert!(PictureView::packed(&data, size, PixelFormat::Rgb8).is_ok());
        // The last row's padding may be missing.
        assert!(PictureView::new(&data[..57], Size::new(3, 5), 21, PixelFormat::Bgr8).is_ok());
        for (bytes, size, stride, format) in [
            (60, Size::new(0, 5), 15, PixelFormat::Rgb8),
            (60, Size::new(4, 0), 0, PixelFormat::Rgb8),
            (60, size, 14, PixelFormat::Rgb8),
            (60, size, 15, PixelFormat::Rgba8),
            (59, size, 15, PixelFormat::Rgb8),
            (60, size, 16, PixelFormat::Rgb8),
            (60, Size::new(2, usize::MAX), usize::MAX, PixelFormat::Rgb8),
            (60, Size::new(usize::MAX, 5), usize::MAX, PixelFormat::Rgb8),
        ] {
            let error = PictureView::new(&data[..bytes], size, stride, format).unwrap_err();
            assert!(matches!(error, Error::Shape { .. }), "{error}");
        }
    }

    #[test]
    fn rows_are_without_padding() {
        let data: Vec<u8> = (0..20).collect();
        let picture = PictureView::new(&data, Size::new(2, 3), 11, PixelFormat::Rgb8).unwrap();
        assert_eq!(picture.row(1), [11, 12, 13, 14, 15, 16, 17, 18, 19]);
    }
}
