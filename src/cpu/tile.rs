//! Pixels scored in tiles: whatever the logits' type, memory order and resolution, and whatever the score.
//!
//! A tile is one output row by [`TILE`] pixels. Its logits are gathered as float32, one run of pixels a class, into scratch
//! memory that stays in the first-level cache; that step hides element type, memory order and upsampling. All that follows
//! runs over these runs with the widest vectors at hand.
//!
//! Upsampling interpolates vertically first: once a row for each source column, into scratch memory of
//! classes x (source width); the horizontal step then takes two neighbours of it an output pixel.

use bytemuck::Pod;
use pulp::Simd;

use super::channels_last::Pixels;
use super::columns::{BLOCK, Columns, QUAD};
use super::element::Element;
use super::exponential::exp;
use super::maxima;
use super::prefetch;
use super::sampling::Sample;
use super::standardize::{Task, standardize_winners};
use crate::logits::LogitsData;
use crate::{NonFinite, Score};

/// Pixels of a tile.
pub(super) const TILE: usize = BLOCK;

/// Elements from a class of a tile to the next: a line of the caches more, so that a pixel's logits do not fall on each other in them.
pub(super) const PITCH: usize = TILE + 16;

/// Elements from a class of an interpolated source row to the next.
fn source_pitch(width: usize) -> usize {
    width + 1
}

/// Scratch memory of one thread.
pub(super) struct Scratch {
    /// One run of [`TILE`] pixels a class.
    tile: Vec<f32>,
    /// The same of 16-bit logits in NHWC order, before they are widened.
    narrow: Vec<u16>,
    /// Upsampling: one run of source-width values a class, and the last of them again, interpolated vertically.
    source_rows: Vec<f32>,
    maximum: Vec<f32>,
    class: Vec<u32>,
    /// Largest bit pattern without sign among the pixel's logits: at least that of infinity if one is not finite.
    magnitude: Vec<u32>,
    sum: Vec<f32>,
    weighted_sum: Vec<f32>,
}

impl Scratch {
    /// For logits of up to so many classes and columns.
    pub(super) fn new(classes: usize, source_width: usize) -> Self {
        Self {
            tile: vec![0.0; classes * PITCH],
            narrow: vec![0; classes * PITCH],
            source_rows: vec![0.0; classes * source_pitch(source_width)],
            maximum: vec![0.0; TILE],
            class: vec![0; TILE],
            magnitude: vec![0; TILE],
            sum: vec![0.0; TILE],
            weighted_sum: vec![0.0; TILE],
        }
    }

    /// Interpolates vertically, for the tiles of an output row at this position.
    #[inline(always)]
    pub(super) fn interpolate_rows(&mut self, task: &Task<'_>, at: Sample) {
        match task.logits.data() {
            LogitsData::F32(data) => interpolate_rows(data, task, at, &mut self.source_rows),
            LogitsData::F16(data) => interpolate_rows(data, task, at, &mut self.source_rows),
            LogitsData::BF16(data) => interpolate_rows(data, task, at, &mut self.source_rows),
        }
    }
}

/// Scores the pixels of row `y` from column `start` on, in tiles.
#[inline(always)]
pub(super) fn tiles<S: Simd>(
    simd: S,
    task: &Task<'_>,
    scratch: &mut Scratch,
    y: usize,
    start: usize,
    score: &mut [f32],
    prediction: &mut [u8],
) -> u64 {
    let mut non_finite = 0;
    for (i, (score, prediction)) in score.chunks_mut(TILE).zip(prediction.chunks_mut(TILE)).enumerate() {
        let (x, width) = (start + i * TILE, score.len());
        // The next tile will be written.
        prefetch::behind(score, TILE);
        match (task.upsampling, task.logits.data()) {
            (Some((_, columns)), _) => interpolate_columns(task, columns, x, scratch),
            (None, LogitsData::F32(data)) => gather(data, task, y, x, width, scratch),
            (None, LogitsData::F16(data)) => gather(data, task, y, x, width, scratch),
            (None, LogitsData::BF16(data)) => gather(data, task, y, x, width, scratch),
        }
        non_finite += tile(simd, task, scratch, score, prediction);
    }
    non_finite
}

