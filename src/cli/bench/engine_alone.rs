//! The engine on drawn logits, without a network.

use std::any::Any;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use rayon::ThreadPool;

use super::bandwidth::Flusher;
use super::case::Case;
use super::inputs::Inputs;
use super::machine::available_bytes;
use super::measurement::{Measured, run};
use super::report::{First, Memory, us};
use super::settings::{Cache, Settings};
use super::subject::{Pass, Subject};
use crate::cli::interrupt::Interrupt;
use crate::drawn_logits::DrawnLogits;
use crate::{Capacity, ClassStatistics, Device, Engine, Result, Size, Stage, StageTimings};

/// Inputs that take turns, so that one's logits are not simply the last one's in the cache.
const INPUTS: u64 = 3;

/// The part of the available memory that inputs may take together: beyond it there are fewer of them.
const INPUTS_SHARE: u64 = 4;

/// What was found about one case.
pub(super) struct Outcome {
    pub measured: Measured,
    pub first: First,
    pub memory: Memory,
    pub inputs: usize,
}

/// Measures one case, with the threads of `pool` where they are not to be the program's.
///
/// # Errors
/// When there is no memory for the inputs, or the device fails.
pub(super) fn measure(
    case: &Case,
    device: Device,
    settings: &Settings,
    pool: Option<&ThreadPool>,
    interrupt: Interrupt,
    bar: &ProgressBar,
) -> Result<Outcome> {
    let shape = case.logits_shape()?;
    let size = case.result.size;
    let capacity = Capacity::of(shape, size);
    capacity.check_memory()?;
    let drawn = (0..inputs(case, settings.cache)?)
        .map(|input| {
            let seed = (input as usize * shape.batch) as u16;
            DrawnLogits::new(seed, shape, case.element_type, case.layout)
        })
        .collect::<Result<Vec<_>>>()?;
    let statistics = drawn[0].statistics(size)?;
    let number = drawn.len();
    let inputs = Inputs::on(device, drawn)?;

    let build = || within(pool, || engine(case, device, settings.graph, &statistics, capacity));
    let (mut first, engine) = construct(device, build)?;
    let mut engines = vec![engine];
    for _ in 1..settings.concurrency {
        engines.push(build()?);
    }
    let device_bytes: usize = engines.iter().map(Engine::device_bytes).sum();
    let subject = |engine: Engine| -> Result<Box<dyn Subject + '_>> {
        let flusher = (settings.cache == Cache::Cold).then(|| Flusher::on(device)).transpose()?;
        let passes = passes(device, case.only);
        let inputs = inputs.share();
        Ok(Box::new(EngineAlone { engine, inputs, size, pool, passes, pass: passes[0], flusher }))
    };
    let mut subjects = engines.into_iter().map(subject).collect::<Result<Vec<_>>>()?;
    let measured = run(&mut subjects, settings.plan(device), interrupt, bar)?;
    first.frame_us = us(measured.first);
    first.warmup_us = us(measured.warmup);
    let memory = Memory {
        peak_bytes: measured.peak_bytes,
        device_bytes: (device != Device::Cpu).then_some(device_bytes as u64),
    };
    Ok(Outcome { measured, first, memory, inputs: number })
}

/// How many inputs take turns: fewer where memory is short, one where it is to stay in the caches.
fn inputs(case: &Case, cache: Cache) -> Result<u64> {
    let bytes = case.logit_bytes()?.max(1);
    let affordable = available_bytes().map_or(INPUTS, |available| available / INPUTS_SHARE / bytes);
    Ok(if cache == Cache::Hot { 1 } else { affordable.clamp(1, INPUTS) })
}

fn engine(
    case: &Case,
    device: Device,
    graph: Option<bool>,
    statistics: &ClassStatistics,
    capacity: Capacity,
) -> Result<Engine> {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(ordinal) => {
            let options = crate::cuda::CudaOptions { graph: graph.unwrap_or_default() };
            Engine::on_cuda(ordinal, options, case.params(), Some(statistics), capacity)
        }
        Device::Cpu => {
            debug_assert!(graph.is_none(), "graphs are for GPUs");
            Engine::new(device, case.params(), Some(statistics), capacity)
        }
    }
}

