//! `sml demo`: the bundled network on the bundled scenes, with a page that shows them and a table of metrics.

use std::path::{Path, PathBuf};

use clap::Args;
use image::{GrayImage, RgbImage};
use ndarray::{Array2, ArrayView2, Axis};
use serde::Serialize;
use tch::Tensor;

use super::pipeline::{picture_logits, post_processor};
use super::run::write_picture;
use super::stdout;
use super::together::Together;
use crate::demo::{self, SCENES};
use crate::files::{decode_labels, decode_picture, prepare_folder, write_whole};
use crate::metrics::{AnomalyMetrics, ConfusionMatrix, PixelScores};
use crate::render::report::{Picture, Report, SYNTHETIC_SCENES, Scene};
use crate::render::table::{MetricsRow, metrics_text, percent};
use crate::render::{self, Panel, ScoreRange};
use crate::torch::{Backbone, PostProcessor, choose_device};
use crate::{ClassStatistics, DeviceRequest, Params, Result, Score, Size, Stage, cityscapes};

/// Run the bundled network on the bundled scenes: pictures, metrics and a page that shows them
///
/// The scenes are drawings with objects that the network was not trained on. Writes pictures, figure.png and index.html.
#[derive(Args)]
#[command(after_help = "Example:
  sml demo -o demo && xdg-open demo/index.html")]
pub(super) struct Arguments {
    /// Folder for the results; made if it is missing
    #[arg(short, long, value_name = "DIR", default_value = "demo")]
    output: PathBuf,

    /// Where the network runs, and the post-processing of its logits with it: auto, cpu or cuda:N
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: DeviceRequest,

    /// Print the metrics as one JSON object on stdout
    #[arg(long)]
    json: bool,
}

const INTRODUCTION: &str = "Street scenes with objects that the network was not trained on. The brighter a pixel, the more \
     anomalous it is; each map spans its own scores from the 1 % to the 99.5 % percentile.";

