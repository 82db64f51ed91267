//! Latency over the frames of a run, and below it how often each latency occurred.
//!
//! Above, each column spans the frames that fall on it from the least to the highest: of a million frames an outlier is still
//! seen. Below, bins lie between the least measurement and the 99.9th percentile; what lies above is counted in the last one.

use plotters::chart::ChartBuilder;
use plotters::element::{PathElement, Rectangle};
use plotters::prelude::{Color, DrawingBackend};

use super::figure::{
    Area, Chart, Content, Drawn, Figure, INK, QUIET, bold_letters, label, letters, right, units,
};
use super::marker::{color, draw_dashes};
use crate::{Error, Result};

/// What the figure shows.
#[derive(Clone, Copy, Debug)]
pub struct LatencySeries<'a> {
    /// Stands above the figure.
    pub title: &'a str,
    /// Measurements in their order, evenly over the run.
    pub microseconds: &'a [f64],
    /// Frames from one of them to the next.
    pub every: u64,
    /// The median and the 99th percentile of all measurements, to be marked.
    pub p50: f64,
    /// See `p50`.
    pub p99: f64,
}

/// Columns of the series and bins of the histogram.
const COLUMNS: usize = 480;
const BINS: usize = 80;

/// Series of the palette.
const BLUE: usize = 1;

/// Sizes in pixels.
const WIDTH: f64 = 640.0;
const TITLE_HEIGHT: f64 = 30.0;
const SERIES_HEIGHT: f64 = 220.0;
const HISTOGRAM_HEIGHT: f64 = 220.0;
const LETTERS: f64 = 12.0;

/// The figure of a run.
///
/// # Errors
/// [`Error::Shape`] when there is no measurement, or one is negative or not finite.
pub fn latency_figure(series: &LatencySeries<'_>) -> Result<Figure> {
    let times = series.microseconds;
    if times.is_empty() || times.iter().any(|time| !time.is_finite() || *time < 0.0) {
        return Err(Error::Shape {
            what: "figure of latencies",
            given: format!("made of {} measurements", times.len()),
            expected: "one or more, each finite and not negative".to_owned(),
        });
    }
    let chart = LatencyChart::new(series);
    let title = format!("Latency of {} frames and its histogram: {}", chart.frames, chart.title);
    Ok(Figure::new(title, Content::Latency(chart)))
}

/// The figure as it is drawn. Times are in `unit`.
pub(super) struct LatencyChart {
    title: String,
    unit: &'static str,
    frames: u64,
    /// Least and highest of the frames of each column.
    columns: Vec<[f64; 2]>,
    highest: f64,
    /// Left end of the histogram, width of a bin, and counts.
    left: f64,
    step: f64,
    counts: Vec<u32>,
    p50: f64,
    p99: f64,
}

impl LatencyChart {
    fn new(series: &LatencySeries<'_>) -> Self {
        let (unit, divisor) = if series.p50 < 1e3 { ("\u{b5}s", 1.0) } else { ("ms", 1e3) };
        let times: Vec<f64> = series.microseconds.iter().map(|time| time / divisor).collect();
        let columns: Vec<[f64; 2]> = times
            .chunks(times.len().div_ceil(COLUMNS))
            .map(|part| part.iter().fold([f64::INFINITY, 0.0], |[low, high], t| [low.min(*t), high.max(*t)]))
            .collect();
        let mut sorted = times.clone();
        sorted.sort_by(f64::total_cmp);
        let left = sorted[0];
        let right = sorted[(sorted.len() * 999).div_ceil(1000).saturating_sub(1)].max(series.p99 / divisor);
        let step = ((right - left) / BINS as f64).max(1e-6);
        let mut counts = vec![0; BINS];
        for time in &times {
            counts[(((time - left) / step) as usize).min(BINS - 1)] += 1;
        }
        Self {
            title: label(series.title, 88),
            unit,
            frames: times.len() as u64 * series.every,
            highest: sorted[sorted.len() - 1],
            columns,
            left,
            step,
            counts,
            p50: series.p50 / divisor,
            p99: series.p99 / divisor,
        }
    }

