//! TorchScript modules of any origin as backbones.
//!
//! `FILE.pt`, written by `torch.jit.save`, holds code and weights; its [`Sidecar`] `FILE.toml` says what neither can:
//! normalisation, channel order, class names, and which part of the module's output the logits are.
//!
//! libtorch watches the first run of a module for types and shapes, compiles it in the second, and is at its speed from
//! the third on: [`slow_passes`](Backbone::slow_passes).

use std::path::{Path, PathBuf};

use tch::{CModule, Device, IValue, Kind, TchError, Tensor};

use super::backbone::{check_input, check_logits};
use super::execution::{InputFormat, Precision, prepare_device};
use super::sidecar::OutputPart;
use super::{Backbone, Preprocessing, Sidecar, sha256_hex, telling_line, torch_error};
use crate::{Error, Result};

/// The entry of a dictionary that holds the logits, as in torchvision's segmentation networks.
const LOGITS_KEY: &str = "out";

/// How a ZIP archive begins, which a module's file is.
const ARCHIVE: &[u8] = b"PK\x03\x04";

/// A TorchScript module in evaluation mode, with its sidecar.
#[derive(Debug)]
pub struct TorchScriptBackbone {
    name: String,
    file: PathBuf,
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
    /// Those of [`Sidecar::read`]; [`Error::Io`] when the module cannot be read; [`Error::File`] when it is not TorchScript,
    /// when `device` cannot take it, or when the sidecar states another element type than its parameters have.
    pub fn from_file(file: &Path, device: Device) -> Result<Self> {
        let bytes = std::fs::read(file).map_err(|error| Error::io(file, "read", error))?;
        let sidecar_file = file.with_extension("toml");
        let sidecar = Sidecar::read(&sidecar_file)?;
        let mut module = CModule::load_data_on_device(&mut bytes.as_slice(), device)
            .map_err(|error| not_a_module(file, &bytes, &error))?;
        module.f_set_eval().map_err(torch_error("put the module into evaluation mode"))?;
        prepare_device(device);
        let (stated, found) = (sidecar.precision(), precision(file, &module)?);
        if let (Some(stated), Some(found)) = (stated, found)
            && stated != found
        {
            let expected = format!("{stated}, as its sidecar {} says", sidecar_file.display());
            return Err(Error::file(file, format!("the module's parameters are {found}"), expected));
        }
        let precision = stated.or(found).unwrap_or_default();
        let input_format = InputFormat { precision, channels_last: false };
        Ok(Self {
            file: file.to_owned(),
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

    fn parameters(&self) -> Option<u64> {
        let parameters = self.module.named_parameters().ok()?;
        let elements = parameters.iter().map(|(_, parameter)| parameter.numel() as u64).sum();
        (elements > 0).then_some(elements)
    }

    /// One run to watch, one to compile, and cuDNN's trials in the one that is compiled.
    fn slow_passes(&self) -> usize {
        3
    }

    fn logits(&self, input: &Tensor) -> Result<Tensor> {
        let output = self
            .module
            .forward_is(&[IValue::Tensor(input.shallow_clone())])
            .map_err(torch_error(self.action()))?;
        match self.sidecar.output() {
            None => first_tensor(output).ok_or_else(|| {
                let expected =
                    "a tensor, a tuple or list that holds one, or a dictionary with \"out\"".to_owned();
                self.contradicted("the module's output is a value without any tensor".to_owned(), expected)
            }),
            Some(part) => part_of(output, part).map_err(|given| {
                let expected = format!("a tensor at output = {part}");
                self.contradicted(format!("the module's output is {given}"), expected)
            }),
        }
    }

    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        check_input(input, self.device)?;
        let converted = self.input_format.convert(input).map_err(torch_error("convert the input"))?;
        let logits = tch::no_grad(|| self.logits(&converted))?;
        check_logits(&logits, input, self.class_names().len(), self.output_stride()).map_err(|error| {
            match error {
                Error::Shape { what, given, expected } => {
                    self.contradicted(format!("{what} is {given}"), expected)
                }
                other => other,
            }
        })?;
        Ok(logits)
    }
}

impl TorchScriptBackbone {
    /// What fails when the module does; where only the sidecar can tell the element type and does not, that it may be the reason.
    fn action(&self) -> String {
        let Self { name, input_format: InputFormat { precision, .. }, .. } = self;
        match (self.sidecar.precision(), self.parameters()) {
            (None, None) => format!(
                "run the module {name} in {precision} (of a frozen module the sidecar says precision = \"f16\" or \"bf16\")"
            ),
            _ => format!("run the module {name}"),
        }
    }

    /// The module does something else than its sidecar says.
    fn contradicted(&self, problem: String, expected: String) -> Error {
        let sidecar = self.file.with_extension("toml");
        Error::file(&self.file, problem, format!("{expected}, as its sidecar {} says", sidecar.display()))
    }
}

/// Why libtorch does not load a file, told by what the file is where that can be seen.
fn not_a_module(file: &Path, bytes: &[u8], error: &TchError) -> Error {
    let reason = telling_line(&error.to_string());
    if reason.contains("constants.pkl") {
        return Error::file(
            file,
            "not a TorchScript module but weights without code, as torch.save writes them",
            "a file written by torch.jit.save; weights of a network that `sml model list` names are given to --weights",
        );
    }
    let reason = if bytes.starts_with(ARCHIVE) { reason } else { "it is no ZIP archive".to_owned() };
    Error::file(
        file,
        format!("not a TorchScript module that can be loaded ({reason})"),
        "a file written by torch.jit.save, not by torch.save",
    )
}

/// The element type that most of a module's parameters have; `None` for a module without any.
///
/// # Errors
/// [`Error::File`] for one that takes its input in no type of this crate's.
fn precision(file: &Path, module: &CModule) -> Result<Option<Precision>> {
    let parameters = module.named_parameters().map_err(torch_error("list the module's parameters"))?;
    let mut elements: Vec<(Kind, usize)> = Vec::new();
    for (_, parameter) in parameters {
        let kind = parameter.f_kind().map_err(torch_error("tell the type of the module's parameters"))?;
        match elements.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, count)) => *count += parameter.numel(),
            None => elements.push((kind, parameter.numel())),
        }
    }
    let Some((kind, _)) = elements.into_iter().max_by_key(|&(_, count)| count) else { return Ok(None) };
    let unknown = || {
        let problem = format!("the module's parameters are of the type {kind:?}");
        Error::file(file, problem, "float32, float16 or bfloat16: call .float() before exporting it")
    };
    Precision::of_kind(kind).map(Some).ok_or_else(unknown)
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

