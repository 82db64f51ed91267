//! Pictures: PNG, JPEG and WebP in, PNG out.
//!
//! A picture is decoded to 8-bit RGB as a viewer shows it: turned as its EXIF orientation says, without
//! transparency. Size and memory are bounded before anything is decoded. Written are 8-bit grey (labels, masks),
//! 8-bit RGB, and 16-bit grey for score maps, with the range of the scores in the file.

use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};

use image::error::{ImageError, LimitErrorKind};
use image::{DynamicImage, GrayImage, ImageDecoder, ImageReader, Limits, RgbImage};

use super::whole_file::{Place, first_line, read_at_most, write_whole};
use crate::{Error, Result, Size};

/// Longest side of a picture, in pixels.
pub(super) const LONGEST_SIDE: u32 = 1 << 15;
/// Most memory that decoding may take: 250 million pixels, five times a 50-megapixel photograph.
const MOST_MEMORY: u64 = 768 << 20;
/// Largest file.
const LARGEST_FILE: u64 = 512 << 20;
const EXPECTED: &str = "a whole PNG, JPEG or WebP picture";

/// Where a picture comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PictureSource {
    /// A file.
    File(PathBuf),
    /// Standard input, which is written `-` on a command line.
    Stdin,
}

impl PictureSource {
    /// Name for results that belong to the picture: the file's name without its extension, or `stdin`.
    pub fn name(&self) -> String {
        match self {
            Self::File(path) => path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            Self::Stdin => "stdin".into(),
        }
    }

    /// The path that error messages name.
    pub fn path(&self) -> &Path {
        match self {
            Self::File(path) => path,
            Self::Stdin => Path::new("-"),
        }
    }
}

/// Reads and decodes a picture. Standard input is read to its end.
///
/// # Errors
/// [`Error::Io`] when it cannot be read; [`Error::File`] as [`decode_picture`].
pub fn read_picture(source: &PictureSource) -> Result<RgbImage> {
    decode_picture(source.path(), &read_picture_bytes(source)?)
}

/// Reads the bytes of a picture, for who needs them beside what they decode to. Standard input is read to its end.
///
/// # Errors
/// [`Error::Io`] when it cannot be read; [`Error::File`] when it is no regular file or too large.
pub fn read_picture_bytes(source: &PictureSource) -> Result<Vec<u8>> {
    match source {
        PictureSource::File(path) => read_at_most(path, LARGEST_FILE),
        PictureSource::Stdin => read_stdin(source.path()),
    }
}

fn read_stdin(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limited = &mut io::stdin().lock().take(LARGEST_FILE + 1);
    limited.read_to_end(&mut bytes).map_err(|source| Error::io(path, "read", source))?;
    if bytes.len() as u64 > LARGEST_FILE {
        let expected = format!("at most {LARGEST_FILE} bytes");
        return Err(Error::file(path, "standard input does not end", expected));
    }
    Ok(bytes)
}

/// Decodes a picture, whose format is told by its first bytes, to 8-bit RGB. `path` is for messages.
///
/// # Errors
/// [`Error::File`] when it is no PNG, JPEG or WebP picture, is damaged or truncated, has a side of more than 32768
/// pixels, or takes more than 768 MiB to decode.
pub fn decode_picture(path: &Path, bytes: &[u8]) -> Result<RgbImage> {
    let place = Place::file(path);
    if bytes.is_empty() {
        return Err(place.error("is empty", EXPECTED));
    }
    // The JPEG decoder fills what is missing with grey, without a word.
    if bytes.starts_with(&[0xff, 0xd8]) && !jpeg_is_whole(bytes) {
        return Err(place.error("is truncated", EXPECTED));
    }
    let picture = decode(bytes).map_err(|error| picture_error(place, &error))?;
    Ok(picture.into_rgb8())
}

/// Reads a grey PNG of labels: one byte a pixel, such as train ids or a mask.
///
/// # Errors
/// As [`read_picture`], and [`Error::File`] when the picture is in colour or has more than 8 bits a pixel.
pub fn read_labels(path: &Path) -> Result<GrayImage> {
    decode_labels(path, &read_at_most(path, LARGEST_FILE)?)
}

/// As [`read_labels`], from the bytes of the file; `path` names them in errors.
///
/// # Errors
/// As [`read_labels`].
pub fn decode_labels(path: &Path, bytes: &[u8]) -> Result<GrayImage> {
    let place = Place::file(path);
    match decode(bytes).map_err(|error| picture_error(place, &error))? {
        DynamicImage::ImageLuma8(labels) => Ok(labels),
        other => Err(place.error(format!("holds {:?} pixels", other.color()), "labels as 8-bit grey PNG")),
    }
}

