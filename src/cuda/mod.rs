//! NVIDIA GPUs: the driver and its GPUs, the run-time compiler NVRTC, and the folder for compiled kernels.
//!
//! Nothing here is linked: driver and NVRTC are looked for when they are first needed, so that one program serves
//! machines with and without them, and their absence is an answer and not a crash.

mod cached_kernel;
pub mod compiled_kernels;
pub mod driver;
mod embedded_kernels;
pub mod kernel_cache;
pub mod kernels;
pub mod nvrtc;
mod nvrtc_binding;
mod nvrtc_files;
pub mod plan;
