//! Logits in NHWC order: the classes of a pixel lie side by side, and are turned over into runs of pixels, one a class.
//!
//! Squares of as many pixels as classes go through 128-bit vectors.

use bytemuck::Pod;

use super::element::Element;
use super::prefetch;
use super::square::Turn;
use super::tile::{PITCH, TILE};

/// Neighbouring pixels of an image, from the first one on.
pub(super) struct Pixels<'a, T> {
    pub logits: &'a [T],
    /// Elements from a pixel to the next.
    pub stride: usize,
    pub classes: usize,
}

impl<T: Element + Pod> Pixels<'_, T> {
    /// Puts the first `width` pixels, no more than [`TILE`], as float32 into a run of [`PITCH`] elements for each class. 16-bit logits
    /// are turned over as they are: half as much to move.
    #[inline(always)]
    pub(super) fn turn_over_widened(self, width: usize, narrow: &mut [u16], tile: &mut [f32]) {
        let Self { logits, stride, classes } = self;
        if let Some(logits) = T::as_f32(logits) {
            return Pixels { logits, stride, classes }.turn_over(width, tile);
        }
        Pixels { logits: bytemuck::cast_slice(logits), stride, classes }.turn_over(width, narrow);
        let runs = tile.chunks_exact_mut(PITCH).zip(narrow.chunks_exact(PITCH)).take(classes);
        for (run, narrow) in runs {
            for (out, logit) in run[..width].iter_mut().zip(bytemuck::cast_slice::<u16, T>(&narrow[..width]))
            {
                *out = logit.to_f32();
            }
        }
    }
}

impl<E: Copy> Pixels<'_, E> {
    /// Puts the first `width` pixels into the runs.
    #[inline(always)]
    fn turn_over<const N: usize>(&self, width: usize, runs: &mut [E])
    where
        E: Turn<N>,
    {
        let Self { logits, stride, classes } = *self;
        let squares = if classes < N { 0 } else { width / N * N };
        for first in (0..squares).step_by(N) {
            prefetch::far_ahead(&logits[first * stride..][..(N - 1) * stride + classes]);
            self.turn_squares(first, runs);
        }
        for (class, run) in runs.chunks_exact_mut(PITCH).take(classes).enumerate() {
            for (x, out) in run[..width].iter_mut().enumerate().skip(squares) {
                *out = logits[x * stride + class];
            }
        }
    }

    /// Puts `N` pixels from number `first` on, a multiple of `N`, into the runs.
    #[inline(always)]
    fn turn_squares<const N: usize>(&self, first: usize, runs: &mut [E])
    where
        E: Turn<N>,
    {
        let Self { logits, stride, classes } = *self;
        let (logits, squares) = (&logits[first * stride..], classes / N);
        let mut chunks: [&[[E; N]]; N] = [&[]; N];
        let mut last = [[E::default(); N]; N];
        // Not closures: they would be compiled for the least of the instruction sets.
        for (i, (chunks, last)) in chunks.iter_mut().zip(&mut last).enumerate() {
            let pixel = &logits[i * stride..][..classes];
            *chunks = &pixel.as_chunks::<N>().0[..squares];
            if let Some(chunk) = pixel.last_chunk() {
                *last = *chunk;
            }
        }
        for (number, runs) in runs.chunks_exact_mut(N * PITCH).take(squares).enumerate() {
            let mut square = [[E::default(); N]; N];
            for (row, chunks) in square.iter_mut().zip(&chunks) {
                *row = chunks[number];
            }
            put(E::turned(square), first, runs);
        }
        if classes % N != 0 {
            // The last classes overlap those before: doing some twice changes nothing.
            put(E::turned(last), first, &mut runs[(classes - N) * PITCH..][..N * PITCH]);
        }
    }
}

/// Puts `N` classes into their runs, a multiple of `N` columns from their beginning.
#[inline(always)]
fn put<E: Copy, const N: usize>(square: [[E; N]; N], column: usize, runs: &mut [E]) {
    // A mask instead of checks: the column is one of the tile's.
    let column = column & (TILE - N);
    for (class, numbers) in square.iter().enumerate() {
        runs[class * PITCH + column..][..N].copy_from_slice(numbers);
    }
}
