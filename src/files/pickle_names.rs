//! The Python names that a pickle may contain, and what calling them means here.
//!
//! A name is a mark: calling it yields a value of this reader, never an object of Python's. Which names are known depends
//! on what is read; all others are refused.

use super::checkpoint::StoredType;
use super::pickle::{Called, Id, Value};
use super::pickle_stream::Step;
use super::whole_file::quoted;

/// Longest text or number that is ever copied; longer ones are no part of a NumPy type or number.
const LONGEST_COPY: usize = 16;

/// Whose names a pickle may contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Vocabulary {
    /// NumPy's.
    Numpy,
    /// PyTorch's and NumPy's: checkpoints hold numbers of both.
    Torch,
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
    /// `collections.OrderedDict` and its kin: of a list of pairs, of a dict, or empty.
    Dict,
    /// `collections.defaultdict`: empty; its argument is the kind of its values.
    DefaultDict,
    /// `torch.Size`: a tuple.
    Size,
    /// `torch._utils._rebuild_tensor_v2`: a tensor out of a part of a storage.
    Tensor,
    /// `torch._utils._rebuild_parameter`: a tensor that is trained.
    Parameter,
    /// `torch.FloatStorage` and so on: the element type of a storage.
    Storage(StoredType),
    /// `argparse.Namespace` and its kin: attributes, which are dropped. Training scripts save their options so.
    Namespace,
    /// A type of Python's own whose values are containers: `builtins.set`, `collections.deque`.
    Container,
    /// Something without a meaning for tensors: a device, an element type by name, a complex number.
    Constant,
}

impl Vocabulary {
    /// Longest pickle in bytes. 255 classes take 30 KB in NumPy's wordiest form, a checkpoint of a network with its
    /// optimizer some hundred.
    pub fn longest_pickle(self) -> usize {
        match self {
            Self::Numpy => 1 << 18,
            Self::Torch => 1 << 23,
        }
    }

    /// The meaning of `module.name`; an error where it has none.
    pub fn name(self, module: &str, name: &str) -> Step<Name> {
        let known = match self {
            Self::Numpy => numpy_name(module, name),
            Self::Torch => numpy_name(module, name).or_else(|| torch_name(module, name)),
        };
        known.ok_or_else(|| {
            let name = quoted(&format!("{module}.{name}"));
            format!("its pickle refers to the Python object {name}")
        })
    }
}

fn numpy_name(module: &str, name: &str) -> Option<Name> {
    Some(match (module, name) {
        ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => Name::Reconstruct,
        ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar") => Name::Scalar,
        ("numpy", "ndarray") => Name::Array,
        ("numpy", "dtype") => Name::ElementType,
        ("_codecs", "encode") => Name::Encode,
        _ => return None,
    })
}

fn torch_name(module: &str, name: &str) -> Option<Name> {
    Some(match (module, name) {
        ("collections", "OrderedDict" | "Counter") | ("builtins" | "__builtin__", "dict") => Name::Dict,
        ("collections", "defaultdict") => Name::DefaultDict,
        ("torch", "Size") => Name::Size,
        ("torch", "device") => Name::Constant,
        ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Name::Tensor,
        ("torch._utils", "_rebuild_parameter") => Name::Parameter,
        ("builtins" | "__builtin__", "set" | "frozenset" | "list" | "tuple") | ("collections", "deque") => {
            Name::Container
        }
        ("builtins" | "__builtin__", _) if PLAIN_TYPES.contains(&name) => Name::Constant,
        ("numpy.core.numeric" | "numpy._core.numeric", "_frombuffer") => Name::Constant,
        ("argparse", "Namespace") | ("types", "SimpleNamespace") => Name::Namespace,
        ("torch", _) => match name.strip_suffix("Storage") {
            Some(element) => Name::Storage(storage_type(element)?),
            None if ELEMENT_TYPES.contains(&name) => Name::Constant,
            None => return None,
        },
        _ => return None,
    })
}

/// PyTorch's element types, as attributes of its module.
const ELEMENT_TYPES: [&str; 14] = [
    "float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool",
    "double", "float", "half", "long",
];

/// Python's own types whose values hold nothing else, Python 2's among them, by whose names older protocols call them.
const PLAIN_TYPES: [&str; 12] = [
    "int",
    "long",
    "float",
    "bool",
    "str",
    "unicode",
    "bytes",
    "bytearray",
    "complex",
    "range",
    "xrange",
    "slice",
];

fn storage_type(element: &str) -> Option<StoredType> {
    use safetensors::Dtype;
    let element = match element {
        "Double" => Dtype::F64,
        "Float" => Dtype::F32,
        "Half" => Dtype::F16,
        "BFloat16" => Dtype::BF16,
        "Long" => Dtype::I64,
        "Int" => Dtype::I32,
        "Short" => Dtype::I16,
        "Char" => Dtype::I8,
        "Byte" => Dtype::U8,
        "Bool" => Dtype::BOOL,
        _ => return None,
    };
    Some(StoredType(element))
}

/// What calling `name` with the tuple `arguments`, whose `items` are given, yields.
///
/// NumPy's objects in a checkpoint are never looked into, so those of any type will do there.
pub(super) fn call(
    name: Name,
    arguments: Id,
    items: &[Id],
    values: &[Value],
    vocabulary: Vocabulary,
) -> Step<Called> {
    let first = items.first().map(|&id| &values[id]);
    let of_numpy = matches!(name, Name::Reconstruct | Name::Scalar | Name::Encode | Name::ElementType);
    if of_numpy && vocabulary == Vocabulary::Torch {
        return Ok(Called::New(Value::Opaque));
    }
    let value = match (name, first) {
        (Name::Reconstruct, _) => Value::Array(None),
        (Name::ElementType, Some(Value::Text(code))) if code.len() <= LONGEST_COPY => {
            Value::ElementType { code: code.clone(), big_endian: false }
        }
        (Name::ElementType, _) => return Err("its pickle describes an unknown NumPy type".into()),
        (Name::Scalar, _) => match *items {
            [element, number] => scalar(&values[element], &values[number])?,
            _ => return Err("its pickle holds a malformed NumPy number".into()),
        },
        (Name::Encode, Some(Value::Text(text))) if text.len() <= LONGEST_COPY => Value::Bytes(latin1(text)?),
        (Name::Encode, _) => return Err("its pickle encodes something that is no short text".into()),
        (Name::Dict, None) | (Name::DefaultDict, _) => Value::Dict(Vec::new()),
        (Name::Dict, Some(Value::List(_))) => Value::Pairs(items[0]),
        (Name::Dict, Some(Value::Dict(_))) | (Name::Size, Some(Value::Tuple(_) | Value::List(_))) => {
            return Ok(Called::Old(items[0]));
        }
        (Name::Tensor, _) => Value::Tensor(arguments),
        (Name::Parameter, Some(Value::Tensor(_))) => return Ok(Called::Old(items[0])),
        // What it is made of lies among the values all the same; what is appended later needs a list.
        (Name::Container, _) => Value::List(Vec::new()),
        (Name::Namespace, None) => Value::Dict(Vec::new()),
        (Name::Constant, _) => Value::Opaque,
        _ => return Err("its pickle calls something that is no known function".into()),
    };
    Ok(Called::New(value))
}

fn latin1(text: &str) -> Step<Vec<u8>> {
    let bytes: Result<_, _> = text.chars().map(|letter| u8::try_from(u32::from(letter))).collect();
    bytes.map_err(|_| "its pickle encodes letters that are no bytes".into())
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
