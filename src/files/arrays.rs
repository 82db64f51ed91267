//! Logits that any framework saved: a .npy, .npz or .safetensors file, read into memory in its own element type.
//!
//! The three formats differ in how they describe an array; what may be logits, which of several arrays is meant,
//! and how elements come into memory is the same for all and lies here.

use std::io::Read;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use ndarray::{ArrayView, IxDyn, ShapeBuilder};

use super::npy_header::{Header, shape_text};
use super::whole_file::{Place, open_regular, quoted};
use super::{npz, safetensors};
use crate::{ElementType, Error, Layout, Logits, LogitsData, LogitsShape, Result};

/// The formats, for error messages.
const FORMATS: &str = "logits as .npy, .npz or .safetensors";
/// The accepted element types, for error messages.
const TYPES: &str = "float32 or float16 (bfloat16 in .safetensors)";
/// The accepted shapes, for error messages.
const SHAPES: &str = "(N, C, H, W) or (C, H, W), or (N, H, W, C) or (H, W, C), without an axis of length 0";
/// Elements read at a time. They are converted while they lie in the cache, and memory fills only as fast as the
/// file really delivers, whatever its header promises.
const CHUNK: usize = 1 << 16;

/// Logits read from a file: owned, in the element type of the file, in C order.
///
/// It serves for any float array of rank 3 or 4, such as the already normalised input of a network.
///
/// ```no_run
/// use sml::{Layout, files::LogitsFile};
/// let file = LogitsFile::read("frame.npz", None)?;
/// let logits = file.logits(Layout::Nchw)?;
/// println!("{:?} of {:?}", logits.shape(), file.element_type());
/// # Ok::<(), sml::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct LogitsFile {
    path: PathBuf,
    array: Option<String>,
    /// As stored; an array of rank 3 is a batch of 1.
    shape: [usize; 4],
    elements: Elements,
}

/// Elements in their own type.
#[derive(Clone, Debug)]
pub(super) enum Elements {
    F32(Vec<f32>),
    F16(Vec<f16>),
    BF16(Vec<bf16>),
}

impl LogitsFile {
    /// Reads a .npy, .npz or .safetensors file.
    ///
    /// `array` names the array within a .npz or .safetensors file. Without it the array called `logits` is taken, or
    /// the only one that has the shape and the type of logits. Accepted are float32 and float16, in .safetensors
    /// also bfloat16; rank 4, or 3 for a single image; either byte order; C or Fortran order.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read; [`Error::File`] when it holds anything else, is damaged or
    /// truncated, or holds several such arrays and none is named.
    pub fn read(path: impl AsRef<Path>, array: Option<&str>) -> Result<Self> {
        let path = path.as_ref();
        let (name, header, elements) = match Format::of(path)? {
            Format::Npy => match array {
                Some(name) => {
                    let problem = format!("is a single array, yet array {} is asked for", quoted(name));
                    return Err(Error::file(path, problem, "no name of an array, or a .npz file"));
                }
                None => read_npy(path)?,
            },
            Format::Npz => npz::read(path, array)?,
            Format::Safetensors => safetensors::read(path, array)?,
        };
        Ok(Self { path: path.to_owned(), array: name, shape: header.shape, elements })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Name of the array within the file; `None` for .npy, which holds just one.
    pub fn array(&self) -> Option<&str> {
        self.array.as_deref()
    }

    /// Lengths of the axes as they are stored, the slowest first. An array of rank 3 has a first axis of length 1.
    pub fn shape(&self) -> [usize; 4] {
        self.shape
    }

    /// Element type, which is that of the file.
    pub fn element_type(&self) -> ElementType {
        self.data().element_type()
    }

    /// The elements, densely packed with the last axis the fastest.
    pub fn data(&self) -> LogitsData<'_> {
        match &self.elements {
            Elements::F32(elements) => LogitsData::F32(elements),
            Elements::F16(elements) => LogitsData::F16(elements),
            Elements::BF16(elements) => LogitsData::BF16(elements),
        }
    }

    /// Borrows the array as logits; `layout` tells whether its axes are (N, C, H, W) or (N, H, W, C).
    ///
    /// # Errors
    /// [`Error::File`] when the shape cannot be that of logits, such as more than 255 classes.
    pub fn logits(&self, layout: Layout) -> Result<Logits<'_>> {
        let [n, a, b, c] = self.shape;
        let shape = match layout {
            Layout::Nchw => LogitsShape::new(n, a, b, c),
            Layout::Nhwc => LogitsShape::new(n, c, a, b),
        };
        let shape = shape.map_err(|error| match error {
            Error::Shape { expected, .. } => {
                let order = match layout {
                    Layout::Nchw => "(N, C, H, W)",
                    Layout::Nhwc => "(N, H, W, C)",
                };
                let problem = format!("has the shape {} read as {order}", shape_text(&self.shape));
                Place { path: &self.path, array: self.array() }.error(problem, expected)
            }
            other => other,
        })?;
        Logits::packed(self.data(), shape, layout)
    }
}

