//! The outlines of letters, out of the fonts in assets/fonts: text in pictures looks the same on every machine.

use tiny_skia::{Path, PathBuilder};
use ttf_parser::{Face, GlyphId, OutlineBuilder};

const REGULAR: &[u8] = include_bytes!("../../assets/fonts/figure-sans-regular.ttf");
const BOLD: &[u8] = include_bytes!("../../assets/fonts/figure-sans-bold.ttf");

/// The box that stands for a letter that the fonts lack.
const UNKNOWN: GlyphId = GlyphId(0);

/// Height of a capital or a digit, as a share of the em.
pub(super) const CAP_HEIGHT: f32 = 0.6875;
/// Height of an x, likewise.
pub(super) const X_HEIGHT: f32 = 0.528;

/// A line of text.
pub(super) struct Outline {
    /// With the pen's start at the origin and y pointing down; `None` where nothing is to be drawn.
    pub(super) path: Option<Path>,
    /// How far the pen goes.
    pub(super) width: f32,
}

/// A line of text in letters of `em`.
pub(super) fn outline(text: &str, bold: bool, em: f32) -> Outline {
    // The embedded fonts are whole, as a test makes sure of.
    let Ok(face) = Face::parse(if bold { BOLD } else { REGULAR }, 0) else {
        return Outline { path: None, width: 0.0 };
    };
    let zoom = em / f32::from(face.units_per_em());
    let mut letters = Letters { builder: PathBuilder::new(), zoom, pen: 0.0 };
    for letter in text.chars() {
        letters.add(&face, letter);
    }
    Outline { width: letters.pen, path: letters.builder.finish() }
}

/// Takes down the outlines, letter by letter.
struct Letters {
    builder: PathBuilder,
    zoom: f32,
    pen: f32,
}

impl Letters {
    fn add(&mut self, face: &Face<'_>, letter: char) {
        let glyph = face.glyph_index(letter).unwrap_or(UNKNOWN);
        face.outline_glyph(glyph, self);
        self.pen += f32::from(face.glyph_hor_advance(glyph).unwrap_or(0)) * self.zoom;
    }

    /// From the font's units, whose y points up.
    fn at(&self, x: f32, y: f32) -> (f32, f32) {
        (self.pen + x * self.zoom, -y * self.zoom)
    }
}

impl OutlineBuilder for Letters {
    fn move_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.builder.move_to(x, y);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.builder.line_to(x, y);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        let ((x1, y1), (x, y)) = (self.at(x1, y1), self.at(x, y));
        self.builder.quad_to(x1, y1, x, y);
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        let ((x1, y1), (x2, y2), (x, y)) = (self.at(x1, y1), self.at(x2, y2), self.at(x, y));
        self.builder.cubic_to(x1, y1, x2, y2, x, y);
    }

    fn close(&mut self) {
        self.builder.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn embedded_letters_are_whole() {
        for bytes in [REGULAR, BOLD] {
            let face = Face::parse(bytes, 0).unwrap();
            for letter in (' '..='~').chain(['\u{2265}', '\u{2212}', '\u{d7}', '\u{2026}', '\u{e9}']) {
                assert!(face.glyph_index(letter).is_some(), "{letter}");
            }
            let em = f32::from(face.units_per_em());
            assert!((f32::from(face.x_height().unwrap()) / em - X_HEIGHT).abs() < 0.005);
            assert!((f32::from(face.capital_height().unwrap()) / em - CAP_HEIGHT).abs() < 0.005);
        }
    }

    #[test]
    fn digits_have_one_width() {
        assert_eq!(outline("1", false, 10.0).width, outline("8", false, 10.0).width);
        assert_eq!(outline("", true, 10.0).width, 0.0);
        assert!(outline(" ", false, 10.0).path.is_none());
        assert!(outline("\u{2603}", false, 10.0).path.is_some());
    }
}
