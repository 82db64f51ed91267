//! Class statistics as the official project of the paper saves them.
//!
//! Its `cityscapes_mean.npy` and `cityscapes_var.npy` come from `np.save(path, dict)`: a .npy file with an object
//! array without axes, whose only element is a pickled dict from train id to float. The file is interpreted without
//! executing anything; see [`super::pickle`].

use std::collections::BTreeMap;
use std::path::Path;

use super::npy::read_npy_vector;
use super::npy_header::Header;
use super::pickle::{Unpickled, Value, unpickle};
use super::pickle_names::Vocabulary;
use super::whole_file::{Place, open_regular, read_at_most};
use crate::{LogitsShape, Result};

const EXPECTED: &str = "a pickled dict from train id to float, as np.save writes it";

/// Reads a .npy file that holds a pickled dict from train id to float.
///
/// Pickle protocols 0 to 5 with Python's numbers, from 1 on also with NumPy's. Train ids are 0 to 254.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io) when the file cannot be read; [`Error::File`](crate::Error::File) when it holds
/// anything else, which includes every pickle that names a Python object outside NumPy's arrays and numbers.
pub fn read_official(path: &Path) -> Result<BTreeMap<usize, f64>> {
    let place = Place::file(path);
    let bytes = read_at_most(path, Vocabulary::Numpy.longest_pickle() as u64)?;
    let mut rest = bytes.as_slice();
    let header = Header::read(place, &mut rest)?;
    if header.element.kind != 'O' {
        return Err(place.error(format!("holds {}", header.element), EXPECTED));
    }
    if !header.shape.is_empty() {
        return Err(place.error("holds an array of objects with axes", EXPECTED));
    }
    let content = unpickle(rest, Vocabulary::Numpy).map_err(|problem| place.error(problem, EXPECTED))?;
    class_values(&content).map_err(|problem| place.error(problem, EXPECTED))
}

/// Reads one number per class: a plain one-dimensional .npy vector, or the official project's format.
///
/// A class that an official file does not mention is NaN.
///
/// # Errors
/// As [`read_official`] and [`read_npy_vector`].
pub fn read_class_vector(path: &Path) -> Result<Vec<f64>> {
    let (mut file, _) = open_regular(path)?;
    if Header::read(Place::file(path), &mut file)?.element.kind != 'O' {
        return read_npy_vector(path);
    }
    let classes = read_official(path)?;
    let count = classes.last_key_value().map_or(0, |(&last, _)| last + 1);
    Ok((0..count).map(|class| classes.get(&class).copied().unwrap_or(f64::NAN)).collect())
}

fn class_values(content: &Unpickled) -> Result<BTreeMap<usize, f64>, String> {
    let mut classes = BTreeMap::new();
    for &(key, value) in only_element(content).ok_or("its pickle holds no dict")? {
        let class = match content.get(key) {
            &Value::Int(id) => usize::try_from(id).ok().filter(|&id| id < LogitsShape::MAX_CLASSES),
            _ => None,
        };
        let class = class.ok_or("its pickle holds a dict with a key that is no train id of 0 to 254")?;
        let value = match *content.get(value) {
            Value::Float(value) => value,
            Value::Int(value) => value as f64,
            _ => return Err(format!("its pickle holds something else than a number for class {class}")),
        };
        if classes.insert(class, value).is_some() {
            return Err(format!("its pickle holds class {class} twice"));
        }
    }
    if classes.is_empty() { Err("its pickle holds an empty dict".into()) } else { Ok(classes) }
}

/// The dict that is the only element of the array without axes.
fn only_element(content: &Unpickled) -> Option<&[(usize, usize)]> {
    let Value::Array(Some(state)) = content.root() else { return None };
    let Value::Tuple(state) = content.get(*state) else { return None };
    let &[_version, _shape, _element, _order, elements] = state.as_slice() else { return None };
    let Value::List(elements) = content.get(elements) else { return None };
    let &[only] = elements.as_slice() else { return None };
    match content.get(only) {
        Value::Dict(pairs) => Some(pairs),
        _ => None,
    }
}
