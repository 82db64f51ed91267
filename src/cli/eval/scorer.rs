//! From what was read of an image to its scores.

use std::borrow::Cow;

use super::source::{Content, Loaded};
use crate::cli::method::LayoutArg;
#[cfg(feature = "torch")]
use crate::cli::pipeline::picture_logits;
use crate::evaluation::{Engines, Observation, Plan, ScoreMaps};
use crate::metrics::ConfusionMatrix;
#[cfg(feature = "torch")]
use crate::torch::Backbone;
use crate::{Error, Result, Size, Warning};

/// What makes the scores.
pub(super) enum Scorer {
    /// Scores come as they are.
    Saved,
    /// Logits out of files.
    Logits { engines: Box<Engines>, layout: LayoutArg },
    /// A network, and the engines on its device.
    #[cfg(feature = "torch")]
    Network { engines: Box<Engines>, backbone: Box<dyn Backbone> },
}

impl Scorer {
    /// The scores of an image.
    ///
    /// # Errors
    /// When the network or an engine fails, or what was read does not fit.
    pub(super) fn measure(&mut self, mut loaded: Loaded, plan: &Plan) -> Result<Measurement> {
        let size = loaded.size();
        let (maps, predicted) = match (self, &mut loaded.content) {
            (Self::Logits { engines, layout }, Content::Logits(file)) => {
                let logits = file.logits((*layout).into())?;
                let shape = logits.shape();
                if shape.batch != 1 {
                    let problem = format!("holds {} images", shape.batch);
                    return Err(Error::file(file.path(), problem, "one image a file"));
                }
                if shape.classes != plan.class_names.len() {
                    let problem = format!("has {} classes", shape.classes);
                    let expected = format!("{}, as the first file has", plan.class_names.len());
                    return Err(Error::file(file.path(), problem, expected));
                }
                (engines.submit(&logits, size.unwrap_or(shape.size))?, true)
            }
            #[cfg(feature = "torch")]
            (Self::Network { engines, backbone }, Content::Picture(picture)) => {
                let logits = picture_logits(&**backbone, picture)?;
                let size = Size::new(picture.height() as usize, picture.width() as usize);
                (engines.submit_tensor(&logits, size)?, true)
            }
            (_, Content::Scores(scores)) => {
                let scores = std::mem::take(scores);
                if let Some(size) = size {
                    scores.iter().zip(&plan.rows).try_for_each(|(score, row)| {
                        let given = Size::new(score.nrows(), score.ncols());
                        if given == size {
                            return Ok(());
                        }
                        Err(Error::Shape {
                            what: "size of the scores",
                            given: format!("{given} in {}", row.name),
                            expected: format!("{size}, as the labels have"),
                        })
                    })?;
                }
                let rows = scores.into_iter().map(|score| score.into_iter().collect());
                (ScoreMaps { scores: rows.collect(), ..ScoreMaps::default() }, false)
            }
            _ => (ScoreMaps::default(), false),
        };
        let confusion = match &loaded.train_ids {
            Some(train_ids) if predicted => {
                let mut confusion = ConfusionMatrix::new(plan.class_names.len())?;
                confusion.add(&in_rows(train_ids), &maps.prediction)?;
                Some(confusion)
            }
            _ => None,
        };
        Ok(Measurement { size: size.unwrap_or(Size::new(0, 0)), loaded, maps, predicted, confusion })
    }

    /// What the engines found that a person should know.
    pub(super) fn warnings(&self) -> &[Warning] {
        match self {
            Self::Saved => &[],
            Self::Logits { engines, .. } => engines.warnings(),
            #[cfg(feature = "torch")]
            Self::Network { engines, .. } => engines.warnings(),
        }
    }
}

/// An image with its scores, complete.
pub(super) struct Measurement {
    /// What was read.
    pub loaded: Loaded,
    /// Scores and prediction.
    pub maps: ScoreMaps,
    /// Their rows and columns.
    pub size: Size,
    predicted: bool,
    confusion: Option<ConfusionMatrix>,
}

impl Measurement {
    /// Hands it over in the form that the state takes.
    pub(super) fn observe<T>(
        &self,
        index: usize,
        name: &str,
        handle: impl FnOnce(&Observation<'_>) -> T,
    ) -> T {
        let scores: Vec<&[f32]> = self.maps.scores.iter().map(Vec::as_slice).collect();
        let labels = self.loaded.labels.as_ref().map(in_rows);
        handle(&Observation {
            index,
            name,
            files: self.loaded.files,
            size: self.size,
            labels: labels.as_deref(),
            prediction: self.prediction(),
            scores: &scores,
            non_finite: self.maps.non_finite,
            confusion: self.confusion.as_ref(),
        })
    }

    /// Predicted classes, where there are any.
    pub(super) fn prediction(&self) -> Option<&[u8]> {
        self.predicted.then_some(self.maps.prediction.as_slice())
    }
}

/// The elements row by row; a copy where they lie otherwise.
pub(super) fn in_rows(labels: &ndarray::Array2<u8>) -> Cow<'_, [u8]> {
    labels.as_slice().map_or_else(|| Cow::Owned(labels.iter().copied().collect()), Cow::Borrowed)
}
