//! Stage 2: iterative boundary suppression (paper section 3.3, SPEC section 4).
//!
//! Each lane of rows is suppressed in place, in one sweep from its first row to its last. `boundary_row` marks boundary
//! pixels of the prediction; `distance_row` finds each pixel's L1 distance to the nearest of them, as far as the largest radius
//! reaches: first down the columns, then along the row with steps of 1, 2, 4, ..., which cover every reach in
//! logarithmically many vector operations. The iterations follow these and each other at a distance of one row, so that the few
//! rows at work stay in the nearest cache.
//!
//! An iteration writes only masked pixels and reads only unmasked ones: it sees nothing but the values before it, although it
//! works in place. The row below, which it reads too, has seen the iterations before it, and no more. Rows beside the lane
//! are copies from before the stage ([`Edges`](super::edges::Edges)), one an iteration, and are worked on as far as the lane needs.
//!
//! The official arithmetic multiplies masked positions by 0, and so does this one: it needs no branch. The product is 0
//! unless the score is NaN or infinite: these spread to the pixels around them. From the first sum on that is not finite, a row
//! is kept as it was before the iteration, and that reads it there.

use pulp::NullaryFnOnce;

use super::masks::{CHUNK, Masks, Progress};
use super::rolling::Rolling;
use crate::{BorderLabels, Suppression};

/// Columns of a row of weights: one more on either side, so that every pixel has its neighbours.
fn pitch(width: usize) -> usize {
    width + 2
}

/// The suppression's parameters, as a lane needs them.
#[derive(Clone, Debug)]
pub(super) struct Iterations {
    /// Radius of the mask in each iteration.
    pub radii: Vec<u8>,
    /// The largest of them.
    pub reach: u8,
    pub border: BorderLabels,
}

impl Iterations {
    pub(super) fn new(suppression: Suppression, border: BorderLabels) -> Self {
        Self { radii: suppression.radii().collect(), reach: suppression.reach(), border }
    }

    /// Rows beside a lane that it needs as they were before the stage.
    pub(super) fn halo(&self) -> usize {
        self.radii.len()
    }
}

/// Scratch memory of one lane.
pub(super) struct Scratch {
    boundary: Rolling<u8>,
    distance: Rolling<u8>,
    nearest: Rolling<u8>,
    spread: Vec<u8>,
    above: Vec<f32>,
    below: Vec<f32>,
    /// One an iteration.
    iterations: Vec<Iteration>,
}

impl Scratch {
    pub(super) fn new(iterations: &Iterations, width: usize) -> Self {
        let halo = iterations.halo();
        Self {
            boundary: Rolling::new(2 * usize::from(iterations.reach) + 1, width),
            distance: Rolling::new(halo + 3, width),
            nearest: Rolling::new(halo + 3, width.div_ceil(CHUNK)),
            spread: vec![0; width],
            above: vec![0.0; halo * width],
            below: vec![0.0; halo * width],
            iterations: iterations.radii.iter().map(|&radius| Iteration::new(radius, width)).collect(),
        }
    }
}

/// What an iteration keeps of the rows around the one that it is at.
struct Iteration {
    radius: u8,
    /// 1 for unmasked pixels, 0 for masked ones.
    weights: Rolling<f32>,
    /// The row after the last one that has weights.
    weighed: usize,
    /// Rows as they were before this iteration, near scores that are not finite.
    before: Rolling<f32>,
    /// Which rows those are.
    kept: [usize; 2],
}

impl Iteration {
    fn new(radius: u8, width: usize) -> Self {
        let (weights, before) = (Rolling::new(3, pitch(width)), Rolling::new(2, width));
        Self { radius, weights, weighed: 0, before, kept: [usize::MAX; 2] }
    }
}

/// A lane's rows, to be suppressed in place.
pub(super) struct Lane<'a> {
    pub iterations: &'a Iterations,
    /// Of the whole image.
    pub prediction: &'a [u8],
    pub width: usize,
    /// Image row of the lane's first.
    pub first: usize,
    /// The rows above and below it as they were before the stage, one an iteration; none beyond the image.
    pub above: &'a [f32],
    pub below: &'a [f32],
    pub scratch: &'a mut Scratch,
    pub score: &'a mut [f32],
}

