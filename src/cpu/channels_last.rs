//! Logits in NHWC order: the classes of a pixel lie side by side, and are turned over into the runs of a tile.
//!
//! Few pixels at a time, so that they stay in the nearest cache while the classes are picked out of them; narrow logits are widened
//! before, side by side, where vectors do it.

use super::element::Element;
use super::prefetch;
use super::square;
use super::tile::{PITCH, TILE};

/// Pixels that are widened together.
pub(super) const PIXELS: usize = 32;

/// Rows and columns of a square.
const SIDE: usize = 4;

/// Neighbouring pixels of an image, from the first one on.
pub(super) struct Pixels<'a, T> {
    pub logits: &'a [T],
    /// Elements from a pixel to the next.
    pub stride: usize,
    pub classes: usize,
}

impl<T: Element> Pixels<'_, T> {
    /// Puts the first `width` pixels, no more than [`TILE`], into a run of the tile for each class.
    #[inline(always)]
    pub(super) fn turn_over(self, width: usize, widened: &mut [f32], tile: &mut [f32]) {
        let Self { logits, stride, classes } = self;
        for from in (0..width).step_by(PIXELS) {
            let count = PIXELS.min(width - from);
            let pixels = &logits[from * stride..][..(count - 1) * stride + classes];
            let (squares, stored) = (count / SIDE * SIDE, pixels);
            let (pixels, pitch) = match T::as_f32(pixels) {
                Some(pixels) => (pixels, stride),
                None => (widen(pixels, stride, classes, widened), classes),
            };
            for i in (0..squares).step_by(SIDE) {
                prefetch::far_ahead(&stored[i * stride..][..(SIDE - 1) * stride + classes]);
                squares_of(pixels, pitch, classes, i, from + i, tile);
            }
            for class in 0..classes {
                let run = &mut tile[class * PITCH + from..][..count];
                for (i, out) in run.iter_mut().enumerate().skip(squares) {
                    *out = pixels[i * pitch + class];
                }
            }
        }
    }
}

/// Puts [`SIDE`] pixels from number `first` on into column `column` of the tile and the next ones: as many classes at once.
#[inline(always)]
fn squares_of(pixels: &[f32], pitch: usize, classes: usize, first: usize, column: usize, tile: &mut [f32]) {
    // Not a closure: it would be compiled for the least of the instruction sets.
    let pixels = &pixels[first * pitch..];
    let rows = [
        &pixels[..classes],
        &pixels[pitch..][..classes],
        &pixels[2 * pitch..][..classes],
        &pixels[3 * pitch..][..classes],
    ];
    let [a, b, c, d] = [
        rows[0].as_chunks::<SIDE>().0,
        rows[1].as_chunks::<SIDE>().0,
        rows[2].as_chunks::<SIDE>().0,
        rows[3].as_chunks::<SIDE>().0,
    ];
    let runs = tile.as_chunks_mut::<{ SIDE * PITCH }>().0;
    for ((((a, b), c), d), runs) in a.iter().zip(b).zip(c).zip(d).zip(runs) {
        put(square::transposed([*a, *b, *c, *d]), column, runs);
    }
    if classes % SIDE == 0 {
        return;
    }
    let last = [rows[0].last_chunk(), rows[1].last_chunk(), rows[2].last_chunk(), rows[3].last_chunk()];
    if let [Some(a), Some(b), Some(c), Some(d)] = last {
        // The last classes overlap those before: doing some twice changes nothing.
        if let Some(runs) = tile[(classes - SIDE) * PITCH..].first_chunk_mut() {
            put(square::transposed([*a, *b, *c, *d]), column, runs);
        }
        return;
    }
    for (class, run) in tile.chunks_exact_mut(PITCH).take(classes).enumerate() {
        for (row, out) in rows.iter().zip(&mut run[column..]) {
            *out = row[class];
        }
    }
}

/// Puts four classes into their runs, a multiple of [`SIDE`] columns from their beginning.
#[inline(always)]
fn put([a, b, c, d]: [[f32; SIDE]; SIDE], column: usize, runs: &mut [f32; SIDE * PITCH]) {
    // A mask instead of checks: the column is one of the tile's.
    let column = column & (TILE - SIDE);
    runs[column..column + SIDE].copy_from_slice(&a);
    runs[PITCH + column..PITCH + column + SIDE].copy_from_slice(&b);
    runs[2 * PITCH + column..2 * PITCH + column + SIDE].copy_from_slice(&c);
    runs[3 * PITCH + column..3 * PITCH + column + SIDE].copy_from_slice(&d);
}

/// Pixels that lie `stride` apart as float32, one after the other.
#[inline(always)]
fn widen<'a, T: Element>(pixels: &[T], stride: usize, classes: usize, widened: &'a mut [f32]) -> &'a [f32] {
    // Without gaps between the pixels it is one long run.
    let length = if stride == classes { pixels.len() } else { classes };
    let mut end = 0;
    for pixel in pixels.chunks(stride.max(length)) {
        for (out, logit) in widened[end..].iter_mut().zip(&pixel[..length]) {
            *out = logit.to_f32();
        }
        end += length;
    }
    &widened[..end]
}
