//! The second pass: thresholds under the finished statistics, by false and by true positive rate.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::super::interrupt::Interrupt;
use super::super::pipeline::{picture_logits, post_processor};
use super::inputs::{Decoded, Input, Inputs};
use super::measurement::LogitsOptions;
use crate::dataset::read_ahead;
use crate::files::{list_pictures, read_labels};
use crate::metrics::{NORMAL, UNEXPECTED};
use crate::torch::{Backbone, PostProcessor};
use crate::{AnomalyMap, ClassStatistics, Error, OperatingPoints, Params, Result, ScoreHistogram, Size};

/// Pictures with unexpected objects, and the folder of their labels.
pub(super) struct Labelled<'a> {
    pub pictures: &'a [PathBuf],
    pub labels: &'a Path,
}

/// What the second pass needs of the first.
pub(super) struct SecondPass<'a> {
    pub backbone: Option<Rc<dyn Backbone>>,
    pub logits: LogitsOptions,
    pub params: Params,
    pub statistics: &'a ClassStatistics,
    pub interrupt: Interrupt,
    /// What an interruption leaves.
    pub kept: String,
}

impl SecondPass<'_> {
    /// Thresholds by false positive rate on the inputs of the first pass. Those that `left_out` names failed there.
    pub fn on_normal(&self, inputs: &Inputs, left_out: &dyn Fn(&str) -> bool) -> Result<OperatingPoints> {
        let mut normal = ScoreHistogram::default();
        self.each_map(inputs, |index, input, pipeline| {
            if left_out(&inputs.name(index)) {
                return Ok(());
            }
            self.maps_of(&input?, pipeline, |map| map.score.iter().for_each(|&score| normal.add(score)))
        })?;
        Ok(OperatingPoints::new(self.params, &normal, &ScoreHistogram::default()))
    }

    /// Thresholds by both rates on labelled pictures. Here every picture counts: a failure ends the pass.
    pub fn on_labelled(&self, labelled: &Labelled<'_>) -> Result<OperatingPoints> {
        let (mut normal, mut unexpected) = (ScoreHistogram::default(), ScoreHistogram::default());
        let inputs = Inputs::Pictures(list_pictures(labelled.pictures)?);
        self.each_map(&inputs, |index, input, pipeline| {
            let mut labels = Ok(Vec::new());
            self.maps_of(&input?, pipeline, |map| {
                labels = labels_of(labelled.labels, inputs.path(index), map);
                for (&score, label) in map.score.iter().zip(labels.iter().flatten()) {
                    match *label {
                        NORMAL => normal.add(score),
                        UNEXPECTED => unexpected.add(score),
                        _ => {}
                    }
                }
            })?;
            labels.map(drop)
        })?;
        Ok(OperatingPoints::new(self.params, &normal, &unexpected))
    }

    fn each_map(
        &self,
        inputs: &Inputs,
        mut handle: impl FnMut(usize, Result<Input>, &mut PostProcessor) -> Result<()>,
    ) -> Result<()> {
        let mut pipeline = post_processor(self.params, Some(self.statistics.clone()));
        let progress = super::super::progress_bar(inputs.len(), "thresholds");
        let (threads, depth) = inputs.reading();
        read_ahead(
            inputs.len(),
            threads,
            depth,
            |index| inputs.read(index),
            |index, input| {
                handle(index, input, &mut pipeline)?;
                progress.inc(1);
                self.interrupt.check(|| self.kept.clone())
            },
        )?;
        progress.finish_and_clear();
        Ok(())
    }

    fn maps_of(
        &self,
        input: &Input,
        pipeline: &mut PostProcessor,
        mut handle: impl FnMut(&AnomalyMap<'_>),
    ) -> Result<()> {
        match (&input.decoded, &self.backbone) {
            (Decoded::Logits(file), _) => {
                let logits = file.logits(self.logits.layout)?;
                let shape = logits.shape();
                for n in 0..shape.batch {
                    let size = self.logits.size.unwrap_or(shape.size);
                    handle(&pipeline.submit(&logits.image(n)?, size)?);
                }
            }
            (Decoded::Picture { picture, .. }, Some(backbone)) => {
                let size = Size::new(picture.height() as usize, picture.width() as usize);
                let tensor = picture_logits(&**backbone, picture)?;
                handle(&pipeline.submit_tensor(&tensor, size)?);
            }
            (Decoded::Picture { .. }, None) => {}
        }
        Ok(())
    }
}

/// The labels of a picture: `NAME.png` or `NAME_unexpected.png` in `folder`, of the picture's size.
fn labels_of(folder: &Path, picture: &Path, map: &AnomalyMap<'_>) -> Result<Vec<u8>> {
    let name = picture.file_stem().unwrap_or_default().to_string_lossy();
    let candidates = [format!("{name}.png"), format!("{name}_unexpected.png")];
    let path =
        candidates.iter().map(|name| folder.join(name)).find(|path| path.exists()).ok_or_else(|| {
            Error::file(
                folder,
                "holds no labels of this picture",
                format!("a file {}", candidates.join(" or ")),
            )
        })?;
    let labels = read_labels(&path)?;
    let (_, height, width) = map.score.dim();
    if (labels.height() as usize, labels.width() as usize) != (height, width) {
        let given = format!("has {}x{} pixels (height x width)", labels.height(), labels.width());
        return Err(Error::file(&path, given, format!("{height}x{width}, as its picture has")));
    }
    Ok(labels.into_raw())
}
