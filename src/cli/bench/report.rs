//! What was measured, as JSON of schema 1: benches/NOTES.md documents each field.
//!
//! Fields that came later than the first release of the schema have defaults, so that older files can still be read.

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub(super) use crate::latency::Latency;

/// Number of the JSON's form.
pub(super) const SCHEMA: u32 = 1;

/// Measurements of each stage that the JSON holds at most.
pub(super) const MOST_SAMPLES: usize = 10_000;

/// A run of the command.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Report {
    pub schema: u32,
    pub version: String,
    pub machine: Machine,
    /// What was run, for people.
    pub what: String,
    /// How it was run.
    #[serde(default)]
    pub options: Options,
    /// Measured frames, of all engines together.
    pub frames: u64,
    /// Frames before them, without the very first, of each engine.
    pub warmup: u64,
    /// Inputs that take turns.
    pub inputs: usize,
    /// Wall-clock time of the measured frames, with what lay between them.
    #[serde(default)]
    pub measured_s: f64,
    /// Whether Ctrl-C ended it before its time.
    #[serde(default)]
    pub interrupted: bool,
    pub first: First,
    #[serde(default)]
    pub memory: Memory,
    /// Clocks and what held them back; absent where the machine does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clocks: Option<Clocks>,
    /// The last one is the whole frame, unless a single stage was asked for. With `--sweep` those of each point follow each other.
    pub results: Vec<Row>,
    /// How cost grows, with `--sweep`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sweep: Option<Sweep>,
}

impl Machine {
    /// How many threads, for people.
    pub fn threads(&self) -> String {
        format!("{} threads{}", self.threads, if self.threads_pinned { ", pinned" } else { "" })
    }
}

/// Where it was run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Machine {
    pub cpu: Option<String>,
    /// Threads of the engine.
    pub threads: usize,
    /// Each has a processor of its own (`--pin-threads`).
    pub threads_pinned: bool,
    /// Vectors that the engine computes with on the CPU.
    pub instruction_set: String,
    /// Bytes of the last-level cache of the processor, where the system tells them.
    pub cache_bytes: Option<u64>,
    /// Mean number of running processes over the minute before, where the system tells it: others disturb.
    pub load_average: Option<f64>,
    pub operating_system: String,
    pub device: String,
    /// Name of the GPU, where the device is one.
    pub gpu: Option<String>,
    /// Release of its driver.
    pub driver: Option<String>,
    /// Day of the run, YYYY-MM-DD (UTC).
    pub date: String,
}

/// How it was run: the options as they were understood.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Options {
    /// all, standardize, suppress or smooth.
    pub stages: String,
    /// Network of whole frames; null for the engine alone.
    pub model: Option<String>,
    /// Whether frames are CUDA graphs; null on the CPU.
    pub graph: Option<bool>,
    /// turns, cold or hot.
    pub cache: String,
    /// Images a frame.
    pub batch: usize,
    /// Engines side by side.
    pub concurrency: usize,
    /// Time that was to be measured; null where frames were counted.
    pub duration_s: Option<f64>,
}

/// What the first frame costs, apart from all others.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct First {
    /// Building the engine, or loading the network.
    pub construction_us: f64,
    /// Building the engine once more, with compiled kernels in the cache; null for a network.
    pub construction_again_us: Option<f64>,
    /// Kernels that the first construction compiled and put into the cache; null on the CPU.
    pub kernels_compiled: Option<u64>,
    /// What compiling cost: the difference of the two constructions where kernels were compiled, else 0; null on the CPU.
    pub compile_us: Option<f64>,
    pub frame_us: f64,
    /// All frames to warm up together.
    pub warmup_us: f64,
}

/// Memory.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Memory {
    /// The most that the process held in host memory (VmHWM) until the last measured frame, inputs included; null where the system
    /// does not tell.
    pub peak_bytes: Option<u64>,
    /// Device memory that the engines keep, without inputs and network; null on the CPU and for whole frames.
    pub device_bytes: Option<u64>,
}

