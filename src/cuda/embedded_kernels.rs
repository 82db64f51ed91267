//! Generic kernels inside the program: for machines without NVRTC, and for `SML_NO_JIT=1`.
//!
//! The crate's build script compiles them where it finds NVRTC; a build without NVRTC carries none.

use super::kernels::{Architecture, KernelVariant};

/// Bytes on a boundary that suits every reader of ELF files.
#[allow(dead_code, reason = "a build without NVRTC embeds nothing")]
#[repr(C, align(16))]
struct Aligned<const BYTES: usize>([u8; BYTES]);

/// Display text of a generic variant, architecture, and code for it.
type EmbeddedKernel = (&'static str, Architecture, &'static [u8]);

// `static KERNELS: &[EmbeddedKernel]`, written by build.rs.
include!(concat!(env!("OUT_DIR"), "/embedded_kernels.rs"));

/// The generic kernel that stands in for a variant on a GPU, given as ten times the major number of its compute
/// capability plus the minor one, and what it was compiled for. `None` if the program carries none that fits.
pub(super) fn embedded_kernel(variant: &KernelVariant, gpu: u32) -> Option<(Architecture, &'static [u8])> {
    let name = variant.generic().to_string();
    let of_this_name = || KERNELS.iter().filter(|(kernel, ..)| *kernel == name);
    let best = Architecture::best_of(of_this_name().map(|&(_, architecture, _)| architecture), gpu)?;
    of_this_name().find(|(_, architecture, _)| *architecture == best).map(|&(.., bytes)| (best, bytes))
}

/// The architectures of the embedded kernels, in ascending order; empty if there are none.
pub fn embedded_architectures() -> Vec<Architecture> {
    let mut architectures: Vec<_> = KERNELS.iter().map(|&(_, architecture, _)| architecture).collect();
    architectures.sort_unstable();
    architectures.dedup();
    architectures
}
