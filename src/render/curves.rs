//! ROC and precision-recall curves of several scores in one figure.
//!
//! Scores are told apart by the shape of the markers on their curves as well as by colour, and the legend below names
//! each with its numbers. Colours are equally far from white and from near-black paper.

use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::cartesian::Cartesian2d;
use plotters::coord::types::RangedCoordf64;
use plotters::element::PathElement;
use plotters::prelude::{Color, DrawingBackend};

use super::figure::{
    Area, Chart, Content, Drawn, Figure, INK, QUIET, bold_letters, label, letters, right, units,
};
use super::marker::{draw_dashes, draw_marker, stroke};
use super::table::percent;
use crate::evaluation::{CurvePoint, ScoreResult, telling_names};
use crate::{Error, Result};

/// Which curve is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Curve {
    /// Receiver operating characteristic: TPR over FPR.
    Roc,
    /// The same over FPR in powers of ten, where good scores differ.
    RocLogFpr,
    /// Precision over recall, as steps: average precision is the area under them.
    PrecisionRecall,
}

/// Scores that one figure shows.
const MOST_SCORES: usize = 10;
/// Markers on each curve.
const MARKERS: usize = 4;
/// The least FPR of a logarithmic axis, as a power of ten.
const LOWEST_POWER: f64 = -5.0;

/// Sizes in pixels.
const WIDTH: f64 = 480.0;
const PLOT_HEIGHT: f64 = 372.0;
const LEGEND_ROW: f64 = 19.0;
const MARGIN: f64 = 12.0;
const LETTERS: f64 = 13.0;
const SMALL_LETTERS: f64 = 12.0;

/// Curves of the scores in one figure, with a legend that gives AUROC and FPR95, or AP. Of more than ten scores, those
/// ten are shown whose AUROC (or AP) is highest, and the legend says so.
///
/// # Errors
/// [`Error::Shape`] when there is no score.
pub fn curves(scores: &[ScoreResult], curve: Curve) -> Result<Figure> {
    if scores.is_empty() {
        return Err(Error::Shape {
            what: "figure of curves",
            given: "without a score".to_owned(),
            expected: "one score or more".to_owned(),
        });
    }
    let chart = CurvesChart::new(scores, curve);
    let names: Vec<&str> = chart.lines.iter().map(|line| line.name.as_str()).collect();
    let title = format!("{} of {}", curve.title(), names.join(", "));
    Ok(Figure::new(title, Content::Curves(chart)))
}

impl Curve {
    fn title(self) -> &'static str {
        match self {
            Self::Roc => "ROC curves",
            Self::RocLogFpr => "ROC curves with a logarithmic axis of false positive rates",
            Self::PrecisionRecall => "Precision-recall curves",
        }
    }

    fn axes(self) -> [&'static str; 2] {
        match self {
            Self::Roc | Self::RocLogFpr => ["false positive rate", "true positive rate"],
            Self::PrecisionRecall => ["recall (true positive rate)", "precision"],
        }
    }

    /// Heads of the legend's numbers.
    fn numbers(self) -> &'static [&'static str] {
        match self {
            Self::Roc | Self::RocLogFpr => &["AUROC %", "FPR95 %"],
            Self::PrecisionRecall => &["AP %"],
        }
    }

    /// The legend's numbers of a score; the first one ranks, higher is better.
    fn values(self, score: &ScoreResult) -> Vec<f64> {
        let metrics = &score.pixels;
        match self {
            Self::Roc | Self::RocLogFpr => vec![metrics.auroc, metrics.fpr95],
            Self::PrecisionRecall => vec![metrics.ap],
        }
    }
}

/// The curves as they are drawn.
pub(super) struct CurvesChart {
    curve: Curve,
    lines: Vec<Line>,
    left_out: usize,
    /// Where the horizontal axis begins: a rate, or its power of ten.
    x_low: f64,
    /// Share of unexpected pixels, which is the precision of a score that knows nothing.
    prevalence: f64,
}

