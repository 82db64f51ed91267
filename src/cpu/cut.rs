//! How an image is cut into lanes, and which rows of a lane are done when.
//!
//! Where lanes are tall, each goes ahead through all stages with the rows that depend on no other lane, while they are in the
//! nearest caches; what is left between two lanes, a *seam*, follows when both are done. Rows that suppression depends on begin `margin`
//! rows from another lane, and those that smoothing depends on `reach` rows further in:
//!
//! ```text
//! |<-------------------- rows -------------------->|
//! | margin |<----------- suppressed ---->| margin  |
//! |        | reach |<-- smoothed -->| reach|       |
//! ```

use std::ops::Range;

/// Lanes of an image: all have the same number of rows, but the last one, which may have fewer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Cut {
    /// Rows of the image, and of each lane but the last.
    pub height: usize,
    pub rows: usize,
    pub lanes: usize,
    /// What lanes go ahead with; `None` where they are not tall enough, and every stage runs all lanes.
    pub ahead: Option<Ahead>,
}

/// What a lane leaves to its seams.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ahead {
    /// Rows at an end that are not suppressed, and further ones that are not smoothed.
    pub margin: usize,
    pub reach: usize,
}

/// What the stages need beside a lane.
#[derive(Clone, Copy, Debug)]
pub(super) struct Needs {
    /// Rows of scores that the suppression needs.
    pub halo: usize,
    pub ahead: Ahead,
}

impl Cut {
    /// For a pool of `threads` threads, with no more than `most` lanes.
    pub(super) fn new(height: usize, threads: usize, most: usize, needs: Needs) -> Self {
        let Needs { halo, ahead } = needs;
        // Seams need copies of rows that lanes have gone ahead with.
        let tall = 2 * (ahead.margin + ahead.reach) + ahead.reach.max(halo);
        if threads == 1 {
            return Self { rows: height, lanes: 1, height, ahead: Some(ahead) };
        }
        for wanted in (1..=TALL_PER_THREAD).rev().map(|each| each * threads).filter(|&lanes| lanes <= most) {
            // Seams are a step of their own: where lanes are hardly taller, it would be half the work.
            let least = if wanted > threads { 2 * tall } else { tall };
            let cut = Self::into(height, wanted, least);
            // As many for every thread: in small images one more lane for some of them would be much of the frame.
            if cut.lanes == wanted {
                return Self { ahead: Some(ahead), ..cut };
            }
        }
        Self::into(height, most, halo.max(ahead.reach))
    }

    /// At most `lanes` lanes, none of them with fewer than `least` rows unless it is alone.
    fn into(height: usize, lanes: usize, least: usize) -> Self {
        let mut wanted = lanes.clamp(1, height);
        loop {
            let rows = height.div_ceil(wanted);
            let lanes = height.div_ceil(rows);
            if lanes == 1 || height - (lanes - 1) * rows >= least {
                return Self { height, rows, lanes, ahead: None };
            }
            wanted = lanes - 1;
        }
    }

    /// Image rows of a lane.
    pub(super) fn lane(&self, lane: usize) -> Range<usize> {
        lane * self.rows..((lane + 1) * self.rows).min(self.height)
    }

    /// Those of a lane's image rows that are `margin` rows from every other lane.
    pub(super) fn inner(&self, lane: usize, margin: usize) -> Range<usize> {
        let Range { start, end } = self.lane(lane);
        let start = if start == 0 { 0 } else { start + margin };
        start..if end == self.height { end } else { end - margin }
    }
}

/// Tall lanes for each thread: more than one, so that a thread that was held up does not hold up the frame; few, because seams come
/// between them.
const TALL_PER_THREAD: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lane_has_the_rows_that_its_neighbours_need() {
        for height in 1..=300 {
            for lanes in 1..=20 {
                for least in [0, 1, 4, 18, 64] {
                    let cut = Cut::into(height, lanes, least);
                    let last = height - (cut.lanes - 1) * cut.rows;
                    assert!((1..=cut.rows).contains(&last), "{height} {lanes} {least}: {cut:?}");
                    assert!(cut.lanes <= lanes && (cut.lanes == 1 || last >= least), "{cut:?}");
                }
            }
        }
        let cut = Cut::into(1024, 8, 18);
        assert_eq!((cut.rows, cut.lanes), (128, 8));
    }

    #[test]
    fn lanes_that_go_ahead_keep_what_seams_need() {
        for height in 1..=400 {
            for threads in 1..=6 {
                for (halo, margin, reach) in [(4, 9, 18), (0, 0, 0), (0, 0, 18), (1, 2, 0), (16, 20, 3)] {
                    let needs = Needs { halo, ahead: Ahead { margin, reach } };
                    let cut = Cut::new(height, threads, 8.max(threads), needs);
                    let Some(ahead) = cut.ahead else { continue };
                    assert!(cut.lanes.is_multiple_of(threads), "{cut:?}");
                    for lane in 0..cut.lanes {
                        let suppressed = cut.inner(lane, ahead.margin);
                        let smoothed = cut.inner(lane, ahead.margin + ahead.reach);
                        assert!(cut.lanes == 1 || suppressed.len() >= halo, "{cut:?}");
                        assert!(cut.lanes == 1 || smoothed.len() >= reach, "{cut:?}");
                    }
                }
            }
        }
    }
}
