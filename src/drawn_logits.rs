//! The drawn scene's logits: the Rust twin of benches/peers/frame.py.
//!
//! Both draw the same float32 numbers, bit for bit, so that peers and engine are timed and compared on identical inputs
//! without exchanging files. Change one only together with the other, and `DIGEST` in both.
//!
//! A coarse random field a class makes regions, a finer and weaker one roughens their borders, and a little noise differs
//! from pixel to pixel. Every resolution shows the same scene.
//!
//! For measurements of this crate alone, and no part of its interface: it may change in any release.

use half::{bf16, f16};
use rayon::prelude::*;

use crate::{
    Capacity, ClassStatistics, Device, ElementType, Engine, Error, Layout, Logits, LogitsShape, Params,
    Provenance, Result, Score, Size, Stage, StatisticsAccumulator,
};

/// The logits of scenes in one form.
#[derive(Debug)]
pub struct DrawnLogits {
    elements: Elements,
    shape: LogitsShape,
    layout: Layout,
}

#[derive(Debug)]
enum Elements {
    F32(Vec<f32>),
    F16(Vec<f16>),
    BF16(Vec<bf16>),
}

impl DrawnLogits {
    /// Image `n` of the batch shows scene `first_seed + n`.
    ///
    /// # Errors
    /// [`Error::Shape`] where there is no memory for them.
    pub fn new(
        first_seed: u16,
        shape: LogitsShape,
        element_type: ElementType,
        layout: Layout,
    ) -> Result<Self> {
        let mut logits = Vec::new();
        logits.try_reserve_exact(shape.elements()).map_err(|_| Error::Shape {
            what: "shape of the logits",
            given: format!("{shape:?}"),
            expected: format!("one that fits into memory: this takes {} GiB", shape.elements() >> 28),
        })?;
        for n in 0..shape.batch {
            let planar = scene(first_seed.wrapping_add(n as u16), shape.classes, shape.size);
            match layout {
                Layout::Nchw => logits.extend_from_slice(&planar),
                Layout::Nhwc => logits.par_extend((0..planar.len()).into_par_iter().map(|i| {
                    let (pixel, class) = (i / shape.classes, i % shape.classes);
                    planar[class * shape.size.pixels() + pixel]
                })),
            }
        }
        let elements = match element_type {
            ElementType::F32 => Elements::F32(logits),
            ElementType::F16 => Elements::F16(logits.into_iter().map(f16::from_f32).collect()),
            ElementType::BF16 => Elements::BF16(logits.into_iter().map(bf16::from_f32).collect()),
        };
        Ok(Self { elements, shape, layout })
    }

    /// The logits as the engine takes them.
    ///
    /// # Errors
    /// None: there are as many elements as the shape says.
    pub fn logits(&self) -> Result<Logits<'_>> {
        match &self.elements {
            Elements::F32(elements) => Logits::packed(&elements[..], self.shape, self.layout),
            Elements::F16(elements) => Logits::packed(&elements[..], self.shape, self.layout),
            Elements::BF16(elements) => Logits::packed(&elements[..], self.shape, self.layout),
        }
    }

    /// The same in their order in memory.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.elements {
            Elements::F32(elements) => bytemuck::cast_slice(elements),
            Elements::F16(elements) => bytemuck::cast_slice(elements),
            Elements::BF16(elements) => bytemuck::cast_slice(elements),
        }
    }

    /// Shape of the logits.
    pub fn shape(&self) -> LogitsShape {
        self.shape
    }

    /// Type of the elements.
    pub fn element_type(&self) -> ElementType {
        match self.elements {
            Elements::F32(_) => ElementType::F32,
            Elements::F16(_) => ElementType::F16,
            Elements::BF16(_) => ElementType::BF16,
        }
    }

    /// Order of the elements.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Class statistics of these logits, upsampled to `size`.
    ///
    /// # Errors
    /// Those of [`Engine::new`] and [`Engine::submit`].
    pub fn statistics(&self, size: Size) -> Result<ClassStatistics> {
        let params = Params { score: Score::MaxLogit, ..Params::default() }.through(Stage::Standardize);
        let mut engine = Engine::new(Device::Cpu, params, None, Capacity::of(self.shape, size))?;
        let map = engine.submit(&self.logits()?, size)?;
        let max_logits: Vec<f32> = map.score.iter().map(|score| -score).collect();
        let predictions: Vec<u8> = map.prediction.iter().copied().collect();
        let mut accumulator = StatisticsAccumulator::new(self.shape.classes);
        accumulator.add(&max_logits, &predictions)?;
        Ok(accumulator.finish(Provenance::default()))
    }
}

/// Grid and amplitude of the two fields of a class.
const FIELDS: [(Size, f32); 2] = [(Size::new(6, 12), 12.0), (Size::new(96, 192), 0.7)];
const NOISE: f32 = 0.05;

/// [`digest`] of `scene(1, 3, Size::new(16, 24))`.
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
