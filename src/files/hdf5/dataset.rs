//! A dataset: shape, element type, and its elements wherever they lie.

use half::f16;

use super::chunks::{self, Chunks, Filter, Index};
use super::objects::{Message, messages};
use super::{Bytes, Fields, Outcome, UNDEFINED, damaged, unsupported};

/// Kinds of messages.
const DATASPACE: u16 = 0x01;
const DATATYPE: u16 = 0x03;
const LAYOUT: u16 = 0x08;
const FILTERS: u16 = 0x0b;

/// Axes of an array at most.
const MOST_AXES: usize = 8;
/// Elements at most: those of a picture with the longest sides that are read.
const MOST_ELEMENTS: u64 = 1 << 30;

/// An array in memory.
pub(super) struct Array {
    pub shape: Vec<usize>,
    /// In C order.
    pub elements: Vec<f32>,
}

/// Element type: an IEEE float.
#[derive(Clone, Copy)]
pub(super) struct Float {
    /// Bytes: 2, 4 or 8.
    pub size: usize,
    big_endian: bool,
}

impl Float {
    /// Converts whole elements; float64 is rounded.
    pub fn convert(self, bytes: &[u8], elements: &mut [f32]) {
        match (self.size, self.big_endian) {
            (2, false) => each(bytes, elements, |bytes| f16::from_le_bytes(bytes).to_f32()),
            (2, true) => each(bytes, elements, |bytes| f16::from_be_bytes(bytes).to_f32()),
            (4, false) => each(bytes, elements, f32::from_le_bytes),
            (4, true) => each(bytes, elements, f32::from_be_bytes),
            (_, false) => each(bytes, elements, |bytes| f64::from_le_bytes(bytes) as f32),
            (_, true) => each(bytes, elements, |bytes| f64::from_be_bytes(bytes) as f32),
        }
    }
}

fn each<const N: usize>(bytes: &[u8], elements: &mut [f32], convert: impl Fn([u8; N]) -> f32) {
    bytes.as_chunks().0.iter().zip(elements).for_each(|(bytes, element)| *element = convert(*bytes));
}

/// Reads the dataset whose object header is at `address`.
pub(super) fn read(file: Bytes<'_>, address: u64) -> Outcome<Array> {
    let (mut shape, mut float, mut layout, mut filters) = (None, None, None, Vec::new());
    for Message { kind, fields } in messages(file, address)? {
        match kind {
            DATASPACE => shape = Some(dataspace(fields)?),
            DATATYPE => float = Some(datatype(fields)?),
            LAYOUT => layout = Some(fields),
            FILTERS => filters = chunks::filters(fields)?,
            _ => {}
        }
    }
    let (Some(shape), Some(float), Some(layout)) = (shape, float, layout) else {
        return Err(unsupported("is no dataset"));
    };
    let count = shape.iter().try_fold(1_u64, |count, &axis| count.checked_mul(axis));
    let Some(count) = count.filter(|&count| count <= MOST_ELEMENTS) else {
        return Err(unsupported(format!("has the impossible shape {shape:?}")));
    };
    let size = count * float.size as u64;
    let most = chunks::most_inflated(file.0.len() as u64);
    if size > most {
        return Err(damaged(format!("declares {size} bytes of elements, but the file holds at most {most}")));
    }
    let mut elements = vec![0.0; count as usize];
    match place(layout, &shape, float, filters)? {
        Storage::Inline(bytes) => float.convert(prefix(bytes, size)?, &mut elements),
        Storage::Contiguous(address) => float.convert(file.at(address, size)?, &mut elements),
        Storage::Chunked(chunks) => chunks.read(file, &mut elements)?,
    }
    Ok(Array { shape: shape.into_iter().map(|axis| axis as usize).collect(), elements })
}

fn prefix(bytes: &[u8], size: u64) -> Outcome<&[u8]> {
    Bytes(bytes).at(0, size)
}

fn dataspace(mut fields: Fields<'_>) -> Outcome<Vec<u64>> {
    let (version, rank) = (fields.u8()?, usize::from(fields.u8()?));
    fields.skip(match version {
        1 => 6,
        2 => 2,
        _ => return Err(unsupported(format!("has a dataspace of version {version}"))),
    })?;
    if rank > MOST_AXES {
        return Err(unsupported(format!("has {rank} axes")));
    }
    (0..rank).map(|_| fields.u64()).collect()
}

