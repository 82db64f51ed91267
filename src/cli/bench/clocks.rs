//! Clocks of the processor and of the GPU, and what holds them back.
//!
//! Looked at when the first measured frame begins and when the last one has ended, never between.

use std::fs;

pub(super) use super::report::{ClockReading, Clocks};
use crate::Device;

/// Where the system tells for how long this process's group was kept from running.
const CPU_STATISTICS: &str = "/sys/fs/cgroup/cpu.stat";

/// Looks at the clocks of one run.
pub(super) struct ClockSource {
    gpu: Gpu,
    before: Option<(ClockReading, Option<u64>)>,
    after: Option<(ClockReading, Option<u64>)>,
}

impl ClockSource {
    pub fn of(device: Device) -> Self {
        Self { gpu: Gpu::of(device), before: None, after: None }
    }

    /// The first measured frame is about to begin; of several passes the first counts.
    pub fn begin(&mut self) {
        if self.before.is_none() {
            self.before = Some(self.look());
        }
    }

    /// A measured frame has ended, perhaps the last one.
    pub fn end(&mut self) {
        self.after = Some(self.look());
    }

    /// `None` where the machine told nothing.
    pub fn finish(self) -> Option<Clocks> {
        let ((before, held_before), (after, held_after)) = (self.before?, self.after?);
        let held_back_us = held_before.zip(held_after).map(|(before, after)| after.saturating_sub(before));
        let nothing = ClockReading::default();
        let told = before != nothing || after != nothing || held_back_us.is_some();
        told.then_some(Clocks { before, after, held_back_us })
    }

    fn look(&self) -> (ClockReading, Option<u64>) {
        let mut reading = ClockReading { cpu_mhz: cpu_mhz(), ..ClockReading::default() };
        self.gpu.add_to(&mut reading);
        let held = fs::read_to_string(CPU_STATISTICS).ok();
        (reading, held.and_then(|statistics| throttled_us(&statistics)))
    }
}

/// Mean of the frequencies that the system gives for all processors.
fn cpu_mhz() -> Option<f64> {
    mean_mhz(&fs::read_to_string("/proc/cpuinfo").ok()?)
}

/// From the lines `cpu MHz : 2600.000`.
fn mean_mhz(listing: &str) -> Option<f64> {
    let lines = listing.lines().filter(|line| line.starts_with("cpu MHz"));
    let clocks: Vec<f64> = lines.filter_map(|line| line.split_once(':')?.1.trim().parse().ok()).collect();
    (!clocks.is_empty()).then(|| clocks.iter().sum::<f64>() / clocks.len() as f64)
}

fn throttled_us(statistics: &str) -> Option<u64> {
    statistics.lines().find_map(|line| line.strip_prefix("throttled_usec ")?.trim().parse().ok())
}

/// NVIDIA's management library, where the device is a GPU and the library is there.
#[cfg(feature = "cuda")]
struct Gpu(Option<(nvml_wrapper::Nvml, String)>);

#[cfg(feature = "cuda")]
impl Gpu {
    fn of(device: Device) -> Self {
        let Device::Cuda(ordinal) = device else { return Self(None) };
        // By its address: the library counts GPUs that `CUDA_VISIBLE_DEVICES` hides, too.
        let found = crate::cuda::driver::probe().ok().flatten();
        let gpu = found.and_then(|found| found.gpus.into_iter().find(|gpu| gpu.ordinal == ordinal));
        Self(gpu.and_then(|gpu| Some((nvml_wrapper::Nvml::init().ok()?, gpu.pci_address))))
    }

    fn add_to(&self, reading: &mut ClockReading) {
        use nvml_wrapper::enum_wrappers::device::{Clock, TemperatureSensor};
        let Some((library, address)) = &self.0 else { return };
        let Ok(gpu) = library.device_by_pci_bus_id(address.as_str()) else { return };
        reading.gpu_sm_mhz = gpu.clock_info(Clock::SM).ok();
        reading.gpu_memory_mhz = gpu.clock_info(Clock::Memory).ok();
        reading.gpu_celsius = gpu.temperature(TemperatureSensor::Gpu).ok();
        reading.gpu_watts = gpu.power_usage().ok().map(|milliwatts| f64::from(milliwatts) / 1e3);
        let reasons = gpu.current_throttle_reasons().ok();
        reading.gpu_throttling =
            reasons.map(|reasons| reasons.iter_names().map(|(name, _)| name.to_lowercase()).collect());
    }
}

#[cfg(not(feature = "cuda"))]
struct Gpu;

#[cfg(not(feature = "cuda"))]
impl Gpu {
    fn of(_: Device) -> Self {
        Self
    }

    fn add_to(&self, _: &mut ClockReading) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listings_are_read() {
        let listing = "processor\t: 0\ncpu MHz\t\t: 2000.500\nprocessor\t: 1\ncpu MHz\t\t: 3000.500\n";
        assert_eq!(mean_mhz(listing), Some(2500.5));
        assert_eq!(mean_mhz("processor\t: 0\n"), None);
        let statistics = "usage_usec 10\nnr_throttled 2\nthrottled_usec 345\n";
        assert_eq!(throttled_us(statistics), Some(345));
        assert_eq!(throttled_us("usage_usec 10\n"), None);
    }

    #[test]
    fn what_is_not_told_is_absent() {
        let mut source = ClockSource::of(Device::Cpu);
        assert!(source.before.is_none());
        source.begin();
        source.end();
        if let Some(clocks) = source.finish() {
            assert!(clocks.before.gpu_sm_mhz.is_none() && clocks.after.gpu_throttling.is_none());
        }
        assert!(ClockSource::of(Device::Cpu).finish().is_none());
    }
}
