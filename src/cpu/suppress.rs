//! Stage 2: iterative boundary suppression (paper section 3.3, SPEC section 4).
//!
//! Three passes over row bands. `boundary_row` marks boundary pixels of the prediction. `distance_row` finds each
//! pixel's L1 distance to the nearest of them, as far as the largest radius reaches: first down the columns, then
//! along the row with steps of 1, 2, 4, ..., which cover every reach in logarithmically many vector operations.
//! [`band`] then averages: it copies its rows and a halo of one row an iteration into scratch memory and runs all
//! iterations there. An iteration writes only masked pixels and reads only unmasked ones, so it works in place
//! and still sees nothing but the previous iteration's values.
//!
//! The official arithmetic multiplies masked positions by 0, and so does this one: it needs no branch. The product is 0
//! unless the score is NaN or infinite: these spread to the pixels around them. A band that holds any is averaged from a
//! copy of the previous iteration.

use pulp::NullaryFnOnce;

use crate::BorderLabels;

/// Distance of a pixel that no boundary is near.
const FAR: u8 = u8::MAX;

/// Rows that are averaged together in scratch memory.
const BAND: usize = 32;

/// Rows of a boundary map from `first` on.
pub(super) struct BoundaryRows<'a> {
    pub prediction: &'a [u8],
    pub width: usize,
    pub first: usize,
    pub border: BorderLabels,
    pub out: &'a mut [u8],
}

impl NullaryFnOnce for BoundaryRows<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for (i, out) in self.out.chunks_exact_mut(self.width).enumerate() {
            boundary_row(self.prediction, self.width, self.first + i, self.border, out);
        }
    }
}

/// Rows of a distance map from `first` on.
pub(super) struct DistanceRows<'a> {
    pub boundary: &'a [u8],
    pub width: usize,
    pub first: usize,
    pub reach: u8,
    /// One row.
    pub scratch: &'a mut [u8],
    pub out: &'a mut [u8],
}

impl NullaryFnOnce for DistanceRows<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { boundary, width, first, reach, scratch, out } = self;
        for (i, out) in out.chunks_exact_mut(width).enumerate() {
            distance_row(boundary, width, first + i, reach, scratch, out);
        }
    }
}

/// Suppressed rows from `first` on, a band at a time.
pub(super) struct Bands<'a> {
    pub plane: Plane<'a>,
    pub first: usize,
    pub radii: &'a [u8],
    /// Of [`scratch_length`].
    pub scratch: &'a mut [f32],
    pub out: &'a mut [f32],
}

impl NullaryFnOnce for Bands<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { plane, first, radii, scratch, out } = self;
        for (i, out) in out.chunks_mut(BAND * plane.width).enumerate() {
            let first = first + i * BAND;
            band(plane, first..first + out.len() / plane.width, radii, scratch, out);
        }
    }
}

/// Marks the boundary pixels of row `y` of a prediction with 0 and all others with [`FAR`].
#[inline(always)]
fn boundary_row(prediction: &[u8], width: usize, y: usize, border: BorderLabels, out: &mut [u8]) {
    let height = prediction.len() / width;
    let row = |y: usize| &prediction[y * width..][..width];
    // A neighbour outside the image is left out: taking the row itself in its place changes neither extremum.
    let (above, own, below) = (row(y.saturating_sub(1)), row(y), row((y + 1).min(height - 1)));
    let mark = |x: usize, left: usize, right: usize| {
        let largest = own[x].max(above[x]).max(below[x]).max(own[left]).max(own[right]);
        let column = |x: usize| above[x].min(own[x]).min(below[x]);
        let smallest = column(x).min(column(left)).min(column(right));
        if largest == smallest { FAR } else { 0 }
    };
    let last = width - 1;
    out[0] = mark(0, 0, 1.min(last));
    out[last] = mark(last, last.saturating_sub(1), last);
    if width > 2 {
        boundary_interior(above, own, below, &mut out[1..last]);
    }
    if border == BorderLabels::One {
        let on_frame_row = y == 0 || y + 1 == height;
        for x in 0..width {
            if own[x] >= 2 && (on_frame_row || x == 0 || x == last) {
                out[x] = 0;
            }
        }
    }
}

