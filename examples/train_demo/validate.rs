//! Intersection over union on held-out normal scenes.

use std::fmt::Write as _;
use std::path::Path;

use sml::files::write_whole;
use sml::metrics::ConfusionMatrix;
use sml::torch::{Backbone, DabNetBackbone};
use sml::{Params, Result, Score, Stage};

use crate::pipeline::Pipeline;
use crate::splits::{Split, normal_scene};

/// Scenes of the validation after training.
const SCENES: u64 = 40;

/// Confusion on the first `scenes` held-out normal scenes.
pub fn confusion(network: &DabNetBackbone, seed: u64, scenes: u64) -> Result<ConfusionMatrix> {
    // Only the prediction is wanted; this is the cheapest score.
    let params = Params { score: Score::MaxLogit, ..Params::default() }.through(Stage::Standardize);
    let mut pipeline = Pipeline::new(network, params, None)?;
    let mut confusion = ConfusionMatrix::new(network.class_names().len())?;
    for index in 0..scenes {
        let (picture, labels) = normal_scene(seed, Split::Validation, index);
        let predictions: Vec<u8> = pipeline.submit(&picture)?.prediction.iter().copied().collect();
        confusion.add(labels.as_raw(), &predictions)?;
    }
    Ok(confusion)
}

/// Validates the finished network and writes pixels and intersection over union of each class into `file`.
pub fn write_validation(network: &DabNetBackbone, seed: u64, file: &Path) -> Result<()> {
    let confusion = confusion(network, seed, SCENES)?;
    let miou = confusion.miou()?;
    eprintln!("mIoU on {SCENES} held-out scenes: {miou:.4}");
    let classes = network.class_names();
    let mut csv = "class,labelled_pixels,iou\n".to_owned();
    for (class, (name, iou)) in classes.iter().zip(confusion.iou()).enumerate() {
        let labelled: u64 = (0..classes.len()).map(|predicted| confusion.count(class, predicted)).sum();
        let iou = iou.map_or(String::new(), |iou| format!("{iou:.4}"));
        // Writing to a String cannot fail.
        let _ = writeln!(csv, "{name},{labelled},{iou}");
    }
    let _ = writeln!(csv, "mean,,{miou:.4}");
    write_whole(file, |out| out.write_all(csv.as_bytes()))
}
