//! From scores to colours: a range of scores, and a heat map that is uniform to the eye.
//!
//! The heat map runs from near-black indigo to bright yellow through anchor colours of our own ([`ANCHORS`]). Between
//! anchors it is straight in Oklab (Ottosson 2020), a colour space whose distances follow perceived difference, and
//! its 256 entries are spaced evenly along that path: equal steps of score look like equal steps of colour.
//! Lightness rises all the way, so that the map survives greyscale print and colour-blind eyes.

use std::sync::LazyLock;

use image::{Rgb, RgbImage};
use ndarray::ArrayView2;

use super::picture_of;
use crate::{Error, Result};

/// The colours that the heat map passes through, from the lowest score to the highest (sRGB): near-black indigo,
/// violet, raspberry, vermilion, amber, yellow.
pub const ANCHORS: [[u8; 3]; 6] =
    [[9, 7, 32], [64, 22, 120], [158, 38, 112], [228, 86, 58], [249, 168, 60], [252, 240, 112]];

/// Colour of scores that are NaN or infinite: turquoise, which the heat map does not contain.
pub const NON_FINITE: Rgb<u8> = Rgb([0, 225, 205]);

/// The lowest share of scores that [`ScoreRange::robust`] leaves out.
const ROBUST_LOW: f64 = 0.01;
/// The share of scores that [`ScoreRange::robust`] covers from below. Unexpected objects are small, so that far
/// less is cut at the top than at the bottom.
const ROBUST_HIGH: f64 = 0.995;

static TABLE: LazyLock<[Rgb<u8>; 256]> = LazyLock::new(table);

/// The scores that a picture's colours span: `low` gets the darkest colour, `high` the brightest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScoreRange {
    low: f32,
    high: f32,
}

impl ScoreRange {
    /// A given range, so that several pictures can share one.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] unless both ends are finite and `low < high`.
    pub fn new(low: f32, high: f32) -> Result<Self> {
        if low.is_finite() && high.is_finite() && low < high {
            return Ok(Self { low, high });
        }
        Err(Error::InvalidParameter {
            field: "score range",
            given: format!("{low} to {high}"),
            expected: "two finite numbers, the lower one first",
        })
    }

    /// From the 1 % to the 99.5 % percentile of the finite scores (nearest rank), so that a few extreme pixels do
    /// not take all the colours. For one range over several maps, chain their scores.
    ///
    /// Where these percentiles are equal the range spans all finite scores; where these are equal too (a constant
    /// map), it begins there and is 1 wide; without any finite score it is 0 to 1.
    pub fn robust(scores: impl IntoIterator<Item = f32>) -> Self {
        Self::between(scores, ROBUST_LOW)
    }

    /// As [`ScoreRange::robust`], from the median on: the less anomalous half of the pixels gets no colour of its own.
    pub fn upper_half(scores: impl IntoIterator<Item = f32>) -> Self {
        Self::between(scores, 0.5)
    }

    fn between(scores: impl IntoIterator<Item = f32>, low_share: f64) -> Self {
        let mut finite: Vec<f32> = scores.into_iter().filter(|score| score.is_finite()).collect();
        let Some(last) = finite.len().checked_sub(1) else {
            return Self { low: 0.0, high: 1.0 };
        };
        let mut at = |share: f64| {
            let rank = (share * last as f64).round() as usize;
            *finite.select_nth_unstable_by(rank, f32::total_cmp).1
        };
        let ends = [(at(low_share), at(ROBUST_HIGH)), (at(0.0), at(1.0))];
        let constant = ends[1].0;
        ends.into_iter()
            .map(|(low, high)| Self { low, high })
            .find(|range| range.low < range.high)
            .unwrap_or_else(|| Self::starting_at(constant))
    }

    /// The range of a constant map: 1 wide, or wider where float32 has no such neighbour.
    fn starting_at(low: f32) -> Self {
        let high = low + 1.0_f32.max(low.abs() * f32::EPSILON * 2.0);
        if high.is_finite() { Self { low, high } } else { Self { low: low / 2.0, high: low } }
    }

    /// The score of the darkest colour.
    pub fn low(self) -> f32 {
        self.low
    }

