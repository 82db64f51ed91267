//! Stages and whole frames of the engine on a GPU, by events on the device: the benchmarks of `standardize`, `suppress`, `smooth` and
//! `pipeline` with their names, and `cold` or `hot` behind them.
//!
//! Cold inputs are three times the L2 cache together and take turns; hot is one input again and again. A stage's time comes from the
//! engine's own events between its launches. Percentiles and bandwidths are the task of `gpu_latency`; here criterion compares with
//! what was measured before. Without a GPU it says that it is skipped.

mod frame;
#[allow(dead_code, reason = "gpu_latency uses the rest")]
#[path = "gpu_latency/inputs.rs"]
mod inputs;
#[allow(dead_code, reason = "gpu_latency uses the rest")]
#[path = "gpu_latency/measure.rs"]
mod measure;

use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use frame::output;
use inputs::{Form, Inputs};
use measure::Clock;
use sml::cuda::{CudaOptions, driver};
use sml::{Capacity, ElementType, Engine, Layout, Params, StageTimings};

/// What went wrong, for a person.
type Failure = Box<dyn std::error::Error>;

/// Frames that are given without waiting.
const FRAMES: usize = 1000;

const FORMS: [Form; 9] = [
    Form::new(ElementType::F32, Layout::Nchw, 1),
    Form::new(ElementType::F16, Layout::Nchw, 1),
    Form::new(ElementType::BF16, Layout::Nchw, 1),
    Form::new(ElementType::F16, Layout::Nhwc, 1),
    Form::new(ElementType::F16, Layout::Nchw, 2),
    Form::new(ElementType::F16, Layout::Nchw, 4),
    Form::new(ElementType::F16, Layout::Nhwc, 4),
    Form::new(ElementType::F16, Layout::Nchw, 8),
    Form::new(ElementType::F16, Layout::Nchw, 16),
];

/// A stage's name and its time.
type Stage = (&'static str, fn(StageTimings) -> Duration);
const STAGES: [Stage; 3] = [
    ("standardize", |timings| timings.standardize),
    ("suppress", |timings| timings.suppress),
    ("smooth", |timings| timings.smooth),
];

fn main() -> Result<(), Failure> {
    let Some(gpu) = driver::probe()?.and_then(|driver| driver.gpus.into_iter().next()) else {
        println!("skipped: stages on a GPU need one, and none is found here");
        return Ok(());
    };
    let mut criterion = Criterion::default().configure_from_args();
    let clock = Clock::new(FRAMES)?;
    let mut failure = None;
    for form in FORMS {
        let inputs = Inputs::new(form, gpu.l2_bytes)?;
        for (cache, sets) in [("cold", inputs.sets()), ("hot", 1)] {
            let name = format!("{form}/{cache}").replace(' ', "/");
            for graph in [false, true] {
                let mut group = criterion.benchmark_group("gpu pipeline");
                let mut engine = engine(&inputs, graph)?;
                let mut inputs = inputs.with_outputs();
                group.throughput(Throughput::Bytes(form.bytes("all")));
                let name = format!("{name}{}", if graph { "/graph" } else { "" });
                bench(&mut group, &name, &mut failure, |frames| {
                    clock.sum(frames, |turn| inputs.submit(&mut engine, turn % sets))
                });
            }
            // The later stages do not depend on the form of the logits.
            let stages =
                if (form.dtype(), form.layout(), form.stride()) == ("f16", "nchw", 1) { 3 } else { 1 };
            for (stage, time) in &STAGES[..stages] {
                let mut group = criterion.benchmark_group(format!("gpu {stage}"));
                group.throughput(Throughput::Bytes(form.bytes(stage)));
                let mut inputs = inputs.with_outputs();
                let mut engine = engine(&inputs, false)?;
                engine.profile(true)?;
                bench(&mut group, &name, &mut failure, |frames| {
                    let mut sum = Duration::ZERO;
                    for turn in 0..frames as usize {
                        inputs.submit(&mut engine, turn % sets)?;
                        sum += time(
                            engine.timings()?.ok_or("the engine measures its stages, and tells no time")?,
                        );
                    }
                    Ok(sum)
                });
            }
        }
    }
    criterion.final_summary();
    failure.map_or(Ok(()), Err)
}

/// One benchmark that measures its frames itself; the first failure is kept.
fn bench(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    failure: &mut Option<Failure>,
    mut measure: impl FnMut(u64) -> Result<Duration, Failure>,
) {
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|frames| match measure(frames) {
            Ok(time) => time,
            Err(error) => {
                failure.get_or_insert(error);
                Duration::from_nanos(1)
            }
        });
    });
}

/// The engine of a form, on the GPU.
fn engine(inputs: &Inputs, graph: bool) -> sml::Result<Engine> {
    let capacity = Capacity::of(inputs.shape(), output());
    Engine::on_cuda(0, CudaOptions { graph }, Params::default(), Some(inputs.statistics()), capacity)
}
