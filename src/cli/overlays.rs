//! Overlays of frames that follow each other: colours that do not flicker, and boxes around obstacles.

use image::RgbImage;

use crate::frame_loop::AnomalyFrame;
use crate::render::{self, ScoreRange};
use crate::{Error, Result};

/// Every so many pixels' scores tell the range of the colours.
const SPARSE: usize = 31;
/// Share of a new frame in that range.
const NEW_RANGE: f32 = 0.1;

/// Draws overlays, each with the range of scores of the latest frames, or with a fixed one.
pub(super) struct Overlays {
    fixed: Option<ScoreRange>,
    /// The latest range, and the frame that it was measured for.
    latest: Option<(u64, ScoreRange)>,
}

impl Overlays {
    pub(super) fn new(fixed: Option<ScoreRange>) -> Self {
        Self { fixed, latest: None }
    }

    /// The heat map on the frame's picture, and its obstacles.
    ///
    /// # Errors
    /// [`Error::Shape`] for a loop that keeps no pictures.
    pub(super) fn draw(&mut self, frame: &AnomalyFrame) -> Result<RgbImage> {
        let picture = frame.picture().ok_or_else(|| Error::Shape {
            what: "picture of the frame",
            given: "missing".to_owned(),
            expected: "a loop that keeps pictures".to_owned(),
        })?;
        let range = self.range(frame)?;
        let mut overlay = render::overlay(&render::photograph(&picture)?, frame.score(), range)?;
        render::draw_obstacles(&mut overlay, frame.obstacles());
        Ok(overlay)
    }

    /// The scores that the colours span in this frame. Frames come in order.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for scores whose range is none.
    pub(super) fn range(&mut self, frame: &AnomalyFrame) -> Result<ScoreRange> {
        let id = frame.stamp().id;
        if let Some(fixed) = self.fixed {
            return Ok(fixed);
        }
        let measured = || ScoreRange::upper_half(frame.score().iter().copied().step_by(SPARSE));
        let mixed = |old: f32, new: f32| old + NEW_RANGE * (new - old);
        let range = match self.latest {
            Some((latest, range)) if latest == id => range,
            Some((_, old)) => {
                let new = measured();
                ScoreRange::new(mixed(old.low(), new.low()), mixed(old.high(), new.high()))?
            }
            None => measured(),
        };
        self.latest = Some((id, range));
        Ok(range)
    }
}
