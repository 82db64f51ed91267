//! HDF5, as far as score maps need it: one float array in the root group of a file that h5py wrote, and files that
//! h5py reads.
//!
//! SegmentMeIfYouCan's program stores a score map as the dataset `value` of float16, deflated. Read are: superblocks
//! of versions 0 to 3, symbol tables and link messages, object headers of both versions; float16, float32 and float64
//! of either byte order; compact, contiguous and chunked arrays, the latter with deflate and shuffle, indexed as h5py
//! does by default (B-tree) or with `libver="latest"` (single chunk, implicit, fixed array). Everything else is
//! refused by name. Written are contiguous arrays in the oldest form of the format, which every reader knows.
//!
//! The whole file is in memory while it is read, and every address and length in it is checked against that. Loops
//! cannot occur: levels of a tree must fall, and a chunk that is met twice ends the reading. What an array takes in
//! memory is bounded by what its bytes in the file can inflate to. Format:
//! <https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html>.

mod chunks;
mod dataset;
mod objects;
mod write;

use std::path::Path;

use ndarray::Array2;

use super::score_maps::plane;
use super::whole_file::{Place, quoted, read_at_most};
use crate::{Error, Result};

pub(super) use write::write;

/// What a file begins with.
pub(super) const SIGNATURE: &[u8; 8] = b"\x89HDF\r\n\x1a\n";
/// An address that leads nowhere.
const UNDEFINED: u64 = u64::MAX;
/// Largest file.
const LARGEST_FILE: u64 = 1 << 30;
/// Name of the dataset in SegmentMeIfYouCan's files.
pub(super) const VALUE: &str = "value";

/// Reads the dataset `value` of the root group, or the only one that there is, as a score map.
pub(super) fn read(path: &Path) -> Result<Array2<f32>> {
    decode(path, &read_at_most(path, LARGEST_FILE)?)
}

fn decode(path: &Path, bytes: &[u8]) -> Result<Array2<f32>> {
    let file = Bytes(bytes);
    let refused = |name: Option<&str>, refusal: Refusal| -> Error {
        Place { path, array: name }.error(refusal.problem, refusal.expected)
    };
    let links = objects::root_links(file).map_err(|refusal| refused(None, refusal))?;
    let (name, address) = match links.iter().find(|(name, _)| name == VALUE) {
        Some(found) => found,
        None => match &links[..] {
            [only] => only,
            _ => {
                let names: Vec<String> = links.iter().take(8).map(|(name, _)| quoted(name)).collect();
                let problem = format!("has {} datasets or groups: {}", links.len(), names.join(", "));
                return Err(Error::file(path, problem, "a dataset called \"value\", or only one"));
            }
        },
    };
    let array = dataset::read(file, *address).map_err(|refusal| refused(Some(name), refusal))?;
    let place = Place { path, array: Some(name) };
    let shape = plane(place, &array.shape)?;
    Array2::from_shape_vec(shape, array.elements)
        .map_err(|error| place.error(format!("has an impossible shape ({error})"), "a score map"))
}

/// Why a file is refused.
struct Refusal {
    problem: String,
    expected: &'static str,
}

type Outcome<T> = std::result::Result<T, Refusal>;

/// What cannot be right in any file.
fn damaged(problem: impl Into<String>) -> Refusal {
    Refusal { problem: problem.into(), expected: "a whole HDF5 file" }
}

/// What may be right, and is not read here.
fn unsupported(problem: impl Into<String>) -> Refusal {
    let expected = "a float array as h5py writes it (plain or with compression=\"gzip\")";
    Refusal { problem: problem.into(), expected }
}

/// The bytes of a file.
#[derive(Clone, Copy)]
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    /// The rest of the file from an address on.
    fn from(self, address: u64) -> Outcome<Fields<'a>> {
        let rest = usize::try_from(address).ok().and_then(|start| self.0.get(start..));
        rest.map(Fields).ok_or_else(|| damaged(format!("is truncated: it points to byte {address}")))
    }

    /// So many bytes from an address on.
    fn at(self, address: u64, length: u64) -> Outcome<&'a [u8]> {
        let length = usize::try_from(length).map_err(|_| damaged("declares an impossible length"))?;
        self.from(address)?.bytes(length)
    }
}

