//! The way from the beginning of a file to what its root group holds: superblock, object headers, groups.

use super::{Bytes, Fields, Outcome, SIGNATURE, UNDEFINED, damaged, unsupported};

/// Blocks of an object header, and messages in all of them, at most: h5py's files have a handful.
const MOST_BLOCKS: usize = 64;
const MOST_MESSAGES: usize = 4096;
/// Links of the root group at most.
const MOST_LINKS: usize = 4096;
/// Levels of a group's tree at most.
const MOST_LEVELS: u8 = 8;

/// Kinds of messages.
const LINK_INFO: u16 = 0x02;
const LINK: u16 = 0x06;
const CONTINUATION: u16 = 0x10;
const SYMBOL_TABLE: u16 = 0x11;
/// A message that lies in another object.
const SHARED: u8 = 1 << 1;

/// A message of an object header.
pub(super) struct Message<'a> {
    pub kind: u16,
    pub fields: Fields<'a>,
}

/// Names in the root group with the addresses of their object headers.
pub(super) fn root_links(file: Bytes<'_>) -> Outcome<Vec<(String, u64)>> {
    let messages = messages(file, root(file)?)?;
    let mut links = Vec::new();
    for Message { kind, fields } in messages {
        match kind {
            SYMBOL_TABLE => symbol_table(file, fields, &mut links)?,
            LINK => links.extend(link(fields)?),
            LINK_INFO => refuse_dense_links(fields)?,
            _ => {}
        }
        if links.len() > MOST_LINKS {
            return Err(unsupported(format!("has more than {MOST_LINKS} objects")));
        }
    }
    Ok(links)
}

/// Address of the root group's object header.
fn root(file: Bytes<'_>) -> Outcome<u64> {
    let mut fields = Fields(file.0);
    if fields.left() < SIGNATURE.len() || fields.bytes(SIGNATURE.len())? != SIGNATURE {
        return Err(damaged("does not begin as HDF5 does"));
    }
    let version = fields.u8()?;
    let (offsets, lengths) = match version {
        0 | 1 => {
            fields.skip(4)?;
            (fields.u8()?, fields.u8()?)
        }
        2 | 3 => (fields.u8()?, fields.u8()?),
        _ => return Err(unsupported(format!("has a superblock of version {version}"))),
    };
    if (offsets, lengths) != (8, 8) {
        return Err(unsupported(format!("has addresses of {offsets} and lengths of {lengths} bytes")));
    }
    // Flags and sizes of trees, or flags alone.
    fields.skip(match version {
        0 => 9,
        1 => 13,
        _ => 1,
    })?;
    if fields.u64()? != 0 {
        return Err(unsupported("has a base address"));
    }
    // Free space, end of file and driver; then the name of the root group, or nothing.
    fields.skip(if version < 2 { 3 * 8 + 8 } else { 2 * 8 })?;
    fields.u64()
}

/// The messages of the object header at `address`.
pub(super) fn messages(file: Bytes<'_>, address: u64) -> Outcome<Vec<Message<'_>>> {
    let mut fields = file.from(address)?;
    let mut read = Reading { file, blocks: Vec::new(), messages: Vec::new(), version: 1, tracked: false };
    if fields.0.starts_with(b"OHDR") {
        fields.skip(4)?;
        let version = fields.u8()?;
        if version != 2 {
            return Err(unsupported(format!("has an object header of version {version}")));
        }
        let flags = fields.u8()?;
        let times = if flags & 1 << 5 != 0 { 16 } else { 0 };
        let limits = if flags & 1 << 4 != 0 { 4 } else { 0 };
        fields.skip(times + limits)?;
        let size = fields.number(1 << (flags & 3))?;
        (read.version, read.tracked) = (2, flags & 1 << 2 != 0);
        let block = usize::try_from(size).map_err(|_| damaged("declares an impossible length"))?;
        read.blocks.push(Fields(fields.bytes(block)?));
    } else {
        let version = fields.u8()?;
        if version != 1 {
            return Err(damaged(format!("has no object header at byte {address}")));
        }
        // Reserved, number of messages (the blocks tell as much), references.
        fields.skip(1 + 2 + 4)?;
        let size = fields.u32()? as usize;
        fields.skip(4)?;
        read.blocks.push(Fields(fields.bytes(size)?));
    }
    let mut next = 0;
    while let Some(block) = read.blocks.get(next).cloned() {
        read.block(block)?;
        next += 1;
    }
    Ok(read.messages)
}

/// An object header that is being read, block by block.
struct Reading<'a> {
    file: Bytes<'a>,
    blocks: Vec<Fields<'a>>,
    messages: Vec<Message<'a>>,
    version: u8,
    /// Messages carry the order of their creation.
    tracked: bool,
}

