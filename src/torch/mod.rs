//! Backbones on libtorch, and its tensors as the engine's logits and results.
//!
//! A [`Backbone`] turns a picture into logits at the network's own resolution: [`DeepLabBackbone`] and
//! [`DabNetBackbone`] are networks written in tch, with weights from a checkpoint; [`TorchScriptBackbone`] runs any
//! TorchScript module that a sidecar describes.
//! Every call into libtorch is a fallible one, so that an exception in C++ becomes [`Error::Torch`], never a panic.

mod backbone;
mod convolution;
#[cfg(feature = "cuda")]
mod cuda_stream;
mod dabnet;
mod dabnet_backbone;
mod deeplab;
mod deeplab_backbone;
#[cfg(feature = "cuda")]
mod device_statistics;
mod execution;
mod formula;
#[cfg(feature = "cuda")]
mod gpu_frames;
#[cfg(feature = "cuda")]
mod gpu_graph;
mod host_frames;
mod input_tensor;
mod interop;
pub mod libtorch;
mod parameters;
mod pipeline;
mod post_processor;
mod preprocessing;
mod resnet;
mod sidecar;
#[cfg(all(feature = "cuda", feature = "frame-loop"))]
mod stream_pipeline;
mod tensor_view;
mod torchscript;
mod weights;

pub use crate::preprocessing::{ChannelOrder, Preprocessing};
pub use backbone::Backbone;
#[cfg(feature = "cuda")]
pub use cuda_stream::{StreamGuard, current_stream};
pub use dabnet::{DabNet, DabNetConfig};
pub use dabnet_backbone::DabNetBackbone;
pub use deeplab::{DeepLab, DeepLabConfig};
pub use deeplab_backbone::DeepLabBackbone;
#[cfg(feature = "cuda")]
pub use device_statistics::DeviceStatistics;
pub use execution::{Execution, InputFormat, Precision, convolution_settings};
pub use formula::{Formula, formula_weights};
pub(crate) use interop::OwnTensors;
pub use interop::{AnomalyTensors, HostAnomalyMap, OutputTensors, borrow_logits};
pub use libtorch::choose_device;
pub use parameters::trained_parameters;
#[cfg(all(feature = "cuda", feature = "frame-loop"))]
pub(crate) use pipeline::OnStream;
pub use pipeline::{FrameTimings, Pipeline, PipelineOptions};
pub use post_processor::PostProcessor;
pub use resnet::{Depth, OutputStride};
pub use sidecar::Sidecar;
pub use torchscript::TorchScriptBackbone;
pub use weights::{load_checkpoint, load_weights, serialize_weights, sha256_hex};

use tch::TchError;

use crate::Error;

/// An [`Error::Torch`] out of libtorch's exception, for use with `map_err`.
pub fn torch_error(action: impl Into<String>) -> impl FnOnce(TchError) -> Error {
    let action = action.into();
    move |error| Error::Torch { action, message: telling_line(&error.to_string()) }
}

/// The one line of a C++ exception that says what happened.
///
/// That is the first one, except behind TorchScript's interpreter, whose text begins with a stack trace of the module's
/// source and ends with the reason.
fn telling_line(message: &str) -> String {
    let message = message.trim_start_matches("Internal torch error: ");
    let mut lines = message.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or("no message");
    if !first.contains("TorchScript interpreter") {
        return first.to_owned();
    }
    let reason = lines.find(|line| line.starts_with("RuntimeError:") || line.starts_with("torch."));
    reason.unwrap_or(first).trim_start_matches("RuntimeError: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::telling_line;

    #[test]
    fn the_first_line_of_an_exception_is_kept() {
        let text = "Internal torch error: mat1 and mat2 shapes cannot be multiplied\nException raised from here\nframe #0";
        assert_eq!(telling_line(text), "mat1 and mat2 shapes cannot be multiplied");
    }

    #[test]
    fn the_reason_behind_an_interpreter_trace_is_kept() {
        let text = "Internal torch error: The following operation failed in the TorchScript interpreter.\n\
                    Traceback of TorchScript, serialized code (most recent call last):\n  File \"x.py\", line 5\n\
                    \n  File \"<stdin>\", line 3, in forward\nRuntimeError: expected 3 channels\n";
        assert_eq!(telling_line(text), "expected 3 channels");
    }

    #[test]
    fn an_empty_exception_still_says_something() {
        assert_eq!(telling_line(""), "no message");
    }
}
