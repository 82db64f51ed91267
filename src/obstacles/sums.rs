//! Sums over the pixels of one obstacle.

use super::{BoundingBox, Obstacle};
use crate::connected_components::Run;

/// What is added up and compared pixel by pixel, in raster order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sums {
    /// First and last row and column.
    top: u32,
    bottom: u32,
    left: u32,
    right: u32,
    /// Sums of columns and rows. 2^31 pixels times 2^31 rows or columns fit.
    columns: u64,
    rows: u64,
    score: f64,
    pub max: f32,
}

impl Sums {
    /// Of no pixels.
    pub const NONE: Self = Self {
        top: u32::MAX,
        bottom: 0,
        left: u32::MAX,
        right: 0,
        columns: 0,
        rows: 0,
        score: 0.0,
        max: f32::NEG_INFINITY,
    };

    /// Adds the pixels of a run, whose scores are numbers, of a picture with rows of `width` pixels.
    pub fn add(&mut self, run: Run, scores: &[f32], width: usize) {
        let (row, left) = (run.start / width as u32, run.start % width as u32);
        let (pixels, right) = (u64::from(run.pixels()), left + run.pixels() - 1);
        self.top = self.top.min(row);
        self.bottom = self.bottom.max(row);
        self.left = self.left.min(left);
        self.right = self.right.max(right);
        self.columns += (u64::from(left) + u64::from(right)) * pixels / 2;
        self.rows += u64::from(row) * pixels;
        for &score in scores {
            self.score += f64::from(score);
            if score > self.max {
                self.max = score;
            }
        }
    }

    /// The obstacle of these pixels.
    pub fn obstacle(&self, id: u64, area: u32, surrounding_class: Option<u8>) -> Obstacle {
        let pixels = f64::from(area);
        Obstacle {
            id,
            bounding_box: BoundingBox {
                left: self.left,
                top: self.top,
                width: self.right - self.left + 1,
                height: self.bottom - self.top + 1,
            },
            area,
            mean_score: (self.score / pixels) as f32,
            max_score: self.max,
            centroid: ((self.columns as f64 / pixels) as f32, (self.rows as f64 / pixels) as f32),
            surrounding_class,
        }
    }
}
