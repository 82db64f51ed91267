//! Devices by the names that people give them: what is asked for, and what a GPU says about itself.
//!
//! These are plain types that need neither libtorch nor CUDA, so that a command line can parse `--device` in every
//! combination of features. What a request comes to on the machine at hand is decided by those who use the device.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::Error;

/// A device as a person asks for it: `auto`, `cpu`, `cuda` (that is, `cuda:0`) or `cuda:N`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum DeviceRequest {
    /// The first GPU where one works, else the CPU. This request never fails.
    #[default]
    Auto,
    /// The CPU, also where there is a GPU.
    Cpu,
    /// The GPU of this ordinal, counted among those that `CUDA_VISIBLE_DEVICES` leaves visible. Without that GPU the
    /// request is an error: it never falls back to the CPU.
    Cuda(usize),
}

impl FromStr for DeviceRequest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let ordinal = |digits: &str| {
            let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
            if plain { digits.parse().ok() } else { None }
        };
        let request = match text {
            "auto" => Some(Self::Auto),
            "cpu" => Some(Self::Cpu),
            "cuda" => Some(Self::Cuda(0)),
            _ => text.strip_prefix("cuda:").and_then(ordinal).map(Self::Cuda),
        };
        request.ok_or_else(|| Error::InvalidParameter {
            field: "device",
            given: format!("{text:?}"),
            expected: "auto, cpu, cuda or cuda:N with N counted from 0",
        })
    }
}

impl fmt::Display for DeviceRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
        }
    }
}

/// Compute capability of a GPU, 9.0 for instance. Kernels for it are compiled with the architecture `sm_90`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ComputeCapability {
    /// Generation of the architecture.
    pub major: u32,
    /// Variant within the generation.
    pub minor: u32,
}

impl ComputeCapability {
    /// The name that NVRTC takes in `--gpu-architecture` to make machine code for this GPU: `sm_90` for 9.0.
    pub fn architecture(self) -> String {
        format!("sm_{}{}", self.major, self.minor)
    }
}

impl fmt::Display for ComputeCapability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// One GPU, as the NVIDIA driver describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gpu {
    /// The `N` of `cuda:N`: its place among the visible GPUs.
    pub ordinal: usize,
    /// Name of the product.
    pub name: String,
    /// Compute capability.
    pub compute_capability: ComputeCapability,
    /// Device memory in bytes, used or free.
    pub memory_bytes: u64,
    /// Number of streaming multiprocessors.
    pub multiprocessors: u32,
    /// Size of the level-2 cache in bytes.
    pub l2_bytes: u64,
    /// Address on the PCI bus as `domain:bus:device.function`, which `nvidia-smi` prints too.
    pub pci_address: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_request_is_read_and_written() {
        for (text, request, written) in [
            ("auto", DeviceRequest::Auto, "auto"),
            ("cpu", DeviceRequest::Cpu, "cpu"),
            ("cuda", DeviceRequest::Cuda(0), "cuda:0"),
            ("cuda:0", DeviceRequest::Cuda(0), "cuda:0"),
            ("cuda:12", DeviceRequest::Cuda(12), "cuda:12"),
        ] {
            assert_eq!(text.parse::<DeviceRequest>().unwrap(), request, "{text}");
            assert_eq!(request.to_string(), written);
        }
    }

    #[test]
    fn anything_else_is_refused_with_what_was_given() {
        for text in [
            "",
            "gpu",
            "CUDA",
            "cuda:",
            "cuda:-1",
            "cuda:+1",
            "cuda: 1",
            "cuda:1x",
            "cuda:99999999999999999999",
        ] {
            let error = text.parse::<DeviceRequest>().unwrap_err().to_string();
            assert!(error.contains(&format!("{text:?}")) && error.contains("cuda:N"), "{text}: {error}");
        }
    }

    #[test]
    fn architecture_names_follow_the_compute_capability() {
        assert_eq!(ComputeCapability { major: 9, minor: 0 }.architecture(), "sm_90");
        assert_eq!(ComputeCapability { major: 12, minor: 1 }.architecture(), "sm_121");
    }
}
