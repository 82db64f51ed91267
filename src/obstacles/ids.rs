//! Which obstacle of this frame is which one of the last frame.

use std::cmp::Ordering;

use crate::connected_components::{Run, overlaps};

/// An obstacle of this frame and one of the last frame that share pixels.
#[derive(Clone, Copy, Debug)]
struct Pair {
    now: u32,
    before: u32,
    /// Pixels in both, and in either.
    shared: u32,
    union: u32,
}

impl Pair {
    /// Larger intersection over union first, exactly; then the earlier obstacle of this frame, then of the last.
    fn order(&self, other: &Self) -> Ordering {
        let product = |a: u32, b: u32| u64::from(a) * u64::from(b);
        product(other.shared, self.union)
            .cmp(&product(self.shared, other.union))
            .then((self.now, self.before).cmp(&(other.now, other.before)))
    }
}

/// Ids of the obstacles of one frame after the other.
#[derive(Clone, Debug)]
pub(super) struct Ids {
    /// The last frame's obstacles: their runs, ids and areas.
    runs: Vec<Run>,
    ids: Vec<u64>,
    areas: Vec<u32>,
    /// The next id that nothing had.
    next: u64,
    pairs: Vec<Pair>,
    taken: Vec<bool>,
}

impl Ids {
    /// Memory for frames of at most `runs` runs in `obstacles` obstacles.
    pub fn with_capacity(runs: usize, obstacles: usize) -> Self {
        Self {
            runs: Vec::with_capacity(runs),
            ids: Vec::with_capacity(obstacles),
            areas: Vec::with_capacity(obstacles),
            next: 1,
            // Between two rows of runs there are fewer overlaps than runs in both.
            pairs: Vec::with_capacity(2 * runs),
            taken: Vec::with_capacity(obstacles),
        }
    }

    /// Forgets the last frame. Ids go on from where they were.
    pub fn forget(&mut self) {
        self.runs.clear();
        self.ids.clear();
        self.areas.clear();
    }

    /// Writes to `ids` the id of each obstacle of a frame: its runs in raster order, and the areas of its obstacles.
    pub fn assign(&mut self, runs: &[Run], areas: &[u32], ids: &mut Vec<u64>) {
        self.find_pairs(runs, areas);
        ids.clear();
        ids.resize(areas.len(), 0);
        self.taken.clear();
        self.taken.resize(self.ids.len(), false);
        for pair in &self.pairs {
            let (now, before) = (pair.now as usize, pair.before as usize);
            if ids[now] == 0 && !self.taken[before] {
                ids[now] = self.ids[before];
                self.taken[before] = true;
            }
        }
        for id in ids.iter_mut().filter(|id| **id == 0) {
            *id = self.next;
            self.next += 1;
        }
        self.forget();
        self.runs.extend_from_slice(runs);
        self.ids.extend_from_slice(ids);
        self.areas.extend_from_slice(areas);
    }

    /// All pairs that overlap, best first.
    fn find_pairs(&mut self, runs: &[Run], areas: &[u32]) {
        let pairs = &mut self.pairs;
        pairs.clear();
        overlaps(runs, &self.runs, |now, before, shared| {
            pairs.push(Pair { now: now as u32, before: before as u32, shared, union: 0 });
        });
        pairs.sort_unstable_by_key(|pair| (pair.now, pair.before));
        pairs.dedup_by(|pair, kept| {
            let same = (pair.now, pair.before) == (kept.now, kept.before);
            if same {
                kept.shared += pair.shared;
            }
            same
        });
        for pair in pairs.iter_mut() {
            pair.union = areas[pair.now as usize] - pair.shared + self.areas[pair.before as usize];
        }
        pairs.sort_unstable_by(Pair::order);
    }
}
