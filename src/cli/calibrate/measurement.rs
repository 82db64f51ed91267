//! The measurement itself: one input after the other through the network, its max logits summed up by class.
//!
//! An input is summed up by itself and then added as a whole, in the order of the inputs. So an input that fails halfway adds
//! nothing, and the state after any number of inputs is the same however often the measurement was broken off before.

use std::rc::Rc;

use ndarray::Axis;
use serde::{Deserialize, Serialize};

use super::super::pipeline::{picture_logits, post_processor};
use super::inputs::{Decoded, Input};
use crate::dataset::{ContentHash, LabelMap};
use crate::evaluation::Failure;
use crate::files::LogitsFile;
use crate::metrics::{ConfusionMatrix, IGNORED_TRAIN_ID};
#[cfg(feature = "cuda")]
use crate::torch::DeviceStatistics;
use crate::torch::{Backbone, PostProcessor};
use crate::{AnomalyMap, Error, Layout, NonFinite, Params, Result, Score, Size, StatisticsAccumulator};

/// What a pixel's class is taken from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum ConditionOn {
    /// The class that the network predicts, as the paper does
    #[default]
    Predicted,
    /// The class that the dataset's labels say; pixels without one are left out
    Label,
}

impl ConditionOn {
    /// As statistics' provenance says it.
    pub fn words(self) -> &'static str {
        match self {
            Self::Predicted => "predicted class",
            Self::Label => "ground-truth class",
        }
    }
}

/// Everything that has been measured so far: what a checkpoint keeps.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Measured {
    /// Inputs that were measured or failed.
    pub inputs: usize,
    /// Images measured. A file of logits may hold several.
    pub images: u64,
    /// Sums by class; `None` before the first input.
    pub sums: Option<StatisticsAccumulator>,
    /// Labels against predictions, where they are counted.
    pub confusion: Option<ConfusionMatrix>,
    /// The files that were measured.
    pub content: ContentHash,
    /// Inputs that could not be measured.
    pub failures: Vec<Failure>,
}

/// How saved logits are read and upsampled.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogitsOptions {
    pub size: Option<Size>,
    pub layout: Layout,
}

/// Turns inputs into sums.
pub(super) struct Meter {
    backbone: Option<Rc<dyn Backbone>>,
    condition: ConditionOn,
    /// Labels are compared with predictions.
    miou: bool,
    logits: LogitsOptions,
    #[cfg(feature = "cuda")]
    align_corners: bool,
    maps: PostProcessor,
    #[cfg(feature = "cuda")]
    there: Option<DeviceStatistics>,
}

/// The sums of one input.
struct Sums {
    images: u64,
    statistics: StatisticsAccumulator,
    confusion: Option<ConfusionMatrix>,
}

impl Meter {
    /// For pictures through `backbone`, or for saved logits without one.
    pub fn new(
        backbone: Option<Rc<dyn Backbone>>,
        condition: ConditionOn,
        miou: bool,
        logits: LogitsOptions,
        align_corners: bool,
    ) -> Self {
        let bare = Params {
            score: Score::MaxLogit,
            suppression: None,
            smoothing: None,
            // A score put in the place of a broken pixel is no max logit: it must not be measured.
            non_finite: NonFinite::Propagate,
            align_corners,
            ..Params::default()
        };
        let maps = post_processor(bare, None);
        Self {
            backbone,
            condition,
            miou,
            logits,
            #[cfg(feature = "cuda")]
            align_corners,
            maps,
            #[cfg(feature = "cuda")]
            there: None,
        }
    }

