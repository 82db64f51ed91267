//! Maps of one number a pixel out of files of any framework: anomaly scores and labels.
//!
//! A score map is a .npy or .npz array, the dataset of an .hdf5 file, or a grey PNG; labels are a .npy array or an
//! 8-bit grey PNG. What a file is, its first bytes tell, whatever it is called. Arrays have two axes, height and
//! width; axes of length 1 in front of them are dropped.

use std::io::{Cursor, Read};
use std::path::Path;

use ndarray::{Array2, ShapeBuilder};

use super::arrays::reserve;
use super::npy::to_f64;
use super::npy_header::{Header, shape_text};
use super::pictures::{LONGEST_SIDE, ScoreScale, decode_labels};
use super::whole_file::{Place, first_line, open_regular, read_at_most};
use super::{hdf5, npy_header, npz};
use crate::{Error, Result};

const SCORES: &str = "a score map as .npy, .npz, .hdf5 or grey .png";
const LABELS: &str = "labels as .npy or 8-bit grey .png";
const SHAPE: &str = "two axes, height and width, of which none has length 0";
/// Largest PNG file.
const LARGEST_PNG: u64 = 512 << 20;
/// Bytes of an array that are read and converted at a time.
const CHUNK: usize = 1 << 16;

/// What a file is, by its first bytes.
#[derive(PartialEq, Eq)]
enum Format {
    Npy,
    Npz,
    Hdf5,
    Png,
}

impl Format {
    fn of(path: &Path, expected: &str) -> Result<Self> {
        let place = Place::file(path);
        let (file, _) = open_regular(path)?;
        let mut start = Vec::new();
        file.take(8).read_to_end(&mut start).map_err(|source| place.read_error(source))?;
        match start.as_slice() {
            start if start.starts_with(npy_header::MAGIC) => Ok(Self::Npy),
            start if start.starts_with(b"PK\x03\x04") => Ok(Self::Npz),
            start if start == hdf5::SIGNATURE => Ok(Self::Hdf5),
            start if start == b"\x89PNG\r\n\x1a\n" => Ok(Self::Png),
            [] => Err(place.error("is empty", expected)),
            _ => Err(place.error("is in another format", expected)),
        }
    }
}

/// Reads an anomaly score map: height x width, higher is more anomalous.
///
/// * .npy, .npz: an array of floats or integers. In .npz it is the array called `value`, `score` or `scores`, or the
///   only one.
/// * .hdf5: the float dataset `value`, as SegmentMeIfYouCan stores it, or the only one.
/// * .png: 8-bit or 16-bit grey. A file of [`write_score_png`](super::write_score_png) gives the scores that were
///   written, to the precision of its 65536 grey values; any other file gives the grey values.
///
/// Numbers of more than 24 significant bits are rounded to `f32`.
///
/// # Errors
/// [`Error::Io`] when the file cannot be read; [`Error::File`] when it holds anything else, is damaged or truncated.
pub fn read_score_map(path: impl AsRef<Path>) -> Result<Array2<f32>> {
    let path = path.as_ref();
    match Format::of(path, SCORES)? {
        Format::Npy => read_npy(path, score),
        Format::Npz => npz::with_array(path, &["value", "score", "scores"], |place, header, entry| {
            read_elements(place, header, entry, score)
        }),
        Format::Hdf5 => hdf5::read(path),
        Format::Png => read_score_png(path),
    }
}

/// Reads a map of labels: height x width, one byte a pixel.
///
/// A .npy array may have any type of numbers, or be one of truth values, as long as each is one of 0 to 255.
///
/// # Errors
/// As [`read_score_map`].
pub fn read_label_map(path: impl AsRef<Path>) -> Result<Array2<u8>> {
    let path = path.as_ref();
    match Format::of(path, LABELS)? {
        Format::Npy => read_npy(path, label),
        Format::Png => label_png(path, &read_at_most(path, LARGEST_PNG)?),
        _ => Err(Error::file(path, "is no array of labels", LABELS)),
    }
}

/// As [`read_label_map`], from the bytes of the file; `path` names them in errors.
///
/// # Errors
/// As [`read_label_map`].
pub fn decode_label_map(path: &Path, bytes: &[u8]) -> Result<Array2<u8>> {
    if !bytes.starts_with(npy_header::MAGIC) {
        return label_png(path, bytes);
    }
    let place = Place::file(path);
    let mut rest = bytes;
    let header = Header::read(place, &mut rest)?;
    header.check_size(place, rest.len() as u64)?;
    read_elements(place, &header, &mut rest, label)
}

fn label_png(path: &Path, bytes: &[u8]) -> Result<Array2<u8>> {
    let labels = decode_labels(path, bytes)?;
    let shape = (labels.height() as usize, labels.width() as usize);
    Array2::from_shape_vec(shape, labels.into_raw())
        .map_err(|error| Error::file(path, format!("has an impossible size ({error})"), LABELS))
}

/// Height and width out of the axes of an array.
pub(super) fn plane(place: Place<'_>, shape: &[usize]) -> Result<(usize, usize)> {
    let in_front = shape.len().saturating_sub(2);
    match (&shape[..in_front], &shape[in_front..]) {
        (front, &[height, width]) if front.iter().all(|&axis| axis == 1) && height > 0 && width > 0 => {
            Ok((height, width))
        }
        _ => Err(place.error(format!("has the shape {}", shape_text(shape)), SHAPE)),
    }
}

