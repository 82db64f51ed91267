//! Tall lanes go ahead: one pass over a lane's rows takes them through all stages, a few rows at a time. Each stage
//! stays some rows behind the one before it. Rows whose result depends on another lane are left; when all lanes are done, these seams
//! between them follow.
//!
//! A lane leaves copies of the rows beside its seams as they were before each stage.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use half::f16;
use rayon::iter::Either;
use rayon::prelude::*;

use super::cut::Ahead;
use super::edges::{Edges, Ends};
use super::masks::Prediction;
use super::maxima::run_of;
use super::{Map, Scratch, Work, own, smooth, standardize, suppress};
use crate::Size;
use crate::engine::StageTimings;
use crate::logits::LogitsData;

impl Work<'_> {
    /// Tells how many pixels have a logit that is not finite, and the time that the stages took.
    pub(super) fn go_ahead(
        &self,
        ahead: Ahead,
        map: Map<'_>,
        edges: (&mut Edges, &mut Edges),
    ) -> (u64, StageTimings) {
        let Map { score, mut narrow, prediction } = map;
        let (start, spent, non_finite) = (Instant::now(), Spent::default(), AtomicU64::new(0));
        let length = self.cut.rows * self.size.width;
        let (standardized, suppressed) = edges;
        let ends = standardized.lanes_mut().par_iter_mut().zip(suppressed.lanes_mut());
        let outputs = score.par_chunks_mut(length).zip(prediction.par_chunks_mut(length));
        let narrow_lanes = parts(narrow.as_deref_mut(), 0, length, self.cut.lanes);
        outputs.zip(narrow_lanes).zip(ends).enumerate().for_each(
            |(i, (((score, prediction), narrow), ends))| {
                let mut lane = Lane::new(self, ahead, i, score, narrow, prediction, ends);
                non_finite.fetch_add(lane.run(&mut own(self.scratch), &spent), Ordering::Relaxed);
            },
        );
        let margin = ahead.margin + ahead.reach;
        if self.cut.lanes > 1 && margin > 0 {
            let (from, number) = ((self.cut.rows - margin) * self.size.width, self.cut.lanes - 1);
            let seams = score[from..].par_chunks_mut(length).take(number);
            let seams = seams.zip(parts(narrow, from, length, number)).enumerate();
            let edges = (&*standardized, &*suppressed);
            seams.for_each(|(i, (score, narrow))| {
                self.seam(ahead, i, score, narrow, prediction, edges, &spent)
            });
        }
        (non_finite.into_inner(), spent.share(start.elapsed()))
    }

    /// Suppresses and smooths what lane `above` and the one after it have left. `score` begins with its first row.
    #[allow(clippy::too_many_arguments, reason = "what is between two lanes")]
    fn seam(
        &self,
        ahead: Ahead,
        above_lane: usize,
        score: &mut [f32],
        mut narrow: Option<&mut [f16]>,
        classes: &[u8],
        (standardized, suppressed): (&Edges, &Edges),
        spent: &Spent,
    ) {
        let Size { height, width } = self.size;
        let Ahead { margin, reach } = ahead;
        let middle = self.cut.lane(above_lane).end;
        let Scratch { suppress, smooth, .. } = &mut *own(self.scratch);
        let score = &mut score[..2 * (margin + reach) * width];
        let start = Instant::now();
        if let (Some(iterations), Some(scratch)) = (self.iterations, suppress) {
            let (above, below) = standardized.around(above_lane, width);
            self.arch.dispatch(suppress::Lane {
                iterations,
                prediction: Prediction { classes, first: 0, width, height },
                first: middle - margin,
                above,
                below,
                begins: true,
                ready: None,
                scratch,
                score: &mut score[reach * width..][..2 * margin * width],
            });
        }
        let start = spent.add(SUPPRESS, start);
        let narrow = narrow.as_mut().map(|narrow| &mut narrow[..score.len()]);
        let rows = middle - margin - reach..middle + margin + reach;
        match (self.taps, smooth) {
            (Some(taps), Some(scratch)) => {
                let (above, below) = suppressed.around(above_lane, width);
                let first = rows.start;
                self.arch.dispatch(smooth::Lane {
                    taps,
                    width,
                    height,
                    first,
                    above,
                    below,
                    rows,
                    scratch,
                    score,
                    narrow,
                });
            }
            _ => self.arch.dispatch(smooth::Negation { score, narrow }),
        }
        spent.add(SMOOTH, start);
    }
}

