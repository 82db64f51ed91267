//! The result as pictures: curves, distributions by class, the paper's figure, overlays, and the report that holds them all.

use std::collections::BTreeSet;
use std::path::Path;

use image::{DynamicImage, RgbImage};
use ndarray::ArrayView2;

use crate::cli::together::Together;
use crate::evaluation::{Evaluation, KeptImage, Measured, ScoreResult, telling_names};
use crate::files::{write_rgb_png, write_whole};
use crate::render::color_bar::BarColors;
use crate::render::{
    self, ClassPanel, Curve, Figure, PaperFigure, ReportPicture, ReportPictures, ReportScene, ScoreRange,
};
use crate::{Result, Size};

/// The rate of true positives at which masks are drawn.
const TPR: f64 = 0.95;

/// Width of a panel of the paper's figure.
const PANEL_WIDTH: u32 = 480;

/// Writes every picture and the report.
///
/// # Errors
/// When a kept image cannot be read back or a file cannot be written.
pub(super) fn write(measured: &Measured, evaluation: &Evaluation, results: &mut Together<'_>) -> Result<()> {
    let mut report =
        ReportPictures { facts: vec![("command".to_owned(), command())], ..ReportPictures::default() };
    if !evaluation.scores.is_empty() {
        write_figure(results, "roc", &render::curves(&evaluation.scores, Curve::Roc)?)?;
        write_figure(
            results,
            "precision_recall",
            &render::curves(&evaluation.scores, Curve::PrecisionRecall)?,
        )?;
    }
    report.class_panels = class_panels(measured, evaluation, results)?;
    let kept = measured.kept()?;
    if let Some(figure) = paper_figure(evaluation, &kept)? {
        results.write("paper_figure.png", |path| write_picture(path, &figure))?;
        let caption = format!("unexpected pixels in white, at the threshold of {:.0} % TPR", TPR * 100.0);
        report.paper_figure = Some(ReportPicture::figure(&caption, &figure)?);
    }
    for image in &kept {
        report.scenes.push(scene(evaluation, image, results)?);
    }
    let page = render::evaluation_report(evaluation, &report)?;
    results.write("report.html", |path| write_whole(path, |out| out.write_all(page.as_bytes())))?;
    Ok(())
}

/// Writes a picture as PNG.
fn write_picture(path: &Path, picture: &RgbImage) -> Result<()> {
    let size = Size::new(picture.height() as usize, picture.width() as usize);
    write_rgb_png(path, size, picture.as_raw())
}

/// The command line that made the result.
fn command() -> String {
    let quoted = |argument: String| {
        if argument.contains(char::is_whitespace) { format!("'{argument}'") } else { argument }
    };
    let arguments =
        std::env::args_os().skip(1).map(|argument| quoted(argument.to_string_lossy().into_owned()));
    std::iter::once("sml".to_owned()).chain(arguments).collect::<Vec<_>>().join(" ")
}

fn write_figure(results: &mut Together<'_>, name: &str, figure: &Figure) -> Result<()> {
    let svg = figure.svg()?;
    results.write(format!("{name}.svg"), |path| write_whole(path, |out| out.write_all(svg.as_bytes())))?;
    let picture = figure.picture()?;
    results.write(format!("{name}.png"), |path| write_picture(path, &picture))?;
    Ok(())
}

/// Distributions of the max logit by class before and after standardization, in one file and as panels of the report.
fn class_panels(
    measured: &Measured,
    evaluation: &Evaluation,
    results: &mut Together<'_>,
) -> Result<Vec<Figure>> {
    let rows = [("max_logit", "max logit"), ("sml", "standardized max logit")];
    let mut histograms = Vec::new();
    for (row, title) in rows {
        if let Some(counted) = measured.class_scores(row)? {
            let score = evaluation.scores.iter().find(|score| score.name == row);
            histograms.push((title, counted, score.and_then(threshold)));
        }
    }
    let panels: Vec<ClassPanel<'_>> = histograms
        .iter()
        .map(|(title, histograms, threshold)| ClassPanel { title, histograms, threshold: *threshold })
        .collect();
    if panels.is_empty() {
        return Ok(Vec::new());
    }
    write_figure(results, "class_histograms", &render::class_histograms(&panels)?)?;
    panels.iter().map(|panel| render::class_histograms(std::slice::from_ref(panel))).collect()
}