impl NullaryFnOnce for Lane<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { iterations, prediction, width, first, above, below, scratch, score } = self;
        let (height, end) = (prediction.len() / width, first + score.len() / width);
        let Scratch {
            boundary,
            distance,
            nearest,
            spread,
            above: above_copy,
            below: below_copy,
            iterations: states,
        } = scratch;
        let (above_copy, below_copy) = (&mut above_copy[..above.len()], &mut below_copy[..below.len()]);
        above_copy.copy_from_slice(above);
        below_copy.copy_from_slice(below);
        let start = first - above.len() / width;
        let stop = end + below.len() / width;
        let mut rows = Rows { above: above_copy, own: score, below: below_copy, start, first, end, width };
        let mut masks = Masks {
            prediction,
            width,
            height,
            border: iterations.border,
            reach: iterations.reach,
            boundary: Progress::new(boundary, start.saturating_sub(usize::from(iterations.reach))),
            distance: Progress::new(distance, start),
            nearest,
            spread,
        };
        for state in states.iter_mut() {
            (state.weighed, state.kept) = (start, [usize::MAX; 2]);
        }
        let count = states.len();
        for newest in start..stop + count - 1 {
            masks.advance((newest + 2).min(stop));
            for (i, state) in states.iter_mut().enumerate() {
                // Rows beyond the lane that the iterations still to come will read.
                let margin = count - 1 - i;
                let Some(y) = newest.checked_sub(i) else { continue };
                if y + margin < first || y < start || y >= (end + margin).min(stop) {
                    continue;
                }
                state.average(y, height, &masks, &mut rows);
            }
        }
    }
}

/// The rows that a lane works on.
struct Rows<'a> {
    above: &'a mut [f32],
    own: &'a mut [f32],
    below: &'a mut [f32],
    /// Image row of the first one above, of the lane's first, and after its last.
    start: usize,
    first: usize,
    end: usize,
    width: usize,
}

impl Rows<'_> {
    #[inline(always)]
    fn row(&self, y: usize) -> &[f32] {
        let (rows, at) = match y {
            y if y < self.first => (&*self.above, y - self.start),
            y if y < self.end => (&*self.own, y - self.first),
            y => (&*self.below, y - self.end),
        };
        &rows[at * self.width..][..self.width]
    }

    #[inline(always)]
    fn row_mut(&mut self, y: usize) -> &mut [f32] {
        let (rows, at) = match y {
            y if y < self.first => (&mut *self.above, y - self.start),
            y if y < self.end => (&mut *self.own, y - self.first),
            y => (&mut *self.below, y - self.end),
        };
        &mut rows[at * self.width..][..self.width]
    }
}

impl Iteration {
    /// Averages the masked pixels of row `y`.
    #[inline(always)]
    fn average(&mut self, y: usize, height: usize, masks: &Masks<'_>, rows: &mut Rows<'_>) {
        let Self { radius, weights, weighed, before, kept } = self;
        let (mask, nearest, width) = (masks.row(y), masks.nearest(y), masks.width);
        if nearest.iter().all(|distance| distance > radius) {
            return;
        }
        let window = [y.saturating_sub(1), y, (y + 1).min(height - 1)];
        for y in (*weighed).max(window[0])..=window[2] {
            weigh(masks.row(y), *radius, weights.row_mut(y, pitch(width)));
        }
        *weighed = window[2] + 1;
        let [above, own, below] = window;
        let weights = [
            weights.row(above, pitch(width)),
            weights.row(own, pitch(width)),
            weights.row(below, pitch(width)),
        ];
        let length = CHUNK.min(width);
        for (x, _) in (0..width).step_by(CHUNK).zip(nearest).filter(|(_, distance)| *distance <= radius) {
            // The last chunk overlaps the one before: doing masked pixels twice changes nothing, for they do not count.
            let x = x.min(width - length);
            let mask = &mask[x..x + length];
            let unchanged = |y: usize| if kept[y % 2] == y { before.row(y, width) } else { rows.row(y) };
            let scores = [unchanged(above), unchanged(own), unchanged(below)];
            let (sum, count) = if x > 0 && x + length < width {
                sums(
                    [&scores[0][x - 1..], &scores[1][x - 1..], &scores[2][x - 1..]],
                    [&weights[0][x..], &weights[1][x..], &weights[2][x..]],
                )
            } else {
                let [a, b, c] = scores;
                let [u, v, w] = weights;
                sums(
                    [&padded(a, x, length), &padded(b, x, length), &padded(c, x, length)],
                    [&beginning(u, x), &beginning(v, x), &beginning(w, x)],
                )
            };
            if kept[y % 2] != y && !all_finite(&sum) {
                // From here on a mean may be no number that times 0 is 0. What was written to the row before is one.
                before.row_mut(y, width).copy_from_slice(rows.row(y));
                kept[y % 2] = y;
            }
            replace(&mut rows.row_mut(y)[x..x + length], mask, *radius, (&sum, &count));
        }
    }
}

