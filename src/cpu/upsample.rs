//! Upsampling where the score needs the winner alone: most classes are ruled out for whole cells.
//!
//! A *cell* is what lies between four neighbouring positions of the logits; all its pixels are interpolated from these
//! corners. Interpolation is monotonic, rounding included: a class that is ahead of another at all corners, by more than
//! rounding can take back, is ahead of it in the whole cell. Most cells have one class that is ahead of all others: there,
//! two vertical interpolations a row and one horizontal one a pixel are all that is left. The other cells keep a set of
//! candidates. (kernels/upsample.cuh does the same, and has the bound on rounding.)
//!
//! Source rows are widened to float32 when the output first needs them, two at a time.

use super::sampling::Sample;
use super::standardize::{Element, Task, standardize_winners};
use crate::logits::LogitsData;

/// Classes a word of candidates tells apart.
const WORD: usize = 32;
/// Words for 255 classes.
const WORDS: usize = 8;
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
    /// Logits of that class at the upper left, upper right, lower left and lower right corner.
    corners: [Vec<f32>; 4],
    candidates: Vec<[u32; WORDS]>,
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
                candidates: vec![[0; WORDS]; width],
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
    columns: &[Sample],
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
    let width = task.logits.shape().size.width;
    let [upper_left, upper_right, lower_left, lower_right] = &cells.corners;
    interpolate(&upper_left[..width], &lower_left[..width], at.weight, left);
    interpolate(&upper_right[..width], &lower_right[..width], at.weight, right);
    let mut x = 0;
    while x < columns.len() {
        let cell = columns[x].first;
        let length = columns[x..].iter().take_while(|column| column.first == cell).count();
        let (columns, score) = (&columns[x..x + length], &mut score[x..x + length]);
        let prediction = &mut prediction[x..x + length];
        let cell = cell as usize;
        if cells.class[cell] != SEVERAL {
            let (left, right) = (left[cell], right[cell]);
            for (out, column) in score.iter_mut().zip(columns) {
                *out = left * (1.0 - column.weight) + right * column.weight;
            }
            prediction.fill(cells.class[cell] as u8);
        } else {
            let rows = (&*upper, &*lower, at.weight);
            compare(rows, width, &cells.candidates[cell], columns, score, prediction);
        }
        x += length;
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

/// Max logit and class of a cell's pixels among its candidates.
#[inline(always)]
fn compare(
    (upper, lower, weight): (&SourceRow, &SourceRow, f32),
    width: usize,
    candidates: &[u32; WORDS],
    columns: &[Sample],
    score: &mut [f32],
    prediction: &mut [u8],
) {
    let (left, right) = (columns[0].first as usize, columns[0].second as usize);
    let mut is_first = true;
    for (word, &bits) in candidates.iter().enumerate() {
        let mut bits = bits;
        while bits != 0 {
            let class = word * WORD + bits.trailing_zeros() as usize;
            bits &= bits - 1;
            let side = |x: usize| {
                let at = class * width + x;
                upper.logits[at] * (1.0 - weight) + lower.logits[at] * weight
            };
            let (left, right) = (side(left), side(right));
            for ((best, winner), column) in score.iter_mut().zip(&mut *prediction).zip(columns) {
                let value = left * (1.0 - column.weight) + right * column.weight;
                if is_first || value > *best {
                    (*best, *winner) = (value, class as u8);
                }
            }
            is_first = false;
        }
    }
}

/// Decides for each cell between the two rows which classes can win in it.
#[inline(always)]
fn find_cells(task: &Task<'_>, scratch: &mut Scratch) {
    let (width, classes) = (task.logits.shape().size.width, task.logits.shape().classes);
    let Scratch { upper, lower, cells, broken, .. } = scratch;
    let largest = [&upper, &lower].map(|row| row.magnitude[..width].iter().fold(0, |m, &bits| bits.max(m)));
    *broken = largest[0].max(largest[1]) >= f32::INFINITY.to_bits();
    if *broken {
        return;
    }
    for x in 0..width {
        let corners = [
            (&*upper, x),
            (&*upper, (x + 1).min(width - 1)),
            (&*lower, x),
            (&*lower, (x + 1).min(width - 1)),
        ];
        let class = upper.best[x];
        let (mut same, mut lead, mut magnitude) = (true, f32::INFINITY, 0);
        for (row, x) in corners {
            same &= row.best[x] == class;
            lead = lead.min(row.first[x] - row.second[x]);
            magnitude = row.magnitude[x].max(magnitude);
        }
        let margin = 1e-6 * f32::from_bits(magnitude) + 1e-37;
        let of = |class: usize| corners.map(|(row, x)| row.logits[class * width + x]);
        let winner = of(class as usize);
        if same && lead > margin {
            cells.class[x] = class as u16;
            for (corner, logit) in cells.corners.iter_mut().zip(winner) {
                corner[x] = logit;
            }
            continue;
        }
        cells.class[x] = SEVERAL;
        let candidates = &mut cells.candidates[x];
        candidates.fill(0);
        for class in 0..classes {
            let behind = of(class).iter().zip(&winner).all(|(logit, best)| *logit < best - margin);
            candidates[class / WORD] |= u32::from(!behind) << (class % WORD);
        }
    }
}
