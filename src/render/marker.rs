//! Colours and markers that tell series of a figure apart, also without colours; and dashed lines.

use plotters::element::{PathElement, Polygon};
use plotters::prelude::{Color, DrawingBackend};
use plotters::style::{RGBColor, ShapeStyle};

use super::figure::{Area, Drawn, units};

/// Colours of about one lightness, three times as far from white as from black or the other way round, so that each
/// can be seen on light and on dark paper. Neighbours stay apart for eyes that confuse red and green.
const COLORS: [RGBColor; 7] = [
    RGBColor(0x7a, 0x7d, 0x87),
    RGBColor(0x2f, 0x7e, 0xd8),
    RGBColor(0xb0, 0x7a, 0x00),
    RGBColor(0x9c, 0x5f, 0xd0),
    RGBColor(0x00, 0x8f, 0x6b),
    RGBColor(0xd8, 0x54, 0x9a),
    RGBColor(0xd5, 0x52, 0x00),
];

/// Corners of the markers for a half-width of 1, y pointing down. As many as will not soon meet the same colour again.
const SHAPES: [&[(f64, f64)]; 8] = [
    &CIRCLE,
    &[(-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)],
    &[(0.0, -1.15), (1.1, 0.8), (-1.1, 0.8)],
    &[(0.0, -1.2), (1.2, 0.0), (0.0, 1.2), (-1.2, 0.0)],
    &[(0.0, 1.15), (1.1, -0.8), (-1.1, -0.8)],
    &PLUS,
    &CROSS,
    &[(0.0, -1.15), (1.1, -0.35), (0.68, 0.93), (-0.68, 0.93), (-1.1, -0.35)],
];

const CIRCLE: [(f64, f64); 16] = [
    (1.0, 0.0),
    (0.924, 0.383),
    (0.707, 0.707),
    (0.383, 0.924),
    (0.0, 1.0),
    (-0.383, 0.924),
    (-0.707, 0.707),
    (-0.924, 0.383),
    (-1.0, 0.0),
    (-0.924, -0.383),
    (-0.707, -0.707),
    (-0.383, -0.924),
    (0.0, -1.0),
    (0.383, -0.924),
    (0.707, -0.707),
    (0.924, -0.383),
];

const PLUS: [(f64, f64); 12] = [
    (-0.4, -1.2),
    (0.4, -1.2),
    (0.4, -0.4),
    (1.2, -0.4),
    (1.2, 0.4),
    (0.4, 0.4),
    (0.4, 1.2),
    (-0.4, 1.2),
    (-0.4, 0.4),
    (-1.2, 0.4),
    (-1.2, -0.4),
    (-0.4, -0.4),
];

const CROSS: [(f64, f64); 12] = [
    (-0.57, -1.13),
    (0.0, -0.57),
    (0.57, -1.13),
    (1.13, -0.57),
    (0.57, 0.0),
    (1.13, 0.57),
    (0.57, 1.13),
    (0.0, 0.57),
    (-0.57, 1.13),
    (-1.13, 0.57),
    (-0.57, 0.0),
    (-1.13, -0.57),
];

/// Colour of a series.
pub(super) fn color(series: usize) -> RGBColor {
    COLORS[series % COLORS.len()]
}

/// The line of a series.
pub(super) fn stroke(series: usize) -> ShapeStyle {
    color(series).stroke_width(units(1.6) as u32)
}

/// Draws the marker of a series at a place in units.
pub(super) fn draw_marker<B: DrawingBackend>(area: &Area<B>, (x, y): (i32, i32), series: usize) -> Drawn<B> {
    let radius = f64::from(units(3.6));
    let corner = |&(right, down): &(f64, f64)| {
        (x + (right * radius).round() as i32, y + (down * radius).round() as i32)
    };
    let corners: Vec<(i32, i32)> = SHAPES[series % SHAPES.len()].iter().map(corner).collect();
    area.draw(&Polygon::new(corners, color(series).filled()))
}

/// Draws a straight line as dashes.
pub(super) fn draw_dashes<B: DrawingBackend>(
    area: &Area<B>,
    from: (i32, i32),
    to: (i32, i32),
    style: ShapeStyle,
) -> Drawn<B> {
    let (dash, gap) = (f64::from(units(5.0)), f64::from(units(4.0)));
    let (dx, dy) = (f64::from(to.0 - from.0), f64::from(to.1 - from.1));
    let length = dx.hypot(dy);
    let at = |way: f64| {
        let share = (way / length).min(1.0);
        (from.0 + (dx * share).round() as i32, from.1 + (dy * share).round() as i32)
    };
    let mut way = 0.0;
    while way < length {
        area.draw(&PathElement::new([at(way), at(way + dash)], style))?;
        way += dash + gap;
    }
    Ok(())
}