    /// The score of the brightest colour.
    pub fn high(self) -> f32 {
        self.high
    }

    /// Where a finite score lies in the range: 0 at `low` and below, 1 at `high` and above. `None` for NaN and
    /// infinite scores.
    pub fn position(self, score: f32) -> Option<f32> {
        // The width of the range may exceed float32.
        let (low, high) = (f64::from(self.low), f64::from(self.high));
        score.is_finite().then(|| ((f64::from(score) - low) / (high - low)).clamp(0.0, 1.0) as f32)
    }
}

/// Colour at a position of the heat map, from 0.0 (lowest score) to 1.0 (highest).
pub fn heat(position: f32) -> Rgb<u8> {
    // Rounds; the cast saturates, so that what is out of range ends at the nearest entry, and NaN at the first.
    TABLE[usize::from((position * 255.0 + 0.5) as u8)]
}

/// A score map (H x W) as a heat map. Scores that are not finite are [`NON_FINITE`].
///
/// # Errors
/// [`Error::Shape`] for a side of 0 or beyond what a picture can have.
pub fn heat_map(scores: ArrayView2<'_, f32>, range: ScoreRange) -> Result<RgbImage> {
    picture_of("score map", scores, |&score| range.position(score).map_or(NON_FINITE, heat))
}

/// 256 colours at equal distances along the path through the anchors.
fn table() -> [Rgb<u8>; 256] {
    let anchors = ANCHORS.map(to_oklab);
    let mut travelled = [0.0; ANCHORS.len()];
    for i in 1..anchors.len() {
        travelled[i] = travelled[i - 1] + distance(anchors[i - 1], anchors[i]);
    }
    let length = travelled[anchors.len() - 1];
    std::array::from_fn(|entry| {
        let target = length * entry as f64 / 255.0;
        let next = travelled.partition_point(|&t| t < target).clamp(1, anchors.len() - 1);
        let part = (target - travelled[next - 1]) / (travelled[next] - travelled[next - 1]);
        let (a, b) = (anchors[next - 1], anchors[next]);
        from_oklab(std::array::from_fn(|axis| a[axis] + (b[axis] - a[axis]) * part))
    })
}

fn distance(a: [f64; 3], b: [f64; 3]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt()
}

/// sRGB to Oklab (lightness, green-red, blue-yellow), with the matrices of its author's page.
fn to_oklab(color: [u8; 3]) -> [f64; 3] {
    let [r, g, b] = color.map(|channel| {
        let channel = f64::from(channel) / 255.0;
        if channel <= 0.040_45 { channel / 12.92 } else { ((channel + 0.055) / 1.055).powf(2.4) }
    });
    let l = (0.412_221_470_8 * r + 0.536_332_536_3 * g + 0.051_445_992_9 * b).cbrt();
    let m = (0.211_903_498_2 * r + 0.680_699_545_1 * g + 0.107_396_956_6 * b).cbrt();
    let s = (0.088_302_461_9 * r + 0.281_718_837_6 * g + 0.629_978_700_5 * b).cbrt();
    [
        0.210_454_255_3 * l + 0.793_617_785_0 * m - 0.004_072_046_8 * s,
        1.977_998_495_1 * l - 2.428_592_205_0 * m + 0.450_593_709_9 * s,
        0.025_904_037_1 * l + 0.782_771_766_2 * m - 0.808_675_766_0 * s,
    ]
}

