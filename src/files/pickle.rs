//! Reads the pickles that NumPy object arrays and PyTorch checkpoints hold, without executing anything.
//!
//! A pickle is a program for a stack machine that may name any Python function and call it. This interpreter knows
//! the instructions that build numbers, texts, tuples, lists and dicts, and a few names of NumPy or PyTorch that it takes
//! for mere marks ([`super::pickle_names`]); whatever else a pickle contains is refused by name. Nothing is looked up,
//! imported or called.
//!
//! Values live in a list and refer to each other by index: a value that is mentioned a million times is stored once,
//! deep nesting costs no stack, and circular references are harmless. Time and memory are linear in the length of
//! the pickle, which the caller bounds. (The serde-pickle crate reads such files too, but accepts every name
//! silently and overflows the stack on nested tuples.)
//! Instructions: Python's Lib/pickletools.py, protocols 0 to 5.

use std::collections::BTreeMap;

use super::pickle_names::{Name, Vocabulary, call};
use super::pickle_stream::{PickleStream, Step, parsed, plain, unquoted};
use super::whole_file::quoted;

/// Longest name of a Python object.
const LONGEST_NAME: usize = 100;

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
    /// A dict made of a list of pairs.
    Pairs(Id),
    /// A tensor: the tuple (storage, offset, shape, strides, ...).
    Tensor(Id),
    /// Something that is known to hold nothing of interest: an integer of more than 64 bits, a complex number.
    Opaque,
    /// Something outside the pickle: for PyTorch the tuple ("storage", type, key, device, elements, ...).
    Outside(Id),
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

    /// All values.
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// The value that another one refers to.
    pub fn get(&self, id: Id) -> &Value {
        self.values.get(id).unwrap_or(&Value::None)
    }
}

/// Runs a pickle that takes all of `bytes`. The error says what in it is not understood, as a sentence about "its pickle".
pub(super) fn unpickle(bytes: &[u8], vocabulary: Vocabulary) -> Result<Unpickled, String> {
    match unpickle_first(bytes, vocabulary)? {
        (unpickled, length) if length == bytes.len() => Ok(unpickled),
        _ => Err(NOT_ONE_VALUE.into()),
    }
}

const NOT_ONE_VALUE: &str = "its pickle does not end with exactly one value";

/// Runs the pickle that `bytes` begin with; tells its length, too.
pub(super) fn unpickle_first(bytes: &[u8], vocabulary: Vocabulary) -> Result<(Unpickled, usize), String> {
    let longest = vocabulary.longest_pickle();
    let within = bytes.get(..longest).unwrap_or(bytes);
    let mut machine = Machine {
        input: PickleStream::new(within),
        vocabulary,
        values: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: BTreeMap::new(),
    };
    loop {
        match machine.step() {
            Ok(true) => {}
            Ok(false) => break,
            Err(_) if machine.input.is_cut_short() && within.len() < bytes.len() => {
                return Err(format!("its pickle is more than {longest} bytes long"));
            }
            Err(problem) => return Err(problem),
        }
    }
    match (machine.stack.as_slice(), machine.marks.as_slice()) {
        (&[root], []) => {
            let length = within.len() - machine.input.left();
            Ok((Unpickled { values: machine.values, root }, length))
        }
        _ => Err(NOT_ONE_VALUE.into()),
    }
}

/// What a call leaves on the stack.
pub(super) enum Called {
    /// A value of its own.
    New(Value),
    /// One that was there before.
    Old(Id),
}

