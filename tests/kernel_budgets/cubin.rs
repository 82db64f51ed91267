//! What the kernels of a cubin take, read from the file itself.
//!
//! A cubin is an ELF file. The section `.text.NAME` holds a kernel's instructions, 16 bytes each; `.nv.shared.NAME` has the
//! size of its static shared memory; `.nv.info` is a list of attributes, of which some name a symbol (a kernel) and a
//! number. The numbers here were found by comparing files with what NVIDIA's cuobjdump and nvdisasm say of them, for
//! every architecture from sm_75 to sm_120 (scripts/kernel_report.py asks those tools).

use std::collections::BTreeMap;

/// Attributes in `.nv.info`.
const REGISTER_COUNT: u8 = 0x2f;
const FRAME_SIZE: u8 = 0x11;
const MIN_STACK_SIZE: u8 = 0x12;
/// The attribute's value is a list of bytes behind it; all other kinds have two bytes in its head.
const SIZED_VALUE: u8 = 4;
/// Shared memory that the system takes from every block, which is part of `.nv.shared.NAME` from sm_90 on.
const RESERVED_BYTES: u64 = 1024;

/// What one entry point takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Registers of a thread.
    pub registers: u32,
    /// Shared memory that is declared in the source, in bytes.
    pub static_shared_bytes: u32,
    /// Local memory of a thread on its stack, in bytes: arrays and spilled registers.
    pub stack_bytes: u32,
    /// Instructions that read or write local memory.
    pub local_accesses: usize,
    /// Loads from global memory of 16 bytes.
    pub wide_global_loads: usize,
    /// Loads from global memory.
    pub global_loads: usize,
}

struct Section<'a> {
    name: &'a str,
    size: u64,
    /// Empty where the file holds none.
    bytes: &'a [u8],
}

/// The entry points of a cubin by name.
pub fn entries(cubin: &[u8]) -> BTreeMap<String, Entry> {
    assert!(cubin.starts_with(b"\x7fELF\x02\x01"), "a 64-bit little-endian ELF file");
    let sections = sections(cubin);
    let find = |name: &str| sections.iter().find(|section| section.name == name);
    let symbols = symbols(find(".symtab").unwrap().bytes, find(".strtab").unwrap().bytes);
    let architecture = u32_at(cubin, 48) >> 8 & 0xff;
    let mut found = BTreeMap::new();
    for section in &sections {
        let Some(name) = section.name.strip_prefix(".text.") else { continue };
        let shared = find(&format!(".nv.shared.{name}")).map_or(0, |section| section.size);
        let reserved = if architecture >= 90 { RESERVED_BYTES.min(shared) } else { 0 };
        let mut entry = count_instructions(section.bytes);
        entry.static_shared_bytes = (shared - reserved) as u32;
        found.insert(name.to_owned(), entry);
    }
    for (attribute, symbol, value) in attributes(find(".nv.info").unwrap().bytes) {
        let Some(entry) = found.get_mut(symbols[symbol as usize]) else {
            // A function that some kernel calls: which one is not asked.
            if attribute != REGISTER_COUNT {
                found.values_mut().for_each(|entry| entry.stack_bytes = entry.stack_bytes.max(value));
            }
            continue;
        };
        match attribute {
            REGISTER_COUNT => entry.registers = value,
            _ => entry.stack_bytes = entry.stack_bytes.max(value),
        }
    }
    assert!(found.values().all(|entry| entry.registers > 0), "{found:?}");
    found
}

fn sections(file: &[u8]) -> Vec<Section<'_>> {
    let (headers, count) = (u64_at(file, 40) as usize, u16_at(file, 60) as usize);
    let header = |i: usize| &file[headers + 64 * i..][..64];
    let content = |header: &[u8]| {
        const NOBITS: u32 = 8;
        let (offset, size) = (u64_at(header, 24) as usize, u64_at(header, 32) as usize);
        if u32_at(header, 4) == NOBITS { 0..0 } else { offset..offset + size }
    };
    let names = &file[content(header(u16_at(file, 62) as usize))];
    (0..count)
        .map(|i| Section {
            name: text_at(names, u32_at(header(i), 0)),
            size: u64_at(header(i), 32),
            bytes: &file[content(header(i))],
        })
        .collect()
}

fn symbols<'a>(table: &[u8], names: &'a [u8]) -> Vec<&'a str> {
    table.chunks_exact(24).map(|symbol| text_at(names, u32_at(symbol, 0))).collect()
}

/// Attribute, symbol and number of those attributes in `.nv.info` that are of interest.
fn attributes(mut info: &[u8]) -> Vec<(u8, u32, u32)> {
    let mut found = Vec::new();
    while let [kind, attribute, _, _, ..] = *info {
        let length = if kind == SIZED_VALUE { u16_at(info, 2) as usize } else { 0 };
        let value = &info[4..][..length];
        if [REGISTER_COUNT, FRAME_SIZE, MIN_STACK_SIZE].contains(&attribute) {
            assert_eq!((kind, length), (SIZED_VALUE, 8), "attribute {attribute:#x}");
            found.push((attribute, u32_at(value, 0), u32_at(value, 4)));
        }
        info = &info[4 + length..];
    }
    found
}

/// The operation is in the 12 lowest bits of an instruction; a load's width is in bits 73 to 75, where 6 stands for
/// 16 bytes.
fn count_instructions(code: &[u8]) -> Entry {
    /// The first is an older form, on sm_75 only.
    const LOAD_GLOBAL: [u64; 2] = [0x381, 0x981];
    const LOAD_LOCAL: u64 = 0x983;
    const STORE_LOCAL: u64 = 0x387;
    let mut entry = Entry::default();
    for instruction in code.chunks_exact(16) {
        let operation = u64_at(instruction, 0) & 0xfff;
        if LOAD_GLOBAL.contains(&operation) {
            entry.global_loads += 1;
            entry.wide_global_loads += usize::from(u64_at(instruction, 8) >> 9 & 7 == 6);
        } else if [LOAD_LOCAL, STORE_LOCAL].contains(&operation) {
            entry.local_accesses += 1;
        }
    }
    entry
}

fn text_at(bytes: &[u8], offset: u32) -> &str {
    let text = &bytes[offset as usize..];
    let length = text.iter().position(|&byte| byte == 0).unwrap();
    std::str::from_utf8(&text[..length]).unwrap()
}

fn u16_at(bytes: &[u8], offset: usize) -> u16 {
    u16::from_le_bytes(bytes[offset..][..2].try_into().unwrap())
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(bytes[offset..][..4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(bytes[offset..][..8].try_into().unwrap())
}
