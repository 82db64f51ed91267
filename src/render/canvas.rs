//! Where figures are painted as pictures: plotters' drawing on anti-aliased lines and embedded letters.
//!
//! Text is placed as plotters' SVG places it (the same shares of the letters' size below an anchor), so that both
//! forms of a figure agree.

use std::convert::Infallible;

use image::RgbImage;
use plotters_backend::text_anchor::{HPos, VPos};
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind, FontStyle,
    FontTransform,
};
use tiny_skia::{FillRule, LineCap, LineJoin, Paint, Path, PathBuilder, Pixmap, Rect, Stroke, Transform};

use super::letters::{X_HEIGHT, outline};
use crate::{Error, Result};

/// plotters' size of a font is this multiple of the em that it writes into an SVG.
const PLOTTERS_SIZE: f32 = 1.24;
/// A sheet of white paper. Drawn on in units; it has `scale` pixels a unit.
pub(super) struct Canvas {
    pixels: Pixmap,
    size: (u32, u32),
    scale: f32,
}

impl Canvas {
    /// A sheet of `size` units.
    pub(super) fn new(size: (u32, u32), scale: f32) -> Result<Self> {
        let pixels = |units: u32| (units as f32 * scale).ceil() as u32;
        let mut pixels = Pixmap::new(pixels(size.0), pixels(size.1)).ok_or_else(|| Error::Shape {
            what: "figure",
            given: format!("{} x {} quarter pixels", size.1, size.0),
            expected: "a figure of at least one pixel that fits into memory".to_owned(),
        })?;
        pixels.fill(tiny_skia::Color::WHITE);
        Ok(Self { pixels, size, scale })
    }

    pub(super) fn into_picture(self) -> Result<RgbImage> {
        let (width, height) = (self.pixels.width(), self.pixels.height());
        // The paper is opaque, so that premultiplied colours are the colours.
        let bytes: Vec<u8> =
            self.pixels.pixels().iter().flat_map(|p| [p.red(), p.green(), p.blue()]).collect();
        RgbImage::from_raw(width, height, bytes).ok_or_else(|| Error::Shape {
            what: "figure",
            given: format!("{height} x {width}"),
            expected: "sides that a picture can have".to_owned(),
        })
    }

    fn transform(&self) -> Transform {
        Transform::from_scale(self.scale, self.scale)
    }

    fn fill(&mut self, path: Option<Path>, color: BackendColor) {
        if let Some(path) = path {
            let transform = self.transform();
            self.pixels.fill_path(&path, &paint(color), FillRule::Winding, transform, None);
        }
    }

    fn stroke(&mut self, path: Option<Path>, style: &impl BackendStyle) {
        if let Some(path) = path {
            let stroke = Stroke {
                width: style.stroke_width() as f32,
                line_cap: LineCap::Butt,
                line_join: LineJoin::Round,
                ..Stroke::default()
            };
            let transform = self.transform();
            self.pixels.stroke_path(&path, &paint(style.color()), &stroke, transform, None);
        }
    }
}

fn paint(color: BackendColor) -> Paint<'static> {
    let (r, g, b) = color.rgb;
    let mut paint = Paint::default();
    paint.set_color_rgba8(r, g, b, (color.alpha.clamp(0.0, 1.0) * 255.0).round() as u8);
    paint.anti_alias = true;
    paint
}

fn line(points: impl IntoIterator<Item = BackendCoord>, closed: bool) -> Option<Path> {
    let mut builder = PathBuilder::new();
    for (x, y) in points {
        let (x, y) = (x as f32, y as f32);
        if builder.is_empty() { builder.move_to(x, y) } else { builder.line_to(x, y) }
    }
    if closed {
        builder.close();
    }
    builder.finish()
}

type Painted = Result<(), DrawingErrorKind<Infallible>>;

impl DrawingBackend for &mut Canvas {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        self.size
    }

    fn ensure_prepared(&mut self) -> Painted {
        Ok(())
    }

    fn present(&mut self) -> Painted {
        Ok(())
    }

    fn draw_pixel(&mut self, (x, y): BackendCoord, color: BackendColor) -> Painted {
        self.fill(Rect::from_xywh(x as f32, y as f32, 1.0, 1.0).map(PathBuilder::from_rect), color);
        Ok(())
    }

    fn draw_line<S: BackendStyle>(&mut self, from: BackendCoord, to: BackendCoord, style: &S) -> Painted {
        self.stroke(line([from, to], false), style);
        Ok(())
    }

    fn draw_rect<S: BackendStyle>(
        &mut self,
        (left, top): BackendCoord,
        (right, bottom): BackendCoord,
        style: &S,
        fill: bool,
    ) -> Painted {
        let path = line([(left, top), (right, top), (right, bottom), (left, bottom)], true);
        if fill {
            self.fill(path, style.color())
        } else {
            self.stroke(path, style)
        }
        Ok(())
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        path: I,
        style: &S,
    ) -> Painted {
        self.stroke(line(path, false), style);
        Ok(())
    }

    fn draw_circle<S: BackendStyle>(
        &mut self,
        (x, y): BackendCoord,
        radius: u32,
        style: &S,
        fill: bool,
    ) -> Painted {
        let path = PathBuilder::from_circle(x as f32, y as f32, radius as f32);
        if fill {
            self.fill(path, style.color())
        } else {
            self.stroke(path, style)
        }
        Ok(())
    }

    fn fill_polygon<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        corners: I,
        style: &S,
    ) -> Painted {
        self.fill(line(corners, true), style.color());
        Ok(())
    }

    fn draw_text<S: BackendTextStyle>(&mut self, text: &str, style: &S, at: BackendCoord) -> Painted {
        let em = style.size() as f32 / PLOTTERS_SIZE;
        let bold = matches!(style.style(), FontStyle::Bold);
        let letters = outline(text, bold, em);
        let left = match style.anchor().h_pos {
            HPos::Left => 0.0,
            HPos::Center => -letters.width / 2.0,
            HPos::Right => -letters.width,
        };
        let baseline = match style.anchor().v_pos {
            VPos::Top => 0.76 * em,
            VPos::Center => 0.5 * X_HEIGHT * em,
            VPos::Bottom => -0.5 * X_HEIGHT * em,
        };
        let turn = match style.transform() {
            FontTransform::Rotate90 => 90.0,
            FontTransform::Rotate180 => 180.0,
            FontTransform::Rotate270 => 270.0,
            _ => 0.0,
        };
        let placed = Transform::from_translate(left, baseline)
            .post_concat(Transform::from_rotate(turn))
            .post_translate(at.0 as f32, at.1 as f32);
        self.fill(letters.path.and_then(|path| path.transform(placed)), style.color());
        Ok(())
    }
}