fn decode(bytes: &[u8]) -> Result<DynamicImage, ImageError> {
    let mut limits = Limits::default();
    limits.max_image_width = Some(LONGEST_SIDE);
    limits.max_image_height = Some(LONGEST_SIDE);
    limits.max_alloc = Some(MOST_MEMORY);
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?;
    reader.limits(limits.clone());
    let mut decoder = reader.into_decoder()?;
    // A damaged orientation does not spoil the picture.
    let orientation = decoder.orientation().unwrap_or(image::metadata::Orientation::NoTransforms);
    limits.reserve(decoder.total_bytes())?;
    decoder.set_limits(limits)?;
    let mut picture = DynamicImage::from_decoder(decoder)?;
    picture.apply_orientation(orientation);
    Ok(picture)
}

fn picture_error(place: Place<'_>, error: &ImageError) -> Error {
    match error {
        ImageError::Unsupported(_) => place.error("is in an unknown format", EXPECTED),
        ImageError::Limits(limit) => {
            let problem = match limit.kind() {
                LimitErrorKind::DimensionError => "is too large",
                _ => "takes too much memory",
            };
            let most = MOST_MEMORY >> 20;
            place.error(problem, format!("at most {LONGEST_SIDE} pixels a side and {most} MiB of pixels"))
        }
        ImageError::IoError(source) if source.kind() == io::ErrorKind::UnexpectedEof => {
            place.error("is truncated", EXPECTED)
        }
        other => place.error(format!("is damaged ({})", first_line(other)), EXPECTED),
    }
}

/// Follows the segments of a JPEG to its end marker. Anything may follow that: cameras append previews and films.
fn jpeg_is_whole(bytes: &[u8]) -> bool {
    let mut at = 2;
    loop {
        // Within the entropy-coded data, 0xff is followed by 0 or by a restart marker; elsewhere it may be repeated.
        let Some(rest) = bytes.get(at..) else { return false };
        let Some(next) = rest.iter().position(|&byte| byte == 0xff) else { return false };
        let Some(&marker) = rest.get(next + 1) else { return false };
        at += next + 1;
        match marker {
            0xd9 => return true,
            0xff => {}
            0x00 | 0x01 | 0xd0..=0xd8 => at += 1,
            _ => match bytes.get(at + 1..at + 3) {
                Some(&[high, low]) => at += 1 + usize::from(u16::from_be_bytes([high, low])),
                _ => return false,
            },
        }
    }
}

/// Writes an 8-bit grey PNG (labels or a mask), one byte a pixel, row by row, through [`write_whole`].
///
/// # Errors
/// [`Error::Shape`] when `pixels` does not fit `size`; [`Error::Io`] when it cannot be written.
pub fn write_grey_png(path: &Path, size: Size, pixels: &[u8]) -> Result<()> {
    write_png(path, size, png::ColorType::Grayscale, png::BitDepth::Eight, &[], pixels)
}

/// Writes an 8-bit RGB PNG, three bytes a pixel, row by row, through [`write_whole`].
///
/// # Errors
/// As [`write_grey_png`].
pub fn write_rgb_png(path: &Path, size: Size, pixels: &[u8]) -> Result<()> {
    write_png(path, size, png::ColorType::Rgb, png::BitDepth::Eight, &[], pixels)
}

/// How the grey values of a score map stand for scores: `minimum + grey / 65535 * (maximum - minimum)`.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct ScoreScale {
    /// Score of grey value 0.
    pub minimum: f32,
    /// Score of grey value 65535.
    pub maximum: f32,
}

impl ScoreScale {
    /// From the smallest to the largest finite score; 0 to 0 when there is none.
    pub fn of(scores: &[f32]) -> Self {
        let finite = || scores.iter().copied().filter(|score| score.is_finite());
        let minimum = finite().reduce(f32::min).unwrap_or(0.0);
        let maximum = finite().reduce(f32::max).unwrap_or(0.0);
        Self { minimum, maximum }
    }

    /// Grey value of a score. Scores beyond the range take its ends; NaN, and every score of an empty range, is 0.
    pub fn grey(&self, score: f32) -> u16 {
        // In f64, where the range of finite f32 does not overflow.
        let (minimum, maximum) = (f64::from(self.minimum), f64::from(self.maximum));
        let share = (f64::from(score) - minimum) / (maximum - minimum);
        // A float becomes an integer by saturation, and NaN by becoming 0.
        (share * 65535.0).round() as u16
    }

