//! The drawn scene's logits: the Rust twin of benches/peers/frame.py.
//!
//! Both draw the same float32 numbers, bit for bit, so that peers and engine are timed and compared on identical inputs
//! without exchanging files. Change one only together with the other, and `DIGEST` in both.
//!
//! A coarse random field a class makes regions, a finer and weaker one roughens their borders, and a little noise differs
//! from pixel to pixel. Every resolution shows the same scene.

use rayon::prelude::*;
use sml::Size;

/// Grid and amplitude of the two fields of a class.
const FIELDS: [(Size, f32); 2] = [(Size::new(6, 12), 12.0), (Size::new(96, 192), 0.7)];
const NOISE: f32 = 0.05;

/// [`digest`] of `scene(1, 3, Size::new(16, 24))`.
#[allow(dead_code, reason = "for the test that holds both twins to it")]
pub const DIGEST: u64 = 0xB90A_ABE5_E85A_4607;

/// The logits of scene `seed`, C x h x w.
pub fn scene(seed: u16, classes: usize, size: Size) -> Vec<f32> {
    let fields: Vec<[Field; 2]> = (0..classes)
        .map(|class| [0, 1].map(|field| Field::new(seed, 3 * class + field, FIELDS[field])))
        .collect();
    let mut logits = vec![0.0; classes * size.pixels()];
    logits.par_chunks_mut(size.width).enumerate().for_each(|(row, logits)| {
        let (class, y) = (row / size.height, row % size.height);
        let first = y * size.width;
        for (x, logit) in logits.iter_mut().enumerate() {
            // Centres of pixels, so that every resolution shows the same scene.
            let (v, u) = ((y as f32 + 0.5) / size.height as f32, (x as f32 + 0.5) / size.width as f32);
            let [coarse, fine] = [0, 1].map(|field| fields[class][field].at(v, u));
            *logit = coarse + fine + NOISE * random(seed, 3 * class + 2, first + x);
        }
    });
    logits
}

/// Folds the bits of float32 numbers into one (FNV-1a over whole numbers).
#[allow(dead_code, reason = "for the test that holds both twins to it")]
pub fn digest(numbers: &[f32]) -> u64 {
    let fold = |hash: u64, number: &f32| (hash ^ u64::from(number.to_bits())).wrapping_mul(0x0100_0000_01B3);
    numbers.iter().fold(0xCBF2_9CE4_8422_2325, fold)
}

/// Number `index` of a random stream, in [0, 1): the finalizer of SplitMix64, of which 24 bits are kept.
fn random(seed: u16, stream: usize, index: usize) -> f32 {
    let counter = (u64::from(seed) << 48) | ((stream as u64) << 32) | index as u64;
    let z = counter.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 40) as f32 * (1.0 / 16_777_216.0)
}

/// Random numbers on a grid over the picture, interpolated between its nodes.
struct Field {
    nodes: Vec<f32>,
    grid: Size,
}

impl Field {
    fn new(seed: u16, stream: usize, (grid, amplitude): (Size, f32)) -> Self {
        Self { nodes: (0..grid.pixels()).map(|node| amplitude * random(seed, stream, node)).collect(), grid }
    }

    /// Value at `v` of the height and `u` of the width.
    fn at(&self, v: f32, u: f32) -> f32 {
        let (y, x) = (v * (self.grid.height - 1) as f32, u * (self.grid.width - 1) as f32);
        let (top, left) = ((y as usize).min(self.grid.height - 2), (x as usize).min(self.grid.width - 2));
        let (down, right) = (y - top as f32, x - left as f32);
        let row = |y: usize| {
            let nodes = &self.nodes[y * self.grid.width + left..][..2];
            nodes[0] * (1.0 - right) + nodes[1] * right
        };
        row(top) * (1.0 - down) + row(top + 1) * down
    }
}
