//! TorchScript modules of any origin as backbones.
//!
//! `FILE.pt`, written by `torch.jit.save`, holds code and weights; its [`Sidecar`] `FILE.toml` says what neither can:
//! normalisation, channel order, class names.

use std::path::Path;

use tch::{CModule, Device, IValue, Tensor};

use super::execution::{InputFormat, Precision, prepare_device};
use super::{Backbone, Preprocessing, Sidecar, sha256_hex, telling_line, torch_error};
use crate::{Error, Result};

/// The entry of a dictionary that holds the logits, as in torchvision's segmentation networks.
const LOGITS_KEY: &str = "out";

/// A TorchScript module in evaluation mode, with its sidecar.
#[derive(Debug)]
pub struct TorchScriptBackbone {
    name: String,
    module: CModule,
    device: Device,
    sidecar: Sidecar,
    preprocessing: Preprocessing,
    digest: String,
    input_format: InputFormat,
}

impl TorchScriptBackbone {
    /// Loads `file` and the sidecar of the same name with the extension `.toml`.
    ///
    /// # Errors
    /// Those of [`Sidecar::read`]; [`Error::Io`] when the module cannot be read; [`Error::File`] when it is not
    /// TorchScript or `device` cannot take it.
    pub fn from_file(file: &Path, device: Device) -> Result<Self> {
        let bytes = std::fs::read(file).map_err(|error| Error::io(file, "read", error))?;
        let sidecar = Sidecar::read(&file.with_extension("toml"))?;
        let mut module = CModule::load_data_on_device(&mut bytes.as_slice(), device).map_err(|error| {
            let reason = telling_line(&error.to_string());
            Error::file(
                file,
                format!("not a TorchScript module that can be loaded ({reason})"),
                "a file written by torch.jit.save, not by torch.save",
            )
        })?;
        module.f_set_eval().map_err(torch_error("put the module into evaluation mode"))?;
        prepare_device(device);
        let input_format = InputFormat { precision: precision(&module)?, channels_last: false };
        Ok(Self {
            name: file.file_stem().unwrap_or(file.as_os_str()).to_string_lossy().into_owned(),
            module,
            device,
            preprocessing: sidecar.preprocessing(),
            sidecar,
            digest: sha256_hex(&bytes),
            input_format,
        })
    }

    /// The same module, given its input with the channels of a pixel side by side: the layout then goes through the module
    /// as far as its operations keep it.
    #[must_use]
    pub fn with_channels_last(mut self, channels_last: bool) -> Self {
        self.input_format.channels_last = channels_last;
        self
    }
}

impl Backbone for TorchScriptBackbone {
    fn name(&self) -> &str {
        &self.name
    }

    fn class_names(&self) -> &[String] {
        self.sidecar.class_names()
    }

    fn output_stride(&self) -> usize {
        self.sidecar.output_stride()
    }

    fn align_corners(&self) -> bool {
        self.sidecar.align_corners()
    }

    fn device(&self) -> Device {
        self.device
    }

    fn preprocessing(&self) -> &Preprocessing {
        &self.preprocessing
    }

    fn input_format(&self) -> InputFormat {
        self.input_format
    }

    fn digest(&self) -> &str {
        &self.digest
    }

    fn logits(&self, input: &Tensor) -> Result<Tensor> {
        let action = || format!("run the module {}", self.name);
        let output = self
            .module
            .forward_is(&[IValue::Tensor(input.shallow_clone())])
            .map_err(torch_error(action()))?;
        first_tensor(output).ok_or_else(|| Error::Shape {
            what: "the module's output",
            given: "a value without any tensor".to_owned(),
            expected: "a tensor, a tuple or list that holds one, or a dictionary with \"out\"".to_owned(),
        })
    }
}

/// The element type that most of a module's parameters have, float32 for a module without any.
fn precision(module: &CModule) -> Result<Precision> {
    let parameters = module.named_parameters().map_err(torch_error("list the module's parameters"))?;
    let mut elements = [0_usize; 3];
    let all = [Precision::F32, Precision::F16, Precision::Bf16];
    for (_, parameter) in parameters {
        let kind = parameter.f_kind().map_err(torch_error("tell the type of the module's parameters"))?;
        if let Some(index) = all.iter().position(|precision| precision.kind() == kind) {
            elements[index] += parameter.numel();
        }
    }
    let most = elements.iter().max().copied().unwrap_or(0);
    Ok(all
        .into_iter()
        .zip(elements)
        .find(|&(_, count)| count == most)
        .map_or_else(Default::default, |(p, _)| p))
}

/// The logits among what a module returns: the tensor itself, the first one of a tuple or list, the entry "out" of a
/// dictionary or else its first tensor.
fn first_tensor(value: IValue) -> Option<Tensor> {
    match value {
        IValue::Tensor(tensor) => Some(tensor),
        IValue::TensorList(tensors) => tensors.into_iter().next(),
        IValue::Tuple(values) | IValue::GenericList(values) => values.into_iter().find_map(first_tensor),
        IValue::GenericDict(mut entries) => {
            let named = |(key, _): &(IValue, IValue)| matches!(key, IValue::String(key) if key == LOGITS_KEY);
            // Stable: the other entries keep the module's order.
            entries.sort_by_key(|entry| !named(entry));
            entries.into_iter().find_map(|(_, value)| first_tensor(value))
        }
        _ => None,
    }
}
