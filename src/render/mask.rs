//! Masks in black and white: pixels found unexpected, and pixels labelled so.

use image::{GrayImage, Luma};
use ndarray::ArrayView2;

use super::picture_of;
use crate::Result;
use crate::metrics::{NORMAL, UNEXPECTED};

/// White where the anomaly score (H x W) is at or above `threshold`, black elsewhere. A NaN score is black: it is
/// not above anything.
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) for a side of 0 or beyond what a picture can have.
pub fn unexpected(scores: ArrayView2<'_, f32>, threshold: f32) -> Result<GrayImage> {
    picture_of("score map", scores, |&score| Luma([if score >= threshold { 255 } else { 0 }]))
}

/// Labels (H x W): white where unexpected (1), black where normal (0), grey where ignored (any other label).
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) for a side of 0 or beyond what a picture can have.
pub fn labelled(labels: ArrayView2<'_, u8>) -> Result<GrayImage> {
    picture_of("label map", labels, |&label| {
        Luma([match label {
            UNEXPECTED => 255,
            NORMAL => 0,
            _ => 96,
        }])
    })
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn threshold_itself_is_unexpected() {
        let scores = array![[0.4, 0.5, f32::NAN], [f32::INFINITY, f32::NEG_INFINITY, 0.6]];
        let mask = unexpected(scores.view(), 0.5).unwrap();
        assert_eq!(mask.as_raw(), &[0, 255, 0, 255, 0, 255]);
    }

    #[test]
    fn labels_have_three_shades() {
        let mask = labelled(array![[0], [1], [255], [2]].view()).unwrap();
        assert_eq!(mask.dimensions(), (1, 4));
        assert_eq!(mask.as_raw(), &[0, 255, 96, 96]);
    }
}