    /// Score of a grey value.
    pub fn score(&self, grey: u16) -> f32 {
        let (minimum, maximum) = (f64::from(self.minimum), f64::from(self.maximum));
        (minimum + f64::from(grey) / 65535.0 * (maximum - minimum)) as f32
    }
}

/// Writes a score map as a 16-bit grey PNG over its finite range, through [`write_whole`].
///
/// The range is returned and stands in the file, in the text chunks `sml:minimum` and `sml:maximum`.
///
/// # Errors
/// As [`write_grey_png`].
pub fn write_score_png(path: &Path, size: Size, scores: &[f32]) -> Result<ScoreScale> {
    let scale = ScoreScale::of(scores);
    let grey: Vec<u8> = scores.iter().flat_map(|&score| scale.grey(score).to_be_bytes()).collect();
    let texts = [("sml:minimum", scale.minimum), ("sml:maximum", scale.maximum)];
    write_png(path, size, png::ColorType::Grayscale, png::BitDepth::Sixteen, &texts, &grey)?;
    Ok(scale)
}

fn write_png(
    path: &Path,
    size: Size,
    color: png::ColorType,
    depth: png::BitDepth,
    texts: &[(&str, f32)],
    samples: &[u8],
) -> Result<()> {
    let (width, height) = (u32::try_from(size.width), u32::try_from(size.height));
    let bytes_per_pixel = color.samples() * if depth == png::BitDepth::Sixteen { 2 } else { 1 };
    let needed = size.height.checked_mul(size.width).and_then(|pixels| pixels.checked_mul(bytes_per_pixel));
    let (Ok(width @ 1..), Ok(height @ 1..), Some(needed)) = (width, height, needed) else {
        return Err(wrong_size(
            "size of a PNG",
            size.to_string(),
            "a size of at least 1x1 that a PNG can have",
        ));
    };
    if samples.len() != needed {
        let expected = format!("{needed} for {size} pixels");
        return Err(wrong_size("number of bytes of a PNG", samples.len().to_string(), expected));
    }
    write_whole(path, |out| {
        let mut encoder = png::Encoder::new(out, width, height);
        encoder.set_color(color);
        encoder.set_depth(depth);
        encoder.set_compression(png::Compression::Fast);
        for (keyword, number) in texts {
            encoder.add_text_chunk((*keyword).to_owned(), number.to_string())?;
        }
        let mut writer = encoder.write_header()?;
        writer.write_image_data(samples)?;
        Ok(writer.finish()?)
    })
}

fn wrong_size(what: &'static str, given: String, expected: impl Into<String>) -> Error {
    Error::Shape { what, given, expected: expected.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_jpeg_is_found_behind_what_looks_like_it() {
        // SOI, an APP1 segment that holds an end marker, SOS, data with a stuffed 0xff and a restart marker, EOI.
        let whole = [
            0xff, 0xd8, 0xff, 0xe1, 0, 4, 0xff, 0xd9, 0xff, 0xda, 0, 3, 1, 7, 0xff, 0, 9, 0xff, 0xd0, 5,
            0xff, 0xff, 0xd9,
        ];
        assert!(jpeg_is_whole(&whole));
        assert!(jpeg_is_whole(&[&whole[..], b"appended film"].concat()));
        for length in 2..whole.len() {
            assert!(!jpeg_is_whole(&whole[..length]), "cut to {length} bytes");
        }
    }

    #[test]
    fn scores_become_grey_values_over_their_range() {
        let scores = [-3.0, 5.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1.0];
        let scale = ScoreScale::of(&scores);
        assert_eq!((scale.minimum, scale.maximum), (-3.0, 5.0));
        assert_eq!(scores.map(|score| scale.grey(score)), [0, 65535, 0, 65535, 0, 32768]);
        assert_eq!((scale.score(0), scale.score(65535)), (-3.0, 5.0));
        assert_eq!(ScoreScale::of(&[2.0, 2.0]).grey(2.0), 0);
        assert_eq!(ScoreScale::of(&[f32::NAN]), ScoreScale { minimum: 0.0, maximum: 0.0 });
        let widest = ScoreScale::of(&[f32::MIN, f32::MAX]);
        assert_eq!((widest.grey(f32::MIN), widest.grey(f32::MAX)), (0, 65535));
    }
}
