//! `sml run`: pictures through a network and the post-processing, to maps and pictures of them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use image::RgbImage;
use indicatif::ProgressBar;
use ndarray::{ArrayView2, Axis};
use serde::Serialize;

use super::method::MethodArgs;
use super::model::ModelArgs;
use super::threshold::{ThresholdArgs, score_range};
use super::together::Together;
use crate::files::{
    PictureSource, list_pictures, prepare_folder, read_picture, write_grey_png, write_npy, write_rgb_png,
    write_score_png,
};
use crate::render::color_bar::BarColors;
use crate::render::{self, ScoreRange};
use crate::torch::{FrameTimings, Pipeline, PipelineOptions};
use crate::{Error, PictureView, Result, Size};

/// Find unexpected objects in pictures of streets
///
/// For each picture NAME it writes NAME_score.npy (float32, higher is more anomalous), NAME_score.png (16 bits),
/// NAME_prediction.png (train ids), NAME_prediction_color.png (Cityscapes colours), NAME_overlay.png (heat map on the picture)
/// and, where a threshold is given, NAME_mask.png (unexpected pixels in white).
#[derive(Args)]
#[command(after_help = "Examples:
  sml run street.jpg -o out
  sml run frames/ --model dabnet --weights dabnet.safetensors --stats cityscapes.json -o out
  sml run 'frames/*.png' --model network.pt --stats network.json --threshold 2.5 -o out
  cat street.png | sml run - --tpr 0.95 --json -o out")]
pub(super) struct Arguments {
    /// Pictures (PNG, JPEG, WebP), folders of them, patterns, or - for standard input
    #[arg(required = true, value_name = "IMAGE|DIR|GLOB")]
    pictures: Vec<PathBuf>,

    /// Folder for the results; made if it is missing
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,

    /// Class statistics (JSON), as `sml calibrate` writes them; bundled for the demo network and for the published
    /// DABNet weights
    #[arg(long, value_name = "FILE")]
    stats: Option<PathBuf>,

    #[command(flatten)]
    threshold: ThresholdArgs,

    /// Scores that the overlay's colours span, LOW,HIGH: the same for all pictures, for a video for instance. By default
    /// from each picture's median to its 99.5 % percentile
    #[arg(long, value_name = "LOW,HIGH", allow_hyphen_values = true, value_parser = score_range)]
    range: Option<ScoreRange>,

    /// Print the times of preprocessing, network and each stage on stderr, with the post-processing's share and the whole
    #[arg(long)]
    timings: bool,

    /// Print one JSON object a picture on stdout
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    model: ModelArgs,

    #[command(flatten)]
    method: MethodArgs,
}

impl Arguments {
    /// Runs the command.
    ///
    /// # Errors
    /// When an option, a picture, the network or the output folder is not usable. Results of the pictures before stay.
    pub(super) fn run(&self) -> Result<()> {
        let pictures = list_pictures(&self.pictures)?;
        check_names(&pictures)?;
        let backbone = self.model.load()?;
        let params = self.method.params(backbone.align_corners());
        let statistics = self.model.statistics(self.stats.as_deref(), &*backbone)?;
        let naming = super::naming(self.stats.as_deref());
        let threshold = self.threshold.resolve(&params, statistics.as_ref()).map_err(&naming)?;
        let options = PipelineOptions { profile: self.timings, ..PipelineOptions::default() };
        let mut pipeline =
            Pipeline::new(backbone, params, statistics, options)?.on_warning(super::show_warning);
        prepare_folder(&self.output)?;

        let progress = super::progress_bar(pictures.len(), "pictures");
        let mut times = Vec::new();
        for source in &pictures {
            progress.set_message(source.name());
            let picture = read_picture(source)?;
            let map = pipeline.run(&PictureView::try_from(&picture)?).map_err(&naming)?;
            let (score, prediction) =
                (map.score.index_axis(Axis(0), 0), map.prediction.index_axis(Axis(0), 0));
            let range = self.range.unwrap_or_else(|| ScoreRange::upper_half(score.iter().copied()));
            let overlay = render::overlay(&picture, score, range)?;
            let overlay = render::with_color_bar(&overlay, range, BarColors::Overlay);
            let written =
                Written::write(&self.output, &source.name(), &overlay, score, prediction, threshold)?;
            let non_finite = map.non_finite.iter().sum();
            let summary = Summary::new(source, score, threshold, non_finite, written);
            let timings = pipeline.timings()?;
            progress.inc(1);
            self.report(&progress, summary, timings)?;
            times.push(timings);
        }
        progress.finish_and_clear();
        if self.timings && times.len() > 1 {
            print_medians(&times);
        }
        Ok(())
    }

