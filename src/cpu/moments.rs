//! Max logits become scores: each class's mean is subtracted, and the difference divided by its standard deviation.

use crate::statistics::Standardization;

/// Pixels that mostly have one class.
const NEIGHBOURS: usize = 32;

/// Pixels whose moments are laid out before they are used: a vector that is loaded right behind the single stores that made it
/// waits for each of them.
const BLOCK: usize = 8 * NEIGHBOURS;

/// What every prediction's max logit is standardized with: an entry for each number that a `u8` can be, so that looking one up
/// needs no check.
pub(super) struct Moments {
    mean: [f32; 256],
    deviation: [f32; 256],
}

impl Moments {
    pub fn new(standardization: &Standardization) -> Self {
        let mut moments = Self::NEUTRAL;
        let Standardization { mean, standard_deviation, .. } = standardization;
        moments.mean.iter_mut().zip(mean).for_each(|(to, from)| *to = *from);
        moments.deviation.iter_mut().zip(standard_deviation).for_each(|(to, from)| *to = *from);
        moments
    }

    /// Those that change nothing, for scores that are not standardized.
    pub const NEUTRAL: Self = Self { mean: [0.0; 256], deviation: [1.0; 256] };

    /// Mean and standard deviation of a class.
    #[inline(always)]
    pub fn of(&self, class: u8) -> (f32, f32) {
        (self.mean[usize::from(class)], self.deviation[usize::from(class)])
    }

    /// Standardizes max logits in place.
    #[inline(always)]
    pub fn standardize(&self, score: &mut [f32], prediction: &[u8]) {
        let (mut means, mut deviations) = ([0.0; BLOCK], [1.0; BLOCK]);
        for (score, prediction) in score.chunks_mut(BLOCK).zip(prediction.chunks(BLOCK)) {
            let outs = means.as_chunks_mut().0.iter_mut().zip(deviations.as_chunks_mut().0);
            for (classes, (means, deviations)) in prediction.chunks(NEIGHBOURS).zip(outs) {
                self.lay_out(classes, means, deviations);
            }
            for ((score, mean), deviation) in score.iter_mut().zip(&means).zip(&deviations) {
                *score = (*score - mean) / deviation;
            }
        }
    }

    /// Each pixel's moments.
    #[inline(always)]
    fn lay_out(&self, classes: &[u8], means: &mut [f32; NEIGHBOURS], deviations: &mut [f32; NEIGHBOURS]) {
        let own = usize::from(classes[0]);
        let differs = classes.iter().fold(0, |differs, class| differs | (class ^ classes[0]));
        if differs == 0 {
            *means = [self.mean[own]; NEIGHBOURS];
            *deviations = [self.deviation[own]; NEIGHBOURS];
            return;
        }
        for ((mean, deviation), class) in means.iter_mut().zip(deviations).zip(classes) {
            *mean = self.mean[usize::from(*class)];
            *deviation = self.deviation[usize::from(*class)];
        }
    }
}