impl<'a> Reading<'a> {
    fn block(&mut self, mut block: Fields<'a>) -> Outcome<()> {
        let header = match (self.version, self.tracked) {
            (1, _) => 8,
            (_, false) => 4,
            (_, true) => 6,
        };
        // What is left behind the last message of a block is smaller than a message.
        while block.left() >= header {
            let kind = if self.version == 1 { block.u16()? } else { u16::from(block.u8()?) };
            let size = usize::from(block.u16()?);
            let flags = block.u8()?;
            block.skip(if self.version == 1 { 3 } else { header - 4 })?;
            let mut fields = Fields(block.bytes(size)?);
            if kind == CONTINUATION {
                let (address, length) = (fields.u64()?, fields.u64()?);
                let block = self.continuation(address, length)?;
                self.blocks.push(block);
            } else if flags & SHARED != 0 && matches!(kind, 0x01 | 0x03 | 0x08 | 0x0b) {
                return Err(unsupported("shares its description with other datasets"));
            } else {
                self.messages.push(Message { kind, fields });
            }
            if self.blocks.len() > MOST_BLOCKS || self.messages.len() > MOST_MESSAGES {
                return Err(damaged("has an object header without end"));
            }
        }
        Ok(())
    }

    fn continuation(&self, address: u64, length: u64) -> Outcome<Fields<'a>> {
        let mut block = Fields(self.file.at(address, length)?);
        if self.version == 1 {
            return Ok(block);
        }
        block.signature(b"OCHK", "continuation of an object header")?;
        let messages = block.left().checked_sub(4).ok_or_else(|| damaged("is truncated"))?;
        Ok(Fields(block.bytes(messages)?))
    }
}

/// The links of an old group: a tree of symbol table nodes, and a heap of names.
fn symbol_table(file: Bytes<'_>, mut fields: Fields<'_>, links: &mut Vec<(String, u64)>) -> Outcome<()> {
    let (tree, heap) = (fields.u64()?, fields.u64()?);
    let mut heap = file.from(heap)?;
    heap.signature(b"HEAP", "heap of names")?;
    heap.skip(4)?;
    let size = heap.u64()?;
    heap.skip(8)?;
    let names = Bytes(file.at(heap.u64()?, size)?);
    symbols_below(file, names, tree, MOST_LEVELS, links)
}

fn symbols_below(
    file: Bytes<'_>,
    names: Bytes<'_>,
    address: u64,
    below: u8,
    links: &mut Vec<(String, u64)>,
) -> Outcome<()> {
    let mut node = file.from(address)?;
    node.signature(b"TREE", "tree of a group")?;
    let (kind, level, used) = (node.u8()?, node.u8()?, node.u16()?);
    if kind != 0 || level >= below {
        return Err(damaged("has a tree of a group that is none"));
    }
    node.skip(2 * 8)?;
    for _ in 0..used {
        node.skip(8)?;
        let child = node.u64()?;
        let before = links.len();
        if level == 0 {
            symbols(file, names, child, links)?;
        } else {
            symbols_below(file, names, child, level, links)?;
        }
        // A node that adds nothing could be met without end.
        if links.len() == before || links.len() > MOST_LINKS {
            return Err(damaged("has a tree of a group without end"));
        }
    }
    Ok(())
}

fn symbols(file: Bytes<'_>, names: Bytes<'_>, address: u64, links: &mut Vec<(String, u64)>) -> Outcome<()> {
    let mut node = file.from(address)?;
    node.signature(b"SNOD", "symbol table")?;
    node.skip(2)?;
    for _ in 0..node.u16()? {
        let name = names.from(node.u64()?)?.0;
        let length =
            name.iter().position(|&byte| byte == 0).ok_or_else(|| damaged("has a name without end"))?;
        links.push((String::from_utf8_lossy(&name[..length]).into_owned(), node.u64()?));
        node.skip(4 + 4 + 16)?;
    }
    Ok(())
}

/// A link of a new group, if it is one to an object of this file.
fn link(mut fields: Fields<'_>) -> Outcome<Option<(String, u64)>> {
    fields.skip(1)?;
    let flags = fields.u8()?;
    let kind = if flags & 1 << 3 != 0 { fields.u8()? } else { 0 };
    let order = if flags & 1 << 2 != 0 { 8 } else { 0 };
    let charset = if flags & 1 << 4 != 0 { 1 } else { 0 };
    fields.skip(order + charset)?;
    let length = fields.number(1 << (flags & 3))?;
    let length = usize::try_from(length).map_err(|_| damaged("has a name without end"))?;
    let name = String::from_utf8_lossy(fields.bytes(length)?).into_owned();
    if kind == 0 { Ok(Some((name, fields.u64()?))) } else { Ok(None) }
}

fn refuse_dense_links(mut fields: Fields<'_>) -> Outcome<()> {
    fields.skip(1)?;
    let flags = fields.u8()?;
    fields.skip(if flags & 1 != 0 { 8 } else { 0 })?;
    if fields.u64()? == UNDEFINED { Ok(()) } else { Err(unsupported("has many objects in its root group")) }
}