struct Machine<'a> {
    input: PickleStream<'a>,
    vocabulary: Vocabulary,
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
                self.push(Value::Name(self.vocabulary.name(&module, &name)?));
            }
            0x93 => {
                let (name, module) = (self.pop_name()?, self.pop_name()?);
                self.push(Value::Name(self.vocabulary.name(&module, &name)?));
            }
            b'p' | b'q' | b'r' | 0x94 => self.memorise(code)?,
            b'g' | b'h' | b'j' => self.recall(code)?,
            b'R' => self.reduce()?,
            // Making an object is calling its type.
            0x81 if self.vocabulary == Vocabulary::Torch => self.reduce()?,
            b'b' => self.build()?,
            b'Q' if self.vocabulary == Vocabulary::Torch => {
                let id = self.pop()?;
                self.push(Value::Outside(id));
            }
            b')'
            | b't'
            | 0x85..=0x87
            | b']'
            | b'l'
            | b'a'
            | b'e'
            | b'}'
            | b'd'
            | b's'
            | b'u'
            | 0x8f..=0x91 => self.collect(code)?,
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
            0x8a => self.input.long()?.map_or(Value::Opaque, Value::Int),
            b'F' => Value::Float(parsed(&self.input.line()?)?),
            b'G' => Value::Float(f64::from_be_bytes(self.input.array()?)),
            b'V' => Value::Text(plain(self.input.line()?)?),
            b'S' => Value::Text(unquoted(&self.input.line()?)?),
            b'T' => string(self.input.counted(4)?),
            b'U' => string(self.input.counted(1)?),
            b'X' => Value::Text(self.input.text(4)?),
            0x8c => Value::Text(self.input.text(1)?),
            0x8d => Value::Text(self.input.text(8)?),
            b'C' => Value::Bytes(self.input.counted(1)?.to_vec()),
            b'B' => Value::Bytes(self.input.counted(4)?.to_vec()),
            0x8e | 0x96 => Value::Bytes(self.input.counted(8)?.to_vec()),
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

    /// Tuples, lists and dicts; sets, as lists.
    fn collect(&mut self, code: u8) -> Step {
        match code {
            b')' => self.push(Value::Tuple(Vec::new())),
            b']' | 0x8f => self.push(Value::List(Vec::new())),
            b'}' => self.push(Value::Dict(Vec::new())),
            b't' => {
                let items = self.pop_to_mark()?;
                self.push(Value::Tuple(items));
            }
            0x85..=0x87 => {
                let items = self.pop_many(usize::from(code - 0x84))?;
                self.push(Value::Tuple(items));
            }
            b'l' | 0x91 => {
                let items = self.pop_to_mark()?;
                self.push(Value::List(items));
            }
            b'd' => {
                let pairs = in_pairs(&self.pop_to_mark()?)?;
                self.push(Value::Dict(pairs));
            }
            b'a' | b'e' | 0x90 => {
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

    /// "Call a function": only what the known names mean is done.
    fn reduce(&mut self) -> Step {
        let arguments = self.pop()?;
        let function = self.pop()?;
        match (&self.values[function], &self.values[arguments]) {
            (&Value::Name(name), Value::Tuple(items)) => {
                match call(name, arguments, items, &self.values, self.vocabulary)? {
                    Called::New(value) => self.push(value),
                    Called::Old(id) => self.stack.push(id),
                }
            }
            _ => return Err("its pickle calls something that is no known function".into()),
        }
        Ok(())
    }

    /// "Set the state of an object": of an array or of an element type. In a checkpoint every state is dropped: the notes that
    /// PyTorch attaches to a dict of parameters, the attributes of a `Namespace`, NumPy's arrays.
    fn build(&mut self) -> Step {
        let state = self.pop()?;
        let is_torch = self.vocabulary == Vocabulary::Torch;
        if is_torch && matches!(self.top()?, Value::Dict(_) | Value::Pairs(_) | Value::Opaque) {
            return Ok(());
        }
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

    fn pop_name(&mut self) -> Step<String> {
        let id = self.pop()?;
        match &self.values[id] {
            Value::Text(text) if text.len() <= LONGEST_NAME => Ok(text.clone()),
            Value::Text(text) => Err(format!("its pickle refers to the Python object {}", quoted(text))),
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

/// What Python 2 called a string may be text or bytes.
fn string(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::Text(text.to_owned()),
        Err(_) => Value::Bytes(bytes.to_vec()),
    }
}

fn in_pairs(items: &[Id]) -> Step<Vec<(Id, Id)>> {
    let (pairs, odd) = items.as_chunks();
    if !odd.is_empty() {
        return Err("its pickle holds a dict with a key that has no value".into());
    }
    Ok(pairs.iter().map(|&[key, value]| (key, value)).collect())
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
        0x97 | 0x98 => "an out-of-band buffer",
        b'0' => "POP",
        b'1' => "POP_MARK",
        b'2' => "DUP",
        _ => return format!("{code:#04x}"),
    };
    format!("{name} ({code:#04x})")
}