/// The parts of narrow scores that belong to `number` lanes or seams, the first of which begins at `from`; as many times none
/// where narrow scores are not wanted.
fn parts(
    narrow: Option<&mut [f16]>,
    from: usize,
    length: usize,
    number: usize,
) -> impl IndexedParallelIterator<Item = Option<&mut [f16]>> {
    match narrow {
        Some(narrow) => Either::Left(narrow[from..].par_chunks_mut(length).take(number).map(Some)),
        None => Either::Right((0..number).into_par_iter().map(|_| None)),
    }
}

/// A lane on its way through the stages. Rows are those of the image.
struct Lane<'a> {
    work: &'a Work<'a>,
    /// All of its rows, and those that it suppresses and smooths itself.
    rows: Range<usize>,
    suppressed: Range<usize>,
    smoothed: Range<usize>,
    /// Rows before these have been through the stage.
    suppressed_until: usize,
    smoothed_until: usize,
    score: &'a mut [f32],
    narrow: Option<&'a mut [f16]>,
    prediction: &'a mut [u8],
    /// Copies for the seams, before the suppression and before the smoothing.
    ends: (&'a mut Ends, &'a mut Ends),
}

impl<'a> Lane<'a> {
    fn new(
        work: &'a Work<'a>,
        ahead: Ahead,
        lane: usize,
        score: &'a mut [f32],
        narrow: Option<&'a mut [f16]>,
        prediction: &'a mut [u8],
        ends: (&'a mut Ends, &'a mut Ends),
    ) -> Self {
        let suppressed = work.cut.inner(lane, ahead.margin);
        let smoothed = work.cut.inner(lane, ahead.margin + ahead.reach);
        let (suppressed_until, smoothed_until) = (suppressed.start, smoothed.start);
        let rows = work.cut.lane(lane);
        Self {
            work,
            rows,
            suppressed,
            smoothed,
            suppressed_until,
            smoothed_until,
            score,
            narrow,
            prediction,
            ends,
        }
    }

    /// Returns how many pixels have a logit that is not finite.
    fn run(&mut self, scratch: &mut Scratch, spent: &Spent) -> u64 {
        let mut non_finite = 0;
        scratch.standardize.forget();
        for from in self.rows.clone().step_by(self.step()) {
            let now = from..(from + self.step()).min(self.rows.end);
            let start = Instant::now();
            non_finite += self.standardize(scratch, now.clone());
            let start = spent.add(STANDARDIZE, start);
            self.suppress(scratch, now);
            let start = spent.add(SUPPRESS, start);
            self.smooth(scratch);
            spent.add(SMOOTH, start);
        }
        non_finite
    }

    /// Rows that go through a stage at once: as many as a run of logits has, but no more than an eighth of the lane, so that the
    /// later stages get their turns in small images, too. Of upsampled rows more, so that the rows between the same two of
    /// the logits are seldom those of two steps.
    fn step(&self) -> usize {
        let run = match self.work.task.logits.data() {
            LogitsData::F32(_) if self.work.task.upsampling.is_none() => run_of::<f32>(),
            _ => run_of::<f16>(),
        };
        (run / self.work.size.width).clamp(1, self.rows.len().div_ceil(8))
    }

    fn standardize(&mut self, scratch: &mut Scratch, now: Range<usize>) -> u64 {
        let (Work { arch, task, size, iterations, cut, .. }, first) = (self.work, now.start);
        let pixels = self.pixels(now.clone());
        let (score, prediction) = (&mut self.score[pixels.clone()], &mut self.prediction[pixels]);
        let scratch = &mut scratch.standardize;
        let rows = standardize::Rows { task, scratch, first, width: size.width, score, prediction };
        let non_finite = arch.dispatch(rows);
        if let (Some(iterations), true) = (iterations, cut.lanes > 1) {
            let (own, now) = (self.of_lane(self.suppressed.clone()), self.of_lane(now));
            self.ends.0.keep_ready(self.score, own, iterations.halo(), now, size.width);
        }
        non_finite
    }

