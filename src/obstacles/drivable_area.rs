//! Where a vehicle may drive, out of the predicted classes: those classes, their holes, and a margin around both.

use serde::{Deserialize, Serialize};

use super::pixel_mask::PixelMask;
use crate::connected_components::{Components, Connectivity, Run};
use crate::{Error, Result};

/// The drivable area of a picture, in which obstacles are looked for.
///
/// A network calls an unexpected object on the road whatever it likes, so that the area cannot be the pixels of the drivable
/// classes alone. It consists of
///
/// 1. the pixels whose predicted class is one of [`classes`](Self::classes), wherever they are;
/// 2. their holes: regions of other classes, connected by edges, that do not reach the picture's border;
/// 3. all pixels within [`margin`](Self::margin) rows and columns of either, so that what stands at the area's border (before
///    a wall, on the horizon, cut off by the picture) is inside as far as the margin reaches.
///
/// What is outside the area takes no part: an object that reaches out of it is measured by its part inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrivableArea {
    /// Predicted classes that can be driven on: with Cityscapes 0 is the road, 1 the pavement.
    pub classes: Vec<u8>,
    /// Rows and columns that the area reaches further, in pixels.
    #[serde(default)]
    pub margin: usize,
}

impl DrivableArea {
    /// The road of Cityscapes, class 0.
    pub fn road() -> Self {
        Self { classes: vec![0], margin: 0 }
    }

    /// Road and pavement of Cityscapes, classes 0 and 1.
    pub fn road_and_pavement() -> Self {
        Self { classes: vec![0, 1], margin: 0 }
    }

    pub(super) fn validate(&self) -> Result<()> {
        if self.classes.is_empty() {
            return Err(Error::InvalidParameter {
                field: "drivable.classes",
                given: "empty".to_owned(),
                expected: "at least one class, such as 0, the road of Cityscapes",
            });
        }
        Ok(())
    }

    /// Sets the area's pixels in `area`, which is as large as `prediction`, with rows of `width`. `runs`, `components` and
    /// `at_border` are memory to work in.
    pub(super) fn find(
        &self,
        prediction: &[u8],
        width: usize,
        area: &mut PixelMask,
        runs: &mut Vec<Run>,
        components: &mut Components,
        at_border: &mut Vec<bool>,
    ) {
        area.clear();
        for &class in &self.classes {
            area.set_where(prediction, |&predicted| predicted == class);
        }
        runs.clear();
        area.gaps(runs);
        let count = components.label(runs, width, Connectivity::Four);
        at_border.clear();
        at_border.resize(count, false);
        let last_row = prediction.len() - width;
        for run in runs.iter() {
            let (start, end) = (run.start as usize, run.end as usize);
            if start < width || start >= last_row || start % width == 0 || end % width == 0 {
                at_border[run.component as usize] = true;
            }
        }
        for &run in runs.iter() {
            if !at_border[run.component as usize] {
                area.set(run);
            }
        }
        area.grow(self.margin, runs);
    }
}
