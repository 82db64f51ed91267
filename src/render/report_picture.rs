//! Pictures that lie within a page, as data: URIs.
//!
//! They are encoded when they are handed over, at a size that a page can show: a report of many pictures neither holds
//! them in full while it is made, nor grows beyond what is opened and sent with ease.

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder, ImageResult, RgbImage, imageops};

use super::html::{breakable, escape};
use crate::{Error, Result};

/// Widest picture, in pixels: a full-width column of a page at two pixels a point, or a panel on a wide screen.
const WIDEST: u32 = 960;
/// Quality of JPEG, of 100: heat maps and photographs show no blocks.
const JPEG_QUALITY: u8 = 84;

/// A picture with its caption, encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportPicture {
    caption: String,
    uri: String,
    width: u32,
    height: u32,
}

impl ReportPicture {
    /// A photograph, a heat map or an overlay: stored as JPEG, scaled down to a width of at most 960 pixels.
    ///
    /// # Errors
    /// [`Error::Shape`] when the picture is empty or too high for JPEG.
    pub fn photograph(caption: &str, picture: &RgbImage) -> Result<Self> {
        Self::encoded(caption, &narrowed(picture)?, "image/jpeg", |picture, out| {
            let encoder = JpegEncoder::new_with_quality(out, JPEG_QUALITY);
            encoder.write_image(picture.as_raw(), picture.width(), picture.height(), ExtendedColorType::Rgb8)
        })
    }

    /// A mask, a prediction or a figure, with hard edges: stored as PNG, scaled down to a width of at most 960 pixels.
    ///
    /// # Errors
    /// [`Error::Shape`] when the picture is empty.
    pub fn drawing(caption: &str, picture: &RgbImage) -> Result<Self> {
        Self::encoded(caption, &narrowed(picture)?, "image/png", write_png)
    }

    /// A figure of several pictures, such as [`PaperFigure`](super::PaperFigure) draws: stored as JPEG in its own size.
    ///
    /// # Errors
    /// As [`ReportPicture::photograph`].
    pub fn figure(caption: &str, picture: &RgbImage) -> Result<Self> {
        Self::encoded(caption, picture, "image/jpeg", |picture, out| {
            let encoder = JpegEncoder::new_with_quality(out, JPEG_QUALITY);
            encoder.write_image(picture.as_raw(), picture.width(), picture.height(), ExtendedColorType::Rgb8)
        })
    }

    fn encoded(
        caption: &str,
        picture: &RgbImage,
        kind: &str,
        encode: impl FnOnce(&RgbImage, &mut Vec<u8>) -> ImageResult<()>,
    ) -> Result<Self> {
        let (width, height) = picture.dimensions();
        let mut bytes = Vec::new();
        encode(picture, &mut bytes).map_err(|error| Error::Shape {
            what: "picture of a report",
            given: format!("{height} x {width} ({error})"),
            expected: "a picture that JPEG and PNG can hold".to_owned(),
        })?;
        let uri = format!("data:{kind};base64,{}", base64(&bytes));
        Ok(Self { caption: caption.to_owned(), uri, width, height })
    }

    /// What the picture shows.
    pub fn caption(&self) -> &str {
        &self.caption
    }

    /// The picture as HTML. `of` is what it belongs to, for readers who do not see it.
    pub(super) fn to_html(&self, of: &str) -> String {
        let Self { caption, uri, width, height } = self;
        let (shown, caption, of) = (breakable(caption), escape(caption), escape(of));
        format!(
            "<figure><img src=\"{uri}\" width=\"{width}\" height=\"{height}\" alt=\"{caption}, {of}\">\
             <figcaption>{shown}</figcaption></figure>\n"
        )
    }
}

/// Scaled down to [`WIDEST`].
fn narrowed(picture: &RgbImage) -> Result<RgbImage> {
    let (width, height) = picture.dimensions();
    if width == 0 || height == 0 {
        return Err(Error::Shape {
            what: "picture of a report",
            given: format!("{height} x {width}"),
            expected: "at least one pixel".to_owned(),
        });
    }
    if width <= WIDEST {
        return Ok(picture.clone());
    }
    let height = (f64::from(height) * f64::from(WIDEST) / f64::from(width)).round().max(1.0) as u32;
    Ok(imageops::resize(picture, WIDEST, height, imageops::FilterType::Triangle))
}

/// One byte a pixel where no pixel has a colour.
fn write_png(picture: &RgbImage, out: &mut Vec<u8>) -> ImageResult<()> {
    let encoder = PngEncoder::new_with_quality(out, CompressionType::Default, FilterType::Adaptive);
    let (width, height) = picture.dimensions();
    if picture.pixels().all(|pixel| pixel.0 == [pixel.0[0]; 3]) {
        let grey: Vec<u8> = picture.pixels().map(|pixel| pixel.0[0]).collect();
        return encoder.write_image(&grey, width, height, ExtendedColorType::L8);
    }
    encoder.write_image(picture.as_raw(), width, height, ExtendedColorType::Rgb8)
}

/// Base64 (RFC 4648, section 4), padded.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for part in bytes.chunks(3) {
        let at = |index: usize| u32::from(part.get(index).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for place in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place > part.len() { '=' } else { char::from(letter) });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    #[test]
    fn base64_is_that_of_the_standard() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xff, 0xef, 0xbe]), "/+++");
    }

    #[test]
    fn pictures_are_narrowed_and_keep_their_proportions() {
        let picture = RgbImage::from_pixel(1920, 1000, Rgb([9, 200, 30]));
        for picture in [ReportPicture::photograph("a", &picture), ReportPicture::drawing("a", &picture)] {
            let picture = picture.unwrap();
            assert_eq!((picture.width, picture.height), (960, 500));
        }
        assert!(ReportPicture::drawing("a", &RgbImage::new(0, 4)).is_err());
        assert!(ReportPicture::figure("a", &RgbImage::new(4, 0)).is_err());
    }

    #[test]
    fn masks_take_one_byte_a_pixel() {
        let mut out = Vec::new();
        write_png(&RgbImage::from_fn(7, 5, |x, _| Rgb([x as u8; 3])), &mut out).unwrap();
        let decoded = image::load_from_memory(&out).unwrap();
        assert_eq!(decoded.color(), image::ColorType::L8);
        assert_eq!(decoded.into_luma8().get_pixel(6, 4).0, [6]);
    }

    #[test]
    fn captions_are_escaped() {
        let picture = ReportPicture::drawing("<b>", &RgbImage::new(2, 1)).unwrap();
        let html = picture.to_html("\"><script>");
        assert!(
            html.contains("width=\"2\" height=\"1\" alt=\"&lt;b&gt;, &quot;&gt;&lt;script&gt;\""),
            "{html}"
        );
    }
}
