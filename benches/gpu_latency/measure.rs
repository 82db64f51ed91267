//! Times of the device by events on CUDA's default stream, on which libtorch and the engine work here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cudarc::driver::sys::CUevent_flags::CU_EVENT_DEFAULT;
use cudarc::driver::{CudaContext, CudaEvent, CudaStream};
use tch::{Device, Kind, Tensor};

use crate::Failure;

/// Size of the buffers that bandwidth is measured on: well above any cache.
const BANDWIDTH_BYTES: i64 = 1 << 30;
/// Frames in a row without waiting when the host's cost is measured: few enough that the driver's queue never fills.
const BURST: usize = 16;

/// Times of many frames, in microseconds, ascending.
pub struct Latency {
    sorted: Vec<f64>,
}

impl Latency {
    pub fn of(mut times: Vec<f64>) -> Result<Self, Failure> {
        if times.is_empty() {
            return Err("nothing was measured".into());
        }
        times.sort_by(f64::total_cmp);
        Ok(Self { sorted: times })
    }

    pub fn frames(&self) -> usize {
        self.sorted.len()
    }

    /// Percentile by nearest rank: `per_mille` 500 is the median.
    pub fn percentile(&self, per_mille: usize) -> f64 {
        let rank = (self.sorted.len() * per_mille).div_ceil(1000).max(1);
        self.sorted[rank - 1]
    }

    pub fn median(&self) -> f64 {
        self.percentile(500)
    }

    pub fn max(&self) -> f64 {
        self.percentile(1000)
    }

    pub fn mean(&self) -> f64 {
        self.sorted.iter().sum::<f64>() / self.sorted.len() as f64
    }

    /// Standard deviation of the sample.
    pub fn deviation(&self) -> f64 {
        let mean = self.mean();
        let squares: f64 = self.sorted.iter().map(|time| (time - mean).powi(2)).sum();
        (squares / (self.sorted.len().max(2) - 1) as f64).sqrt()
    }
}

/// Pairs of events, one pair a frame, made once.
pub struct Clock {
    stream: Arc<CudaStream>,
    events: Vec<[CudaEvent; 2]>,
    /// Frames a measurement: as many of the events are used.
    frames: usize,
}

impl Clock {
    pub fn new(frames: usize) -> Result<Self, Failure> {
        // The primary context, which libtorch works in too.
        let context = CudaContext::new(0)?;
        let event = || context.new_event(Some(CU_EVENT_DEFAULT));
        let events = (0..frames).map(|_| Ok([event()?, event()?])).collect::<Result<Vec<_>, Failure>>()?;
        Ok(Self { stream: context.default_stream(), events, frames })
    }

    /// Frames a measurement.
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// Changes the frames a measurement, to as many as the clock was made for at most.
    pub fn limit(&mut self, frames: usize) {
        self.frames = frames.min(self.events.len());
    }

    /// Time of each frame on the device, given one behind the other without waiting.
    pub fn latencies(&mut self, frame: impl FnMut(usize) -> Result<(), Failure>) -> Result<Latency, Failure> {
        self.first(self.frames, frame)
    }

    /// As `latencies`, of so many frames.
    fn first(
        &mut self,
        frames: usize,
        mut frame: impl FnMut(usize) -> Result<(), Failure>,
    ) -> Result<Latency, Failure> {
        let events = &self.events[..frames];
        for turn in 0..frames.div_ceil(10) {
            frame(turn)?;
        }
        self.stream.synchronize()?;
        for (turn, [before, after]) in events.iter().enumerate() {
            before.record(&self.stream)?;
            frame(turn)?;
            after.record(&self.stream)?;
        }
        self.stream.synchronize()?;
        let times = events.iter().map(|[before, after]| Ok(f64::from(before.elapsed_ms(after)?) * 1e3));
        Latency::of(times.collect::<Result<_, Failure>>()?)
    }
}

impl Clock {
    /// Time of so many frames on the device, each by its own events, given one behind the other without waiting: for criterion.
    #[allow(dead_code, reason = "gpu_stages measures with it")]
    pub fn sum(
        &self,
        frames: u64,
        mut frame: impl FnMut(usize) -> Result<(), Failure>,
    ) -> Result<Duration, Failure> {
        let (mut milliseconds, mut turn) = (0.0, 0);
        while turn < frames as usize {
            let events = &self.events[..self.events.len().min(frames as usize - turn)];
            for [before, after] in events {
                before.record(&self.stream)?;
                frame(turn)?;
                after.record(&self.stream)?;
                turn += 1;
            }
            self.stream.synchronize()?;
            for [before, after] in events {
                milliseconds += f64::from(before.elapsed_ms(after)?);
            }
        }
        Ok(Duration::from_secs_f64(milliseconds / 1e3))
    }
}

/// GB/s of a copy on the device (bytes read and written counted) and of a read (a sum, which writes nothing).
pub fn bandwidth(clock: &mut Clock) -> Result<(f64, f64), Failure> {
    let source = Tensor::f_ones([BANDWIDTH_BYTES / 4], (Kind::Float, Device::Cuda(0)))?;
    let mut target = source.f_empty_like()?;
    let frames = clock.frames().min(100);
    let copy = clock.first(frames, |_| {
        target.f_copy_(&source)?;
        Ok(())
    })?;
    let read = clock.first(frames, |_| {
        source.f_sum(Kind::Float).map(drop)?;
        Ok(())
    })?;
    let gigabytes = BANDWIDTH_BYTES as f64 / 1e3;
    Ok((2.0 * gigabytes / copy.median(), gigabytes / read.median()))
}

/// What the events alone take: part of every time.
pub fn nothing(clock: &mut Clock) -> Result<f64, Failure> {
    Ok(clock.latencies(|_| Ok(()))?.median())
}

/// Time that the host spends in giving a frame.
pub fn host_cost(
    clock: &Clock,
    mut frame: impl FnMut(usize) -> Result<(), Failure>,
) -> Result<Latency, Failure> {
    let mut times = Vec::with_capacity(clock.frames());
    for turn in 0..clock.frames() {
        if turn % BURST == 0 {
            clock.stream.synchronize()?;
        }
        let start = Instant::now();
        frame(turn)?;
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    clock.stream.synchronize()?;
    Latency::of(times)
}

/// Time from giving a frame to an idle GPU until the host knows that it is complete.
pub fn alone(clock: &Clock, mut frame: impl FnMut(usize) -> Result<(), Failure>) -> Result<Latency, Failure> {
    let mut times = Vec::new();
    for turn in 0..clock.frames().div_ceil(10) {
        clock.stream.synchronize()?;
        let start = Instant::now();
        frame(turn)?;
        clock.stream.synchronize()?;
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    Latency::of(times)
}
