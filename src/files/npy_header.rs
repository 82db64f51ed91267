//! Headers of NumPy's .npy format.
//!
//! A .npy file is the magic `\x93NUMPY`, a version, the length of a header, the header (a Python dict literal with
//! exactly the keys `descr`, `fortran_order` and `shape`) and the elements. The header is read by the small parser
//! below, which does nothing but walk once over at most [`LONGEST_HEADER`] bytes. General parsers of Python literals
//! are no match for a hostile header: the one behind the npyz crate takes twice as long for each nested bracket
//! (minutes for a header of 100 bytes), allocates what a 32-bit length field says, and multiplies the shape without
//! a check. Format: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.

use std::io::{self, Read};

use super::whole_file::{Place, quoted};
use crate::{Error, Result};

/// NumPy refuses longer headers itself unless it is told to trust the file.
const LONGEST_HEADER: usize = 10_000;
/// NumPy has no arrays of more axes.
const MOST_AXES: usize = 64;
pub(super) const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// Element type as the header spells it: byte order, kind and size in bytes (`<f4`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NpyType {
    pub big_endian: bool,
    /// NumPy's letter: `f` float, `i` and `u` integers, `b` bool, `O` objects, `V` raw bytes, …
    pub kind: char,
    /// Bytes an element; 0 for objects.
    pub size: usize,
}

impl std::fmt::Display for NpyType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bits = self.size.saturating_mul(8);
        match self.kind {
            'f' => write!(f, "float{bits}"),
            'i' => write!(f, "int{bits}"),
            'u' => write!(f, "uint{bits}"),
            'c' => write!(f, "complex{bits}"),
            'b' => f.write_str("bool"),
            'O' => f.write_str("Python objects (pickled)"),
            'S' | 'a' | 'U' => f.write_str("text"),
            'M' | 'm' => f.write_str("dates or times"),
            // NumPy knows no bfloat16; ml_dtypes and others save it so.
            'V' if self.size == 2 => {
                f.write_str("raw 2-byte items (bfloat16 belongs in a .safetensors file)")
            }
            _ => f.write_str("raw bytes"),
        }
    }
}

/// What a .npy header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub element: NpyType,
    /// The first axis is the fastest in memory.
    pub fortran_order: bool,
    pub shape: Vec<usize>,
    /// Bytes from the start of the file to the first element.
    pub data_start: u64,
}

impl Header {
    /// Reads the header; `reader` then stands at the first element.
    pub fn read(place: Place<'_>, reader: &mut impl Read) -> Result<Self> {
        let not_npy = || place.error("does not begin with NumPy's magic", "a .npy array");
        let mut start = [0; 8];
        read_or(reader, &mut start, place, not_npy)?;
        if !start.starts_with(MAGIC) {
            return Err(not_npy());
        }
        let cut = || place.error("is truncated within its header", "a whole .npy array");
        let (length, before) = match (start[6], start[7]) {
            (1, 0) => {
                let mut length = [0; 2];
                read_or(reader, &mut length, place, cut)?;
                (usize::from(u16::from_le_bytes(length)), 10)
            }
            (2 | 3, 0) => {
                let mut length = [0; 4];
                read_or(reader, &mut length, place, cut)?;
                (usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX), 12)
            }
            (major, minor) => {
                return Err(place.error(format!("is .npy format {major}.{minor}"), "format 1.0, 2.0 or 3.0"));
            }
        };
        if length > LONGEST_HEADER {
            let expected = format!("at most {LONGEST_HEADER} bytes, as NumPy does");
            return Err(place.error(format!("declares a header of {length} bytes"), expected));
        }
        let mut text = vec![0; length];
        read_or(reader, &mut text, place, cut)?;
        let parsed = HeaderText { rest: &text }.parse();
        let (element, fortran_order, shape) =
            parsed.map_err(|(problem, expected)| place.error(problem, expected))?;
        Ok(Self { element, fortran_order, shape, data_start: before + length as u64 })
    }

    /// Number of elements, and their size in bytes; `None` when that is beyond any memory.
    pub fn extent(&self) -> Option<(usize, u64)> {
        let count = self.shape.iter().try_fold(1_usize, |product, &axis| product.checked_mul(axis))?;
        let bytes = (count as u64).checked_mul(self.element.size as u64)?;
        Some((count, bytes))
    }

    /// Checks the shape against the `actual` number of bytes behind the header; tells the number of elements.
    pub fn check_size(&self, place: Place<'_>, actual: u64) -> Result<usize> {
        let shape = shape_text(&self.shape);
        let Some((count, bytes)) = self.extent() else {
            return Err(place
                .error(format!("declares the impossible shape {shape}"), format!("{actual} bytes of data")));
        };
        if bytes != actual {
            let what = if actual < bytes { "is truncated" } else { "is longer than its header says" };
            let problem = format!(
                "{what}: {actual} bytes of data behind a header of shape {shape} and {}",
                self.element
            );
            return Err(place.error(problem, format!("{bytes} bytes")));
        }
        Ok(count)
    }
}

