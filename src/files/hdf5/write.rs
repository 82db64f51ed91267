//! Writes one array as an HDF5 file of the oldest form: superblock of version 0, a root group with one symbol, and a
//! contiguous dataset of float16.

use std::io::{self, Write};

use half::f16;

use super::{SIGNATURE, UNDEFINED};

// Where the parts lie, one behind the other. Trees and symbol tables have room for as many entries as the superblock
// says, used or not.
const ROOT: u64 = 96;
const TREE: u64 = ROOT + 40;
const HEAP: u64 = TREE + 24 + 33 * 8 + 32 * 8;
const NAMES: u64 = HEAP + 32;
const NAMES_SIZE: u64 = 88;
const SYMBOLS: u64 = NAMES + NAMES_SIZE;
const DATASET: u64 = SYMBOLS + 8 + 8 * 40;
/// Messages of the dataset: dataspace, datatype, fill value, layout.
const MESSAGES: u32 = (8 + 24) + (8 + 24) + (8 + 8) + (8 + 24);
const ELEMENTS: u64 = DATASET + 16 + MESSAGES as u64;

/// Writes `elements` of `shape` (height, width) as the dataset `name` of at most 63 bytes.
pub fn write(out: &mut dyn Write, name: &str, shape: [usize; 2], elements: &[f16]) -> io::Result<()> {
    let size = 2 * elements.len() as u64;
    let mut parts = Parts(Vec::with_capacity(ELEMENTS as usize));
    parts.superblock(ELEMENTS + size);
    parts.group(name)?;
    parts.dataset(shape, size);
    out.write_all(&parts.0)?;
    for chunk in elements.chunks(1 << 12) {
        let bytes: Vec<u8> = chunk.iter().flat_map(|element| element.to_le_bytes()).collect();
        out.write_all(&bytes)?;
    }
    Ok(())
}

struct Parts(Vec<u8>);

impl Parts {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn u16s<const N: usize>(&mut self, numbers: [u16; N]) {
        numbers.iter().for_each(|number| self.bytes(&number.to_le_bytes()));
    }

    fn u32(&mut self, number: u32) {
        self.bytes(&number.to_le_bytes());
    }

    fn u64s<const N: usize>(&mut self, numbers: [u64; N]) {
        numbers.iter().for_each(|number| self.bytes(&number.to_le_bytes()));
    }

    /// Fills up with zeros to an address.
    fn fill_to(&mut self, address: u64) {
        self.0.resize(address as usize, 0);
    }

    fn superblock(&mut self, end: u64) {
        self.bytes(SIGNATURE);
        // Versions of superblock, free space, root group, shared headers; sizes of addresses and lengths.
        self.bytes(&[0, 0, 0, 0, 0, 8, 8, 0]);
        // Half the room of symbol tables and of trees; flags.
        self.u16s([4, 16, 0, 0]);
        self.u64s([0, UNDEFINED, end, UNDEFINED]);
        // The root group: name, object header, and its tree and heap at hand.
        self.u64s([0, ROOT]);
        self.u32(1);
        self.u32(0);
        self.u64s([TREE, HEAP]);
    }

    fn object_header(&mut self, messages: u16, size: u32) {
        self.bytes(&[1, 0]);
        self.u16s([messages]);
        self.u32(1);
        self.u32(size);
        self.u32(0);
    }

    fn message(&mut self, kind: u16, size: u16) {
        self.u16s([kind, size]);
        self.u32(0);
    }

    fn group(&mut self, name: &str) -> io::Result<()> {
        // Names begin behind the empty one, end with a zero and fill up to 8 bytes.
        let next = 8 + (name.len() as u64 + 1).next_multiple_of(8);
        if next > NAMES_SIZE - 16 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the name of a dataset is too long"));
        }
        self.object_header(1, 24);
        self.message(0x11, 16);
        self.u64s([TREE, HEAP]);
        // A tree with one leaf, which lies between the names at 0 and 8.
        self.bytes(b"TREE\0\0");
        self.u16s([1]);
        self.u64s([UNDEFINED, UNDEFINED, 0, SYMBOLS, 8]);
        self.fill_to(HEAP);
        self.bytes(b"HEAP\0\0\0\0");
        self.u64s([NAMES_SIZE, next, NAMES]);
        self.fill_to(NAMES + 8);
        self.bytes(name.as_bytes());
        self.fill_to(NAMES + next);
        // The free rest: no other follows (1), and its size.
        self.u64s([1, NAMES_SIZE - next]);
        self.fill_to(SYMBOLS);
        self.bytes(b"SNOD\x01\0");
        self.u16s([1]);
        self.u64s([8, DATASET]);
        self.fill_to(DATASET);
        Ok(())
    }

    fn dataset(&mut self, shape: [usize; 2], size: u64) {
        self.object_header(4, MESSAGES);
        self.message(0x01, 24);
        self.bytes(&[1, 2, 0, 0, 0, 0, 0, 0]);
        self.u64s(shape.map(|axis| axis as u64));
        // float16: little-endian, first bit of the mantissa implied, sign in bit 15; then its parts, and the bias.
        self.message(0x03, 24);
        self.bytes(&[0x11, 0x20, 15, 0, 2, 0, 0, 0]);
        self.u16s([0, 16]);
        self.bytes(&[10, 5, 0, 10, 15, 0, 0, 0, 0, 0, 0, 0]);
        // Fill value: the default one.
        self.message(0x05, 8);
        self.bytes(&[2, 2, 2, 1, 0, 0, 0, 0]);
        self.message(0x08, 24);
        self.bytes(&[3, 1]);
        self.u64s([ELEMENTS, size]);
        self.fill_to(ELEMENTS);
    }
}