    /// Adds an input. After an error nothing of it has been added.
    pub fn add(&mut self, input: Input, to: &mut Measured) -> Result<()> {
        let sums = match input.decoded {
            Decoded::Picture { picture, train_ids } => self.picture(&picture, train_ids.as_ref())?,
            Decoded::Logits(file) => self.file(&file)?,
        };
        let classes = sums.statistics.classes();
        to.sums.get_or_insert_with(|| StatisticsAccumulator::new(classes)).merge(&sums.statistics)?;
        match (&mut to.confusion, sums.confusion) {
            (Some(all), Some(one)) => all.merge(&one)?,
            (all, one) => *all = one.or(all.take()),
        }
        to.images += sums.images;
        to.content.merge(&input.content);
        Ok(())
    }

    fn picture(&mut self, picture: &image::RgbImage, labels: Option<&LabelMap>) -> Result<Sums> {
        let Some(backbone) = self.backbone.clone() else {
            return Err(Error::StatisticsNeeded { score: "of a picture without a network".to_owned() });
        };
        let size = Size::new(picture.height() as usize, picture.width() as usize);
        let logits = picture_logits(&*backbone, picture)?;
        let classes = backbone.class_names().len();
        if self.condition == ConditionOn::Predicted && !self.miou {
            #[cfg(feature = "cuda")]
            if let tch::Device::Cuda(ordinal) = logits.device() {
                let there = match self.there.take() {
                    Some(there) => there,
                    None => DeviceStatistics::new(ordinal, classes, self.align_corners)?,
                };
                let statistics = self.there.insert(there).measure(&logits, size)?;
                return Ok(Sums { images: 1, statistics, confusion: None });
            }
        }
        let map = self.maps.submit_tensor(&logits, size)?;
        let needed = self.condition == ConditionOn::Label || self.miou;
        let labels = match labels.filter(|_| needed) {
            None if needed => {
                let expected = "train ids of each picture, for --condition-on label and --miou".to_owned();
                return Err(Error::Shape {
                    what: "the picture's labels",
                    given: "missing".to_owned(),
                    expected,
                });
            }
            labels => labels.map(|labels| labels.iter().copied().collect::<Vec<u8>>()),
        };
        sums_of(&map, classes, labels.as_deref(), self.condition, self.miou)
    }

    fn file(&mut self, file: &LogitsFile) -> Result<Sums> {
        let logits = file.logits(self.logits.layout)?;
        let shape = logits.shape();
        let mut statistics = StatisticsAccumulator::new(shape.classes);
        for n in 0..shape.batch {
            let map = self.maps.submit(&logits.image(n)?, self.logits.size.unwrap_or(shape.size))?;
            statistics.merge(&sums_of(&map, shape.classes, None, self.condition, false)?.statistics)?;
        }
        Ok(Sums { images: shape.batch as u64, statistics, confusion: None })
    }
}

/// Sums up a map of negated max logits; `labels` are train ids.
fn sums_of(
    map: &AnomalyMap<'_>,
    classes: usize,
    labels: Option<&[u8]>,
    condition: ConditionOn,
    miou: bool,
) -> Result<Sums> {
    // The anomaly score of a bare max logit is its negation.
    let max_logits: Vec<f32> = map.score.iter().map(|score| -score).collect();
    let predictions: Vec<u8> = map.prediction.iter().copied().collect();
    let mut statistics = StatisticsAccumulator::new(classes);
    let mut confusion = None;
    if let Some(labels) = labels.filter(|_| miou) {
        let mut matrix = ConfusionMatrix::new(classes)?;
        matrix.add(labels, &predictions)?;
        confusion = Some(matrix);
    }
    match (condition, labels) {
        (ConditionOn::Label, Some(labels)) => {
            let labelled = max_logits.iter().zip(labels).filter(|(_, label)| **label != IGNORED_TRAIN_ID);
            let (max_logits, labels): (Vec<f32>, Vec<u8>) =
                labelled.map(|(value, label)| (*value, *label)).unzip();
            statistics.add(&max_logits, &labels)?;
        }
        _ => statistics.add(&max_logits, &predictions)?,
    }
    Ok(Sums { images: map.score.len_of(Axis(0)) as u64, statistics, confusion })
}
