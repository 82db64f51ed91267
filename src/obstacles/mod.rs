//! Obstacles: the objects behind an anomaly map, as boxes with numbers.
//!
//! Pixels whose anomaly score reaches a threshold, optionally only those on the [drivable area](DrivableArea), are joined
//! to 8-connected components. Each component of a minimum area is an [`Obstacle`], with its bounding box, area, scores,
//! centroid and the class that it lies in. From frame to frame an obstacle keeps its id as long as it overlaps
//! ([`ObstacleFinder::find`] tells how).
//!
//! Thresholds come from a calibration: [`OperatingPoints::threshold_at_fpr`](crate::OperatingPoints::threshold_at_fpr) and
//! [`threshold_at_tpr`](crate::OperatingPoints::threshold_at_tpr).
//!
//! Everything runs on one thread in exact or fixed-order arithmetic, so that results depend on nothing but the frames, and
//! in memory that [`ObstacleFinder::new`] reserves. A frame of 1024 x 2048 pixels costs far less than the post-processing
//! of its logits.
//!
//! ```
//! use ndarray::array;
//! use sml::Size;
//! use sml::obstacles::{DrivableArea, ObstacleFinder, ObstacleParams};
//!
//! let score = array![
//!     [0.0, 9.0, 0.0, 0.0, 0.0],
//!     [0.0, 0.0, 0.0, 0.0, 0.0],
//!     [0.0, 0.0, 4.0, 5.0, 0.0],
//!     [0.0, 0.0, 0.0, 0.0, 0.0],
//! ];
//! // The network sees a car (13) on the road (0), and buildings (2) above it.
//! let prediction = array![[2, 2, 2, 2, 2], [0, 0, 0, 0, 0], [0, 0, 13, 13, 0], [0, 0, 0, 0, 0]];
//! let drivable = Some(DrivableArea::road());
//! let params = ObstacleParams { minimum_area: 2, drivable, ..ObstacleParams::above(3.0) };
//! let mut finder = ObstacleFinder::new(params, Size::new(4, 5))?;
//! let obstacles = finder.find(score.view(), prediction.view())?;
//! assert_eq!(obstacles.len(), 1);
//! assert_eq!((obstacles[0].id, obstacles[0].area, obstacles[0].max_score), (1, 2, 5.0));
//! assert_eq!((obstacles[0].centroid, obstacles[0].surrounding_class), ((2.5, 2.0), Some(0)));
//! # Ok::<(), sml::Error>(())
//! ```

mod drivable_area;
mod finder;
mod ids;
mod outlines;
mod pixel_mask;
mod sums;

use serde::{Deserialize, Serialize};

pub use drivable_area::DrivableArea;
pub use finder::ObstacleFinder;

use crate::metrics::json_number;
use crate::{Error, Result};

/// What counts as an obstacle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObstacleParams {
    /// Anomaly score from which on a pixel belongs to an obstacle. Finite.
    pub threshold: f32,
    /// Pixels that a component needs to be an obstacle, at least 1.
    pub minimum_area: usize,
    /// Where obstacles are looked for; `None` for the whole picture.
    pub drivable: Option<DrivableArea>,
}

impl ObstacleParams {
    /// Smallest area of an obstacle unless another one is given, in pixels: that of the obstacle track of SegmentMeIfYouCan
    /// (Chan et al., NeurIPS 2021).
    pub const MINIMUM_AREA: usize = 50;

    /// Components of [`MINIMUM_AREA`](Self::MINIMUM_AREA) pixels or more with scores of at least `threshold`, anywhere in the
    /// picture.
    pub fn above(threshold: f32) -> Self {
        Self { threshold, minimum_area: Self::MINIMUM_AREA, drivable: None }
    }

    /// # Errors
    /// [`Error::InvalidParameter`] for a threshold that is not finite, a minimum area of 0 and a drivable area of no classes.
    pub fn validate(&self) -> Result<()> {
        let invalid =
            |field, given: String, expected| Err(Error::InvalidParameter { field, given, expected });
        if !self.threshold.is_finite() {
            return invalid("threshold", self.threshold.to_string(), "a finite anomaly score");
        }
        if self.minimum_area == 0 {
            return invalid("minimum_area", "0".to_owned(), "at least 1 pixel");
        }
        self.drivable.as_ref().map_or(Ok(()), DrivableArea::validate)
    }
}

/// A rectangle of pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BoundingBox {
    /// First column.
    pub left: u32,
    /// First row.
    pub top: u32,
    /// Number of columns.
    pub width: u32,
    /// Number of rows.
    pub height: u32,
}

/// An unexpected object: a connected component of pixels with high anomaly scores.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Obstacle {
    /// The same from frame to frame as long as the object overlaps itself; from 1 on, never used again for another.
    pub id: u64,
    /// The smallest rectangle around its pixels.
    pub bounding_box: BoundingBox,
    /// Number of pixels.
    pub area: u32,
    /// Mean anomaly score of its pixels.
    #[serde(with = "json_number")]
    pub mean_score: f32,
    /// Highest anomaly score of its pixels.
    #[serde(with = "json_number")]
    pub max_score: f32,
    /// Mean column and mean row of its pixels, in this order; whole numbers are pixel centres.
    pub centroid: (f32, f32),
    /// The class predicted along most of its outline: every edge between a pixel of it and one outside counts for the class of
    /// the pixel outside, equal counts for the smaller class. `None` where it fills the picture.
    pub surrounding_class: Option<u8>,
}
