//! Weights of a [`VarStore`](tch::nn::VarStore) from and to `.safetensors` bytes.
//!
//! Bytes rather than a file name, so that weights embedded in a program and weights on disk take one path. Everything
//! is checked before the first variable is written: a refused file leaves the network as it was.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensorError, SafeTensors};
use sha2::{Digest, Sha256};
use tch::nn::VarStore;
use tch::{Kind, Tensor};

use super::torch_error;
use crate::{Error, Result};

/// PyTorch counts training batches in a buffer of this name beside every batch norm; no forward pass reads it.
const BATCH_COUNTER: &str = "num_batches_tracked";

/// Copies the float32 tensors of a `.safetensors` file into the variables of the same names.
///
/// `bytes` is the whole file; `origin` names it in errors (for embedded weights any telling name will do). Tensors whose
/// name ends in `num_batches_tracked` are passed over.
///
/// # Errors
/// [`Error::File`] when the bytes are truncated or not a `.safetensors` file, when a tensor is missing, superfluous, of
/// another shape or not float32. [`Error::Torch`] when a copy to the variable's device fails.
pub fn load_weights(variables: &VarStore, bytes: &[u8], origin: &Path) -> Result<()> {
    let file =
        SafeTensors::deserialize(bytes).map_err(|error| not_safetensors(origin, bytes.len(), &error))?;
    let variables: BTreeMap<String, Tensor> = variables.variables().into_iter().collect();
    for (name, _) in file.iter() {
        if !variables.contains_key(name) && !name.ends_with(BATCH_COUNTER) {
            let known = variables.len();
            return Err(Error::file(
                origin,
                format!("tensor {name} is superfluous"),
                format!("only the {known} tensors that this network has"),
            ));
        }
    }
    let mut copies = Vec::with_capacity(variables.len());
    for (name, variable) in variables {
        copies.push((tensor_for(&file, &name, &variable, origin)?, name, variable));
    }
    for (tensor, name, mut variable) in copies {
        tch::no_grad(|| variable.f_copy_(&tensor))
            .map_err(torch_error(format!("copy the weights {name}")))?;
    }
    Ok(())
}

/// The tensor `name` of the file, checked against the variable that it is meant for.
fn tensor_for(file: &SafeTensors<'_>, name: &str, variable: &Tensor, origin: &Path) -> Result<Tensor> {
    let size = variable.size();
    let view = file.tensor(name).map_err(|_| {
        Error::file(origin, format!("tensor {name} is missing"), format!("it in float32 with shape {size:?}"))
    })?;
    let given: Vec<i64> = view.shape().iter().map(|&side| i64::try_from(side).unwrap_or(i64::MAX)).collect();
    if view.dtype() != Dtype::F32 || given != size {
        return Err(Error::file(
            origin,
            format!("tensor {name} is {:?} with shape {given:?}", view.dtype()),
            format!("F32 with shape {size:?}"),
        ));
    }
    Tensor::f_from_data_size(view.data(), &size, Kind::Float)
        .map_err(torch_error(format!("read the weights {name}")))
}

fn not_safetensors(origin: &Path, length: usize, error: &SafeTensorError) -> Error {
    let problem = match error {
        SafeTensorError::InvalidHeaderLength
        | SafeTensorError::MetadataIncompleteBuffer
        | SafeTensorError::HeaderTooSmall => {
            format!(
                "{length} bytes are not what its header declares ({error}): it is cut short or no .safetensors file"
            )
        }
        _ => format!("not a .safetensors file ({error})"),
    };
    Error::file(origin, problem, "a whole .safetensors file")
}

/// All variables as the bytes of a float32 `.safetensors` file, with `note` as its only metadata entry.
///
/// Equal variables give equal bytes: tensors are sorted by the format, and a single entry has only one order.
///
/// # Errors
/// [`Error::Torch`] when a variable cannot be copied to the host.
pub fn serialize_weights(variables: &VarStore, note: &str) -> Result<Vec<u8>> {
    let mut tensors = BTreeMap::new();
    for (name, variable) in variables.variables() {
        let action = format!("copy the weights {name} to the host");
        let (shape, data) = float32_bytes(&variable).map_err(torch_error(action))?;
        tensors.insert(name, (shape, data));
    }
    let views = tensors
        .iter()
        .map(|(name, (shape, data))| Ok((name, TensorView::new(Dtype::F32, shape.clone(), data)?)))
        .collect::<Result<Vec<_>, SafeTensorError>>();
    let metadata = HashMap::from([("note".to_owned(), note.to_owned())]);
    views.and_then(|views| safetensors::serialize(views, Some(metadata))).map_err(|error| Error::Torch {
        action: "lay the weights out as .safetensors".to_owned(),
        message: error.to_string(),
    })
}

fn float32_bytes(variable: &Tensor) -> Result<(Vec<usize>, Vec<u8>), tch::TchError> {
    let shape = variable.size().iter().map(|&side| usize::try_from(side).unwrap_or(0)).collect();
    let flat = variable.f_detach()?.f_to_device(tch::Device::Cpu)?.f_to_kind(Kind::Float)?.f_contiguous()?;
    let mut data = vec![0_u8; flat.numel() * size_of::<f32>()];
    flat.f_copy_data_u8(&mut data, flat.numel())?;
    Ok((shape, data))
}

/// SHA-256 of a file's bytes in lower-case hexadecimal: the digest of a model in the provenance of statistics.
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
