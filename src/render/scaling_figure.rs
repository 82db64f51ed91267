//! How cost grows along an axis: both in powers of ten, with the fitted line.

use plotters::chart::ChartBuilder;
use plotters::element::PathElement;
use plotters::prelude::{Color, DrawingBackend};

use super::figure::{Area, Chart, Content, Drawn, Figure, INK, QUIET, bold_letters, label, letters, units};
use super::latency_figure::number;
use super::marker::{draw_dashes, draw_marker, stroke};
use crate::{Error, Result};

/// What the figure shows.
#[derive(Clone, Copy, Debug)]
pub struct ScalingPoints<'a> {
    /// Stands above the figure.
    pub title: &'a str,
    /// What grows, with its unit.
    pub axis: &'a str,
    /// Place on the axis, and microseconds; both above zero.
    pub points: &'a [(f64, f64)],
    /// Slope of the logarithms, where a line was fitted.
    pub slope: Option<f64>,
}

/// Series of the palette.
const BLUE: usize = 1;

/// Sizes in pixels.
const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 400.0;
const TITLE_HEIGHT: f64 = 52.0;
const LETTERS: f64 = 12.0;

/// The figure of a sweep.
///
/// # Errors
/// [`Error::Shape`] when there is no point, or one that has no logarithm.
pub fn scaling_figure(points: &ScalingPoints<'_>) -> Result<Figure> {
    let bad = |&(x, y): &(f64, f64)| !(x.is_finite() && y.is_finite() && x > 0.0 && y > 0.0);
    if points.points.is_empty() || points.points.iter().any(bad) {
        return Err(Error::Shape {
            what: "figure of a sweep",
            given: format!("made of {} points", points.points.len()),
            expected: "one or more, all above zero".to_owned(),
        });
    }
    let chart = ScalingChart::new(points);
    let title = format!("Latency along {}: {}", points.axis, chart.title);
    Ok(Figure::new(title, Content::Scaling(chart)))
}

/// The figure as it is drawn: logarithms to base 10.
pub(super) struct ScalingChart {
    title: String,
    axis: String,
    unit: &'static str,
    points: Vec<(f64, f64)>,
    slope: Option<f64>,
}

impl ScalingChart {
    fn new(points: &ScalingPoints<'_>) -> Self {
        let longest = points.points.iter().map(|point| point.1).fold(0.0, f64::max);
        let (unit, divisor) = if longest < 1e3 { ("\u{b5}s", 1.0) } else { ("ms", 1e3) };
        let logarithms = points.points.iter().map(|(x, y)| (x.log10(), (y / divisor).log10()));
        Self {
            title: label(points.title, 72),
            axis: points.axis.to_owned(),
            unit,
            points: logarithms.collect(),
            slope: points.slope,
        }
    }

    /// The fitted line goes through the middle of the points.
    fn line(&self, slope: f64) -> impl Fn(f64) -> f64 {
        let number = self.points.len() as f64;
        let mean = |value: fn(&(f64, f64)) -> f64| self.points.iter().map(value).sum::<f64>() / number;
        let (x_mean, y_mean) = (mean(|point| point.0), mean(|point| point.1));
        move |x| y_mean + slope * (x - x_mean)
    }
}

/// Ends of an axis, with some air.
fn ends(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let (low, high) =
        (values.clone().fold(f64::INFINITY, f64::min), values.fold(f64::NEG_INFINITY, f64::max));
    let air = 0.06 * (high - low) + 0.04;
    (low - air, high + air)
}

impl Chart for ScalingChart {
    fn size(&self) -> (u32, u32) {
        (units(WIDTH) as u32, units(HEIGHT) as u32)
    }

    fn draw<B: DrawingBackend>(&self, area: &Area<B>) -> Drawn<B> {
        let (left, right) = ends(self.points.iter().map(|point| point.0));
        let (bottom, top) = ends(self.points.iter().map(|point| point.1));
        let mut plot = ChartBuilder::on(area)
            .margin_top(units(TITLE_HEIGHT))
            .margin_right(units(18.0))
            .margin_left(units(6.0))
            .x_label_area_size(units(44.0))
            .y_label_area_size(units(58.0))
            .build_cartesian_2d(left..right, bottom..top)?;
        let value = |power: &f64| number(10_f64.powf(*power));
        plot.configure_mesh()
            .axis_style(INK.mix(0.0))
            .light_line_style(INK.mix(0.0))
            .bold_line_style(QUIET.mix(0.3).stroke_width(units(0.75) as u32))
            .x_labels(7)
            .y_labels(7)
            .x_label_formatter(&value)
            .y_label_formatter(&value)
            .label_style(letters(LETTERS, &INK))
            .x_desc(self.axis.as_str())
            .y_desc(format!("median latency ({})", self.unit))
            .axis_desc_style(letters(LETTERS, &INK))
            .draw()?;
        let points: Vec<(i32, i32)> = self.points.iter().map(|point| plot.backend_coord(point)).collect();
        area.draw_text(&self.title, &bold_letters(13.0, &INK), (units(12.0), units(16.0)))?;
        if let Some(slope) = self.slope {
            let line = self.line(slope);
            let inside = |x: f64| (x, line(x).clamp(bottom, top));
            let (from, to) = (plot.backend_coord(&inside(left)), plot.backend_coord(&inside(right)));
            draw_dashes(area, from, to, QUIET.stroke_width(units(1.25) as u32))?;
            let text = format!("dashed: fitted slope {slope:.3} of the logarithms; 1 is proportional growth");
            area.draw_text(&text, &letters(LETTERS, &QUIET), (units(12.0), units(36.0)))?;
        }
        area.draw(&PathElement::new(points.clone(), stroke(BLUE)))?;
        points.into_iter().try_for_each(|point| draw_marker(area, point, BLUE))
    }
}
