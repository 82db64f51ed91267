//! Connected components of a mask by its runs: stretches of set pixels within a row.
//!
//! Runs come in raster order, as indices into the picture, row by row. Each is joined with the runs of the row above that it
//! touches, in disjoint sets whose root is their first run; both rows are walked once, side by side. Components are
//! therefore numbered by their first pixel in raster order, whatever the sets looked like on the way. (He et al., "The
//! connected-component labeling problem: a review of state-of-the-art algorithms", Pattern Recognition 2017, tells this
//! family of algorithms apart.)

/// Pixels of a row from `start` to before `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// Indices into the picture, row by row.
    pub start: u32,
    pub end: u32,
    /// Which component they belong to, once that is known.
    pub component: u32,
}

impl Run {
    /// Number of pixels.
    pub fn pixels(self) -> u32 {
        self.end - self.start
    }
}

/// Which pixels are neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Connectivity {
    /// Those that share an edge.
    Four,
    /// Those that share an edge or a corner.
    Eight,
}

/// Disjoint sets of runs, whose memory is used again from mask to mask.
#[derive(Clone, Debug, Default)]
pub(crate) struct Components {
    /// Each run's parent, a run before it or itself.
    parents: Vec<u32>,
}

impl Components {
    /// Memory for masks of at most `runs` runs.
    pub fn with_capacity(runs: usize) -> Self {
        Self { parents: Vec::with_capacity(runs) }
    }

    /// Numbers the components of the mask that consists of `runs`, in raster order, of a picture with rows of `width` pixels
    /// and at most 2^32 - 1 pixels; each run is told its component. Returns how many there are.
    pub fn label(&mut self, runs: &mut [Run], width: usize, connectivity: Connectivity) -> usize {
        self.parents.clear();
        self.parents.extend(0..runs.len() as u32);
        // The row above by `width` pixels; corners count as one column more to either side.
        let corner = usize::from(connectivity == Connectivity::Eight);
        let mut above = 0;
        let mut row_end = 0;
        let mut row_start = 0;
        for index in 0..runs.len() {
            let (start, end) = (runs[index].start as usize, runs[index].end as usize);
            if start >= row_end {
                row_start = start / width * width;
                row_end = row_start + width;
            }
            let first = start.max(row_start + corner) - corner;
            let behind = end.min(row_end - corner) + corner;
            while runs[above].end as usize + width <= first {
                above += 1;
            }
            let mut other = above;
            while other < index && runs[other].start as usize + width < behind {
                self.join(index as u32, other as u32);
                other += 1;
            }
        }
        self.number(runs)
    }

    /// A root is the first run of its set, so that it is numbered before all others of the set.
    fn number(&mut self, runs: &mut [Run]) -> usize {
        let mut components = 0;
        for index in 0..runs.len() {
            let root = self.root(index as u32) as usize;
            if root == index {
                runs[index].component = components;
                components += 1;
            } else {
                runs[index].component = runs[root].component;
            }
        }
        components as usize
    }

    fn root(&mut self, mut member: u32) -> u32 {
        while self.parents[member as usize] != member {
            // Every other member on the way is tied to its grandparent, which keeps ways short.
            let parent = self.parents[member as usize];
            self.parents[member as usize] = self.parents[parent as usize];
            member = self.parents[member as usize];
        }
        member
    }

    fn join(&mut self, one: u32, other: u32) {
        let (one, other) = (self.root(one), self.root(other));
        self.parents[one.max(other) as usize] = one.min(other);
    }
}

/// Calls `each` for every stretch of pixels that a run here and a run there share: component here, component there, pixels.
/// Both are in raster order.
pub(crate) fn overlaps(here: &[Run], there: &[Run], mut each: impl FnMut(usize, usize, u32)) {
    let mut behind = there.iter().peekable();
    for run in here {
        while behind.next_if(|that| that.end <= run.start).is_some() {}
        let mut those = behind.clone();
        while let Some(that) = those.next_if(|that| that.start < run.end) {
            let shared = run.end.min(that.end) - run.start.max(that.start);
            each(run.component as usize, that.component as usize, shared);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(picture: &[&str], connectivity: Connectivity) -> Vec<u32> {
        let width = picture[0].len();
        let mut runs = Vec::new();
        for (row, text) in picture.iter().enumerate() {
            for (column, _) in text.bytes().enumerate().filter(|(_, byte)| *byte == b'#') {
                let start = (row * width + column) as u32;
                match runs.last_mut() {
                    Some(Run { end, .. }) if *end == start && column > 0 => *end += 1,
                    _ => runs.push(Run { start, end: start + 1, component: u32::MAX }),
                }
            }
        }
        let number = Components::default().label(&mut runs, width, connectivity);
        let components: Vec<u32> = runs.iter().map(|run| run.component).collect();
        assert_eq!(components.iter().max().map_or(0, |most| *most as usize + 1), number);
        components
    }

    #[test]
    fn corners_connect_or_do_not() {
        let picture = ["#..#", ".##."];
        assert_eq!(label(&picture, Connectivity::Eight), [0, 0, 0]);
        assert_eq!(label(&picture, Connectivity::Four), [0, 1, 2]);
    }

    #[test]
    fn rows_end_at_the_border() {
        for connectivity in [Connectivity::Four, Connectivity::Eight] {
            assert_eq!(label(&["...#", "#...", "...#"], connectivity), [0, 1, 2]);
            assert_eq!(label(&["...#", "#...", "#..."], connectivity), [0, 1, 1]);
        }
    }

    #[test]
    fn arms_that_meet_below_are_one() {
        assert_eq!(label(&["#.#.#", "#.#.#", "###.#"], Connectivity::Four), [0, 0, 1, 0, 0, 1, 0, 1]);
    }

    #[test]
    fn nothing_has_no_components() {
        assert!(label(&["...", "..."], Connectivity::Eight).is_empty());
    }
}