struct Line {
    name: String,
    /// Place among all scores, which gives colour and marker.
    series: usize,
    numbers: Vec<String>,
    /// In the coordinates of the axes.
    points: Vec<(f64, f64)>,
}

impl CurvesChart {
    fn new(scores: &[ScoreResult], curve: Curve) -> Self {
        let mut ranked: Vec<usize> = (0..scores.len()).collect();
        ranked.sort_by(|&a, &b| curve.values(&scores[b])[0].total_cmp(&curve.values(&scores[a])[0]));
        ranked.truncate(MOST_SCORES);
        ranked.sort_unstable();
        let shown = || ranked.iter().map(|&series| (series, &scores[series]));
        let x_low =
            if curve == Curve::RocLogFpr { lowest_power(shown().map(|(_, score)| score)) } else { 0.0 };
        let names: Vec<&str> = scores.iter().map(|score| score.name.as_str()).collect();
        let names = telling_names(&names);
        let lines = shown().map(|(series, score)| Line {
            name: label(names[series], 44),
            series,
            numbers: curve.values(score).into_iter().map(percent).collect(),
            points: thinned(&points(&score.curve, curve, x_low), x_low),
        });
        let (positives, negatives) = (scores[0].pixels.positives as f64, scores[0].pixels.negatives as f64);
        Self {
            curve,
            left_out: scores.len() - ranked.len(),
            lines: lines.collect(),
            x_low,
            prevalence: positives / (positives + negatives),
        }
    }

    /// Right end of the horizontal axis.
    fn x_high(&self) -> f64 {
        x_high(self.x_low)
    }

    fn legend_rows(&self) -> usize {
        1 + self.lines.len() + usize::from(self.left_out > 0)
    }

    fn draw_axes<B: DrawingBackend>(&self, plot: &mut Plot<'_, B>) -> Drawn<B> {
        let [across, up] = self.curve.axes();
        let text = letters(SMALL_LETTERS, &INK);
        let power = |x: &f64| if self.x_low < 0.0 { power_of_ten(*x) } else { format!("{x:.1}") };
        plot.configure_mesh()
            .axis_style(INK.mix(0.0))
            .set_all_tick_mark_size(units(7.0))
            .light_line_style(INK.mix(0.0))
            .bold_line_style(QUIET.mix(0.3).stroke_width(units(0.75) as u32))
            .x_labels(6)
            .y_labels(6)
            .x_label_formatter(&power)
            .y_label_formatter(&|y| format!("{y:.1}"))
            .label_style(text)
            .x_desc(across)
            .y_desc(up)
            .axis_desc_style(letters(LETTERS, &INK))
            .draw()
    }

    /// What a score without knowledge would reach, and the line of 95 % TPR.
    fn draw_guides<B: DrawingBackend>(&self, area: &Area<B>, plot: &Plot<'_, B>) -> Drawn<B> {
        let at = |x: f64, y: f64| plot.backend_coord(&(x, y));
        let style = QUIET.stroke_width(units(1.0) as u32);
        let small = letters(11.0, &QUIET);
        if self.curve == Curve::PrecisionRecall {
            draw_dashes(area, at(0.0, self.prevalence), at(1.0, self.prevalence), style)?;
            draw_dashes(area, at(0.95, 0.0), at(0.95, 1.0), style)?;
            let (x, y) = at(0.95, 1.0);
            return area.draw_text("TPR 95 %", &right(&small), (x - units(4.0), y + units(9.0)));
        }
        let chance = (0..=60).map(|step| {
            let x = self.x_low + (self.x_high() - self.x_low) * f64::from(step) / 60.0;
            at(x, if self.x_low < 0.0 { 10_f64.powf(x) } else { x })
        });
        area.draw(&PathElement::new(
            chance.collect::<Vec<_>>(),
            QUIET.mix(0.6).stroke_width(units(0.75) as u32),
        ))?;
        draw_dashes(area, at(self.x_low, 0.95), at(self.x_high(), 0.95), style)?;
        // Where curves are least likely to run: they rise at the left end of the one axis, at the right end of the other.
        if self.curve == Curve::RocLogFpr {
            let (x, y) = at(self.x_low, 0.975);
            return area.draw_text("TPR 95 %", &small, (x + units(5.0), y));
        }
        let (x, y) = at(self.x_high(), 0.95);
        area.draw_text("TPR 95 %", &right(&small), (x - units(4.0), y + units(9.0)))
    }

