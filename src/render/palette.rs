//! Colours of predictions: the 19 Cityscapes classes, and distinct ones beyond them.

use image::{Rgb, RgbImage};
use ndarray::ArrayView2;

use super::picture_of;
use crate::Result;
use crate::cityscapes::CLASSES;
use crate::metrics::IGNORED_TRAIN_ID;

/// Colour of a train id: Cityscapes' own for its classes, black for 255 (ignored). Ids between, which networks
/// trained on other classes predict, get hues that lie far apart for neighbouring ids.
pub fn color_of(train_id: u8) -> Rgb<u8> {
    if train_id == IGNORED_TRAIN_ID {
        return Rgb([0; 3]);
    }
    match CLASSES.get(usize::from(train_id)) {
        Some(class) => Rgb(class.color),
        None => spread_hue(train_id),
    }
}

/// A hue that advances by the golden section of the circle from id to id, at one of three brightnesses.
fn spread_hue(train_id: u8) -> Rgb<u8> {
    const GOLDEN_SECTION: f32 = 0.618_034;
    let hue = (f32::from(train_id) * GOLDEN_SECTION).fract() * 6.0;
    let value = [235.0, 190.0, 150.0][usize::from(train_id) % 3];
    // Distance of the hue from each primary on a circle of six.
    let channel = |primary: f32| {
        let distance = (hue - primary).abs();
        let distance = distance.min(6.0 - distance);
        value * (0.2 + 0.8 * (2.0 - distance).clamp(0.0, 1.0))
    };
    Rgb([channel(0.0), channel(2.0), channel(4.0)].map(|channel| channel.round() as u8))
}

/// A prediction (H x W train ids) in colours.
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) for a side of 0 or beyond what a picture can have.
pub fn colorize(prediction: ArrayView2<'_, u8>) -> Result<RgbImage> {
    let colors: Vec<Rgb<u8>> = (0..=u8::MAX).map(color_of).collect();
    picture_of("prediction", prediction, |&train_id| colors[usize::from(train_id)])
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn every_train_id_has_a_color_of_its_own() {
        let mut colors: Vec<[u8; 3]> = (0..=u8::MAX).map(|id| color_of(id).0).collect();
        colors.sort_unstable();
        colors.dedup();
        assert!(colors.len() >= 250, "{} of 256", colors.len());
        let first: std::collections::HashSet<_> = (0..64).map(|id| color_of(id).0).collect();
        assert_eq!(first.len(), 64);
    }

    #[test]
    fn prediction_rows_become_picture_rows() {
        let picture = colorize(array![[0, 10, 255], [13, 0, 0]].view()).unwrap();
        assert_eq!(picture.dimensions(), (3, 2));
        assert_eq!(picture.get_pixel(1, 0).0, [70, 130, 180]);
        assert_eq!(picture.get_pixel(2, 0).0, [0, 0, 0]);
        assert_eq!(picture.get_pixel(0, 1).0, [0, 0, 142]);
    }
}
