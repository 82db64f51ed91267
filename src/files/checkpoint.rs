//! Checkpoints of networks: named tensors in a `.safetensors` or PyTorch file, without running anything.
//!
//! Opening a checkpoint reads its description alone: names, element types, shapes, and where in the file the elements
//! lie. Elements are read tensor by tensor, when they are asked for, so that a file of some hundred megabytes never
//! lies in memory as a whole. Every place is checked against the real size of the file first.
//!
//! PyTorch's training scripts save more than parameters, and under other names: [`Checkpoint`] finds the parameters
//! (`state_dict`), takes the prefix off that wrapped networks put before every name (`module.`), and tells what it left
//! out.

use std::fmt;
use std::io::{BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use sha2::{Digest, Sha256};

use super::whole_file::{Place, open_regular, quoted};
use super::{safetensors_checkpoint, torch_checkpoint};
use crate::{Error, Result};

/// What wrappers of networks put before every parameter's name: data parallel training and `torch.compile`.
const WRAPPERS: [&str; 2] = ["module.", "_orig_mod."];

/// A file, or the bytes of one.
pub(super) trait Source: Read + Seek + Send {}

impl<T: Read + Seek + Send> Source for T {}

/// How a checkpoint is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckpointFormat {
    /// `.safetensors`.
    Safetensors,
    /// What `torch.save` writes since PyTorch 1.6: a ZIP archive.
    TorchZip,
    /// What `torch.save` wrote before: a row of pickles and then the elements.
    TorchLegacy,
}

impl fmt::Display for CheckpointFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Safetensors => "safetensors",
            Self::TorchZip => "PyTorch, zip",
            Self::TorchLegacy => "PyTorch, legacy",
        })
    }
}

/// Element type of a stored tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredType(pub(super) Dtype);

impl StoredType {
    /// float64.
    pub const F64: Self = Self(Dtype::F64);
    /// float32.
    pub const F32: Self = Self(Dtype::F32);
    /// float16.
    pub const F16: Self = Self(Dtype::F16);
    /// bfloat16.
    pub const BF16: Self = Self(Dtype::BF16);

    /// Bytes of one element; `None` where several elements share a byte.
    pub fn bytes(self) -> Option<usize> {
        let bits = self.0.bitsize();
        bits.is_multiple_of(8).then_some(bits / 8)
    }

    /// Its name in a `.safetensors` file.
    pub(super) fn code(self) -> String {
        self.0.to_string()
    }
}

impl fmt::Display for StoredType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.0.to_string().to_ascii_lowercase();
        let named = [
            ("bf", "bfloat"),
            ("bool", "bool"),
            ("f", "float"),
            ("i", "int"),
            ("u", "uint"),
            ("c", "complex"),
        ];
        let found =
            named.iter().find_map(|(short, long)| Some(format!("{long}{}", code.strip_prefix(short)?)));
        f.pad(&found.unwrap_or(code))
    }
}

/// A tensor of a checkpoint: its description, and where its elements lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredTensor {
    /// Its name, without what [`Checkpoint::prefix`] tells.
    pub name: String,
    /// Its element type.
    pub element: StoredType,
    /// Its sides; empty for a single number.
    pub shape: Vec<usize>,
    /// The first element's place in the file.
    pub(super) offset: u64,
    /// Elements from one to the next along each side; all of them lie in the file.
    pub(super) strides: Vec<usize>,
}

impl StoredTensor {
    /// Number of elements.
    pub fn elements(&self) -> usize {
        // The product was proven to fit when the tensor was described.
        self.shape.iter().product()
    }

    /// Strides of a tensor whose elements lie row by row without gaps.
    pub(super) fn packed_strides(shape: &[usize]) -> Vec<usize> {
        let mut strides = vec![1_usize; shape.len()];
        for axis in (1..shape.len()).rev() {
            strides[axis - 1] = strides[axis].saturating_mul(shape[axis].max(1));
        }
        strides
    }

