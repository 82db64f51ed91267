//! Scores steadied over time: exponential smoothing of the score map from frame to frame.
//!
//! With weight w, score(t) = w new(t) + (1 - w) score(t - 1), pixel by pixel: noise that flickers from frame to frame
//! fades, and what appears shows with the share w at once and with 1 - (1 - w)^n after n frames. That delay is the price, so
//! that smoothing is off unless it is asked for.
//!
//! The pixels of two frames belong together only while the picture stays much the same. A [`PictureChange`] measures by how
//! much it changed: pictures are reduced to a grid of 16 x 32 mean luminances, from 64 pixels a cell, and the change is the
//! mean absolute difference of the cells, from 0 to 255. It is one number for the whole picture: a cut or a lost stretch of
//! video changes every cell, while an object that moves changes a few of them, and must not tear the map into blocks. At a
//! change above the limit the frame starts anew, with its own scores alone.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::preprocessing::ChannelOrder;
use crate::{Error, PictureView, Result, Size};

/// Exponential smoothing of scores over frames.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TemporalSmoothing {
    /// Share of the new frame, above 0 and up to 1, where 1 leaves every frame as it is.
    pub weight: f32,
    /// Change of the picture above which a frame is not smoothed with those before it: mean absolute difference of
    /// luminance on a coarse grid, of 0 to 255.
    pub reset_change: f32,
}

impl Default for TemporalSmoothing {
    /// Half of what is seen is new; a cut is a change by a tenth of the range of brightness.
    fn default() -> Self {
        Self { weight: 0.5, reset_change: 25.0 }
    }
}

impl TemporalSmoothing {
    /// # Errors
    /// [`Error::InvalidParameter`] for a weight that is not above 0 and at most 1, and a change that is negative or NaN.
    pub fn validate(&self) -> Result<()> {
        let invalid = |field, given: f32, expected| {
            Err(Error::InvalidParameter { field, given: given.to_string(), expected })
        };
        if !(self.weight > 0.0 && self.weight <= 1.0) {
            return invalid("weight", self.weight, "a number above 0 and at most 1");
        }
        if self.reset_change.is_nan() || self.reset_change < 0.0 {
            return invalid("reset_change", self.reset_change, "a mean change of luminance from 0 to 255");
        }
        Ok(())
    }
}

/// Cells of the grid, and rows and columns of pixels that are read of each.
const GRID: Size = Size::new(16, 32);
const CELLS: usize = GRID.pixels();
const SAMPLES: usize = 8;

/// How much pictures change from one to the next.
#[derive(Clone, Debug)]
pub struct PictureChange {
    last: [f32; CELLS],
    seen: bool,
}

impl Default for PictureChange {
    fn default() -> Self {
        Self { last: [0.0; CELLS], seen: false }
    }
}

impl PictureChange {
    /// Mean absolute difference of luminance (Rec. 601, 0 to 255) between the last picture and this one on a grid of 16 x 32
    /// cells, each the mean of 8 x 8 of its pixels. `None` for the first picture. Sizes may differ.
    pub fn measure(&mut self, picture: &PictureView<'_>) -> Option<f32> {
        let mut change = 0.0;
        for cell in 0..CELLS {
            let luminance = cell_luminance(picture, cell / GRID.width, cell % GRID.width);
            change += (luminance - self.last[cell]).abs();
            self.last[cell] = luminance;
        }
        std::mem::replace(&mut self.seen, true).then_some(change / CELLS as f32)
    }
}

