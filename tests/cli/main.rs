//! Every command through the real program: what it writes and prints, and how it refuses bad input.
//!
//! A failure is one line on stderr and exit code 1, wrong usage is exit code 2, and neither leaves anything behind in the
//! output folder. `sml doctor` and `sml completions` are tested in tests/doctor.rs.
#![cfg(feature = "cli")]
// Clippy permits this in the test functions, but not in what they call.
#![allow(clippy::unwrap_used, clippy::panic)]

mod arrays;
mod bad_input;
#[cfg(feature = "torch")]
mod bad_network;
mod bench;
mod bench_compare;
mod bench_peers;
#[cfg(feature = "torch")]
mod calibrate;
#[cfg(feature = "torch")]
mod calibrate_dataset;
#[cfg(feature = "torch")]
mod calibrate_resumed;
#[path = "../data/mod.rs"]
mod data;
mod dataset;
#[cfg(feature = "torch")]
mod demo;
mod eval;
#[cfg(feature = "torch")]
mod logits;
#[cfg(feature = "torch")]
mod model;
mod output_folder;
#[cfg(feature = "torch")]
mod pictures;
mod post;
mod program;
#[cfg(feature = "torch")]
mod run;
mod stats;
#[cfg(feature = "torch")]
mod torchscript;
#[cfg(all(feature = "torch", unix))]
mod watch;
