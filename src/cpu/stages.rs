//! Every stage runs all lanes, and then the next one begins: for lanes that are too low to go [`ahead`](super::ahead).
//!
//! What a stage needs of the lanes beside it are copies of their first and last rows, made before it begins.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use half::f16;
use rayon::prelude::*;

use super::edges::Edges;
use super::masks::Prediction;
use super::{Map, Work, own, smooth, standardize, suppress};
use crate::Size;
use crate::engine::StageTimings;

impl Work<'_> {
    /// Tells how many pixels have a logit that is not finite, and the time that each stage took.
    pub(super) fn stage_by_stage(
        &self,
        map: Map<'_>,
        edges: (&mut Edges, &mut Edges),
    ) -> (u64, StageTimings) {
        let Map { score, narrow, prediction } = map;
        let (standardized, suppressed) = edges;
        let mut timings = StageTimings::default();
        let start = Instant::now();
        let edges = if self.iterations.is_some() { &mut *standardized } else { &mut *suppressed };
        let non_finite = self.standardize(score, prediction, edges);
        timings.standardize = start.elapsed();
        let start = Instant::now();
        self.suppress(score, prediction, standardized, suppressed);
        timings.suppress = start.elapsed();
        let start = Instant::now();
        self.smooth(score, narrow, suppressed);
        timings.smooth = start.elapsed();
        (non_finite, timings)
    }

    fn standardize(&self, score: &mut [f32], prediction: &mut [u8], edges: &mut Edges) -> u64 {
        let (width, length) = (self.size.width, self.cut.rows * self.size.width);
        let kept = edges.rows();
        let non_finite = AtomicU64::new(0);
        let outputs = score.par_chunks_mut(length).zip(prediction.par_chunks_mut(length));
        outputs.zip(edges.lanes_mut()).enumerate().for_each(|(i, ((score, prediction), edges))| {
            let (first, scratch) = (self.cut.lane(i).start, &mut own(self.scratch).standardize);
            scratch.forget();
            let task = &self.task;
            let rows = standardize::Rows { task, scratch, first, width, score, prediction };
            non_finite.fetch_add(self.arch.dispatch(rows), Ordering::Relaxed);
            edges.keep(score, kept * width);
        });
        non_finite.into_inner()
    }

    fn suppress(&self, score: &mut [f32], classes: &[u8], standardized: &Edges, suppressed: &mut Edges) {
        let Some(iterations) = self.iterations else { return };
        let (Size { height, width }, kept) = (self.size, suppressed.rows());
        let prediction = Prediction { classes, first: 0, width, height };
        let rows = score.par_chunks_mut(self.cut.rows * width);
        rows.zip(suppressed.lanes_mut()).enumerate().for_each(|(i, (score, edges))| {
            let Some(scratch) = &mut own(self.scratch).suppress else { return };
            let (above, below) = standardized.beside(i, self.cut.lanes, width);
            self.arch.dispatch(suppress::Lane {
                iterations,
                prediction,
                first: self.cut.lane(i).start,
                above,
                below,
                begins: true,
                ready: None,
                scratch,
                score: &mut *score,
            });
            edges.keep(score, kept * width);
        });
    }

    /// Smooths what the stages before have left and turns it into the anomaly score: the negated official score.
    fn smooth(&self, score: &mut [f32], narrow: Option<&mut [f16]>, suppressed: &Edges) {
        let Size { height, width } = self.size;
        let length = self.cut.rows * width;
        let lane = |i: usize, score: &mut [f32], narrow: Option<&mut [f16]>| {
            let (Some(taps), Some(scratch)) = (self.taps, &mut own(self.scratch).smooth) else {
                return self.arch.dispatch(smooth::Negation { score, narrow });
            };
            let (above, below) = suppressed.beside(i, self.cut.lanes, width);
            let rows = self.cut.lane(i);
            let first = rows.start;
            let lane =
                smooth::Lane { taps, width, height, first, above, below, rows, scratch, score, narrow };
            self.arch.dispatch(lane);
        };
        let rows = score.par_chunks_mut(length).enumerate();
        match narrow {
            None => rows.for_each(|(i, score)| lane(i, score, None)),
            Some(narrow) => rows
                .zip(narrow.par_chunks_mut(length))
                .for_each(|((i, score), narrow)| lane(i, score, Some(narrow))),
        }
    }
}
