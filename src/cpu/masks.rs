//! Where the suppression's masks lie: boundaries of the prediction, and how far each pixel is from them.
//!
//! Both are found row by row as the iterations come along, and kept for a few rows only.

use super::rolling::Rolling;
use crate::BorderLabels;

/// Distance of a pixel that no boundary is near.
const FAR: u8 = u8::MAX;

/// Pixels of a row whose least distance is known together.
pub(super) const CHUNK: usize = 32;

/// Rows that are filled one after the other.
pub(super) struct Progress {
    rows: Rolling<u8>,
    /// The row after the last one that is filled.
    done: usize,
}

impl Progress {
    /// For `rows` rows of up to `width` pixels.
    pub(super) fn new(rows: usize, width: usize) -> Self {
        Self { rows: Rolling::new(rows, width), done: 0 }
    }

    /// Begins anew, with row `start`.
    pub(super) fn begin(&mut self, start: usize) {
        self.done = start;
    }
}

/// Rows of a prediction, as far as they are needed.
#[derive(Clone, Copy)]
pub(super) struct Prediction<'a> {
    pub classes: &'a [u8],
    /// Image row of the first.
    pub first: usize,
    pub width: usize,
    /// Rows of the image.
    pub height: usize,
}

impl<'a> Prediction<'a> {
    #[inline(always)]
    fn row(&self, y: usize) -> &'a [u8] {
        &self.classes[(y - self.first) * self.width..][..self.width]
    }
}

/// Boundaries and distances around the rows that the iterations are at.
pub(super) struct Masks<'a> {
    pub prediction: Prediction<'a>,
    pub border: BorderLabels,
    pub reach: u8,
    pub boundary: &'a mut Progress,
    pub distance: &'a mut Progress,
    /// The least distance of each chunk of the rows in `distance`.
    pub nearest: &'a mut Rolling<u8>,
    pub spread: &'a mut [u8],
}

impl Masks<'_> {
    /// Distances of all rows before `end`.
    #[inline(always)]
    pub(super) fn advance(&mut self, end: usize) {
        let Self { prediction, border, reach, boundary, distance, nearest, spread } = self;
        let Prediction { width, height, .. } = *prediction;
        while distance.done < end {
            let y = distance.done;
            while boundary.done < (y + usize::from(*reach) + 1).min(height) {
                let out = boundary.rows.row_mut(boundary.done, width);
                boundary_row(*prediction, boundary.done, *border, out);
                boundary.done += 1;
            }
            let out = distance.rows.row_mut(y, width);
            distance_row(&boundary.rows, (width, height), y, *reach, spread, out);
            nearest_of_chunks(out, nearest.row_mut(y, width.div_ceil(CHUNK)));
            distance.done += 1;
        }
    }

    #[inline(always)]
    pub(super) fn row(&self, y: usize) -> &[u8] {
        self.distance.rows.row(y, self.prediction.width)
    }

    /// The least distance of each chunk of row `y`.
    #[inline(always)]
    pub(super) fn nearest(&self, y: usize) -> &[u8] {
        self.nearest.row(y, self.prediction.width.div_ceil(CHUNK))
    }
}

/// Marks the boundary pixels of row `y` of a prediction with 0 and all others with [`FAR`].
#[inline(always)]
fn boundary_row(prediction: Prediction<'_>, y: usize, border: BorderLabels, out: &mut [u8]) {
    let Prediction { width, height, .. } = prediction;
    let row = |y: usize| prediction.row(y);
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
fn distance_row(
    boundary: &Rolling<u8>,
    (width, height): (usize, usize),
    y: usize,
    reach: u8,
    scratch: &mut [u8],
    out: &mut [u8],
) {
    let scratch = &mut scratch[..width];
    out.copy_from_slice(boundary.row(y, width));
    let first = y.saturating_sub(usize::from(reach));
    let last = (y + usize::from(reach)).min(height - 1);
    for near in (first..=last).filter(|&near| near != y) {
        let distance = near.abs_diff(y) as u8;
        for (out, &mark) in out.iter_mut().zip(boundary.row(near, width)) {
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

/// The least distance of each chunk of a row.
#[inline(always)]
fn nearest_of_chunks(distance: &[u8], out: &mut [u8]) {
    let least = |chunk: &[u8]| chunk.iter().fold(FAR, |least, &distance| least.min(distance));
    let chunks = distance.chunks_exact(CHUNK);
    let rest = chunks.remainder();
    for (out, chunk) in out.iter_mut().zip(chunks) {
        // Halves against halves in vectors, down to a word.
        let mut folded: [u8; CHUNK / 2] = std::array::from_fn(|_| FAR);
        for (i, folded) in folded.iter_mut().enumerate() {
            *folded = chunk[i].min(chunk[i + CHUNK / 2]);
        }
        *out = least(&folded);
    }
    if let (false, Some(out)) = (rest.is_empty(), out.last_mut()) {
        *out = least(rest);
    }
}
