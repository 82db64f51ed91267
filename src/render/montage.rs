//! Pictures side by side with captions: the figure of a paper or a read-me.

use image::{Rgb, RgbImage, imageops};

use super::color_bar::{BACKGROUND, INK};
use super::text::{draw_text, fill, line_height, text_width};
use crate::{Error, Result};

/// A picture of a figure with its caption. An empty caption takes no room if the whole row has none.
#[derive(Debug, Clone, Copy)]
pub struct Panel<'a> {
    /// Drawn above the picture, in one line.
    pub caption: &'a str,
    /// Scaled to the width of a panel, with its proportions kept.
    pub picture: &'a RgbImage,
}

/// Rows of panels, each panel `panel_width` pixels wide.
///
/// # Errors
/// [`Error::Shape`] when there is no panel, a picture is empty, or the width is 0 or so large that the figure would
/// not fit a picture.
pub fn montage(rows: &[Vec<Panel<'_>>], panel_width: u32) -> Result<RgbImage> {
    montage_on(Sheet::DARK, rows, panel_width)
}

/// What panels lie on: colours of the gaps, of the captions, and of a line around each picture.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sheet {
    background: Rgb<u8>,
    ink: Rgb<u8>,
    frame: Option<Rgb<u8>>,
}

impl Sheet {
    /// For screens.
    const DARK: Self = Self { background: BACKGROUND, ink: INK, frame: None };
    /// For print. Masks may be white up to their border, which the line shows.
    pub(super) const WHITE: Self =
        Self { background: Rgb([255; 3]), ink: Rgb([28, 29, 33]), frame: Some(Rgb([128, 131, 141])) };
}

