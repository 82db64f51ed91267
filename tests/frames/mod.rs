//! Random frames: logits, sizes, parameters and statistics, for every test of properties.
#![allow(dead_code, reason = "each test program uses its part")]
#![allow(clippy::unwrap_used, reason = "functions that tests share fail as tests do")]

use ndarray::{Array4, Axis};
use proptest::prelude::*;
use sml::{
    BorderLabels, Capacity, ClassMoments, ClassStatistics, Device, Engine, Logits, LogitsShape, Params,
    Provenance, Score, Size, Smoothing, Suppression, Temperature, reference,
};

/// A frame and all that is needed to run it.
#[derive(Clone, Debug)]
pub struct Frame {
    pub logits: Array4<f32>,
    pub size: Size,
    pub params: Params,
    pub statistics: ClassStatistics,
}

impl Frame {
    pub fn shape(&self) -> LogitsShape {
        let (n, c, h, w) = self.logits.dim();
        LogitsShape::new(n, c, h, w).unwrap()
    }

    pub fn engine(&self) -> Engine {
        let capacity = Capacity::of(self.shape(), self.size);
        Engine::new(Device::Cpu, self.params, Some(&self.statistics), capacity).unwrap()
    }

    /// Bits of the anomaly score, prediction, and counts of non-finite pixels.
    pub fn run(&self, engine: &mut Engine) -> (Vec<u32>, Vec<u8>, Vec<u64>) {
        let map = engine.submit(&Logits::try_from(self.logits.view()).unwrap(), self.size).unwrap();
        let score = map.score.iter().map(|v| v.to_bits()).collect();
        (score, map.prediction.iter().copied().collect(), map.non_finite.to_vec())
    }
}

pub fn params() -> impl Strategy<Value = Params> {
    let score = prop_oneof![
        Just(Score::Msp),
        Just(Score::MaxLogit),
        Just(Score::Sml),
        Just(Score::Entropy),
        (0.2_f32..5.0).prop_map(|t| Score::Energy(Temperature::new(t).unwrap())),
    ];
    let suppression = (0_u8..=6, 1_u8..=4).prop_map(|(n, k)| Suppression::new(n * k, k).unwrap());
    let smoothing = (0_u8..=4, 0.3_f32..3.0, 1_u8..=7)
        .prop_map(|(radius, sigma, dilation)| Smoothing::new(2 * radius + 1, sigma, dilation).unwrap());
    let border = prop_oneof![Just(BorderLabels::Ignore), Just(BorderLabels::One)];
    (
        score,
        proptest::option::weighted(0.8, suppression),
        proptest::option::weighted(0.8, smoothing),
        border,
        any::<bool>(),
    )
        .prop_map(|(score, suppression, smoothing, border_labels, align_corners)| Params {
            score,
            suppression,
            smoothing,
            border_labels,
            align_corners,
            ..Params::default()
        })
}

/// Logits as smooth as a network's, so that there are regions as well as boundaries.
pub fn logits(n: usize, c: usize, h: usize, w: usize, seed: u64) -> Array4<f32> {
    let mix = |mut z: u64| {
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as f64 / u64::MAX as f64
    };
    let noise =
        |i: u64, j: u64| mix(seed.wrapping_add(i.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_add(j));
    Array4::from_shape_fn((n, c, h, w), |(n, c, y, x)| {
        let region = (n * 64 + c) as u64;
        let wave = (y as f64 * (0.1 + noise(region, 1)) + noise(region, 2) * 6.0).sin()
            + (x as f64 * (0.1 + noise(region, 3)) + noise(region, 4) * 6.0).cos();
        (4.0 + 3.0 * wave + 0.1 * noise(region, 5 + (y * w + x) as u64)) as f32
    })
}

pub fn statistics(classes: usize, seed: u64) -> ClassStatistics {
    let moments = (0..classes).map(|class| ClassMoments {
        count: Some(100 + class as u64),
        mean: Some(4.0 + ((seed >> (class % 32)) % 7) as f64),
        variance: Some(0.5 + ((seed >> (class % 16)) % 5) as f64),
    });
    ClassStatistics::new(moments.collect(), Provenance::default()).unwrap()
}

/// Height and width: small ones, and what only long rows or columns show.
pub fn extents() -> impl Strategy<Value = (usize, usize)> {
    prop_oneof![
        6 => (1_usize..=14, 1_usize..=40),
        // Narrower than the steps by which distances spread.
        2 => (1_usize..=14, 1_usize..=4),
        // More than a tile of the first stage in a row, more than a band of the second in a lane.
        1 => (1_usize..=3, 250_usize..=LONGEST.width),
        1 => (130_usize..=LONGEST.height, 1_usize..=5),
    ]
}

pub const LONGEST: Size = Size::new(290, 530);

pub fn frames() -> impl Strategy<Value = Frame> {
    let shape = (1_usize..=2, 1_usize..=9, extents(), any::<u64>());
    (shape, proptest::option::of(extents()), params()).prop_map(|((n, c, (h, w), seed), size, params)| {
        let (height, width) = size.unwrap_or((h, w));
        let logits = logits(n, c, h, w, seed);
        Frame { logits, size: Size::new(height, width), params, statistics: statistics(c, seed) }
    })
}

/// Whether some upsampled pixel's two best classes are so near that rounding may swap them.
pub fn has_near_ties(frame: &Frame) -> bool {
    if frame.size == frame.shape().size {
        return false;
    }
    let exact = frame.logits.mapv(f64::from);
    let upsampled = reference::upsample(exact.view(), frame.size, frame.params.align_corners);
    let near = |lane: ndarray::ArrayView1<'_, f64>| {
        let mut values = lane.to_vec();
        values.sort_by(f64::total_cmp);
        values.len() > 1 && values[values.len() - 1] - values[values.len() - 2] < 3e-4
    };
    upsampled.lanes(Axis(1)).into_iter().any(near)
}