    /// Suppresses as many rows as the rows `now`, which have just been standardized, let it.
    fn suppress(&mut self, scratch: &mut Scratch, now: Range<usize>) {
        let Work { arch, iterations, size: Size { height, width }, taps, cut, .. } = *self.work;
        let (before, Range { start, end }) = (self.suppressed_until, self.suppressed.clone());
        match (iterations, &mut scratch.suppress) {
            (Some(iterations), Some(scratch)) if now.end >= start => {
                let (above, score, below) =
                    around(self.score, self.rows.start, start..end, iterations.halo(), width);
                self.suppressed_until = arch.dispatch(suppress::Lane {
                    iterations,
                    prediction: Prediction {
                        classes: self.prediction,
                        first: self.rows.start,
                        width,
                        height,
                    },
                    first: start,
                    above,
                    below,
                    begins: now.start < start || now.start == self.rows.start,
                    ready: (now.end < self.rows.end).then_some(now.end),
                    scratch,
                    score,
                });
            }
            (Some(_), _) => {}
            (None, _) => self.suppressed_until = now.end,
        }
        if let (Some(taps), true) = (taps, cut.lanes > 1) {
            let (own, now) =
                (self.of_lane(self.smoothed.clone()), self.of_lane(before..self.suppressed_until));
            self.ends.1.keep_ready(self.score, own, taps.reach(), now, width);
        }
    }

    /// Smooths as many rows as have been suppressed far enough below them.
    fn smooth(&mut self, scratch: &mut Scratch) {
        let Work { arch, taps, size: Size { height, width }, .. } = *self.work;
        let (from, Range { start, end }) = (self.smoothed_until, self.smoothed.clone());
        let reach = taps.map_or(0, |taps| taps.reach());
        // The suppression may yet look at the last row that it is done with.
        let is_suppressed = self.suppressed_until == self.suppressed.end;
        let lag = if is_suppressed { reach } else { reach.max(1) };
        let until = match self.suppressed_until {
            all if all == height => height,
            some => some.saturating_sub(lag),
        };
        let rows = from..until.clamp(from, end);
        if rows.is_empty() {
            return;
        }
        self.smoothed_until = rows.end;
        let (Some(taps), Some(scratch)) = (taps, &mut scratch.smooth) else {
            let pixels = self.pixels(rows);
            let narrow = self.narrow.as_mut().map(|narrow| &mut narrow[pixels.clone()]);
            return arch.dispatch(smooth::Negation { score: &mut self.score[pixels], narrow });
        };
        let pixels = self.pixels(start..end);
        let narrow = self.narrow.as_mut().map(|narrow| &mut narrow[pixels]);
        let (above, score, below) = around(self.score, self.rows.start, start..end, reach, width);
        let lane =
            smooth::Lane { taps, width, height, first: start, above, below, rows, scratch, score, narrow };
        arch.dispatch(lane);
    }

    /// Rows of the image as rows of the lane.
    fn of_lane(&self, rows: Range<usize>) -> Range<usize> {
        rows.start - self.rows.start..rows.end - self.rows.start
    }

    /// The pixels of rows of the image, as those of the lane.
    fn pixels(&self, rows: Range<usize>) -> Range<usize> {
        let (width, Range { start, end }) = (self.work.size.width, self.of_lane(rows));
        start * width..end * width
    }
}

/// The rows `own` of a lane that begins with row `first`, and up to `beside` rows of it above and below them.
fn around(
    lane: &mut [f32],
    first: usize,
    own: Range<usize>,
    beside: usize,
    width: usize,
) -> (&[f32], &mut [f32], &[f32]) {
    let (above, rest) = lane.split_at_mut((own.start - first) * width);
    let (own, below) = rest.split_at_mut(own.len() * width);
    let (above_from, below_length) =
        (above.len().saturating_sub(beside * width), below.len().min(beside * width));
    (&above[above_from..], own, &below[..below_length])
}

const STANDARDIZE: usize = 0;
const SUPPRESS: usize = 1;
const SMOOTH: usize = 2;

/// Nanoseconds that all threads together have spent in each stage.
#[derive(Default)]
struct Spent([AtomicU64; 3]);

impl Spent {
    /// Adds what has passed since `start`, and returns when that was.
    fn add(&self, stage: usize, start: Instant) -> Instant {
        let now = Instant::now();
        self.0[stage].fetch_add((now - start).as_nanos() as u64, Ordering::Relaxed);
        now
    }

    /// Divides the time of the whole among the stages.
    fn share(self, whole: Duration) -> StageTimings {
        let spent = self.0.map(|nanoseconds| nanoseconds.into_inner() as f64);
        let share = |stage: usize| whole.mul_f64(spent[stage] / spent.iter().sum::<f64>().max(1.0));
        StageTimings { standardize: share(STANDARDIZE), suppress: share(SUPPRESS), smooth: share(SMOOTH) }
    }
}