    fn is_packed(&self) -> bool {
        let packed = Self::packed_strides(&self.shape);
        self.shape.iter().zip(packed.iter().zip(&self.strides)).all(|(&side, (a, b))| side == 1 || a == b)
    }

    /// Elements from the first to behind the last; 0 for none.
    pub(super) fn span(shape: &[usize], strides: &[usize]) -> Option<usize> {
        if shape.contains(&0) {
            return Some(0);
        }
        let last = shape.iter().zip(strides).try_fold(0_usize, |last, (&side, &stride)| {
            last.checked_add(side.checked_sub(1)?.checked_mul(stride)?)
        });
        last?.checked_add(1)
    }
}

/// What a file of one of the formats was found to hold.
pub(super) struct Contents {
    pub format: CheckpointFormat,
    pub tensors: Vec<StoredTensor>,
    pub left_out: Vec<String>,
}

/// An opened checkpoint.
pub struct Checkpoint<'a> {
    path: PathBuf,
    source: Box<dyn Source + 'a>,
    format: CheckpointFormat,
    prefix: String,
    tensors: Vec<StoredTensor>,
    left_out: Vec<String>,
}

impl fmt::Debug for Checkpoint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkpoint")
            .field("path", &self.path)
            .field("format", &self.format)
            .field("tensors", &self.tensors.len())
            .finish_non_exhaustive()
    }
}

impl Checkpoint<'static> {
    /// Opens a file; its content tells the format.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be read; [`Error::File`] when it is no checkpoint, is damaged, claims more than it
    /// holds, or when its pickle contains anything but tensors and plain containers.
    pub fn open(path: &Path) -> Result<Self> {
        let (file, size) = open_regular(path)?;
        Self::new(path, Box::new(BufReader::new(file)), size)
    }
}

impl<'a> Checkpoint<'a> {
    /// As [`open`](Checkpoint::open), with the bytes of a whole file; `origin` names them in errors.
    ///
    /// # Errors
    /// As [`open`](Checkpoint::open).
    pub fn from_bytes(bytes: &'a [u8], origin: &Path) -> Result<Self> {
        Self::new(origin, Box::new(Cursor::new(bytes)), bytes.len() as u64)
    }

