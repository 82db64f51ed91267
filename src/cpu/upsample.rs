//! Max logits of upsampled pixels, without interpolating every class ([`cells`](super::cells)).
//!
//! The output rows between two rows of the logits are done together, a block of columns at a time. What they have in common is laid out pixel
//! by pixel first: the winner's logits at the corners of the pixel's cell, its class, and what it is standardized with. Then
//! a row is one loop over vectors, wherever the cells lie. Where several classes can win in a cell, its pixels are done
//! again, candidate by candidate.

use super::cells::{Cells, Planes, SourceRow, WORD};
use super::columns::{BLOCK, Columns, QUAD, Quad};
use super::moments::Moments;
use super::prefetch;
use super::sampling::Sample;
use super::standardize::Task;
use crate::logits::LogitsData;

/// Scratch memory of one lane.
pub(super) struct Scratch {
    upper: SourceRow,
    lower: SourceRow,
    cells: Cells,
    /// A logit of these rows is not finite.
    broken: bool,
    block: Box<Block>,
}

impl Scratch {
    /// For logits of up to so many classes and columns.
    pub fn new(classes: usize, width: usize) -> Self {
        Self {
            upper: SourceRow::new(classes, width),
            lower: SourceRow::new(classes, width),
            cells: Cells::new(classes, width),
            broken: false,
            block: Box::new(Block::new()),
        }
    }

    /// Forgets the rows of the image before.
    pub fn forget(&mut self) {
        self.upper.forget();
        self.lower.forget();
    }

    #[inline(always)]
    fn load(&mut self, task: &Task<'_>, first: usize, second: usize) {
        if self.upper.is(first) && self.lower.is(second) {
            return;
        }
        if self.lower.is(first) {
            std::mem::swap(&mut self.upper, &mut self.lower);
        }
        self.upper.load(task, first);
        self.lower.load(task, second);
        self.broken = !self.cells.find(task, &self.upper, &self.lower);
    }
}

/// Scores as many of the first rows as lie between the same two rows of the logits, and tells how many. None when a logit that they depend on
/// is not finite; nothing is written then.
#[inline(always)]
pub(super) fn rows(
    task: &Task<'_>,
    scratch: &mut Scratch,
    rows: &[Sample],
    columns: &Columns,
    score: &mut [f32],
    prediction: &mut [u8],
) -> usize {
    let Some(&Sample { first, second, .. }) = rows.first() else { return 0 };
    scratch.load(task, first as usize, second as usize);
    if scratch.broken {
        return 0;
    }
    let together = rows.iter().take_while(|row| row.first == first && row.second == second).count();
    let rows = &rows[..together];
    let Scratch { upper, lower, cells, block, .. } = scratch;
    let (width, moments, size) = (columns.width(), task.moments(), task.logits.shape().size);
    let planes = [upper.planes(size.width), lower.planes(size.width)];
    for from in (0..width).step_by(BLOCK) {
        let (count, quads) = ((width - from).min(BLOCK), columns.quads(from));
        block.lay_out(
            (upper.first(size.width), lower.first(size.width)),
            upper.best(size.width),
            quads,
            moments,
        );
        let (left, right) = (&columns.left()[from..][..count], &columns.right()[from..][..count]);
        ask_for_next_row(task, second as usize + 1, quads);
        for (row, at) in rows.iter().enumerate() {
            let pixels = row * width + from..row * width + from + count;
            block.blend(at.weight, left, right, &mut score[pixels.clone()]);
            prediction[pixels].copy_from_slice(&block.class[..count]);
        }
        for quad in quads {
            if !cells.has_several(quad.cell as usize) {
                continue;
            }
            let contest = Contest { cells, planes, columns, quad };
            for (row, at) in rows.iter().enumerate() {
                let start = row * width + quad.start as usize;
                contest.decide(at.weight, moments, &mut score[start..], &mut prediction[start..]);
            }
        }
    }
    together
}

/// Asks for the part of a row that comes next which lies below these quads.
#[inline(always)]
fn ask_for_next_row(task: &Task<'_>, row: usize, quads: &[Quad]) {
    match task.logits.data() {
        LogitsData::F32(data) => ask_for(data, task, row, quads),
        LogitsData::F16(data) => ask_for(data, task, row, quads),
        LogitsData::BF16(data) => ask_for(data, task, row, quads),
    }
}

#[inline(always)]
fn ask_for<T>(data: &[T], task: &Task<'_>, row: usize, quads: &[Quad]) {
    let (shape, [_, class_stride, row_stride, stride]) = (task.logits.shape(), task.logits.strides());
    let (Some(first), Some(last)) = (quads.first(), quads.last()) else { return };
    if row >= shape.size.height || stride != 1 {
        return;
    }
    let start = row * row_stride + first.cell as usize;
    for class in 0..shape.classes {
        prefetch::all(&data[class * class_stride + start..][..(last.cell - first.cell) as usize + 1]);
    }
}

/// What the rows have in common, for each pixel of a block, and [`QUAD`] more: a quad may write beyond its end, over what follows.
struct Block {
    /// Logits of the winner at the corners of the pixel's cell.
    upper_left: [f32; BLOCK + QUAD],
    upper_right: [f32; BLOCK + QUAD],
    lower_left: [f32; BLOCK + QUAD],
    lower_right: [f32; BLOCK + QUAD],
    /// What it is standardized with, and its class.
    mean: [f32; BLOCK + QUAD],
    deviation: [f32; BLOCK + QUAD],
    class: [u8; BLOCK + QUAD],
}