fn read_npy<T: Copy>(path: &Path, convert: impl Fn(f64) -> Option<T>) -> Result<Array2<T>> {
    let place = Place::file(path);
    let (mut file, size) = open_regular(path)?;
    let header = Header::read(place, &mut file)?;
    plane(place, &header.shape)?;
    header.check_size(place, size.saturating_sub(header.data_start))?;
    read_elements(place, &header, &mut file, convert)
}

/// Reads the elements behind a header, whose size was compared with what there is to read.
fn read_elements<T: Copy>(
    place: Place<'_>,
    header: &Header,
    reader: &mut dyn Read,
    convert: impl Fn(f64) -> Option<T>,
) -> Result<Array2<T>> {
    let (height, width) = plane(place, &header.shape)?;
    let element = header.element;
    // Truth values are bytes of 0 and 1.
    let number = if (element.kind, element.size) == ('b', 1) {
        Some((|bytes: &[u8]| f64::from(bytes[0])) as fn(&[u8]) -> f64)
    } else {
        to_f64(element)
    };
    let Some(number) = number else {
        return Err(place.error(format!("holds {element}"), "numbers"));
    };
    let count = height * width;
    let mut elements = reserve(place, count)?;
    let mut chunk = vec![0; CHUNK / element.size * element.size];
    while elements.len() < count {
        let length = chunk.len().min((count - elements.len()) * element.size);
        let bytes = &mut chunk[..length];
        reader.read_exact(bytes).map_err(|source| place.read_error(source))?;
        for bytes in bytes.chunks_exact_mut(element.size) {
            if element.big_endian {
                bytes.reverse();
            }
            let number = number(bytes);
            let converted = convert(number);
            elements
                .push(converted.ok_or_else(|| place.error(format!("holds the label {number}"), "0 to 255"))?);
        }
    }
    let shape = (height, width).set_f(header.fortran_order);
    let array = Array2::from_shape_vec(shape, elements)
        .map_err(|error| place.error(format!("has an impossible shape ({error})"), SHAPE))?;
    Ok(if array.is_standard_layout() { array } else { array.as_standard_layout().into_owned() })
}

fn score(number: f64) -> Option<f32> {
    Some(number as f32)
}

fn label(number: f64) -> Option<u8> {
    // The cast saturates, and turns NaN into 0.
    (f64::from(number as u8) == number).then_some(number as u8)
}

fn read_score_png(path: &Path) -> Result<Array2<f32>> {
    let place = Place::file(path);
    let bytes = read_at_most(path, LARGEST_PNG)?;
    let damaged =
        |error: png::DecodingError| place.error(format!("is damaged ({})", first_line(&error)), SCORES);
    let mut reader = png::Decoder::new(Cursor::new(&bytes)).read_info().map_err(damaged)?;
    let info = reader.info();
    let (width, height) = (info.width, info.height);
    let sample = match (info.color_type, info.bit_depth) {
        (png::ColorType::Grayscale, png::BitDepth::Eight) => 1,
        (png::ColorType::Grayscale, png::BitDepth::Sixteen) => 2,
        (color, depth) => {
            return Err(place
                .error(format!("holds {color:?} pixels of {} bits", depth as u8), "8-bit or 16-bit grey"));
        }
    };
    let scale = score_scale(place, info)?;
    // Deflate's best is 1032 to 1: a small file cannot hold a large picture.
    let size = u64::from(width) * u64::from(height) * sample;
    if width > LONGEST_SIDE || height > LONGEST_SIDE || size / 1032 > bytes.len() as u64 {
        let problem = format!("declares {width} x {height} pixels in a file of {} bytes", bytes.len());
        return Err(
            place.error(problem, format!("at most {LONGEST_SIDE} pixels a side, all of them in the file"))
        );
    }
    let mut samples = vec![0; size as usize];
    reader.next_frame(&mut samples).map_err(damaged)?;
    reader.finish().map_err(damaged)?;
    let grey: Vec<f32> = match (sample, scale) {
        (1, _) => samples.iter().map(|&grey| f32::from(grey)).collect(),
        (_, None) => greys(&samples).map(f32::from).collect(),
        (_, Some(scale)) => greys(&samples).map(|grey| scale.score(grey)).collect(),
    };
    Array2::from_shape_vec((height as usize, width as usize), grey)
        .map_err(|error| place.error(format!("has an impossible size ({error})"), SCORES))
}

fn greys(samples: &[u8]) -> impl Iterator<Item = u16> {
    samples.as_chunks().0.iter().map(|bytes| u16::from_be_bytes(*bytes))
}

/// The range that [`write_score_png`](super::write_score_png) notes, if the file has one.
fn score_scale(place: Place<'_>, info: &png::Info<'_>) -> Result<Option<ScoreScale>> {
    let text = |keyword: &str| info.uncompressed_latin1_text.iter().find(|chunk| chunk.keyword == keyword);
    let (Some(minimum), Some(maximum)) = (text("sml:minimum"), text("sml:maximum")) else { return Ok(None) };
    let number = |text: &str| text.parse().ok().filter(|number: &f32| number.is_finite());
    match (number(&minimum.text), number(&maximum.text)) {
        (Some(minimum), Some(maximum)) if minimum <= maximum => Ok(Some(ScoreScale { minimum, maximum })),
        _ => {
            Err(place.error("has a damaged range of scores", "sml:minimum and sml:maximum as finite numbers"))
        }
    }
}
