//! Stage 2: iterative boundary suppression (paper section 3.3, SPEC section 4).
//!
//! Each lane of rows is suppressed in place, in one sweep from its first row to its last. `boundary_row` marks boundary
//! pixels of the prediction; `distance_row` finds each pixel's L1 distance to the nearest of them, as far as the largest radius
//! reaches: first down the columns, then along the row with steps of 1, 2, 4, ..., which cover every reach in
//! logarithmically many vector operations. The iterations follow these and each other at a distance of one row, so that the few
//! rows at work stay in the nearest cache.
//!
//! Before an iteration is at a row it has copied the row below with its masked pixels as 0 (`weigh`): the averages are sums of such
//! copies, so that nothing of the iteration itself is seen although it works in place. The row below has seen the iterations
//! before it, and no more. Rows beside the lane are copies from before the stage ([`Edges`](super::edges::Edges)), one an
//! iteration, and are worked on as far as the lane needs.
//!
//! The official arithmetic multiplies masked positions by 0, and so does this one: it needs no branch. The product is 0
//! unless the score is NaN or infinite: these spread to the pixels around them.

use pulp::NullaryFnOnce;

use super::masks::{CHUNK, Masks, Prediction, Progress};
use super::rolling::Rolling;
use crate::{BorderLabels, Suppression};

/// Columns of a row of products: one more on either side, so that every pixel has its neighbours, and no fewer than a chunk needs.
fn pitch(width: usize) -> usize {
    width.max(CHUNK) + 2
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

    /// Rows of the prediction beside a lane that its masks, and those of its halo, depend on.
    pub(super) fn margin(&self) -> usize {
        self.halo() + usize::from(self.reach) + 1
    }

    /// How far the first iteration stays behind the last row that is there: the masks of the row after its own look as far ahead, and the
    /// rows below the lane are there before it reaches them.
    fn lag(&self) -> usize {
        (usize::from(self.reach) + 3).max(self.halo() + 1)
    }
}

/// Scratch memory of one lane, and how far it is.
pub(super) struct Scratch {
    boundary: Progress,
    distance: Progress,
    nearest: Rolling<u8>,
    spread: Vec<u8>,
    above: Vec<f32>,
    below: Vec<f32>,
    /// One an iteration.
    iterations: Vec<Iteration>,
    /// The row that the first iteration is at.
    next: usize,
    /// The rows below have been copied.
    has_below: bool,
}

impl Scratch {
    pub(super) fn new(iterations: &Iterations, width: usize) -> Self {
        let halo = iterations.halo();
        Self {
            boundary: Progress::new(2 * usize::from(iterations.reach) + 1, width),
            distance: Progress::new(halo + 3, width),
            nearest: Rolling::new(halo + 3, width.div_ceil(CHUNK)),
            spread: vec![0; width],
            above: vec![0.0; halo * width],
            below: vec![0.0; halo * width],
            iterations: iterations.radii.iter().map(|&radius| Iteration::new(radius, width)).collect(),
            next: 0,
            has_below: false,
        }
    }
}

impl Scratch {
    /// Begins a lane that works on rows from `start` on.
    #[inline(always)]
    fn begin(&mut self, iterations: &Iterations, start: usize, above: &[f32]) {
        self.boundary.begin(start.saturating_sub(usize::from(iterations.reach)));
        self.distance.begin(start);
        self.iterations.iter_mut().for_each(|iteration| iteration.weighed = start);
        self.above[..above.len()].copy_from_slice(above);
        (self.next, self.has_below) = (start, false);
    }
}

/// What an iteration keeps of the rows around the one that it is at.
struct Iteration {
    radius: u8,
    /// Scores as they were before this iteration, those of masked pixels times 0.
    products: Rolling<f32>,
    /// How many of a pixel and its two neighbours in the row are unmasked.
    counts: Rolling<u8>,
    /// The row after the last one that has both.
    weighed: usize,
}

impl Iteration {
    fn new(radius: u8, width: usize) -> Self {
        let (products, counts) = (Rolling::new(3, pitch(width)), Rolling::new(3, pitch(width)));
        Self { radius, products, counts, weighed: 0 }
    }
}

/// Rows that are suppressed in place. What has been begun goes on where it ended; the scratch memory is the same all the way.
pub(super) struct Lane<'a> {
    pub iterations: &'a Iterations,
    /// Of the whole image, or as far as [`Iterations::margin`] above and below the lane.
    pub prediction: Prediction<'a>,
    /// Image row of the lane's first.
    pub first: usize,
    /// The rows above and below it as they were before the stage, one an iteration; none beyond the image.
    pub above: &'a [f32],
    pub below: &'a [f32],
    /// The lane begins now.
    pub begins: bool,
    /// The image row before which scores and predictions are there; `None` when all of them are.
    pub ready: Option<usize>,
    pub scratch: &'a mut Scratch,
    pub score: &'a mut [f32],
}

