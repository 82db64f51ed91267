//! A mask of a picture with one bit a pixel: 64 pixels are compared, joined and skipped at a time.

use crate::Size;
use crate::connected_components::Run;

/// Set and unset pixels of a picture. Rows begin with a new word; bits behind a row's last pixel are never set.
#[derive(Clone, Debug)]
pub(super) struct PixelMask {
    words: Vec<u64>,
    size: Size,
    /// Words of a row.
    stride: usize,
}

impl PixelMask {
    /// No pixel set.
    pub fn new(size: Size) -> Self {
        let stride = size.width.div_ceil(64);
        Self { words: vec![0; stride * size.height], size, stride }
    }

    pub fn clear(&mut self) {
        self.words.fill(0);
    }

    /// Sets pixels of which `test` is true, of an array in raster order.
    pub fn set_where<T>(&mut self, array: &[T], test: impl Fn(&T) -> bool) {
        for (row, pixels) in array.chunks_exact(self.size.width).enumerate() {
            let words = &mut self.words[row * self.stride..][..self.stride];
            for (word, pixels) in words.iter_mut().zip(pixels.chunks(64)) {
                *word |= packed(pixels, &test);
            }
        }
    }

    /// Unsets every pixel that `other`, of the same size, does not have.
    pub fn keep(&mut self, other: &Self) {
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word &= other;
        }
    }

    /// Rows and columns.
    pub fn size(&self) -> Size {
        self.size
    }

    /// Calls `each` with those of the columns from `first` to before `behind` that are not set in `row`.
    pub fn unset_in_row(&self, row: usize, first: usize, behind: usize, mut each: impl FnMut(usize)) {
        let words = &self.words[row * self.stride..][..self.stride];
        let (from, to) = (first / 64, (behind - 1) / 64);
        for (index, &word) in (from..).zip(&words[from..=to]) {
            let mut unset = !word & columns(index, first, behind);
            while unset != 0 {
                each(index * 64 + unset.trailing_zeros() as usize);
                unset &= unset - 1;
            }
        }
    }

    /// Sets the pixels of a run.
    pub fn set(&mut self, run: Run) {
        let row = run.start as usize / self.size.width;
        let (first, behind) =
            (run.start as usize % self.size.width, run.end as usize - row * self.size.width);
        self.set_columns(row, first, behind);
    }

    fn set_columns(&mut self, row: usize, first: usize, behind: usize) {
        let words = &mut self.words[row * self.stride..][..self.stride];
        let (from, to) = (first / 64, (behind - 1) / 64);
        for (index, word) in (from..).zip(&mut words[from..=to]) {
            *word |= columns(index, first, behind);
        }
    }

    /// Appends the runs of set pixels in raster order.
    pub fn runs(&self, runs: &mut Vec<Run>) {
        self.runs_of(runs, 0);
    }

    /// Appends the runs of pixels that are not set in raster order.
    pub fn gaps(&self, runs: &mut Vec<Run>) {
        self.runs_of(runs, u64::MAX);
    }

    fn runs_of(&self, runs: &mut Vec<Run>, flip: u64) {
        let width = self.size.width;
        for (row, words) in self.words.chunks_exact(self.stride).enumerate() {
            let first = row * width;
            let mut open: Option<usize> = None;
            let mut before = 0;
            for (index, &word) in words.iter().enumerate() {
                let word = (word ^ flip) & columns(index, 0, width);
                // Pixels that differ from the one before: a run begins or has ended.
                let mut changes = word ^ (word << 1 | before);
                before = word >> 63;
                while changes != 0 {
                    let at = first + index * 64 + changes.trailing_zeros() as usize;
                    changes &= changes - 1;
                    match open.take() {
                        None => open = Some(at),
                        Some(start) => runs.push(run(start, at)),
                    }
                }
            }
            if let Some(start) = open {
                runs.push(run(start, first + width));
            }
        }
    }

    /// Sets every pixel within `margin` rows and columns of a set one. `runs` is memory to work in.
    pub fn grow(&mut self, margin: usize, runs: &mut Vec<Run>) {
        if margin == 0 {
            return;
        }
        runs.clear();
        self.runs(runs);
        for run in runs.iter() {
            let row = run.start as usize / self.size.width;
            let (first, behind) =
                (run.start as usize % self.size.width, run.end as usize - row * self.size.width);
            self.set_columns(row, first.saturating_sub(margin), (behind + margin).min(self.size.width));
        }
        // Windows of rows, each twice as high as the one before, in place: a row takes what is still unchanged.
        let (mut reached, height) = (0, self.size.height);
        while reached < margin {
            let step = (reached + 1).min(margin - reached);
            for row in 0..height.saturating_sub(step) {
                self.take_row(row, row + step);
            }
            for row in (step..height).rev() {
                self.take_row(row, row - step);
            }
            reached += step;
        }
    }

    /// Sets in row `to` what is set in row `from`.
    fn take_row(&mut self, to: usize, from: usize) {
        let (low, high) = (to.min(from), to.max(from));
        let (before, behind) = self.words.split_at_mut(high * self.stride);
        let low = &mut before[low * self.stride..][..self.stride];
        let high = &mut behind[..self.stride];
        let (to, from) = if to < from { (low, &*high) } else { (high, &*low) };
        for (to, from) in to.iter_mut().zip(from) {
            *to |= from;
        }
    }
}

