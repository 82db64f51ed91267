//! The tables of a report.

use super::super::html::{Cell, escape, facts, table};
use super::super::report::{METRICS_CAPTION, metrics_rows};
use super::super::table::{METRICS_HEADS, MetricsRow, percent};
use super::ReportPictures;
use crate::Result;
use crate::evaluation::{ClosedSet, ComponentMetrics, Evaluation, Mode, ScoreResult};

/// In the place of a number that is not defined.
const NONE: &str = "\u{2013}";

type Rows = Vec<(String, Vec<Cell>)>;

/// Pixel metrics of each score; in histogram mode with the bound of their error.
pub(super) fn metrics(evaluation: &Evaluation) -> String {
    let scores = &evaluation.scores;
    let rows: Vec<MetricsRow> =
        scores.iter().map(|score| MetricsRow { name: score.name.clone(), metrics: score.pixels }).collect();
    let mut rows = metrics_rows(&rows);
    let mut heads: Vec<&str> = ["score"].into_iter().chain(METRICS_HEADS).collect();
    if evaluation.mode == Mode::Histogram {
        heads.push("at most off by");
        for ((_, cells), score) in rows.iter_mut().zip(scores) {
            cells.push(Cell::plain(score.error_bound.map_or(NONE.to_owned(), small_percent)));
        }
    }
    table(METRICS_CAPTION, &heads, &rows)
}

/// A bound, in percent, which may be far below the two decimals of other numbers.
fn small_percent(share: f64) -> String {
    if share == 0.0 || share >= 1e-4 { percent(share) } else { format!("{:.0e}", share * 100.0) }
}

/// Component metrics of each score that has them.
pub(super) fn components(evaluation: &Evaluation) -> String {
    let measured: Vec<(&str, &ComponentMetrics)> = evaluation
        .scores
        .iter()
        .filter_map(|score| score.components.as_ref().map(|components| (score.name.as_str(), components)))
        .collect();
    let rates =
        |components: &ComponentMetrics| [Some(components.siou), components.ppv, Some(components.mean_f1)];
    let best: [Option<f64>; 3] = std::array::from_fn(|column| {
        let column = measured.iter().filter_map(|(_, components)| rates(components)[column]);
        column.reduce(f64::max).filter(|_| measured.len() > 1)
    });
    let row = |&(name, components): &(&str, &ComponentMetrics)| {
        let values = rates(components).into_iter().zip(best);
        let mut cells: Vec<Cell> =
            values.map(|(value, best)| rate(value, value.is_some() && value == best)).collect();
        cells.push(Cell::plain(number(components.threshold)));
        cells.push(Cell::plain(components.predicted.to_string()));
        cells.push(Cell::plain(components.labelled.to_string()));
        (name.to_owned(), cells)
    };
    let rows: Rows = measured.iter().map(row).collect();
    let heads = ["score", "sIoU", "PPV", "mean F1", "threshold", "predicted", "labelled"];
    let main =
        table("Components, in percent: higher is better; threshold and numbers of components", &heads, &rows);
    if main.is_empty() { main } else { main + &f1_by_siou(&measured) }
}

/// F1 at each sIoU, folded away.
fn f1_by_siou(measured: &[(&str, &ComponentMetrics)]) -> String {
    let levels: Vec<f64> = measured.first().map_or(Vec::new(), |(_, c)| c.f1.iter().map(|f1| f1.0).collect());
    let same = |components: &ComponentMetrics| components.f1.iter().map(|f1| f1.0).eq(levels.iter().copied());
    if levels.is_empty() || !measured.iter().all(|(_, components)| same(components)) {
        return String::new();
    }
    let heads: Vec<String> = levels.iter().map(|level| format!("{level:.2}")).collect();
    let heads: Vec<&str> = ["score"].into_iter().chain(heads.iter().map(String::as_str)).collect();
    let row = |&(name, components): &(&str, &ComponentMetrics)| {
        (name.to_owned(), components.f1.iter().map(|&(_, f1)| rate(Some(f1), false)).collect())
    };
    let rows: Rows = measured.iter().map(row).collect();
    folded(
        "F1 by the sIoU from which a component counts as found",
        false,
        &table("F1 in percent", &heads, &rows),
    )
}

