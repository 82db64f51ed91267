//! `sml logits`: the network alone.

use std::path::{Path, PathBuf};

use clap::Args;
use tch::{Kind, TchError, Tensor};

use super::model::ModelArgs;
use crate::files::{LogitsFile, PictureSource, read_picture, write_npy};
use crate::torch::{Backbone, torch_error};
use crate::{Error, Layout, LogitsData, Result};

/// Run the network alone and save its logits
///
/// Writes float32 logits N x C x h x w at the network's own resolution. A picture is prepared as the network needs it; an
/// .npy array (float32, N x 3 x H x W) is taken as the already normalised input.
#[derive(Args)]
#[command(after_help = "Examples:
  sml logits street.png -o logits.npy
  sml logits input.npy --model network.pt -o logits.npy")]
pub(super) struct Arguments {
    /// A picture (- for standard input), or an .npy array with the normalised input
    #[arg(value_name = "IMAGE|ARRAY.npy")]
    input: PathBuf,

    /// File for the logits (.npy)
    #[arg(short, long, value_name = "LOGITS.npy")]
    output: PathBuf,

    #[command(flatten)]
    model: ModelArgs,
}

impl Arguments {
    /// Runs the command.
    ///
    /// # Errors
    /// When the input, the network or the output is not usable.
    pub(super) fn run(&self) -> Result<()> {
        let backbone = self.model.load()?;
        let is_array = self.input.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("npy"));
        let input = if is_array {
            normalised_input(&self.input, &*backbone)?
        } else if self.input == Path::new("-") {
            backbone.preprocess(&read_picture(&PictureSource::Stdin)?)?
        } else {
            backbone.preprocess(&read_picture(&PictureSource::File(self.input.clone()))?)?
        };
        let logits = backbone.forward(&input).map_err(|error| match error {
            // The input's shape is the file's own only where the file is the input.
            Error::Shape { what, given, expected } if is_array => {
                Error::file(&self.input, format!("{what} is {given}"), expected)
            }
            other => other,
        })?;
        let dimensions: Vec<usize> = logits.size().iter().map(|&n| n as usize).collect();
        let values = host_values(&logits).map_err(torch_error("bring the logits to the host"))?;
        write_npy(&self.output, &dimensions, &values)?;
        eprintln!("{dimensions:?} -> {}", self.output.display());
        Ok(())
    }
}

/// The elements of a tensor on any device, row by row, as float32.
fn host_values(tensor: &Tensor) -> Result<Vec<f32>, TchError> {
    let flat = tensor.f_to_device(tch::Device::Cpu)?.f_to_kind(Kind::Float)?.f_contiguous()?.f_view(-1)?;
    Vec::<f32>::try_from(&flat)
}

/// The array in `path` as a tensor on the network's device.
fn normalised_input(path: &Path, backbone: &dyn Backbone) -> Result<Tensor> {
    let file = LogitsFile::read(path, None)?;
    let input = file.logits(Layout::Nchw)?;
    let shape = input.shape();
    let dimensions = [shape.batch, shape.classes, shape.size.height, shape.size.width].map(|n| n as i64);
    let values: Vec<f32> = match input.data() {
        LogitsData::F32(data) => data.to_vec(),
        LogitsData::F16(data) => data.iter().map(|v| v.to_f32()).collect(),
        LogitsData::BF16(data) => data.iter().map(|v| v.to_f32()).collect(),
    };
    Tensor::f_from_slice(&values)
        .and_then(|flat| flat.f_view(dimensions)?.f_to_device(backbone.device()))
        .map_err(torch_error("bring the input to the network's device"))
}