/// As [`montage`], on a sheet of choice.
pub(super) fn montage_on(sheet: Sheet, rows: &[Vec<Panel<'_>>], panel_width: u32) -> Result<RgbImage> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let empty = rows.iter().flatten().any(|panel| panel.picture.width() == 0 || panel.picture.height() == 0);
    if columns == 0 || empty || panel_width == 0 {
        return Err(Error::Shape {
            what: "figure",
            given: format!(
                "{columns} columns of width {panel_width}{}",
                if empty { " with an empty picture" } else { "" }
            ),
            expected: "at least one panel, with a picture, of width 1 or more".to_owned(),
        });
    }
    let gap = (panel_width / 64).max(2);
    let strips: Vec<Vec<RgbImage>> =
        rows.iter().map(|row| draw_row(sheet, row, panel_width)).collect::<Result<_>>()?;
    let heights: Vec<u32> =
        strips.iter().map(|strip| strip.iter().map(RgbImage::height).max().unwrap_or(0)).collect();
    let size = |lengths: u64, count: usize| u32::try_from(lengths + u64::from(gap) * (count as u64 + 1));
    let (Ok(width), Ok(height)) = (
        size(u64::from(panel_width) * columns as u64, columns),
        size(heights.iter().map(|&height| u64::from(height)).sum(), heights.len()),
    ) else {
        return Err(too_large(panel_width));
    };
    let mut canvas = RgbImage::from_pixel(width, height, sheet.background);
    let mut y = gap;
    for (strip, height) in strips.iter().zip(heights) {
        for (column, panel) in (0..).zip(strip) {
            let x = gap + column * (panel_width + gap);
            imageops::replace(&mut canvas, panel, i64::from(x), i64::from(y));
        }
        y += height + gap;
    }
    Ok(canvas)
}

fn too_large(panel_width: u32) -> Error {
    Error::Shape {
        what: "figure",
        given: format!("panels {panel_width} pixels wide"),
        expected: "a figure of at most 4294967295 pixels a side".to_owned(),
    }
}

/// The panels of a row with their captions, which share one size of letters.
fn draw_row(sheet: Sheet, row: &[Panel<'_>], width: u32) -> Result<Vec<RgbImage>> {
    let fits = |scale: u32| row.iter().all(|panel| text_width(panel.caption, scale) <= width);
    let scale = (1..=(width / 100).clamp(1, 6)).rev().find(|&scale| fits(scale)).unwrap_or(1);
    let captioned = row.iter().any(|panel| !panel.caption.is_empty());
    let caption_height = if captioned { line_height(scale) + 2 * scale } else { 0 };
    row.iter().map(|panel| draw_panel(sheet, panel, (width, caption_height), scale)).collect()
}

fn draw_panel(
    sheet: Sheet,
    panel: &Panel<'_>,
    (width, caption_height): (u32, u32),
    scale: u32,
) -> Result<RgbImage> {
    let (from_width, from_height) = panel.picture.dimensions();
    let height = (f64::from(from_height) * f64::from(width) / f64::from(from_width)).round().max(1.0);
    if height + f64::from(caption_height) > f64::from(u32::MAX) {
        return Err(too_large(width));
    }
    let height = height as u32;
    let scaled = imageops::resize(panel.picture, width, height, imageops::FilterType::Triangle);
    let mut canvas = RgbImage::from_pixel(width, caption_height + height, sheet.background);
    draw_text(&mut canvas, (0, 0), panel.caption, scale, sheet.ink);
    imageops::replace(&mut canvas, &scaled, 0, i64::from(caption_height));
    if let Some(color) = sheet.frame {
        let (right, bottom) = (width - 1, caption_height + height - 1);
        fill(&mut canvas, (0, caption_height), (width, 1), color);
        fill(&mut canvas, (0, bottom), (width, 1), color);
        fill(&mut canvas, (0, caption_height), (1, height), color);
        fill(&mut canvas, (right, caption_height), (1, height), color);
    }
    Ok(canvas)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panels_lie_in_rows_and_keep_their_proportions() {
        let (wide, tall) =
            (RgbImage::from_pixel(40, 20, Rgb([250, 0, 0])), RgbImage::from_pixel(10, 20, Rgb([0, 250, 0])));
        let panel = |picture| Panel { caption: "", picture };
        let figure = montage(&[vec![panel(&wide), panel(&tall)], vec![panel(&wide)]], 100).unwrap();
        assert_eq!(figure.dimensions(), (3 * 2 + 2 * 100, 3 * 2 + 200 + 50));
        assert_eq!(figure.get_pixel(50, 25).0, [250, 0, 0]);
        assert_eq!(*figure.get_pixel(50, 60), BACKGROUND);
        assert_eq!(figure.get_pixel(150, 199).0, [0, 250, 0]);
        assert_eq!(figure.get_pixel(50, 230).0, [250, 0, 0]);
        assert_eq!(*figure.get_pixel(150, 230), BACKGROUND);
    }

    #[test]
    fn captions_stay_above_their_pictures() {
        let picture = RgbImage::from_pixel(60, 30, Rgb([0, 0, 99]));
        let long = "a caption far too long for its panel".repeat(4);
        let panel = |caption| Panel { caption, picture: &picture };
        let figure = montage(&[vec![panel(&long), panel("SML")]], 60).unwrap();
        assert_eq!(figure.dimensions(), (2 * 3 + 2 * 60, 2 * 2 + 11 + 30));
        for (x, y, pixel) in figure.enumerate_pixels() {
            let in_panel = (2..62).contains(&x) || (64..124).contains(&x);
            if in_panel && (13..43).contains(&y) {
                assert_eq!(pixel.0, [0, 0, 99]);
            } else if !in_panel {
                assert_eq!(*pixel, BACKGROUND);
            }
        }
        assert!(figure.pixels().any(|pixel| pixel.0[0] > 120));
    }

    #[test]
    fn nothing_to_show_is_an_error() {
        let empty = RgbImage::new(0, 3);
        for rows in [vec![], vec![vec![]], vec![vec![Panel { caption: "", picture: &empty }]]] {
            assert!(matches!(montage(&rows, 10), Err(Error::Shape { .. })));
        }
        let picture = RgbImage::new(1, 4);
        let panel = vec![vec![Panel { caption: "", picture: &picture }]];
        assert!(matches!(montage(&panel, 0), Err(Error::Shape { .. })));
        assert!(matches!(montage(&panel, u32::MAX), Err(Error::Shape { .. })));
    }
}
