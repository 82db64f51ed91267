//! Where the columns of the output lie between those of the logits: the same for every row, and found once a frame.

use super::sampling::{self, Sample};

/// Output columns that lie in one cell, that is, between the same two columns of the logits.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Run {
    /// The left of these two.
    pub cell: usize,
    /// First output column of the run, and the one after its last.
    pub start: usize,
    pub end: usize,
}

/// The columns of the output.
pub(super) struct Columns {
    samples: Vec<Sample>,
    /// Weights of the left and of the right neighbour.
    left: Vec<f32>,
    right: Vec<f32>,
    runs: Vec<Run>,
    width: usize,
}

impl Columns {
    /// For an output of up to `width` columns.
    pub(super) fn new(width: usize) -> Self {
        let weights = || vec![0.0; width];
        let runs = Vec::with_capacity(width);
        Self { samples: vec![Sample::default(); width], left: weights(), right: weights(), runs, width }
    }

    /// Places `width` columns between `input` ones. Allocates nothing.
    pub(super) fn place(&mut self, width: usize, input: usize, align_corners: bool) {
        self.width = width;
        sampling::fill(&mut self.samples[..width], input, align_corners);
        self.runs.clear();
        for (x, sample) in self.samples[..width].iter().enumerate() {
            (self.left[x], self.right[x]) = (1.0 - sample.weight, sample.weight);
            let cell = sample.first as usize;
            match self.runs.last_mut() {
                Some(run) if run.cell == cell => run.end = x + 1,
                _ => self.runs.push(Run { cell, start: x, end: x + 1 }),
            }
        }
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn samples(&self) -> &[Sample] {
        &self.samples[..self.width]
    }

    /// Weights of the left neighbours.
    pub(super) fn left(&self) -> &[f32] {
        &self.left[..self.width]
    }

    /// Weights of the right neighbours.
    pub(super) fn right(&self) -> &[f32] {
        &self.right[..self.width]
    }

    /// The runs, from left to right.
    pub(super) fn runs(&self) -> &[Run] {
        &self.runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_cover_every_column_once() {
        let mut columns = Columns::new(64);
        for (input, width, align) in
            [(8, 64, false), (8, 64, true), (64, 64, false), (3, 50, true), (1, 7, false)]
        {
            columns.place(width, input, align);
            assert_eq!(columns.runs()[0].start, 0);
            assert!(columns.runs().windows(2).all(|pair| pair[0].end == pair[1].start));
            assert_eq!(columns.runs().last().map(|run| run.end), Some(width));
            for run in columns.runs() {
                for x in run.start..run.end {
                    assert_eq!(columns.samples()[x].first as usize, run.cell);
                    assert_eq!(columns.right()[x], columns.samples()[x].weight);
                    assert_eq!(columns.left()[x], 1.0 - columns.right()[x]);
                }
            }
        }
    }
}
