//! Every command through the real program: what it writes and prints, and how it refuses bad input.
//!
//! A failure is one line on stderr and exit code 1, wrong usage is exit code 2, and neither leaves anything behind in the
//! output folder. `sml doctor` and `sml completions` are tested in tests/doctor.rs.
#![cfg(feature = "cli")]
// Clippy permits this in the test functions, but not in what they call.
#![allow(clippy::unwrap_used, clippy::panic)]

mod arrays;
mod bad_input;
#[path = "../data/mod.rs"]
mod data;
mod output_folder;
mod post;
mod program;
mod stats;
