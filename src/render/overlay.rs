//! A heat map of scores blended onto the photograph.
//!
//! Low scores let the photograph through untouched and high ones cover most of it, so that what stands out is what
//! the method finds, in the place where a person can judge it.

use image::{Rgb, RgbImage};
use ndarray::ArrayView2;

use super::colormap::{NON_FINITE, ScoreRange, heat};
use crate::{Error, Result};

/// Up to this position of the range the photograph alone is seen.
const CLEAR_UP_TO: f32 = 0.15;
/// From this position on the heat map has its full opacity.
const FULL_FROM: f32 = 0.75;
/// Opacity of the heat map where it is strongest: edges of the photograph stay visible.
const FULL_OPACITY: f32 = 0.85;

/// The heat map of `scores` (H x W) blended onto a photograph of the same size. Scores that are not finite are
/// drawn opaque in [`NON_FINITE`].
///
/// # Errors
/// [`Error::Shape`] when photograph and scores differ in size.
pub fn overlay(photograph: &RgbImage, scores: ArrayView2<'_, f32>, range: ScoreRange) -> Result<RgbImage> {
    let (width, height) = photograph.dimensions();
    let (rows, columns) = scores.dim();
    if (rows, columns) != (height as usize, width as usize) {
        return Err(Error::Shape {
            what: "score map",
            given: format!("{rows} x {columns}"),
            expected: format!("the photograph's size, {height} x {width}"),
        });
    }
    let mut picture = photograph.clone();
    for (pixel, &score) in picture.pixels_mut().zip(scores) {
        *pixel = range.position(score).map_or(NON_FINITE, |position| blend(*pixel, position));
    }
    Ok(picture)
}

/// The colour that a position of the range gives to a pixel of this colour.
pub(crate) fn blend(below: Rgb<u8>, position: f32) -> Rgb<u8> {
    let opacity = opacity(position);
    let Rgb(above) = heat(position);
    Rgb(std::array::from_fn(|channel| {
        let (below, above) = (f32::from(below.0[channel]), f32::from(above[channel]));
        // Never negative, so that the cast rounds; `round` is a call into the C library on plain x86-64.
        (below + (above - below) * opacity + 0.5) as u8
    }))
}

/// Opacity at a position: nothing, then a smooth rise without a visible edge (a cubic that is flat at both ends).
fn opacity(position: f32) -> f32 {
    let rise = ((position - CLEAR_UP_TO) / (FULL_FROM - CLEAR_UP_TO)).clamp(0.0, 1.0);
    FULL_OPACITY * rise * rise * (3.0 - 2.0 * rise)
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;

    fn range() -> ScoreRange {
        ScoreRange::new(0.0, 1.0).unwrap()
    }

    #[test]
    fn low_scores_leave_the_photograph_and_high_ones_cover_it() {
        let photograph = RgbImage::from_pixel(4, 1, Rgb([10, 200, 90]));
        let picture =
            overlay(&photograph, array![[-5.0, 0.9 * CLEAR_UP_TO, 1.0, f32::NAN]].view(), range()).unwrap();
        assert_eq!(picture.get_pixel(0, 0), photograph.get_pixel(0, 0));
        assert_eq!(picture.get_pixel(1, 0), photograph.get_pixel(0, 0));
        for (got, (below, above)) in picture
            .get_pixel(2, 0)
            .0
            .into_iter()
            .zip(photograph.get_pixel(0, 0).0.into_iter().zip(heat(1.0).0))
        {
            let want = 0.15 * f32::from(below) + 0.85 * f32::from(above);
            assert!((f32::from(got) - want).abs() <= 0.5, "{got} {want}");
        }
        assert_eq!(*picture.get_pixel(3, 0), NON_FINITE);
    }

    #[test]
    fn opacity_never_falls() {
        let values: Vec<f32> = (0..=100).map(|i| opacity(i as f32 / 100.0)).collect();
        assert!(values.windows(2).all(|pair| pair[0] <= pair[1]));
        assert_eq!((values[0], values[100]), (0.0, FULL_OPACITY));
    }

    #[test]
    fn sizes_must_agree() {
        let error = overlay(&RgbImage::new(3, 2), Array2::zeros((3, 2)).view(), range()).unwrap_err();
        assert_eq!(error.to_string(), "score map is 3 x 2: expected the photograph's size, 2 x 3");
    }

    #[test]
    fn rows_stay_rows_in_any_memory_order() {
        let photograph = RgbImage::new(2, 2);
        let scores = array![[0.0, 1.0], [0.0, 0.0]];
        let transposed = array![[0.0, 0.0], [1.0, 0.0]];
        assert_eq!(
            overlay(&photograph, scores.view(), range()).unwrap(),
            overlay(&photograph, transposed.t(), range()).unwrap()
        );
    }
}