/// Mean luminance of the samples of one cell: the pixels at the centres of 8 x 8 parts of it.
fn cell_luminance(picture: &PictureView<'_>, row: usize, column: usize) -> f32 {
    let Size { height, width } = picture.size();
    // Centre of part `part` of cell `cell`, for `cells` cells on a side of `length` pixels.
    let place = |cell: usize, part: usize, cells: usize, length: usize| {
        (2 * (cell * SAMPLES + part) + 1) * length / (2 * cells * SAMPLES)
    };
    let bytes = picture.format().bytes();
    let mut sum = 0_u32;
    for part in 0..SAMPLES {
        let pixels = picture.row(place(row, part, GRID.height, height));
        for part in 0..SAMPLES {
            let at = bytes * place(column, part, GRID.width, width);
            let (first, green, third) =
                (u32::from(pixels[at]), u32::from(pixels[at + 1]), u32::from(pixels[at + 2]));
            let (red, blue) = match picture.format().order() {
                ChannelOrder::Rgb => (first, third),
                ChannelOrder::Bgr => (third, first),
            };
            sum += 299 * red + 587 * green + 114 * blue;
        }
    }
    sum as f32 / (1000 * SAMPLES * SAMPLES) as f32
}

/// Smooths the scores of one frame after the other.
///
/// ```
/// use sml::{Size, TemporalSmoother, TemporalSmoothing};
///
/// let smoothing = TemporalSmoothing { weight: 0.25, reset_change: 25.0 };
/// let mut smoother = TemporalSmoother::new(smoothing, Size::new(1, 2))?;
/// let (mut first, mut second, mut cut) = ([0.0, 8.0], [4.0, 8.0], [4.0, 0.0]);
/// assert!(!smoother.smooth(&mut first, None)?);
/// assert!(smoother.smooth(&mut second, Some(3.0))?);
/// assert_eq!(second, [1.0, 8.0]);
/// assert!(!smoother.smooth(&mut cut, Some(80.0))?);
/// assert_eq!(cut, [4.0, 0.0]);
/// # Ok::<(), sml::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct TemporalSmoother {
    smoothing: TemporalSmoothing,
    size: Size,
    /// The smoothed scores of the last frame.
    last: Vec<f32>,
    seen: bool,
}

/// Scores that a thread takes at a time.
const PORTION: usize = 1 << 15;

impl TemporalSmoother {
    /// For score maps of `size`. Nothing is allocated afterwards.
    ///
    /// # Errors
    /// As [`TemporalSmoothing::validate`].
    pub fn new(smoothing: TemporalSmoothing, size: Size) -> Result<Self> {
        smoothing.validate()?;
        Ok(Self { smoothing, size, last: vec![0.0; size.pixels()], seen: false })
    }

    /// Smooths the scores of the next frame in place. `change` tells by how much the picture changed, as
    /// [`PictureChange::measure`] does; where no picture is known, `None` smooths always. Returns whether frames before had a
    /// part in it: they have none in the first frame and after a large change.
    ///
    /// Where the new score or the last one is not finite, the new one stands, so that nothing broken lasts.
    ///
    /// # Errors
    /// [`Error::Shape`] when there are more or fewer scores than pixels; the last frame is remembered then as it was.
    pub fn smooth(&mut self, score: &mut [f32], change: Option<f32>) -> Result<bool> {
        if score.len() != self.last.len() {
            return Err(Error::Shape {
                what: "number of scores",
                given: score.len().to_string(),
                expected: format!("that of {}", self.size),
            });
        }
        let large = change.is_some_and(|change| change.is_nan() || change > self.smoothing.reset_change);
        let goes_on = std::mem::replace(&mut self.seen, true) && !large;
        let weight = self.smoothing.weight;
        let portions = score.par_chunks_mut(PORTION).zip(self.last.par_chunks_mut(PORTION));
        portions.for_each(|(score, last)| {
            if !goes_on {
                last.copy_from_slice(score);
                return;
            }
            for (score, last) in score.iter_mut().zip(last) {
                let smoothed = weight * *score + (1.0 - weight) * *last;
                *score = if smoothed.is_finite() { smoothed } else { *score };
                *last = *score;
            }
        });
        Ok(goes_on)
    }