/// The highest threshold that finds 95 % of the unexpected pixels; it is one of those that a result keeps.
fn threshold(score: &ScoreResult) -> Option<f32> {
    score.thresholds.iter().find(|row| row.tpr >= TPR).map(|row| row.threshold)
}

/// One row an image: photograph, what each shown score finds, labels.
fn paper_figure(evaluation: &Evaluation, kept: &[KeptImage]) -> Result<Option<RgbImage>> {
    let Some(first) = kept.iter().find(|image| !image.maps.is_empty()) else { return Ok(None) };
    let rows: Vec<usize> = first.maps.iter().map(|(row, _)| *row).collect();
    let names: Vec<&str> = rows.iter().map(|&row| evaluation.scores[row].name.as_str()).collect();
    let mut figure = PaperFigure::new(&telling_names(&names), PANEL_WIDTH);
    for image in kept {
        let maps: Option<Vec<(ArrayView2<'_, f32>, f32)>> = image
            .maps
            .iter()
            .map(|(row, map)| Some((map.view(), threshold(evaluation.scores.get(*row)?)?)))
            .collect();
        let Some(maps) = maps.filter(|maps| maps.len() == rows.len()) else { continue };
        let photograph = match &image.photograph {
            Some(photograph) => photograph.clone(),
            None => without_photograph(maps[0].0),
        };
        figure.add(&photograph, &maps, image.labels.as_ref().map(|labels| labels.view()))?;
    }
    if figure.rows() == 0 { Ok(None) } else { figure.draw().map(Some) }
}

/// What stands where saved scores come without a photograph: an even grey.
fn without_photograph(map: ArrayView2<'_, f32>) -> RgbImage {
    let (height, width) = map.dim();
    RgbImage::from_pixel(width as u32, height as u32, image::Rgb([96; 3]))
}

/// Photograph, heat map of the last score, what it finds, labels, prediction: as far as they are there.
fn scene(evaluation: &Evaluation, image: &KeptImage, results: &mut Together<'_>) -> Result<ReportScene> {
    let mut pictures = Vec::new();
    if let Some(photograph) = &image.photograph {
        pictures.push(ReportPicture::photograph("photograph", photograph)?);
    }
    if let Some((row, map)) = image.maps.last() {
        let score = &evaluation.scores[*row];
        let range = ScoreRange::upper_half(map.iter().copied());
        let (heat, colors) = match &image.photograph {
            Some(photograph) => (render::overlay(photograph, map.view(), range)?, BarColors::Overlay),
            None => (render::heat_map(map.view(), range)?, BarColors::HeatMap),
        };
        let heat = render::with_color_bar(&heat, range, colors);
        let name = format!("{}_overlay.png", image.name.replace(['/', '\\'], "_"));
        results.write(name, |path| write_picture(path, &heat))?;
        pictures.push(ReportPicture::photograph(&score.name, &heat)?);
        if let Some(threshold) = threshold(score) {
            let mask = DynamicImage::ImageLuma8(render::mask::unexpected(map.view(), threshold)?).into_rgb8();
            pictures.push(ReportPicture::drawing(&format!("found at {:.0} % TPR", TPR * 100.0), &mask)?);
        }
    }
    if let Some(labels) = &image.labels {
        let mask = DynamicImage::ImageLuma8(render::mask::labelled(labels.view())?).into_rgb8();
        pictures.push(ReportPicture::drawing("labels: unexpected white, ignored grey", &mask)?);
    }
    let mut classes = Vec::new();
    if let Some(prediction) = &image.prediction {
        classes = prediction.iter().copied().collect::<BTreeSet<u8>>().into_iter().collect();
        pictures.push(ReportPicture::drawing("predicted classes", &render::colorize(prediction.view())?)?);
    }
    Ok(ReportScene { name: image.name.clone(), note: String::new(), pictures, classes })
}
