//! Bilinear resampling along one axis: which samples each new one is made of, with which weights.
//!
//! A new sample is a weighted mean of the old ones under a triangle around its position. The triangle is one old sample
//! wide on either side, and as much wider as the axis shrinks, so that every old sample counts (antialiasing). Positions
//! are those of pixel centres (align_corners = false). This is what `interpolate(mode="bilinear", antialias=True)` of
//! PyTorch computes; here positions and weights are integers until the last step, so that each weight is rounded once,
//! whatever the size.

/// One axis. Every new sample has the same number of taps, padded with weights of 0.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Resampling {
    /// Taps of each new sample.
    pub taps: usize,
    /// The first tap of each new sample; all of its taps are old samples.
    pub first: Vec<u32>,
    /// Weights, `taps` for each new sample. They sum up to 1.
    pub weights: Vec<f32>,
}

impl Resampling {
    /// `old` samples become `new` ones; both at least 1 and below 2^31.
    pub fn new(old: usize, new: usize) -> Self {
        let taps = (0..new).map(|sample| taps_of(sample, old, new).count()).max().unwrap_or(1);
        let mut weights = Vec::with_capacity(taps * new);
        let mut first = Vec::with_capacity(new);
        for sample in 0..new {
            let total: i64 = taps_of(sample, old, new).map(|(_, height)| height).sum();
            let begin = taps_of(sample, old, new).next().map_or(0, |(tap, _)| tap).min(old - taps);
            first.push(begin as u32);
            let at = weights.len();
            weights.resize(at + taps, 0.0);
            for (tap, height) in taps_of(sample, old, new) {
                weights[at + tap - begin] = (height as f64 / total as f64) as f32;
            }
        }
        Self { taps, first, weights }
    }

    /// The first tap of a new sample and the weights from there on.
    #[inline(always)]
    pub fn at(&self, sample: usize) -> (usize, &[f32]) {
        (self.first[sample] as usize, &self.weights[sample * self.taps..][..self.taps])
    }
}

/// Old samples under the triangle around a new one, with the triangle's height there, as a multiple of what is the same for
/// all of them. In units of 1 / (2 `new`) of an old sample, the new one's centre is at (2 `sample` + 1) `old`, an old
/// one's at (2 `tap` + 1) `new`, and the triangle reaches twice the larger of `old` and `new`.
fn taps_of(sample: usize, old: usize, new: usize) -> impl Iterator<Item = (usize, i64)> {
    let (sample, old, new) = (sample as i64, old as i64, new as i64);
    let (centre, reach) = ((2 * sample + 1) * old, 2 * old.max(new));
    // The first tap whose centre lies behind the triangle's foot.
    let first = ((centre - reach + new) / (2 * new)).max(0);
    (first..old)
        .map(move |tap| (tap as usize, reach - ((2 * tap + 1) * new - centre).abs()))
        .skip_while(|&(_, height)| height <= 0)
        .take_while(|&(_, height)| height > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_that_keeps_its_length_is_left_alone() {
        let same = Resampling::new(7, 7);
        assert_eq!((same.taps, &same.weights[..]), (1, &[1.0; 7][..]));
        assert_eq!(same.first, [0, 1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn half_and_double_are_as_known() {
        let double = Resampling::new(2, 4);
        assert_eq!((double.taps, &double.first[..]), (2, &[0; 4][..]));
        assert_eq!(double.weights, [1.0, 0.0, 0.75, 0.25, 0.25, 0.75, 0.0, 1.0]);
        let half = Resampling::new(4, 2);
        // Heights 3, 3, 1 of a triangle that is four samples wide and cut at the edge.
        let [a, b] = [3.0 / 7.0, 1.0 / 7.0].map(|weight: f64| weight as f32);
        assert_eq!((half.taps, &half.first[..]), (3, &[0, 1][..]));
        assert_eq!(half.weights, [a, a, b, b, a, a]);
    }

    #[test]
    fn taps_lie_within_the_axis_and_weights_sum_up_to_one() {
        for (old, new) in
            [(1, 1), (1, 9), (9, 1), (2, 7), (7, 2), (100, 33), (33, 100), (2047, 2048), (5000, 3)]
        {
            let axis = Resampling::new(old, new);
            for sample in 0..new {
                let (first, weights) = axis.at(sample);
                assert!(first + axis.taps <= old, "{old} -> {new}, sample {sample}");
                let sum: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
                assert!((sum - 1.0).abs() < 1e-6, "{old} -> {new}, sample {sample}: {sum}");
            }
        }
    }
}
