//! A network as one CUDA graph, alone or with what follows it, for pictures of one size.
//!
//! libtorch allocates while a network runs, and has a way to keep what a capture allocated, which neither tch nor libtorch's C
//! interface offers. The same is achieved from outside. Three facts about its allocator are used: memory that was freed
//! is kept for the stream that it was allocated on; a block is cut from a free one that is large enough, if there is one; and
//! only blocks of the driver of which nothing is in use are ever given back. So the graph is captured on a stream of its own, for
//! which a large block and some small ones are allocated beforehand. A small piece of each is held on to (the *pins*), and the
//! rest freed: what the capture allocates is cut from these, they are never given back, and nobody else gets them, since
//! nobody else works on that stream. Whether the capture needed more is seen by the GPU's free memory; then, as in every other
//! doubt, frames go on without a graph, and the reason is told.
#![allow(unsafe_code)]

use tch::{Device, Kind, TchError, Tensor};

use super::cuda_stream::StreamGuard;
use super::torch_error;
use crate::cuda::{FrameGraph, FrameStream};
use crate::{Error, Result};

/// Settings of libtorch's allocator, under which it may work otherwise than described.
const ALLOCATOR_SETTINGS: [&str; 3] =
    ["PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_NO_CUDA_MEMORY_CACHING"];
/// Allocations up to this size are cut from blocks of twice as much.
const SMALL: i64 = 1 << 20;
/// Blocks for small allocations.
const SMALL_BLOCKS: usize = 16;
/// The least that is set aside for the others: cuBLAS alone takes 32 MiB on some GPUs.
const LEAST: i64 = 128 << 20;

/// A graph with the memory that it uses. Fields are dropped in this order: the graph before its memory.
pub(super) struct Captured {
    pub graph: FrameGraph,
    _pins: Vec<Tensor>,
}

/// Captures what `give` puts on a stream that nobody else works on or has worked on, and hands on what `give` made of it. `taken` is how
/// many bytes of the GPU's memory the first frame took.
///
/// # Safety
/// What `give` uses, but for what libtorch allocates in it, lives as long as the result, and is used by nothing else while the graph is
/// replayed.
///
/// # Errors
/// Why it cannot be captured: frames go on without.
pub(super) unsafe fn capture<T>(
    stream: &mut FrameStream,
    ordinal: usize,
    taken: u64,
    give: impl FnOnce(&mut FrameStream) -> Result<T>,
) -> Result<(Captured, T)> {
    if let Some(name) = ALLOCATOR_SETTINGS.into_iter().find(|name| std::env::var_os(name).is_some()) {
        return Err(refused(format!("{name} changes how libtorch allocates")));
    }
    // SAFETY: the stream is of this GPU, and lent to libtorch it is never destroyed.
    let _guard = unsafe { StreamGuard::new(stream.stream(), ordinal) }?;
    let pins =
        set_aside(taken, Device::Cuda(ordinal)).map_err(torch_error("set memory aside for a graph"))?;
    let before = stream.free_bytes();
    // SAFETY: what libtorch allocates is checked below to come from the memory that the pins keep, which no other work uses; the rest is
    // the caller's duty.
    let (made, graph) = unsafe { stream.capture(give) }?;
    match (before, stream.free_bytes()) {
        (Some(before), Some(after)) if after + LITTLE >= before => {
            Ok((Captured { graph, _pins: pins }, made))
        }
        _ => Err(refused("the network took more memory than was set aside".to_owned())),
    }
}

/// What the driver itself may take for a graph: the kernels' arguments.
const LITTLE: u64 = 1 << 20;

/// Blocks of the driver's of which only small parts stay in use.
fn set_aside(taken: u64, device: Device) -> Result<Vec<Tensor>, TchError> {
    let bytes = |length: i64| Tensor::f_empty([length], (Kind::Uint8, device));
    let small = (0..2 * SMALL_BLOCKS).map(|_| bytes(SMALL)).collect::<Result<Vec<_>, _>>()?;
    let large = bytes((taken as i64 / 4 * 5).max(LEAST))?;
    // Every other one: the halves of a block are given out one after the other.
    let mut pins: Vec<Tensor> = small.into_iter().skip(1).step_by(2).collect();
    drop(large);
    // Not a small one, so that it is cut from the large block, the only one of its kind.
    pins.push(bytes(2 * SMALL)?);
    Ok(pins)
}

fn refused(message: String) -> Error {
    Error::Cuda { action: "capture a whole frame into a graph".to_owned(), message }
}