    fn report(&self, progress: &ProgressBar, mut summary: Summary, timings: FrameTimings) -> Result<()> {
        if self.timings {
            let times = times_of(&timings);
            progress.suspend(|| eprintln!("{}: {}", summary.picture, times_text(times)));
            summary.timings_ms = Some(times.map(|(name, time)| (name, milliseconds(time))).into());
        }
        if self.json {
            return progress.suspend(|| super::stdout::print_json_line(&summary));
        }
        progress.suspend(|| eprintln!("{} -> {}", summary.picture, summary.files.overlay.display()));
        Ok(())
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Names and times: preprocessing, network, the stages, these together, everything.
type Times = [(&'static str, Duration); 7];

fn times_of(timings: &FrameTimings) -> Times {
    let [preprocess, backbone, standardize, suppress, smooth] = timings.rows();
    let sums = [("post_processing", timings.post_processing()), ("end_to_end", timings.total)];
    [preprocess, backbone, standardize, suppress, smooth, sums[0], sums[1]]
}

/// One line for a person, with the post-processing's share of everything.
fn times_text(times: Times) -> String {
    let [.., (_, post_processing), (_, end_to_end)] = times;
    let text =
        |(name, time): (&str, Duration)| format!("{} {:.1} ms", name.replace('_', " "), milliseconds(time));
    let mut list = times.map(text);
    let share = 100.0 * post_processing.as_secs_f64() / end_to_end.as_secs_f64().max(f64::MIN_POSITIVE);
    list[5].push_str(&format!(" ({share:.1} %)"));
    list.join(", ")
}

/// Median times over all pictures. The first one, which warms everything up, is left out.
fn print_medians(times: &[FrameTimings]) {
    let rows: Vec<Times> = times[1..].iter().map(times_of).collect();
    let mut medians = times_of(&times[0]);
    for (place, (_, median)) in medians.iter_mut().enumerate() {
        let mut column: Vec<Duration> = rows.iter().map(|row| row[place].1).collect();
        column.sort_unstable();
        *median = column[column.len() / 2];
    }
    eprintln!("median without the first picture: {}", times_text(medians));
}

/// Results carry the pictures' names, so no two pictures may share one.
fn check_names(pictures: &[PictureSource]) -> Result<()> {
    let mut seen = std::collections::HashMap::new();
    for picture in pictures {
        if let Some(other) = seen.insert(picture.name(), picture) {
            let problem = format!("its results would overwrite those of {}", other.path().display());
            return Err(Error::file(picture.path(), problem, "pictures with different names"));
        }
    }
    Ok(())
}

/// The files written for one picture.
#[derive(Serialize)]
struct Written {
    score: PathBuf,
    score_png: PathBuf,
    prediction: PathBuf,
    prediction_color: PathBuf,
    overlay: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    mask: Option<PathBuf>,
}

impl Written {
    /// Writes all results to files in `folder` whose names begin with `name`.
    fn write(
        folder: &Path,
        name: &str,
        overlay: &RgbImage,
        score: ArrayView2<'_, f32>,
        prediction: ArrayView2<'_, u8>,
        threshold: Option<f32>,
    ) -> Result<Self> {
        let (height, width) = score.dim();
        let size = Size::new(height, width);
        let scores: Vec<f32> = score.iter().copied().collect();
        let classes: Vec<u8> = prediction.iter().copied().collect();
        let colors = render::colorize(prediction)?;
        let mask = threshold.map(|threshold| render::mask::unexpected(score, threshold)).transpose()?;

        let mut results = Together::in_folder(folder)?;
        let mut file = |ending: &str, write: &dyn Fn(&Path) -> Result<()>| {
            results.write(format!("{name}{ending}"), write)
        };
        let written = Self {
            score: file("_score.npy", &|path| write_npy(path, &[height, width], &scores))?,
            score_png: file("_score.png", &|path| write_score_png(path, size, &scores).map(drop))?,
            prediction: file("_prediction.png", &|path| write_grey_png(path, size, &classes))?,
            prediction_color: file("_prediction_color.png", &|path| write_picture(path, &colors))?,
            overlay: file("_overlay.png", &|path| write_picture(path, overlay))?,
            mask: mask
                .map(|mask| file("_mask.png", &|path| write_grey_png(path, size, mask.as_raw())))
                .transpose()?,
        };
        results.appear()?;
        Ok(written)
    }
}

/// Writes an RGB picture as PNG.
pub(super) fn write_picture(path: &Path, picture: &RgbImage) -> Result<()> {
    let size = Size::new(picture.height() as usize, picture.width() as usize);
    write_rgb_png(path, size, picture.as_raw())
}

/// What is printed about one picture.
#[derive(Serialize)]
struct Summary {
    picture: String,
    height: usize,
    width: usize,
    files: Written,
    score_min: Option<f32>,
    score_max: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    threshold: Option<f32>,
    /// Fraction of pixels at or above the threshold.
    #[serde(skip_serializing_if = "Option::is_none")]
    unexpected_fraction: Option<f64>,
    non_finite_logits: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    timings_ms: Option<std::collections::BTreeMap<&'static str, f64>>,
}

impl Summary {
    fn new(
        source: &PictureSource,
        score: ArrayView2<'_, f32>,
        threshold: Option<f32>,
        non_finite_logits: u64,
        files: Written,
    ) -> Self {
        let finite = || score.iter().copied().filter(|score| score.is_finite());
        let (height, width) = score.dim();
        let share = |threshold: f32| {
            score.iter().filter(|&&score| score >= threshold).count() as f64 / score.len() as f64
        };
        Self {
            picture: source.path().display().to_string(),
            height,
            width,
            files,
            score_min: finite().reduce(f32::min),
            score_max: finite().reduce(f32::max),
            threshold,
            unexpected_fraction: threshold.map(share),
            non_finite_logits,
            timings_ms: None,
        }
    }
}
