//! Reads the pickles that NumPy object arrays hold, without executing anything.
//!
//! A pickle is a program for a stack machine that may name any Python function and call it. This interpreter knows
//! the instructions that build numbers, texts, tuples, lists and dicts, and five names of NumPy that it takes for
//! mere marks; whatever else a pickle contains is refused by name. Nothing is looked up, imported or called.
//!
//! Values live in a list and refer to each other by index: a value that is mentioned a million times is stored once,
//! deep nesting costs no stack, and circular references are harmless. Time and memory are linear in the length of
//! the pickle, which the caller bounds. (The serde-pickle crate reads such files too, but accepts every name
//! silently and overflows the stack on nested tuples.)
//! Instructions: Python's Lib/pickletools.py, protocols 0 to 5.

use std::collections::BTreeMap;

use super::pickle_stream::{PickleStream, Step, parsed, plain, unquoted};

/// Longest pickle in bytes. 255 classes take 30 KB in the wordiest protocol.
pub(super) const LONGEST: usize = 1 << 18;
/// Longest text or number that is ever copied; longer ones are no part of a NumPy type or number.
const LONGEST_COPY: usize = 16;

/// Index of a value.
pub(super) type Id = usize;

/// A value of the stack machine.
#[derive(Clone, Debug)]
pub(super) enum Value {
    None,
    Bool,
    Int(i64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// A name that stands for itself.
    Name(Name),
    /// NumPy's description of an element type.
    ElementType {
        code: String,
        big_endian: bool,
    },
    /// An array; its state, once it has been set, is the tuple (version, shape, type, order, elements).
    Array(Option<Id>),
}

/// The Python names that are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// `numpy.core.multiarray._reconstruct`: an empty array, whose state follows.
    Reconstruct,
    /// `numpy.core.multiarray.scalar`: a NumPy number.
    Scalar,
    /// `numpy.ndarray`.
    Array,
    /// `numpy.dtype`.
    ElementType,
    /// `_codecs.encode`: how protocols 0 to 2 spell bytes.
    Encode,
}

impl Name {
    fn of(module: &str, name: &str) -> Result<Self, String> {
        Ok(match (module, name) {
            ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => Self::Reconstruct,
            ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar") => Self::Scalar,
            ("numpy", "ndarray") => Self::Array,
            ("numpy", "dtype") => Self::ElementType,
            ("_codecs", "encode") => Self::Encode,
            _ => {
                let name = super::whole_file::quoted(&format!("{module}.{name}"));
                return Err(format!("its pickle refers to the Python object {name}"));
            }
        })
    }
}

/// What a pickle built.
pub(super) struct Unpickled {
    values: Vec<Value>,
    root: Id,
}

impl Unpickled {
    /// The outermost value.
    pub fn root(&self) -> &Value {
        self.get(self.root)
    }

    /// The value that another one refers to.
    pub fn get(&self, id: Id) -> &Value {
        self.values.get(id).unwrap_or(&Value::None)
    }
}

/// Runs a pickle. The error says what in it is not understood, as a sentence about "its pickle".
pub(super) fn unpickle(bytes: &[u8]) -> Result<Unpickled, String> {
    if bytes.len() > LONGEST {
        return Err(format!("its pickle is {} bytes long, more than {LONGEST}", bytes.len()));
    }
    let mut machine = Machine {
        input: PickleStream::new(bytes),
        values: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: BTreeMap::new(),
    };
    while machine.step()? {}
    match (machine.stack.as_slice(), machine.marks.as_slice(), machine.input.is_at_end()) {
        (&[root], [], true) => Ok(Unpickled { values: machine.values, root }),
        _ => Err("its pickle does not end with exactly one value".into()),
    }
}

struct Machine<'a> {
    input: PickleStream<'a>,
    values: Vec<Value>,
    stack: Vec<Id>,
    /// Heights of the stack at which a sequence began.
    marks: Vec<usize>,
    memo: BTreeMap<u64, Id>,
}