/// The pixels that have both horizontal neighbours: `out[i]` belongs to column `i + 1`.
#[inline(always)]
fn boundary_interior(above: &[u8], own: &[u8], below: &[u8], out: &mut [u8]) {
    let n = out.len();
    let (al, ac, ar) = (&above[..n], &above[1..=n], &above[2..n + 2]);
    let (ol, oc, or) = (&own[..n], &own[1..=n], &own[2..n + 2]);
    let (bl, bc, br) = (&below[..n], &below[1..=n], &below[2..n + 2]);
    for i in 0..n {
        let largest = oc[i].max(ac[i]).max(bc[i]).max(ol[i]).max(or[i]);
        let cross = oc[i].min(ac[i]).min(bc[i]).min(ol[i]).min(or[i]);
        let smallest = cross.min(al[i]).min(ar[i]).min(bl[i]).min(br[i]);
        out[i] = if largest == smallest { FAR } else { 0 };
    }
}

/// L1 distance of each pixel of row `y` to the nearest boundary pixel: exact up to `reach`, above it beyond.
#[inline(always)]
fn distance_row(boundary: &[u8], width: usize, y: usize, reach: u8, scratch: &mut [u8], out: &mut [u8]) {
    let height = boundary.len() / width;
    let scratch = &mut scratch[..width];
    out.copy_from_slice(&boundary[y * width..][..width]);
    let first = y.saturating_sub(usize::from(reach));
    let last = (y + usize::from(reach)).min(height - 1);
    for near in (first..=last).filter(|&near| near != y) {
        let distance = near.abs_diff(y) as u8;
        for (out, &mark) in out.iter_mut().zip(&boundary[near * width..][..width]) {
            *out = (*out).min(mark.max(distance));
        }
    }
    let mut step = 1;
    let mut covered = 0;
    while covered < usize::from(reach) {
        spread(out, step, scratch);
        out.copy_from_slice(scratch);
        covered += step;
        step *= 2;
    }
}

/// `out[x] = min(row[x], row[x - step] + step, row[x + step] + step)`.
#[inline(always)]
fn spread(row: &[u8], step: usize, out: &mut [u8]) {
    out.copy_from_slice(row);
    if step >= row.len() {
        return;
    }
    let reach = row.len() - step;
    for (out, &left) in out[step..].iter_mut().zip(&row[..reach]) {
        *out = (*out).min(left.saturating_add(step as u8));
    }
    for (out, &right) in out[..reach].iter_mut().zip(&row[step..]) {
        *out = (*out).min(right.saturating_add(step as u8));
    }
}

/// A plane of scores with the distances of its pixels.
#[derive(Clone, Copy)]
pub(super) struct Plane<'a> {
    pub score: &'a [f32],
    pub distance: &'a [u8],
    pub width: usize,
}

/// Pixels of a row that are averaged together, if one of them is masked.
const CHUNK: usize = 32;

/// Columns of a row in scratch memory: one more on either side, so that every pixel has its neighbours.
fn pitch(width: usize) -> usize {
    width + 2
}

/// Scratch memory that [`band`] needs for `iterations`: the band with its halo, twice, and three rows of weights.
pub(super) fn scratch_length(iterations: usize, width: usize) -> usize {
    (2 * (BAND + 2 * iterations) + 3) * pitch(width)
}

/// Runs all iterations for the image rows `rows`, at most [`BAND`] of them, and writes them to `out`. `radii` are the masks'
/// radii, one an iteration; `scratch` is of [`scratch_length`].
#[inline(always)]
fn band(plane: Plane<'_>, rows: std::ops::Range<usize>, radii: &[u8], scratch: &mut [f32], out: &mut [f32]) {
    let width = plane.width;
    let height = plane.score.len() / width;
    let halo = radii.len();
    let first = rows.start.saturating_sub(halo);
    let last = (rows.end + halo).min(height);
    let (weights, scratch) = scratch.split_at_mut(3 * pitch(width));
    let (current, previous) = scratch.split_at_mut(scratch.len() / 2);
    let length = (last - first) * pitch(width);
    let (current, previous) = (&mut current[..length], &mut previous[..length]);
    let mut finite = true;
    for (y, row) in (first..last).zip(current.chunks_exact_mut(pitch(width))) {
        let from = &plane.score[y * width..][..width];
        row[1..=width].copy_from_slice(from);
        pad(row);
        finite &= all_finite(from);
    }
    for (i, &radius) in radii.iter().enumerate() {
        if !finite {
            previous.copy_from_slice(current);
        }
        // Rows that the iterations still to come will read.
        let margin = halo - 1 - i;
        let (start, end) = (rows.start.saturating_sub(margin), (rows.end + margin).min(height));
        let mut weighted = start.saturating_sub(1)..start.saturating_sub(1);
        for y in start..end {
            let mask = &plane.distance[y * width..][..width];
            if !reaches(mask, radius) {
                continue;
            }
            let window = [y.saturating_sub(1), y, (y + 1).min(height - 1)];
            weighted.start = weighted.start.max(window[0]);
            for y in weighted.end.max(window[0])..=window[2] {
                let mask = &plane.distance[y * width..][..width];
                weigh(mask, radius, &mut weights[y % 3 * pitch(width)..][..pitch(width)]);
            }
            weighted.end = window[2] + 1;
            let from = if finite { None } else { Some(&*previous) };
            average_row(Window { window, first, width, mask, radius }, weights, current, from);
        }
    }
    for (out, y) in out.chunks_exact_mut(width).zip(rows) {
        out.copy_from_slice(&current[(y - first) * pitch(width) + 1..][..width]);
    }
}

