//! The engine on a GPU as the driver sees it: which calls it makes, in which order, and what it gives back.
//!
//! No GPU is needed. A stand-in for the driver (tests/driver_stand_in) is compiled, and each test runs in a process of its
//! own that finds it in place of the real one. The stand-in runs no kernel; `end_to_end` runs on the host what it was given.

#![cfg(all(feature = "cuda", target_os = "linux"))]
// Device addresses cannot be checked, so giving them is `unsafe`; clippy's leave for tests does not cover their helpers.
#![allow(clippy::unwrap_used, clippy::panic, unsafe_code)]

#[path = "../frames/mod.rs"]
mod frames_of_logits;
#[path = "../kernel_harness/mod.rs"]
#[allow(dead_code, unused_imports, reason = "each test program uses its part")]
mod kernel_harness;

mod building;
mod end_to_end;
mod failures;
#[cfg(feature = "frame-loop")]
mod frame_loop;
mod frames;
mod host_heap;
mod in_any_order;
mod log;
#[cfg(feature = "frame-loop")]
#[path = "../picture_network/mod.rs"]
mod picture_network;
#[path = "../pictures/mod.rs"]
mod pictures;
mod preprocess;
mod setting;
mod stand_in;
mod statistics;
mod streams;
#[cfg(feature = "torch")]
mod torch;
