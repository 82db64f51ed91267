//! The parameters in what `torch.save` pickled: which of its dicts holds them, and where each tensor's elements lie.

use std::collections::HashMap;

use super::checkpoint::{StoredTensor, StoredType};
use super::pickle::{Id, Unpickled, Value};
use super::pickle_names::Name;
use super::pickle_stream::Step;
use super::whole_file::quoted;

/// Under which key training scripts save the parameters, in the order in which they are looked for.
const KEYS: [&str; 6] = ["state_dict", "model_state_dict", "model_state", "model", "network", "net"];
/// Longest name of a parameter in bytes.
const LONGEST_NAME: usize = 400;
/// How many keys a message names.
const KEYS_SHOWN: usize = 8;

/// A run of elements in the file that tensors are parts of.
#[derive(Clone, Debug)]
pub(super) struct Storage<'a> {
    /// Its name in the file.
    pub key: &'a str,
    /// Its element type.
    pub element: StoredType,
    /// Its number of elements.
    pub elements: u64,
    /// Where it begins in the run of that name; 0 but in files of PyTorch before 0.4.
    first: u64,
}

impl Storage<'_> {
    /// Elements up to its end, counted from the beginning of the run.
    pub fn end(&self) -> Option<u64> {
        self.first.checked_add(self.elements)
    }
}

/// Parameters, and the names of everything else.
pub(super) type Found = (Vec<StoredTensor>, Vec<String>);

/// Finds the parameters. `place` tells where a storage begins in the file, having checked that the file holds all of it.
pub(super) fn find(content: &Unpickled, place: impl Fn(&Storage<'_>) -> Step<u64>) -> Step<Found> {
    let root = entries(content, content.root()).ok_or("its pickle holds no dict, but a single object")?;
    let named = |key: &str| root.iter().rev().find(|(name, _)| *name == Some(key));
    let holds_tensors =
        |items: &Entries<'_>| items.iter().any(|(_, value)| matches!(value, Value::Tensor(_)));
    let nested = KEYS.into_iter().find_map(|key| {
        let (_, value) = named(key)?;
        Some((key, entries(content, value).filter(&holds_tensors)?))
    });
    let (key, items) = match nested {
        Some((key, items)) => (Some(key), items),
        None if holds_tensors(&root) => (None, root.clone()),
        None => {
            return Err(format!(
                "its pickle holds no tensors at its top or in a dict called state_dict, but {}",
                shown(&root)
            ));
        }
    };
    let mut left_out = Vec::new();
    if key.is_some() {
        left_out
            .extend(root.iter().filter_map(|(name, _)| *name).filter(|&name| Some(name) != key).map(clipped));
    }
    let mut tensors = HashMap::new();
    for (name, value) in items {
        match (name, value) {
            (Some(name), &Value::Tensor(arguments)) if name.len() <= LONGEST_NAME => {
                let tensor = tensor(content, name, arguments, &place)
                    .map_err(|problem| format!("tensor {} {problem}", quoted(name)))?;
                // As in Python: of two entries with one key the later stays.
                tensors.insert(name, tensor);
            }
            (Some(name), Value::Tensor(_)) => {
                return Err(format!("tensor {} has a name of {} bytes", quoted(name), name.len()));
            }
            (Some(name), _) => left_out.push(clipped(name)),
            (None, _) => return Err("its parameters have a name that is no text".into()),
        }
    }
    Ok((tensors.into_values().collect(), left_out))
}

/// The storages that a pickle refers to.
pub(super) fn storages(content: &Unpickled) -> Step<Vec<Storage<'_>>> {
    content
        .values()
        .iter()
        .filter(|value| matches!(value, Value::Outside(_)))
        .map(|value| storage(content, value))
        .collect()
}

/// The entries of a dict whose keys are text, or `None` for a key that is not.
type Entries<'a> = Vec<(Option<&'a str>, &'a Value)>;

fn entries<'a>(content: &'a Unpickled, value: &'a Value) -> Option<Entries<'a>> {
    let entry = |key: Id, value: Id| {
        let key = match content.get(key) {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        };
        (key, content.get(value))
    };
    match value {
        Value::Dict(pairs) => Some(pairs.iter().map(|&(key, value)| entry(key, value)).collect()),
        &Value::Pairs(list) => {
            let Value::List(pairs) = content.get(list) else { return None };
            let pair = |&id: &Id| match content.get(id) {
                Value::List(pair) | Value::Tuple(pair) => match pair[..] {
                    [key, value] => Some(entry(key, value)),
                    _ => None,
                },
                _ => None,
            };
            pairs.iter().map(pair).collect()
        }
        _ => None,
    }
}

