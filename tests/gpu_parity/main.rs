//! The engine and the calibration on a GPU against those on the CPU, in device memory that is exactly as large as needed, at any alignment,
//! filled with other bytes beforehand. libtorch takes no part, so that a memory checker sees each access.
//!
//! scripts/gpu_check.sh runs the tests called `small_...` under compute-sanitizer, and those called `many_...` with the
//! kernels inside the program only. Without a GPU a test prints that it is skipped, or fails when `SML_REQUIRE_GPU=1`.
#![cfg(feature = "cuda")]
#![allow(clippy::panic, clippy::unwrap_used, reason = "functions that tests share fail as tests do")]

#[cfg(feature = "files")]
#[path = "../data/mod.rs"]
mod data;
#[path = "../frames/mod.rs"]
mod frames;

mod calibration;
mod comparison;
mod many;
mod on_gpu;
#[path = "../pictures/mod.rs"]
mod pictures;
mod preprocess;
mod small;
