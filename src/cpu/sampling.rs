//! Where an output pixel lies between the pixels of smaller (or larger) logits, along one axis.
//!
//! Positions are rational numbers with small denominators, so they are computed in integers: neighbour and remainder
//! are exact for any size, and the weight is rounded once. `align_corners = true`: `dst * (in - 1) / (out - 1)`;
//! `false`: `(dst + 1/2) * in / out - 1/2`, clamped below at 0 (SPEC section 1).

/// Both neighbours of an output position along one axis, and the weight of the second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Sample {
    pub first: u32,
    pub second: u32,
    pub weight: f32,
}

/// The neighbours of output `position` when `input` samples become `output` samples.
pub(crate) fn sample(position: usize, output: usize, input: usize, align_corners: bool) -> Sample {
    let (position, outputs, inputs) = (position as u128, output as u128, input as u128);
    let (numerator, denominator) = if align_corners {
        (position * (inputs - 1), (outputs - 1).max(1))
    } else {
        (((2 * position + 1) * inputs).saturating_sub(outputs), 2 * outputs)
    };
    // With one output sample, position is 0 and so is the source.
    let first = (numerator / denominator).min(inputs - 1);
    let remainder = numerator - first * denominator;
    Sample {
        first: first as u32,
        second: (first + 1).min(inputs - 1) as u32,
        weight: (remainder as f64 / denominator as f64) as f32,
    }
}

/// Fills one [`Sample`] an output position.
pub(crate) fn fill(samples: &mut [Sample], input: usize, align_corners: bool) {
    let output = samples.len();
    for (position, entry) in samples.iter_mut().enumerate() {
        *entry = sample(position, output, input, align_corners);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corners_fall_onto_corners() {
        for (input, output) in [(1, 1), (1, 7), (5, 5), (7, 56), (9, 4), (256, 1024)] {
            let at = |position| sample(position, output, input, true);
            assert_eq!((at(0).first, at(0).weight), (0, 0.0));
            if output > 1 {
                assert_eq!((at(output - 1).first, at(output - 1).weight), (input as u32 - 1, 0.0));
            }
        }
    }

    #[test]
    fn half_pixel_positions() {
        let at = |position| sample(position, 8, 4, false);
        assert_eq!(at(0), Sample { first: 0, second: 1, weight: 0.0 });
        assert_eq!(at(1), Sample { first: 0, second: 1, weight: 0.25 });
        assert_eq!(at(2), Sample { first: 0, second: 1, weight: 0.75 });
        assert_eq!(at(7), Sample { first: 3, second: 3, weight: 0.25 });
    }
}