/// The inverse of [`to_oklab`], rounded to 8 bits.
fn from_oklab([lightness, green_red, blue_yellow]: [f64; 3]) -> Rgb<u8> {
    let l = (lightness + 0.396_337_777_4 * green_red + 0.215_803_757_3 * blue_yellow).powi(3);
    let m = (lightness - 0.105_561_345_8 * green_red - 0.063_854_172_8 * blue_yellow).powi(3);
    let s = (lightness - 0.089_484_177_5 * green_red - 1.291_485_548_0 * blue_yellow).powi(3);
    let linear = [
        4.076_741_662_1 * l - 3.307_711_591_3 * m + 0.230_969_929_2 * s,
        -1.268_438_004_6 * l + 2.609_757_401_1 * m - 0.341_319_396_5 * s,
        -0.004_196_086_3 * l - 0.703_418_614_7 * m + 1.707_614_701_0 * s,
    ];
    Rgb(linear.map(|channel| {
        let channel = channel.clamp(0.0, 1.0);
        let srgb =
            if channel <= 0.003_130_8 { channel * 12.92 } else { 1.055 * channel.powf(1.0 / 2.4) - 0.055 };
        (srgb * 255.0).round() as u8
    }))
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn oklab_comes_back() {
        for color in [[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255], [12, 200, 99]] {
            assert_eq!(from_oklab(to_oklab(color)).0, color);
        }
        let white = to_oklab([255; 3]);
        assert!((white[0] - 1.0).abs() < 1e-6 && white[1].abs() < 1e-6 && white[2].abs() < 1e-6);
    }

    #[test]
    fn heat_rises_in_lightness_by_equal_steps() {
        let lab: Vec<[f64; 3]> = (0..256).map(|i| to_oklab(heat(i as f32 / 255.0).0)).collect();
        // Over 15 entries, so that the rounding to 8 bits does not show.
        let steps: Vec<f64> = (15..256).map(|i| distance(lab[i], lab[i - 15])).collect();
        let mean = steps.iter().sum::<f64>() / steps.len() as f64;
        for (i, step) in steps.iter().enumerate() {
            assert!((step / mean - 1.0).abs() < 0.2, "{i}: {step} of {mean}");
            assert!(lab[i + 15][0] > lab[i][0] + 0.01, "{i}");
        }
        assert_eq!([heat(0.0).0, heat(1.0).0], [ANCHORS[0], ANCHORS[5]]);
    }

    #[test]
    fn non_finite_scores_look_like_no_other() {
        let far = (0..256).map(|i| distance(to_oklab(NON_FINITE.0), to_oklab(heat(i as f32 / 255.0).0)));
        assert!(far.fold(f64::INFINITY, f64::min) > 0.2);
        let range = ScoreRange::new(0.0, 1.0).unwrap();
        let scores = array![[0.0, f32::NAN], [f32::INFINITY, 1.0], [f32::NEG_INFINITY, 9.0]];
        let picture = heat_map(scores.view(), range).unwrap();
        let pixels: Vec<[u8; 3]> = picture.pixels().map(|pixel| pixel.0).collect();
        let [dark, bright, broken] = [heat(0.0).0, heat(1.0).0, NON_FINITE.0];
        assert_eq!(pixels, [dark, broken, broken, bright, broken, bright]);
    }

    #[test]
    fn robust_range_leaves_out_the_extremes() {
        let scores = (0..=1000).map(|i| i as f32).chain([f32::NAN, f32::INFINITY]);
        assert_eq!(ScoreRange::robust(scores), ScoreRange { low: 10.0, high: 995.0 });
    }

    #[test]
    fn robust_range_is_never_empty() {
        for (scores, low, high) in [
            (vec![], 0.0, 1.0),
            (vec![f32::NAN, f32::INFINITY], 0.0, 1.0),
            (vec![4.0; 9], 4.0, 5.0),
            (vec![1e30; 2], 1e30, 1e30 * (1.0 + 2.0 * f32::EPSILON)),
            (vec![f32::MAX; 2], f32::MAX / 2.0, f32::MAX),
            ([vec![0.0; 9999], vec![7.0]].concat(), 0.0, 7.0),
        ] {
            let range = ScoreRange::robust(scores);
            assert_eq!((range.low(), range.high()), (low, high));
        }
    }

    #[test]
    fn positions_hold_at_the_widest_range() {
        let range = ScoreRange::new(f32::MIN, f32::MAX).unwrap();
        assert_eq!([range.position(f32::MIN), range.position(f32::MAX)], [Some(0.0), Some(1.0)]);
        assert_eq!(range.position(0.0), Some(0.5));
    }

    #[test]
    fn range_is_checked() {
        for (low, high) in [(1.0, 1.0), (2.0, 1.0), (f32::NAN, 1.0), (0.0, f32::INFINITY)] {
            assert!(matches!(ScoreRange::new(low, high), Err(Error::InvalidParameter { .. })));
        }
    }
}
