//! Frames by their addresses in a GPU's memory, for hosts without libtorch.
#![allow(unsafe_code)]

use super::RawStream;
use super::plan::DeviceFrame;
use crate::{ElementType, Engine, Error, Result};

/// Addresses in a GPU's memory.
impl Engine {
    /// Gives a batch in the GPU's memory to a stream, behind the stream's earlier work and behind this engine's earlier
    /// frames. Returns when the launches are given, before they are complete. Allocates, copies and waits for nothing.
    ///
    /// A stream that is being captured into a graph takes the launches into it. Whoever replays that graph keeps this engine
    /// alive, and lets neither two replays nor a replay and another frame of this engine run at the same time: they share
    /// its workspace.
    ///
    /// # Safety
    /// * The frame's addresses are of this engine's GPU, or ones that it can use, and hold what the frame says until the
    ///   work is complete. Nothing writes to the logits or uses the outputs meanwhile, and the outputs overlap neither each
    ///   other nor the logits.
    /// * `stream` is alive, and of the GPU's primary context.
    ///
    /// # Errors
    /// When the batch exceeds the engine's capacity or has another number of classes than the statistics, or an address is 0
    /// or not aligned to its elements; [`Error::Device`] for an engine on the CPU; [`Error::Cuda`] when the driver refuses
    /// or reports that earlier work on the GPU failed, and [`Error::Poisoned`] ever after.
    pub unsafe fn submit_device(&mut self, frame: &DeviceFrame, stream: RawStream) -> Result<()> {
        self.check(frame.logits.shape, frame.size)?;
        check_addresses(frame)?;
        // SAFETY: the frame was checked against the capacity, and its addresses are aligned; the rest is the caller's duty.
        unsafe { self.on_gpu()?.submit(frame, stream) }
    }
}

/// Refuses addresses that no kernel can use: it would fail on the GPU, and take all of the process's work there with it.
fn check_addresses(frame: &DeviceFrame) -> Result<()> {
    let logit_bytes = if frame.logits.element == ElementType::F32 { 4 } else { 2 };
    let addresses = [
        ("address of the logits", frame.logits.pointer, logit_bytes),
        ("address of the anomaly scores", frame.score, if frame.half_score { 2 } else { 4 }),
        ("address of the predictions", frame.prediction, 1),
        ("address of the counts of non-finite pixels", frame.non_finite, 8),
    ];
    for (what, address, bytes) in addresses {
        if address == 0 || !address.is_multiple_of(bytes) {
            let expected = format!("one in the GPU's memory, a multiple of {bytes}");
            return Err(Error::Shape { what, given: format!("{address:#x}"), expected });
        }
    }
    Ok(())
}
