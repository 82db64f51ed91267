//! The frame that every benchmark runs on, and how a stage is measured alone.
//!
//! The logits are those of a drawn scene (`scene`), the same from every run and at every resolution. Their statistics are
//! measured on the frame itself.
#![allow(dead_code, reason = "each benchmark uses its part")]
#![allow(clippy::expect_used, reason = "a benchmark that cannot build its frame has nothing to measure")]

mod scene;

use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, SamplingMode};
use half::{bf16, f16};
use rayon::prelude::*;
use sml::{
    Capacity, ClassStatistics, Device, ElementType, Engine, Layout, Logits, LogitsShape, Params, Provenance,
    Score, Size, Stage, StageTimings, StatisticsAccumulator,
};

/// Classes of Cityscapes.
pub const CLASSES: usize = 19;
/// A picture of Cityscapes: the size of every result.
pub const OUTPUT: Size = Size::new(1024, 2048);

/// The scene's logits in one form.
pub struct Frame {
    elements: Elements,
    layout: Layout,
    /// Pixels of the result for each row or column of the logits.
    stride: usize,
    statistics: ClassStatistics,
}

enum Elements {
    F32(Vec<f32>),
    F16(Vec<f16>),
    BF16(Vec<bf16>),
}

impl Frame {
    pub fn new(element_type: ElementType, layout: Layout, stride: usize) -> Self {
        let size = Size::new(OUTPUT.height / stride, OUTPUT.width / stride);
        let planar = scene::scene(0, CLASSES, size);
        let logits: Vec<f32> = match layout {
            Layout::Nchw => planar,
            Layout::Nhwc => (0..planar.len())
                .into_par_iter()
                .map(|i| planar[i % CLASSES * size.pixels() + i / CLASSES])
                .collect(),
        };
        let elements = match element_type {
            ElementType::F32 => Elements::F32(logits),
            ElementType::F16 => Elements::F16(logits.into_iter().map(f16::from_f32).collect()),
            ElementType::BF16 => Elements::BF16(logits.into_iter().map(bf16::from_f32).collect()),
        };
        // Any statistics serve to measure the frame's own: the max logit does not need them.
        let unmeasured =
            ClassStatistics::from_vectors(&[0.0; CLASSES], &[1.0; CLASSES], Provenance::default());
        let mut frame =
            Self { elements, layout, stride, statistics: unmeasured.expect("19 classes are valid") };
        frame.statistics = frame.measure();
        frame
    }

    fn measure(&self) -> ClassStatistics {
        let max_logit = Params { score: Score::MaxLogit, ..Params::default() }.through(Stage::Standardize);
        let mut engine = self.engine(max_logit);
        let map = engine.submit(&self.logits(), OUTPUT).expect("the engine was built for this frame");
        let max_logits: Vec<f32> = map.score.iter().map(|score| -score).collect();
        let predictions: Vec<u8> = map.prediction.iter().copied().collect();
        let mut accumulator = StatisticsAccumulator::new(CLASSES);
        accumulator.add(&max_logits, &predictions).expect("a prediction is below the number of classes");
        accumulator.finish(Provenance::default())
    }

    /// The frame as the engine takes it.
    pub fn logits(&self) -> Logits<'_> {
        let logits = match &self.elements {
            Elements::F32(elements) => Logits::packed(&elements[..], self.shape(), self.layout),
            Elements::F16(elements) => Logits::packed(&elements[..], self.shape(), self.layout),
            Elements::BF16(elements) => Logits::packed(&elements[..], self.shape(), self.layout),
        };
        logits.expect("the frame has its own shape")
    }

    /// An engine for this frame.
    pub fn engine(&self, params: Params) -> Engine {
        Engine::new(Device::Cpu, params, Some(&self.statistics), Capacity::of(self.shape(), OUTPUT))
            .expect("parameters, statistics and frame fit")
    }

    /// Size of the logits in memory.
    pub fn bytes(&self) -> u64 {
        let element = match self.logits().data().element_type() {
            ElementType::F32 => 4,
            ElementType::F16 | ElementType::BF16 => 2,
        };
        self.shape().elements() as u64 * element
    }

    /// The same bytes as `logits`, in their order in memory.
    pub fn elements_as_bytes(&self) -> &[u8] {
        match &self.elements {
            Elements::F32(elements) => bytemuck::cast_slice(elements),
            Elements::F16(elements) => bytemuck::cast_slice(elements),
            Elements::BF16(elements) => bytemuck::cast_slice(elements),
        }
    }

    /// Statistics of the frame itself.
    pub fn statistics(&self) -> &ClassStatistics {
        &self.statistics
    }

    /// Element type, memory order and resolution, as a part of a benchmark's name: `float16/nchw/1:4`.
    pub fn name(&self) -> String {
        let element_type = match self.logits().data().element_type() {
            ElementType::F32 => "float32",
            ElementType::F16 => "float16",
            ElementType::BF16 => "bfloat16",
        };
        let layout = match self.layout {
            Layout::Nchw => "nchw",
            Layout::Nhwc => "nhwc",
        };
        format!("{element_type}/{layout}/1:{}", self.stride)
    }

    /// Shape of the logits.
    pub fn shape(&self) -> LogitsShape {
        LogitsShape::new(1, CLASSES, OUTPUT.height / self.stride, OUTPUT.width / self.stride)
            .expect("the frame is of a valid shape")
    }
}

/// Bytes of a result: a float32 score and a class a pixel.
pub const RESULT_BYTES: u64 = OUTPUT.pixels() as u64 * 5;

/// A group of benchmarks that each take long: few samples, each of as many frames as the others.
pub fn group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.sampling_mode(SamplingMode::Flat).sample_size(20);
    group
}

/// Measures what `stage` picks from the engine's own timings of whole frames.
pub fn bench_stage(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: String,
    frame: &Frame,
    params: Params,
    stage: fn(StageTimings) -> Duration,
) {
    group.bench_function(name, |bencher| {
        let mut engine = frame.engine(params);
        bencher.iter_custom(|frames| {
            let run = |_| {
                engine.submit(&frame.logits(), OUTPUT).expect("the engine was built for this frame");
                stage(engine.timings().ok().flatten().expect("the CPU is always timed"))
            };
            (0..frames).map(run).sum()
        });
    });
}
