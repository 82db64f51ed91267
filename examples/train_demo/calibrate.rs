//! Class statistics of normal scenes, and thresholds measured under them on scenes with unexpected objects.

use std::path::Path;

use sml::files::write_whole;
use sml::metrics::{NORMAL, UNEXPECTED};
use sml::torch::{Backbone, DabNetBackbone};
use sml::{
    ClassStatistics, OperatingPoints, Params, Provenance, Result, Score, ScoreHistogram, Stage,
    StatisticsAccumulator,
};

use crate::pipeline::Pipeline;
use crate::splits::{Split, normal_scene, unexpected_scene};

/// Normal scenes of which the class statistics are measured.
const STATISTICS_SCENES: u64 = 60;
/// Scenes with unexpected objects on which the thresholds are measured.
const THRESHOLD_SCENES: u64 = 60;

/// Measures statistics and thresholds of the network and writes them into `file`.
pub fn write_statistics(network: &DabNetBackbone, seed: u64, file: &Path) -> Result<()> {
    let statistics = class_statistics(network, seed)?;
    let points = operating_points(network, seed, &statistics)?;
    let json = statistics.with_operating_points(points).to_json();
    write_whole(file, |out| out.write_all(json.as_bytes()))
}

/// Mean and variance of the max logit by predicted class.
fn class_statistics(network: &DabNetBackbone, seed: u64) -> Result<ClassStatistics> {
    let params = Params { score: Score::MaxLogit, ..Params::default() }.through(Stage::Standardize);
    let mut pipeline = Pipeline::new(network, params, None)?;
    let mut accumulator = StatisticsAccumulator::new(network.class_names().len());
    for index in 0..STATISTICS_SCENES {
        let (picture, _) = normal_scene(seed, Split::Calibration, index);
        let map = pipeline.submit(&picture)?;
        // The anomaly score of a bare max logit is its negation.
        let max_logits: Vec<f32> = map.score.iter().map(|score| -score).collect();
        let predictions: Vec<u8> = map.prediction.iter().copied().collect();
        accumulator.add(&max_logits, &predictions)?;
    }
    // Without a date: the same weights give the same bytes.
    Ok(accumulator.finish(Provenance {
        images: Some(STATISTICS_SCENES),
        model: Some("demo: DABNet, half width, trained on synthetic scenes".to_owned()),
        model_sha256: Some(network.digest().to_owned()),
        conditioned_on: Some("predicted class".to_owned()),
        class_names: network.class_names().to_vec(),
        ..Provenance::default()
    }))
}

/// Thresholds of the whole method with its default parameters.
fn operating_points(
    network: &DabNetBackbone,
    seed: u64,
    statistics: &ClassStatistics,
) -> Result<OperatingPoints> {
    let mut pipeline = Pipeline::new(network, Params::default(), Some(statistics))?;
    let (mut normal, mut unexpected) = (ScoreHistogram::default(), ScoreHistogram::default());
    for index in 0..THRESHOLD_SCENES {
        let scene = unexpected_scene(seed, Split::Thresholds, index);
        let map = pipeline.submit(&scene.image)?;
        for (&score, &label) in map.score.iter().zip(scene.unexpected.as_raw()) {
            match label {
                NORMAL => normal.add(score),
                UNEXPECTED => unexpected.add(score),
                _ => {}
            }
        }
    }
    Ok(OperatingPoints::new(pipeline.params(), &normal, &unexpected))
}
