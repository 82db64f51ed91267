//! The engine on the CPU: the three stages over bands of image rows, in parallel.
//!
//! An image is cut into as many *lanes* as there is parallel work: contiguous rows, each with its own scratch memory,
//! allocated once. Every stage runs all lanes and then the next stage begins, because a pixel of the next one needs
//! its neighbours from the lanes beside it. Each stage's inner loops are plain Rust over slices, compiled for several
//! instruction sets and chosen at run time (`pulp`). No fused multiply-add is used, so the result does not depend on
//! the processor, the number of threads or lanes.
//!
//! What a lane does in a stage is a struct whose `call` is always inlined, and so is all that it calls: a closure would be
//! compiled once, for the least of the instruction sets, and only called from code for the others.

mod exponential;
mod maxima;
pub(crate) mod sampling;
mod smooth;
mod standardize;
mod suppress;
mod upsample;

use std::time::Instant;

use rayon::prelude::*;

use crate::anomaly_map::ScoreMut;
use crate::engine::{Capacity, StageTimings};
use crate::logits::Logits;
use crate::statistics::Standardization;
use crate::{Params, Size};
use sampling::Sample;
use smooth::Taps;

/// Lanes for each thread: several, so that a thread that was held up does not hold up the stage.
const LANES_PER_THREAD: usize = 4;

/// Scratch memory of one lane.
struct Lane {
    standardize: standardize::Scratch,
    /// Of [`suppress::band`].
    band: Vec<f32>,
    /// One row of distances.
    distance: Vec<u8>,
    /// One row and the smoothing's reach on both sides.
    padded: Vec<f32>,
    /// One smoothed row.
    smoothed: Vec<f32>,
    non_finite: u64,
}

/// The CPU's half of [`crate::Engine`]. Inputs are checked before they come here.
pub(crate) struct CpuEngine {
    params: Params,
    standardization: Option<Standardization>,
    radii: Vec<u8>,
    taps: Option<Taps>,
    arch: pulp::Arch,
    lanes: Vec<Lane>,
    rows: Vec<Sample>,
    columns: Vec<Sample>,
    standardized: Vec<f32>,
    suppressed: Vec<f32>,
    boundary: Vec<u8>,
    distance: Vec<u8>,
    timings: StageTimings,
}

