//! Upsampling where the score needs the winner alone: most classes are ruled out for whole cells.
//!
//! A *cell* is what lies between four neighbouring positions of the logits; all its pixels are interpolated from these
//! corners. Interpolation is monotonic, rounding included: a class that is ahead of another at all corners, by more than
//! rounding can take back, is ahead of it in the whole cell. Most cells have one class that is ahead of all others: there,
//! two vertical interpolations a row and one horizontal one a pixel are all that is left. The other cells keep a set of
//! candidates. (kernels/upsample.cuh does the same, and has the bound on rounding.)
//!
//! Source rows are widened to float32 when the output first needs them, two at a time.

use super::columns::Columns;
use super::element::Element;
use super::sampling::Sample;
use super::standardize::{Task, standardize_winners};
use crate::logits::LogitsData;

/// Classes a word of candidates tells apart.
const WORD: usize = 32;
/// In place of a class: the cell has several candidates.
const SEVERAL: u16 = u16::MAX;

/// One row of the logits.
struct SourceRow {
    /// Which one; `usize::MAX` for none.
    index: usize,
    /// One run of the row's width a class.
    logits: Vec<f32>,
    /// Best class of each position, its logit, and that of the runner-up.
    best: Vec<u32>,
    first: Vec<f32>,
    second: Vec<f32>,
    /// Bits of the largest magnitude at each position.
    magnitude: Vec<u32>,
}

impl SourceRow {
    fn new(classes: usize, width: usize) -> Self {
        Self {
            index: usize::MAX,
            logits: vec![0.0; classes * width],
            best: vec![0; width],
            first: vec![0.0; width],
            second: vec![0.0; width],
            magnitude: vec![0; width],
        }
    }

    /// Reads row `index` of the image.
    #[inline(always)]
    fn load(&mut self, task: &Task<'_>, index: usize) {
        if self.index == index {
            return;
        }
        self.index = index;
        match task.logits.data() {
            LogitsData::F32(data) => self.widen(data, task),
            LogitsData::F16(data) => self.widen(data, task),
            LogitsData::BF16(data) => self.widen(data, task),
        }
        self.rank(task.logits.shape().size.width, task.logits.shape().classes);
    }

    #[inline(always)]
    fn widen<T: Element>(&mut self, data: &[T], task: &Task<'_>) {
        let [_, class_stride, row_stride, stride] = task.logits.strides();
        let (width, classes) = (task.logits.shape().size.width, task.logits.shape().classes);
        let start = self.index * row_stride;
        if class_stride == 1 && stride != 1 {
            for x in 0..width {
                let position = &data[start + x * stride..][..classes];
                for (class, logit) in position.iter().enumerate() {
                    self.logits[class * width + x] = logit.to_f32();
                }
            }
            return;
        }
        for (class, run) in self.logits.chunks_exact_mut(width).take(classes).enumerate() {
            let from = &data[start + class * class_stride..];
            if stride == 1 {
                run.iter_mut().zip(&from[..width]).for_each(|(out, logit)| *out = logit.to_f32());
            } else {
                run.iter_mut().enumerate().for_each(|(x, out)| *out = from[x * stride].to_f32());
            }
        }
    }

    /// How far the best class of a position is ahead of the runner-up.
    #[inline(always)]
    fn lead(&self, x: usize) -> f32 {
        self.first[x] - self.second[x]
    }

    /// Bits of the row's largest magnitude.
    #[inline(always)]
    fn largest(&self, width: usize) -> u32 {
        self.magnitude[..width].iter().fold(0, |largest, &bits| bits.max(largest))
    }

    /// Finds best class and runner-up of each position.
    #[inline(always)]
    fn rank(&mut self, width: usize, classes: usize) {
        let Self { logits, best, first, second, magnitude, .. } = self;
        let (best, first) = (&mut best[..width], &mut first[..width]);
        let (second, magnitude) = (&mut second[..width], &mut magnitude[..width]);
        best.fill(0);
        first.copy_from_slice(&logits[..width]);
        second.fill(f32::MIN);
        for (bits, value) in magnitude.iter_mut().zip(&*first) {
            *bits = value.to_bits() & 0x7fff_ffff;
        }
        for (class, run) in logits.chunks_exact(width).take(classes).enumerate().skip(1) {
            for i in 0..width {
                let value = run[i];
                let wins = value > first[i];
                let loser = if wins { first[i] } else { value };
                second[i] = if loser > second[i] { loser } else { second[i] };
                first[i] = if wins { value } else { first[i] };
                best[i] = if wins { class as u32 } else { best[i] };
                magnitude[i] = magnitude[i].max(value.to_bits() & 0x7fff_ffff);
            }
        }
    }
}

/// What lies between two rows of the logits.
struct Cells {
    /// The class of each cell, or [`SEVERAL`].
    class: Vec<u16>,
    /// Logits of the class that leads at the upper left, at the upper left, upper right, lower left and lower right corner.
    corners: [Vec<f32>; 4],
    /// What a class must reach at a corner to be a candidate.
    limits: [Vec<f32>; 4],
    /// Bits of the classes that can win: a run of the row's width for every [`WORD`] classes.
    candidates: Vec<u32>,
}

