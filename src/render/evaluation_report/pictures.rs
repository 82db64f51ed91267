//! Curves, distributions and images of a report.

use std::collections::BTreeSet;

use super::super::curves::{Curve, curves as draw_curves};
use super::super::html::{escape, legend, paragraph, strip};
use super::super::palette::color_of;
use super::super::{Figure, ReportPicture};
use super::{ReportPictures, ReportScene};
use crate::Result;
use crate::evaluation::Evaluation;

/// ROC on both axes, and precision over recall.
pub(super) fn curves(evaluation: &Evaluation) -> Result<String> {
    if evaluation.scores.iter().all(|score| score.curve.is_empty()) {
        return Ok(String::new());
    }
    let kinds = [
        (Curve::Roc, "ROC"),
        (Curve::RocLogFpr, "ROC, logarithmic false positive rate"),
        (Curve::PrecisionRecall, "Precision and recall"),
    ];
    let drawn: Vec<String> = kinds
        .into_iter()
        .map(|(kind, caption)| Ok(inline(&draw_curves(&evaluation.scores, kind)?.svg()?, caption)))
        .collect::<Result<_>>()?;
    Ok(format!("<div class=\"charts\">\n{}</div>\n", drawn.concat()))
}

/// An SVG in a figure of the page.
fn inline(svg: &str, caption: &str) -> String {
    let caption = if caption.is_empty() {
        String::new()
    } else {
        format!("<figcaption>{}</figcaption>\n", escape(caption))
    };
    format!("<figure class=\"chart\">\n{caption}{svg}</figure>\n")
}

/// What the distributions by class show, and why it matters.
const CLASS_PANELS: &str = "Each line holds the pixels that the network predicts as one class. Where the distributions of normal \
     pixels lie apart, no single threshold fits all classes: what is usual for one class is suspicious in another. \
     Standardization with the class statistics is to bring them together, so that unexpected pixels fall behind in every class.";

/// The distributions by class.
pub(super) fn class_panels(panels: &[Figure]) -> Result<String> {
    if panels.is_empty() {
        return Ok(String::new());
    }
    let drawn: Vec<String> =
        panels.iter().map(|panel| Ok(inline(&panel.svg()?, ""))).collect::<Result<_>>()?;
    let explained = paragraph("", CLASS_PANELS);
    Ok(format!("{explained}<div class=\"charts\">\n{}</div>\n", drawn.concat()))
}

/// The paper's figure, then the colours of classes, then image by image.
pub(super) fn pictures(evaluation: &Evaluation, pictures: &ReportPictures) -> String {
    let figure = pictures.paper_figure.as_ref().map_or(String::new(), paper_figure);
    let scenes: Vec<String> = (0..).zip(&pictures.scenes).map(scene).collect();
    [figure, class_colors(evaluation, &pictures.scenes), scenes.concat()].concat()
}

/// The colours of the classes that are predicted in any scene.
fn class_colors(evaluation: &Evaluation, scenes: &[ReportScene]) -> String {
    let predicted: BTreeSet<u8> = scenes.iter().flat_map(|scene| scene.classes.iter().copied()).collect();
    let named = predicted.into_iter().filter_map(|class| {
        let name = evaluation.class_names.get(usize::from(class))?;
        Some((name.as_str(), color_of(class).0))
    });
    match legend(named) {
        legend if legend.is_empty() => legend,
        legend => paragraph(" class=\"quiet\"", "Colours of the predicted classes below:") + &legend,
    }
}

fn paper_figure(picture: &ReportPicture) -> String {
    let aside =
        "<p class=\"quiet narrow-only\" aria-hidden=\"true\">The figure goes on to the right \u{2192}</p>\n";
    format!(
        "{aside}<div class=\"scroll wide\" tabindex=\"0\" role=\"region\" aria-label=\"{}\">\n{}</div>\n",
        escape(picture.caption()),
        picture.to_html("several images")
    )
}

fn scene((index, scene): (usize, &ReportScene)) -> String {
    let figures: Vec<String> = scene.pictures.iter().map(|picture| picture.to_html(&scene.name)).collect();
    // A box that needs no script: when it is ticked, the style gives each picture the whole width.
    let enlarge = format!(
        "<p class=\"enlarge\"><input type=\"checkbox\" id=\"enlarge-{index}\"> <label \
         for=\"enlarge-{index}\">Enlarge<span class=\"aloud\"> the pictures of {}</span></label></p>\n",
        escape(&scene.name)
    );
    format!(
        "<article>\n<h3>{}</h3>\n{}{}{}</article>\n",
        escape(&scene.name),
        paragraph(" class=\"quiet\"", &scene.note),
        if figures.is_empty() { "" } else { &enlarge },
        strip(&figures)
    )
}