impl Machine<'_> {
    /// Executes one instruction; false after the last.
    fn step(&mut self) -> Step<bool> {
        let code = self.input.byte()?;
        match code {
            b'.' => return Ok(false),
            0x80 => match self.input.byte()? {
                0..=5 => {}
                version => return Err(format!("its pickle has protocol {version}, which is newer than 5")),
            },
            // The length of a frame is a hint for buffering.
            0x95 => drop(self.input.bytes(8)?),
            b'(' => self.marks.push(self.stack.len()),
            b'c' => {
                let (module, name) = (self.input.line()?, self.input.line()?);
                self.push(Value::Name(Name::of(&module, &name)?));
            }
            0x93 => {
                let (name, module) = (self.pop_text()?, self.pop_text()?);
                self.push(Value::Name(Name::of(&module, &name)?));
            }
            b'p' | b'q' | b'r' | 0x94 => self.memorise(code)?,
            b'g' | b'h' | b'j' => self.recall(code)?,
            b'R' => self.reduce()?,
            b'b' => self.build()?,
            b')' | b't' | 0x85..=0x87 | b']' | b'l' | b'a' | b'e' | b'}' | b'd' | b's' | b'u' => {
                self.collect(code)?
            }
            _ => {
                let value = self.literal(code)?;
                self.push(value);
            }
        }
        Ok(true)
    }

    /// An instruction that holds a value of its own.
    fn literal(&mut self, code: u8) -> Step<Value> {
        Ok(match code {
            b'N' => Value::None,
            0x88 | 0x89 => Value::Bool,
            b'I' => match self.input.line()?.as_str() {
                "00" | "01" => Value::Bool,
                number => Value::Int(parsed(number)?),
            },
            b'L' => Value::Int(parsed(self.input.line()?.trim_end_matches('L'))?),
            b'J' => Value::Int(i64::from(i32::from_le_bytes(self.input.array()?))),
            b'K' => Value::Int(i64::from(self.input.byte()?)),
            b'M' => Value::Int(i64::from(u16::from_le_bytes(self.input.array()?))),
            0x8a => Value::Int(self.input.long()?),
            b'F' => Value::Float(parsed(&self.input.line()?)?),
            b'G' => Value::Float(f64::from_be_bytes(self.input.array()?)),
            b'V' => Value::Text(plain(self.input.line()?)?),
            // What Python 2 called a string may be text or bytes; where it occurs in these files, text serves.
            b'S' => Value::Text(unquoted(&self.input.line()?)?),
            b'X' | b'T' => Value::Text(self.input.text(4)?),
            0x8c | b'U' => Value::Text(self.input.text(1)?),
            0x8d => Value::Text(self.input.text(8)?),
            b'C' => Value::Bytes(self.input.counted(1)?.to_vec()),
            b'B' => Value::Bytes(self.input.counted(4)?.to_vec()),
            0x8e => Value::Bytes(self.input.counted(8)?.to_vec()),
            _ => return Err(format!("its pickle holds the instruction {}", described(code))),
        })
    }

    fn memorise(&mut self, code: u8) -> Step {
        let key = match code {
            b'p' => parsed(&self.input.line()?)?,
            b'q' => u64::from(self.input.byte()?),
            b'r' => u64::from(u32::from_le_bytes(self.input.array()?)),
            _ => self.memo.len() as u64,
        };
        let &top = self.stack.last().ok_or_else(underflow)?;
        self.memo.insert(key, top);
        Ok(())
    }

    fn recall(&mut self, code: u8) -> Step {
        let key: u64 = match code {
            b'g' => parsed(&self.input.line()?)?,
            b'h' => u64::from(self.input.byte()?),
            _ => u64::from(u32::from_le_bytes(self.input.array()?)),
        };
        let id = self
            .memo
            .get(&key)
            .ok_or_else(|| format!("its pickle recalls value {key}, which it never made"))?;
        self.stack.push(*id);
        Ok(())
    }

    /// Tuples, lists and dicts.
    fn collect(&mut self, code: u8) -> Step {
        match code {
            b')' => self.push(Value::Tuple(Vec::new())),
            b']' => self.push(Value::List(Vec::new())),
            b'}' => self.push(Value::Dict(Vec::new())),
            b't' => {
                let items = self.pop_to_mark()?;
                self.push(Value::Tuple(items));
            }
            0x85..=0x87 => {
                let items = self.pop_many(usize::from(code - 0x84))?;
                self.push(Value::Tuple(items));
            }
            b'l' => {
                let items = self.pop_to_mark()?;
                self.push(Value::List(items));
            }
            b'd' => {
                let pairs = in_pairs(&self.pop_to_mark()?)?;
                self.push(Value::Dict(pairs));
            }
            b'a' | b'e' => {
                let items = if code == b'a' { vec![self.pop()?] } else { self.pop_to_mark()? };
                match self.top()? {
                    Value::List(list) => list.extend(items),
                    _ => return Err("its pickle appends to something that is no list".into()),
                }
            }
            _ => {
                let items = if code == b's' { self.pop_many(2)? } else { self.pop_to_mark()? };
                let pairs = in_pairs(&items)?;
                match self.top()? {
                    Value::Dict(dict) => dict.extend(pairs),
                    _ => return Err("its pickle sets items of something that is no dict".into()),
                }
            }
        }
        Ok(())
    }

    /// "Call a function": only what the five names mean is done.
    fn reduce(&mut self) -> Step {
        let arguments = self.pop()?;
        let function = self.pop()?;
        let value = match (&self.values[function], &self.values[arguments]) {
            (Value::Name(Name::Reconstruct), Value::Tuple(_)) => Value::Array(None),
            (Value::Name(Name::ElementType), Value::Tuple(items)) => {
                match items.first().map(|&id| &self.values[id]) {
                    Some(Value::Text(code)) if code.len() <= LONGEST_COPY => {
                        Value::ElementType { code: code.clone(), big_endian: false }
                    }
                    _ => return Err("its pickle describes an unknown NumPy type".into()),
                }
            }
            (Value::Name(Name::Scalar), Value::Tuple(items)) => match items.as_slice() {
                &[element, number] => scalar(&self.values[element], &self.values[number])?,
                _ => return Err("its pickle holds a malformed NumPy number".into()),
            },
            (Value::Name(Name::Encode), Value::Tuple(items)) => {
                match items.first().map(|&id| &self.values[id]) {
                    Some(Value::Text(text)) if text.len() <= LONGEST_COPY => Value::Bytes(latin1(text)?),
                    _ => return Err("its pickle encodes something that is no short text".into()),
                }
            }
            _ => return Err("its pickle calls something that is no known function".into()),
        };
        self.push(value);
        Ok(())
    }

    /// "Set the state of an object": of an array or of an element type.
    fn build(&mut self) -> Step {
        let state = self.pop()?;
        let big_endian = match &self.values[state] {
            Value::Tuple(items) => {
                matches!(items.get(1).map(|&id| &self.values[id]), Some(Value::Text(order)) if order == ">")
            }
            _ => return Err("its pickle sets a state that is no tuple".into()),
        };
        match self.top()? {
            Value::Array(array) => *array = Some(state),
            Value::ElementType { big_endian: order, .. } => *order = big_endian,
            _ => return Err("its pickle sets the state of an unknown object".into()),
        }
        Ok(())
    }

    fn push(&mut self, value: Value) {
        self.stack.push(self.values.len());
        self.values.push(value);
    }

    /// Values below the last mark belong to an unfinished sequence and are out of reach.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Step<Id> {
        if self.stack.len() <= self.floor() {
            return Err(underflow());
        }
        self.stack.pop().ok_or_else(underflow)
    }

    fn pop_many(&mut self, count: usize) -> Step<Vec<Id>> {
        let start = self.stack.len().checked_sub(count).filter(|&start| start >= self.floor());
        Ok(self.stack.split_off(start.ok_or_else(underflow)?))
    }

    fn pop_to_mark(&mut self) -> Step<Vec<Id>> {
        let mark = self.marks.pop().ok_or_else(underflow)?;
        Ok(self.stack.split_off(mark))
    }

    fn pop_text(&mut self) -> Step<String> {
        let id = self.pop()?;
        match &self.values[id] {
            Value::Text(text) => Ok(text.clone()),
            _ => Err("its pickle names an object by something that is no text".into()),
        }
    }

    fn top(&mut self) -> Step<&mut Value> {
        let above_mark = self.stack.len() > self.floor();
        let id = self.stack.last().filter(|_| above_mark).ok_or_else(underflow)?;
        self.values.get_mut(*id).ok_or_else(underflow)
    }
}

