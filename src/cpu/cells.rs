//! Cells between four neighbouring logits, and the classes that can win in them.
//!
//! The interpolated logits of a cell are averages of those at its corners. So a class that is behind another one at all four
//! corners is behind it everywhere between them. Most cells have one class that is ahead of all others at every corner; the others keep a
//! set of candidates. (kernels/upsample.cuh does the same, and has the bound on rounding.)
//!
//! Rows of the logits are copied, as float32, when they are first needed: in memory the same position of two classes is often a
//! power of two apart, and no cache keeps many such.

use std::ops::Range;

use super::element::Element;
use super::standardize::Task;
use crate::logits::LogitsData;

/// Classes that a word of candidates tells apart.
pub(super) const WORD: usize = 32;

/// Cells whose candidates are sought together, if one of them has several.
const TOGETHER: usize = 32;

/// Elements from a class of a copied row to the next: the row, its last element again, and what fills lines of the caches. An odd number of
/// these, so that classes do not fall on each other.
fn pitch(width: usize) -> usize {
    const LINE: usize = 16;
    LINE * ((width + 1).div_ceil(LINE) | 1)
}

/// One row of the logits: an entry for each position, and that of the last one again.
pub(super) struct SourceRow {
    /// Which one; `usize::MAX` for none.
    index: usize,
    /// One run a class.
    logits: Vec<f32>,
    /// Best class of each position, its logit, and how far that is ahead of the runner-up's.
    best: Vec<u32>,
    first: Vec<f32>,
    lead: Vec<f32>,
    /// Bits of the largest magnitude at each position.
    magnitude: Vec<u32>,
}

impl SourceRow {
    pub(super) fn new(classes: usize, width: usize) -> Self {
        Self {
            index: usize::MAX,
            logits: vec![0.0; classes * pitch(width) + TOGETHER],
            best: vec![0; width + 1],
            first: vec![0.0; width + 1],
            lead: vec![0.0; width + 1],
            magnitude: vec![0; width + 1],
        }
    }

    /// It is none of the image's rows any more.
    pub(super) fn forget(&mut self) {
        self.index = usize::MAX;
    }

    pub(super) fn is(&self, index: usize) -> bool {
        self.index == index
    }

    /// Largest logit of each of `width` positions, and of the last one again.
    #[inline(always)]
    pub(super) fn first(&self, width: usize) -> &[f32] {
        &self.first[..=width]
    }

    /// Best class of each of `width` positions.
    #[inline(always)]
    pub(super) fn best(&self, width: usize) -> &[u32] {
        &self.best[..width]
    }

    /// Reads row `index` of the image.
    #[inline(always)]
    pub(super) fn load(&mut self, task: &Task<'_>, index: usize) {
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

    /// Bits of the row's largest magnitude.
    #[inline(always)]
    fn largest(&self, width: usize) -> u32 {
        self.magnitude[..width].iter().fold(0, |largest, &bits| bits.max(largest))
    }

    /// The row's logits.
    #[inline(always)]
    pub(super) fn planes(&self, width: usize) -> Planes<'_> {
        Planes { logits: &self.logits, width, pitch: pitch(width) }
    }

    #[inline(always)]
    fn widen<T: Element>(&mut self, data: &[T], task: &Task<'_>) {
        let [_, class_stride, row_stride, stride] = task.logits.strides();
        let (width, classes) = (task.logits.shape().size.width, task.logits.shape().classes);
        let (start, pitch) = (self.index * row_stride, pitch(width));
        if class_stride == 1 && stride != 1 {
            for x in 0..width {
                let position = &data[start + x * stride..][..classes];
                for (class, logit) in position.iter().enumerate() {
                    self.logits[class * pitch + x] = logit.to_f32();
                }
            }
        }
        for (class, run) in self.logits.chunks_exact_mut(pitch).take(classes).enumerate() {
            let from = &data[start + class * class_stride..];
            if stride == 1 {
                run.iter_mut().zip(&from[..width]).for_each(|(out, logit)| *out = logit.to_f32());
            } else if class_stride != 1 {
                run[..width].iter_mut().enumerate().for_each(|(x, out)| *out = from[x * stride].to_f32());
            }
            run[width] = run[width - 1];
        }
    }

    /// Finds the best class of each position, and how far it is ahead.
    #[inline(always)]
    fn rank(&mut self, width: usize, classes: usize) {
        let Self { logits, best, first, lead: second, magnitude, .. } = self;
        {
            let planes = Planes { logits, width, pitch: pitch(width) };
            let (best, first) = (&mut best[..width], &mut first[..width]);
            let (second, magnitude) = (&mut second[..width], &mut magnitude[..width]);
            best.fill(0);
            first.copy_from_slice(planes.of(0));
            second.fill(f32::MIN);
            for (bits, value) in magnitude.iter_mut().zip(&*first) {
                *bits = value.to_bits() & 0x7fff_ffff;
            }
            for class in 1..classes {
                let run = planes.of(class);
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
            second.iter_mut().zip(&*first).for_each(|(second, first)| *second = first - *second);
        }
        (best[width], first[width]) = (best[width - 1], first[width - 1]);
        (second[width], magnitude[width]) = (second[width - 1], magnitude[width - 1]);
    }
}

/// Logits of a row.
#[derive(Clone, Copy)]
pub(super) struct Planes<'a> {
    logits: &'a [f32],
    width: usize,
    pitch: usize,
}