/// The tensor at `part` of what a module returns; what it returns instead, where there is none.
fn part_of(value: IValue, part: &OutputPart) -> Result<Tensor, String> {
    let (given, found) = match (value, part) {
        (IValue::Tensor(_), _) => ("a tensor".to_owned(), None),
        (IValue::TensorList(mut tensors), &OutputPart::Index(index)) => {
            let given = format!("a list of {} tensors", tensors.len());
            (given, (index < tensors.len()).then(|| IValue::Tensor(tensors.swap_remove(index))))
        }
        (IValue::Tuple(mut values) | IValue::GenericList(mut values), &OutputPart::Index(index)) => {
            let given = format!("a tuple or list of {}", values.len());
            (given, (index < values.len()).then(|| values.swap_remove(index)))
        }
        (IValue::GenericDict(entries), OutputPart::Key(wanted)) => {
            let name =
                |key: &IValue| if let IValue::String(key) = key { key.clone() } else { "?".to_owned() };
            let names: Vec<String> = entries.iter().map(|(key, _)| format!("{:?}", name(key))).collect();
            let found = entries.into_iter().find(|(key, _)| name(key) == *wanted);
            (format!("a dictionary with {}", names.join(", ")), found.map(|(_, value)| value))
        }
        (IValue::GenericDict(_), OutputPart::Index(_)) => ("a dictionary".to_owned(), None),
        _ => ("a tuple, a list or another value".to_owned(), None),
    };
    match found {
        Some(IValue::Tensor(tensor)) => Ok(tensor),
        _ => Err(given),
    }
}