    fn new(path: &Path, mut source: Box<dyn Source + 'a>, size: u64) -> Result<Self> {
        let place = Place::file(path);
        let contents = read_contents(place, &mut *source, size)?;
        let Contents { format, mut tensors, left_out } = contents;
        let prefix = strip_wrappers(&mut tensors);
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        if let Some(twice) = tensors.windows(2).find(|pair| pair[0].name == pair[1].name) {
            let name = quoted(&twice[0].name);
            return Err(place.error(format!("holds two tensors called {name}"), "one of each name"));
        }
        check_amount(place, &tensors, size)?;
        Ok(Self { path: path.to_owned(), source, format, prefix, tensors, left_out })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How it is stored.
    pub fn format(&self) -> CheckpointFormat {
        self.format
    }

    /// What stood before the name of every tensor and was taken off; mostly nothing.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The tensors, sorted by name.
    pub fn tensors(&self) -> &[StoredTensor] {
        &self.tensors
    }

    /// What else the file holds, by its name in the file: an optimizer's state, counters of epochs.
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// SHA-256 of the whole file, in lower-case hexadecimal.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be read.
    pub fn sha256(&mut self) -> Result<String> {
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 1 << 18];
        let mut read = || -> std::io::Result<()> {
            self.source.rewind()?;
            loop {
                match self.source.read(&mut buffer)? {
                    0 => return Ok(()),
                    count => hasher.update(&buffer[..count]),
                }
            }
        };
        read().map_err(|error| Error::io(&self.path, "read", error))?;
        Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The elements of the tensor of that `index` in [`tensors`](Self::tensors), little-endian, row by row without gaps.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read, [`Error::File`] when it has shrunk since it was opened, or when there is
    /// no such tensor.
    pub fn read(&mut self, index: usize) -> Result<Vec<u8>> {
        let place = Place::file(&self.path);
        let none = || place.error(format!("has no tensor number {index}"), "a smaller number");
        let tensor = self.tensors.get(index).ok_or_else(none)?;
        let place = Place { array: Some(&tensor.name), ..place };
        let width = tensor.element.bytes();
        let span = StoredTensor::span(&tensor.shape, &tensor.strides);
        let length = span.zip(width).and_then(|(span, width)| span.checked_mul(width));
        let (Some(width), Some(length)) = (width, length) else {
            return Err(place.error(format!("is of {}", tensor.element), "elements of whole bytes"));
        };
        let mut bytes = vec![0; length];
        self.source
            .seek(SeekFrom::Start(tensor.offset))
            .and_then(|_| self.source.read_exact(&mut bytes))
            .map_err(|source| place.read_error(source))?;
        Ok(if tensor.is_packed() { bytes } else { gathered(&bytes, width, tensor) })
    }
}

/// The elements of a strided tensor, row by row.
fn gathered(bytes: &[u8], width: usize, tensor: &StoredTensor) -> Vec<u8> {
    let mut packed = Vec::with_capacity(tensor.elements() * width);
    let mut position = vec![0; tensor.shape.len()];
    for _ in 0..tensor.elements() {
        let first: usize = position.iter().zip(&tensor.strides).map(|(at, stride)| at * stride).sum();
        packed.extend_from_slice(&bytes[first * width..][..width]);
        for axis in (0..position.len()).rev() {
            position[axis] += 1;
            if position[axis] < tensor.shape[axis] {
                break;
            }
            position[axis] = 0;
        }
    }
    packed
}

fn read_contents(place: Place<'_>, source: &mut dyn Source, size: u64) -> Result<Contents> {
    /// Enough to recognise a tar archive.
    const START: u64 = 262;
    let mut start = Vec::new();
    (&mut *source).take(START).read_to_end(&mut start).map_err(|error| place.read_error(error))?;
    source.rewind().map_err(|error| place.read_error(error))?;
    if torch_checkpoint::is_archive(&start) {
        return torch_checkpoint::read_archive(place, source, size);
    }
    if torch_checkpoint::is_legacy(&start) {
        return torch_checkpoint::read_legacy(place, source, size);
    }
    match torch_checkpoint::recognised(place, &start) {
        Some(error) => Err(error),
        None => safetensors_checkpoint::read(place, source, size),
    }
}

/// Takes the wrappers' prefixes off the names where all of them have it.
fn strip_wrappers(tensors: &mut [StoredTensor]) -> String {
    let mut prefix = String::new();
    while let Some(wrapper) = WRAPPERS.iter().find(|&&wrapper| {
        !tensors.is_empty() && tensors.iter().all(|tensor| tensor.name.starts_with(wrapper))
    }) {
        prefix.push_str(wrapper);
        for tensor in &mut *tensors {
            tensor.name.drain(..wrapper.len());
        }
    }
    prefix
}

/// Refuses tensors that would be larger than the elements that the file holds: a few bytes may stand for gigabytes where
/// tensors share elements. Tied parameters share them too, but not many times over.
fn check_amount(place: Place<'_>, tensors: &[StoredTensor], size: u64) -> Result<()> {
    const MOST_TIMES: u64 = 4;
    let bytes = |tensor: &StoredTensor| {
        (tensor.elements() as u64).saturating_mul(tensor.element.bytes().unwrap_or(1) as u64)
    };
    let claimed = tensors.iter().map(bytes).fold(0, u64::saturating_add);
    if claimed > size.saturating_mul(MOST_TIMES) {
        let problem = format!("claims {claimed} bytes of tensors in a file of {size}");
        return Err(place.error(problem, "tensors that do not share their elements many times"));
    }
    Ok(())
}
