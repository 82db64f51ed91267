//! How a network is run: its element type, its memory layout, and whether batch norms are folded.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, TchError, Tensor};

use crate::{Error, Result};

/// Element type that a network computes in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// float32. On a GPU with tensor cores cuDNN rounds the factors of convolutions to TF32 (10 bits of mantissa),
    /// libtorch's default; the environment variable `NVIDIA_TF32_OVERRIDE=0` forbids it.
    #[default]
    F32,
    /// float16.
    F16,
    /// bfloat16.
    Bf16,
}

impl Precision {
    /// libtorch's name for it.
    pub fn kind(self) -> Kind {
        match self {
            Self::F32 => Kind::Float,
            Self::F16 => Kind::Half,
            Self::Bf16 => Kind::BFloat16,
        }
    }

    /// The precision of that element type; `None` for one that no network computes in.
    pub fn of_kind(kind: Kind) -> Option<Self> {
        [Self::F32, Self::F16, Self::Bf16].into_iter().find(|precision| precision.kind() == kind)
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        })
    }
}

impl FromStr for Precision {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let all = [Self::F32, Self::F16, Self::Bf16];
        all.into_iter().find(|precision| precision.to_string() == text).ok_or_else(|| {
            Error::InvalidParameter {
                field: "precision",
                given: format!("{text:?}"),
                expected: "f32, f16 or bf16",
            }
        })
    }
}

/// Element type and memory layout in which a network takes its input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct InputFormat {
    /// The element type.
    pub precision: Precision,
    /// Whether the three channels of a pixel lie side by side (N x H x W x C in memory, N x C x H x W by its strides).
    pub channels_last: bool,
}

impl InputFormat {
    /// `tensor` (N x C x H x W) in this format; the tensor itself where it has it already.
    pub(super) fn convert(self, tensor: &Tensor) -> Result<Tensor, TchError> {
        let tensor = tensor.f_to_kind(self.precision.kind())?;
        if self.channels_last { channels_last(&tensor) } else { tensor.f_contiguous() }
    }

    /// A weight of any rank for features in this format.
    pub(super) fn convert_weight(self, weight: &Tensor) -> Result<Tensor, TchError> {
        let weight = weight.f_to_kind(self.precision.kind())?;
        if self.channels_last && weight.dim() == 4 { channels_last(&weight) } else { Ok(weight) }
    }
}

/// A tensor of rank 4 with its second dimension innermost in memory.
pub(super) fn channels_last(tensor: &Tensor) -> Result<Tensor, TchError> {
    tensor.f_permute([0, 2, 3, 1])?.f_contiguous()?.f_permute([0, 3, 1, 2])
}

/// How a network whose layers this crate builds is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Execution {
    /// Element type of weights, features and logits.
    pub precision: Precision,
    /// Whether features lie with their channels innermost, which tensor cores prefer.
    pub channels_last: bool,
    /// Whether each batch norm is multiplied into the convolution before it, when the weights are loaded: one pass over
    /// the features less a layer, and the same logits but for rounding.
    pub fold_batch_norm: bool,
}

impl Default for Execution {
    fn default() -> Self {
        Self { precision: Precision::F32, channels_last: false, fold_batch_norm: true }
    }
}

impl Execution {
    /// What the input has to look like.
    pub fn input(self) -> InputFormat {
        InputFormat { precision: self.precision, channels_last: self.channels_last }
    }
}

/// What is set for convolutions on `device`, for people: cuDNN's search for the fastest algorithm, and TF32.
///
/// Loading a network sets the former; the latter is libtorch's default.
pub fn convolution_settings(device: Device, precision: Precision) -> String {
    let Device::Cuda(_) = device else { return format!("{precision} on the CPU") };
    let forbidden = std::env::var("NVIDIA_TF32_OVERRIDE").is_ok_and(|value| value.trim() == "0");
    let rounding = match (precision, forbidden) {
        (Precision::F32, false) => {
            ", convolutions in TF32 where the GPU has it (NVIDIA_TF32_OVERRIDE=0 forbids it)"
        }
        (Precision::F32, true) => ", no TF32 (NVIDIA_TF32_OVERRIDE=0)",
        _ => "",
    };
    format!("{precision}, cuDNN in benchmark mode{rounding}")
}

/// Readies libtorch for frames of one size on `device`: on a GPU, cuDNN tries its algorithms at the first frame of a size
/// and keeps the fastest.
pub(super) fn prepare_device(device: Device) {
    if let Device::Cuda(_) = device {
        tch::Cuda::cudnn_set_benchmark(true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn precisions_are_read_as_they_are_written() {
        for precision in [Precision::F32, Precision::F16, Precision::Bf16] {
            assert_eq!(precision.to_string().parse::<Precision>().unwrap(), precision);
            assert_eq!(Precision::of_kind(precision.kind()), Some(precision));
        }
        assert!("fp16".parse::<Precision>().is_err());
        assert_eq!(Precision::of_kind(Kind::Int64), None);
    }

    #[test]
    fn channels_are_brought_inside_without_moving_a_value() {
        let tensor = Tensor::arange(24, (Kind::Float, Device::Cpu)).view([2, 3, 2, 2]);
        let moved = InputFormat { precision: Precision::F32, channels_last: true }.convert(&tensor).unwrap();
        assert_eq!(moved.stride(), [12, 1, 6, 3]);
        assert!(moved.equal(&tensor));
    }
}