fn underflow() -> String {
    "its pickle uses a value that it never made".into()
}

fn latin1(text: &str) -> Step<Vec<u8>> {
    let bytes: Result<_, _> = text.chars().map(|letter| u8::try_from(u32::from(letter))).collect();
    bytes.map_err(|_| "its pickle encodes letters that are no bytes".into())
}

fn in_pairs(items: &[Id]) -> Step<Vec<(Id, Id)>> {
    let (pairs, odd) = items.as_chunks();
    if !odd.is_empty() {
        return Err("its pickle holds a dict with a key that has no value".into());
    }
    Ok(pairs.iter().map(|&[key, value]| (key, value)).collect())
}

/// A NumPy number from its type and its bytes.
fn scalar(element: &Value, number: &Value) -> Step<Value> {
    let unknown = || "its pickle holds a NumPy number of an unknown type".to_owned();
    let (Value::ElementType { code, big_endian }, Value::Bytes(bytes)) = (element, number) else {
        return Err(unknown());
    };
    if bytes.len() > LONGEST_COPY {
        return Err(unknown());
    }
    let mut bytes = bytes.clone();
    if *big_endian {
        bytes.reverse();
    }
    match (code.as_str(), bytes.as_slice()) {
        ("f8", &[a, b, c, d, e, f, g, h]) => Ok(Value::Float(f64::from_le_bytes([a, b, c, d, e, f, g, h]))),
        ("f4", &[a, b, c, d]) => Ok(Value::Float(f32::from_le_bytes([a, b, c, d]).into())),
        ("f2", &[a, b]) => Ok(Value::Float(half::f16::from_le_bytes([a, b]).into())),
        ("i8", &[a, b, c, d, e, f, g, h]) => Ok(Value::Int(i64::from_le_bytes([a, b, c, d, e, f, g, h]))),
        ("i4", &[a, b, c, d]) => Ok(Value::Int(i32::from_le_bytes([a, b, c, d]).into())),
        ("u1", &[a]) => Ok(Value::Int(a.into())),
        _ => Err(unknown()),
    }
}

/// An instruction by its name, for those that a hostile or foreign pickle most likely holds.
fn described(code: u8) -> String {
    let name = match code {
        b'i' => "INST",
        b'o' => "OBJ",
        0x81 => "NEWOBJ",
        0x92 => "NEWOBJ_EX",
        b'P' => "PERSID",
        b'Q' => "BINPERSID",
        0x82..=0x84 => "EXT",
        0x8b => "LONG4",
        0x8f | 0x90 => "a set",
        0x91 => "FROZENSET",
        0x96 => "BYTEARRAY8",
        0x97 | 0x98 => "an out-of-band buffer",
        b'0' => "POP",
        b'1' => "POP_MARK",
        b'2' => "DUP",
        _ => return format!("{code:#04x}"),
    };
    format!("{name} ({code:#04x})")
}