/// Writes the means of masked pixels that have unmasked neighbours.
#[inline(always)]
fn replace(out: &mut [f32], mask: &[u8], radius: u8, (sum, count): (&[f32; CHUNK], &[f32; CHUNK])) {
    if let (Some(out), Some(mask)) = (out.first_chunk_mut::<CHUNK>(), mask.first_chunk::<CHUNK>()) {
        for i in 0..CHUNK {
            let mean = sum[i] / count[i];
            out[i] = if (mask[i] <= radius) & (count[i] > 0.0) { mean } else { out[i] };
        }
        return;
    }
    for (((out, &distance), sum), &count) in out.iter_mut().zip(mask).zip(sum).zip(count) {
        if distance <= radius && count > 0.0 {
            *out = sum / count;
        }
    }
}

#[inline(always)]
fn all_finite(values: &[f32]) -> bool {
    let largest = values.iter().fold(0, |largest, value| (value.to_bits() & 0x7fff_ffff).max(largest));
    largest < f32::INFINITY.to_bits()
}

/// 1 for unmasked pixels, 0 for masked ones; the outermost ones again beyond the image, where they count for the missing
/// neighbours too.
#[inline(always)]
fn weigh(distance: &[u8], radius: u8, out: &mut [f32]) {
    for (out, &distance) in out[1..].iter_mut().zip(distance) {
        *out = f32::from(u8::from(distance > radius));
    }
    let last = out.len() - 1;
    out[0] = out[1];
    out[last] = out[last - 1];
}

/// `length` scores from column `x` on with a neighbour on either side, the outermost ones again beyond the image.
#[inline(always)]
fn padded(row: &[f32], x: usize, length: usize) -> [f32; CHUNK + 2] {
    let mut out = [0.0; CHUNK + 2];
    for (i, out) in out[..length + 2].iter_mut().enumerate() {
        *out = row[(x + i).saturating_sub(1).min(row.len() - 1)];
    }
    out
}

/// As many weights from `x` on, and zeros where they are fewer.
#[inline(always)]
fn beginning(weights: &[f32], x: usize) -> [f32; CHUNK + 2] {
    let mut out = [0.0; CHUNK + 2];
    out.iter_mut().zip(&weights[x..]).for_each(|(out, weight)| *out = *weight);
    out
}

/// Weighted sums, and sums of weights, over the 3x3 windows of a chunk, in row order. `scores` and `weights` begin with the
/// chunk's left neighbours. Masked pixels times 0 add nothing, unless they are not finite.
#[inline(always)]
fn sums(scores: [&[f32]; 3], weights: [&[f32]; 3]) -> ([f32; CHUNK], [f32; CHUNK]) {
    let (mut sum, mut count) = ([0.0; CHUNK], [0.0; CHUNK]);
    for (scores, weights) in scores.iter().zip(weights) {
        for dx in 0..3 {
            let chunks = (scores[dx..].first_chunk::<CHUNK>(), weights[dx..].first_chunk::<CHUNK>());
            let (Some(scores), Some(weights)) = chunks else { continue };
            for i in 0..CHUNK {
                sum[i] += scores[i] * weights[i];
                count[i] += weights[i];
            }
        }
    }
    (sum, count)
}
