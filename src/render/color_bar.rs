//! A colour bar with numbers, to the right of a picture.

use image::{Rgb, RgbImage, imageops};

use super::colormap::{ScoreRange, heat};
use super::overlay::blend;
use super::text::{cap_height, draw_text, fill, line_height, text_width};

/// Behind bars and captions: near black, so that pictures of a street stand out on any page.
pub(crate) const BACKGROUND: Rgb<u8> = Rgb([20, 20, 24]);
/// Numbers and captions.
pub(crate) const INK: Rgb<u8> = Rgb([232, 232, 236]);
/// Ticks: quieter than the numbers, so that none is read as a minus.
const TICK: Rgb<u8> = Rgb([140, 140, 148]);
/// Stands for the photograph under the bar of an overlay.
const MIDDLE_GREY: Rgb<u8> = Rgb([118; 3]);

/// Which colours the bar explains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BarColors {
    /// Those of [`heat_map`](super::heat_map).
    HeatMap,
    /// Those of [`overlay`](super::overlay()), on a photograph of middle grey.
    Overlay,
}

/// A picture with a colour bar on its right: the two ends of the range, and round numbers between.
///
/// Sizes follow the picture's height. A picture too low for legible numbers gets a strip of background below it.
pub fn with_color_bar(picture: &RgbImage, range: ScoreRange, colors: BarColors) -> RgbImage {
    let scale = (picture.height() / 200).clamp(1, 12);
    let margin = 6 * scale;
    let lowest = 2 * margin + 3 * line_height(scale);
    let bar = Bar {
        left: picture.width().saturating_add(margin),
        top: margin,
        width: 9 * scale,
        height: picture.height().max(lowest) - 2 * margin,
        scale,
    };
    let labels = labels(range, bar.height / (2 * line_height(scale)));
    let widest = labels.iter().map(|label| text_width(&label.text, scale)).max().unwrap_or(0);
    let width = bar.label_left().saturating_add(widest + margin);
    let mut canvas = RgbImage::from_pixel(width, bar.height + 2 * margin, BACKGROUND);
    imageops::replace(&mut canvas, picture, 0, 0);
    bar.draw_colors(&mut canvas, colors);
    bar.draw_labels(&mut canvas, &labels);
    canvas
}

/// A number beside the bar.
struct Label {
    /// 0 at the lower end of the bar, 1 at the upper one.
    position: f64,
    text: String,
}

/// Where the bar lies in the picture.
struct Bar {
    left: u32,
    top: u32,
    width: u32,
    height: u32,
    scale: u32,
}

impl Bar {
    /// Where numbers begin: beyond the bar, its ticks and a gap.
    fn label_left(&self) -> u32 {
        self.left.saturating_add(self.width + 7 * self.scale)
    }

    fn draw_colors(&self, canvas: &mut RgbImage, colors: BarColors) {
        for row in 0..self.height {
            let position = 1.0 - row as f32 / (self.height - 1) as f32;
            let color = match colors {
                BarColors::HeatMap => heat(position),
                BarColors::Overlay => blend(MIDDLE_GREY, position),
            };
            fill(canvas, (self.left, self.top + row), (self.width, 1), color);
        }
    }

    /// Both ends always; what lies between only where it does not touch them.
    fn draw_labels(&self, canvas: &mut RgbImage, labels: &[Label]) {
        let clearance = f64::from(line_height(self.scale)) * 1.2 / f64::from(self.height);
        for label in labels {
            let at_an_end = label.position == 0.0 || label.position == 1.0;
            if !at_an_end && !(clearance..=1.0 - clearance).contains(&label.position) {
                continue;
            }
            let y = self.top + ((1.0 - label.position) * f64::from(self.height - self.scale)).round() as u32;
            let right = self.left.saturating_add(self.width);
            fill(canvas, (right, y), (3 * self.scale, self.scale), TICK);
            let middle = y + self.scale / 2;
            let text_top = middle.saturating_sub(cap_height(self.scale) / 2);
            draw_text(canvas, (self.label_left(), text_top), &label.text, self.scale, INK);
        }
    }
}

