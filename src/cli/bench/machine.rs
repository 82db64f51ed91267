//! The machine: what it is, what disturbs it, and how much memory the process has taken.

use super::report::Machine;
use crate::cli::{doctor, threads, today};
use crate::{Device, InstructionSet, Result};

/// Where the system describes the caches of the first processor.
#[cfg(target_os = "linux")]
const CACHES: &str = "/sys/devices/system/cpu/cpu0/cache";

impl Machine {
    /// # Errors
    /// Those of [`InstructionSet::chosen`].
    pub fn of(device: Device) -> Result<Self> {
        let (gpu, driver) = gpu(device);
        Ok(Self {
            cpu: doctor::processor(),
            threads: rayon::current_num_threads(),
            threads_pinned: threads::are_pinned(),
            instruction_set: InstructionSet::chosen()?.name().to_owned(),
            cache_bytes: last_level_cache(),
            load_average: load_average(),
            operating_system: std::env::consts::OS.to_owned(),
            device: device.to_string(),
            gpu,
            driver,
            date: today(),
        })
    }
}

/// Name of the device's GPU, and release of the driver.
#[cfg(feature = "cuda")]
fn gpu(device: Device) -> (Option<String>, Option<String>) {
    let Device::Cuda(ordinal) = device else { return (None, None) };
    let Ok(Some(found)) = crate::cuda::driver::probe() else { return (None, None) };
    let gpu = found.gpus.into_iter().find(|gpu| gpu.ordinal == ordinal);
    (gpu.map(|gpu| gpu.name), found.release)
}

#[cfg(not(feature = "cuda"))]
fn gpu(_: Device) -> (Option<String>, Option<String>) {
    (None, None)
}

/// Bytes of the largest cache of the first processor, which others may share.
#[cfg(target_os = "linux")]
pub(super) fn last_level_cache() -> Option<u64> {
    let sizes = std::fs::read_dir(CACHES).ok()?.flatten().filter_map(|cache| {
        let text = std::fs::read_to_string(cache.path().join("size")).ok()?;
        cache_size(text.trim())
    });
    sizes.max()
}

#[cfg(not(target_os = "linux"))]
pub(super) fn last_level_cache() -> Option<u64> {
    None
}

/// `32768K` as bytes.
#[cfg(target_os = "linux")]
fn cache_size(text: &str) -> Option<u64> {
    let units = [('K', 10), ('M', 20), ('G', 30)];
    match units.into_iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, shift))) {
        Some((digits, shift)) => digits.parse::<u64>().ok()?.checked_shl(shift),
        None => text.parse().ok(),
    }
}

/// Mean number of running processes over the last minute.
pub(super) fn load_average() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}

/// The most host memory that this process has held so far.
pub(super) fn peak_bytes() -> Option<u64> {
    kilobytes(&std::fs::read_to_string("/proc/self/status").ok()?, "VmHWM:")
}

/// Memory that could be taken without swapping.
pub(super) fn available_bytes() -> Option<u64> {
    kilobytes(&std::fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")
}

/// The number behind `name` in a listing of the system's, in bytes.
fn kilobytes(listing: &str, name: &str) -> Option<u64> {
    let line = listing.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listings_are_read() {
        let listing = "VmPeak:\t  123 kB\nVmHWM:\t    4567 kB\nThreads:\t2\n";
        assert_eq!(kilobytes(listing, "VmHWM:"), Some(4567 * 1024));
        assert_eq!(kilobytes(listing, "VmSwap:"), None);
        assert_eq!(kilobytes("VmHWM:\tmany kB\n", "VmHWM:"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn cache_sizes_are_read() {
        assert_eq!(cache_size("32768K"), Some(32 << 20));
        assert_eq!(cache_size("96M"), Some(96 << 20));
        assert_eq!(cache_size("512"), Some(512));
        assert_eq!(cache_size("K"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_has_taken_memory() {
        assert!(peak_bytes().unwrap() > 1 << 16);
    }
}
