//! Which class an obstacle lies in: the one predicted along most of its outline.

use super::pixel_mask::PixelMask;
use crate::connected_components::Run;

/// The classes around the obstacles of one frame, and memory to find them in.
#[derive(Clone, Debug)]
pub(super) struct Outlines {
    /// Runs by obstacle, in raster order within one.
    runs: Vec<Run>,
    /// Where each obstacle's runs end in `runs`.
    ends: Vec<u32>,
    classes: Vec<Option<u8>>,
}

impl Outlines {
    /// Memory for frames of at most `runs` runs in `obstacles` obstacles.
    pub fn with_capacity(runs: usize, obstacles: usize) -> Self {
        Self {
            runs: Vec::with_capacity(runs),
            ends: Vec::with_capacity(obstacles),
            classes: Vec::with_capacity(obstacles),
        }
    }

    /// The class around each obstacle.
    pub fn classes(&self) -> &[Option<u8>] {
        &self.classes
    }

    /// Finds the classes around `obstacles` obstacles: `runs` in raster order, and the mask that these and other, unconnected
    /// runs come from.
    pub fn measure(&mut self, runs: &[Run], mask: &PixelMask, prediction: &[u8], obstacles: usize) {
        self.group(runs, obstacles);
        self.classes.clear();
        let mut edges = Edges { counts: [0; 256], classes: 0 };
        let mut start = 0;
        for &end in &self.ends {
            for &run in &self.runs[start..end as usize] {
                edges.count(run, mask, prediction);
            }
            self.classes.push(edges.most());
            start = end as usize;
        }
    }

    /// Sorts the runs by obstacle, by counting.
    fn group(&mut self, runs: &[Run], obstacles: usize) {
        self.ends.clear();
        self.ends.resize(obstacles, 0);
        for run in runs {
            self.ends[run.component as usize] += 1;
        }
        let mut behind = 0;
        for end in &mut self.ends {
            behind += *end;
            *end = behind - *end;
        }
        self.runs.clear();
        self.runs.resize(runs.len(), Run { start: 0, end: 0, component: 0 });
        // What has been the start of each obstacle's runs moves on to their end.
        for &run in runs {
            let place = &mut self.ends[run.component as usize];
            self.runs[*place as usize] = run;
            *place += 1;
        }
    }
}

/// Edges between an obstacle and its surroundings, by class.
struct Edges {
    counts: [u32; 256],
    /// No class from this one on was counted.
    classes: usize,
}

impl Edges {
    fn add(&mut self, class: u8) {
        self.counts[usize::from(class)] += 1;
        self.classes = self.classes.max(usize::from(class) + 1);
    }

    /// Adds the edges of a run. Set pixels that share an edge with it belong to the same obstacle, others are around it.
    fn count(&mut self, run: Run, mask: &PixelMask, prediction: &[u8]) {
        let (height, width) = (mask.size().height, mask.size().width);
        let (start, end) = (run.start as usize, run.end as usize);
        let row = start / width;
        let (first, behind) = (start - row * width, end - row * width);
        if first > 0 {
            self.add(prediction[start - 1]);
        }
        if behind < width {
            self.add(prediction[end]);
        }
        let others = [row.checked_sub(1), Some(row + 1).filter(|&below| below < height)];
        for other in others.into_iter().flatten() {
            let classes = &prediction[other * width..][..width];
            mask.unset_in_row(other, first, behind, |column| self.add(classes[column]));
        }
    }

    /// The class with most edges, the smallest of equal ones; all counts are 0 again.
    fn most(&mut self) -> Option<u8> {
        let mut most = (0, None);
        for (class, count) in self.counts[..self.classes].iter_mut().enumerate() {
            if *count > most.0 {
                most = (*count, Some(class as u8));
            }
            *count = 0;
        }
        self.classes = 0;
        most.1
    }
}
