//! `sml calibrate`: class statistics from normal pictures or saved logits, and thresholds if they are asked for.
//!
//! The first pass over the inputs measures mean and variance of the max logit of each predicted class. Thresholds need
//! the finished statistics, so they take a second pass.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use clap::{ArgAction, Args};
use ndarray::Axis;

use super::method::{LayoutArg, MethodArgs, size};
use super::model::ModelArgs;
use super::pipeline::{picture_logits, post_processor};
use crate::files::{LogitsFile, PictureSource, list_pictures, read_labels, read_picture, write_whole};
use crate::metrics::{NORMAL, UNEXPECTED};
use crate::torch::{Backbone, PostProcessor};
use crate::{
    AnomalyMap, ClassStatistics, Error, NonFinite, OperatingPoints, Params, Provenance, Result, Score,
    ScoreHistogram, Size, StatisticsAccumulator,
};

/// Measure class statistics on normal pictures, for the score sml
///
/// The inputs should be what the network was trained on, without unexpected objects. Mean and variance are those of the max
/// logit over all pixels predicted as each class, at the pictures' full size.
#[derive(Args)]
#[command(after_help = "Examples:
  sml calibrate cityscapes/train/ --model dabnet --weights dabnet.safetensors -o statistics.json
  sml calibrate logits/*.npy --size 1024x2048 -o statistics.json
  sml calibrate normal/ --thresholds --labelled objects/ --labels masks/ --model network.pt -o statistics.json")]
pub(super) struct Arguments {
    /// Normal pictures (files, folders, patterns), or saved logits (.npy, .npz, .safetensors)
    #[arg(required = true, value_name = "IMAGES|LOGITS")]
    inputs: Vec<PathBuf>,

    /// File for the statistics (JSON)
    #[arg(short, long, value_name = "STATS.json")]
    output: PathBuf,

    /// Also measure thresholds by false positive rate on these inputs, in a second pass
    #[arg(long)]
    thresholds: bool,

    /// Pictures with unexpected objects: thresholds by false and by true positive rate are measured on them instead
    #[arg(long, value_name = "IMAGES", requires = "labels", num_args = 1..)]
    labelled: Vec<PathBuf>,

    /// Folder with a PNG of each labelled picture's name (or NAME_unexpected.png): 1 unexpected, 0 normal, else ignored
    #[arg(long, value_name = "DIR", requires = "labelled")]
    labels: Option<PathBuf>,

    /// Saved logits: size to upsample them to; by default their own
    #[arg(long, value_name = "HxW", value_parser = size)]
    size: Option<Size>,

    /// Saved logits: sampling grid of the upsampling; false by default
    #[arg(long, value_name = "BOOL", action = ArgAction::Set)]
    align_corners: Option<bool>,

    /// Saved logits: memory order; nchw by default
    #[arg(long, value_enum)]
    layout: Option<LayoutArg>,

    #[command(flatten)]
    model: ModelArgs,

    #[command(flatten)]
    method: MethodArgs,
}

impl Arguments {
    /// Runs the command.
    ///
    /// # Errors
    /// When an input, the network or the output is not usable; the output is not touched then.
    pub(super) fn run(&self) -> Result<()> {
        self.check_method()?;
        let source = Source::open(self)?;
        let bare = Params {
            score: Score::MaxLogit,
            suppression: None,
            smoothing: None,
            // A score put in the place of a broken pixel is no max logit: it must not be measured.
            non_finite: NonFinite::Propagate,
            ..self.method.params(source.align_corners(self))
        };
        let mut accumulator: Option<StatisticsAccumulator> = None;
        let mut classes = None;
        let mut images = 0;
        source.each_map(self, post_processor(bare, None), "statistics", |frame| {
            let classes = *classes.get_or_insert(frame.classes);
            if frame.classes != classes {
                let given = format!("has {} classes", frame.classes);
                return Err(Error::file(frame.path, given, format!("{classes}, as the first input has")));
            }
            let accumulator = accumulator.get_or_insert_with(|| StatisticsAccumulator::new(classes));
            images += frame.map.score.len_of(Axis(0)) as u64;
            // The anomaly score of a bare max logit is its negation.
            let max_logits: Vec<f32> = frame.map.score.iter().map(|score| -score).collect();
            let predictions: Vec<u8> = frame.map.prediction.iter().copied().collect();
            accumulator.add(&max_logits, &predictions)
        })?;
        let accumulator = accumulator
            .ok_or_else(|| Error::file(&self.inputs[0], "holds nothing to measure", "pictures or logits"))?;
        let mut statistics = accumulator.finish(source.provenance(images, &self.inputs));
        if self.thresholds || !self.labelled.is_empty() {
            let points = self.operating_points(&source, &statistics)?;
            statistics = statistics.with_operating_points(points);
        }
        write_whole(&self.output, |out| out.write_all(statistics.to_json().as_bytes()))?;
        self.report(images, &accumulator, &statistics);
        Ok(())
    }

    /// Only thresholds depend on the method.
    fn check_method(&self) -> Result<()> {
        let paper = Params::default();
        let measures_thresholds = self.thresholds || !self.labelled.is_empty();
        if measures_thresholds || self.method.params(paper.align_corners) == paper {
            return Ok(());
        }
        Err(Error::InvalidParameter {
            field: "the method",
            given: "changed, while no thresholds are measured".to_owned(),
            expected: "to be changed with --thresholds or --labelled only: statistics do not depend on it",
        })
    }

    /// Thresholds under the method's parameters, in a second pass over the inputs or over the labelled pictures.
    fn operating_points(&self, source: &Source, statistics: &ClassStatistics) -> Result<OperatingPoints> {
        let params = self.method.params(source.align_corners(self));
        let pipeline = post_processor(params, Some(statistics.clone()));
        let (mut normal, mut unexpected) = (ScoreHistogram::default(), ScoreHistogram::default());
        match &self.labels {
            None => source.each_map(self, pipeline, "thresholds", |frame| {
                frame.map.score.iter().for_each(|&score| normal.add(score));
                Ok(())
            })?,
            Some(folder) => {
                source.labelled(&self.labelled)?.each_map(self, pipeline, "thresholds", |frame| {
                    let labels = labels_of(folder, &frame)?;
                    for (&score, label) in frame.map.score.iter().zip(labels) {
                        match label {
                            NORMAL => normal.add(score),
                            UNEXPECTED => unexpected.add(score),
                            _ => {}
                        }
                    }
                    Ok(())
                })?
            }
        }
        Ok(OperatingPoints::new(params, &normal, &unexpected))
    }

    fn report(&self, images: u64, accumulator: &StatisticsAccumulator, statistics: &ClassStatistics) {
        let without = statistics.classes_without_statistics();
        eprintln!(
            "{images} images, {} of {} classes with statistics -> {}",
            statistics.classes().len() - without.len(),
            statistics.classes().len(),
            self.output.display()
        );
        if !without.is_empty() {
            eprintln!(
                "sml: warning: classes {without:?} were seldom or never predicted; more images may help"
            );
        }
        if accumulator.non_finite() > 0 {
            eprintln!(
                "sml: warning: {} pixels with NaN or infinite max logits left out",
                accumulator.non_finite()
            );
        }
    }
}

/// The labels of a frame: `NAME.png` or `NAME_unexpected.png` in `folder`, of the picture's size.
fn labels_of(folder: &Path, frame: &Frame<'_>) -> Result<Vec<u8>> {
    let candidates = [format!("{}.png", frame.name), format!("{}_unexpected.png", frame.name)];
    let path =
        candidates.iter().map(|name| folder.join(name)).find(|path| path.exists()).ok_or_else(|| {
            Error::file(
                folder,
                "holds no labels of this picture",
                format!("a file {}", candidates.join(" or ")),
            )
        })?;
    let labels = read_labels(&path)?;
    let (_, height, width) = frame.map.score.dim();
    if (labels.height() as usize, labels.width() as usize) != (height, width) {
        let given = format!("has {}x{} pixels (height x width)", labels.height(), labels.width());
        return Err(Error::file(&path, given, format!("{height}x{width}, as its picture has")));
    }
    Ok(labels.into_raw())
}

fn labelled_without_network() -> Error {
    Error::InvalidParameter {
        field: "--labelled",
        given: "given with saved logits".to_owned(),
        expected: "to come with pictures and their network",
    }
}

/// One input with its result.
struct Frame<'a> {
    path: &'a Path,
    name: String,
    classes: usize,
    map: AnomalyMap<'a>,
}

/// Where logits come from.
enum Source {
    Pictures { backbone: Rc<dyn Backbone>, pictures: Vec<PictureSource> },
    Logits(Vec<PathBuf>),
}

impl Source {
    fn open(arguments: &Arguments) -> Result<Self> {
        let is_logits = |path: &PathBuf| {
            let endings = ["npy", "npz", "safetensors"];
            path.extension()
                .is_some_and(|given| endings.iter().any(|ending| given.eq_ignore_ascii_case(ending)))
        };
        if arguments.inputs.iter().all(is_logits) {
            if !arguments.labelled.is_empty() {
                return Err(labelled_without_network());
            }
            arguments.model.check_unused()?;
            return Ok(Self::Logits(arguments.inputs.clone()));
        }
        if arguments.size.is_some() || arguments.align_corners.is_some() || arguments.layout.is_some() {
            return Err(Error::InvalidParameter {
                field: "--size, --align-corners or --layout",
                given: "given with pictures".to_owned(),
                expected: "to come with saved logits only: a network brings its own",
            });
        }
        let pictures = list_pictures(&arguments.inputs)?;
        Ok(Self::Pictures { backbone: arguments.model.load()?.into(), pictures })
    }

    /// Other pictures through the same network.
    fn labelled(&self, inputs: &[PathBuf]) -> Result<Self> {
        match self {
            Self::Pictures { backbone, .. } => {
                Ok(Self::Pictures { backbone: Rc::clone(backbone), pictures: list_pictures(inputs)? })
            }
            Self::Logits(_) => Err(labelled_without_network()),
        }
    }

    /// The network's sampling grid, or the one that the options say for saved logits.
    fn align_corners(&self, arguments: &Arguments) -> bool {
        match self {
            Self::Pictures { backbone, .. } => backbone.align_corners(),
            Self::Logits(_) => arguments.align_corners.unwrap_or_default(),
        }
    }

    /// Runs the post-processing on every input, one image at a time, and hands over each result.
    fn each_map(
        &self,
        arguments: &Arguments,
        mut pipeline: PostProcessor,
        what: &'static str,
        mut handle: impl FnMut(Frame<'_>) -> Result<()>,
    ) -> Result<()> {
        match self {
            Self::Pictures { backbone, pictures } => {
                let progress = super::progress_bar(pictures.len(), what);
                for source in pictures {
                    let picture = read_picture(source)?;
                    let size = Size::new(picture.height() as usize, picture.width() as usize);
                    let tensor = picture_logits(&**backbone, &picture)?;
                    let map = pipeline.submit_tensor(&tensor, size)?;
                    let classes = backbone.class_names().len();
                    handle(Frame { path: source.path(), name: source.name(), classes, map })?;
                    progress.inc(1);
                }
                progress.finish_and_clear();
            }
            Self::Logits(files) => {
                let progress = super::progress_bar(files.len(), what);
                for path in files {
                    let file = LogitsFile::read(path, None)?;
                    let logits = file.logits(arguments.layout.unwrap_or_default().into())?;
                    let shape = logits.shape();
                    for n in 0..shape.batch {
                        let map = pipeline.submit(&logits.image(n)?, arguments.size.unwrap_or(shape.size))?;
                        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                        handle(Frame { path, name, classes: shape.classes, map })?;
                    }
                    progress.inc(1);
                }
                progress.finish_and_clear();
            }
        }
        Ok(())
    }

    fn provenance(&self, images: u64, inputs: &[PathBuf]) -> Provenance {
        let common = Provenance {
            images: Some(images),
            conditioned_on: Some("predicted class".to_owned()),
            date: Some(super::today()),
            sources: inputs.iter().map(|path| path.display().to_string()).collect(),
            ..Provenance::default()
        };
        match self {
            Self::Pictures { backbone, .. } => Provenance {
                model: Some(backbone.name().to_owned()),
                model_sha256: Some(backbone.digest().to_owned()),
                class_names: backbone.class_names().to_vec(),
                ..common
            },
            Self::Logits(_) => common,
        }
    }
}
