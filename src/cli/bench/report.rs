//! What was measured: as a table for people, and as JSON for machines.

use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;

use super::latency::Latency;
use crate::cli::doctor;
use crate::{InstructionSet, Result};

/// Number of the JSON's form.
const SCHEMA: u32 = 1;

/// A run of the command.
#[derive(Serialize)]
pub(super) struct Report {
    pub schema: u32,
    pub version: &'static str,
    pub machine: Machine,
    /// What was run, for people.
    pub what: String,
    /// Measured frames.
    pub frames: usize,
    /// Frames before them, without the very first.
    pub warmup: usize,
    /// Inputs that take turns.
    pub inputs: usize,
    pub first: First,
    /// The last one is the whole frame.
    pub results: Vec<Row>,
}

/// Where it was run.
#[derive(Serialize)]
pub(super) struct Machine {
    pub cpu: Option<String>,
    /// Threads of the engine.
    pub threads: usize,
    /// Vectors that the engine computes with on the CPU.
    pub instruction_set: &'static str,
    pub device: String,
    /// Name of the GPU, where the device is one.
    pub gpu: Option<String>,
}

impl Machine {
    /// # Errors
    /// Those of [`InstructionSet::chosen`].
    pub fn of(device: String) -> Result<Self> {
        Ok(Self {
            cpu: doctor::processor(),
            threads: rayon::current_num_threads(),
            instruction_set: InstructionSet::chosen()?.name(),
            gpu: gpu_name(&device),
            device,
        })
    }
}

#[cfg(feature = "cuda")]
fn gpu_name(device: &str) -> Option<String> {
    let ordinal = device.strip_prefix("cuda:")?;
    let found = crate::cuda::driver::probe().ok().flatten()?;
    found.gpus.into_iter().find(|gpu| gpu.ordinal.to_string() == ordinal).map(|gpu| gpu.name)
}

#[cfg(not(feature = "cuda"))]
fn gpu_name(_: &str) -> Option<String> {
    None
}

/// What the first frame costs, apart from all others.
#[derive(Serialize)]
pub(super) struct First {
    /// Building the engine, or loading the network.
    pub construction_us: f64,
    pub frame_us: f64,
}

impl First {
    pub fn new(construction: Duration, frame: Duration) -> Self {
        Self { construction_us: construction.as_secs_f64() * 1e6, frame_us: frame.as_secs_f64() * 1e6 }
    }
}

/// One stage.
#[derive(Serialize)]
pub(super) struct Row {
    pub stage: &'static str,
    /// The result's, N x C x H x W.
    pub shape: String,
    pub dtype: String,
    /// Pixels of the result for each row or column of the logits.
    pub from: usize,
    pub layout: Option<&'static str>,
    pub latency_us: Latency,
    /// Bytes that the stage has to read and write at least.
    pub bytes: Option<u64>,
    /// By the median.
    pub gb_per_s: Option<f64>,
    /// Reading alone, measured in the same run.
    pub read_gb_per_s: Option<f64>,
}

impl Report {
    pub fn new(machine: Machine, what: String, (frames, warmup, inputs): (usize, usize, usize)) -> Self {
        let first = First::new(Duration::ZERO, Duration::ZERO);
        let version = env!("CARGO_PKG_VERSION");
        Self { schema: SCHEMA, version, machine, what, frames, warmup, inputs, first, results: Vec::new() }
    }

    pub fn to_text(&self) -> String {
        let mut text = self.header();
        let Some(whole) = self.results.last().map(|row| row.latency_us) else { return text };
        let (unit, divisor) = if whole.p50 < 1e3 { ("us", 1.0) } else { ("ms", 1e3) };
        let columns = ["p50", "p90", "p99", "max", "mean", "stddev"];
        let _ = write!(text, "\n{:<16}", format!("stage ({unit})"));
        columns.iter().for_each(|name| text += &format!("{name:>11}"));
        text += "    share\n";
        for Row { stage, latency_us: latency, .. } in &self.results {
            let Latency { p50, p90, p99, max, mean, stddev, .. } = latency;
            let _ =
                write!(text, "{:<16}", stage.replace("post_processing", "post-processing").replace('_', " "));
            [p50, p90, p99, max, mean, stddev]
                .iter()
                .for_each(|time| text += &format!("{:>11.3}", **time / divisor));
            let _ = writeln!(text, " {:>6.2} %", 100.0 * latency.mean / whole.mean);
        }
        self.add_bandwidth(&mut text);
        text
    }

    fn header(&self) -> String {
        let Machine { cpu, threads, instruction_set, device, gpu } = &self.machine;
        let cpu = cpu.as_deref().unwrap_or("processor of unknown name");
        let gpu = gpu.as_ref().map(|name| format!(", {name}")).unwrap_or_default();
        let Self { version, what, frames, warmup, inputs, first, .. } = self;
        format!(
            "sml {version} on {device}{gpu}; {cpu}, {threads} threads, {instruction_set}\n{what}\n\
             {frames} frames after the first and {warmup} to warm up; {inputs} inputs take turns\n\
             construction {:.1} ms, first frame {:.1} ms\n",
            first.construction_us / 1e3,
            first.frame_us / 1e3
        )
    }

    /// What the whole moves, and the limit.
    fn add_bandwidth(&self, text: &mut String) {
        let rates = self.results.last().map(|row| (row.bytes, row.gb_per_s, row.read_gb_per_s));
        if let Some((Some(bytes), Some(rate), Some(read))) = rates {
            let megabytes = bytes as f64 / 1e6;
            let _ = writeln!(
                text,
                "\n{megabytes:.1} MB a frame at the median: {rate:.2} GB/s, {:.1} % of the {read:.2} GB/s that \
                 reading alone reaches",
                100.0 * rate / read
            );
        }
    }
}