/// Scratch memory of one lane.
pub(super) struct Scratch {
    upper: SourceRow,
    lower: SourceRow,
    cells: Cells,
    /// A logit of these rows is not finite.
    broken: bool,
    /// The cells' left and right sides, interpolated for one row of the output.
    left: Vec<f32>,
    right: Vec<f32>,
}

impl Scratch {
    /// For logits of up to so many classes and columns.
    pub fn new(classes: usize, width: usize) -> Self {
        let run = || vec![0.0; width];
        Self {
            upper: SourceRow::new(classes, width),
            lower: SourceRow::new(classes, width),
            cells: Cells {
                class: vec![0; width],
                corners: [run(), run(), run(), run()],
                limits: [run(), run(), run(), run()],
                candidates: vec![0; classes.div_ceil(WORD) * width],
            },
            broken: false,
            left: run(),
            right: run(),
        }
    }

    /// Forgets the rows of the image before.
    pub fn forget(&mut self) {
        self.upper.index = usize::MAX;
        self.lower.index = usize::MAX;
    }
}

/// Scores one row of the output. False when a logit that it depends on is not finite; nothing is written then.
#[inline(always)]
pub(super) fn row(
    task: &Task<'_>,
    scratch: &mut Scratch,
    at: Sample,
    columns: &Columns,
    score: &mut [f32],
    prediction: &mut [u8],
) -> bool {
    let (first, second) = (at.first as usize, at.second as usize);
    if scratch.upper.index != first || scratch.lower.index != second {
        if scratch.lower.index == first {
            std::mem::swap(&mut scratch.upper, &mut scratch.lower);
        }
        scratch.upper.load(task, first);
        scratch.lower.load(task, second);
        find_cells(task, scratch);
    }
    if scratch.broken {
        return false;
    }
    let Scratch { upper, lower, cells, left, right, .. } = scratch;
    let (width, classes) = (task.logits.shape().size.width, task.logits.shape().classes);
    let [upper_left, upper_right, lower_left, lower_right] = &cells.corners;
    interpolate(&upper_left[..width], &lower_left[..width], at.weight, left);
    interpolate(&upper_right[..width], &lower_right[..width], at.weight, right);
    for run in columns.runs() {
        let pixels = run.start..run.end;
        let weights = (&columns.left()[pixels.clone()], &columns.right()[pixels.clone()]);
        let (score, prediction) = (&mut score[pixels.clone()], &mut prediction[pixels]);
        let class = cells.class[run.cell];
        if class == SEVERAL {
            let candidates = Candidates {
                bits: &cells.candidates[..classes.div_ceil(WORD) * width],
                upper: &upper.logits,
                lower: &lower.logits,
                weight: at.weight,
                width,
                cell: run.cell,
            };
            candidates.compare(weights, score, prediction);
        } else {
            blend(left[run.cell], right[run.cell], weights, score);
            fill(prediction, class as u8);
        }
    }
    standardize_winners(task, score, prediction);
    true
}

#[inline(always)]
fn interpolate(first: &[f32], second: &[f32], weight: f32, out: &mut [f32]) {
    for ((out, a), b) in out.iter_mut().zip(first).zip(second) {
        *out = a * (1.0 - weight) + b * weight;
    }
}

/// Pixels of a run that are computed together: a run is rarely longer than the factor of the upsampling.
const TOGETHER: usize = 4;

/// `left * (weight of the left) + right * (weight of the right)` for each pixel of a run.
#[inline(always)]
fn blend(left: f32, right: f32, weights: (&[f32], &[f32]), out: &mut [f32]) {
    let (lefts, left_rest) = weights.0.as_chunks::<TOGETHER>();
    let (rights, right_rest) = weights.1.as_chunks::<TOGETHER>();
    let (outs, rest) = out.as_chunks_mut::<TOGETHER>();
    for ((out, of_left), of_right) in outs.iter_mut().zip(lefts).zip(rights) {
        for i in 0..TOGETHER {
            out[i] = left * of_left[i] + right * of_right[i];
        }
    }
    for ((out, of_left), of_right) in rest.iter_mut().zip(left_rest).zip(right_rest) {
        *out = left * of_left + right * of_right;
    }
}

/// Fills a run that is too short for a call.
#[inline(always)]
fn fill(out: &mut [u8], class: u8) {
    let (outs, rest) = out.as_chunks_mut::<TOGETHER>();
    outs.iter_mut().for_each(|out| *out = [class; TOGETHER]);
    rest.iter_mut().for_each(|out| *out = class);
}

/// The classes that can win in a cell, and what their logits are made of.
struct Candidates<'a> {
    bits: &'a [u32],
    /// Rows of the logits above and below, and the weight of the latter.
    upper: &'a [f32],
    lower: &'a [f32],
    weight: f32,
    width: usize,
    cell: usize,
}

