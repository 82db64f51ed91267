//! What a report says about its numbers: the dataset, definitions, provenance, and what was left out.

use serde_json::Value;

use super::super::html::{Cell, facts, paragraph, table};
use super::ReportPictures;
use crate::evaluation::{
    CLOSED_SET_METRIC, COMPONENT_METRICS, Definition, Evaluation, Mode, PIXEL_METRICS, SIGN_AND_IGNORED,
};

/// What the table of classes holds.
const AUROC_BY_CLASS: Definition = Definition {
    name: "AUROC by class",
    text: "AUROC over the pixels for which the network predicts the class; higher is better; a class without \
           unexpected or without normal pixels has none",
};

/// What each score is, by the name that results carry.
const SCORES: [(&str, &str); 7] = [
    ("msp", "minus the maximum softmax probability (Hendrycks and Gimpel, 2017)"),
    ("max_logit", "minus the maximum logit (Hendrycks et al., 2022)"),
    ("entropy", "entropy of the softmax, divided by its largest value"),
    ("energy", "minus the log-sum-exp of the logits (Liu et al., 2020)"),
    (
        "sml",
        "minus the maximum logit, standardized with mean and variance of the predicted class (Jung et al., 2021)",
    ),
    ("sml+suppression", "sml with false alarms along class boundaries suppressed iteratively"),
    ("sml+suppression+smoothing", "the whole method: smoothed with a dilated Gaussian at the end"),
];

/// One paragraph about what was evaluated.
pub(super) fn introduction(evaluation: &Evaluation) -> String {
    let images = evaluation.dataset.images;
    let images = if images == 1 { "1 image".to_owned() } else { format!("{} images", grouped(images)) };
    let pixels = evaluation.scores.first().map(|score| {
        let pixels = &score.pixels;
        format!(
            ": {} unexpected and {} normal pixels, {} ignored",
            grouped(pixels.positives),
            grouped(pixels.negatives),
            grouped(pixels.ignored)
        )
    });
    format!("{images}{}.", pixels.unwrap_or_default())
}

/// What a reader must know before the numbers.
pub(super) fn warnings(evaluation: &Evaluation) -> String {
    let count = evaluation.failures.len();
    if count == 0 {
        return String::new();
    }
    let images = if count == 1 { "1 image".to_owned() } else { format!("{count} images") };
    let text = format!("{images} could not be evaluated; the numbers are those of the others.");
    paragraph(" class=\"note\"", &text)
}

/// The images that were left out, and why.
pub(super) fn failures(evaluation: &Evaluation) -> String {
    let rows: Vec<(String, Vec<Cell>)> = evaluation
        .failures
        .iter()
        .map(|failure| (failure.image.clone(), vec![Cell::plain(failure.problem.clone())]))
        .collect();
    match table("Images that could not be evaluated", &["image", "why"], &rows) {
        table if table.is_empty() => table,
        table => format!("<div class=\"prose\">\n{table}</div>\n"),
    }
}

/// What each score and metric is that the report holds.
pub(super) fn definitions(evaluation: &Evaluation) -> String {
    let has_components = evaluation.scores.iter().any(|score| score.components.is_some());
    let has_classes = evaluation.scores.iter().any(|score| score.auroc_by_class.iter().any(Option::is_some));
    let mut metrics: Vec<Definition> = Vec::new();
    if !evaluation.scores.is_empty() {
        metrics.extend(PIXEL_METRICS);
    }
    if has_components {
        metrics.extend(COMPONENT_METRICS);
    }
    metrics.extend(has_classes.then_some(AUROC_BY_CLASS));
    metrics.extend(evaluation.closed_set.is_some().then_some(CLOSED_SET_METRIC));
    let is_shown = |name: &str| evaluation.scores.iter().any(|score| base(&score.name) == name);
    let scores = facts(SCORES.into_iter().filter(|(name, _)| is_shown(name)));
    let heading = if scores.is_empty() { "" } else { "<h3>Scores</h3>\n" };
    format!(
        "{}{}{}<h3>Metrics</h3>\n{}{heading}{scores}",
        paragraph("", SIGN_AND_IGNORED),
        paragraph("", "A pixel is called unexpected when its score is at or above the threshold."),
        paragraph("", mode(evaluation.mode)),
        facts(metrics.iter().map(|metric| (metric.name, metric.text))),
    )
}

fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Exact => "Pixel metrics are computed from all scores, exactly.",
        Mode::Histogram => {
            "Pixel metrics are computed from histograms of the scores; the table of metrics says how far off each may \
             be at most."
        }
    }
}

/// The name of a score without the setting of a sweep.
fn base(name: &str) -> &str {
    name.split_once(['[', '(']).map_or(name, |(base, _)| base).trim_end()
}

/// Dataset, network, parameters: whatever the numbers depend on.
pub(super) fn provenance(evaluation: &Evaluation, pictures: &ReportPictures) -> String {
    let dataset = &evaluation.dataset;
    let mut items = vec![
        ("dataset".to_owned(), dataset.name.clone()),
        ("images".to_owned(), grouped(dataset.images)),
        ("files".to_owned(), grouped(dataset.files)),
        ("content hash (SHA-256)".to_owned(), dataset.sha256.clone()),
    ];
    if let Some(split) = &dataset.split {
        items.insert(1, ("split".to_owned(), split.clone()));
    }
    let known = [
        ("network", &evaluation.model),
        ("network (SHA-256)", &evaluation.model_sha256),
        ("class statistics (SHA-256)", &evaluation.statistics_sha256),
        ("device", &evaluation.device),
    ];
    for (name, value) in known {
        items.extend(value.clone().map(|value| (name.to_owned(), value)));
    }
    items.push(("date (UTC)".to_owned(), evaluation.date.clone()));
    items.push(("version of sml".to_owned(), evaluation.version.clone()));
    items.extend(pictures.facts.iter().cloned());
    let parameters = evaluation.params.as_ref().and_then(|params| serde_json::to_value(params).ok());
    let parameters = parameters.map_or(Vec::new(), |value| flat("", &value));
    let pairs = |items: &[(String, String)]| facts(items.iter().map(|(a, b)| (a.as_str(), b.as_str())));
    let heading = if parameters.is_empty() { "" } else { "<h3>Parameters of the whole method</h3>\n" };
    format!("{}{heading}{}", pairs(&items), pairs(&parameters))
}

/// The leaves of a JSON value by their paths.
fn flat(path: &str, value: &Value) -> Vec<(String, String)> {
    match value {
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(name, value)| {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                flat(&path, value)
            })
            .collect(),
        Value::String(text) => vec![(path.to_owned(), text.clone())],
        Value::Null => vec![(path.to_owned(), "off".to_owned())],
        other => vec![(path.to_owned(), other.to_string())],
    }
}

/// A number in groups of three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped_from_the_right() {
        let groups = [0, 999, 1000, 12_345_678].map(|number| grouped(number).replace('\u{202f}', " "));
        assert_eq!(groups, ["0", "999", "1 000", "12 345 678"]);
    }

    #[test]
    fn settings_of_a_sweep_do_not_hide_the_score() {
        assert_eq!(base("sml+suppression [dilation=5]"), "sml+suppression");
        assert_eq!(base("msp"), "msp");
    }
}
