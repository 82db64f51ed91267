//! Chunked arrays: a grid of blocks of one size, each compressed by itself, found through an index.

use std::io::Read;

use flate2::read::ZlibDecoder;

use super::dataset::Float;
use super::{Bytes, Fields, Outcome, UNDEFINED, damaged, unsupported};

/// Deflate's longest match is 258 bytes and takes at least two bits: a byte yields at most 1032.
const MOST_BYTES_PER_DEFLATED_BYTE: u64 = 1032;
/// What the header and the end of a stream may distort in that bound.
const SLACK: u64 = 1024;
/// Levels of a tree of chunks at most.
const MOST_LEVELS: u8 = 16;

/// The most that so many bytes can inflate to.
pub(super) fn most_inflated(bytes: u64) -> u64 {
    bytes.saturating_mul(MOST_BYTES_PER_DEFLATED_BYTE).saturating_add(SLACK)
}

/// What was done to a chunk before it was written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Filter {
    Deflate,
    Shuffle,
}

/// The filters in the order in which they were applied.
pub(super) fn filters(mut fields: Fields<'_>) -> Outcome<Vec<Filter>> {
    let (version, count) = (fields.u8()?, fields.u8()?);
    fields.skip(match version {
        1 => 6,
        2 => 0,
        _ => return Err(unsupported(format!("has filters of version {version}"))),
    })?;
    (0..count)
        .map(|_| {
            let id = fields.u16()?;
            let name = if version == 1 || id >= 256 { usize::from(fields.u16()?) } else { 0 };
            fields.skip(2)?;
            let values = usize::from(fields.u16()?);
            // Version 1 fills names up to 8 bytes and the values up to an even number.
            let (name, values) = if version == 1 {
                (name.next_multiple_of(8), values.next_multiple_of(2))
            } else {
                (name, values)
            };
            fields.skip(name + 4 * values)?;
            match id {
                1 => Ok(Filter::Deflate),
                2 => Ok(Filter::Shuffle),
                3 => Err(unsupported("has checksums (fletcher32)")),
                _ => Err(unsupported(format!("is compressed with filter {id}"))),
            }
        })
        .collect()
}

/// How chunks are found.
pub(super) enum Index {
    /// A B-tree of version 1.
    Tree(u64),
    /// There is one chunk; where there are filters, with its size and mask.
    Single { size: Option<(u64, u32)>, address: u64 },
    /// Chunks follow one another.
    Implicit(u64),
    /// A list of addresses.
    FixedArray(u64),
}

/// A chunked array.
pub(super) struct Chunks {
    /// Lengths of the axes, of a chunk's axes, and how many chunks there are along each.
    shape: Vec<u64>,
    chunk: Vec<u64>,
    grid: Vec<u64>,
    /// Bytes of a chunk.
    size: u64,
    float: Float,
    filters: Vec<Filter>,
    index: Index,
}

impl Chunks {
    /// `sizes` are the lengths of a chunk's axes, and last the size of an element.
    pub fn new(
        shape: &[u64],
        sizes: &[u64],
        float: Float,
        filters: Vec<Filter>,
        index: Index,
    ) -> Outcome<Self> {
        let impossible = || damaged(format!("has the shape {shape:?} in chunks of {sizes:?}"));
        let Some((&element, chunk)) = sizes.split_last() else { return Err(impossible()) };
        let fits = chunk.len() == shape.len() && !shape.is_empty() && element == float.size as u64;
        if !fits || sizes.contains(&0) || shape.contains(&0) {
            return Err(impossible());
        }
        let size =
            sizes.iter().try_fold(1_u64, |size, &length| size.checked_mul(length)).ok_or_else(impossible)?;
        let grid = shape.iter().zip(chunk).map(|(axis, length)| axis.div_ceil(*length)).collect();
        Ok(Self { shape: shape.to_vec(), chunk: chunk.to_vec(), grid, size, float, filters, index })
    }

    /// Reads all chunks into `elements`, which are as many as the shape says.
    pub fn read(&self, file: Bytes<'_>, elements: &mut [f32]) -> Outcome<()> {
        // No more than there are elements, since every chunk of the grid holds at least one.
        let count: u64 = self.grid.iter().product();
        let mut target = Target { chunks: self, file, elements, filled: vec![false; count as usize] };
        match self.index {
            Index::Tree(UNDEFINED) | Index::Implicit(UNDEFINED) | Index::FixedArray(UNDEFINED) => {}
            Index::Tree(address) => target.tree(address, MOST_LEVELS)?,
            Index::Single { size, address } => {
                let (size, mask) = size.unwrap_or((self.size, 0));
                target.fill(0, address, size, mask)?;
            }
            Index::Implicit(address) => {
                for number in 0..count {
                    let offset = number.checked_mul(self.size).and_then(|offset| offset.checked_add(address));
                    target.fill(number, offset.unwrap_or(UNDEFINED), self.size, 0)?;
                }
            }
            Index::FixedArray(address) => target.fixed_array(address, count)?,
        }
        if target.filled.contains(&false) {
            return Err(damaged("lacks chunks"));
        }
        Ok(())
    }

    /// Undoes the filters that `mask` does not switch off.
    fn decode(&self, stored: &[u8], mask: u32) -> Outcome<Vec<u8>> {
        let mut bytes = stored.to_vec();
        for (number, filter) in self.filters.iter().enumerate().rev() {
            if mask >> number.min(31) & 1 == 1 {
                continue;
            }
            bytes = match filter {
                Filter::Deflate => inflate(&bytes, self.size)?,
                Filter::Shuffle => unshuffle(&bytes, self.float.size),
            };
        }
        if bytes.len() as u64 != self.size {
            return Err(damaged(format!("has a chunk of {} bytes instead of {}", bytes.len(), self.size)));
        }
        Ok(bytes)
    }
}