impl Block {
    fn new() -> Self {
        let zeros = [0.0; BLOCK + QUAD];
        Self {
            upper_left: zeros,
            upper_right: zeros,
            lower_left: zeros,
            lower_right: zeros,
            mean: zeros,
            deviation: zeros,
            class: [0; BLOCK + QUAD],
        }
    }

    /// Lays out the quads of a block. Where a cell has several candidates, what is laid out means nothing.
    #[inline(always)]
    fn lay_out(&mut self, (upper, lower): (&[f32], &[f32]), best: &[u32], quads: &[Quad], moments: &Moments) {
        let cells = best.len();
        let (upper_left, upper_right) = (&upper[..cells], &upper[1..][..cells]);
        let (lower_left, lower_right) = (&lower[..cells], &lower[1..][..cells]);
        for quad in quads {
            // The first column of a block is a multiple of its length.
            let (at, cell) = (quad.start as usize % BLOCK, quad.cell as usize);
            if cell >= cells {
                return;
            }
            let (class, pixels) = (best[cell] as u8, at..at + QUAD);
            let (mean, deviation) = moments.of(class);
            self.upper_left[pixels.clone()].copy_from_slice(&[upper_left[cell]; QUAD]);
            self.upper_right[pixels.clone()].copy_from_slice(&[upper_right[cell]; QUAD]);
            self.lower_left[pixels.clone()].copy_from_slice(&[lower_left[cell]; QUAD]);
            self.lower_right[pixels.clone()].copy_from_slice(&[lower_right[cell]; QUAD]);
            self.mean[pixels.clone()].copy_from_slice(&[mean; QUAD]);
            self.deviation[pixels.clone()].copy_from_slice(&[deviation; QUAD]);
            self.class[pixels].copy_from_slice(&[class; QUAD]);
        }
    }

    /// Interpolates and standardizes the pixels of one row: `weight` is that of the lower row, `left` and `right` those of the columns.
    #[inline(always)]
    fn blend(&self, weight: f32, left: &[f32], right: &[f32], score: &mut [f32]) {
        let count = score.len();
        let (left, right) = (&left[..count], &right[..count]);
        let (upper_left, upper_right) = (&self.upper_left[..count], &self.upper_right[..count]);
        let (lower_left, lower_right) = (&self.lower_left[..count], &self.lower_right[..count]);
        let (mean, deviation) = (&self.mean[..count], &self.deviation[..count]);
        for i in 0..count {
            let at_left = upper_left[i] * (1.0 - weight) + lower_left[i] * weight;
            let at_right = upper_right[i] * (1.0 - weight) + lower_right[i] * weight;
            score[i] = (at_left * left[i] + at_right * right[i] - mean[i]) / deviation[i];
        }
    }
}

/// A quad of a cell where several classes can win.
struct Contest<'a> {
    cells: &'a Cells,
    /// The rows of the logits above and below.
    planes: [Planes<'a>; 2],
    columns: &'a Columns,
    quad: &'a Quad,
}

impl Contest<'_> {
    /// Scores and classes of the quad's pixels in a row.
    #[inline(always)]
    fn decide(&self, weight: f32, moments: &Moments, score: &mut [f32], prediction: &mut [u8]) {
        let (mut scores, winners) = self.winners(weight);
        let classes = [winners[0] as u8, winners[1] as u8, winners[2] as u8, winners[3] as u8];
        moments.standardize_four(&mut scores, classes);
        match (self.quad.length as usize, score.first_chunk_mut(), prediction.first_chunk_mut()) {
            (QUAD, Some(score), Some(prediction)) => (*score, *prediction) = (scores, classes),
            (length, ..) => {
                score[..length].copy_from_slice(&scores[..length]);
                prediction[..length].copy_from_slice(&classes[..length]);
            }
        }
    }

    /// Max logits and classes of the quad's pixels in a row; `weight` is that of the lower row of the logits.
    #[inline(always)]
    fn winners(&self, weight: f32) -> ([f32; QUAD], [u32; QUAD]) {
        // No logit that comes here is lower than that; the first class of all wins when none is higher.
        let (mut best, mut winner) = ([f32::NEG_INFINITY; QUAD], [0; QUAD]);
        let (cell, start) = (self.quad.cell as usize, self.quad.start as usize);
        let (left, right) = (&self.columns.left()[start..][..QUAD], &self.columns.right()[start..][..QUAD]);
        let mut word = 0;
        while let Some(mut bits) = self.cells.candidates(word, cell) {
            while bits != 0 {
                let class = word * WORD + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                let [a, b] = self.planes[0].pair(class, cell);
                let [c, d] = self.planes[1].pair(class, cell);
                let at_left = a * (1.0 - weight) + c * weight;
                let at_right = b * (1.0 - weight) + d * weight;
                for i in 0..QUAD {
                    let value = at_left * left[i] + at_right * right[i];
                    let wins = value > best[i];
                    winner[i] = if wins { class as u32 } else { winner[i] };
                    best[i] = if wins { value } else { best[i] };
                }
            }
            word += 1;
        }
        (best, winner)
    }
}