/// AUROC by predicted class of each score, IoU by class, and the distributions behind them.
pub(super) fn classes(evaluation: &Evaluation, pictures: &ReportPictures) -> Result<String> {
    let closed_set = evaluation.closed_set.as_ref().map_or(String::new(), miou);
    let panels = super::pictures::class_panels(&pictures.class_panels)?;
    Ok([closed_set, panels, class_table(evaluation)].concat())
}

fn miou(closed_set: &ClosedSet) -> String {
    facts([("mIoU of the prediction", format!("{} %", percent(closed_set.miou)).as_str())])
}

fn class_table(evaluation: &Evaluation) -> String {
    let iou: &[(String, Option<f64>)] = evaluation.closed_set.as_ref().map_or(&[], |set| &set.iou);
    let with_classes: Vec<&ScoreResult> =
        evaluation.scores.iter().filter(|score| score.auroc_by_class.iter().any(Option::is_some)).collect();
    let count = with_classes.iter().map(|score| score.auroc_by_class.len()).max().unwrap_or(0).max(iou.len());
    let mut heads = vec!["class"];
    if !iou.is_empty() {
        heads.push("IoU");
    }
    heads.extend(with_classes.iter().map(|score| score.name.as_str()));
    let row = |class: usize| {
        let known = evaluation.class_names.get(class).or_else(|| iou.get(class).map(|(name, _)| name));
        let name = known.map_or_else(|| format!("class {class}"), Clone::clone);
        let rates: Vec<Option<f64>> =
            with_classes.iter().map(|score| score.auroc_by_class.get(class).copied().flatten()).collect();
        let best = rates.iter().flatten().copied().fold(f64::NEG_INFINITY, f64::max);
        let cells = rates.iter().map(|&auroc| rate(auroc, rates.len() > 1 && auroc == Some(best)));
        let iou = (!iou.is_empty()).then(|| rate(iou.get(class).and_then(|(_, iou)| *iou), false));
        (name, iou.into_iter().chain(cells).collect())
    };
    let caption = match (iou.is_empty(), with_classes.is_empty()) {
        (false, true) => "IoU of each class, in percent",
        (true, _) => {
            "AUROC over the pixels of each predicted class, in percent: the best score of each class is marked; \
             \u{2013} where no unexpected or no normal pixel is predicted as it"
        }
        (false, false) => {
            "IoU of each class, and AUROC over the pixels that are predicted as it, in percent: the best score of \
             each class is marked; \u{2013} where no unexpected or no normal pixel is predicted as it"
        }
    };
    table(caption, &heads, &(0..count).map(row).collect::<Rows>())
}

/// Rates at selected thresholds, one table a score; that of the last score, the whole method, is open.
pub(super) fn thresholds(evaluation: &Evaluation) -> String {
    let with_rows: Vec<&ScoreResult> =
        evaluation.scores.iter().filter(|score| !score.thresholds.is_empty()).collect();
    let last = with_rows.len().saturating_sub(1);
    let one = |(index, score): (usize, &&ScoreResult)| {
        let rows: Rows = score
            .thresholds
            .iter()
            .map(|row| {
                let rates = [row.tpr, row.fpr, row.precision].map(|share| rate(Some(share), false));
                (number(row.threshold), rates.to_vec())
            })
            .collect();
        let caption = format!(
            "{}: rates of a pixel called unexpected at the threshold or above, in percent",
            score.name
        );
        folded(&score.name, index == last, &table(&caption, &["threshold", "TPR", "FPR", "precision"], &rows))
    };
    with_rows.iter().enumerate().map(one).collect()
}

/// Something that opens at a click or a key. `html` is HTML, `summary` is not.
fn folded(summary: &str, open: bool, html: &str) -> String {
    let open = if open { " open" } else { "" };
    format!("<details{open}><summary>{}</summary>\n{html}</details>\n", escape(summary))
}

fn rate(share: Option<f64>, best: bool) -> Cell {
    match share.filter(|share| share.is_finite()) {
        Some(share) => Cell { text: percent(share), best },
        None => Cell::plain(NONE),
    }
}

/// A threshold in as many digits as tell it apart.
fn number(threshold: f32) -> String {
    match threshold.abs() {
        0.0 => "0".to_owned(),
        1e-4..1e6 => format!("{threshold:.5}").trim_end_matches('0').trim_end_matches('.').to_owned(),
        _ => format!("{threshold:.4e}"),
    }
}