impl NullaryFnOnce for Lane<'_> {
    /// The image row before which the lane's rows are done.
    type Output = usize;

    #[inline(always)]
    fn call(self) -> usize {
        let Self { iterations, prediction, first, above, below, begins, ready, scratch, score } = self;
        let (width, height) = (prediction.width, prediction.height);
        let end = first + score.len() / width;
        let (start, stop) = (first - above.len() / width, end + below.len() / width);
        if begins {
            scratch.begin(iterations, start, above);
        }
        let Scratch { boundary, distance, nearest, spread, above: above_copy, below: below_copy, .. } =
            scratch;
        let Scratch { iterations: states, next, has_below, .. } = scratch;
        let count = states.len();
        let limit = match ready {
            Some(ready) => ready.saturating_sub(iterations.lag()).max(*next),
            None => stop + count - 1,
        };
        let (above, below_copy) = (&mut above_copy[..above.len()], &mut below_copy[..below.len()]);
        if limit >= end && !*has_below {
            below_copy.copy_from_slice(below);
            *has_below = true;
        }
        let mut rows = Rows { above, own: score, below: below_copy, start, first, end, width };
        let (border, reach) = (iterations.border, iterations.reach);
        let mut masks = Masks { prediction, border, reach, boundary, distance, nearest, spread };
        for newest in *next..limit {
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
        *next = limit;
        (limit + 1).saturating_sub(count).clamp(first, end)
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
        let Self { radius, products, counts, weighed } = self;
        let (mask, nearest, width) = (masks.row(y), masks.nearest(y), masks.prediction.width);
        if nearest.iter().all(|distance| distance > radius) {
            return;
        }
        let [above, own, below] = [y.saturating_sub(1), y, (y + 1).min(height - 1)];
        let pitch = pitch(width);
        for y in (*weighed).max(above)..=below {
            let (products, counts) = (products.row_mut(y, pitch), counts.row_mut(y, pitch));
            weigh(rows.row(y), masks.row(y), *radius, products, counts);
        }
        *weighed = below + 1;
        let products = [products.row(above, pitch), products.row(own, pitch), products.row(below, pitch)];
        let counts = [counts.row(above, pitch), counts.row(own, pitch), counts.row(below, pitch)];
        let out = rows.row_mut(y);
        for (x, _) in (0..width).step_by(CHUNK).zip(nearest).filter(|(_, distance)| *distance <= radius) {
            // The last chunk overlaps the one before: doing masked pixels twice changes nothing.
            let x = x.min(width.saturating_sub(CHUNK));
            let window = Window { products, counts, radius: *radius, x };
            match (out[x..].first_chunk_mut::<CHUNK>(), chunk(mask, x)) {
                (Some(out), Some(mask)) => window.average(mask, out),
                _ => {
                    // A narrow image.
                    let (mut wide_mask, mut wide_out) = ([u8::MAX; CHUNK], [0.0; CHUNK]);
                    wide_mask[..width].copy_from_slice(mask);
                    wide_out[..width].copy_from_slice(out);
                    window.average(&wide_mask, &mut wide_out);
                    out.copy_from_slice(&wide_out[..width]);
                }
            }
        }
    }
}

/// Copies scores, those of masked pixels times 0, the outermost ones again beyond the image. And counts the unmasked ones of each
/// pixel and its two neighbours, where the outermost ones count for the missing neighbours too.
#[inline(always)]
fn weigh(score: &[f32], distance: &[u8], radius: u8, products: &mut [f32], counts: &mut [u8]) {
    let width = score.len();
    let (last, distance) = (width - 1, &distance[..width]);
    for ((product, score), &distance) in products[1..=width].iter_mut().zip(score).zip(distance) {
        *product = score * f32::from(u8::from(distance > radius));
    }
    products[0] = products[1];
    products[width + 1] = products[width];
    for x in [0, last] {
        let window = [x.saturating_sub(1), x, (x + 1).min(last)];
        counts[x] = window.iter().map(|&x| u8::from(distance[x] > radius)).sum();
    }
    if width > 2 {
        let neighbours = distance.iter().zip(&distance[1..]).zip(&distance[2..]);
        for (count, ((&left, &own), &right)) in counts[1..last].iter_mut().zip(neighbours) {
            *count = u8::from(left > radius) + u8::from(own > radius) + u8::from(right > radius);
        }
    }
}

/// The 3x3 windows of a chunk of a row: the rows above, of, and below it.
struct Window<'a> {
    products: [&'a [f32]; 3],
    counts: [&'a [u8]; 3],
    radius: u8,
    /// Column of the chunk's first pixel.
    x: usize,
}

impl Window<'_> {
    /// Puts means, of sums in row order, in the place of masked pixels that have unmasked neighbours. One loop from sums to results: arrays
    /// between loops would go through the stack in pieces.
    #[inline(always)]
    fn average(&self, mask: &[u8; CHUNK], out: &mut [f32; CHUNK]) {
        let Self { products: [a, b, c], counts: [i, j, k], radius, x } = *self;
        let (Some(a), Some(b), Some(c)) = (wide(a, x), wide(b, x), wide(c, x)) else { return };
        let (Some(i), Some(j), Some(k)) = (chunk(i, x), chunk(j, x), chunk(k, x)) else { return };
        for n in 0..CHUNK {
            let above = 0.0 + a[n] + a[n + 1] + a[n + 2];
            let sum = above + b[n] + b[n + 1] + b[n + 2] + c[n] + c[n + 1] + c[n + 2];
            let count = f32::from(i[n] + j[n] + k[n]);
            let mean = sum / count;
            out[n] = if (mask[n] <= radius) & (count > 0.0) { mean } else { out[n] };
        }
    }
}

#[inline(always)]
fn chunk(row: &[u8], x: usize) -> Option<&[u8; CHUNK]> {
    row[x..].first_chunk()
}

/// A chunk with its neighbours.
#[inline(always)]
fn wide(row: &[f32], x: usize) -> Option<&[f32; CHUNK + 2]> {
    row[x..].first_chunk()
}
