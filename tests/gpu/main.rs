//! What needs an NVIDIA GPU. Without one these tests print that they are skipped, or fail when `SML_REQUIRE_GPU=1`.

#![cfg(all(feature = "torch", feature = "cuda"))]
// Device addresses and streams cannot be checked, so giving them is `unsafe`.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    unsafe_code,
    reason = "functions that tests share fail as tests do"
)]

#[path = "../data/mod.rs"]
mod data;
#[path = "../frames/mod.rs"]
mod frames;

mod failing;
#[cfg(feature = "frame-loop")]
mod frame_loop;
mod golden;
mod large;
mod maps;
mod network;
#[cfg(feature = "frame-loop")]
#[path = "../picture_network/mod.rs"]
mod picture_network;
#[path = "../pictures/mod.rs"]
mod pictures;
mod pipeline;
mod statistics;
mod streams;
mod tensors;

use std::sync::{Mutex, MutexGuard, PoisonError};

use sml::DeviceRequest;
use sml::torch::choose_device;
use tch::Device;

/// The first GPU and the turn to use it, or `None` and the reason. One test at a time: what one allocates or waits for would
/// fail another's capture, and show in another's count of free memory.
fn gpu() -> Option<(Device, MutexGuard<'static, ()>)> {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    match choose_device(DeviceRequest::Cuda(0)) {
        Ok(device) => Some((device, turn)),
        Err(error) => {
            let required = std::env::var_os("SML_REQUIRE_GPU").is_some_and(|value| value == "1");
            assert!(!required, "SML_REQUIRE_GPU=1 and {error}");
            println!("skipped: {error}");
            None
        }
    }
}