/// The methods that are compared, as the paper does: name, parameters.
fn methods(align_corners: bool) -> [(&'static str, Params); 5] {
    let full = Params { align_corners, ..Params::default() };
    let bare = |score| Params { score, ..full.through(Stage::Standardize) };
    [
        ("MSP", bare(Score::Msp)),
        ("max logit", bare(Score::MaxLogit)),
        ("SML", bare(Score::Sml)),
        ("+ suppression", full.through(Stage::Suppress)),
        ("+ smoothing", full),
    ]
}

impl Arguments {
    /// Runs the command.
    ///
    /// # Errors
    /// When the device or the output folder is not usable.
    pub(super) fn run(&self) -> Result<()> {
        let backbone = demo::backbone(choose_device(self.device)?)?;
        let statistics = ClassStatistics::from_json(demo::STATISTICS)?;
        prepare_folder(&self.output)?;
        let mut evaluation = Evaluation::new(&backbone, &statistics)?;
        let mut scenes = Vec::new();
        let progress = super::progress_bar(SCENES.len(), "scenes");
        for scene in &SCENES {
            scenes.push(evaluation.add(scene, &backbone)?);
            progress.inc(1);
        }
        progress.finish_and_clear();
        let rows = evaluation.rows()?;
        let miou = evaluation.confusion.miou()?;
        self.write(&scenes, &rows, miou, &backbone)?;
        if self.json {
            let methods = rows.iter().map(|row| (row.name.as_str(), row.metrics)).collect();
            return stdout::print_json(&Results { scenes: SCENES.len(), miou, methods });
        }
        stdout::print(&format!("{}mIoU {} %\n", metrics_text(&rows), percent(miou)))?;
        eprintln!("{} synthetic scenes -> {}", SCENES.len(), self.output.join("index.html").display());
        Ok(())
    }

    /// Writes each scene's pictures, the figure and the page.
    fn write(&self, scenes: &[Drawn], rows: &[MetricsRow], miou: f64, backbone: &dyn Backbone) -> Result<()> {
        let mut results = Together::in_folder(&self.output)?;
        let mut shown = Vec::new();
        for scene in scenes {
            let mut pictures = Vec::new();
            for (caption, picture) in &scene.pictures {
                let file = format!("{}_{}.png", scene.name, caption.replace([' ', '+'], "_"));
                results.write(&file, |path| write_picture(path, picture))?;
                pictures.push(Picture { caption: (*caption).to_owned(), path: file });
            }
            shown.push(Scene { name: format!("Scene {}", scene.name), pictures });
        }
        let figure: Vec<Vec<Panel<'_>>> = scenes
            .iter()
            .take(4)
            .map(|scene| scene.pictures.iter().map(|(caption, picture)| Panel { caption, picture }).collect())
            .collect();
        let figure = render::montage(&figure, 256)?;
        results.write("figure.png", |path| write_picture(path, &figure))?;
        let report = Report {
            title: "Standardized Max Logits: bundled demonstration".to_owned(),
            introduction: INTRODUCTION.to_owned(),
            notes: vec![SYNTHETIC_SCENES.to_owned()],
            metrics: rows.to_vec(),
            miou: Some(miou),
            facts: vec![
                ("network".to_owned(), format!("{}, SHA-256 {}", backbone.name(), backbone.digest())),
                ("network's device".to_owned(), format!("{:?}", backbone.device()).to_lowercase()),
                ("post-processing".to_owned(), "CPU".to_owned()),
                ("version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
            ],
            legend: cityscapes::CLASSES.to_vec(),
            scenes: shown,
        };
        let page = report.to_html();
        results.write("index.html", |path| write_whole(path, |out| out.write_all(page.as_bytes())))?;
        results.appear()
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Results<'a> {
    scenes: usize,
    miou: f64,
    methods: std::collections::BTreeMap<&'a str, AnomalyMetrics>,
}

/// A scene's pictures by caption, in the order of the figure.
struct Drawn {
    name: &'static str,
    pictures: Vec<(&'static str, RgbImage)>,
}

/// One pipeline and the pixels' scores a method, over all scenes.
struct Evaluation {
    methods: Vec<(&'static str, PostProcessor, PixelScores)>,
    confusion: ConfusionMatrix,
}

impl Evaluation {
    fn new(backbone: &dyn Backbone, statistics: &ClassStatistics) -> Result<Self> {
        let methods = methods(backbone.align_corners()).map(|(name, params)| {
            (name, post_processor(params, Some(statistics.clone())), PixelScores::new())
        });
        let confusion = ConfusionMatrix::new(backbone.class_names().len())?;
        Ok(Self { methods: methods.into(), confusion })
    }

    /// Runs all methods on one scene and draws it.
    fn add(&mut self, scene: &demo::Scene, backbone: &dyn Backbone) -> Result<Drawn> {
        let path = Path::new(scene.name);
        let picture = decode_picture(path, scene.picture)?;
        let labels = decode_labels(path, scene.labels)?;
        let unexpected = decode_labels(path, scene.unexpected)?;
        let tensor = picture_logits(backbone, &picture)?;

        let (prediction, maps) = self.maps(&tensor, &picture, &unexpected)?;
        self.confusion.add(labels.as_raw(), &prediction.iter().copied().collect::<Vec<_>>())?;
        let mask = ArrayView2::from_shape(prediction.dim(), unexpected.as_raw());
        let mut pictures = vec![("image", picture), ("prediction", render::colorize(prediction.view())?)];
        for (name, map) in maps.iter().filter(|(name, _)| *name != "+ suppression") {
            let range = ScoreRange::robust(map.iter().copied());
            let caption = if *name == "+ smoothing" { "final" } else { name };
            pictures.push((caption, render::heat_map(map.view(), range)?));
        }
        if let Ok(mask) = mask {
            pictures.push(("unexpected", grey_to_rgb(&render::mask::labelled(mask)?)));
        }
        Ok(Drawn { name: scene.name, pictures })
    }

    /// Prediction and the anomaly scores of each method; the scores are added to the evaluation.
    #[allow(clippy::type_complexity, reason = "two arrays by name, used once")]
    fn maps(
        &mut self,
        logits: &Tensor,
        picture: &RgbImage,
        unexpected: &GrayImage,
    ) -> Result<(Array2<u8>, Vec<(&'static str, Array2<f32>)>)> {
        let size = Size::new(picture.height() as usize, picture.width() as usize);
        let mut prediction = Array2::zeros((size.height, size.width));
        let mut maps = Vec::new();
        for (name, pipeline, scores) in &mut self.methods {
            let map = pipeline.submit_tensor(logits, size)?;
            let score = map.score.index_axis(Axis(0), 0).to_owned();
            prediction = map.prediction.index_axis(Axis(0), 0).to_owned();
            scores.add(&score.iter().copied().collect::<Vec<_>>(), unexpected.as_raw())?;
            maps.push((*name, score));
        }
        Ok((prediction, maps))
    }

    fn rows(&mut self) -> Result<Vec<MetricsRow>> {
        self.methods
            .iter_mut()
            .map(|(name, _, scores)| Ok(MetricsRow { name: (*name).to_owned(), metrics: scores.evaluate()? }))
            .collect()
    }
}

fn grey_to_rgb(grey: &GrayImage) -> RgbImage {
    image::DynamicImage::ImageLuma8(grey.clone()).into_rgb8()
}
