//! Stage 2: iterative boundary suppression (paper section 3.3, SPEC section 4).
//!
//! Three passes over row bands. `boundary_row` marks boundary pixels of the prediction. `distance_row` finds each
//! pixel's L1 distance to the nearest of them, as far as the largest radius reaches: first down the columns, then
//! along the row with steps of 1, 2, 4, ..., which cover every reach in logarithmically many vector operations.
//! [`band`] then averages: it copies its rows and a halo of one row an iteration into scratch memory and runs all
//! iterations there. An iteration writes only masked pixels and reads only unmasked ones, so it works in place
//! and still sees nothing but the previous iteration's values.
//!
//! The official arithmetic multiplies masked positions by 0 instead of leaving them out, which is the same but for
//! NaN and infinity: these spread to the pixels around them. A band that holds any is averaged from a copy of the
//! previous iteration, with that product written out.

use crate::BorderLabels;

/// Distance of a pixel that no boundary is near.
const FAR: u8 = u8::MAX;

/// Rows that are averaged together in scratch memory.
pub(super) const BAND: usize = 32;

/// Marks the boundary pixels of row `y` of a prediction with 0 and all others with [`FAR`].
#[inline(always)]
pub(super) fn boundary_row(prediction: &[u8], width: usize, y: usize, border: BorderLabels, out: &mut [u8]) {
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
pub(super) fn distance_row(
    boundary: &[u8],
    width: usize,
    y: usize,
    reach: u8,
    scratch: &mut [u8],
    out: &mut [u8],
) {
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

/// Rows of scratch memory that [`band`] needs for `iterations`: the band with its halo, twice.
pub(super) fn scratch_rows(iterations: usize) -> usize {
    2 * (BAND + 2 * iterations)
}

/// Runs all iterations for the image rows `rows`, at most [`BAND`] of them, and writes them to `out`. `radii` are the masks'
/// radii, one an iteration; `scratch` holds [`scratch_rows`] rows.
#[inline(always)]
pub(super) fn band(
    plane: Plane<'_>,
    rows: std::ops::Range<usize>,
    radii: &[u8],
    scratch: &mut [f32],
    out: &mut [f32],
) {
    let width = plane.width;
    let height = plane.score.len() / width;
    let halo = radii.len();
    let first = rows.start.saturating_sub(halo);
    let last = (rows.end + halo).min(height);
    let (current, previous) = scratch.split_at_mut(scratch.len() / 2);
    let (current, previous) =
        (&mut current[..(last - first) * width], &mut previous[..(last - first) * width]);
    current.copy_from_slice(&plane.score[first * width..last * width]);
    let finite = all_finite(current);
    for (i, &radius) in radii.iter().enumerate() {
        if !finite {
            previous.copy_from_slice(current);
        }
        // Rows that the iterations still to come will read.
        let margin = halo - 1 - i;
        for y in rows.start.saturating_sub(margin)..(rows.end + margin).min(height) {
            for x in (0..width).filter(|&x| plane.distance[y * width + x] <= radius) {
                let window = Window::around(plane, y, x, radius);
                let mean = if finite {
                    window.mean_of_unmasked(current, first)
                } else {
                    window.mean_of_products(previous, first)
                };
                if let Some(mean) = mean {
                    current[(y - first) * width + x] = mean;
                }
            }
        }
    }
    out.copy_from_slice(&current[(rows.start - first) * width..][..out.len()]);
}

#[inline(always)]
fn all_finite(values: &[f32]) -> bool {
    let largest = values.iter().fold(0, |largest, value| (value.to_bits() & 0x7fff_ffff).max(largest));
    largest < f32::INFINITY.to_bits()
}

/// The 3x3 positions around a pixel, clamped to the image.
struct Window<'a> {
    plane: Plane<'a>,
    rows: [usize; 3],
    columns: [usize; 3],
    radius: u8,
}

impl<'a> Window<'a> {
    #[inline(always)]
    fn around(plane: Plane<'a>, y: usize, x: usize, radius: u8) -> Self {
        let (width, height) = (plane.width, plane.distance.len() / plane.width);
        Self {
            plane,
            rows: [y.saturating_sub(1), y, (y + 1).min(height - 1)],
            columns: [x.saturating_sub(1), x, (x + 1).min(width - 1)],
            radius,
        }
    }

    /// Mean over the unmasked positions, in row order; `None` when there are none. Image row `first` is row 0 of `scores`.
    #[inline(always)]
    fn mean_of_unmasked(&self, scores: &[f32], first: usize) -> Option<f32> {
        let width = self.plane.width;
        let (mut sum, mut count) = (0.0_f32, 0.0_f32);
        for row in self.rows {
            for column in self.columns {
                if self.plane.distance[row * width + column] > self.radius {
                    sum += scores[(row - first) * width + column];
                    count += 1.0;
                }
            }
        }
        (count > 0.0).then(|| sum / count)
    }

    /// The same mean with masked positions as their value times 0.
    #[inline(always)]
    fn mean_of_products(&self, scores: &[f32], first: usize) -> Option<f32> {
        let width = self.plane.width;
        let (mut sum, mut count) = (0.0_f32, 0.0_f32);
        for row in self.rows {
            for column in self.columns {
                let unmasked = f32::from(u8::from(self.plane.distance[row * width + column] > self.radius));
                sum += scores[(row - first) * width + column] * unmasked;
                count += unmasked;
            }
        }
        (count > 0.0).then(|| sum / count)
    }
}
