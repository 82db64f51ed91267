//! Whether a peer computes what the engine computes.

use crate::drawn_logits::DrawnLogits;
use crate::{LogitsData, Params, Size};

/// How far apart two upsampled logits may be that a peer ranks the other way round: float32 rounding of sums of four products.
const TIE: f64 = 3e-4;

/// Largest difference of two scores that both were rounded to float32 along the way, as a part of the largest standardized score.
const ROUNDING: f64 = 6e-6;

/// Part of the pixels that must be left to compare.
const COMPARED: f64 = 0.9;

/// The engine's result for an input: what every peer must come to.
pub(super) struct Expected {
    pub size: Size,
    /// N x H x W, higher is more anomalous.
    pub score: Vec<f32>,
    /// N x H x W.
    pub prediction: Vec<u8>,
    /// The largest standardized score.
    pub scale: f64,
}

impl Expected {
    /// Why the peer's result is another one; `None` if it is not. Its scores have the official sign: high means normal.
    ///
    /// A prediction may differ only where the two largest logits are within rounding of each other. Scores are compared where no
    /// such pixel reaches: through mask, averages and taps of the blur.
    pub fn difference(&self, logits: &DrawnLogits, score: &[f32], prediction: &[u8]) -> Option<String> {
        if score.len() != self.score.len() || prediction.len() != self.prediction.len() {
            return Some(format!("its result has {} pixels instead of {}", score.len(), self.score.len()));
        }
        let other: Vec<usize> =
            (0..prediction.len()).filter(|&pixel| prediction[pixel] != self.prediction[pixel]).collect();
        let beyond = other.iter().filter(|&&pixel| {
            let [ours, theirs] = [self.prediction[pixel], prediction[pixel]];
            let gap = (self.logit(logits, ours, pixel) - self.logit(logits, theirs, pixel)).abs();
            gap.is_nan() || gap >= TIE
        });
        match beyond.count() {
            0 => {}
            pixels => return Some(format!("its prediction differs at {pixels} pixels beyond rounding")),
        }
        let compared = self.compared(&other);
        let share = compared.iter().filter(|&&compared| compared).count() as f64 / compared.len() as f64;
        if share < COMPARED {
            return Some(format!(
                "{} predictions at ties leave only {:.0} % of the pixels to compare",
                other.len(),
                100.0 * share
            ));
        }
        let pairs = self.score.iter().zip(score).zip(compared);
        let largest =
            pairs.filter(|(_, compared)| *compared).fold(0.0_f64, |largest, ((ours, theirs), _)| {
                let difference = (f64::from(*ours) + f64::from(*theirs)).abs();
                // What is not a number stays.
                if largest.is_nan() || difference <= largest { largest } else { difference }
            });
        let allowed = ROUNDING * self.scale.max(1.0);
        (largest.is_nan() || largest > allowed)
            .then(|| format!("its score differs by {largest:.3e}, allowed are {allowed:.3e}"))
    }

    /// Pixels that no pixel of `other` reaches.
    fn compared(&self, other: &[usize]) -> Vec<bool> {
        let Params { suppression, smoothing, .. } = Params::default();
        let averages =
            suppression.map_or(0, |stage| 1 + stage.reach() as usize + stage.iterations() as usize);
        let reach = averages + smoothing.map_or(0, |stage| stage.reach());
        let Size { height, width } = self.size;
        let mut compared = vec![true; self.score.len()];
        for &pixel in other {
            let (image, y, x) = self.place(pixel);
            let columns = x.saturating_sub(reach)..(x + reach + 1).min(width);
            for row in y.saturating_sub(reach)..(y + reach + 1).min(height) {
                let first = (image * height + row) * width;
                compared[first + columns.start..first + columns.end].fill(false);
            }
        }
        compared
    }

    /// Image, row and column.
    fn place(&self, pixel: usize) -> (usize, usize, usize) {
        let Size { height, width } = self.size;
        (pixel / width / height, pixel / width % height, pixel % width)
    }

    /// Logit of a class at a pixel of the result, upsampled bilinearly from centre to centre. NaN for a class that there is not.
    fn logit(&self, logits: &DrawnLogits, class: u8, pixel: usize) -> f64 {
        let (image, y, x) = self.place(pixel);
        let shape = logits.shape();
        if usize::from(class) >= shape.classes {
            return f64::NAN;
        }
        let (top, bottom, down) = neighbours(y, self.size.height, shape.size.height);
        let (left, right, across) = neighbours(x, self.size.width, shape.size.width);
        let plane = (image * shape.classes + usize::from(class)) * shape.size.pixels();
        let at = |y: usize, x: usize| element(logits, plane + y * shape.size.width + x);
        (1.0 - down) * ((1.0 - across) * at(top, left) + across * at(top, right))
            + down * ((1.0 - across) * at(bottom, left) + across * at(bottom, right))
    }
}

