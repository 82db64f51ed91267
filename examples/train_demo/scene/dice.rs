//! Seeded chance. All choices of a scene come from ChaCha8 through integer arithmetic and exact divisions, so that a
//! seed gives the same scene on every machine.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A stream of random choices.
pub struct Dice(ChaCha8Rng);

impl Dice {
    /// The stream that belongs to `seed`.
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// A separate stream: what is drawn from it does not shift the choices of this one.
    pub fn fork(&mut self) -> Self {
        Self::new(self.0.next_u64())
    }

    /// A seed for lattice noise.
    pub fn noise_seed(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// Uniform in `0..1`; 24 bits, exact in `f32`.
    pub fn unit(&mut self) -> f32 {
        (self.0.next_u32() >> 8) as f32 / 16_777_216.0
    }

    /// Uniform between `low` and `high`.
    pub fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// Between -1 and 1, more often near 0.
    pub fn around_zero(&mut self) -> f32 {
        self.unit() + self.unit() - 1.0
    }

    /// True with the given probability.
    pub fn chance(&mut self, probability: f32) -> bool {
        self.unit() < probability
    }

    /// A whole number from `low` to `high`, both included.
    pub fn whole(&mut self, low: usize, high: usize) -> usize {
        low + (self.unit() * (high - low + 1) as f32) as usize
    }

    /// -1 or 1.
    pub fn sign(&mut self) -> f32 {
        if self.chance(0.5) { -1.0 } else { 1.0 }
    }

    /// One of a fixed choice.
    pub fn pick<T: Copy, const N: usize>(&mut self, choice: &[T; N]) -> T {
        choice[self.whole(0, N - 1).min(N - 1)]
    }
}

/// The whole number below `x`; `f32::floor` is a call into the C library on processors without SSE 4.1.
pub fn cell(x: f32) -> i32 {
    let cut = x as i32;
    cut - i32::from(x < cut as f32)
}

/// 32 bits fixed to a lattice point.
pub fn lattice_bits(x: i32, y: i32, seed: u32) -> u32 {
    let mut h = (x as u32).wrapping_mul(0x9e37_79b1) ^ (y as u32).wrapping_mul(0x85eb_ca77) ^ seed;
    h = (h ^ (h >> 15)).wrapping_mul(0x2c1b_3c6d);
    h = (h ^ (h >> 12)).wrapping_mul(0x297a_2d39);
    h ^ (h >> 15)
}

/// A number in `0..1` fixed to a lattice point.
pub fn lattice(x: i32, y: i32, seed: u32) -> f32 {
    (lattice_bits(x, y, seed) >> 8) as f32 / 16_777_216.0
}

/// Smooth noise in `0..1`: lattice values, blended with smoothstep weights.
pub fn value_noise(x: f32, y: f32, seed: u32) -> f32 {
    let (ix, iy) = (cell(x), cell(y));
    let (tx, ty) = (x - ix as f32, y - iy as f32);
    let (wx, wy) = (tx * tx * (3.0 - 2.0 * tx), ty * ty * (3.0 - 2.0 * ty));
    let row = |y| {
        let left = lattice(ix, y, seed);
        left + (lattice(ix.wrapping_add(1), y, seed) - left) * wx
    };
    let near = row(iy);
    near + (row(iy.wrapping_add(1)) - near) * wy
}

/// Three octaves of smooth noise, in `0..1`.
pub fn cloud_noise(x: f32, y: f32, seed: u32) -> f32 {
    0.55 * value_noise(x, y, seed)
        + 0.3 * value_noise(2.1 * x + 7.3, 2.1 * y + 1.9, seed ^ 0x51)
        + 0.15 * value_noise(4.3 * x + 3.1, 4.3 * y + 5.7, seed ^ 0xa7)
}
