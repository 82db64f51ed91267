//! Small text in pictures: tick numbers and captions.
//!
//! Letters are drawn from a bitmap of 5 x 7 dots with two more rows for descenders, enlarged by a whole factor. That
//! is all that a colour bar and a caption need, and it looks the same on every machine.

use image::{Rgb, RgbImage};

/// Dots from the top of a capital to the bottom of a descender.
const ROWS: u32 = 9;
/// Dots of a letter at its widest.
const COLUMNS: u32 = 5;
/// Dots of a space.
const SPACE: u32 = 3;

/// Height of a line of text in pixels at an enlargement of `scale`.
pub(crate) fn line_height(scale: u32) -> u32 {
    ROWS * scale
}

/// Height of capitals and digits in pixels, to centre a line on a tick.
pub(crate) fn cap_height(scale: u32) -> u32 {
    (ROWS - 2) * scale
}

/// Width of `text` in pixels at an enlargement of `scale`.
pub(crate) fn text_width(text: &str, scale: u32) -> u32 {
    let dots: u32 = text.chars().map(|letter| span(letter).1 + 1).sum();
    dots.saturating_sub(1) * scale
}

/// Draws `text` with its upper left corner at `(x, y)`. What lies outside the picture is left out.
pub(crate) fn draw_text(picture: &mut RgbImage, (x, y): (u32, u32), text: &str, scale: u32, color: Rgb<u8>) {
    let mut left = x;
    for letter in text.chars() {
        let (first, width) = span(letter);
        let rows = glyph(letter);
        for (row, bits) in (0..).zip(rows) {
            for column in 0..width {
                if bits >> (COLUMNS - 1 - first - column) & 1 == 1 {
                    fill(picture, (left + column * scale, y + row * scale), (scale, scale), color);
                }
            }
        }
        left += (width + 1) * scale;
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

/// First used column of a letter and the number of columns from there. Digits share one width, so that numbers
/// below each other line up.
fn span(letter: char) -> (u32, u32) {
    if letter.is_ascii_digit() {
        return (0, COLUMNS);
    }
    let used = glyph(letter).into_iter().fold(0, |used, row| used | row);
    if used == 0 {
        return (0, SPACE);
    }
    let first = used.leading_zeros() - (u8::BITS - COLUMNS);
    (first, COLUMNS - first - used.trailing_zeros())
}

/// Dots of a letter, row by row, the left column in bit 4. A letter that has no drawing becomes a box.
#[rustfmt::skip]
fn glyph(letter: char) -> [u8; ROWS as usize] {
    match letter {
        ' ' => [0; ROWS as usize],
        '0' => [0b01110, 0b10001, 0b10011, 0b10101, 0b11001, 0b10001, 0b01110, 0, 0],
        '1' => [0b00100, 0b01100, 0b10100, 0b00100, 0b00100, 0b00100, 0b11111, 0, 0],
        '2' => [0b01110, 0b10001, 0b00001, 0b00110, 0b01000, 0b10000, 0b11111, 0, 0],
        '3' => [0b11110, 0b00001, 0b00001, 0b01110, 0b00001, 0b00001, 0b11110, 0, 0],
        '4' => [0b00011, 0b00101, 0b01001, 0b10001, 0b11111, 0b00001, 0b00001, 0, 0],
        '5' => [0b11111, 0b10000, 0b10000, 0b11110, 0b00001, 0b00001, 0b11110, 0, 0],
        '6' => [0b00110, 0b01000, 0b10000, 0b11110, 0b10001, 0b10001, 0b01110, 0, 0],
        '7' => [0b11111, 0b00001, 0b00001, 0b00010, 0b00100, 0b00100, 0b00100, 0, 0],
        '8' => [0b01110, 0b10001, 0b10001, 0b01110, 0b10001, 0b10001, 0b01110, 0, 0],
        '9' => [0b01110, 0b10001, 0b10001, 0b01111, 0b00001, 0b00010, 0b01100, 0, 0],
        'A' => [0b01110, 0b10001, 0b10001, 0b11111, 0b10001, 0b10001, 0b10001, 0, 0],
        'B' => [0b11110, 0b10001, 0b10001, 0b11110, 0b10001, 0b10001, 0b11110, 0, 0],
        'C' => [0b01111, 0b10000, 0b10000, 0b10000, 0b10000, 0b10000, 0b01111, 0, 0],
        'D' => [0b11110, 0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b11110, 0, 0],
        'E' => [0b11111, 0b10000, 0b10000, 0b11110, 0b10000, 0b10000, 0b11111, 0, 0],
        'F' => [0b11111, 0b10000, 0b10000, 0b11110, 0b10000, 0b10000, 0b10000, 0, 0],
        'G' => [0b01111, 0b10000, 0b10000, 0b10011, 0b10001, 0b10001, 0b01111, 0, 0],
        'H' => [0b10001, 0b10001, 0b10001, 0b11111, 0b10001, 0b10001, 0b10001, 0, 0],
        'I' => [0b01110, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110, 0, 0],
        'J' => [0b00111, 0b00001, 0b00001, 0b00001, 0b00001, 0b10001, 0b01110, 0, 0],
        'K' => [0b10001, 0b10010, 0b10100, 0b11000, 0b10100, 0b10010, 0b10001, 0, 0],
        'L' => [0b10000, 0b10000, 0b10000, 0b10000, 0b10000, 0b10000, 0b11111, 0, 0],
        'M' => [0b10001, 0b11011, 0b10101, 0b10101, 0b10001, 0b10001, 0b10001, 0, 0],
        'N' => [0b10001, 0b11001, 0b11001, 0b10101, 0b10011, 0b10011, 0b10001, 0, 0],
        'O' => [0b01110, 0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b01110, 0, 0],
        'P' => [0b11110, 0b10001, 0b10001, 0b11110, 0b10000, 0b10000, 0b10000, 0, 0],
        'Q' => [0b01110, 0b10001, 0b10001, 0b10001, 0b10001, 0b10011, 0b01111, 0b00001, 0],
        'R' => [0b11110, 0b10001, 0b10001, 0b11110, 0b10100, 0b10010, 0b10001, 0, 0],
        'S' => [0b01111, 0b10000, 0b10000, 0b01110, 0b00001, 0b00001, 0b11110, 0, 0],
        'T' => [0b11111, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100, 0, 0],
        'U' => [0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b01110, 0, 0],
        'V' => [0b10001, 0b10001, 0b10001, 0b01010, 0b01010, 0b01010, 0b00100, 0, 0],
        'W' => [0b10001, 0b10001, 0b10001, 0b10101, 0b10101, 0b11011, 0b10001, 0, 0],
        'X' => [0b10001, 0b01010, 0b01010, 0b00100, 0b01010, 0b01010, 0b10001, 0, 0],
        'Y' => [0b10001, 0b10001, 0b01010, 0b01010, 0b00100, 0b00100, 0b00100, 0, 0],
        'Z' => [0b11111, 0b00001, 0b00010, 0b00100, 0b01000, 0b10000, 0b11111, 0, 0],
        'a' => [0, 0, 0b01110, 0b00001, 0b01111, 0b10001, 0b01111, 0, 0],
        'b' => [0b10000, 0b10000, 0b11110, 0b10001, 0b10001, 0b10001, 0b11110, 0, 0],
        'c' => [0, 0, 0b01111, 0b10000, 0b10000, 0b10000, 0b01111, 0, 0],
        'd' => [0b00001, 0b00001, 0b01111, 0b10001, 0b10001, 0b10001, 0b01111, 0, 0],
        'e' => [0, 0, 0b01110, 0b10001, 0b11111, 0b10000, 0b01111, 0, 0],
        'f' => [0b00110, 0b01000, 0b11110, 0b01000, 0b01000, 0b01000, 0b01000, 0, 0],
        'g' => [0, 0, 0b01111, 0b10001, 0b10001, 0b10001, 0b01111, 0b00001, 0b01110],
        'h' => [0b10000, 0b10000, 0b11110, 0b10001, 0b10001, 0b10001, 0b10001, 0, 0],
        'i' => [0b00100, 0, 0b01100, 0b00100, 0b00100, 0b00100, 0b00110, 0, 0],
        'j' => [0b00010, 0, 0b00110, 0b00010, 0b00010, 0b00010, 0b00010, 0b00010, 0b01100],
        'k' => [0b10000, 0b10000, 0b10010, 0b10100, 0b11000, 0b10100, 0b10010, 0, 0],
        'l' => [0b01100, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100, 0b00110, 0, 0],
        'm' => [0, 0, 0b11010, 0b10101, 0b10101, 0b10101, 0b10101, 0, 0],
        'n' => [0, 0, 0b11110, 0b10001, 0b10001, 0b10001, 0b10001, 0, 0],
        'o' => [0, 0, 0b01110, 0b10001, 0b10001, 0b10001, 0b01110, 0, 0],
        'p' => [0, 0, 0b11110, 0b10001, 0b10001, 0b10001, 0b11110, 0b10000, 0b10000],
        'q' => [0, 0, 0b01111, 0b10001, 0b10001, 0b10001, 0b01111, 0b00001, 0b00001],
        'r' => [0, 0, 0b10110, 0b11000, 0b10000, 0b10000, 0b10000, 0, 0],
        's' => [0, 0, 0b01111, 0b10000, 0b01110, 0b00001, 0b11110, 0, 0],
        't' => [0b01000, 0b01000, 0b11110, 0b01000, 0b01000, 0b01000, 0b00110, 0, 0],
        'u' => [0, 0, 0b10001, 0b10001, 0b10001, 0b10001, 0b01111, 0, 0],
        'v' => [0, 0, 0b10001, 0b10001, 0b01010, 0b01010, 0b00100, 0, 0],
        'w' => [0, 0, 0b10101, 0b10101, 0b10101, 0b10101, 0b01010, 0, 0],
        'x' => [0, 0, 0b10001, 0b01010, 0b00100, 0b01010, 0b10001, 0, 0],
        'y' => [0, 0, 0b10001, 0b10001, 0b10001, 0b10001, 0b01111, 0b00001, 0b01110],
        'z' => [0, 0, 0b11111, 0b00010, 0b00100, 0b01000, 0b11111, 0, 0],
        '.' => [0, 0, 0, 0, 0, 0, 0b00100, 0, 0],
        ',' => [0, 0, 0, 0, 0, 0, 0b00100, 0b00100, 0b01000],
        ':' => [0, 0, 0b00100, 0, 0, 0, 0b00100, 0, 0],
        '-' => [0, 0, 0, 0b01110, 0, 0, 0, 0, 0],
        '+' => [0, 0b00100, 0b00100, 0b11111, 0b00100, 0b00100, 0, 0, 0],
        '=' => [0, 0, 0b11111, 0, 0b11111, 0, 0, 0, 0],
        '_' => [0, 0, 0, 0, 0, 0, 0, 0b11111, 0],
        '%' => [0b11000, 0b11001, 0b00010, 0b00100, 0b01000, 0b10011, 0b00011, 0, 0],
        '/' => [0b00001, 0b00001, 0b00010, 0b00100, 0b01000, 0b10000, 0b10000, 0, 0],
        '(' => [0b00010, 0b00100, 0b01000, 0b01000, 0b01000, 0b00100, 0b00010, 0, 0],
        ')' => [0b01000, 0b00100, 0b00010, 0b00010, 0b00010, 0b00100, 0b01000, 0, 0],
        _ => [0b11111, 0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b11111, 0, 0],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWN: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz.,:-+=_%/()";

    #[test]
    fn letters_stay_inside_their_columns_and_differ() {
        for letter in DRAWN.chars() {
            assert!(glyph(letter).iter().all(|&row| row < 1 << COLUMNS), "{letter}");
            for other in DRAWN.chars().filter(|&other| other != letter) {
                assert_ne!(glyph(letter), glyph(other), "{letter} {other}");
            }
            assert_ne!(glyph(letter), glyph('\u{2603}'), "{letter} has no drawing");
        }
    }

    #[test]
    fn digits_have_one_width() {
        assert_eq!(text_width("1", 3), text_width("8", 3));
        assert_eq!(text_width("10", 2), 2 * (2 * COLUMNS + 1));
        assert_eq!(text_width("", 4), 0);
    }

    #[test]
    fn text_fills_its_measured_box_and_nothing_else() {
        let (scale, at) = (3, (4, 5));
        for text in DRAWN.chars().map(String::from).chain(["gap Q_j".to_owned()]) {
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
            let right = inked.iter().map(|&(x, _)| x).max();
            assert_eq!(right, Some(at.0 + width - 1), "{text}");
        }
    }

    #[test]
    fn what_lies_outside_is_left_out() {
        let mut picture = RgbImage::new(4, 4);
        draw_text(&mut picture, (2, 2), "88", 5, Rgb([255; 3]));
        fill(&mut picture, (3, 3), (u32::MAX, u32::MAX), Rgb([9; 3]));
        assert_eq!(picture.get_pixel(3, 3).0, [9; 3]);
    }
}
