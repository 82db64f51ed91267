//! The engine on the CPU: the three stages over bands of image rows, in parallel.
//!
//! An image is cut into *lanes* of contiguous rows, a few for each thread; threads have scratch memory of their own,
//! allocated once. Every stage runs all lanes and then the next stage begins, because a pixel of the next one needs
//! its neighbours from the lanes beside it. Scores are written once, where the result will lie, and each later stage changes them
//! in place: there are no other maps. Each stage's inner loops are plain Rust over slices, compiled for several
//! instruction sets and chosen at run time (`pulp`). No fused multiply-add is used, so the result does not depend on
//! the processor, the number of threads or lanes.
//!
//! What a lane does in a stage is a struct whose `call` is always inlined, and so is all that it calls: a closure would be
//! compiled once, for the least of the instruction sets, and only called from code for the others.

mod columns;
mod edges;
mod element;
mod exponential;
mod masks;
mod maxima;
pub(crate) mod preprocess;
mod rolling;
pub(crate) mod sampling;
mod smooth;
mod standardize;
mod suppress;
mod tile;
mod upsample;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use half::f16;
use rayon::prelude::*;

use crate::capacity::Capacity;
use crate::engine::StageTimings;
use crate::logits::Logits;
use crate::measured::{Whole, measured};
use crate::statistics::Standardization;
use crate::{Params, Size};
use columns::Columns;
use edges::{Cut, Edges};
use sampling::Sample;
use smooth::Taps;
use suppress::Iterations;

/// Lanes for each thread: several, so that a thread that was held up does not hold up the stage.
const LANES_PER_THREAD: usize = 4;

/// More lanes than this only where there are more threads: each keeps copies of its first and last rows.
const ENOUGH_LANES: usize = 8;

/// Scratch memory of one thread.
struct Scratch {
    standardize: standardize::Scratch,
    suppress: Option<suppress::Scratch>,
    smooth: Option<smooth::Scratch>,
}

/// The CPU's half of [`crate::Engine`]. Inputs are checked before they come here.
pub(crate) struct CpuEngine {
    params: Params,
    standardization: Option<Standardization>,
    iterations: Option<Iterations>,
    taps: Option<Taps>,
    arch: pulp::Arch,
    /// One a thread. A thread that works on a lane holds its own; of more threads than were expected, some wait for each other.
    scratch: Vec<Mutex<Scratch>>,
    rows: Vec<Sample>,
    columns: Columns,
    /// Standardized rows for the suppression of the lanes beside them.
    standardized: Edges,
    /// Suppressed rows for the smoothing.
    suppressed: Edges,
    timings: StageTimings,
}

/// Where an engine leaves its results: one image behind the other.
pub(crate) struct Output<'a> {
    /// Anomaly scores; scratch memory where `narrow` takes them.
    pub score: &'a mut [f32],
    /// Anomaly scores as float16, where they are wanted so.
    pub narrow: Option<&'a mut [f16]>,
    pub prediction: &'a mut [u8],
    pub non_finite: &'a mut [u64],
}

impl CpuEngine {
    /// Allocates everything for images of up to `capacity`, to be computed with the vectors of `arch`.
    pub(crate) fn new(
        params: Params,
        standardization: Option<Standardization>,
        capacity: Capacity,
        arch: pulp::Arch,
    ) -> Self {
        let Size { height, width } = capacity.output;
        let iterations = params.suppression.map(|s| Iterations::new(s, params.border_labels));
        let taps = params.smoothing.map(|smoothing| Taps {
            weights: smoothing.weights_f32().collect(),
            dilation: usize::from(smoothing.dilation()),
        });
        let threads = rayon::current_num_threads();
        let lanes = (threads * LANES_PER_THREAD).min(threads.max(ENOUGH_LANES)).clamp(1, height);
        let scratch = || Scratch {
            standardize: standardize::Scratch::new(capacity.classes, capacity.logits.width),
            suppress: iterations.as_ref().map(|iterations| suppress::Scratch::new(iterations, width)),
            smooth: taps.as_ref().map(|taps| smooth::Scratch::new(taps, width)),
        };
        let edges = |rows| Edges::new(lanes, rows, width);
        Self {
            scratch: (0..threads).map(|_| Mutex::new(scratch())).collect(),
            rows: vec![Sample::default(); height],
            columns: Columns::new(width),
            standardized: edges(iterations.as_ref().map_or(0, Iterations::halo)),
            suppressed: edges(taps.as_ref().map_or(0, Taps::reach)),
            arch,
            timings: StageTimings::default(),
            params,
            standardization,
            iterations,
            taps,
        }
    }

    /// Time spent in each stage by the latest [`CpuEngine::submit`].
    pub(crate) fn timings(&self) -> StageTimings {
        self.timings
    }

    /// Runs all stages on every image of the batch. All shapes have been checked against the capacity.
    pub(crate) fn submit(
        &mut self,
        logits: &Logits<'_>,
        size: Size,
        output: Output<'_>,
    ) -> crate::Result<()> {
        // Called from outside the pool, each parallel loop would be handed over to it and waited for: this way the
        // whole batch is, once.
        let frame = Whole::current();
        rayon::scope(|_| self.run(&frame, logits, size, output))
    }