    /// Forgets the frames so far, where another scene begins.
    pub fn forget(&mut self) {
        self.seen = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PixelFormat;

    const SIZE: Size = Size::new(24, 50);

    fn change(pictures: &[Vec<u8>], format: PixelFormat) -> Vec<Option<f32>> {
        let mut change = PictureChange::default();
        let views = pictures.iter().map(|bytes| PictureView::packed(bytes, SIZE, format).unwrap());
        views.map(|picture| change.measure(&picture)).collect()
    }

    fn uniform(color: &[u8]) -> Vec<u8> {
        color.repeat(SIZE.pixels())
    }

    #[test]
    fn change_is_that_of_luminance() {
        let pictures = [uniform(&[10, 10, 10]), uniform(&[10, 10, 10]), uniform(&[110, 10, 10])];
        let found = change(&pictures, PixelFormat::Rgb8);
        assert_eq!(found[..2], [None, Some(0.0)]);
        assert!((found[2].unwrap() - 29.9).abs() < 1e-3, "{found:?}");
        let found = change(&pictures, PixelFormat::Bgr8);
        assert!((found[2].unwrap() - 11.4).abs() < 1e-3, "{found:?}");
        // The fourth byte is not seen.
        let found = change(&[uniform(&[1, 2, 3, 4]), uniform(&[1, 2, 3, 200])], PixelFormat::Bgra8);
        assert_eq!(found[1], Some(0.0));
    }

    #[test]
    fn an_object_that_moves_is_no_large_change() {
        let mut moved = uniform(&[10, 10, 10]);
        // A white square of a hundredth of the picture.
        for row in 4..7 {
            moved[3 * (row * SIZE.width + 20)..][..12].fill(255);
        }
        let found = change(&[uniform(&[10, 10, 10]), moved], PixelFormat::Rgb8)[1].unwrap();
        assert!(found > 0.5 && found < 5.0, "{found}");
        assert!(found < TemporalSmoothing::default().reset_change);
    }

    #[test]
    fn nothing_broken_lasts() {
        let smoothing = TemporalSmoothing { weight: 0.5, reset_change: 10.0 };
        let mut smoother = TemporalSmoother::new(smoothing, Size::new(1, 3)).unwrap();
        let mut next = |score: [f32; 3]| {
            let mut score = score;
            smoother.smooth(&mut score, None).unwrap();
            score
        };
        next([f32::NAN, f32::INFINITY, 4.0]);
        let second = next([2.0, 3.0, f32::NAN]);
        assert_eq!((second[0], second[1], second[2].is_nan()), (2.0, 3.0, true));
        assert_eq!(next([4.0, f32::NEG_INFINITY, 5.0]), [3.0, f32::NEG_INFINITY, 5.0]);
    }

    #[test]
    fn a_weight_of_one_changes_nothing() {
        let smoothing = TemporalSmoothing { weight: 1.0, ..TemporalSmoothing::default() };
        let mut smoother = TemporalSmoother::new(smoothing, Size::new(1, 2)).unwrap();
        for frame in [[0.1, -7.3], [1e30, 0.3], [-1e-30, 0.7]] {
            let mut score = frame;
            smoother.smooth(&mut score, Some(0.0)).unwrap();
            assert_eq!(score, frame);
        }
    }

    #[test]
    fn threads_change_nothing() {
        let size = Size::new(300, 400);
        let frames: Vec<Vec<f32>> =
            (1..4).map(|t| (0..size.pixels()).map(|i| (i * t % 977) as f32 / 31.0).collect()).collect();
        let smoothed = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut smoother = TemporalSmoother::new(TemporalSmoothing::default(), size).unwrap();
                let mut frames = frames.clone();
                frames.iter_mut().for_each(|frame| {
                    smoother.smooth(frame, None).unwrap();
                });
                frames
            })
        };
        assert_eq!(smoothed(1), smoothed(3));
    }

    #[test]
    fn wrong_numbers_are_refused() {
        let default = TemporalSmoothing::default();
        for weight in [0.0, -1.0, 1.5, f32::NAN] {
            assert!(TemporalSmoothing { weight, ..default }.validate().is_err());
        }
        for reset_change in [-1.0, f32::NAN] {
            assert!(TemporalSmoothing { reset_change, ..default }.validate().is_err());
        }
        let mut smoother = TemporalSmoother::new(default, SIZE).unwrap();
        let error = smoother.smooth(&mut [0.0; 3], None).unwrap_err().to_string();
        assert_eq!(error, "number of scores is 3: expected that of 24x50");
    }
}
