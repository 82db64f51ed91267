//! Copies of the rows at the ends of what a lane works on, taken before a stage changes these in place.
//!
//! A stage that works in place needs the rows beside a lane as they were before it, while they already change. Each lane therefore
//! leaves copies of its first and last rows when the stage before is done with them.

use std::ops::Range;

/// Copies of the first and last rows of every lane.
pub(super) struct Edges {
    lanes: Vec<Ends>,
    rows: usize,
}

/// Copies of one lane's first and last rows.
pub(super) struct Ends {
    first: Vec<f32>,
    last: Vec<f32>,
}

impl Edges {
    /// For `rows` rows at either end of `lanes` lanes.
    pub(super) fn new(lanes: usize, rows: usize, width: usize) -> Self {
        let ends = || Ends { first: vec![0.0; rows * width], last: vec![0.0; rows * width] };
        Self { lanes: (0..lanes).map(|_| ends()).collect(), rows }
    }

    /// Lanes that there is memory for.
    pub(super) fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// Rows that are kept at either end.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Each lane's copies, to be made.
    pub(super) fn lanes_mut(&mut self) -> &mut [Ends] {
        &mut self.lanes
    }

    /// The last rows of the lane above `lane` and the first ones of the lane below it; none beyond the image.
    pub(super) fn beside(&self, lane: usize, lanes: usize, width: usize) -> (&[f32], &[f32]) {
        let length = self.rows * width;
        let above = if lane == 0 { &[] } else { &self.lanes[lane - 1].last[..length] };
        let below = if lane + 1 == lanes { &[] } else { &self.lanes[lane + 1].first[..length] };
        (above, below)
    }

    /// The last rows that lane `above` has kept and the first ones of the lane after it.
    pub(super) fn around(&self, above: usize, width: usize) -> (&[f32], &[f32]) {
        let length = self.rows * width;
        (&self.lanes[above].last[..length], &self.lanes[above + 1].first[..length])
    }
}

impl Ends {
    /// Copies `length` scores at either end of a lane. One that is too short for it has no neighbours that would need them.
    pub(super) fn keep(&mut self, lane: &[f32], length: usize) {
        if let (Some(first), Some(last)) = (lane.get(..length), lane.len().checked_sub(length)) {
            self.first[..length].copy_from_slice(first);
            self.last[..length].copy_from_slice(&lane[last..]);
        }
    }

    /// Copies the first or last `kept` of the rows `own` of a lane, as soon as they are there: so far the lane was ready before row
    /// `ready.start`, and now it is before `ready.end`. Rows count from the lane's first.
    pub(super) fn keep_ready(
        &mut self,
        lane: &[f32],
        own: Range<usize>,
        kept: usize,
        ready: Range<usize>,
        width: usize,
    ) {
        let copy = |to: &mut [f32], from: usize| {
            if (ready.start + 1..=ready.end).contains(&(from + kept)) {
                to[..kept * width].copy_from_slice(&lane[from * width..][..kept * width]);
            }
        };
        copy(&mut self.first, own.start);
        copy(&mut self.last, own.end - kept);
    }
}
