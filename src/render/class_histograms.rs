//! Why max logits are standardized: their distribution in each predicted class, of normal pixels above the line and of
//! unexpected ones below it, before and after (figures 2 and 3 of the paper).
//!
//! Where the distributions of the classes lie apart, no single threshold separates unexpected pixels in all of them.
//! Each distribution is drawn as high as its row allows, whatever its number of pixels; a bar spans its quartiles
//! and a tick marks its median.

use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::cartesian::Cartesian2d;
use plotters::coord::types::RangedCoordf64;
use plotters::element::{PathElement, Polygon, Rectangle};
use plotters::prelude::{Color, DrawingBackend};
use plotters::style::RGBColor;

use super::class_scores::{ClassScoreHistograms, ScoreCounts};
use super::figure::{
    Area, Chart, Content, Drawn, Figure, INK, QUIET, bold_letters, label, letters, middle, right, units,
};
use super::marker::draw_dashes;
use crate::{Error, Result};

/// A panel of the figure: the distributions of one score.
#[derive(Clone, Copy, Debug)]
pub struct ClassPanel<'a> {
    /// Stands above the panel, such as `max logit` or `standardized max logit`.
    pub title: &'a str,
    /// The distributions.
    pub histograms: &'a ClassScoreHistograms,
    /// The anomaly score at 95 % TPR over all classes, to be marked: unexpected is called what lies left of its minus.
    pub threshold: Option<f32>,
}

/// Points of a distribution's outline.
const STEPS: usize = 160;
const NORMAL_COLOR: RGBColor = RGBColor(0x2f, 0x7e, 0xd8);
const UNEXPECTED_COLOR: RGBColor = RGBColor(0xd5, 0x52, 0x00);

/// Sizes in pixels.
const NAMES_WIDTH: f64 = 92.0;
const PANEL_WIDTH: f64 = 388.0;
const TITLE_HEIGHT: f64 = 26.0;
const ROW_HEIGHT: f64 = 32.0;
const AXIS_HEIGHT: f64 = 26.0;
const LEGEND_HEIGHT: f64 = 48.0;