/// Both neighbours of a position along one axis, and the weight of the second.
fn neighbours(position: usize, length: usize, given: usize) -> (usize, usize, f64) {
    let source = ((position as f64 + 0.5) * given as f64 / length as f64 - 0.5).max(0.0);
    let first = (source as usize).min(given - 1);
    (first, (first + 1).min(given - 1), source - first as f64)
}

fn element(logits: &DrawnLogits, index: usize) -> f64 {
    match logits.logits().map(|logits| logits.data()) {
        Ok(LogitsData::F32(data)) => f64::from(data[index]),
        Ok(LogitsData::F16(data)) => f64::from(data[index]),
        Ok(LogitsData::BF16(data)) => f64::from(data[index]),
        Err(_) => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Capacity, Device, ElementType, Engine, Layout, LogitsShape};

    const SIZE: Size = Size::new(96, 160);

    fn expected(from: usize) -> (DrawnLogits, Expected) {
        let shape = LogitsShape::new(1, 5, SIZE.height / from, SIZE.width / from).unwrap();
        let logits = DrawnLogits::new(3, shape, ElementType::F32, Layout::Nchw).unwrap();
        let statistics = logits.statistics(SIZE).unwrap();
        let capacity = Capacity::of(shape, SIZE);
        let mut engine = Engine::new(Device::Cpu, Params::default(), Some(&statistics), capacity).unwrap();
        let map = engine.submit(&logits.logits().unwrap(), SIZE).unwrap();
        let (score, prediction) =
            (map.score.iter().copied().collect(), map.prediction.iter().copied().collect());
        (logits, Expected { size: SIZE, score, prediction, scale: 4.0 })
    }

    /// The result as a peer would give it.
    fn theirs(expected: &Expected) -> (Vec<f32>, Vec<u8>) {
        (expected.score.iter().map(|score| -score).collect(), expected.prediction.clone())
    }

    #[test]
    fn the_same_result_agrees() {
        let (logits, expected) = expected(4);
        let (mut score, prediction) = theirs(&expected);
        assert_eq!(expected.difference(&logits, &score, &prediction), None);
        score[77] += 1e-5;
        assert_eq!(expected.difference(&logits, &score, &prediction), None);
    }

    #[test]
    fn another_score_is_a_difference() {
        let (logits, expected) = expected(1);
        for wrong in [1e-4, f32::NAN, f32::INFINITY] {
            let (mut score, prediction) = theirs(&expected);
            score[77] += wrong;
            let difference = expected.difference(&logits, &score, &prediction).unwrap();
            assert!(difference.contains("score differs"), "{difference}");
        }
        let (score, prediction) = theirs(&expected);
        assert!(expected.difference(&logits, &score[1..], &prediction[1..]).is_some());
    }

    #[test]
    fn another_class_is_a_difference_except_at_a_tie() {
        for from in [1, 4] {
            let (logits, expected) = expected(from);
            let (score, mut prediction) = theirs(&expected);
            prediction[4000] = (prediction[4000] + 1) % 5;
            let difference = expected.difference(&logits, &score, &prediction).unwrap();
            assert!(difference.contains("differs at 1 pixels"), "{difference}");
            prediction[4000] = 200;
            assert!(expected.difference(&logits, &score, &prediction).is_some());
        }
    }

    #[test]
    fn upsampled_logits_are_those_of_the_reference() {
        let (logits, expected) = expected(4);
        let shape = logits.shape();
        let given = (0..shape.elements()).map(|index| element(&logits, index)).collect();
        let given =
            ndarray::Array4::from_shape_vec((1, 5, shape.size.height, shape.size.width), given).unwrap();
        let want = crate::reference::upsample(given.view(), SIZE, false);
        for pixel in (0..SIZE.pixels()).step_by(7) {
            let (_, y, x) = expected.place(pixel);
            for class in 0..5 {
                let found = expected.logit(&logits, class, pixel);
                assert!((found - want[(0, usize::from(class), y, x)]).abs() < 1e-9, "{class} {pixel}");
            }
        }
    }

    #[test]
    fn scores_near_a_tie_are_not_compared() {
        let (_, expected) = expected(1);
        let compared = expected.compared(&[50 * SIZE.width + 80]);
        let reach = 26;
        let square = (2 * reach + 1) * (2 * reach + 1);
        assert_eq!(compared.iter().filter(|compared| !**compared).count(), square);
        assert!(compared[50 * SIZE.width + 80 - reach - 1] && !compared[50 * SIZE.width + 80 - reach]);
    }
}