fn read_or(
    reader: &mut impl Read,
    buffer: &mut [u8],
    place: Place<'_>,
    cut: impl Fn() -> Error,
) -> Result<()> {
    reader.read_exact(buffer).map_err(|source| match source.kind() {
        io::ErrorKind::UnexpectedEof => cut(),
        _ => place.read_error(source),
    })
}

/// A shape as Python prints it.
pub(super) fn shape_text(shape: &[usize]) -> String {
    match shape {
        [one] => format!("({one},)"),
        many => format!("({})", many.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    }
}

/// Problem and expectation, for [`Place::error`].
type Refusal = (String, &'static str);

/// The dict literal of a header: walked once from left to right, nothing nests.
struct HeaderText<'a> {
    rest: &'a [u8],
}

impl HeaderText<'_> {
    fn parse(mut self) -> Result<(NpyType, bool, Vec<usize>), Refusal> {
        let (mut element, mut fortran_order, mut shape) = (None, None, None);
        self.token(b'{')?;
        while !self.has(b'}') {
            let key = self.text()?;
            self.token(b':')?;
            let twice = match key.as_str() {
                "descr" => element.replace(self.element_type()?).is_some(),
                "fortran_order" => fortran_order.replace(self.boolean()?).is_some(),
                "shape" => shape.replace(self.shape()?).is_some(),
                _ => return Err(malformed(format!("has the unknown header key {}", quoted(&key)))),
            };
            if twice {
                return Err(malformed(format!("has the header key {} twice", quoted(&key))));
            }
            if !self.has(b',') {
                self.token(b'}')?;
                break;
            }
        }
        self.skip_space();
        match (element, fortran_order, shape, self.rest) {
            (Some(element), Some(fortran_order), Some(shape), []) => Ok((element, fortran_order, shape)),
            (_, _, _, []) => Err(malformed("lacks a header key".into())),
            _ => Err(malformed("has a malformed header".into())),
        }
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }

    /// Takes `byte` if it is next.
    fn has(&mut self, byte: u8) -> bool {
        self.skip_space();
        match self.rest.split_first() {
            Some((&first, rest)) if first == byte => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn token(&mut self, byte: u8) -> Result<(), Refusal> {
        if self.has(byte) { Ok(()) } else { Err(malformed("has a malformed header".into())) }
    }

    /// A string literal without escapes, which none of the three keys and no element type needs.
    fn text(&mut self) -> Result<String, Refusal> {
        let quote = if self.has(b'\'') {
            b'\''
        } else {
            self.token(b'"')?;
            b'"'
        };
        let ended = self.rest.iter().position(|&byte| byte == quote);
        let Some(end) = ended else { return Err(malformed("has a malformed header".into())) };
        let text = String::from_utf8_lossy(&self.rest[..end]).into_owned();
        self.rest = &self.rest[end + 1..];
        Ok(text)
    }

    fn boolean(&mut self) -> Result<bool, Refusal> {
        self.skip_space();
        for (word, value) in [(&b"True"[..], true), (b"False", false)] {
            if let Some(rest) = self.rest.strip_prefix(word) {
                self.rest = rest;
                return Ok(value);
            }
        }
        Err(malformed("has a malformed header".into()))
    }

    fn shape(&mut self) -> Result<Vec<usize>, Refusal> {
        let mut shape = Vec::new();
        self.token(b'(')?;
        while !self.has(b')') {
            if shape.len() == MOST_AXES {
                return Err(malformed(format!("has more than {MOST_AXES} axes")));
            }
            shape.push(self.number()?);
            if !self.has(b',') {
                self.token(b')')?;
                break;
            }
        }
        Ok(shape)
    }

    fn number(&mut self) -> Result<usize, Refusal> {
        self.skip_space();
        let digits = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (number, rest) = self.rest.split_at(digits);
        // Python 2 wrote long integers with this suffix.
        self.rest = rest.strip_prefix(b"L").unwrap_or(rest);
        let parsed = std::str::from_utf8(number).ok().and_then(|number| number.parse().ok());
        parsed.ok_or_else(|| {
            (
                String::from("has an axis whose length is no possible number"),
                "a shape such as (19, 1024, 2048)",
            )
        })
    }

    fn element_type(&mut self) -> Result<NpyType, Refusal> {
        self.skip_space();
        if self.rest.first() == Some(&b'[') {
            return Err(("holds structured records".into(), "an array of plain numbers"));
        }
        let text = self.text()?;
        let unknown =
            || (format!("has the unknown element type {}", quoted(&text)), "an array of plain numbers");
        let (big_endian, letters) = match text.as_bytes().split_first() {
            Some((b'>', letters)) => (true, letters),
            Some((b'<', letters)) => (false, letters),
            Some((b'|' | b'=', letters)) => (cfg!(target_endian = "big"), letters),
            _ => return Err(unknown()),
        };
        let Some((&kind, size)) = letters.split_first() else { return Err(unknown()) };
        // Dates carry their unit in brackets behind the size.
        let size = size.split(|&byte| byte == b'[').next().unwrap_or_default();
        let size = match (kind, std::str::from_utf8(size)) {
            (b'O', Ok(_)) => 0,
            (b'a'..=b'z' | b'A'..=b'Z', Ok(size)) => size.parse().map_err(|_| unknown())?,
            _ => return Err(unknown()),
        };
        Ok(NpyType { big_endian, kind: char::from(kind), size })
    }
}

fn malformed(problem: String) -> Refusal {
    (problem, "the header of a .npy array with descr, fortran_order and shape")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn header(text: &str) -> Result<Header> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend(u16::try_from(text.len()).unwrap().to_le_bytes());
        bytes.extend(text.as_bytes());
        Header::read(Place::file(Path::new("a.npy")), &mut &bytes[..])
    }

    #[test]
    fn headers_as_they_are_written_are_read() {
        let read = header("{'descr': '<f4', 'fortran_order': False, 'shape': (19, 4, 5), }   \n").unwrap();
        assert_eq!(read.shape, [19, 4, 5]);
        assert_eq!(read.element, NpyType { big_endian: false, kind: 'f', size: 4 });
        assert_eq!(read.extent(), Some((380, 1520)));
        let other = header(r#"{"shape":(7L,),"fortran_order":True,"descr":">i8"}"#).unwrap();
        assert_eq!((other.shape, other.fortran_order, other.element.big_endian), (vec![7], true, true));
        assert_eq!(header("{'descr': '|O', 'fortran_order': False, 'shape': ()}").unwrap().element.kind, 'O');
    }

    #[test]
    fn hostile_headers_are_refused_at_once() {
        let deep = format!("{{'descr': {}, 'shape': (1,)}}", "[".repeat(5000));
        for (text, reason) in [
            ("", "malformed"),
            ("{}", "lacks"),
            (deep.as_str(), "structured"),
            ("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", "structured"),
            ("{'descr': '<f4', 'fortran_order': False}", "lacks"),
            ("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': ()}", "twice"),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", "no possible number"),
            (
                "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999999,)}",
                "no possible number",
            ),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': ((((", "no possible number"),
            ("{'descr': 'f4', 'fortran_order': False, 'shape': ()}", "element type"),
            ("{'descr': '<f99999999999999999999', 'fortran_order': False, 'shape': ()}", "element type"),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} import os", "malformed"),
            ("{'descr': '<f4', 'fortran_order': 0, 'shape': (1,)}", "malformed"),
        ] {
            let error = header(text).unwrap_err().to_string();
            assert!(error.contains(reason) && error.lines().count() == 1, "{text:.60}: {error}");
        }
    }

    #[test]
    fn a_shape_that_overflows_is_no_panic() {
        let text = "{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999, 9999999999, 9)}";
        let error =
            header(text).unwrap().check_size(Place::file(Path::new("a.npy")), 4).unwrap_err().to_string();
        assert!(error.contains("impossible shape"), "{error}");
    }
}
