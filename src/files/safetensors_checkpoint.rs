//! A `.safetensors` file as a checkpoint, and checkpoints written as such.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;

use super::checkpoint::{Checkpoint, CheckpointFormat, Contents, Source, StoredTensor, StoredType};
use super::safetensors::read_header;
use super::whole_file::{Place, write_whole};
use crate::{Error, Result};

/// Describes the tensors of a `.safetensors` file of `size` bytes.
pub(super) fn read(place: Place<'_>, source: &mut dyn Source, size: u64) -> Result<Contents> {
    let (metadata, data_start) = read_header(place, source, size)?;
    let mut tensors = Vec::new();
    for (name, info) in metadata.tensors() {
        let array = Place { array: Some(&name), ..place };
        let strides = StoredTensor::packed_strides(&info.shape);
        if StoredTensor::span(&info.shape, &strides).is_none() {
            return Err(array.error("is too large to be true", "fewer elements"));
        }
        let offset = data_start.saturating_add(info.data_offsets.0 as u64);
        let element = StoredType(info.dtype);
        tensors.push(StoredTensor { name, element, shape: info.shape.clone(), offset, strides });
    }
    Ok(Contents { format: CheckpointFormat::Safetensors, tensors, left_out: Vec::new() })
}

/// Writes the tensors of a checkpoint to `path` as `.safetensors`, bit for bit, with `metadata` as the file's notes.
///
/// Tensors are sorted by the width of their elements, so that each begins at a multiple of it, and by name:  equal tensors and notes give equal bytes. One tensor at a time is in memory, and
/// the file appears under its name only when it is complete.
///
/// # Errors
/// [`Error::Io`] when `path` cannot be written, and those of [`Checkpoint::read`].
pub fn write_safetensors(
    path: &Path,
    checkpoint: &mut Checkpoint<'_>,
    metadata: &BTreeMap<String, String>,
) -> Result<()> {
    let mut order: Vec<usize> = (0..checkpoint.tensors().len()).collect();
    // Stable: the checkpoint's tensors are sorted by name.
    order.sort_by_key(|&index| Reverse(checkpoint.tensors()[index].element.bytes()));
    let header = header(checkpoint, &order, metadata)?;
    let mut failed = None;
    let written = write_whole(path, |out| {
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(&header)?;
        for &index in &order {
            match checkpoint.read(index) {
                Ok(bytes) => out.write_all(&bytes)?,
                Err(error) => {
                    failed = Some(error);
                    return Err(std::io::Error::other("the checkpoint cannot be read"));
                }
            }
        }
        Ok(())
    });
    // A checkpoint that cannot be read is not the target's fault.
    match failed {
        Some(error) => Err(error),
        None => written,
    }
}

/// The JSON in front of the elements, padded with spaces so that these begin at a multiple of 8.
fn header(
    checkpoint: &Checkpoint<'_>,
    order: &[usize],
    metadata: &BTreeMap<String, String>,
) -> Result<Vec<u8>> {
    let mut entries = serde_json::Map::new();
    if !metadata.is_empty() {
        entries.insert("__metadata__".to_owned(), json!(metadata));
    }
    let mut end = 0_usize;
    for tensor in order.iter().map(|&index| &checkpoint.tensors()[index]) {
        let place = Place { path: checkpoint.path(), array: Some(&tensor.name) };
        let Some(width) = tensor.element.bytes() else {
            return Err(place.error(format!("is of {}", tensor.element), "elements of whole bytes"));
        };
        let start = end;
        end = end.saturating_add(tensor.elements().saturating_mul(width));
        let entry =
            json!({"dtype": tensor.element.code(), "shape": tensor.shape, "data_offsets": [start, end]});
        entries.insert(tensor.name.clone(), entry);
    }
    let mut bytes = serde_json::to_vec(&entries)
        .map_err(|error| Error::io(checkpoint.path(), "describe the tensors", error.into()))?;
    bytes.resize(bytes.len().next_multiple_of(8), b' ');
    Ok(bytes)
}
