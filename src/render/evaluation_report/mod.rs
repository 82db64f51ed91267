//! The report of an evaluation: one HTML file that needs no network, no script and no other file.
//!
//! Curves are inline SVG, pictures data: URIs, and a content security policy in the page forbids everything else, so
//! that no name in a result can make the page load or run anything. Everything that the numbers depend on stands
//! on the page: dataset with its content hash, parameters, network, statistics, and the definition of each metric.

mod about;
mod numbers;
mod pictures;

use super::html;
use super::{Figure, ReportPicture};
use crate::Result;
use crate::evaluation::Evaluation;

/// Only the page's own style and the pictures within it.
const POLICY: &str = "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; \
     style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\">\n";

/// What a report shows beside the numbers. Empty parts are left out.
#[derive(Default)]
pub struct ReportPictures {
    /// Distributions by class, as [`class_histograms`](fn@super::class_histograms) draws them: one figure a panel fits a
    /// telephone.
    pub class_panels: Vec<Figure>,
    /// Masks of the methods at 95 % TPR, as [`PaperFigure`](super::PaperFigure) draws them.
    pub paper_figure: Option<ReportPicture>,
    /// Images with what was found in them.
    pub scenes: Vec<ReportScene>,
    /// More names and values for the provenance: the command, files of statistics.
    pub facts: Vec<(String, String)>,
}

/// An image with its pictures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReportScene {
    /// Its name in the dataset.
    pub name: String,
    /// A remark, such as the metrics of this image; may be empty.
    pub note: String,
    /// From left to right.
    pub pictures: Vec<ReportPicture>,
    /// Classes whose colours are in the pictures, in order; the report explains those of all its scenes.
    pub classes: Vec<u8>,
}

/// A section: its anchor, its heading, and what stands in it.
struct Section {
    id: &'static str,
    heading: &'static str,
    html: String,
}

/// The report of an evaluation, as UTF-8 HTML.
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) when a figure cannot be drawn.
pub fn evaluation_report(evaluation: &Evaluation, pictures: &ReportPictures) -> Result<String> {
    let dataset = &evaluation.dataset;
    let title = match &dataset.split {
        Some(split) => format!("Anomaly segmentation on {}, {split}", dataset.name),
        None => format!("Anomaly segmentation on {}", dataset.name),
    };
    let section = |id, heading, html| Section { id, heading, html };
    let sections = [
        section("metrics", "Metrics", numbers::metrics(evaluation)),
        section("curves", "Curves", pictures::curves(evaluation)?),
        section("pictures", "Pictures", pictures::pictures(evaluation, pictures)),
        section("classes", "Classes", numbers::classes(evaluation, pictures)?),
        section("components", "Components", numbers::components(evaluation)),
        section("thresholds", "Thresholds", numbers::thresholds(evaluation)),
        section("failures", "Images left out", about::failures(evaluation)),
        section("definitions", "Definitions", about::definitions(evaluation)),
        section("provenance", "Provenance", about::provenance(evaluation, pictures)),
    ];
    let shown: Vec<&Section> = sections.iter().filter(|section| !section.html.is_empty()).collect();
    let links: String = shown
        .iter()
        .map(|Section { id, heading, .. }| format!("<li><a href=\"#{id}\">{heading}</a></li>\n"))
        .collect();
    let parts: String = shown
        .iter()
        .map(|Section { id, heading, html }| {
            format!("<section id=\"{id}\">\n<h2>{heading}</h2>\n{html}</section>\n")
        })
        .collect();
    let body = format!(
        "{}<nav aria-label=\"Sections\"><ul>\n{links}</ul></nav>\n<main>\n{parts}</main>\n",
        about::warnings(evaluation)
    );
    Ok(html::page(&title, &about::introduction(evaluation), POLICY, &body))
}