/// The bits of word `index` of a row whose columns are `first` to before `behind`, of which it has some.
fn columns(index: usize, first: usize, behind: usize) -> u64 {
    let (start, end) = (index * 64, index * 64 + 64);
    let skipped = first.saturating_sub(start);
    let beyond = end.saturating_sub(behind);
    u64::MAX << skipped & u64::MAX >> beyond
}

fn run(start: usize, end: usize) -> Run {
    Run { start: start as u32, end: end as u32, component: 0 }
}

/// One bit for each of up to 64 elements, the first one lowest. Comparing into bytes first lets the compiler use vectors.
fn packed<T>(elements: &[T], test: impl Fn(&T) -> bool) -> u64 {
    /// Moves the lowest bits of eight bytes side by side into the highest byte.
    const GATHER: u64 = 0x0102_0408_1020_4080;
    let mut bytes = [0_u8; 64];
    for (byte, element) in bytes.iter_mut().zip(elements) {
        *byte = u8::from(test(element));
    }
    let eights = bytes.as_chunks::<8>().0.iter().enumerate();
    eights.fold(0, |word, (index, eight)| {
        word | u64::from_le_bytes(*eight).wrapping_mul(GATHER) >> 56 << (8 * index)
    })
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn mask(pixels: &[bool], width: usize) -> PixelMask {
        let mut mask = PixelMask::new(Size::new(pixels.len() / width, width));
        mask.set_where(pixels, |&set| set);
        mask
    }

    fn pixels(mask: &PixelMask) -> Vec<bool> {
        let Size { height, width } = mask.size();
        let mut pixels = vec![true; height * width];
        for row in 0..height {
            mask.unset_in_row(row, 0, width, |column| pixels[row * width + column] = false);
        }
        pixels
    }

    proptest! {
        #[test]
        fn runs_and_gaps_are_the_pixels(
            (width, pixels_) in (1..200_usize).prop_flat_map(|w| (Just(w), vec(prop::bool::weighted(0.7), w * 4))),
        ) {
            let mask = mask(&pixels_, width);
            prop_assert_eq!(&pixels(&mask), &pixels_);
            let (mut runs, mut gaps) = (Vec::new(), Vec::new());
            mask.runs(&mut runs);
            mask.gaps(&mut gaps);
            let mut again = PixelMask::new(mask.size);
            runs.iter().for_each(|&run| again.set(run));
            prop_assert_eq!(&again.words, &mask.words);
            gaps.iter().for_each(|&run| again.set(run));
            prop_assert!(pixels(&again).into_iter().all(|set| set));
            let count: u32 = runs.iter().chain(&gaps).map(|run| run.pixels()).sum();
            prop_assert_eq!(count as usize, pixels_.len());
            // Runs are as long as they can be.
            let apart = |pair: &[Run]| pair[0].end < pair[1].start || (pair[1].start as usize).is_multiple_of(width);
            prop_assert!(runs.windows(2).all(apart));
        }

        #[test]
        fn growing_reaches_a_square(
            (width, pixels_) in (1..90_usize).prop_flat_map(|w| (Just(w), vec(prop::bool::weighted(0.02), w * 9))),
            margin in 0..12_usize,
        ) {
            let mut mask = mask(&pixels_, width);
            mask.grow(margin, &mut Vec::new());
            for (index, set) in pixels(&mask).into_iter().enumerate() {
                let (row, column) = (index / width, index % width);
                let near = |(other, &set): (usize, &bool)| {
                    set && row.abs_diff(other / width) <= margin && column.abs_diff(other % width) <= margin
                };
                prop_assert_eq!(set, pixels_.iter().enumerate().any(near), "{} {}", row, column);
            }
        }
    }
}
