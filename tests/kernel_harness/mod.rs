//! Runs the kernels' own source on the host: the execution harness.
//!
//! A kernel file is compiled by the system's C++ compiler into a shared library, under AddressSanitizer and
//! UndefinedBehaviorSanitizer, with a header in front that gives it CUDA's words (`cuda_on_host.hpp`). A driver program loads such
//! libraries and runs launches (`driver.cpp`): the blocks of a grid one after the other, the threads of a block as fibers
//! that switch at barriers and warp operations (`block.cpp`). Shared memory is filled with nonsense for every block; the
//! order of blocks and threads is chosen by each launch, so that a missing barrier changes a result.
//!
//! What it does not show: races of different blocks, the order of memory operations, and what a GPU's own instructions do
//! where kernels have a twin for the host.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a harness that cannot work fails the test")]

mod compiler;
mod driver;

pub use compiler::{Library, Source, compile};
pub use driver::{Failure, Job, Launch, Order, elements, run};