fn shown(entries: &Entries<'_>) -> String {
    let mut names: Vec<String> =
        entries.iter().filter_map(|(name, _)| *name).take(KEYS_SHOWN).map(quoted).collect();
    if entries.len() > names.len() {
        names.push(format!("{} more", entries.len() - names.len()));
    }
    if names.is_empty() { "nothing".into() } else { names.join(", ") }
}

fn clipped(name: &str) -> String {
    name.chars().take(LONGEST_NAME).collect()
}

/// A tensor from the arguments of its rebuilding: storage, offset, shape, strides.
fn tensor(
    content: &Unpickled,
    name: &str,
    arguments: Id,
    place: impl Fn(&Storage<'_>) -> Step<u64>,
) -> Step<StoredTensor> {
    let malformed = || "is malformed".to_owned();
    let Value::Tuple(arguments) = content.get(arguments) else { return Err(malformed()) };
    let &[of, offset, shape, strides, ..] = arguments.as_slice() else { return Err(malformed()) };
    let storage = storage(content, content.get(of))?;
    let (shape, strides) = (sides(content, shape)?, sides(content, strides)?);
    if shape.len() != strides.len() {
        return Err(malformed());
    }
    let offset = number(content, offset)?;
    let span = StoredTensor::span(&shape, &strides).ok_or("is too large to be true")?;
    let behind = offset.checked_add(span as u64).filter(|&behind| behind <= storage.elements);
    if behind.is_none() {
        let elements = storage.elements;
        return Err(format!(
            "reaches element {} of a storage of {elements}",
            offset.saturating_add(span as u64)
        ));
    }
    // Repeated elements (stride 0) would make a large tensor of a small file.
    if shape
        .iter()
        .try_fold(1_usize, |product, &side| product.checked_mul(side))
        .is_none_or(|elements| elements > span)
    {
        return Err("repeats its elements; call .contiguous() on it before torch.save".into());
    }
    let width = storage.element.bytes().ok_or_else(malformed)? as u64;
    // Neither overflows: the file was found to hold the storage's last byte.
    let offset = place(&storage)?.saturating_add((storage.first + offset).saturating_mul(width));
    Ok(StoredTensor { name: name.to_owned(), element: storage.element, shape, offset, strides })
}

/// The tuple ("storage", type, key, device, elements) and, in old files, the part of it that is meant.
fn storage<'a>(content: &'a Unpickled, value: &Value) -> Step<Storage<'a>> {
    let malformed = || "refers to no storage".to_owned();
    let &Value::Outside(id) = value else { return Err(malformed()) };
    let Value::Tuple(parts) = content.get(id) else { return Err(malformed()) };
    let &[kind, element, key, _, elements, ref view @ ..] = parts.as_slice() else { return Err(malformed()) };
    match (content.get(kind), content.get(element), content.get(key)) {
        (Value::Text(kind), &Value::Name(Name::Storage(element)), Value::Text(key)) if kind == "storage" => {
            let whole = Storage { key, element, elements: number(content, elements)?, first: 0 };
            match view.first().map(|&id| content.get(id)) {
                None | Some(Value::None) => Ok(whole),
                Some(Value::Tuple(view)) => match view[..] {
                    [_, first, elements] => {
                        let (first, elements) = (number(content, first)?, number(content, elements)?);
                        let inside = first.checked_add(elements).is_some_and(|end| end <= whole.elements);
                        if inside { Ok(Storage { first, elements, ..whole }) } else { Err(malformed()) }
                    }
                    _ => Err(malformed()),
                },
                _ => Err(malformed()),
            }
        }
        _ => Err(malformed()),
    }
}

fn number(content: &Unpickled, id: Id) -> Step<u64> {
    match content.get(id) {
        &Value::Int(number) => u64::try_from(number).map_err(|_| format!("has a place or size of {number}")),
        _ => Err("has a place or size that is no number".into()),
    }
}

fn sides(content: &Unpickled, id: Id) -> Step<Vec<usize>> {
    /// PyTorch's own limit.
    const MOST: usize = 64;
    match content.get(id) {
        Value::Tuple(items) | Value::List(items) if items.len() <= MOST => items
            .iter()
            .map(|&item| Ok(usize::try_from(number(content, item)?).unwrap_or(usize::MAX)))
            .collect(),
        _ => Err("has a shape that is none".into()),
    }
}
