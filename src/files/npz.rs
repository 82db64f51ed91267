//! NumPy's .npz format: a ZIP archive of .npy files.
//!
//! An archive states for each entry how long it is uncompressed. That number is believed only when the compressed
//! bytes can really produce it and the .npy header in the entry asks for exactly it; memory then fills as the data
//! comes out. An archive of a few kilobytes can therefore not take gigabytes, whatever it declares.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use zip::read::ZipFile;
use zip::{CompressionMethod, ZipArchive};

use super::arrays::{Checked, Described, Elements, choose};
use super::npy_header::{Header, shape_text};
use super::whole_file::{Place, first_line, open_regular, quoted};
use crate::{Error, Result};

/// Deflate's longest match is 258 bytes and takes at least two bits: a byte yields at most 1032.
const MOST_BYTES_PER_DEFLATED_BYTE: u64 = 1032;
/// What the block header and the end of a stream may distort in that bound.
const SLACK: u64 = 1024;

type Archive = ZipArchive<BufReader<File>>;

/// Reads the array called `wanted`, or the one that [`choose`] finds.
pub(super) fn read(path: &Path, wanted: Option<&str>) -> Result<(Option<String>, Checked, Elements)> {
    let (file, file_size) = open_regular(path)?;
    let mut archive =
        ZipArchive::new(BufReader::new(file)).map_err(|error| zip_error(Place::file(path), &error))?;
    let arrays = list(path, &mut archive)?;
    let described: Vec<(String, Described)> = arrays.iter().map(|(_, array)| array.clone()).collect();
    let chosen = choose(path, wanted, &described)?;
    let (index, (name, _)) = &arrays[chosen];
    let name = name.strip_suffix(".npy").unwrap_or(name);
    let place = Place { path, array: Some(name) };
    let mut entry = archive.by_index(*index).map_err(|error| zip_error(place, &error))?;
    let (checked, elements) = read_entry(place, &mut entry, file_size)?;
    Ok((Some(name.to_owned()), checked, elements))
}

/// Index, name and description of every .npy in the archive.
///
/// An entry that cannot be described is listed as unreadable: it matters only when it is the one that is chosen,
/// and then reading it tells why.
fn list(path: &Path, archive: &mut Archive) -> Result<Vec<(usize, (String, Described))>> {
    let mut arrays = Vec::new();
    for index in 0..archive.len() {
        let place = Place::file(path);
        let entry = archive.by_index_data(index).map_err(|error| zip_error(place, &error))?;
        let name = String::from_utf8_lossy(entry.name_raw()).into_owned();
        if !name.ends_with(".npy") {
            continue;
        }
        let described = match archive.by_index(index) {
            Ok(mut entry) => Header::read(place, &mut entry).map(|header| Described::npy(&header)).ok(),
            Err(_) => None,
        };
        arrays.push((index, (name, described.unwrap_or_else(Described::unreadable))));
    }
    Ok(arrays)
}

/// Hands the reader of the array with one of the `wanted` names to `read`, or that of the only array.
pub(super) fn with_array<T>(
    path: &Path,
    wanted: &[&str],
    read: impl FnOnce(Place<'_>, &Header, &mut dyn Read) -> Result<T>,
) -> Result<T> {
    let (file, file_size) = open_regular(path)?;
    let mut archive =
        ZipArchive::new(BufReader::new(file)).map_err(|error| zip_error(Place::file(path), &error))?;
    let arrays = list(path, &mut archive)?;
    let short = |name: &str| name.strip_suffix(".npy").unwrap_or(name).to_owned();
    let chosen = match &arrays[..] {
        [only] => Some(only),
        several => several.iter().find(|(_, (name, _))| wanted.contains(&short(name).as_str())),
    };
    let Some((index, (name, _))) = chosen else {
        let describe = |(_, (name, array)): &(usize, (String, Described))| {
            format!("{} {}", quoted(&short(name)), shape_text(&array.shape))
        };
        let held: Vec<String> = arrays.iter().take(8).map(describe).collect();
        let held = if held.is_empty() { "nothing".to_owned() } else { held.join(", ") };
        let names: Vec<String> = wanted.iter().map(|name| quoted(name)).collect();
        let expected = format!("one array, or one called {}", names.join(" or "));
        return Err(Error::file(path, format!("holds {held}"), expected));
    };
    let name = short(name);
    let place = Place { path, array: Some(&name) };
    let mut entry = archive.by_index(*index).map_err(|error| zip_error(place, &error))?;
    check_declared_size(place, &entry, file_size)?;
    let declared = entry.size();
    let header = Header::read(place, &mut entry)?;
    header.check_size(place, declared.saturating_sub(header.data_start))?;
    let value = read(place, &header, &mut entry)?;
    finish_entry(place, &mut entry, declared)?;
    Ok(value)
}

fn read_entry(
    place: Place<'_>,
    entry: &mut ZipFile<'_, impl Read>,
    file_size: u64,
) -> Result<(Checked, Elements)> {
    check_declared_size(place, entry, file_size)?;
    let declared = entry.size();
    let header = Header::read(place, entry)?;
    let checked = Described::npy(&header).check(place)?;
    header.check_size(place, declared.saturating_sub(header.data_start))?;
    let elements = checked.read_elements(place, entry)?;
    finish_entry(place, entry, declared)?;
    Ok((checked, elements))
}

/// Meets the end of an entry, where its checksum is compared.
fn finish_entry(place: Place<'_>, entry: &mut ZipFile<'_, impl Read>, declared: u64) -> Result<()> {
    let mut behind = [0];
    match entry.read(&mut behind) {
        Ok(0) => Ok(()),
        Ok(_) => Err(place.error("is longer than the archive declares", format!("{declared} bytes"))),
        Err(source) => Err(place.read_error(source)),
    }
}

/// Refuses an entry that declares more than its compressed bytes, or the file, can hold.
fn check_declared_size(place: Place<'_>, entry: &ZipFile<'_, impl Read>, file_size: u64) -> Result<()> {
    let (declared, compressed) = (entry.size(), entry.compressed_size());
    if compressed > file_size {
        let problem = format!("declares {compressed} compressed bytes in a file of {file_size}");
        return Err(place.error(problem, "a whole archive"));
    }
    let most = match entry.compression() {
        CompressionMethod::Stored => compressed,
        _ => compressed.saturating_mul(MOST_BYTES_PER_DEFLATED_BYTE).saturating_add(SLACK),
    };
    if declared > most {
        let problem =
            format!("declares {declared} bytes, but its {compressed} compressed bytes hold at most {most}");
        return Err(place.error(problem, "an archive whose sizes are true"));
    }
    Ok(())
}

fn zip_error(place: Place<'_>, error: &zip::result::ZipError) -> Error {
    place.error(
        format!("cannot be opened as an archive ({})", first_line(error)),
        "a whole .npz archive as np.savez or np.savez_compressed write it",
    )
}
