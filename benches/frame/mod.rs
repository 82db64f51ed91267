//! The frame that every benchmark runs on, and how a stage is measured alone.
//!
//! `SML_BENCH_SMOKE=1` makes it a very small one: to see that every benchmark runs, not how long it takes.
//!
//! The logits are those of a drawn scene (`sml::drawn_logits`), the same from every run and at every resolution. Their statistics are
//! measured on the frame itself.
#![allow(dead_code, reason = "each benchmark uses its part")]
#![allow(clippy::expect_used, reason = "a benchmark that cannot build its frame has nothing to measure")]

use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, SamplingMode};
use sml::drawn_logits::DrawnLogits;
use sml::{
    Capacity, ClassStatistics, Device, ElementType, Engine, Layout, Logits, LogitsShape, Params, Size,
    StageTimings,
};

/// Classes of Cityscapes.
pub const CLASSES: usize = 19;
/// Whether nothing is to be measured, only run.
pub fn smoke() -> bool {
    std::env::var_os("SML_BENCH_SMOKE").is_some_and(|value| value == "1")
}

/// A picture of Cityscapes: the size of every result.
pub fn output() -> Size {
    if smoke() { Size::new(64, 128) } else { Size::new(1024, 2048) }
}

/// The scene's logits in one form.
pub struct Frame {
    drawn: DrawnLogits,
    /// Pixels of the result for each row or column of the logits.
    stride: usize,
    statistics: ClassStatistics,
}

impl Frame {
    pub fn new(element_type: ElementType, layout: Layout, stride: usize) -> Self {
        let shape = LogitsShape::new(1, CLASSES, output().height / stride, output().width / stride)
            .expect("the frame is of a valid shape");
        let drawn = DrawnLogits::new(0, shape, element_type, layout).expect("there is memory for the frame");
        let statistics = drawn.statistics(output()).expect("an engine can be built for the frame");
        Self { drawn, stride, statistics }
    }

    /// The frame as the engine takes it.
    pub fn logits(&self) -> Logits<'_> {
        self.drawn.logits().expect("the frame has its own shape")
    }

    /// An engine for this frame.
    pub fn engine(&self, params: Params) -> Engine {
        Engine::new(Device::Cpu, params, Some(&self.statistics), Capacity::of(self.shape(), output()))
            .expect("parameters, statistics and frame fit")
    }

    /// Size of the logits in memory.
    pub fn bytes(&self) -> u64 {
        self.elements_as_bytes().len() as u64
    }

    /// The same bytes as `logits`, in their order in memory.
    pub fn elements_as_bytes(&self) -> &[u8] {
        self.drawn.as_bytes()
    }

    /// Statistics of the frame itself.
    pub fn statistics(&self) -> &ClassStatistics {
        &self.statistics
    }

    /// Element type, memory order and resolution, as a part of a benchmark's name: `float16/nchw/1:4`.
    pub fn name(&self) -> String {
        let element_type = match self.drawn.element_type() {
            ElementType::F32 => "float32",
            ElementType::F16 => "float16",
            ElementType::BF16 => "bfloat16",
        };
        let layout = match self.drawn.layout() {
            Layout::Nchw => "nchw",
            Layout::Nhwc => "nhwc",
        };
        format!("{element_type}/{layout}/1:{}", self.stride)
    }

    /// Shape of the logits.
    pub fn shape(&self) -> LogitsShape {
        self.drawn.shape()
    }
}

/// Bytes of a result: a float32 score and a class a pixel.
pub fn result_bytes() -> u64 {
    output().pixels() as u64 * 5
}

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
                engine.submit(&frame.logits(), output()).expect("the engine was built for this frame");
                stage(engine.timings().ok().flatten().expect("the CPU is always timed"))
            };
            (0..frames).map(run).sum()
        });
    });
}