fn datatype(mut fields: Fields<'_>) -> Outcome<Float> {
    const NAMES: [&str; 11] = [
        "integers",
        "floats",
        "times",
        "text",
        "bit fields",
        "opaque bytes",
        "records",
        "references",
        "enumerations",
        "lists",
        "arrays",
    ];
    let class = fields.u8()? & 0x0f;
    let bits = [fields.u8()?, fields.u8()?, fields.u8()?];
    let size = fields.u32()?;
    if class != 1 {
        let name = NAMES.get(usize::from(class)).copied().unwrap_or("elements of an unknown type");
        return Err(unsupported(format!("holds {name}")));
    }
    // Position and length of the whole, of the exponent and of the mantissa, and the bias, as IEEE has them. The sign
    // is in front, and the mantissa's first bit is implied.
    let layout = (fields.u16()?, fields.u16()?, fields.bytes(4)?, fields.u32()?);
    let ieee = match (size, layout) {
        (2, (0, 16, [10, 5, 0, 10], 15)) => 15,
        (4, (0, 32, [23, 8, 0, 23], 127)) => 31,
        (8, (0, 64, [52, 11, 0, 52], 1023)) => 63,
        _ => return Err(unsupported(format!("holds floats of {size} bytes in a form of their own"))),
    };
    // 0x40 would be the byte order of a VAX.
    if bits[0] & !1 != 0x20 || bits[1] != ieee {
        return Err(unsupported(format!("holds floats of {size} bytes in a form of their own")));
    }
    Ok(Float { size: size as usize, big_endian: bits[0] & 1 == 1 })
}

/// Where elements lie.
enum Storage<'a> {
    Inline(&'a [u8]),
    Contiguous(u64),
    Chunked(Chunks),
}

fn place<'a>(
    mut fields: Fields<'a>,
    shape: &[u64],
    float: Float,
    filters: Vec<Filter>,
) -> Outcome<Storage<'a>> {
    let (version, class) = (fields.u8()?, fields.u8()?);
    // Version 5 (HDF5 2.0) allows larger chunks, whose sizes have more bytes; how many is told in either.
    if !(3..=5).contains(&version) {
        return Err(unsupported(format!("has a layout of version {version}")));
    }
    match class {
        0 => {
            let size = usize::from(fields.u16()?);
            Ok(Storage::Inline(fields.bytes(size)?))
        }
        1 => {
            let address = fields.u64()?;
            if address == UNDEFINED {
                return Err(damaged("was created and never filled"));
            }
            Ok(Storage::Contiguous(address))
        }
        2 => {
            let (sizes, index) = if version == 3 { chunked(&mut fields)? } else { chunked_new(&mut fields)? };
            Chunks::new(shape, &sizes, float, filters, index).map(Storage::Chunked)
        }
        _ => Err(unsupported("lies in other files")),
    }
}

/// Lengths of a chunk's axes and of an element, and the tree of the chunks.
fn chunked(fields: &mut Fields<'_>) -> Outcome<(Vec<u64>, Index)> {
    let axes = fields.u8()?;
    let tree = fields.u64()?;
    let sizes = (0..axes).map(|_| fields.u32().map(u64::from)).collect::<Outcome<_>>()?;
    Ok((sizes, Index::Tree(tree)))
}

/// The same as `libver="latest"` writes it.
fn chunked_new(fields: &mut Fields<'_>) -> Outcome<(Vec<u64>, Index)> {
    let (flags, axes, width) = (fields.u8()?, fields.u8()?, usize::from(fields.u8()?));
    if flags & !(1 << 1) != 0 || !(1..=8).contains(&width) {
        return Err(unsupported("has chunks in a form that is not read here"));
    }
    let sizes = (0..axes).map(|_| fields.number(width)).collect::<Outcome<_>>()?;
    let index = match fields.u8()? {
        1 if flags & 1 << 1 != 0 => {
            let (size, mask) = (fields.u64()?, fields.u32()?);
            Index::Single { size: Some((size, mask)), address: fields.u64()? }
        }
        1 => Index::Single { size: None, address: fields.u64()? },
        2 => Index::Implicit(fields.u64()?),
        3 => {
            fields.skip(1)?;
            Index::FixedArray(fields.u64()?)
        }
        _ => return Err(unsupported("can be extended (maxshape)")),
    };
    Ok((sizes, index))
}
