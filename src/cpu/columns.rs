//! Where the columns of the output lie between those of the logits: the same for every row, and found once a frame.

use super::sampling;

/// Pixels of a quad that are computed together: upsampling is rarely by less.
pub(super) const QUAD: usize = 4;

/// Columns of the output that stay in the nearest cache together. No quad crosses their bounds.
pub(super) const BLOCK: usize = 256;

/// Up to [`QUAD`] neighbouring output columns in one cell, that is, between the same two columns of the logits.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Quad {
    /// The left of these two.
    pub cell: u32,
    /// First output column.
    pub start: u32,
    pub length: u32,
}

/// The columns of the output.
pub(super) struct Columns {
    /// Weights of the left and of the right neighbour: whole blocks of them, and [`QUAD`] more, since a quad takes what is behind its end.
    left: Vec<f32>,
    right: Vec<f32>,
    /// From left to right.
    quads: Vec<Quad>,
    /// First quad of each block, and the number of quads.
    blocks: Vec<usize>,
    width: usize,
}

impl Columns {
    /// For an output of up to `width` columns.
    pub(super) fn new(width: usize) -> Self {
        let weights = || vec![0.0; width.next_multiple_of(BLOCK) + QUAD];
        Self {
            left: weights(),
            right: weights(),
            quads: Vec::with_capacity(width),
            blocks: Vec::with_capacity(width.div_ceil(BLOCK) + 1),
            width,
        }
    }

    /// Places `width` columns between `input` ones. Allocates nothing.
    pub(super) fn place(&mut self, width: usize, input: usize, align_corners: bool) {
        self.width = width;
        self.quads.clear();
        self.blocks.clear();
        for x in 0..width {
            let sample = sampling::sample(x, width, input, align_corners);
            (self.left[x], self.right[x]) = (1.0 - sample.weight, sample.weight);
            if x % BLOCK == 0 {
                self.blocks.push(self.quads.len());
            }
            match self.quads.last_mut() {
                Some(quad) if quad.cell == sample.first && quad.length < QUAD as u32 && x % BLOCK != 0 => {
                    quad.length += 1;
                }
                _ => self.quads.push(Quad { cell: sample.first, start: x as u32, length: 1 }),
            }
        }
        self.blocks.push(self.quads.len());
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Weights of the left and of the right neighbours of the [`BLOCK`] columns from `x` on, which begins a block, and of [`QUAD`] more.
    #[inline(always)]
    pub(super) fn weights(&self, x: usize) -> Option<[&[f32; BLOCK + QUAD]; 2]> {
        Some([self.left[x..].first_chunk()?, self.right[x..].first_chunk()?])
    }

    /// Quads of the [`BLOCK`] columns from `x` on, which begins a block.
    pub(super) fn quads(&self, x: usize) -> &[Quad] {
        &self.quads[self.blocks[x / BLOCK]..self.blocks[x / BLOCK + 1]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quads_cover_every_column_once() {
        let mut columns = Columns::new(1030);
        for (input, width, align) in
            [(8, 64, false), (8, 64, true), (64, 64, false), (3, 50, true), (1, 7, false), (5, 1030, false)]
        {
            columns.place(width, input, align);
            let mut x = 0;
            for block in (0..width).step_by(BLOCK) {
                let quads = columns.quads(block);
                assert_eq!(quads[0].start as usize, block);
                for quad in quads {
                    assert!(quad.start as usize == x && (1..=QUAD).contains(&(quad.length as usize)));
                    for _ in 0..quad.length {
                        let sample = sampling::sample(x, width, input, align);
                        let [left, right] = columns.weights(block).unwrap().map(|weights| weights[x - block]);
                        assert_eq!((quad.cell, right), (sample.first, sample.weight));
                        assert_eq!(left, 1.0 - right);
                        x += 1;
                    }
                }
                assert_eq!(x, width.min(block + BLOCK));
            }
        }
    }
}