/// The ends of the range and at most about `most` round numbers between them.
fn labels(range: ScoreRange, most: u32) -> Vec<Label> {
    let (low, high) = (f64::from(range.low()), f64::from(range.high()));
    let width = high - low;
    let end_decimals = (2.0 - width.log10().floor()).clamp(0.0, 9.0) as usize;
    let end = |position, value| Label { position, text: number(value, end_decimals) };
    let mut labels = vec![end(0.0, low), end(1.0, high)];
    let step = round_step(width / f64::from(most.max(1)));
    let decimals = (-step.log10().floor()).clamp(0.0, 9.0) as usize;
    let (first, last) = ((low / step).ceil(), (high / step).floor());
    // A narrow range far from zero has no round numbers that float64 could tell apart.
    if last.abs().max(first.abs()) < 1e9 {
        for multiple in first as i64..=last as i64 {
            let value = multiple as f64 * step;
            labels.push(Label { position: (value - low) / width, text: number(value, decimals) });
        }
    }
    labels
}

/// The least of 1, 2 and 5 times a power of ten that is not below `step`.
fn round_step(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    [1.0, 2.0, 5.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|round| *round >= step)
        .unwrap_or(10.0 * power)
}

/// A number with so many decimals, or with an exponent where that would be long or all zeros.
fn number(value: f64, decimals: usize) -> String {
    if value != 0.0 && !(1e-4..1e6).contains(&value.abs()) {
        return format!("{value:.2e}");
    }
    let text = format!("{value:.decimals$}");
    // No minus before zero.
    match text.strip_prefix('-') {
        Some(digits) if digits.bytes().all(|b| b == b'0' || b == b'.') => digits.to_owned(),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(low: f32, high: f32, most: u32) -> Vec<String> {
        labels(ScoreRange::new(low, high).unwrap(), most).into_iter().map(|label| label.text).collect()
    }

    #[test]
    fn numbers_are_round_between_the_ends() {
        assert_eq!(texts(-3.27, 8.914, 6), ["-3.3", "8.9", "0", "5"]);
        assert_eq!(texts(0.0, 1.0, 5), ["0.00", "1.00", "0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
    }

    #[test]
    fn steps_are_one_two_or_five() {
        for (step, want) in [(0.7, 1.0), (1.0, 1.0), (1.1, 2.0), (2.1, 5.0), (5.1, 10.0), (0.03, 0.05)] {
            assert!((round_step(step) / want - 1.0).abs() < 1e-12, "{step}");
        }
    }

    #[test]
    fn extreme_ranges_stay_short() {
        for (low, high) in
            [(f32::MIN, f32::MAX), (1e30, 1.001e30), (0.0, 1e-40), (1e6, 1e6 + 0.0625), (-1e-7, 1e-7)]
        {
            let all = texts(low, high, 8);
            assert!(all.len() <= 14, "{all:?}");
            assert!(all.iter().all(|text| text.len() <= 14), "{all:?}");
        }
    }

    #[test]
    fn zero_has_no_sign() {
        assert_eq!([number(-0.0, 1), number(-0.001, 1), number(-0.2, 1)], ["0.0", "0.0", "-0.2"]);
    }

    #[test]
    fn picture_stays_as_it_was_and_the_bar_runs_from_dark_to_bright() {
        let picture = RgbImage::from_pixel(300, 400, Rgb([1, 2, 3]));
        let range = ScoreRange::new(0.0, 1.0).unwrap();
        let canvas = with_color_bar(&picture, range, BarColors::HeatMap);
        assert_eq!(canvas.height(), 400);
        assert_eq!(imageops::crop_imm(&canvas, 0, 0, 300, 400).to_image(), picture);
        let (bar, margin) = (300 + 12 + 4, 12);
        assert_eq!(*canvas.get_pixel(bar, margin), heat(1.0));
        assert_eq!(*canvas.get_pixel(bar, 399 - margin), heat(0.0));
        assert!(canvas.enumerate_pixels().any(|(x, _, pixel)| x > bar + 40 && *pixel == INK));
    }

    #[test]
    fn the_smallest_picture_has_a_bar_too() {
        let range = ScoreRange::new(-1.0, 1.0).unwrap();
        let canvas = with_color_bar(&RgbImage::new(1, 1), range, BarColors::Overlay);
        assert!(canvas.height() > 30 && canvas.width() > 20);
        assert_eq!(*canvas.get_pixel(0, 1), BACKGROUND);
    }
}
