//! The CUDA kernels, run on the host by the execution harness: no GPU is needed.
#![cfg(feature = "cuda")]
#![allow(clippy::panic, clippy::unwrap_used, reason = "functions that tests share fail as tests do")]

#[path = "../kernel_harness/mod.rs"]
mod kernel_harness;

mod accumulate;
mod harness_bites;