/// Vertical interpolation of every class, at the source's columns.
#[inline(always)]
fn interpolate_rows<T: Element>(data: &[T], task: &Task<'_>, at: Sample, rows: &mut [f32]) {
    let [_, class_stride, row_stride, stride] = task.logits.strides();
    let width = task.logits.shape().size.width;
    let (upper, lower) = (1.0 - at.weight, at.weight);
    let pitch = source_pitch(width);
    for (class, row) in rows.chunks_exact_mut(pitch).take(task.logits.shape().classes).enumerate() {
        let first = &data[class * class_stride + at.first as usize * row_stride..];
        let second = &data[class * class_stride + at.second as usize * row_stride..];
        if stride == 1 {
            let pairs = first[..width].iter().zip(&second[..width]);
            for (out, (a, b)) in row.iter_mut().zip(pairs) {
                *out = a.to_f32() * upper + b.to_f32() * lower;
            }
        } else {
            for (x, out) in row[..width].iter_mut().enumerate() {
                *out = first[x * stride].to_f32() * upper + second[x * stride].to_f32() * lower;
            }
        }
        row[width] = row[width - 1];
    }
}

/// Horizontal interpolation of every class into the tile that begins with column `x`.
#[inline(always)]
fn interpolate_columns(task: &Task<'_>, columns: &Columns, x: usize, scratch: &mut Scratch) {
    let Some([left, right]) = columns.weights(x) else { return };
    let (pitch, quads) = (source_pitch(task.logits.shape().size.width), columns.quads(x));
    let runs = scratch.tile.as_chunks_mut::<PITCH>().0.iter_mut().take(task.logits.shape().classes);
    for (run, row) in runs.zip(scratch.source_rows.chunks_exact(pitch)) {
        for quad in quads {
            // What a quad writes beyond its end is the next one's, or the run's that nobody reads.
            let (at, cell) = (quad.start as usize % BLOCK, quad.cell as usize);
            let (first, second) = (row[cell], row[cell + 1]);
            for i in at..at + QUAD {
                run[i] = first * left[i] + second * right[i];
            }
        }
    }
}

/// Gathers the logits of `width` pixels from (y, x) on, at full resolution, into the tile.
#[inline(always)]
fn gather<T: Element + Pod>(
    data: &[T],
    task: &Task<'_>,
    y: usize,
    x: usize,
    width: usize,
    scratch: &mut Scratch,
) {
    let [_, class_stride, row_stride, stride] = task.logits.strides();
    let classes = task.logits.shape().classes;
    let start = y * row_stride + x * stride;
    if class_stride == 1 && stride != 1 {
        let pixels = Pixels { logits: &data[start..], stride, classes };
        return pixels.turn_over_widened(width, &mut scratch.narrow, &mut scratch.tile);
    }
    for (class, run) in scratch.tile.chunks_exact_mut(PITCH).take(classes).enumerate() {
        let from = &data[class * class_stride + start..];
        if stride == 1 {
            for (out, value) in run.iter_mut().zip(&from[..width]) {
                *out = value.to_f32();
            }
        } else {
            for (i, out) in run[..width].iter_mut().enumerate() {
                *out = from[i * stride].to_f32();
            }
        }
    }
}

/// Prediction and score of the pixels whose logits lie in the tile.
#[inline(always)]
fn tile<S: Simd>(
    simd: S,
    task: &Task<'_>,
    scratch: &mut Scratch,
    score: &mut [f32],
    prediction: &mut [u8],
) -> u64 {
    let (width, classes) = (score.len(), task.logits.shape().classes);
    let Scratch { tile, maximum, class, .. } = scratch;
    let run = |class: usize| &tile[class * PITCH..][..width];
    let is_finite = maxima::of_floats(simd, &mut class[..width], classes, run, &mut maximum[..width]);
    if !is_finite {
        maximize(scratch, classes, width);
    }
    for (out, class) in prediction.iter_mut().zip(&scratch.class) {
        *out = *class as u8;
    }
    match task.score {
        Score::MaxLogit => score.copy_from_slice(&scratch.maximum[..width]),
        Score::Sml => {
            score.copy_from_slice(&scratch.maximum[..width]);
            standardize_winners(task, score, prediction);
        }
        Score::Msp => {
            sum_exponentials::<false>(scratch, classes, width, None);
            score.iter_mut().zip(&scratch.sum).for_each(|(out, sum)| *out = 1.0 / sum);
        }
        Score::Entropy => {
            sum_exponentials::<true>(scratch, classes, width, None);
            negative_entropy(scratch, classes, score);
        }
        Score::Energy(temperature) => {
            let temperature = temperature.get();
            sum_exponentials::<false>(scratch, classes, width, (temperature != 1.0).then_some(temperature));
            for ((out, maximum), sum) in score.iter_mut().zip(&scratch.maximum).zip(&scratch.sum) {
                *out = maximum + temperature * sum.ln();
            }
        }
    }
    if is_finite { 0 } else { count_non_finite(task.non_finite, scratch, classes, score, prediction) }
}