    fn draw_legend<B: DrawingBackend>(&self, area: &Area<B>, top: f64) -> Drawn<B> {
        let row = |index: usize| units(top + LEGEND_ROW * (index as f64 + 0.5));
        let column = |from_right: usize| units(WIDTH - MARGIN - 72.0 * from_right as f64);
        let heads = self.curve.numbers();
        let quiet = letters(SMALL_LETTERS, &QUIET);
        for (index, head) in heads.iter().rev().enumerate() {
            area.draw_text(head, &right(&quiet), (column(index), row(0)))?;
        }
        let best =
            self.lines.iter().map(|line| &line.numbers[0]).max_by(|a, b| number(a).total_cmp(&number(b)));
        for (index, line) in self.lines.iter().enumerate() {
            let y = row(index + 1);
            let (from, to) = (units(MARGIN + 2.0), units(MARGIN + 30.0));
            area.draw(&PathElement::new([(from, y), (to, y)], stroke(line.series)))?;
            draw_marker(area, ((from + to) / 2, y), line.series)?;
            let is_best = self.lines.len() > 1 && Some(&line.numbers[0]) == best;
            let style =
                if is_best { bold_letters(SMALL_LETTERS, &INK) } else { letters(SMALL_LETTERS, &INK) };
            area.draw_text(&line.name, &style, (units(MARGIN + 40.0), y))?;
            for (index, number) in line.numbers.iter().rev().enumerate() {
                area.draw_text(number, &right(&style), (column(index), y))?;
            }
        }
        if self.left_out > 0 {
            let text =
                format!("The best {} of {} scores.", self.lines.len(), self.lines.len() + self.left_out);
            area.draw_text(&text, &quiet, (units(MARGIN + 40.0), row(self.lines.len() + 1)))?;
        }
        Ok(())
    }
}

type Plot<'a, B> = ChartContext<'a, B, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

impl Chart for CurvesChart {
    fn size(&self) -> (u32, u32) {
        let height = PLOT_HEIGHT + LEGEND_ROW * self.legend_rows() as f64 + MARGIN;
        (units(WIDTH) as u32, units(height) as u32)
    }

    fn draw<B: DrawingBackend>(&self, area: &Area<B>) -> Drawn<B> {
        let (above, _) = area.split_vertically(units(PLOT_HEIGHT));
        let mut plot = ChartBuilder::on(&above)
            .margin_top(units(MARGIN))
            .margin_right(units(MARGIN + 6.0))
            .margin_left(units(6.0))
            .x_label_area_size(units(46.0))
            .y_label_area_size(units(46.0))
            .build_cartesian_2d(self.x_low..self.x_high(), 0.0..1.0)?;
        self.draw_axes(&mut plot)?;
        self.draw_guides(area, &plot)?;
        for line in &self.lines {
            let points: Vec<(i32, i32)> = line.points.iter().map(|point| plot.backend_coord(point)).collect();
            let places = marker_places(&points, line.series, self.lines.len());
            area.draw(&PathElement::new(points, stroke(line.series)))?;
            for place in places {
                draw_marker(area, place, line.series)?;
            }
        }
        let frame = [(self.x_low, 0.0), (self.x_high(), 0.0), (self.x_high(), 1.0), (self.x_low, 1.0)];
        let corners = frame.into_iter().chain([frame[0]]).map(|corner| plot.backend_coord(&corner));
        area.draw(&PathElement::new(corners.collect::<Vec<_>>(), INK.stroke_width(units(1.0) as u32)))?;
        self.draw_legend(area, PLOT_HEIGHT)
    }
}

