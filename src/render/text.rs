//! Small text in pictures: tick numbers and captions.
//!
//! A text has the size `scale`: its line is nine times as high in pixels, and its capitals seven times.

use image::{Rgb, RgbImage};
use tiny_skia::{FillRule, Mask, Transform};

use super::letters::{CAP_HEIGHT, outline};

/// Pixels from the top of a capital to the bottom of a descender, at a scale of 1.
const LINE: u32 = 9;
/// Pixels of a capital or a digit.
const CAPITAL: u32 = 7;

/// Height of a line of text in pixels.
pub(crate) fn line_height(scale: u32) -> u32 {
    LINE * scale
}

/// Height of capitals and digits in pixels, to centre a line on a tick.
pub(crate) fn cap_height(scale: u32) -> u32 {
    CAPITAL * scale
}

/// Letters a little smaller than their room, so that descenders fit too.
fn em(scale: u32) -> f32 {
    cap_height(scale) as f32 * 0.96 / CAP_HEIGHT
}

/// Width of `text` in pixels.
pub(crate) fn text_width(text: &str, scale: u32) -> u32 {
    outline(text, false, em(scale)).width.ceil() as u32
}

/// Draws `text` with its upper left corner at `(x, y)`. What lies outside the picture is left out.
pub(crate) fn draw_text(picture: &mut RgbImage, (x, y): (u32, u32), text: &str, scale: u32, color: Rgb<u8>) {
    let letters = outline(text, false, em(scale));
    let width = (letters.width.ceil() as u32).min(picture.width().saturating_sub(x));
    let height = line_height(scale).min(picture.height().saturating_sub(y));
    let (Some(path), Some(mut mask)) = (letters.path, Mask::new(width, height)) else { return };
    mask.fill_path(&path, FillRule::Winding, true, Transform::from_translate(0.0, cap_height(scale) as f32));
    for (row, shares) in (y..).zip(mask.data().chunks(width as usize)) {
        for (column, &share) in (x..).zip(shares) {
            let Rgb(below) = *picture.get_pixel(column, row);
            let mixed = |channel: usize| {
                let (below, ink) = (u32::from(below[channel]), u32::from(color.0[channel]));
                let share = u32::from(share);
                // Below 256, as a mean of two bytes is.
                ((below * (255 - share) + ink * share + 127) / 255) as u8
            };
            picture.put_pixel(column, row, Rgb(std::array::from_fn(mixed)));
        }
    }
}

/// Fills a rectangle with its upper left corner at `(x, y)`. What lies outside the picture is left out.
pub(crate) fn fill(picture: &mut RgbImage, (x, y): (u32, u32), (width, height): (u32, u32), color: Rgb<u8>) {
    for row in y..y.saturating_add(height).min(picture.height()) {
        for column in x..x.saturating_add(width).min(picture.width()) {
            picture.put_pixel(column, row, color);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_have_one_width() {
        assert_eq!(text_width("1", 3), text_width("8", 3));
        assert_eq!(text_width("", 4), 0);
        assert!(text_width("ab", 2) > text_width("a", 2));
    }

    #[test]
    fn text_stays_in_its_measured_box_and_fills_it() {
        let (scale, at) = (3, (4, 5));
        for text in ('!'..='~').map(String::from).chain(["gap Q_j".to_owned()]) {
            let width = text_width(&text, scale);
            let mut picture = RgbImage::new(width + 20, line_height(scale) + 20);
            draw_text(&mut picture, at, &text, scale, Rgb([255; 3]));
            let inked: Vec<(u32, u32)> =
                picture.enumerate_pixels().filter(|(_, _, p)| p.0[0] > 0).map(|(x, y, _)| (x, y)).collect();
            assert!(!inked.is_empty(), "{text}");
            for (x, y) in &inked {
                assert!((at.0..at.0 + width).contains(x), "{text}");
                assert!((at.1..at.1 + line_height(scale)).contains(y), "{text}");
            }
        }
        // Capitals stand where cap_height says, in full ink.
        let mut picture = RgbImage::new(40, 40);
        draw_text(&mut picture, (0, 0), "H", scale, Rgb([250; 3]));
        let rows: Vec<u32> =
            picture.enumerate_pixels().filter(|(_, _, p)| p.0[0] == 250).map(|(_, y, _)| y).collect();
        assert_eq!(rows.iter().max(), Some(&(cap_height(scale) - 1)));
        assert!(rows.iter().min().is_some_and(|&top| top <= 1));
    }

    #[test]
    fn what_lies_outside_is_left_out() {
        let mut picture = RgbImage::new(4, 4);
        draw_text(&mut picture, (2, 2), "88", 5, Rgb([255; 3]));
        draw_text(&mut picture, (9, 0), "88", 5, Rgb([255; 3]));
        fill(&mut picture, (3, 3), (u32::MAX, u32::MAX), Rgb([9; 3]));
        assert_eq!(picture.get_pixel(3, 3).0, [9; 3]);
    }
}