/// Max logit, predicted class and largest magnitude of each pixel. The first class wins ties, and the first NaN wins
/// over all numbers, as in PyTorch. Slower than [`maxima`], which knows no NaN.
#[inline(always)]
fn maximize(scratch: &mut Scratch, classes: usize, width: usize) {
    let Scratch { tile, maximum, class, magnitude, .. } = scratch;
    let (maximum, class, magnitude) = (&mut maximum[..width], &mut class[..width], &mut magnitude[..width]);
    maximum.copy_from_slice(&tile[..width]);
    class.fill(0);
    for (bits, value) in magnitude.iter_mut().zip(&*maximum) {
        *bits = value.to_bits() & 0x7fff_ffff;
    }
    for (candidate, run) in tile.chunks_exact(PITCH).take(classes).enumerate().skip(1) {
        let run = &run[..width];
        for i in 0..width {
            let value = run[i];
            // Without short circuits, so that it becomes two comparisons and a blend.
            let wins = ((value > maximum[i]) | value.is_nan()) & !maximum[i].is_nan();
            class[i] = if wins { candidate as u32 } else { class[i] };
            maximum[i] = if wins { value } else { maximum[i] };
            magnitude[i] = magnitude[i].max(value.to_bits() & 0x7fff_ffff);
        }
    }
}

/// `sum_c exp((L_c - max) / temperature)` and, where it is `WEIGHTED`, the same sum weighted by `(L_c - max) / temperature`. Without a
/// temperature nothing is divided.
#[inline(always)]
fn sum_exponentials<const WEIGHTED: bool>(
    scratch: &mut Scratch,
    classes: usize,
    width: usize,
    temperature: Option<f32>,
) {
    let Scratch { tile, maximum, sum, weighted_sum, .. } = scratch;
    let maximum = &maximum[..width];
    let (sum, weighted_sum) = (&mut sum[..width], &mut weighted_sum[..width]);
    sum.fill(0.0);
    weighted_sum.fill(0.0);
    for run in tile.chunks_exact(PITCH).take(classes) {
        let run = &run[..width];
        match temperature {
            None => add_exponentials::<WEIGHTED>(run, maximum, |distance| distance, sum, weighted_sum),
            Some(temperature) => {
                add_exponentials::<WEIGHTED>(
                    run,
                    maximum,
                    |distance| distance / temperature,
                    sum,
                    weighted_sum,
                );
            }
        }
    }
}

/// Adds one class to the sums.
#[inline(always)]
fn add_exponentials<const WEIGHTED: bool>(
    run: &[f32],
    maximum: &[f32],
    scaled: impl Fn(f32) -> f32,
    sum: &mut [f32],
    weighted_sum: &mut [f32],
) {
    let width = run.len();
    let (maximum, sum, weighted_sum) = (&maximum[..width], &mut sum[..width], &mut weighted_sum[..width]);
    for i in 0..width {
        let distance = scaled(run[i] - maximum[i]);
        let exponential = exp(distance);
        sum[i] += exponential;
        if WEIGHTED {
            // A vanished class adds nothing, however far away it is.
            weighted_sum[i] += if exponential == 0.0 { 0.0 } else { exponential * distance };
        }
    }
}

/// `-H(softmax) / ln C`, from `H = ln Z - (weighted sum) / Z`.
#[inline(always)]
fn negative_entropy(scratch: &Scratch, classes: usize, score: &mut [f32]) {
    if classes == 1 {
        score.fill(0.0);
        return;
    }
    let scale = (classes as f32).ln();
    for ((out, sum), weighted) in score.iter_mut().zip(&scratch.sum).zip(&scratch.weighted_sum) {
        *out = (weighted / sum - sum.ln()) / scale;
    }
}

/// Counts the pixels with a logit that is not finite and, where asked, replaces their score and prediction.
#[inline(always)]
fn count_non_finite(
    policy: NonFinite,
    scratch: &Scratch,
    classes: usize,
    score: &mut [f32],
    prediction: &mut [u8],
) -> u64 {
    let broken = |bits: u32| bits >= f32::INFINITY.to_bits();
    let count: u32 = scratch.magnitude[..score.len()].iter().map(|&bits| u32::from(broken(bits))).sum();
    if let NonFinite::Replace(value) = policy
        && count > 0
    {
        for i in (0..score.len()).filter(|&i| broken(scratch.magnitude[i])) {
            let pixel = (0..classes).map(|class| (class, scratch.tile[class * PITCH + i]));
            let best = pixel.filter(|(_, v)| v.is_finite()).fold(None, |best: Option<(usize, f32)>, next| {
                best.filter(|(_, value)| *value >= next.1).or(Some(next))
            });
            score[i] = -value.get();
            prediction[i] = best.map_or(0, |(class, _)| class as u8);
        }
    }
    u64::from(count)
}