/// Clocks before the first and behind the last measured frame.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Clocks {
    pub before: ClockReading,
    pub after: ClockReading,
    /// Time for which the system kept this process's group from running between the two (cgroup quota), where it tells.
    pub held_back_us: Option<u64>,
}

/// One look at the clocks. What cannot be read is null.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct ClockReading {
    /// Mean over the processors.
    pub cpu_mhz: Option<f64>,
    pub gpu_sm_mhz: Option<u32>,
    pub gpu_memory_mhz: Option<u32>,
    pub gpu_celsius: Option<u32>,
    pub gpu_watts: Option<f64>,
    /// Why the GPU's clocks are lower than they could be, in NVML's words; empty where nothing holds them back.
    pub gpu_throttling: Option<Vec<String>>,
}

/// One stage at one shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Row {
    pub stage: String,
    /// The result's, N x C x H x W.
    pub shape: String,
    pub dtype: String,
    /// Pixels of the result for each row or column of the logits.
    pub from: usize,
    pub layout: Option<String>,
    /// Threads of the engine.
    #[serde(default)]
    pub threads: usize,
    /// Boundary suppression: width and iterations as `--suppression` of other commands takes them.
    #[serde(default)]
    pub suppression: String,
    /// Measurements.
    #[serde(default)]
    pub frames: u64,
    /// Frames (batches) of all engines together over the wall-clock time of measuring; for the last stage only, and null where
    /// more than the frames lay in that time.
    #[serde(default)]
    pub frames_per_s: Option<f64>,
    pub latency_us: Latency,
    /// Until the call returned, which on a GPU is before the result is complete; for whole frames only.
    #[serde(default)]
    pub submit_us: Option<Latency>,
    /// Bytes that the stage has to read and write at least.
    pub bytes: Option<u64>,
    /// By the median.
    pub gb_per_s: Option<f64>,
    /// Copying memory, bytes read and written, measured in the same run.
    #[serde(default)]
    pub copy_gb_per_s: Option<f64>,
    /// Reading memory, measured in the same run.
    pub read_gb_per_s: Option<f64>,
    /// `gb_per_s` as per cent of copying.
    #[serde(default)]
    pub copy_percent: Option<f64>,
    /// `gb_per_s` as per cent of reading.
    #[serde(default)]
    pub read_percent: Option<f64>,
    /// Measurements in the order in which they were taken, evenly thinned to at most 10,000.
    #[serde(default)]
    pub samples_us: Vec<f64>,
}

/// How cost grows along one axis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Sweep {
    /// sizes, classes, batch, widths or threads.
    pub axis: String,
    /// The stage that the points are of.
    pub stage: String,
    pub points: Vec<SweepPoint>,
    /// Of the median over the axis, both as logarithms, by least squares; null of fewer than two points.
    pub slope: Option<f64>,
    /// Least-squares line of the median over the axis: microseconds at zero, and microseconds for each unit.
    pub fixed_us: Option<f64>,
    pub unit_us: Option<f64>,
    /// Points that were left out, with the reason.
    #[serde(default)]
    pub left_out: Vec<String>,
}

/// One point of a sweep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SweepPoint {
    /// Place on the axis: megapixels of the result, classes, images, pixels of boundary width, threads.
    pub x: f64,
    pub shape: String,
    pub p50_us: f64,
    pub p99_us: f64,
    /// Nanoseconds a pixel of the result, at the median.
    pub ns_per_pixel: f64,
    /// That over its median of all points, less 1, for `sizes` and `batch`; null for the others, which change the work of a pixel.
    pub deviation: Option<f64>,
    /// Bytes of the inputs that take turns.
    pub input_bytes: u64,
    /// Why the point is not within 15 per cent of the median, as far as it was measured.
    pub reason: Option<String>,
}

/// Microseconds.
pub(super) fn us(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
