//! The engine on drawn logits, without a network.

use std::hint::black_box;
use std::time::{Duration, Instant};

use rayon::prelude::*;

use super::report::{First, Latency, MOST_SAMPLES, Machine, Memory, Options, Report, Row, SCHEMA, us};
use super::{Frames, ResultShape};
use crate::drawn_logits::DrawnLogits;
use crate::latency::Samples;
use crate::{Capacity, Device, ElementType, Engine, Layout, LogitsShape, Params, Result, Size, StageTimings};

/// Inputs that take turns, so that one's logits are not simply the last one's in the cache.
const INPUTS: usize = 3;

/// Reads of all inputs that a bandwidth is measured over, and bandwidths of which the median counts.
const READS: usize = 3;
const READ_MEASUREMENTS: usize = 5;

/// What the engine is given.
pub(super) struct Case {
    pub result: ResultShape,
    pub element_type: ElementType,
    pub layout: Layout,
    /// Pixels of the result for each row or column of the logits.
    pub from: usize,
}

impl Case {
    fn size(&self) -> Size {
        self.result.size
    }

    fn logits_shape(&self) -> Result<LogitsShape> {
        let Size { height, width } = self.size();
        LogitsShape::new(self.result.batch, self.result.classes, height / self.from, width / self.from)
    }

    fn dtype(&self) -> &'static str {
        match self.element_type {
            ElementType::F32 => "f32",
            ElementType::F16 => "f16",
            ElementType::BF16 => "bf16",
        }
    }

    fn layout(&self) -> &'static str {
        match self.layout {
            Layout::Nchw => "nchw",
            Layout::Nhwc => "nhwc",
        }
    }

    /// Measures.
    ///
    /// # Errors
    /// When there is no memory for the inputs, or the device fails.
    pub fn run(&self, device: Device, frames: Frames) -> Result<Report> {
        let shape = self.logits_shape()?;
        let capacity = Capacity::of(shape, self.size());
        capacity.check_memory()?;
        let drawn = (0..INPUTS)
            .map(|input| {
                let seed = (input * shape.batch) as u16;
                DrawnLogits::new(seed, shape, self.element_type, self.layout)
            })
            .collect::<Result<Vec<_>>>()?;
        let statistics = drawn[0].statistics(self.size())?;
        let logit_bytes = drawn[0].as_bytes().len() as u64;
        let inputs = Inputs::on(device, drawn)?;

        let start = Instant::now();
        let mut engine = Engine::new(device, Params::default(), Some(&statistics), capacity)?;
        engine.profile(true)?;
        let construction = start.elapsed();
        crate::cli::warn(&engine);
        let (first, _) = inputs.submit(0, &mut engine, self.size())?;
        for turn in 0..frames.warmup {
            inputs.submit(turn + 1, &mut engine, self.size())?;
        }
        let mut samples = (0..4)
            .map(|_| Samples::with_room_for(Some(frames.measured as u64)))
            .collect::<Result<Vec<_>>>()?;
        for turn in 0..frames.measured {
            let (all, StageTimings { standardize, suppress, smooth }) =
                inputs.submit(turn, &mut engine, self.size())?;
            samples.iter_mut().zip([standardize, suppress, smooth, all]).for_each(|(s, time)| s.add(time));
        }
        let read = inputs.read_gb_per_s()?;

        let what = format!(
            "engine alone: logits {}x{}x{} {} {} -> {}",
            shape.batch,
            shape.classes,
            shape.size,
            self.dtype(),
            self.layout(),
            self.size()
        );
        Ok(Report {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            machine: Machine::of(device)?,
            what,
            options: Options::default(),
            frames: frames.measured as u64,
            warmup: frames.warmup as u64,
            inputs: INPUTS,
            measured_s: 0.0,
            interrupted: false,
            first: First { construction_us: us(construction), frame_us: us(first), ..First::default() },
            memory: Memory { peak_bytes: super::machine::peak_bytes(), device_bytes: None },
            clocks: None,
            results: self.rows(&samples, logit_bytes, read),
            sweep: None,
        })
    }

    fn rows(&self, samples: &[Samples], logit_bytes: u64, read: f64) -> Vec<Row> {
        let pixels = (self.result.batch * self.size().pixels()) as u64;
        // A score is 4 bytes, a class 1. Suppression reads both and writes a score, smoothing reads and writes a score.
        let stages = [
            ("standardize", logit_bytes + 5 * pixels),
            ("suppress", 9 * pixels),
            ("smooth", 8 * pixels),
            ("all", logit_bytes + 5 * pixels),
        ];
        let row = |((stage, bytes), samples): ((&'static str, u64), &Samples)| {
            let latency_us: Latency = samples.latency();
            let rate = (latency_us.p50 > 0.0).then(|| bytes as f64 / 1e3 / latency_us.p50);
            Row {
                stage: stage.to_owned(),
                shape: self.result.to_string(),
                dtype: self.dtype().to_owned(),
                from: self.from,
                layout: Some(self.layout().to_owned()),
                threads: rayon::current_num_threads(),
                suppression: "4,4".to_owned(),
                frames: samples.count(),
                frames_per_s: None,
                latency_us,
                submit_us: None,
                bytes: Some(bytes),
                gb_per_s: rate,
                copy_gb_per_s: None,
                read_gb_per_s: Some(read),
                copy_percent: None,
                read_percent: rate.map(|rate| 100.0 * rate / read),
                samples_us: samples.thinned(MOST_SAMPLES),
            }
        };
        stages.into_iter().zip(samples).map(row).collect()
    }
}

