//! Options about what counts as an obstacle, and how scores are steadied before.

use std::str::FromStr;

use clap::Args;

use super::threshold::ThresholdArgs;
use crate::obstacles::{DrivableArea, ObstacleParams};
use crate::{ClassStatistics, Error, Params, Result, TemporalSmoothing, cityscapes};

/// The false positive rate at which obstacles are looked for unless a threshold is given.
const DEFAULT_FPR: f64 = 0.01;

/// What counts as an obstacle. Without a threshold, the one is taken that mistakes 1 % of normal pixels by the calibration.
#[derive(Args)]
#[command(next_help_heading = "Obstacles")]
pub(super) struct ObstacleArgs {
    #[command(flatten)]
    threshold: ThresholdArgs,

    /// Only look where can be driven: predicted classes by Cityscapes name or train id, and what they enclose
    #[arg(long, value_name = "CLASS,...", value_parser = classes)]
    drivable: Option<Classes>,

    /// Pixels by which the drivable area is enlarged to all sides, for what stands at its border
    #[arg(long, value_name = "PIXELS", default_value_t = 0, requires = "drivable")]
    drivable_margin: usize,

    /// Smallest area of an obstacle
    #[arg(long, value_name = "PIXELS", default_value_t = ObstacleParams::MINIMUM_AREA, value_parser = at_least_one)]
    minimum_area: usize,

    /// Smooth scores over time: share of the new frame (above 0, up to 1), and the mean change of brightness of 0 to 255 above which a frame
    /// starts anew (25 unless given)
    #[arg(long, value_name = "WEIGHT[,CHANGE]", value_parser = temporal_smoothing)]
    temporal_smoothing: Option<TemporalSmoothing>,
}

impl ObstacleArgs {
    /// What counts as an obstacle; `None` where no threshold is given and none was calibrated.
    ///
    /// # Errors
    /// When a rate is given and the statistics hold no thresholds for these parameters.
    pub(super) fn params(
        &self,
        params: &Params,
        statistics: Option<&ClassStatistics>,
    ) -> Result<Option<ObstacleParams>> {
        let given = self.threshold.resolve(params, statistics)?;
        let calibrated = || {
            let points = statistics.and_then(ClassStatistics::operating_points)?;
            points.threshold_at_fpr(DEFAULT_FPR, params).ok()
        };
        let drivable = self.drivable.as_ref();
        let drivable = drivable
            .map(|Classes(classes)| DrivableArea { classes: classes.clone(), margin: self.drivable_margin });
        Ok(given.or_else(calibrated).map(|threshold| ObstacleParams {
            threshold,
            minimum_area: self.minimum_area,
            drivable,
        }))
    }

    /// How scores are smoothed over time, if they are.
    pub(super) fn temporal_smoothing(&self) -> Option<TemporalSmoothing> {
        self.temporal_smoothing
    }
}

/// Train ids.
#[derive(Clone, Debug)]
struct Classes(Vec<u8>);

fn classes(text: &str) -> Result<Classes> {
    let unknown = |word: &str| Error::InvalidParameter {
        field: "drivable",
        given: format!("{word:?}"),
        expected: "classes by Cityscapes name or train id, such as road,sidewalk or 0,1",
    };
    let class = |word: &str| {
        let word = word.trim();
        let named = cityscapes::CLASSES.iter().position(|class| class.name == word);
        let class = named.and_then(|train_id| u8::try_from(train_id).ok()).or_else(|| word.parse().ok());
        class.ok_or_else(|| unknown(word))
    };
    text.split(',').map(class).collect::<Result<_>>().map(Classes)
}

fn at_least_one(text: &str) -> Result<usize> {
    text.parse().ok().filter(|pixels| *pixels > 0).ok_or_else(|| Error::InvalidParameter {
        field: "minimum_area",
        given: format!("{text:?}"),
        expected: "at least 1 pixel",
    })
}

fn temporal_smoothing(text: &str) -> Result<TemporalSmoothing> {
    let (weight, change) =
        text.split_once(',').map_or((text, None), |(weight, change)| (weight, Some(change)));
    let number = |text: &str| {
        f32::from_str(text).map_err(|_| Error::InvalidParameter {
            field: "temporal_smoothing",
            given: format!("{text:?}"),
            expected: "WEIGHT or WEIGHT,CHANGE: numbers, such as 0.5 or 0.5,25",
        })
    };
    let reset_change = change.map_or(Ok(TemporalSmoothing::default().reset_change), number)?;
    let smoothing = TemporalSmoothing { weight: number(weight)?, reset_change };
    smoothing.validate().map(|()| smoothing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_have_names_and_numbers() {
        assert_eq!(classes("road, sidewalk,9").unwrap().0, [0, 1, 9]);
        assert_eq!(classes("traffic light").unwrap().0, [6]);
        for wrong in ["", "street", "road,", "256", "-1"] {
            assert!(classes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn smoothing_is_a_weight_and_a_change() {
        let smoothing = |text| temporal_smoothing(text).map(|s| (s.weight, s.reset_change));
        assert_eq!(smoothing("0.25").unwrap(), (0.25, 25.0));
        assert_eq!(smoothing("1,8.5").unwrap(), (1.0, 8.5));
        for wrong in ["0", "1.1", "NaN", "0.5,-1", "0.5,", "a", "0.5,1,2"] {
            assert!(smoothing(wrong).is_err(), "{wrong}");
        }
    }
}