impl<'a> Planes<'a> {
    /// Those of a class.
    #[inline(always)]
    fn of(self, class: usize) -> &'a [f32] {
        &self.logits[class * self.pitch..][..self.width]
    }

    /// Those of a class from `x` on, as many as [`TOGETHER`] cells have at their upper or lower corners. What lies beyond the last position
    /// but one means nothing.
    #[inline(always)]
    fn corners(self, class: usize, x: usize) -> Option<&'a [f32; TOGETHER + 1]> {
        self.logits[class * self.pitch + x..].first_chunk()
    }

    /// Those of a class at position `x` and at the next one.
    #[inline(always)]
    pub(super) fn pair(self, class: usize, x: usize) -> [f32; 2] {
        let pair = &self.logits[class * self.pitch + x..][..2];
        [pair[0], pair[1]]
    }
}

/// What lies between two rows of the logits.
pub(super) struct Cells {
    /// 0 where one class is ahead of all others.
    several: Vec<u8>,
    /// Bits of the classes that can win in the other cells: for [`TOGETHER`] cells, one for every [`WORD`] classes.
    candidates: Vec<[u32; TOGETHER]>,
    words: usize,
    width: usize,
}

impl Cells {
    pub(super) fn new(classes: usize, width: usize) -> Self {
        let words = classes.div_ceil(WORD);
        Self {
            several: vec![0; width],
            candidates: vec![[0; TOGETHER]; words * width.div_ceil(TOGETHER)],
            words,
            width,
        }
    }

    /// True where more than one class can win in the cell.
    #[inline(always)]
    pub(super) fn has_several(&self, cell: usize) -> bool {
        self.several[cell] != 0
    }

    /// Bits of those of the classes from `word` x [`WORD`] on that can win in a cell that has several; `None` behind the last class.
    #[inline(always)]
    pub(super) fn candidates(&self, word: usize, cell: usize) -> Option<u32> {
        (word < self.words).then(|| self.candidates[cell / TOGETHER * self.words + word][cell % TOGETHER])
    }

    /// Decides for each cell between two rows which classes can win in it. False when a logit of theirs is not finite.
    #[inline(always)]
    pub(super) fn find(&mut self, task: &Task<'_>, upper: &SourceRow, lower: &SourceRow) -> bool {
        let (width, classes) = (task.logits.shape().size.width, task.logits.shape().classes);
        (self.width, self.words) = (width, classes.div_ceil(WORD));
        if upper.largest(width).max(lower.largest(width)) >= f32::INFINITY.to_bits() {
            return false;
        }
        self.find_several(upper, lower);
        let planes = [upper.planes(width), lower.planes(width)];
        for from in (0..width).step_by(TOGETHER) {
            let cells = from..(from + TOGETHER).min(width);
            if self.several[cells.clone()].iter().any(|&several| several != 0) {
                self.find_candidates(classes, upper, lower, planes, cells);
            }
        }
        true
    }

    #[inline(always)]
    fn find_several(&mut self, upper: &SourceRow, lower: &SourceRow) {
        let width = self.width;
        let (best, below) = (&upper.best[..=width], &lower.best[..=width]);
        let (lead, lead_below) = (&upper.lead[..=width], &lower.lead[..=width]);
        let (size, size_below) = (&upper.magnitude[..=width], &lower.magnitude[..=width]);
        for (x, several) in self.several[..width].iter_mut().enumerate() {
            let same = (best[x + 1] == best[x]) & (below[x] == best[x]) & (below[x + 1] == best[x]);
            let lead = lead[x].min(lead[x + 1]).min(lead_below[x]).min(lead_below[x + 1]);
            let size = size[x].max(size[x + 1]).max(size_below[x]).max(size_below[x + 1]);
            *several = u8::from(!(same & (lead > margin(size))));
        }
    }

    /// Marks the classes that are not behind the cell's leading one at all corners.
    #[inline(always)]
    fn find_candidates(
        &mut self,
        classes: usize,
        upper: &SourceRow,
        lower: &SourceRow,
        [planes, planes_below]: [Planes<'_>; 2],
        cells: Range<usize>,
    ) {
        // What a class must reach at a corner. The leading one is that of the upper left.
        let mut limits = [[f32::INFINITY; TOGETHER]; 4];
        for (i, x) in cells.clone().enumerate().filter(|(_, x)| self.several[*x] != 0) {
            let size = upper.magnitude[x].max(upper.magnitude[x + 1]);
            let size = size.max(lower.magnitude[x]).max(lower.magnitude[x + 1]);
            let leader = upper.best[x] as usize;
            let ([a, b], [c, d]) = (planes.pair(leader, x), planes_below.pair(leader, x));
            for (limits, corner) in limits.iter_mut().zip([a, b, c, d]) {
                limits[i] = corner - margin(size);
            }
        }
        let words = self.candidates[cells.start / TOGETHER * self.words..][..self.words].iter_mut();
        for (word, marks) in words.enumerate() {
            let mut bits = [0; TOGETHER];
            for class in word * WORD..(word * WORD + WORD).min(classes) {
                let corners = (planes.corners(class, cells.start), planes_below.corners(class, cells.start));
                let (Some(upper), Some(lower)) = corners else { return };
                let bit = 1 << (class % WORD);
                for i in 0..TOGETHER {
                    let is_behind = (upper[i] < limits[0][i])
                        & (upper[i + 1] < limits[1][i])
                        & (lower[i] < limits[2][i])
                        & (lower[i + 1] < limits[3][i]);
                    bits[i] |= if is_behind { 0 } else { bit };
                }
            }
            *marks = bits;
        }
    }
}

/// By how much a class must be ahead at all corners to be so in the rounded averages, where the largest magnitude at the corners
/// has these bits.
#[inline(always)]
fn margin(magnitude: u32) -> f32 {
    1e-6 * f32::from_bits(magnitude) + 1e-37
}
