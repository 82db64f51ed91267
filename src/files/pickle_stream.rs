//! Numbers and texts in the byte stream of a pickle, each read once and within bounds.

use super::whole_file::quoted;

/// What an instruction yields; the error is a sentence about "its pickle".
pub(super) type Step<T = ()> = Result<T, String>;

/// The part of a pickle that is still to be read.
pub(super) struct PickleStream<'a> {
    rest: &'a [u8],
    /// An instruction asked for more than there was.
    cut_short: bool,
}

impl<'a> PickleStream<'a> {
    /// Begins at the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, cut_short: false }
    }

    /// Number of bytes that are left.
    pub fn left(&self) -> usize {
        self.rest.len()
    }

    /// Whether an instruction asked for more bytes than there were.
    pub fn is_cut_short(&self) -> bool {
        self.cut_short
    }

    fn truncated(&mut self) -> String {
        self.cut_short = true;
        "its pickle is truncated".to_owned()
    }

    /// The next `count` bytes.
    pub fn bytes(&mut self, count: usize) -> Step<&'a [u8]> {
        let Some((bytes, rest)) = self.rest.split_at_checked(count) else {
            return Err(self.truncated());
        };
        self.rest = rest;
        Ok(bytes)
    }

    /// The next byte.
    pub fn byte(&mut self) -> Step<u8> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Step<[u8; N]> {
        self.bytes(N)?.try_into().map_err(|_| "its pickle is truncated".to_owned())
    }

    /// Bytes behind their own number, which takes `width` bytes.
    pub fn counted(&mut self, width: usize) -> Step<&'a [u8]> {
        let count = self.bytes(width)?.iter().rev().fold(0_u64, |count, &byte| count << 8 | u64::from(byte));
        self.bytes(usize::try_from(count).unwrap_or(usize::MAX))
    }

    /// UTF-8 behind its length in bytes, which takes `width` bytes.
    pub fn text(&mut self, width: usize) -> Step<String> {
        match std::str::from_utf8(self.counted(width)?) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err("its pickle holds text that is not UTF-8".into()),
        }
    }

    /// An integer, little-endian, two's complement; `None` for one of more than 8 bytes.
    pub fn long(&mut self) -> Step<Option<i64>> {
        let bytes = self.counted(1)?;
        if bytes.len() > 8 {
            return Ok(None);
        }
        let sign = if bytes.last().is_some_and(|&byte| byte >= 0x80) { 0xff } else { 0 };
        Ok(Some(i64::from_le_bytes(std::array::from_fn(|index| bytes.get(index).copied().unwrap_or(sign)))))
    }

    /// Text up to the end of the line.
    pub fn line(&mut self) -> Step<String> {
        let Some(end) = self.rest.iter().position(|&byte| byte == b'\n') else {
            return Err(self.truncated());
        };
        let line = self.bytes(end)?;
        self.bytes(1)?;
        match std::str::from_utf8(line) {
            Ok(line) => Ok(line.to_owned()),
            Err(_) => Err("its pickle holds text that is not UTF-8".into()),
        }
    }
}

/// A number out of text.
pub(super) fn parsed<T: std::str::FromStr>(text: &str) -> Step<T> {
    text.parse().map_err(|_| format!("its pickle holds {} in place of a number", quoted(text)))
}

/// Text in which nothing is escaped; no name, type or number needs an escape.
pub(super) fn plain(text: String) -> Step<String> {
    if text.contains('\\') { Err("its pickle holds text with escapes".into()) } else { Ok(text) }
}

/// What stands between the quotes of a text literal.
pub(super) fn unquoted(text: &str) -> Step<String> {
    let inner = ['\'', '"'].iter().find_map(|&quote| text.strip_prefix(quote)?.strip_suffix(quote));
    plain(inner.ok_or("its pickle holds a malformed text")?.to_owned())
}