/// The format of a file of arrays.
enum Format {
    Npy,
    Npz,
    Safetensors,
}

impl Format {
    /// By extension; without a known one, by the first bytes.
    fn of(path: &Path) -> Result<Self> {
        let extension = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        match extension.as_str() {
            "npy" => return Ok(Self::Npy),
            "npz" => return Ok(Self::Npz),
            "safetensors" => return Ok(Self::Safetensors),
            _ => {}
        }
        let place = Place::file(path);
        let (mut file, size) = open_regular(path)?;
        let mut start = [0; 9];
        if size < start.len() as u64 {
            return Err(place.error(format!("is only {size} bytes long"), FORMATS));
        }
        file.read_exact(&mut start).map_err(|source| place.read_error(source))?;
        match &start {
            [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => Ok(Self::Npy),
            [b'P', b'K', 3, 4, ..] => Ok(Self::Npz),
            // Length of the header, then the header: a JSON object.
            [.., b'{'] => Ok(Self::Safetensors),
            _ => Err(place.error("is in an unknown format", FORMATS)),
        }
    }
}

/// An array that has the type and the shape of logits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checked {
    element: ElementType,
    big_endian: bool,
    fortran_order: bool,
    /// A batch of 1 in front of rank 3.
    shape: [usize; 4],
    /// Product of the shape; its size in bytes was compared with that of the file.
    count: usize,
}

/// What a format's header says about an array.
#[derive(Clone, Debug)]
pub(super) struct Described {
    /// `None` for types that logits do not have.
    pub element: Option<ElementType>,
    /// The type in words.
    pub type_name: String,
    pub big_endian: bool,
    pub fortran_order: bool,
    pub shape: Vec<usize>,
}

impl Described {
    /// An array in .npy format.
    pub fn npy(header: &Header) -> Self {
        let element = match (header.element.kind, header.element.size) {
            ('f', 4) => Some(ElementType::F32),
            ('f', 2) => Some(ElementType::F16),
            _ => None,
        };
        Self {
            element,
            type_name: header.element.to_string(),
            big_endian: header.element.big_endian,
            fortran_order: header.fortran_order,
            shape: header.shape.clone(),
        }
    }

    /// An array whose own header is damaged, or of a type that has no short description.
    pub fn unreadable() -> Self {
        let (big_endian, fortran_order) = (false, false);
        Self { element: None, type_name: "(unreadable)".into(), big_endian, fortran_order, shape: Vec::new() }
    }

    fn shape4(&self) -> Option<[usize; 4]> {
        let shape = match *self.shape {
            [a, b, c] => [1, a, b, c],
            [n, a, b, c] => [n, a, b, c],
            _ => return None,
        };
        shape.iter().all(|&axis| axis > 0).then_some(shape)
    }

    /// True for arrays that could be logits.
    fn is_candidate(&self) -> bool {
        self.element.is_some() && self.shape4().is_some()
    }

    /// Checks type and shape. Their agreement with the size of the file is the format's business.
    pub fn check(&self, place: Place<'_>) -> Result<Checked> {
        let Some(element) = self.element else {
            return Err(place.error(format!("holds {}", self.type_name), TYPES));
        };
        let Some(shape) = self.shape4() else {
            return Err(place.error(format!("has the shape {}", shape_text(&self.shape)), SHAPES));
        };
        let count = shape.iter().try_fold(1_usize, |product, &axis| product.checked_mul(axis));
        let Some(count) = count else {
            let problem = format!("declares the impossible shape {}", shape_text(&self.shape));
            return Err(place.error(problem, SHAPES));
        };
        Ok(Checked { element, big_endian: self.big_endian, fortran_order: self.fortran_order, shape, count })
    }
}