/// Panels side by side, with one row for each class that has pixels in any of them.
///
/// # Errors
/// [`Error::Shape`] when no class has pixels, or the panels have different numbers of classes.
pub fn class_histograms(panels: &[ClassPanel<'_>]) -> Result<Figure> {
    let first = panels.first().map_or(&[][..], |panel| panel.histograms.classes());
    let invalid = |given: &str| Error::Shape {
        what: "figure of class histograms",
        given: given.to_owned(),
        expected: "panels of the same classes with labelled pixels".to_owned(),
    };
    if panels.iter().any(|panel| panel.histograms.classes().len() != first.len()) {
        return Err(invalid("panels of different numbers of classes"));
    }
    let has_pixels = |class: usize| {
        panels.iter().any(|panel| {
            let scores = &panel.histograms.classes()[class];
            scores.normal.total() + scores.unexpected.total() > 0
        })
    };
    let shown: Vec<usize> = (0..first.len()).filter(|&class| has_pixels(class)).collect();
    if shown.is_empty() {
        return Err(invalid("without labelled pixels"));
    }
    let chart = ClassHistogramsChart {
        names: shown.iter().map(|&class| label(&first[class].name, 16)).collect(),
        panels: panels.iter().map(|panel| Panel::new(panel, &shown)).collect(),
    };
    let titles: Vec<&str> = panels.iter().map(|panel| panel.title).collect();
    let title = format!(
        "Distributions of {} by predicted class, of normal and of unexpected pixels: {}",
        titles.join(" and of "),
        chart.names.join(", ")
    );
    Ok(Figure::new(title, Content::ClassHistograms(chart)))
}

/// The figure as it is drawn.
pub(super) struct ClassHistogramsChart {
    names: Vec<String>,
    panels: Vec<Panel>,
}

struct Panel {
    title: String,
    low: f64,
    high: f64,
    threshold: Option<f64>,
    rows: Vec<[Option<Distribution>; 2]>,
}

/// Outline and quartiles of one distribution.
struct Distribution {
    /// Relative to the highest point, at even steps from the panel's low end to its high end.
    heights: Vec<f64>,
    quartiles: [f64; 3],
}

impl Panel {
    fn new(panel: &ClassPanel<'_>, shown: &[usize]) -> Self {
        let classes = panel.histograms.classes();
        let counts = |class: usize| [&classes[class].normal, &classes[class].unexpected];
        let threshold = panel.threshold.map(|score| -f64::from(score)).filter(|value| value.is_finite());
        let ends = |share| {
            let of = move |&class: &usize| counts(class).map(|counts| counts.quantile(share));
            shown.iter().flat_map(of).flatten().chain(threshold)
        };
        let (low, high) =
            (ends(0.003).fold(f64::INFINITY, f64::min), ends(0.997).fold(f64::NEG_INFINITY, f64::max));
        let (low, high) = if low <= high { (low, high) } else { (0.0, 0.0) };
        let air = 0.04 * (high - low) + 0.05;
        let (low, high) = (low - air, high + air);
        let rows =
            shown.iter().map(|&class| counts(class).map(|counts| Distribution::new(counts, low, high)));
        Self { title: label(panel.title, 48), low, high, threshold, rows: rows.collect() }
    }

    /// Draws the panel; gives the height at which each row's line lies.
    fn draw<B: DrawingBackend>(&self, area: &Area<B>, root: &Area<B>) -> Drawn<B> {
        let rows = self.rows.len() as f64;
        let mut plot = ChartBuilder::on(area)
            .margin_top(units(TITLE_HEIGHT))
            .margin_left(units(6.0))
            .margin_right(units(12.0))
            .x_label_area_size(units(AXIS_HEIGHT))
            .build_cartesian_2d(self.low..self.high, 0.0..rows)?;
        plot.configure_mesh()
            .axis_style(INK.mix(0.0))
            .set_all_tick_mark_size(units(6.0))
            .disable_y_mesh()
            .y_labels(0)
            .light_line_style(INK.mix(0.0))
            .bold_line_style(QUIET.mix(0.3).stroke_width(units(0.75) as u32))
            .x_labels(7)
            .x_label_formatter(&|x| tick(*x))
            .label_style(letters(12.0, &INK))
            .draw()?;
        let title = middle(&bold_letters(13.0, &INK));
        let (center, top) = plot.backend_coord(&(0.5 * (self.low + self.high), rows));
        root.draw_text(&self.title, &title, (center, top - units(TITLE_HEIGHT / 2.0)))?;
        for (row, distributions) in self.rows.iter().enumerate() {
            let line = rows - row as f64 - 0.5;
            for (distribution, (color, up)) in
                distributions.iter().zip([(NORMAL_COLOR, 1.0), (UNEXPECTED_COLOR, -1.0)])
            {
                if let Some(distribution) = distribution {
                    distribution.draw(root, &plot, (line, up), color)?;
                }
            }
            let ends = [(self.low, line), (self.high, line)].map(|end| plot.backend_coord(&end));
            root.draw(&PathElement::new(ends, QUIET.stroke_width(units(0.5) as u32)))?;
        }
        if let Some(threshold) = self.threshold {
            let ends = [(threshold, rows), (threshold, 0.0)].map(|end| plot.backend_coord(&end));
            draw_dashes(root, ends[0], ends[1], INK.stroke_width(units(1.25) as u32))?;
        }
        Ok(())
    }
}

type Plot<'a, B> = ChartContext<'a, B, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

impl Distribution {
    fn new(counts: &ScoreCounts, low: f64, high: f64) -> Option<Self> {
        let quartiles = [0.25, 0.5, 0.75].map(|share| counts.quantile(share));
        let [Some(lower), Some(median), Some(upper)] = quartiles else { return None };
        let step = (high - low) / STEPS as f64;
        let mut sums = vec![0.0; STEPS];
        for (edge, count) in counts.bins() {
            // A bin is spread over the steps that it touches, so that narrow steps between bins are not empty.
            let (from, to) = ((edge - low) / step, (edge + 1.0 / 32.0 - low) / step);
            let first = (from.floor().max(0.0) as usize).min(STEPS);
            let end = (to.ceil().max(0.0) as usize).clamp(first, STEPS);
            for (index, sum) in (first..).zip(&mut sums[first..end]) {
                let share = (to.min(index as f64 + 1.0) - from.max(index as f64)).max(0.0) / (to - from);
                *sum += count as f64 * share;
            }
        }
        let smooth = smoothed(&smoothed(&sums));
        let highest = smooth.iter().copied().fold(0.0, f64::max);
        let heights = smooth.iter().map(|sum| if highest > 0.0 { sum / highest } else { 0.0 }).collect();
        Some(Self { heights, quartiles: [lower, median, upper] })
    }

    /// Draws the outline above the line of its row (`up` = 1) or below it (-1).
    fn draw<B: DrawingBackend>(
        &self,
        root: &Area<B>,
        plot: &Plot<'_, B>,
        (line, up): (f64, f64),
        color: RGBColor,
    ) -> Drawn<B> {
        let range = plot.x_range();
        let step = (range.end - range.start) / STEPS as f64;
        let at = |x: f64, height: f64| {
            plot.backend_coord(&(x.clamp(range.start, range.end), line + up * 0.44 * height))
        };
        let x = |index: usize| range.start + (index as f64 + 0.5) * step;
        let seen = |height: &f64| *height > 0.002;
        let first = self.heights.iter().position(seen).unwrap_or(0);
        let last = self.heights.iter().rposition(seen).unwrap_or(0);
        let outline = (first..=last).map(|index| at(x(index), self.heights[index]));
        let corners: Vec<(i32, i32)> =
            [at(x(first), 0.0)].into_iter().chain(outline).chain([at(x(last), 0.0)]).collect();
        root.draw(&Polygon::new(corners.clone(), color.mix(0.4).filled()))?;
        root.draw(&PathElement::new(corners, color.stroke_width(units(0.9) as u32)))?;
        let [lower, median, upper] = self.quartiles;
        root.draw(&Rectangle::new([at(lower, 0.10), at(upper, 0.28)], color.filled()))?;
        root.draw(&PathElement::new([at(median, 0.0), at(median, 0.5)], INK.stroke_width(units(1.75) as u32)))
    }
}

impl ClassHistogramsChart {
    fn width(&self) -> f64 {
        NAMES_WIDTH + PANEL_WIDTH * self.panels.len() as f64
    }

    fn rows_height(&self) -> f64 {
        ROW_HEIGHT * self.names.len() as f64
    }

    fn draw_legend<B: DrawingBackend>(&self, area: &Area<B>, top: f64) -> Drawn<B> {
        let text = letters(12.0, &INK);
        let left = if self.panels.len() > 1 { NAMES_WIDTH + 6.0 } else { 12.0 };
        let y = |row: f64| units(top + 12.0 + 19.0 * row);
        for (column, (color, name)) in
            [(NORMAL_COLOR, "normal pixels"), (UNEXPECTED_COLOR, "unexpected pixels")].into_iter().enumerate()
        {
            let x = left + 130.0 * column as f64;
            let corners = [(units(x), y(0.0) - units(5.0)), (units(x + 14.0), y(0.0) + units(5.0))];
            draw_swatch(area, corners, color)?;
            area.draw_text(name, &text, (units(x + 20.0), y(0.0)))?;
        }
        let x = left + 286.0;
        area.draw(&Rectangle::new(
            [(units(x), y(0.0) - units(2.5)), (units(x + 24.0), y(0.0) + units(2.5))],
            QUIET.filled(),
        ))?;
        let tick = [(units(x + 14.0), y(0.0) - units(6.0)), (units(x + 14.0), y(0.0) + units(6.0))];
        area.draw(&PathElement::new(tick, INK.stroke_width(units(1.75) as u32)))?;
        area.draw_text("median, quartiles", &text, (units(x + 30.0), y(0.0)))?;
        if self.panels.iter().any(|panel| panel.threshold.is_some()) {
            let (from, to) = ((units(left), y(1.0)), (units(left + 24.0), y(1.0)));
            draw_dashes(area, from, to, INK.stroke_width(units(1.25) as u32))?;
            let meaning = "threshold at 95 % TPR; what lies left of it is called unexpected";
            area.draw_text(meaning, &text, (units(left + 30.0), y(1.0)))?;
        }
        Ok(())
    }
}

fn draw_swatch<B: DrawingBackend>(area: &Area<B>, corners: [(i32, i32); 2], color: RGBColor) -> Drawn<B> {
    area.draw(&Rectangle::new(corners, color.mix(0.4).filled()))?;
    area.draw(&Rectangle::new(corners, color.stroke_width(units(0.9) as u32)))
}

impl Chart for ClassHistogramsChart {
    fn size(&self) -> (u32, u32) {
        let height = TITLE_HEIGHT + self.rows_height() + AXIS_HEIGHT + LEGEND_HEIGHT;
        (units(self.width()) as u32, units(height) as u32)
    }

    fn draw<B: DrawingBackend>(&self, area: &Area<B>) -> Drawn<B> {
        let bottom = TITLE_HEIGHT + self.rows_height() + AXIS_HEIGHT;
        let (above, _) = area.split_vertically(units(bottom));
        let (_, mut rest) = above.split_horizontally(units(NAMES_WIDTH));
        for panel in &self.panels {
            let (this, others) = rest.split_horizontally(units(PANEL_WIDTH));
            panel.draw(&this, area)?;
            rest = others;
        }
        let style = right(&letters(12.0, &INK));
        for (row, name) in self.names.iter().enumerate() {
            let y = TITLE_HEIGHT + ROW_HEIGHT * (row as f64 + 0.5);
            area.draw_text(name, &style, (units(NAMES_WIDTH), units(y)))?;
        }
        self.draw_legend(area, bottom)
    }
}

/// Weights 1, 4, 6, 4, 1.
fn smoothed(values: &[f64]) -> Vec<f64> {
    let at = |index: usize, offset: isize| {
        index.checked_add_signed(offset).and_then(|index| values.get(index)).copied().unwrap_or(0.0)
    };
    let weigh = |index| {
        let sum =
            at(index, -2) + 4.0 * at(index, -1) + 6.0 * at(index, 0) + 4.0 * at(index, 1) + at(index, 2);
        sum / 16.0
    };
    (0..values.len()).map(weigh).collect()
}

/// A tick without the zeros that say nothing.
fn tick(value: f64) -> String {
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.replace('-', "\u{2212}") }
}
