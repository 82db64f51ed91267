//! The .safetensors format: a JSON header that describes the tensors, then their bytes.
//!
//! Only the header and the tensor that is wanted are read. The safetensors crate checks that types, shapes and
//! offsets agree; what it checks against a buffer of the whole file is checked here against the size of the file.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use super::arrays::{Checked, Described, Elements, choose};
use super::whole_file::{Place, first_line, open_regular};
use crate::{ElementType, Result};

/// Longest header. A model of a hundred thousand tensors stays below it.
const LONGEST_HEADER: u64 = 16 << 20;
/// The header's length in front of it, a little-endian `u64`.
const LENGTH_BYTES: u64 = 8;

/// Reads the tensor called `wanted`, or the one that [`choose`] finds.
pub(super) fn read(path: &Path, wanted: Option<&str>) -> Result<(Option<String>, Checked, Elements)> {
    let place = Place::file(path);
    let (mut file, size) = open_regular(path)?;
    let (metadata, data_start) = read_header(place, &mut file, size)?;
    let mut tensors: Vec<(String, &TensorInfo)> = metadata.tensors().into_iter().collect();
    // In the order of the file, so that messages do not change from run to run.
    tensors.sort_by_key(|(name, info)| (info.data_offsets, name.clone()));
    let arrays: Vec<(String, Described)> =
        tensors.iter().map(|(name, info)| (name.clone(), describe(info))).collect();
    let chosen = choose(path, wanted, &arrays)?;
    let (name, array) = &arrays[chosen];
    let place = Place { path, array: Some(name) };
    let checked = array.check(place)?;
    let offset = data_start.saturating_add(tensors[chosen].1.data_offsets.0 as u64);
    file.seek(SeekFrom::Start(offset)).map_err(|source| place.read_error(source))?;
    let elements = checked.read_elements(place, &mut file)?;
    Ok((Some(name.clone()), checked, elements))
}

/// Reads and checks the header; tells where the data begins.
pub(super) fn read_header(
    place: Place<'_>,
    file: &mut (impl Read + ?Sized),
    size: u64,
) -> Result<(Metadata, u64)> {
    const WHOLE: &str = "a whole .safetensors file";
    if size < LENGTH_BYTES {
        return Err(place.error(format!("is only {size} bytes long"), WHOLE));
    }
    let mut length = [0; LENGTH_BYTES as usize];
    file.read_exact(&mut length).map_err(|source| place.read_error(source))?;
    let length = u64::from_le_bytes(length);
    if length > size - LENGTH_BYTES {
        let problem = format!("declares a header of {length} bytes in a file of {size}");
        return Err(place.error(problem, WHOLE));
    }
    if length > LONGEST_HEADER {
        let expected = format!("at most {LONGEST_HEADER} bytes");
        return Err(place.error(format!("declares a header of {length} bytes"), expected));
    }
    let mut header = vec![0; usize::try_from(length).unwrap_or(0)];
    file.read_exact(&mut header).map_err(|source| place.read_error(source))?;
    let metadata: Metadata = serde_json::from_slice(&header)
        .map_err(|error| place.error(format!("has a malformed header ({})", first_line(&error)), WHOLE))?;
    let data_start = LENGTH_BYTES + length;
    let (declared, actual) = (metadata.data_len() as u64, size - data_start);
    if declared != actual {
        let what = if actual < declared { "is truncated" } else { "is longer than its header says" };
        return Err(place.error(format!("{what}: {actual} bytes of data"), format!("{declared} bytes")));
    }
    Ok((metadata, data_start))
}

fn describe(info: &TensorInfo) -> Described {
    let element = match info.dtype {
        Dtype::F32 => Some(ElementType::F32),
        Dtype::F16 => Some(ElementType::F16),
        Dtype::BF16 => Some(ElementType::BF16),
        _ => None,
    };
    Described {
        element,
        type_name: format!("{:?}", info.dtype),
        big_endian: false,
        fortran_order: false,
        shape: info.shape.clone(),
    }
}