#[inline(always)]
fn all_finite(values: &[f32]) -> bool {
    let largest = values.iter().fold(0, |largest, value| (value.to_bits() & 0x7fff_ffff).max(largest));
    largest < f32::INFINITY.to_bits()
}

/// Repeats the outermost pixels of a row beyond the image: a pixel at the border counts for the missing neighbour too.
#[inline(always)]
fn pad(row: &mut [f32]) {
    let last = row.len() - 1;
    row[0] = row[1];
    row[last] = row[last - 1];
}

/// Whether a pixel of these is within the radius.
#[inline(always)]
fn reaches(distance: &[u8], radius: u8) -> bool {
    distance.iter().fold(FAR, |least, &distance| least.min(distance)) <= radius
}

/// 1 for unmasked pixels, 0 for masked ones.
#[inline(always)]
fn weigh(distance: &[u8], radius: u8, out: &mut [f32]) {
    for (out, &distance) in out[1..].iter_mut().zip(distance) {
        *out = f32::from(u8::from(distance > radius));
    }
    pad(out);
}

/// One row of an iteration.
#[derive(Clone, Copy)]
struct Window<'a> {
    /// Image rows above, at and below it, within the image.
    window: [usize; 3],
    /// Image row of the scratch memory's first.
    first: usize,
    width: usize,
    /// Distances of its pixels.
    mask: &'a [u8],
    radius: u8,
}

/// Averages the masked pixels of a row in place. The sum runs over all nine positions in row order, masked ones times 0: these
/// add nothing, unless they are not finite. `previous` holds the scores before the iteration where some are not; else in-place
/// will do, since an iteration changes masked pixels alone.
#[inline(always)]
fn average_row(row: Window<'_>, weights: &[f32], current: &mut [f32], previous: Option<&[f32]>) {
    let Window { window, first, width, mask, radius } = row;
    let pitch = pitch(width);
    let own = (window[1] - first) * pitch;
    for x in (0..width).step_by(CHUNK) {
        // The last chunk overlaps the one before: doing masked pixels twice changes nothing, for they do not count.
        let x = x.min(width.saturating_sub(CHUNK));
        let length = CHUNK.min(width);
        if !reaches(&mask[x..x + length], radius) {
            continue;
        }
        let scores = previous.unwrap_or(current);
        let rows = window.map(|y| (&scores[(y - first) * pitch + x..], &weights[y % 3 * pitch + x..]));
        let (sum, count) = if length == CHUNK { sums_of_chunk(rows) } else { sums_of_few(rows, length) };
        let out = &mut current[own + 1 + x..][..length];
        for (i, (out, &distance)) in out.iter_mut().zip(&mask[x..x + length]).enumerate() {
            let mean = sum[i] / count[i];
            *out = if distance <= radius && count[i] > 0.0 { mean } else { *out };
        }
    }
    pad(&mut current[own..own + pitch]);
}

/// Scores and weights of the three rows of a window, from a chunk's left neighbour on.
type Rows<'a> = [(&'a [f32], &'a [f32]); 3];

/// Weighted sums, and sums of weights, over the 3x3 windows of a whole chunk.
#[inline(always)]
fn sums_of_chunk(rows: Rows<'_>) -> ([f32; CHUNK], [f32; CHUNK]) {
    let (mut sum, mut count) = ([0.0; CHUNK], [0.0; CHUNK]);
    for (scores, weights) in rows {
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

/// The same in an image that is narrower than a chunk.
#[inline(always)]
fn sums_of_few(rows: Rows<'_>, length: usize) -> ([f32; CHUNK], [f32; CHUNK]) {
    let (mut sum, mut count) = ([0.0; CHUNK], [0.0; CHUNK]);
    for (scores, weights) in rows {
        for dx in 0..3 {
            let pairs = scores[dx..dx + length].iter().zip(&weights[dx..dx + length]);
            for ((sum, count), (score, weight)) in sum.iter_mut().zip(&mut count).zip(pairs) {
                *sum += score * weight;
                *count += weight;
            }
        }
    }
    (sum, count)
}
