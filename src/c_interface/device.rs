//! Logits in a GPU's memory, on a stream of the caller's.

#![allow(unsafe_code)]

use std::ffi::c_void;

use super::engine::sml_engine;
use super::frame::{sml_logits, sml_output};
use super::status::{guard, sml_status};
use super::versioned;

/// Turns a batch of logits in a GPU's memory into anomaly maps there. Nothing is copied and nothing waited for: the work is
/// given to `stream`, behind what that was given before, and behind this engine's earlier batches on whatever stream. For
/// engines on a GPU.
///
/// `stream`: a `CUstream` or `cudaStream_t` of the GPU's primary context (the runtime's is that); NULL for the legacy default
/// stream. A stream that is being captured takes the launches into its graph; whoever replays that keeps the engine, and
/// lets neither two replays nor a replay and another batch of this engine run at the same time.
///
/// # Safety
/// `logits` and `output` point to structures as long as they say; these may change as soon as this returns. Their addresses
/// are of the engine's GPU, or ones that it can use, and as large as they say until the work is complete; nobody writes to the
/// logits or uses the output meanwhile. `stream` is alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sml_engine_submit_device(
    engine: *mut sml_engine,
    logits: *const sml_logits,
    output: *const sml_output,
    stream: *mut c_void,
) -> sml_status {
    guard(|| {
        // SAFETY: the caller's duty.
        let (logits, output) = unsafe { (versioned::read(logits)?, versioned::read(output)?) };
        // SAFETY: the caller's duty.
        unsafe { on_gpu::submit(engine, &logits, &output, stream) }
    })
}

#[cfg(feature = "cuda")]
pub(super) use on_gpu::stream_of;

#[cfg(feature = "cuda")]
mod on_gpu {
    use super::super::engine::with;
    use super::super::status::{Failure, Outcome, SML_ERROR_DEVICE};
    use super::*;
    use crate::cuda::RawStream;
    use crate::cuda::plan::{DeviceFrame, DeviceLogits};
    use crate::{Device, Engine};

    /// # Safety
    /// As for `sml_engine_submit_device`.
    pub unsafe fn submit(
        engine: *mut sml_engine,
        logits: &sml_logits,
        output: &sml_output,
        stream: *mut c_void,
    ) -> Outcome {
        with(engine, |held| {
            if held.engine().device() == Device::Cpu {
                let message = "the engine runs on the CPU: use sml_engine_submit, or make it for \"cuda:N\"";
                return Err(Failure::new(SML_ERROR_DEVICE, message));
            }
            let described = logits.describe()?;
            held.engine().check(described.shape, output.size())?;
            output.check(logits, &described)?;
            let frame = DeviceFrame {
                logits: DeviceLogits {
                    pointer: logits.data.addr() as u64,
                    element: described.element,
                    shape: described.shape,
                    strides: described.strides,
                },
                size: output.size(),
                score: output.score.addr() as u64,
                half_score: output.is_half()?,
                prediction: output.prediction.addr() as u64,
                non_finite: output.non_finite.addr() as u64,
            };
            // SAFETY: the caller's duty; that nothing overlaps was checked.
            Ok(unsafe { held.engine().submit_device(&frame, RawStream::from_raw(stream)) }?)
        })
    }

    /// The engine's own stream.
    pub fn stream_of(engine: &Engine) -> *mut c_void {
        engine.stream().map_or(std::ptr::null_mut(), RawStream::as_raw)
    }
}

#[cfg(not(feature = "cuda"))]
mod on_gpu {
    use super::super::status::{Failure, Outcome, SML_ERROR_UNSUPPORTED};
    use super::*;

    /// Refuses: a library without CUDA makes no engine that this could be for.
    pub unsafe fn submit(_: *mut sml_engine, _: &sml_logits, _: &sml_output, _: *mut c_void) -> Outcome {
        Err(Failure::new(SML_ERROR_UNSUPPORTED, "this library was built without CUDA (feature `cuda`)"))
    }
}

/// No engine has a stream without CUDA.
#[cfg(not(feature = "cuda"))]
pub(super) fn stream_of(_: &crate::Engine) -> *mut c_void {
    std::ptr::null_mut()
}

#[cfg(all(test, not(feature = "cuda")))]
mod tests {
    use std::ptr::{null, null_mut};

    use super::super::engine::{sml_engine_create, sml_engine_options};
    use super::super::status::SML_ERROR_UNSUPPORTED;

    #[test]
    fn without_cuda_a_gpu_is_not_supported() {
        let options = sml_engine_options {
            struct_size: size_of::<sml_engine_options>(),
            device: c"cuda:0".as_ptr(),
            batch: 1,
            classes: 2,
            logits_height: 3,
            logits_width: 4,
            height: 3,
            width: 4,
            threads: 0,
            cuda_graph: 0,
            reserved: 0,
        };
        let mut engine = null_mut();
        // SAFETY: a structure that says how long it is, text with a NUL, and a place for the handle.
        let status = unsafe { sml_engine_create(&raw const options, null(), null(), &raw mut engine) };
        assert_eq!((status, engine), (SML_ERROR_UNSUPPORTED, null_mut()));
    }
}
