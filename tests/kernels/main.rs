//! The CUDA kernels, run on the host by the execution harness: no GPU is needed.
#![cfg(feature = "cuda")]
#![allow(clippy::panic, clippy::unwrap_used, reason = "functions that tests share fail as tests do")]

#[cfg(feature = "files")]
#[path = "../data/mod.rs"]
mod data;
#[path = "../frames/mod.rs"]
mod frames;
#[path = "../kernel_harness/mod.rs"]
mod kernel_harness;
#[path = "../pictures/mod.rs"]
mod pictures;

mod accumulate;
mod engine_on_host;
#[cfg(feature = "files")]
mod golden;
mod harness_bites;
mod mutations;
mod preprocess;
mod probes;
mod properties;
