//! A result as text: for a terminal, as CSV, as Markdown; and what each number means.

use std::fmt::Write;

use super::{Evaluation, Mode, ScoreResult, ThresholdRow};
use crate::render::table::{METRICS_HEADS, metrics_cells, percent, text_table};

/// What a metric is: its name, and its definition with sign and ignore rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Definition {
    /// Name, as the tables spell it.
    pub name: &'static str,
    /// What it measures, over which pixels, and which direction is better.
    pub text: &'static str,
}

/// Definitions of the pixel metrics.
pub const PIXEL_METRICS: [Definition; 4] = [
    Definition {
        name: "AUROC",
        text: "area under the ROC curve: the chance that an unexpected pixel scores higher than a normal one, a tie \
               counting one half; higher is better, 50 % is chance",
    },
    Definition {
        name: "AP",
        text: "average precision: precision summed over the steps of recall at every distinct threshold, without \
               interpolation; higher is better, the share of unexpected pixels is chance",
    },
    Definition {
        name: "FPR95",
        text: "share of normal pixels at or above the highest threshold that finds 95 % of the unexpected ones; lower \
               is better",
    },
    Definition {
        name: "FPR95 interp.",
        text: "the same, linear between the two neighbouring points of the ROC curve, as tables of the literature \
               print it; lower is better",
    },
];

/// Definitions of the component metrics (SegmentMeIfYouCan).
pub const COMPONENT_METRICS: [Definition; 3] = [
    Definition {
        name: "sIoU",
        text: "mean over the labelled objects of the IoU with what is predicted there, without the parts that cover \
               other objects; higher is better",
    },
    Definition {
        name: "PPV",
        text: "mean over the predicted components of the share that lies on unexpected pixels; higher is better",
    },
    Definition {
        name: "mean F1",
        text: "F1 of found, missed and false components, mean over the sIoU thresholds 0.25 to 0.75; higher is better",
    },
];

/// Definition of the closed set's metric.
pub const CLOSED_SET_METRIC: Definition = Definition {
    name: "mIoU",
    text: "intersection over union of label and prediction over the pixels of all images, mean over the known classes; \
           pixels without a train id take no part; higher is better",
};

/// Which pixels count and what the sign of a score means, for every metric alike.
pub const SIGN_AND_IGNORED: &str = "A score is an anomaly score: higher is more anomalous. Label 1 is unexpected (positive), \
     0 normal (negative), every other label is ignored, whatever the score there.";

/// The definitions of the metrics that a result holds, one line each, with sign and ignore rule.
pub fn definitions(evaluation: &Evaluation) -> Vec<String> {
    let line = |definition: &Definition| format!("{}: {}.", definition.name, definition.text);
    let mut lines = Vec::new();
    if !evaluation.scores.is_empty() {
        lines.extend(PIXEL_METRICS.iter().map(line));
    }
    if evaluation.scores.iter().any(|score| score.components.is_some()) {
        lines.extend(COMPONENT_METRICS.iter().map(line));
    }
    if evaluation.closed_set.is_some() {
        lines.push(line(&CLOSED_SET_METRIC));
    }
    if !evaluation.scores.is_empty() {
        lines.push(SIGN_AND_IGNORED.to_owned());
    }
    lines
}