/// Inflates to exactly `size` bytes.
fn inflate(bytes: &[u8], size: u64) -> Outcome<Vec<u8>> {
    if size > most_inflated(bytes.len() as u64) {
        return Err(damaged(format!("has {} bytes that cannot be a chunk of {size}", bytes.len())));
    }
    let mut inflated = Vec::with_capacity(size as usize);
    let read = ZlibDecoder::new(bytes).take(size.saturating_add(1)).read_to_end(&mut inflated);
    match read {
        Ok(_) if inflated.len() as u64 == size => Ok(inflated),
        _ => Err(damaged("has a chunk that cannot be inflated")),
    }
}

/// Undoes the shuffling of bytes: first bytes of all elements, second bytes of all elements, and so on.
fn unshuffle(bytes: &[u8], element: usize) -> Vec<u8> {
    let count = bytes.len() / element;
    let mut whole = bytes.to_vec();
    for (index, element_bytes) in whole.chunks_exact_mut(element).enumerate() {
        for (byte, plane) in element_bytes.iter_mut().zip(bytes.chunks_exact(count.max(1))) {
            *byte = plane[index];
        }
    }
    whole
}

/// Elements that are being filled, chunk by chunk.
struct Target<'a> {
    chunks: &'a Chunks,
    file: Bytes<'a>,
    elements: &'a mut [f32],
    filled: Vec<bool>,
}

impl Target<'_> {
    /// The chunks below a node of a tree, whose level is below `below`.
    fn tree(&mut self, address: u64, below: u8) -> Outcome<()> {
        let mut node = self.file.from(address)?;
        node.signature(b"TREE", "tree of chunks")?;
        let (kind, level, used) = (node.u8()?, node.u8()?, node.u16()?);
        // An empty node fills nothing and could be met without end.
        if kind != 1 || level >= below || used == 0 {
            return Err(damaged("has a tree of chunks that is none"));
        }
        node.skip(2 * 8)?;
        for _ in 0..used {
            let (size, mask) = (node.u32()?, node.u32()?);
            let mut number = 0;
            for axis in 0..self.chunks.shape.len() {
                let (place, length) = (node.u64()?, self.chunks.chunk[axis]);
                if place % length != 0 || place >= self.chunks.shape[axis] {
                    return Err(damaged("has a chunk outside its array"));
                }
                number = number * self.chunks.grid[axis] + place / length;
            }
            // The offset within an element.
            node.skip(8)?;
            let child = node.u64()?;
            if level == 0 {
                self.fill(number, child, u64::from(size), mask)?;
            } else {
                self.tree(child, level)?;
            }
        }
        Ok(())
    }

    fn fixed_array(&mut self, address: u64, count: u64) -> Outcome<()> {
        let mut header = self.file.from(address)?;
        header.signature(b"FAHD", "list of chunks")?;
        header.skip(1)?;
        let (filtered, width, page_bits) = (header.u8()? == 1, usize::from(header.u8()?), header.u8()?);
        let entries = header.u64()?;
        let size_width = width.checked_sub(if filtered { 12 } else { 8 });
        let (Some(size_width @ 0..=8), true) = (size_width, entries == count) else {
            return Err(damaged("has a list of chunks that is none"));
        };
        if entries > 1_u64.checked_shl(u32::from(page_bits)).unwrap_or(u64::MAX) {
            return Err(unsupported("has very many chunks"));
        }
        let mut block = self.file.from(header.u64()?)?;
        block.signature(b"FADB", "list of chunks")?;
        block.skip(1 + 1 + 8)?;
        for number in 0..count {
            let address = block.u64()?;
            let (size, mask) =
                if filtered { (block.number(size_width)?, block.u32()?) } else { (self.chunks.size, 0) };
            self.fill(number, address, size, mask)?;
        }
        Ok(())
    }

    /// Reads the chunk of this number, counted over the grid in C order.
    fn fill(&mut self, number: u64, address: u64, size: u64, mask: u32) -> Outcome<()> {
        match self.filled.get_mut(number as usize) {
            Some(filled @ false) => *filled = true,
            _ => return Err(damaged("has a chunk twice")),
        }
        if address == UNDEFINED {
            return Err(damaged("lacks chunks"));
        }
        let bytes = self.chunks.decode(self.file.at(address, size)?, mask)?;
        self.copy(number, &bytes);
        Ok(())
    }

    /// Copies what lies within the array, row by row along the last axis.
    fn copy(&mut self, number: u64, bytes: &[u8]) {
        let Chunks { shape, chunk, grid, float, .. } = self.chunks;
        let rank = shape.len();
        let mut start = vec![0; rank];
        let mut rest = number;
        for axis in (0..rank).rev() {
            start[axis] = rest % grid[axis] * chunk[axis];
            rest /= grid[axis];
        }
        let row = chunk[rank - 1];
        let inside = row.min(shape[rank - 1] - start[rank - 1]) as usize;
        for (index, bytes) in bytes.chunks_exact(row as usize * float.size).enumerate() {
            // The row's place along the other axes, the fastest last.
            let (mut index, mut offset, mut stride) = (index as u64, start[rank - 1], shape[rank - 1]);
            let mut within = true;
            for axis in (0..rank - 1).rev() {
                let place = start[axis] + index % chunk[axis];
                within &= place < shape[axis];
                offset += place * stride;
                index /= chunk[axis];
                stride *= shape[axis];
            }
            if within {
                let offset = offset as usize;
                float.convert(bytes, &mut self.elements[offset..offset + inside]);
            }
        }
    }
}