    fn run(
        &mut self,
        frame: &Whole,
        logits: &Logits<'_>,
        size: Size,
        output: Output<'_>,
    ) -> crate::Result<()> {
        let Output { score, mut narrow, prediction, non_finite } = output;
        self.timings = StageTimings::default();
        let upsampled = logits.shape().size != size;
        if upsampled {
            let source = logits.shape().size;
            sampling::fill(&mut self.rows[..size.height], source.height, self.params.align_corners);
            self.columns.place(size.width, source.width, self.params.align_corners);
        }
        let pixels = size.pixels();
        let least = least_rows(self.iterations.as_ref(), self.taps.as_ref());
        let cut = Cut::new(size.height, self.standardized.lanes(), least);
        let images = score.chunks_exact_mut(pixels).zip(prediction.chunks_exact_mut(pixels));
        for (n, ((score, prediction), non_finite)) in images.zip(non_finite).enumerate() {
            let logits = logits.image(n)?;
            *non_finite = measured!(frame, "standardize", self.timings.standardize, {
                self.standardize(&logits, size, cut, upsampled, score, prediction)
            });
            measured!(frame, "suppress", self.timings.suppress, self.suppress(size, cut, score, prediction));
            let narrow = narrow.as_mut().map(|narrow| &mut narrow[n * pixels..][..pixels]);
            measured!(frame, "smooth", self.timings.smooth, self.smooth(size, cut, score, narrow));
        }
        Ok(())
    }

    fn standardize(
        &mut self,
        logits: &Logits<'_>,
        size: Size,
        cut: Cut,
        upsampled: bool,
        score: &mut [f32],
        prediction: &mut [u8],
    ) -> u64 {
        let Self { arch, scratch, rows, columns, params, standardization, .. } = self;
        let task = standardize::Task {
            logits: *logits,
            upsampling: upsampled.then(|| (&rows[..size.height], &*columns)),
            score: params.score,
            non_finite: params.non_finite,
            standardization: standardization.as_ref(),
        };
        let (width, length) = (size.width, cut.rows * size.width);
        let edges = if self.iterations.is_some() { &mut self.standardized } else { &mut self.suppressed };
        let kept = edges.rows();
        let non_finite = AtomicU64::new(0);
        let outputs = score.par_chunks_mut(length).zip(prediction.par_chunks_mut(length));
        outputs.zip(edges.lanes_mut()).enumerate().for_each(|(i, ((score, prediction), edges))| {
            let (first, scratch) = (i * cut.rows, &mut own(scratch).standardize);
            scratch.forget();
            let rows = standardize::Rows { task: &task, scratch, first, width, score, prediction };
            non_finite.fetch_add(arch.dispatch(rows), Ordering::Relaxed);
            edges.keep(score, kept * width);
        });
        non_finite.into_inner()
    }

    fn suppress(&mut self, size: Size, cut: Cut, score: &mut [f32], prediction: &[u8]) {
        let Self { arch, scratch, iterations, standardized, suppressed, .. } = self;
        let (Some(iterations), standardized) = (iterations, &*standardized) else { return };
        let (width, kept) = (size.width, suppressed.rows());
        let rows = score.par_chunks_mut(cut.rows * width);
        rows.zip(suppressed.lanes_mut()).enumerate().for_each(|(i, (score, edges))| {
            let Some(scratch) = &mut own(scratch).suppress else { return };
            let (above, below) = standardized.beside(i, cut, width);
            let first = i * cut.rows;
            arch.dispatch(suppress::Lane {
                iterations,
                prediction,
                width,
                first,
                above,
                below,
                scratch,
                score: &mut *score,
            });
            edges.keep(score, kept * width);
        });
    }

    /// Smooths what the stages before have left and turns it into the anomaly score: the negated official score.
    fn smooth(&mut self, size: Size, cut: Cut, score: &mut [f32], narrow: Option<&mut [f16]>) {
        let Self { arch, scratch, taps, suppressed, .. } = self;
        let Size { height, width } = size;
        let length = cut.rows * width;
        let lane = |i: usize, score: &mut [f32], narrow: Option<&mut [f16]>| {
            let (Some(taps), Some(scratch)) = (&*taps, &mut own(scratch).smooth) else {
                return arch.dispatch(smooth::Negation { score, narrow });
            };
            let (above, below) = suppressed.beside(i, cut, width);
            let first = i * cut.rows;
            arch.dispatch(smooth::Lane { taps, width, height, first, above, below, scratch, score, narrow });
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

/// The scratch memory of the thread at work. What a panicking thread has left in it harms nobody: every stage begins anew.
fn own(scratch: &[Mutex<Scratch>]) -> MutexGuard<'_, Scratch> {
    let thread = rayon::current_thread_index().unwrap_or_default();
    scratch[thread % scratch.len()].lock().unwrap_or_else(PoisonError::into_inner)
}

/// Rows that a lane must have so that the lanes beside it find all that they need in its copies.
fn least_rows(iterations: Option<&Iterations>, taps: Option<&Taps>) -> usize {
    iterations.map_or(0, Iterations::halo).max(taps.map_or(0, Taps::reach))
}
