//! The two formats of `torch.save`.
//!
//! Since PyTorch 1.6 it is a ZIP archive: the entry `data.pkl` holds a pickle in which tensors refer to storages, and
//! each storage is an entry `data/KEY` of its own, not compressed. Before, a file was a row of pickles (a magic number, the
//! version, facts about the machine, the object, the storages' keys) and then the storages one after the other, each
//! behind its number of elements. Elements are little-endian in both. The pickles are read by [`super::pickle`], which
//! executes nothing; of the storages only the places are noted.

use std::collections::HashMap;
use std::io::{Read, Seek, SeekFrom};

use zip::{CompressionMethod, ZipArchive};

use super::checkpoint::{CheckpointFormat, Contents, Source};
use super::pickle::{Value, unpickle, unpickle_first};
use super::pickle_names::Vocabulary;
use super::pickle_stream::Step;
use super::torch_state::{self, Storage};
use super::whole_file::{Place, first_line, quoted};
use crate::{Error, Result};

const EXPECTED: &str = "a checkpoint as torch.save(model.state_dict(), FILE) writes it: tensors, numbers and texts in plain containers (of a file that you trust, Python can save just these)";
/// How a ZIP archive begins.
const ARCHIVE: &[u8] = b"PK\x03\x04";
/// The pickle of the magic number, and of the version 1001, which every file of the legacy format begins with.
const LEGACY: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.";
/// Most bytes of the legacy format in front of the storages.
const LEGACY_HEAD: u64 = 1 << 24;

/// A storage's place in the file: its first byte and its length.
type Places = HashMap<String, (u64, u64)>;

/// Whether a file that begins so is a ZIP archive.
pub(super) fn is_archive(start: &[u8]) -> bool {
    start.starts_with(ARCHIVE)
}

/// Whether a file that begins so is of the legacy format.
pub(super) fn is_legacy(start: &[u8]) -> bool {
    start.starts_with(LEGACY)
}

/// Describes the tensors of an archive of `size` bytes.
pub(super) fn read_archive(place: Place<'_>, source: &mut dyn Source, size: u64) -> Result<Contents> {
    let damaged = |error: zip::result::ZipError| {
        let problem = format!("cannot be opened as an archive ({})", first_line(&error));
        place.error(problem, "a whole file of torch.save")
    };
    let mut archive = ZipArchive::new(source).map_err(damaged)?;
    let folder = folder(place, &archive)?;
    let mut places = Places::new();
    let mut pickle = None;
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(damaged)?;
        let name = String::from_utf8_lossy(entry.name_raw()).into_owned();
        let Some(name) = name.strip_prefix(&folder) else { continue };
        if name != PICKLE && name != BYTE_ORDER && !name.starts_with(STORAGES) {
            continue;
        }
        let entry_place = Place { array: Some(name), ..place };
        if entry.compression() != CompressionMethod::Stored || entry.encrypted() {
            return Err(entry_place.error("is compressed or encrypted", "an entry as torch.save stores it"));
        }
        let (first, length) = (entry.data_start().unwrap_or(u64::MAX), entry.compressed_size());
        if first.checked_add(length).is_none_or(|end| end > size) {
            return Err(entry_place.error("reaches beyond the end of the file", "a whole file of torch.save"));
        }
        match name.strip_prefix(STORAGES) {
            Some(key) => drop(places.insert(key.to_owned(), (first, length))),
            None if name == BYTE_ORDER => check_byte_order(entry_place, entry)?,
            None => pickle = Some((first, length)),
        }
    }
    let source = archive.into_inner();
    let (first, length) = pickle.ok_or_else(|| place.error("holds no data.pkl", EXPECTED))?;
    let longest = Vocabulary::Torch.longest_pickle() as u64;
    if length > longest {
        let problem = format!("holds a pickle of {length} bytes");
        return Err(place.error(problem, format!("at most {longest} bytes of it")));
    }
    let mut bytes = Vec::new();
    source
        .seek(SeekFrom::Start(first))
        .and_then(|_| source.take(length).read_to_end(&mut bytes))
        .map_err(|error| place.read_error(error))?;
    let find = || {
        let content = unpickle(&bytes, Vocabulary::Torch)?;
        torch_state::find(&content, |storage| locate(&places, storage))
    };
    let (tensors, left_out) = find().map_err(|problem| place.error(problem, EXPECTED))?;
    Ok(Contents { format: CheckpointFormat::TorchZip, tensors, left_out })
}

const PICKLE: &str = "data.pkl";
const STORAGES: &str = "data/";
const BYTE_ORDER: &str = "byteorder";

/// The folder in the archive, with its slash, that holds everything: the file's name when it was saved.
fn folder<R: Read + Seek>(place: Place<'_>, archive: &ZipArchive<R>) -> Result<String> {
    let names: Vec<String> =
        archive.file_names_raw().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    let mut folders = names.iter().filter_map(|name| name.strip_suffix(PICKLE));
    let folder = folders.find(|folder| folder.is_empty() || folder.ends_with('/'));
    let folder = folder.ok_or_else(|| place.error("is an archive without data.pkl", EXPECTED))?;
    if names.contains(&format!("{folder}constants.pkl")) {
        let expected = "a checkpoint of torch.save; a module is given to --model, with a sidecar";
        return Err(place.error("is a TorchScript module", expected));
    }
    Ok(folder.to_owned())
}