/// Decides which array of a file is meant: the `wanted` one, else "logits", else the only one that can be.
///
/// Names are compared with and without the `.npy` that archives append.
pub(super) fn choose(path: &Path, wanted: Option<&str>, arrays: &[(String, Described)]) -> Result<usize> {
    let named =
        |name: &str| arrays.iter().position(|(array, _)| array.strip_suffix(".npy").unwrap_or(array) == name);
    if let Some(wanted) = wanted {
        let found = named(wanted.strip_suffix(".npy").unwrap_or(wanted));
        return found.ok_or_else(|| {
            let problem = format!("has no array {}; it holds {}", quoted(wanted), list(arrays));
            Error::file(path, problem, "the name of one of them")
        });
    }
    if let Some(index) = named("logits") {
        return Ok(index);
    }
    let candidates = || arrays.iter().enumerate().filter(|(_, (_, array))| array.is_candidate());
    match (candidates().count(), arrays) {
        // Alone and unfit: the caller's check tells why.
        (0, [_]) => Ok(0),
        (1, _) => Ok(candidates().next().map_or(0, |(index, _)| index)),
        (0, []) => Err(Error::file(path, "holds no array", FORMATS)),
        (0, _) => Err(Error::file(
            path,
            format!("holds no logits: {}", list(arrays)),
            format!("{TYPES}, of shape {SHAPES}"),
        )),
        _ => {
            let problem = format!("holds several arrays that may be logits: {}", list(arrays));
            Err(Error::file(path, problem, "the name of one of them, or an array named \"logits\""))
        }
    }
}

/// Names, types and shapes of arrays for an error message.
fn list(arrays: &[(String, Described)]) -> String {
    const MOST: usize = 12;
    let mut texts: Vec<String> = arrays
        .iter()
        .take(MOST)
        .map(|(name, array)| {
            let name = quoted(name.strip_suffix(".npy").unwrap_or(name));
            format!("{name} {} {}", array.type_name, shape_text(&array.shape))
        })
        .collect();
    match arrays.len() {
        0 => return "nothing".into(),
        many if many > MOST => texts.push(format!("and {} more", many - MOST)),
        _ => {}
    }
    texts.join(", ")
}

fn read_npy(path: &Path) -> Result<(Option<String>, Checked, Elements)> {
    let place = Place::file(path);
    let (mut file, size) = open_regular(path)?;
    let header = Header::read(place, &mut file)?;
    let checked = Described::npy(&header).check(place)?;
    header.check_size(place, size.saturating_sub(header.data_start))?;
    let elements = checked.read_elements(place, &mut file)?;
    Ok((None, checked, elements))
}

impl Checked {
    /// Reads exactly the elements, in C order and in the machine's byte order.
    pub fn read_elements(&self, place: Place<'_>, reader: &mut impl Read) -> Result<Elements> {
        Ok(match self.element {
            ElementType::F32 => Elements::F32(self.read_typed(place, reader)?),
            ElementType::F16 => Elements::F16(self.read_typed(place, reader)?),
            ElementType::BF16 => Elements::BF16(self.read_typed(place, reader)?),
        })
    }

    fn read_typed<T: bytemuck::Pod>(&self, place: Place<'_>, reader: &mut impl Read) -> Result<Vec<T>> {
        let mut elements = reserve(place, self.count)?;
        let mut chunk = vec![T::zeroed(); CHUNK.min(self.count)];
        while elements.len() < self.count {
            let part = CHUNK.min(self.count - elements.len());
            let part = &mut chunk[..part];
            let bytes = bytemuck::cast_slice_mut(part);
            reader.read_exact(bytes).map_err(|source| place.read_error(source))?;
            if self.big_endian != cfg!(target_endian = "big") {
                bytes.chunks_exact_mut(size_of::<T>()).for_each(<[u8]>::reverse);
            }
            elements.extend_from_slice(part);
        }
        if self.fortran_order { self.in_c_order(place, &elements) } else { Ok(elements) }
    }

    fn in_c_order<T: Copy>(&self, place: Place<'_>, elements: &[T]) -> Result<Vec<T>> {
        let view = ArrayView::from_shape(IxDyn(&self.shape).f(), elements);
        let view = view.map_err(|error| place.error(format!("has an impossible shape ({error})"), SHAPES))?;
        let mut ordered = reserve(place, self.count)?;
        ordered.extend(view.iter().copied());
        Ok(ordered)
    }
}

/// Room for `count` elements, or an error instead of an abort.
pub(super) fn reserve<T>(place: Place<'_>, count: usize) -> Result<Vec<T>> {
    let mut elements = Vec::new();
    elements.try_reserve_exact(count).map_err(|_| {
        let gibibytes = count as f64 * size_of::<T>() as f64 / (1_u64 << 30) as f64;
        place.error(format!("needs {gibibytes:.1} GiB of memory"), "an array that fits into memory")
    })?;
    Ok(elements)
}