impl Candidates<'_> {
    /// Max logit and class of the pixels of a run.
    #[inline(always)]
    fn compare(&self, weights: (&[f32], &[f32]), score: &mut [f32], prediction: &mut [u8]) {
        for x in (0..score.len()).step_by(TOGETHER) {
            let end = (x + TOGETHER).min(score.len());
            let (mut left, mut right) = ([0.0; TOGETHER], [0.0; TOGETHER]);
            left.iter_mut().zip(&weights.0[x..end]).for_each(|(to, from)| *to = *from);
            right.iter_mut().zip(&weights.1[x..end]).for_each(|(to, from)| *to = *from);
            let (best, winner) = self.best_of(left, right);
            score[x..end].iter_mut().zip(best).for_each(|(out, best)| *out = best);
            prediction[x..end].iter_mut().zip(winner).for_each(|(out, winner)| *out = winner as u8);
        }
    }

    #[inline(always)]
    fn best_of(&self, left: [f32; TOGETHER], right: [f32; TOGETHER]) -> ([f32; TOGETHER], [u32; TOGETHER]) {
        // No logit that comes here is lower than that; the first class of all wins when none is higher.
        let (mut best, mut winner) = ([f32::NEG_INFINITY; TOGETHER], [0; TOGETHER]);
        let next = (self.cell + 1).min(self.width - 1);
        for (word, bits) in self.bits.chunks_exact(self.width).enumerate() {
            let mut bits = bits[self.cell];
            while bits != 0 {
                let class = word * WORD + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                let (at, beside) = (class * self.width + self.cell, class * self.width + next);
                let a = self.upper[at] * (1.0 - self.weight) + self.lower[at] * self.weight;
                let b = self.upper[beside] * (1.0 - self.weight) + self.lower[beside] * self.weight;
                for i in 0..TOGETHER {
                    let value = a * left[i] + b * right[i];
                    let wins = value > best[i];
                    winner[i] = if wins { class as u32 } else { winner[i] };
                    best[i] = if wins { value } else { best[i] };
                }
            }
        }
        (best, winner)
    }
}

/// Decides for each cell between the two rows which classes can win in it.
#[inline(always)]
fn find_cells(task: &Task<'_>, scratch: &mut Scratch) {
    let (width, classes) = (task.logits.shape().size.width, task.logits.shape().classes);
    let Scratch { upper, lower, cells, broken, .. } = scratch;
    let largest = upper.largest(width).max(lower.largest(width));
    *broken = largest >= f32::INFINITY.to_bits();
    if *broken {
        return;
    }
    let mut several = false;
    for x in 0..width {
        let next = (x + 1).min(width - 1);
        let class = upper.best[x];
        let same = (upper.best[next] == class) & (lower.best[x] == class) & (lower.best[next] == class);
        let lead = upper.lead(x).min(upper.lead(next)).min(lower.lead(x)).min(lower.lead(next));
        let magnitudes =
            [upper.magnitude[x], upper.magnitude[next], lower.magnitude[x], lower.magnitude[next]];
        let magnitude = magnitudes[0].max(magnitudes[1]).max(magnitudes[2]).max(magnitudes[3]);
        let margin = 1e-6 * f32::from_bits(magnitude) + 1e-37;
        let (at, beside) = (class as usize * width + x, class as usize * width + next);
        let corners = [upper.logits[at], upper.logits[beside], lower.logits[at], lower.logits[beside]];
        for ((corner, limit), logit) in cells.corners.iter_mut().zip(&mut cells.limits).zip(corners) {
            (corner[x], limit[x]) = (logit, logit - margin);
        }
        let alone = same & (lead > margin);
        cells.class[x] = if alone { class as u16 } else { SEVERAL };
        several |= !alone;
    }
    if several {
        find_candidates((upper, lower), width, classes, cells);
    }
}

/// Marks, for every cell, the classes that are not behind the leading one at all corners.
#[inline(always)]
fn find_candidates(
    (upper, lower): (&SourceRow, &SourceRow),
    width: usize,
    classes: usize,
    cells: &mut Cells,
) {
    let Cells { limits, candidates, .. } = cells;
    let [upper_left, upper_right, lower_left, lower_right] = limits;
    let limits = [&upper_left[..width], &upper_right[..width], &lower_left[..width], &lower_right[..width]];
    let candidates = &mut candidates[..classes.div_ceil(WORD) * width];
    candidates.fill(0);
    for class in 0..classes {
        let upper = &upper.logits[class * width..][..width];
        let lower = &lower.logits[class * width..][..width];
        let bits = &mut candidates[class / WORD * width..][..width];
        let bit = 1 << (class % WORD);
        for x in 0..width - 1 {
            let behind = (upper[x] < limits[0][x])
                & (upper[x + 1] < limits[1][x])
                & (lower[x] < limits[2][x])
                & (lower[x + 1] < limits[3][x]);
            bits[x] |= if behind { 0 } else { bit };
        }
        // The last column has no neighbour but itself.
        let x = width - 1;
        let behind =
            (upper[x] < limits[0][x].min(limits[1][x])) & (lower[x] < limits[2][x].min(limits[3][x]));
        bits[x] |= if behind { 0 } else { bit };
    }
}