impl CpuEngine {
    /// Allocates everything for images of up to `capacity`.
    pub(crate) fn new(params: Params, standardization: Option<Standardization>, capacity: Capacity) -> Self {
        let Size { height, width } = capacity.output;
        let pixels = capacity.output.pixels();
        let radii: Vec<u8> = params.suppression.map(|s| s.radii().collect()).unwrap_or_default();
        let taps = params.smoothing.map(|smoothing| Taps {
            weights: smoothing.weights_f32().collect(),
            dilation: usize::from(smoothing.dilation()),
        });
        let suppressed_pixels = if radii.is_empty() { 0 } else { pixels };
        let lane_count = (rayon::current_num_threads() * LANES_PER_THREAD).clamp(1, height);
        let band = if radii.is_empty() { 0 } else { suppress::scratch_length(radii.len(), width) };
        let lane = || Lane {
            standardize: standardize::Scratch::new(capacity.classes, capacity.logits.width),
            band: vec![0.0; band],
            distance: vec![0; width],
            padded: vec![0.0; width + 2 * taps.as_ref().map_or(0, Taps::reach)],
            smoothed: vec![0.0; width],
            non_finite: 0,
        };
        Self {
            lanes: (0..lane_count).map(|_| lane()).collect(),
            rows: vec![Sample::default(); height],
            columns: vec![Sample::default(); width],
            standardized: vec![0.0; pixels],
            suppressed: vec![0.0; suppressed_pixels],
            boundary: vec![0; suppressed_pixels],
            distance: vec![0; suppressed_pixels],
            arch: pulp::Arch::new(),
            timings: StageTimings::default(),
            params,
            standardization,
            radii,
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
        score: ScoreMut<'_>,
        prediction: &mut [u8],
        non_finite: &mut [u64],
    ) -> crate::Result<()> {
        // Called from outside the pool, each parallel loop would be handed over to it and waited for: this way the
        // whole batch is, once.
        rayon::scope(|_| self.run(logits, size, score, prediction, non_finite))
    }

    fn run(
        &mut self,
        logits: &Logits<'_>,
        size: Size,
        mut score: ScoreMut<'_>,
        prediction: &mut [u8],
        non_finite: &mut [u64],
    ) -> crate::Result<()> {
        self.timings = StageTimings::default();
        let upsampled = logits.shape().size != size;
        if upsampled {
            let source = logits.shape().size;
            sampling::fill(&mut self.rows[..size.height], source.height, self.params.align_corners);
            sampling::fill(&mut self.columns[..size.width], source.width, self.params.align_corners);
        }
        let pixels = size.pixels();
        let predictions = prediction.chunks_exact_mut(pixels);
        for (n, (prediction, non_finite)) in predictions.zip(non_finite).enumerate() {
            let start = Instant::now();
            *non_finite = self.standardize(&logits.image(n)?, size, upsampled, prediction);
            self.timings.standardize += start.elapsed();
            let start = Instant::now();
            self.suppress(size, prediction);
            self.timings.suppress += start.elapsed();
            let start = Instant::now();
            match &mut score {
                ScoreMut::F32(score) => self.smooth(size, &mut score[n * pixels..][..pixels]),
                ScoreMut::F16(score) => self.smooth(size, &mut score[n * pixels..][..pixels]),
            }
            self.timings.smooth += start.elapsed();
        }
        Ok(())
    }

    fn standardize(
        &mut self,
        logits: &Logits<'_>,
        size: Size,
        upsampled: bool,
        prediction: &mut [u8],
    ) -> u64 {
        let Self { arch, lanes, standardized, rows, columns, params, standardization, .. } = self;
        let task = standardize::Task {
            logits: *logits,
            upsampling: upsampled.then(|| (&rows[..size.height], &columns[..size.width])),
            score: params.score,
            non_finite: params.non_finite,
            standardization: standardization.as_ref(),
        };
        let (width, lane_rows) = (size.width, lane_rows(size, lanes.len()));
        let scores = standardized[..size.pixels()].par_chunks_mut(lane_rows * width);
        let predictions = prediction.par_chunks_mut(lane_rows * width);
        scores.zip(predictions).zip(&mut *lanes).enumerate().for_each(|(i, ((score, prediction), lane))| {
            lane.standardize.forget();
            let first = i * lane_rows;
            let scratch = &mut lane.standardize;
            let rows = standardize::Rows { task: &task, scratch, first, width, score, prediction };
            lane.non_finite = arch.dispatch(rows);
        });
        lanes.iter().take(size.height.div_ceil(lane_rows)).map(|lane| lane.non_finite).sum()
    }

    fn suppress(&mut self, size: Size, prediction: &[u8]) {
        let Some(suppression) = self.params.suppression else { return };
        let Self { arch, lanes, standardized, suppressed, boundary, distance, params, radii, .. } = self;
        let (width, pixels, lane_rows) = (size.width, size.pixels(), lane_rows(size, lanes.len()));
        let (boundary, distance) = (&mut boundary[..pixels], &mut distance[..pixels]);
        boundary.par_chunks_mut(lane_rows * width).enumerate().for_each(|(i, rows)| {
            let (first, border) = (i * lane_rows, params.border_labels);
            arch.dispatch(suppress::BoundaryRows { prediction, width, first, border, out: rows });
        });
        distance.par_chunks_mut(lane_rows * width).zip(&mut *lanes).enumerate().for_each(
            |(i, (rows, lane))| {
                let (first, reach) = (i * lane_rows, suppression.reach());
                let scratch = &mut lane.distance;
                arch.dispatch(suppress::DistanceRows { boundary, width, first, reach, scratch, out: rows });
            },
        );
        let plane = suppress::Plane { score: &standardized[..pixels], distance, width };
        let bands = suppressed[..pixels].par_chunks_mut(lane_rows * width).zip(&mut *lanes).enumerate();
        bands.for_each(|(i, (rows, lane))| {
            let first = i * lane_rows;
            arch.dispatch(suppress::Bands { plane, first, radii, scratch: &mut lane.band, out: rows });
        });
    }

    /// Smooths what the stages before have left and writes the anomaly score: the negated official score.
    fn smooth<T: smooth::ScoreElement>(&mut self, size: Size, out: &mut [T]) {
        let Self { arch, lanes, standardized, suppressed, params, taps, .. } = self;
        let score = if params.suppression.is_some() { suppressed } else { standardized };
        let score = &score[..size.pixels()];
        let (width, lane_rows) = (size.width, lane_rows(size, lanes.len()));
        let Some(taps) = taps else {
            out.par_chunks_mut(lane_rows * width).zip(score.par_chunks(lane_rows * width)).for_each(
                |(out, score)| out.iter_mut().zip(score).for_each(|(out, score)| *out = T::from_f32(-score)),
            );
            return;
        };
        out.par_chunks_mut(lane_rows * width).zip(&mut *lanes).enumerate().for_each(|(i, (rows, lane))| {
            let Lane { padded, smoothed, .. } = lane;
            arch.dispatch(smooth::Rows {
                score,
                width,
                first: i * lane_rows,
                taps,
                padded,
                smoothed,
                out: rows,
            });
        });
    }
}

/// Rows of each lane but the last.
fn lane_rows(size: Size, lanes: usize) -> usize {
    size.height.div_ceil(lanes)
}