fn check_byte_order(place: Place<'_>, entry: impl Read) -> Result<()> {
    let mut order = Vec::new();
    entry.take(16).read_to_end(&mut order).map_err(|error| place.read_error(error))?;
    if order == b"little" {
        return Ok(());
    }
    let given = quoted(&String::from_utf8_lossy(&order));
    Err(place.error(format!("is {given}"), "elements with the lowest byte first (\"little\")"))
}

/// Where a storage begins, if the file holds all of it.
fn locate(places: &Places, storage: &Storage<'_>) -> Step<u64> {
    let key = quoted(storage.key);
    let &(first, length) =
        places.get(storage.key).ok_or_else(|| format!("lies in storage {key}, which the file lacks"))?;
    let width = storage.element.bytes().unwrap_or(1) as u64;
    match storage.end().and_then(|end| end.checked_mul(width)) {
        Some(needed) if needed <= length => Ok(first),
        _ => {
            let elements = storage.elements;
            Err(format!(
                "lies in storage {key}, which is said to have {elements} elements and has {length} bytes"
            ))
        }
    }
}

/// Describes the tensors of a file of the legacy format, of `size` bytes.
pub(super) fn read_legacy(place: Place<'_>, source: &mut dyn Source, size: u64) -> Result<Contents> {
    let mut head = Vec::new();
    (&mut *source).take(LEGACY_HEAD).read_to_end(&mut head).map_err(|error| place.read_error(error))?;
    let refused = |problem: String| place.error(problem, EXPECTED);
    let next = |rest: &mut &[u8]| -> Result<_> {
        let (content, length) = unpickle_first(rest, Vocabulary::Torch).map_err(refused)?;
        *rest = rest.get(length..).unwrap_or_default();
        Ok(content)
    };
    let mut rest = head.get(LEGACY.len()..).unwrap_or_default();
    let _machine = next(&mut rest)?;
    let content = next(&mut rest)?;
    let keys = next(&mut rest)?;
    let Value::List(keys_in_order) = keys.root() else {
        return Err(refused("does not list its storages".into()));
    };
    let storages = torch_state::storages(&content).map_err(refused)?;
    let widths: HashMap<&str, u64> =
        storages.iter().map(|storage| (storage.key, storage.element.bytes().unwrap_or(1) as u64)).collect();
    let mut places = Places::new();
    let mut position = (head.len() - rest.len()) as u64;
    for &key in keys_in_order {
        let Value::Text(key) = keys.get(key) else {
            return Err(refused("lists a storage whose name is no text".into()));
        };
        let width = *widths
            .get(key.as_str())
            .ok_or_else(|| refused(format!("lists storage {}, which nothing refers to", quoted(key))))?;
        let length = stored_length(place, source, position, width, size)?;
        places.insert(key.clone(), (position + COUNT_BYTES, length));
        position += COUNT_BYTES + length;
    }
    let found = torch_state::find(&content, |storage| locate(&places, storage));
    let (tensors, left_out) = found.map_err(refused)?;
    Ok(Contents { format: CheckpointFormat::TorchLegacy, tensors, left_out })
}

/// Bytes of the number of elements in front of a storage.
const COUNT_BYTES: u64 = 8;

/// Length in bytes of the storage at `position`, behind its number of elements.
fn stored_length(
    place: Place<'_>,
    source: &mut dyn Source,
    position: u64,
    width: u64,
    size: u64,
) -> Result<u64> {
    let mut count = [0; COUNT_BYTES as usize];
    source
        .seek(SeekFrom::Start(position))
        .and_then(|_| source.read_exact(&mut count))
        .map_err(|error| place.read_error(error))?;
    let length = u64::from_le_bytes(count).checked_mul(width);
    length.filter(|length| *length <= size.saturating_sub(position + COUNT_BYTES)).ok_or_else(|| {
        let problem = format!("is cut short: a storage at byte {position} reaches beyond its end");
        place.error(problem, "a whole file of torch.save")
    })
}

/// Why a file that is neither of both formats, nor `.safetensors`, is none of them; `None` where nothing is known.
pub(super) fn recognised(place: Place<'_>, start: &[u8]) -> Option<Error> {
    const AGAIN: &str = "it saved again: torch.save(torch.load(FILE), NEW_FILE) with PyTorch 0.4 or newer";
    let is_tar = start.get(257..262) == Some(b"ustar");
    if is_tar {
        return Some(place.error("is a tar archive, as PyTorch before 0.1.10 wrote them", AGAIN));
    }
    // Protocols 2 to 5.
    matches!(start, [0x80, 2..=5, ..])
        .then(|| place.error("is a pickle, but not one of torch.save", EXPECTED))
}