/// Builds an engine twice: the first time may have to compile kernels, the second finds them in the cache.
fn construct(device: Device, build: impl Fn() -> Result<Engine>) -> Result<(First, Engine)> {
    let cached = || (device != Device::Cpu).then(cached_kernels).flatten();
    let before = cached();
    let start = Instant::now();
    let engine = build()?;
    let construction = start.elapsed();
    crate::cli::warn(&engine);
    let kernels_compiled = before.zip(cached()).map(|(before, after)| after.saturating_sub(before));
    drop(engine);
    let start = Instant::now();
    let engine = build()?;
    let again = start.elapsed();
    let compile = kernels_compiled.map(|kernels| match kernels {
        0 => Duration::ZERO,
        _ => construction.saturating_sub(again),
    });
    let first = First {
        construction_us: us(construction),
        construction_again_us: Some(us(again)),
        kernels_compiled,
        compile_us: compile.map(us),
        ..First::default()
    };
    Ok((first, engine))
}

/// Files in the cache of compiled kernels, where there is one.
#[cfg(feature = "cuda")]
fn cached_kernels() -> Option<u64> {
    use crate::cuda::kernel_cache;
    kernel_cache::folder().map(|folder| kernel_cache::inspect(&folder).files)
}

#[cfg(not(feature = "cuda"))]
fn cached_kernels() -> Option<u64> {
    None
}

/// The stages of a frame, and the whole.
const SPLIT: [Pass; 1] = [Pass { stages: &["standardize", "suppress", "smooth", "all"], profiled: true }];
/// The whole without marks in the stream, and the stages between marks.
const WHOLE_AND_SPLIT: [Pass; 2] = [
    Pass { stages: &["all"], profiled: false },
    Pass { stages: &["standardize", "suppress", "smooth"], profiled: true },
];
const STANDARDIZE: [Pass; 1] = [Pass { stages: &["standardize"], profiled: true }];
const SUPPRESS: [Pass; 1] = [Pass { stages: &["suppress"], profiled: true }];
const SMOOTH: [Pass; 1] = [Pass { stages: &["smooth"], profiled: true }];

fn passes(device: Device, only: Option<Stage>) -> &'static [Pass] {
    match only {
        None if device == Device::Cpu => &SPLIT,
        None => &WHOLE_AND_SPLIT,
        Some(Stage::Standardize) => &STANDARDIZE,
        Some(Stage::Suppress) => &SUPPRESS,
        Some(Stage::Smooth) => &SMOOTH,
    }
}

/// Does the work with the threads of the pool, if there is one.
fn within<T: Send>(pool: Option<&ThreadPool>, work: impl FnOnce() -> T + Send) -> T {
    match pool {
        Some(pool) => pool.install(work),
        None => work(),
    }
}

struct EngineAlone<'a> {
    engine: Engine,
    inputs: Inputs,
    size: Size,
    pool: Option<&'a ThreadPool>,
    passes: &'static [Pass],
    pass: Pass,
    flusher: Option<Flusher>,
}

impl Subject for EngineAlone<'_> {
    fn passes(&self) -> &'static [Pass] {
        self.passes
    }

    fn begin(&mut self, pass: Pass) -> Result<()> {
        self.pass = pass;
        self.engine.profile(pass.profiled)
    }

    /// A stream of its own: on CUDA's default stream engines would wait for each other.
    #[cfg(all(feature = "torch", feature = "cuda"))]
    fn enter_thread(&self) -> Result<Option<Box<dyn Any>>> {
        match self.engine.device() {
            Device::Cpu => Ok(None),
            Device::Cuda(_) => Ok(Some(Box::new(self.engine.stream_guard()?))),
        }
    }

    fn flush(&mut self) -> Result<()> {
        self.flusher.as_mut().map_or(Ok(()), Flusher::flush)
    }

    fn frame(&mut self, turn: u64, times: &mut [Duration]) -> Result<()> {
        let Self { engine, inputs, size, pool, .. } = self;
        // The way into a pool of its own is part of the time, as the way into the program's is.
        let start = Instant::now();
        let (mut returned, mut all) = within(*pool, || inputs.submit(turn, engine, *size))?;
        if pool.is_some() {
            all = start.elapsed();
            returned = all;
        }
        let timings = if self.pass.profiled { self.engine.timings()? } else { None };
        let StageTimings { standardize, suppress, smooth } = timings.unwrap_or_default();
        let (submit, stages) = times.split_last_mut().unzip();
        for (time, stage) in stages.into_iter().flatten().zip(self.pass.stages) {
            *time = match *stage {
                "standardize" => standardize,
                "suppress" => suppress,
                "smooth" => smooth,
                _ => all,
            };
        }
        if let Some(submit) = submit {
            *submit = returned;
        }
        Ok(())
    }
}
