//! NumPy's .npy format: plain vectors in, arrays of any shape out.

use std::io::Read;
use std::path::Path;

use super::npy_header::{Header, MAGIC, NpyType, shape_text};
use super::whole_file::{Place, open_regular, write_whole};
use crate::{Error, Result};

/// Largest vector, in bytes: a bound on what a wrong file can cost.
const LARGEST_VECTOR: u64 = 256 << 20;

/// Reads a one-dimensional .npy array of any float or integer type.
///
/// 64-bit integers beyond 2^53 are rounded to the nearest `f64`.
///
/// # Errors
/// [`Error::Io`] when the file cannot be read; [`Error::File`] when it is no such array, or not whole.
pub fn read_npy_vector(path: &Path) -> Result<Vec<f64>> {
    const EXPECTED: &str = "a one-dimensional .npy array of numbers";
    let place = Place::file(path);
    let (mut file, size) = open_regular(path)?;
    let header = Header::read(place, &mut file)?;
    let element = header.element;
    if header.shape.len() != 1 {
        return Err(place.error(format!("has the shape {}", shape_text(&header.shape)), EXPECTED));
    }
    let Some(convert) = to_f64(element) else {
        return Err(place.error(format!("holds {element}"), EXPECTED));
    };
    header.check_size(place, size.saturating_sub(header.data_start))?;
    if size > LARGEST_VECTOR {
        return Err(place.error(format!("is {size} bytes long"), format!("at most {LARGEST_VECTOR} bytes")));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(|source| place.read_error(source))?;
    header.check_size(place, bytes.len() as u64)?;
    if element.big_endian {
        bytes.chunks_exact_mut(element.size).for_each(<[u8]>::reverse);
    }
    Ok(bytes.chunks_exact(element.size).map(convert).collect())
}

/// How to turn one little-endian element into `f64`.
pub(super) fn to_f64(element: NpyType) -> Option<fn(&[u8]) -> f64> {
    // The callers pass slices of exactly the element's size; `padded` only satisfies the types.
    fn padded<const N: usize>(bytes: &[u8]) -> [u8; N] {
        std::array::from_fn(|index| bytes.get(index).copied().unwrap_or_default())
    }
    Some(match (element.kind, element.size) {
        ('f', 2) => |bytes| half::f16::from_le_bytes(padded(bytes)).to_f64(),
        ('f', 4) => |bytes| f64::from(f32::from_le_bytes(padded(bytes))),
        ('f', 8) => |bytes| f64::from_le_bytes(padded(bytes)),
        ('i', 1) => |bytes| f64::from(i8::from_le_bytes(padded(bytes))),
        ('i', 2) => |bytes| f64::from(i16::from_le_bytes(padded(bytes))),
        ('i', 4) => |bytes| f64::from(i32::from_le_bytes(padded(bytes))),
        ('i', 8) => |bytes| i64::from_le_bytes(padded(bytes)) as f64,
        ('u', 1) => |bytes| f64::from(u8::from_le_bytes(padded(bytes))),
        ('u', 2) => |bytes| f64::from(u16::from_le_bytes(padded(bytes))),
        ('u', 4) => |bytes| f64::from(u32::from_le_bytes(padded(bytes))),
        ('u', 8) => |bytes| u64::from_le_bytes(padded(bytes)) as f64,
        _ => return None,
    })
}

mod sealed {
    pub trait Sealed {}
}

/// Element types that [`write_npy`] writes.
pub trait NpyElement: bytemuck::NoUninit + sealed::Sealed {
    /// Kind and size in NumPy's spelling, such as `f4`.
    const KIND: &'static str;
}

macro_rules! npy_elements {
    ($($type:ty: $kind:literal),*) => {$(
        impl sealed::Sealed for $type {}
        impl NpyElement for $type {
            const KIND: &'static str = $kind;
        }
    )*};
}
npy_elements!(f32: "f4", f64: "f8", half::f16: "f2", u8: "u1", u16: "u2", u32: "u4", u64: "u8", i32: "i4", i64: "i8");

/// Writes `data` as a .npy array of `shape` in C order (the last axis is the fastest), through [`write_whole`].
///
/// # Errors
/// [`Error::Shape`] when `shape` does not have `data.len()` elements; [`Error::Io`] when it cannot be written.
pub fn write_npy<T: NpyElement>(path: &Path, shape: &[usize], data: &[T]) -> Result<()> {
    let count = shape.iter().try_fold(1_usize, |product, &axis| product.checked_mul(axis));
    if count != Some(data.len()) {
        return Err(Error::Shape {
            what: "the shape of an array to write",
            given: shape_text(shape),
            expected: format!("a shape of {} elements", data.len()),
        });
    }
    write_whole(path, |out| {
        out.write_all(&header_bytes::<T>(shape))?;
        out.write_all(bytemuck::cast_slice(data))
    })
}

/// Magic, version and header; padded so that the elements begin at a multiple of 64 bytes, as the format asks.
fn header_bytes<T: NpyElement>(shape: &[usize]) -> Vec<u8> {
    let order = match (size_of::<T>(), cfg!(target_endian = "big")) {
        (1, _) => '|',
        (_, true) => '>',
        (_, false) => '<',
    };
    let shape = shape_text(shape);
    let mut text = format!("{{'descr': '{order}{}', 'fortran_order': False, 'shape': {shape}, }}", T::KIND);
    let unpadded = MAGIC.len() + 4 + text.len() + 1;
    text.extend(std::iter::repeat_n(' ', unpadded.next_multiple_of(64) - unpadded));
    text.push('\n');
    let mut bytes = MAGIC.to_vec();
    bytes.extend([1, 0]);
    // 64 axes of 20 digits fit a 16-bit length many times over.
    bytes.extend((text.len() as u16).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_headers_are_aligned_and_understood() {
        for shape in [&[][..], &[1], &[1, 19, 1024, 2048]] {
            let bytes = header_bytes::<f32>(shape);
            assert_eq!(bytes.len() % 64, 0);
            assert_eq!(bytes.last(), Some(&b'\n'));
            assert_eq!(Header::read(Place::file(Path::new("a")), &mut &bytes[..]).unwrap().shape, shape);
            let independent = npyz::NpyHeader::from_reader(&bytes[..]).unwrap();
            assert_eq!(independent.dtype().descr(), "'<f4'");
            assert!(independent.shape().iter().zip(shape).all(|(&read, &written)| read == written as u64));
            assert_eq!((independent.shape().len(), independent.order()), (shape.len(), npyz::Order::C));
        }
    }
}