/// Fields that follow one another, little-endian.
#[derive(Clone)]
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn left(&self) -> usize {
        self.0.len()
    }

    fn bytes(&mut self, count: usize) -> Outcome<&'a [u8]> {
        let Some((bytes, rest)) = self.0.split_at_checked(count) else {
            return Err(damaged("is truncated"));
        };
        self.0 = rest;
        Ok(bytes)
    }

    fn skip(&mut self, count: usize) -> Outcome<()> {
        self.bytes(count).map(drop)
    }

    fn signature(&mut self, expected: &[u8; 4], what: &str) -> Outcome<()> {
        if self.bytes(4)? == expected {
            Ok(())
        } else {
            Err(damaged(format!("has no {what} where it points to one")))
        }
    }

    /// A number of up to 8 bytes.
    fn number(&mut self, size: usize) -> Outcome<u64> {
        Ok(self.bytes(size)?.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    fn u8(&mut self) -> Outcome<u8> {
        Ok(self.number(1)? as u8)
    }

    fn u16(&mut self) -> Outcome<u16> {
        Ok(self.number(2)? as u16)
    }

    fn u32(&mut self) -> Outcome<u32> {
        Ok(self.number(4)? as u32)
    }

    fn u64(&mut self) -> Outcome<u64> {
        self.number(8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files of h5py, each of which another part of the reader reads.
    const FILES: [&[u8]; 8] = [
        include_bytes!("../../../tests/files/hdf5/benchmark.hdf5"),
        include_bytes!("../../../tests/files/hdf5/chunks.hdf5"),
        include_bytes!("../../../tests/files/hdf5/plain.hdf5"),
        include_bytes!("../../../tests/files/hdf5/big_endian_shuffled.hdf5"),
        include_bytes!("../../../tests/files/hdf5/latest_plain.hdf5"),
        include_bytes!("../../../tests/files/hdf5/latest_single.hdf5"),
        include_bytes!("../../../tests/files/hdf5/latest_list.hdf5"),
        include_bytes!("../../../tests/files/hdf5/several.hdf5"),
    ];

    fn decode_bytes(bytes: &[u8]) -> Result<Array2<f32>> {
        decode(Path::new("a.hdf5"), bytes)
    }

    fn assert_one_line(result: Result<Array2<f32>>) {
        if let Err(error) = result {
            let text = error.to_string();
            assert!(text.starts_with("a.hdf5: ") && text.lines().count() == 1, "{text}");
        }
    }

    #[test]
    fn cut_files_are_refused_or_whole() {
        for file in FILES {
            let whole = decode_bytes(file).unwrap();
            for length in 0..file.len() {
                match decode_bytes(&file[..length]) {
                    Ok(map) => assert_eq!(map, whole, "cut to {length}"),
                    refused => assert_one_line(refused),
                }
            }
        }
    }

    #[test]
    fn damaged_bytes_do_no_harm() {
        for file in FILES {
            let mut damaged = file.to_vec();
            for index in 0..file.len() {
                for value in [0, 1, 0x7f, 0xff, file[index] ^ 0x10, file[index].wrapping_add(1)] {
                    damaged[index] = value;
                    assert_one_line(decode_bytes(&damaged));
                }
                damaged[index] = file[index];
            }
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for (height, width) in [(1, 1), (3, 5), (70, 90)] {
            let elements: Vec<half::f16> =
                (0..height * width).map(|i| half::f16::from_f32(i as f32 / 8.0 - 100.0)).collect();
            let mut bytes = Vec::new();
            write(&mut bytes, VALUE, [height, width], &elements).unwrap();
            let map = decode_bytes(&bytes).unwrap();
            assert_eq!(map.dim(), (height, width));
            assert!(map.iter().zip(&elements).all(|(got, want)| *got == want.to_f32()));
        }
        assert!(write(&mut Vec::new(), &"n".repeat(64), [0, 0], &[]).is_err());
    }
}