/// Logits where the engine runs.
enum Inputs {
    Host(Vec<DrawnLogits>),
    #[cfg(all(feature = "torch", feature = "cuda"))]
    Gpu {
        tensors: Vec<tch::Tensor>,
        ordinal: i64,
    },
}

impl Inputs {
    #[cfg(all(feature = "torch", feature = "cuda"))]
    fn on(device: Device, drawn: Vec<DrawnLogits>) -> Result<Self> {
        match device {
            Device::Cpu => Ok(Self::Host(drawn)),
            Device::Cuda(ordinal) => {
                let tensors = drawn.iter().map(|drawn| gpu_tensor(drawn, ordinal)).collect::<Result<_>>()?;
                Ok(Self::Gpu { tensors, ordinal: ordinal as i64 })
            }
        }
    }

    #[cfg(not(all(feature = "torch", feature = "cuda")))]
    fn on(_: Device, drawn: Vec<DrawnLogits>) -> Result<Self> {
        Ok(Self::Host(drawn))
    }

    /// One frame, from the call until its result is complete: the host's time for it, and the stages'.
    fn submit(&self, turn: usize, engine: &mut Engine, size: Size) -> Result<(Duration, StageTimings)> {
        let start;
        match self {
            Self::Host(drawn) => {
                let logits = drawn[turn % drawn.len()].logits()?;
                start = Instant::now();
                black_box(engine.submit(&logits, size)?);
            }
            #[cfg(all(feature = "torch", feature = "cuda"))]
            Self::Gpu { tensors, .. } => {
                start = Instant::now();
                engine.submit_tensor(&tensors[turn % tensors.len()], size)?;
                engine.synchronize()?;
            }
        }
        let all = start.elapsed();
        Ok((all, engine.timings()?.unwrap_or_default()))
    }

    /// GB/s at which the inputs are read where they lie, by a sum over them one after the other: the median of a few measurements.
    fn read_gb_per_s(&self) -> Result<f64> {
        let mut rates = Vec::with_capacity(READ_MEASUREMENTS);
        for _ in 0..=READ_MEASUREMENTS {
            let start = Instant::now();
            let bytes: u64 = (0..READS).map(|_| self.read()).sum::<Result<u64>>()?;
            #[cfg(all(feature = "torch", feature = "cuda"))]
            if let Self::Gpu { ordinal, .. } = self {
                tch::Cuda::synchronize(*ordinal);
            }
            rates.push(bytes as f64 / 1e9 / start.elapsed().as_secs_f64());
        }
        // The first one wakes what sleeps.
        rates.remove(0);
        rates.sort_by(f64::total_cmp);
        Ok(rates[rates.len() / 2])
    }

    /// Reads all inputs once. Tells their bytes.
    fn read(&self) -> Result<u64> {
        match self {
            Self::Host(drawn) => {
                for drawn in drawn {
                    black_box(sum(drawn.as_bytes()));
                }
                Ok(drawn.iter().map(|drawn| drawn.as_bytes().len() as u64).sum())
            }
            #[cfg(all(feature = "torch", feature = "cuda"))]
            Self::Gpu { tensors, .. } => {
                let mut bytes = 0;
                for tensor in tensors {
                    let sum = tensor.f_sum(tch::Kind::Float);
                    drop(sum.map_err(crate::torch::torch_error("sum up the logits"))?);
                    bytes += (tensor.numel() * tensor.kind().elt_size_in_bytes()) as u64;
                }
                Ok(bytes)
            }
        }
    }
}

#[cfg(all(feature = "torch", feature = "cuda"))]
fn gpu_tensor(drawn: &DrawnLogits, ordinal: usize) -> Result<tch::Tensor> {
    use tch::Kind;
    let LogitsShape { batch, classes, size } = drawn.shape();
    let [batch, classes, height, width] = [batch, classes, size.height, size.width].map(|n| n as i64);
    let kind = match drawn.element_type() {
        ElementType::F32 => Kind::Float,
        ElementType::F16 => Kind::Half,
        ElementType::BF16 => Kind::BFloat16,
    };
    let dimensions = match drawn.layout() {
        Layout::Nchw => [batch, classes, height, width],
        Layout::Nhwc => [batch, height, width, classes],
    };
    let tensor = tch::Tensor::f_from_data_size(drawn.as_bytes(), &dimensions, kind)
        .and_then(|tensor| tensor.f_to_device(tch::Device::Cuda(ordinal)))
        .and_then(|tensor| match drawn.layout() {
            Layout::Nchw => Ok(tensor),
            Layout::Nhwc => tensor.f_permute([0, 3, 1, 2]),
        });
    tensor.map_err(crate::torch::torch_error("bring the logits to the GPU"))
}

/// A sum over all bytes that does nothing but read them, with all threads.
pub(super) fn sum(bytes: &[u8]) -> u64 {
    /// Bytes a task: few enough for all threads to have some, many enough for a task to be worth starting.
    const PART: usize = 1 << 20;
    bytes
        .par_chunks(PART)
        .map(|part| {
            let (before, words, after) = bytemuck::pod_align_to::<u8, u64>(part);
            let mut sums = [0_u64; 16];
            let blocks = words.chunks_exact(sums.len());
            let ends = before.iter().chain(after).map(|&byte| u64::from(byte));
            let rest = ends.chain(blocks.remainder().iter().copied()).fold(0, u64::wrapping_add);
            for block in blocks {
                sums.iter_mut().zip(block).for_each(|(sum, word)| *sum = sum.wrapping_add(*word));
            }
            sums.into_iter().fold(rest, u64::wrapping_add)
        })
        .reduce(|| 0, u64::wrapping_add)
}