    fn draw_series<B: DrawingBackend>(&self, area: &Area<B>, root: &Area<B>) -> Drawn<B> {
        let (frames, top) = (self.frames as f64, 1.08 * self.highest.max(1e-9));
        let mut plot = ChartBuilder::on(area)
            .margin_right(units(18.0))
            .margin_left(units(6.0))
            .x_label_area_size(units(40.0))
            .y_label_area_size(units(58.0))
            .build_cartesian_2d(0.0..frames, 0.0..top)?;
        plot.configure_mesh()
            .axis_style(INK.mix(0.0))
            .light_line_style(INK.mix(0.0))
            .bold_line_style(QUIET.mix(0.3).stroke_width(units(0.75) as u32))
            .x_labels(6)
            .y_labels(5)
            .x_label_formatter(&|x| format!("{x:.0}"))
            .y_label_formatter(&|y| number(*y))
            .label_style(letters(LETTERS, &INK))
            .x_desc("frame")
            .y_desc(self.unit)
            .axis_desc_style(letters(LETTERS, &INK))
            .draw()?;
        let width = frames / self.columns.len() as f64;
        let at = |x: f64, y: f64| plot.backend_coord(&(x, y));
        let line = color(BLUE).stroke_width(units(1.0) as u32);
        let middle = |place: usize| (place as f64 + 0.5) * width;
        let path: Vec<(i32, i32)> = self
            .columns
            .iter()
            .enumerate()
            .flat_map(|(place, [low, high])| [at(middle(place), *low), at(middle(place), *high)])
            .collect();
        root.draw(&PathElement::new(path, line))?;
        for (value, name) in [(self.p50, "p50"), (self.p99, "p99")] {
            let (from, to) = (at(0.0, value), at(frames, value));
            draw_dashes(root, from, to, INK.stroke_width(units(1.0) as u32))?;
            let style = right(&letters(11.0, &INK));
            root.draw_text(name, &style, (to.0 - units(4.0), to.1 - units(8.0)))?;
        }
        Ok(())
    }

    fn draw_histogram<B: DrawingBackend>(&self, area: &Area<B>, root: &Area<B>) -> Drawn<B> {
        let highest = self.counts.iter().copied().max().unwrap_or(1).max(1);
        let right_end = self.left + self.step * BINS as f64;
        let mut plot = ChartBuilder::on(area)
            .margin_top(units(6.0))
            .margin_right(units(18.0))
            .margin_left(units(6.0))
            .x_label_area_size(units(40.0))
            .y_label_area_size(units(58.0))
            .build_cartesian_2d(self.left..right_end, 0.0..1.08 * f64::from(highest))?;
        let unit = format!("latency ({}); above the 99.9th percentile counted in the last bin", self.unit);
        plot.configure_mesh()
            .axis_style(INK.mix(0.0))
            .disable_x_mesh()
            .light_line_style(INK.mix(0.0))
            .bold_line_style(QUIET.mix(0.3).stroke_width(units(0.75) as u32))
            .x_labels(7)
            .y_labels(5)
            .x_label_formatter(&|x| number(*x))
            .y_label_formatter(&|y| format!("{y:.0}"))
            .label_style(letters(LETTERS, &INK))
            .x_desc(unit)
            .y_desc("measurements")
            .axis_desc_style(letters(LETTERS, &INK))
            .draw()?;
        let at = |x: f64, y: f64| plot.backend_coord(&(x, y));
        for (bin, &count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let from = self.left + self.step * bin as f64;
            let corners = [at(from, f64::from(count)), at(from + self.step, 0.0)];
            root.draw(&Rectangle::new(corners, color(BLUE).mix(0.7).filled()))?;
        }
        let top = 1.08 * f64::from(highest);
        for (value, name) in [(self.p50, "p50"), (self.p99, "p99")] {
            let (x, y) = at(value, top);
            draw_dashes(root, (x, y), at(value, 0.0), INK.stroke_width(units(1.0) as u32))?;
            let text = format!("{name} {}", number(value));
            // On the side where there is room.
            let is_left = value > self.left + 0.75 * (right_end - self.left);
            let style = letters(11.0, &INK);
            let style = if is_left { right(&style) } else { style };
            let beside = if is_left { -units(4.0) } else { units(4.0) };
            root.draw_text(&text, &style, (x + beside, y + units(8.0)))?;
        }
        Ok(())
    }
}

impl Chart for LatencyChart {
    fn size(&self) -> (u32, u32) {
        (units(WIDTH) as u32, units(TITLE_HEIGHT + SERIES_HEIGHT + HISTOGRAM_HEIGHT) as u32)
    }

    fn draw<B: DrawingBackend>(&self, area: &Area<B>) -> Drawn<B> {
        let (title, below) = area.split_vertically(units(TITLE_HEIGHT));
        title.draw_text(&self.title, &bold_letters(13.0, &INK), (units(12.0), units(TITLE_HEIGHT / 2.0)))?;
        let (above, histogram) = below.split_vertically(units(SERIES_HEIGHT));
        self.draw_series(&above, area)?;
        self.draw_histogram(&histogram, area)
    }
}

/// Three digits, without a point where there are more before it.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || size == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}
