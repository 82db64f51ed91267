//! Weights of a [`VarStore`](tch::nn::VarStore) from checkpoints, and to `.safetensors` bytes.
//!
//! Everything is checked before the first variable is written: a refused checkpoint leaves the network as it was.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use safetensors::SafeTensorError;
use safetensors::tensor::{Dtype, TensorView};
use sha2::{Digest, Sha256};
use tch::nn::VarStore;
use tch::{Kind, Tensor};

use super::parameters::Parameters;
use super::torch_error;
use crate::files::Checkpoint;
use crate::{Error, Result};

/// Copies the tensors of a checkpoint's `bytes` into the variables of the same names; as [`load_checkpoint`].
///
/// Bytes serve weights that are embedded in a program; `origin` names them in errors.
///
/// # Errors
/// Those of [`Checkpoint::from_bytes`] and [`load_checkpoint`].
pub fn load_weights(variables: &VarStore, bytes: &[u8], origin: &Path) -> Result<()> {
    load_checkpoint(variables, "this network", &mut Checkpoint::from_bytes(bytes, origin)?)
}

/// Copies the tensors of a checkpoint into the variables of the same names; `network` names these in errors.
///
/// Elements may be float64, float32, float16 or bfloat16. Tensors whose name ends in `num_batches_tracked` are passed over.
///
/// # Errors
/// [`Error::File`] that lists every tensor which is missing, unexpected, of another shape or not of floating point; those
/// of [`Checkpoint::read`]; [`Error::Torch`] when a copy to the variable's device fails.
pub fn load_checkpoint(variables: &VarStore, network: &str, checkpoint: &mut Checkpoint<'_>) -> Result<()> {
    let variables: BTreeMap<String, Tensor> = variables.variables().into_iter().collect();
    let mut parameters = Parameters::from(checkpoint);
    let mut copies = Vec::with_capacity(variables.len());
    for (name, variable) in variables {
        copies.push((parameters.take(&name, &variable.size())?, name, variable));
    }
    parameters.finish(network, &[])?;
    for (tensor, name, mut variable) in copies {
        tch::no_grad(|| variable.f_copy_(&tensor))
            .map_err(torch_error(format!("copy the weights {name}")))?;
    }
    Ok(())
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
