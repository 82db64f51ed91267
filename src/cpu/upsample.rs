//! Max logits of upsampled pixels, without interpolating every class ([`cells`](super::cells)).
//!
//! The output rows between two rows of the logits are done together, a block of columns at a time. What they have in common is laid out pixel
//! by pixel first: the winner's logits at the corners of the pixel's cell, its class, and what it is standardized with. Then
//! a row is one loop over vectors, wherever the cells lie. Where several classes can win in a cell, its pixels are done
//! again, candidate by candidate.

use pulp::Simd;

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

/// Scores as many of the first rows as lie between the same two rows of the logits, and tells how many: 0 when a logit that they
/// depend on is not finite, and nothing is written then.
#[inline(always)]
pub(super) fn rows<S: Simd>(
    simd: S,
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
        let Some(weights) = columns.weights(from) else { return 0 };
        ask_for_next_row(task, second as usize + 1, quads);
        for (row, at) in rows.iter().enumerate() {
            let pixels = row * width + from..row * width + from + count;
            // The next rows will be written.
            prefetch::behind(&score[pixels.clone()], together * width);
            block.blend(at.weight, weights, &mut score[pixels.clone()]);
            prediction[pixels].copy_from_slice(&block.class[..count]);
        }
        for (i, rows) in rows.chunks(ROWS).enumerate() {
            let rows = Heights::of(rows);
            for quad in quads {
                if cells.has_several(quad.cell as usize) {
                    let contest = Contest { cells, planes, weights, moments, quad };
                    let pixels = i * ROWS * width + quad.start as usize..;
                    contest.decide(simd, &rows, width, &mut score[pixels.clone()], &mut prediction[pixels]);
                }
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
        prefetch::behind(&data[class * class_stride + start..][..(last.cell - first.cell) as usize + 1], 0);
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

    /// Interpolates and standardizes the pixels of one row: `weight` is that of the lower row, `left` and `right` are those of the columns.
    #[inline(always)]
    fn blend(&self, weight: f32, [left, right]: [&[f32; BLOCK + QUAD]; 2], score: &mut [f32]) {
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

/// Rows of a quad that are decided together, and pixels of these.
const ROWS: usize = 4;
const PIXELS: usize = ROWS * QUAD;

/// Where up to [`ROWS`] rows lie between two rows of the logits: the weights of these for each pixel.
struct Heights {
    upper: [f32; PIXELS],
    lower: [f32; PIXELS],
    count: usize,
}

impl Heights {
    #[inline(always)]
    fn of(rows: &[Sample]) -> Self {
        let last = rows.len().saturating_sub(1);
        let weight = |row: usize| rows.get(row.min(last)).map_or(0.0, |row| row.weight);
        let lower = [weight(0), weight(1), weight(2), weight(3)];
        let upper = [1.0 - lower[0], 1.0 - lower[1], 1.0 - lower[2], 1.0 - lower[3]];
        let mut heights = Self { upper: [0.0; PIXELS], lower: [0.0; PIXELS], count: rows.len() };
        for i in 0..PIXELS {
            (heights.upper[i], heights.lower[i]) = (upper[i / QUAD], lower[i / QUAD]);
        }
        heights
    }
}

/// A quad of a cell where several classes can win.
struct Contest<'a> {
    cells: &'a Cells,
    /// The rows of the logits above and below.
    planes: [Planes<'a>; 2],
    /// Of the block's columns.
    weights: [&'a [f32; BLOCK + QUAD]; 2],
    moments: &'a Moments,
    quad: &'a Quad,
}

impl Contest<'_> {
    /// Scores and classes of the rows, which begin with the quad's first pixel and are `width` long.
    #[inline(always)]
    fn decide<S: Simd>(
        &self,
        simd: S,
        rows: &Heights,
        width: usize,
        score: &mut [f32],
        prediction: &mut [u8],
    ) {
        let (scores, winners) = self.winners(simd, rows);
        let decided = scores.as_chunks::<QUAD>().0.iter().zip(winners.as_chunks::<QUAD>().0);
        for (row, (scores, winners)) in decided.take(rows.count).enumerate() {
            let (score, prediction) = (&mut score[row * width..], &mut prediction[row * width..]);
            match (self.quad.length as usize, score.first_chunk_mut(), prediction.first_chunk_mut()) {
                (QUAD, Some(score), Some(prediction)) => (*score, *prediction) = (*scores, *winners),
                (length, ..) => {
                    score[..length].copy_from_slice(&scores[..length]);
                    prediction[..length].copy_from_slice(&winners[..length]);
                }
            }
        }
    }

    /// Scores and classes of the quad's pixels.
    #[inline(always)]
    fn winners<S: Simd>(&self, simd: S, rows: &Heights) -> ([f32; PIXELS], [u8; PIXELS]) {
        let at = self.quad.start as usize % BLOCK;
        let [mut left, mut right] = [[0.0; PIXELS]; 2];
        for i in 0..PIXELS {
            left[i] = self.weights[0][at + i % QUAD];
            right[i] = self.weights[1][at + i % QUAD];
        }
        let (mut scores, mut winners) = ([0.0; PIXELS], [0; PIXELS]);
        let outs = S::as_mut_simd_f32s(&mut scores).0.iter_mut().zip(S::as_mut_simd_u32s(&mut winners).0);
        let weights = S::as_simd_f32s(&rows.upper).0.iter().zip(S::as_simd_f32s(&rows.lower).0);
        let weights = weights.zip(S::as_simd_f32s(&left).0.iter().zip(S::as_simd_f32s(&right).0));
        for ((score, winner), ((upper, lower), (left, right))) in outs.zip(weights) {
            (*score, *winner) = self.winners_of(simd, [*upper, *lower, *left, *right]);
        }
        let mut classes = [0; PIXELS];
        for i in 0..PIXELS {
            classes[i] = winners[i] as u8;
        }
        (scores, classes)
    }

    /// Scores and classes of pixels with these weights.
    #[inline(always)]
    fn winners_of<S: Simd>(&self, simd: S, [upper, lower, left, right]: [S::f32s; 4]) -> (S::f32s, S::u32s) {
        let splat = |value| simd.splat_f32s(value);
        let cell = self.quad.cell as usize;
        // No logit that comes here is lower than that; the first class of all wins when none is higher.
        let (mut best, mut winner) = (splat(f32::NEG_INFINITY), simd.splat_u32s(0));
        let (mean, deviation) = self.moments.of(0);
        let (mut means, mut deviations) = (splat(mean), splat(deviation));
        let mut word = 0;
        while let Some(mut bits) = self.cells.candidates(word, cell) {
            while bits != 0 {
                let class = word * WORD + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                let [a, b] = self.planes[0].pair(class, cell);
                let [c, d] = self.planes[1].pair(class, cell);
                let (a, c) = (simd.mul_f32s(splat(a), upper), simd.mul_f32s(splat(c), lower));
                let (b, d) = (simd.mul_f32s(splat(b), upper), simd.mul_f32s(splat(d), lower));
                let at_left = simd.mul_f32s(simd.add_f32s(a, c), left);
                let value = simd.add_f32s(at_left, simd.mul_f32s(simd.add_f32s(b, d), right));
                let wins = simd.greater_than_f32s(value, best);
                let (mean, deviation) = self.moments.of(class as u8);
                winner = simd.select_u32s(wins, simd.splat_u32s(class as u32), winner);
                means = simd.select_f32s(wins, splat(mean), means);
                deviations = simd.select_f32s(wins, splat(deviation), deviations);
                best = simd.select_f32s(wins, value, best);
            }
            word += 1;
        }
        (simd.div_f32s(simd.sub_f32s(best, means), deviations), winner)
    }
}