/// A number with its noun.
pub(super) fn counted(count: u64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// What was evaluated on what, in one or two lines.
fn facts(evaluation: &Evaluation) -> Vec<String> {
    let dataset = &evaluation.dataset;
    let split = dataset.split.as_ref().map_or(String::new(), |split| format!(" ({split})"));
    let mut lines = vec![format!(
        "{}{split}: {}, {}, content sha256 {}",
        dataset.name,
        counted(dataset.images, "image"),
        counted(dataset.files, "file"),
        dataset.sha256
    )];
    let short = |digest: &Option<String>| {
        digest
            .as_ref()
            .map_or(String::new(), |digest| format!(" (sha256 {})", digest.get(..12).unwrap_or(digest)))
    };
    if let Some(model) = &evaluation.model {
        let device = evaluation.device.as_ref().map_or(String::new(), |device| format!(", on {device}"));
        lines.push(format!("network {model}{}{device}", short(&evaluation.model_sha256)));
    }
    if evaluation.statistics_sha256.is_some() {
        lines.push(format!("class statistics{}", short(&evaluation.statistics_sha256)));
    }
    if let Some(score) = evaluation.scores.first() {
        let how = match evaluation.mode {
            Mode::Exact => "exact".to_owned(),
            Mode::Histogram => "from histograms".to_owned(),
        };
        let pixels = score.pixels;
        lines.push(format!(
            "{} unexpected, {} normal, {} ignored pixels; {how}",
            pixels.positives, pixels.negatives, pixels.ignored
        ));
    }
    lines
}

/// Heads and cells of the table of scores, in percent.
fn scores_table(scores: &[ScoreResult]) -> (Vec<&'static str>, Vec<Vec<String>>) {
    let components = scores.iter().any(|score| score.components.is_some());
    let bounds = scores.iter().any(|score| score.error_bound.is_some());
    let mut heads: Vec<&str> = std::iter::once("%").chain(METRICS_HEADS).collect();
    if bounds {
        heads.push("off by at most");
    }
    if components {
        heads.extend(COMPONENT_METRICS.map(|definition| definition.name));
    }
    let missing = || "-".to_owned();
    let rows = scores
        .iter()
        .map(|score| {
            let mut row: Vec<String> =
                std::iter::once(score.name.clone()).chain(metrics_cells(&score.pixels)).collect();
            if bounds {
                row.push(score.error_bound.map_or_else(missing, |bound| format!("{:.4}", bound * 100.0)));
            }
            if components {
                match &score.components {
                    Some(found) => row.extend([
                        percent(found.siou),
                        found.ppv.map_or_else(missing, percent),
                        percent(found.mean_f1),
                    ]),
                    None => row.extend([missing(), missing(), missing()]),
                }
            }
            row
        })
        .collect();
    (heads, rows)
}

/// IoU of each class, and AUROC over the pixels of each predicted class for the first score and the last one.
fn classes_table(evaluation: &Evaluation) -> Option<(Vec<String>, Vec<Vec<String>>)> {
    let cell = |value: Option<f64>| value.map_or("-".to_owned(), percent);
    let mut heads = vec!["class".to_owned()];
    let mut columns: Vec<Vec<Option<f64>>> = Vec::new();
    if let Some(closed) = &evaluation.closed_set {
        heads.push("IoU".to_owned());
        columns.push(closed.iou.iter().map(|(_, iou)| *iou).collect());
    }
    let ends = [evaluation.scores.first(), evaluation.scores.get(1..).and_then(<[ScoreResult]>::last)];
    for score in ends.into_iter().flatten().filter(|score| !score.auroc_by_class.is_empty()) {
        heads.push(format!("AUROC {}", score.name));
        columns.push(score.auroc_by_class.clone());
    }
    let rows = evaluation.class_names.iter().enumerate().map(|(class, name)| {
        let cells = columns.iter().map(|column| cell(column.get(class).copied().flatten()));
        std::iter::once(name.clone()).chain(cells).collect()
    });
    let rows: Vec<Vec<String>> =
        rows.filter(|row: &Vec<String>| row[1..].iter().any(|cell| cell != "-")).collect();
    (!rows.is_empty()).then_some((heads, rows))
}

/// Heads and rows of the rates at the last score's thresholds.
fn thresholds_table(evaluation: &Evaluation) -> Option<([&'static str; 4], Vec<Vec<String>>)> {
    let rows = &evaluation.scores.last()?.thresholds;
    let cells = |row: &ThresholdRow| {
        let rates = [row.tpr, row.fpr, row.precision].map(percent);
        std::iter::once(format!("{:.4}", row.threshold)).chain(rates).collect()
    };
    Some((["threshold", "TPR", "FPR", "precision"], rows.iter().map(cells).collect()))
}

fn failures(evaluation: &Evaluation) -> Vec<String> {
    evaluation
        .failures
        .iter()
        .map(|failure| format!("left out: {}: {}", failure.image, failure.problem))
        .collect()
}

/// The result for a terminal: facts, tables, definitions.
pub fn text(evaluation: &Evaluation) -> String {
    let mut text = facts(evaluation).join("\n") + "\n";
    for failure in failures(evaluation) {
        let _ = writeln!(text, "{failure}");
    }
    if !evaluation.scores.is_empty() {
        let (heads, rows) = scores_table(&evaluation.scores);
        let _ = write!(text, "\n{}", text_table(&heads, &rows));
    }
    if let Some(closed) = &evaluation.closed_set {
        let _ = write!(text, "\nmIoU of the known classes: {} %\n", percent(closed.miou));
    }
    if let Some((heads, rows)) = classes_table(evaluation) {
        let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
        let _ = write!(text, "\n{}", text_table(&heads, &rows));
    }
    if let Some((heads, rows)) = thresholds_table(evaluation) {
        let name = evaluation.scores.last().map_or("", |score| score.name.as_str());
        let _ = write!(text, "\nthresholds of {name}, rates in %\n{}", text_table(&heads, &rows));
    }
    for line in definitions(evaluation) {
        let _ = write!(text, "\n{line}");
    }
    text + "\n"
}

/// The result as Markdown, for a README or an issue.
pub fn markdown(evaluation: &Evaluation) -> String {
    let mut text = facts(evaluation).join("  \n") + "\n";
    for failure in failures(evaluation) {
        let _ = writeln!(text, "\n{failure}");
    }
    if !evaluation.scores.is_empty() {
        let (heads, rows) = scores_table(&evaluation.scores);
        text += "\n";
        text += &markdown_table(&heads, &rows);
    }
    if let Some(closed) = &evaluation.closed_set {
        let _ = write!(text, "\nmIoU of the known classes: {} %\n", percent(closed.miou));
    }
    if let Some((heads, rows)) = classes_table(evaluation) {
        let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
        text += "\n";
        text += &markdown_table(&heads, &rows);
    }
    if let Some((heads, rows)) = thresholds_table(evaluation) {
        let name = evaluation.scores.last().map_or("", |score| score.name.as_str());
        let _ =
            write!(text, "\nThresholds of {name}, rates in percent:\n\n{}", markdown_table(&heads, &rows));
    }
    text += "\n";
    for line in definitions(evaluation) {
        let _ = writeln!(text, "- {line}");
    }
    text
}

fn markdown_table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let escape = |cell: &str| cell.replace('|', "\\|");
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let mut text = line(heads.iter().map(|head| escape(head)).collect());
    let rule = heads.iter().enumerate().map(|(column, _)| if column == 0 { "---" } else { "---:" });
    text += &line(rule.map(str::to_owned).collect());
    rows.iter().for_each(|row| text += &line(row.iter().map(|cell| escape(cell)).collect()));
    text
}

/// Heads of [`csv`].
const CSV_HEADS: &str =
    "score,auroc,ap,fpr95,fpr95_interp,positives,negatives,ignored,error_bound,siou,ppv,mean_f1,miou";

/// The result as CSV: one row a score, shares from 0 to 1 with all their digits, an empty cell where a number is not
/// defined. A result without scores has one row, named `closed_set`, with the mIoU.
pub fn csv(evaluation: &Evaluation) -> String {
    let number = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
    let miou = number(evaluation.closed_set.as_ref().map(|closed| closed.miou));
    let mut text = format!("{CSV_HEADS}\n");
    for score in &evaluation.scores {
        let (pixels, components) = (&score.pixels, score.components.as_ref());
        let cells = [
            quoted(&score.name),
            pixels.auroc.to_string(),
            pixels.ap.to_string(),
            pixels.fpr95.to_string(),
            pixels.fpr95_interp.to_string(),
            pixels.positives.to_string(),
            pixels.negatives.to_string(),
            pixels.ignored.to_string(),
            number(score.error_bound),
            number(components.map(|found| found.siou)),
            number(components.and_then(|found| found.ppv)),
            number(components.map(|found| found.mean_f1)),
            miou.clone(),
        ];
        text += &(cells.join(",") + "\n");
    }
    if evaluation.scores.is_empty() {
        let empty = CSV_HEADS.matches(',').count() - 1;
        let _ = writeln!(text, "closed_set,{}{miou}", ",".repeat(empty));
    }
    text
}

/// A cell of CSV (RFC 4180).
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}
