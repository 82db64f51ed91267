//! A frame's own picture, as pictures are drawn on.

use image::RgbImage;

use crate::preprocessing::ChannelOrder;
use crate::{Error, PictureView, Result, Size};

/// A borrowed picture of any format as RGB.
///
/// # Errors
/// [`Error::Shape`] for sides that a picture cannot have.
pub(crate) fn photograph(picture: &PictureView<'_>) -> Result<RgbImage> {
    let Size { height, width } = picture.size();
    let bytes = picture.format().bytes();
    let pixels = (0..height).flat_map(|row| picture.row(row).chunks_exact(bytes));
    let colors = pixels.flat_map(|pixel| match picture.format().order() {
        ChannelOrder::Rgb => [pixel[0], pixel[1], pixel[2]],
        ChannelOrder::Bgr => [pixel[2], pixel[1], pixel[0]],
    });
    let side = |side: usize| u32::try_from(side).unwrap_or(u32::MAX);
    RgbImage::from_raw(side(width), side(height), colors.collect()).ok_or_else(|| Error::Shape {
        what: "size of the frames",
        given: picture.size().to_string(),
        expected: "sides that a picture can have".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PixelFormat;

    #[test]
    fn padding_and_order_do_not_show() {
        let bytes = [1, 2, 3, 0, 4, 5, 6, 0, 99, 99, 7, 8, 9, 0, 10, 11, 12, 0];
        let view = |format| PictureView::new(&bytes, Size::new(2, 2), 10, format).unwrap();
        let rgb = photograph(&view(PixelFormat::Rgba8)).unwrap();
        assert_eq!(rgb.as_raw(), &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
        let bgr = photograph(&view(PixelFormat::Bgra8)).unwrap();
        assert_eq!(bgr.as_raw(), &[3, 2, 1, 6, 5, 4, 9, 8, 7, 12, 11, 10]);
    }
}
