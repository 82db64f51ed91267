//! Scores in the forms that benchmarks take.

use std::path::{Path, PathBuf};

use ndarray::{ArrayView2, ShapeError};

use super::scorer::Measurement;
use crate::evaluation::Plan;
use crate::files::export;
use crate::{Error, Result};

/// Where the scores of the last row go.
#[derive(Clone, Debug)]
pub(super) struct Export {
    format: Format,
    folder: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    SegmentMeIfYouCan,
    Fishyscapes,
}

const FORMATS: [(&str, Format); 2] =
    [("segment-me-if-you-can", Format::SegmentMeIfYouCan), ("fishyscapes", Format::Fishyscapes)];

impl Export {
    /// From the option's two values; `None` when it is not given.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for an unknown format.
    pub(super) fn of(values: &[String]) -> Result<Option<Self>> {
        let [name, folder] = values else { return Ok(None) };
        let format = FORMATS.iter().find(|(known, _)| known == name).map(|(_, format)| *format);
        let format = format.ok_or_else(|| Error::InvalidParameter {
            field: "--export",
            given: format!("{name:?}"),
            expected: "segment-me-if-you-can or fishyscapes, and a folder",
        })?;
        Ok(Some(Self { format, folder: PathBuf::from(folder) }))
    }

    /// The folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The format's name.
    pub(super) fn name(&self) -> &'static str {
        FORMATS.iter().find(|(_, format)| *format == self.format).map_or("", |(name, _)| name)
    }

    /// Writes the last score of an image.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be written.
    pub(super) fn write(&self, plan: &Plan, image: &str, measurement: &Measurement) -> Result<()> {
        let (Some(scores), Some(row)) = (measurement.maps.scores.last(), plan.rows.last()) else {
            return Ok(());
        };
        let size = (measurement.size.height, measurement.size.width);
        let shape = |error: ShapeError| Error::Shape {
            what: "exported map",
            given: error.to_string(),
            expected: measurement.size.to_string(),
        };
        let scores = ArrayView2::from_shape(size, scores).map_err(shape)?;
        let frame = image.rsplit('/').next().unwrap_or(image);
        match self.format {
            Format::SegmentMeIfYouCan => {
                export::segment_me_if_you_can(&self.folder, &row.name, &benchmark_name(plan), frame, scores)
                    .map(drop)
            }
            Format::Fishyscapes => {
                let prediction = measurement.prediction();
                let prediction = prediction.map(|classes| ArrayView2::from_shape(size, classes)).transpose();
                export::fishyscapes(&self.folder, frame, scores, prediction.map_err(shape)?)
            }
        }
    }
}

/// What SegmentMeIfYouCan's program calls the dataset.
fn benchmark_name(plan: &Plan) -> String {
    let track = match plan.dataset.as_str() {
        "road-anomaly21" => "AnomalyTrack",
        "road-obstacle21" => "ObstacleTrack",
        "lost-and-found" => "LostAndFound",
        other => return other.to_owned(),
    };
    let split = match plan.split.as_deref() {
        Some("test") | None => "all",
        Some(split) => split,
    };
    format!("{track}-{split}")
}
