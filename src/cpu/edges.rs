//! Lanes of rows, and copies of the rows at their ends, taken before a stage changes these in place.
//!
//! A stage that works in place needs the rows beside a lane as they were before it, while other threads already change them. Each
//! lane therefore leaves copies of its first and last rows when the stage before is done with it.

/// How an image is cut into lanes: all have the same number of rows, but the last one, which may have fewer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Cut {
    /// Rows of each lane but the last.
    pub rows: usize,
    pub lanes: usize,
}

impl Cut {
    /// At most `lanes` lanes of `height` rows, none of them with fewer than `least` rows unless it is alone.
    pub(super) fn new(height: usize, lanes: usize, least: usize) -> Self {
        let mut wanted = lanes.clamp(1, height);
        loop {
            let rows = height.div_ceil(wanted);
            let lanes = height.div_ceil(rows);
            if lanes == 1 || height - (lanes - 1) * rows >= least {
                return Self { rows, lanes };
            }
            wanted = lanes - 1;
        }
    }
}

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
    pub(super) fn beside(&self, lane: usize, cut: Cut, width: usize) -> (&[f32], &[f32]) {
        let length = self.rows * width;
        let above = if lane == 0 { &[] } else { &self.lanes[lane - 1].last[..length] };
        let below = if lane + 1 == cut.lanes { &[] } else { &self.lanes[lane + 1].first[..length] };
        (above, below)
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
}

#[cfg(test)]
mod tests {
    use super::Cut;

    #[test]
    fn every_lane_has_the_rows_that_its_neighbours_need() {
        for height in 1..=300 {
            for lanes in 1..=20 {
                for least in [0, 1, 4, 18, 64] {
                    let cut = Cut::new(height, lanes, least);
                    let last = height - (cut.lanes - 1) * cut.rows;
                    assert!((1..=cut.rows).contains(&last), "{height} {lanes} {least}: {cut:?}");
                    assert!(cut.lanes <= lanes && (cut.lanes == 1 || last >= least), "{cut:?}");
                }
            }
        }
        assert_eq!(Cut::new(1024, 8, 18), Cut { rows: 128, lanes: 8 });
    }
}