fn x_high(x_low: f64) -> f64 {
    if x_low < 0.0 { 0.0 } else { 1.0 }
}

fn number(text: &str) -> f64 {
    text.parse().unwrap_or(f64::NEG_INFINITY)
}

/// 10^x for a tick, in digits.
fn power_of_ten(power: f64) -> String {
    let decimals = (-power.round()).max(0.0) as usize;
    format!("{:.decimals$}", 10_f64.powf(power))
}

/// The power of ten at or below every FPR above zero, within reason.
fn lowest_power<'a>(scores: impl Iterator<Item = &'a ScoreResult>) -> f64 {
    let rates = scores.flat_map(|score| &score.curve).map(|point| point.fpr).filter(|&fpr| fpr > 0.0);
    rates.fold(0.1, f64::min).log10().floor().clamp(LOWEST_POWER, -1.0)
}

/// The curve in the coordinates of the axes.
fn points(curve: &[CurvePoint], kind: Curve, x_low: f64) -> Vec<(f64, f64)> {
    let rates = curve.iter().filter(|p| p.tpr.is_finite() && p.fpr.is_finite() && p.precision.is_finite());
    match kind {
        Curve::Roc => {
            [(0.0, 0.0)].into_iter().chain(rates.map(|p| (p.fpr, p.tpr))).chain([(1.0, 1.0)]).collect()
        }
        Curve::RocLogFpr => {
            let x = |fpr: f64| fpr.log10().max(x_low);
            let inner = rates.map(|p| (x(p.fpr), p.tpr));
            [(x_low, 0.0)].into_iter().chain(inner).chain([(0.0, 1.0)]).collect()
        }
        Curve::PrecisionRecall => {
            // Between two thresholds average precision counts the precision of the lower one.
            let mut recall = 0.0;
            let steps = rates.flat_map(|p| {
                let step = [(recall, p.precision), (p.tpr, p.precision)];
                recall = p.tpr;
                step
            });
            steps.collect()
        }
    }
}

/// Without points that no eye could tell from the one before.
fn thinned(points: &[(f64, f64)], x_low: f64) -> Vec<(f64, f64)> {
    const NEAR: f64 = 1.0 / 1500.0;
    let width = x_high(x_low) - x_low;
    let mut kept: Vec<(f64, f64)> = Vec::new();
    for (index, &(x, y)) in points.iter().enumerate() {
        let far = kept
            .last()
            .is_none_or(|&(kept_x, kept_y)| ((x - kept_x) / width).abs() > NEAR || (y - kept_y).abs() > NEAR);
        if far || index + 1 == points.len() {
            kept.push((x, y));
        }
    }
    kept
}

/// Places for markers at even distances along a line, where those of other series are not.
fn marker_places(points: &[(i32, i32)], series: usize, count: usize) -> Vec<(i32, i32)> {
    let length = |a: (i32, i32), b: (i32, i32)| f64::from(b.0 - a.0).hypot(f64::from(b.1 - a.1));
    let whole: f64 = points.windows(2).map(|pair| length(pair[0], pair[1])).sum();
    let shift = (series % count.max(1)) as f64 + 0.5;
    let mut wanted =
        (0..MARKERS).map(|marker| whole * (marker as f64 + shift / count.max(1) as f64) / MARKERS as f64);
    let (mut places, mut way, mut next) = (Vec::new(), 0.0, wanted.next());
    for pair in points.windows(2) {
        let (a, b) = (pair[0], pair[1]);
        let part = length(a, b);
        while let Some(target) = next.filter(|&target| target <= way + part && part > 0.0) {
            let share = (target - way) / part;
            let between = |a: i32, b: i32| a + (f64::from(b - a) * share).round() as i32;
            places.push((between(a.0, b.0), between(a.1, b.1)));
            next = wanted.next();
        }
        way += part;
    }
    places
}
