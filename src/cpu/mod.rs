//! The engine on the CPU: the three stages over bands of image rows, in parallel.
//!
//! An image is cut into *lanes* of contiguous rows ([`cut`]), a few for each thread; threads have scratch memory of their own,
//! allocated once. A lane goes through all stages a few rows at a time, each stage some rows behind the one before it, so that the rows
//! stay in the nearest caches and the arithmetic of the later stages fills the time in which another thread waits for memory
//! ([`ahead`]). Where lanes are too low for that, every stage runs all lanes and then the next one begins ([`stages`]). Scores are
//! written once, where the result will lie, and each later stage changes them in place: there are no other maps. Each stage's inner
//! loops are plain Rust over slices, compiled for several instruction sets and chosen at run time (`pulp`). No fused multiply-add is
//! used, so the result does not depend on the processor, the number of threads or lanes.
//!
//! What a lane does in a stage is a struct whose `call` is always inlined, and so is all that it calls: a closure would be
//! compiled once, for the least of the instruction sets, and only called from code for the others.

mod ahead;
mod cells;
mod channels_last;
mod columns;
mod cut;
mod edges;
mod element;
mod exponential;
mod masks;
mod maxima;
mod moments;
pub(crate) mod prefetch;
pub(crate) mod preprocess;
mod rolling;
pub(crate) mod sampling;
mod smooth;
mod square;
mod stages;
mod standardize;
mod suppress;
mod tile;
mod upsample;

use std::sync::{Mutex, MutexGuard, PoisonError};

use half::f16;

use crate::capacity::Capacity;
use crate::engine::StageTimings;
use crate::logits::Logits;
use crate::measured::{Whole, spanned};
use crate::statistics::Standardization;
use crate::{Params, Size};
use columns::Columns;
use cut::{Ahead, Cut, Needs};
use edges::Edges;
use moments::Moments;
use sampling::Sample;
use smooth::Taps;
use suppress::Iterations;

/// Lanes for each thread where every stage runs all of them: several, so that a thread that was held up does not hold up the stage.
const LANES_PER_THREAD: usize = 4;

/// More lanes than this only where there are more threads: each keeps copies of rows.
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
    moments: Option<Box<Moments>>,
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
            moments: standardization.map(|standardization| Box::new(Moments::new(&standardization))),
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
        let Self { arch, scratch, rows, columns, params, moments, iterations, taps, .. } = self;
        let needs = needs(iterations.as_ref(), taps.as_ref());
        let cut = Cut::new(size.height, scratch.len(), self.standardized.lanes(), needs);
        let images = score.chunks_exact_mut(pixels).zip(prediction.chunks_exact_mut(pixels));
        for (n, ((score, prediction), non_finite)) in images.zip(non_finite).enumerate() {
            let task = standardize::Task {
                logits: logits.image(n)?,
                upsampling: upsampled.then(|| (&rows[..size.height], &*columns)),
                score: params.score,
                non_finite: params.non_finite,
                moments: moments.as_deref(),
            };
            let (iterations, taps) = (iterations.as_ref(), taps.as_ref());
            let work = Work { arch: *arch, task, iterations, taps, scratch, size, cut };
            let narrow = narrow.as_mut().map(|narrow| &mut narrow[n * pixels..][..pixels]);
            let map = Map { score, narrow, prediction };
            let edges = (&mut self.standardized, &mut self.suppressed);
            let (broken, timings) = spanned!(frame, "stages", {
                match cut.ahead {
                    Some(ahead) => work.go_ahead(ahead, map, edges),
                    None => work.stage_by_stage(map, edges),
                }
            });
            *non_finite = broken;
            self.timings.standardize += timings.standardize;
            self.timings.suppress += timings.suppress;
            self.timings.smooth += timings.smooth;
        }
        Ok(())
    }
}

/// One image of the batch, and what its lanes have in common.
struct Work<'a> {
    arch: pulp::Arch,
    task: standardize::Task<'a>,
    iterations: Option<&'a Iterations>,
    taps: Option<&'a Taps>,
    scratch: &'a [Mutex<Scratch>],
    size: Size,
    cut: Cut,
}

/// Where its results go.
struct Map<'a> {
    score: &'a mut [f32],
    narrow: Option<&'a mut [f16]>,
    prediction: &'a mut [u8],
}

/// The scratch memory of the thread at work. What a panicking thread has left in it harms nobody: every stage begins anew.
fn own(scratch: &[Mutex<Scratch>]) -> MutexGuard<'_, Scratch> {
    let thread = rayon::current_thread_index().unwrap_or_default();
    scratch[thread % scratch.len()].lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the stages need of the rows beside those that they work on.
fn needs(iterations: Option<&Iterations>, taps: Option<&Taps>) -> Needs {
    let margin = iterations.map_or(0, Iterations::margin);
    let ahead = Ahead { margin, reach: taps.map_or(0, Taps::reach) };
    Needs { halo: iterations.map_or(0, Iterations::halo), ahead }
}
