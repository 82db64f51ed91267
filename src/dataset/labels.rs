//! What the values of a label file mean, and label files themselves.

use std::io::Cursor;
use std::path::Path;

use image::GrayImage;
use ndarray::Array2;

use super::DatasetKind;
use super::content_hash::ContentHash;
use crate::cityscapes;
use crate::files::decode_labels;
use crate::metrics::{IGNORED_TRAIN_ID, NORMAL, UNEXPECTED};
use crate::{Error, Result};

/// Labels of a picture, height x width. Of anomalies: 1 unexpected, 0 normal, 255 ignored; of classes: train ids 0..=18, 255
/// ignored.
pub type LabelMap = Array2<u8>;

/// Anomaly label of pixels that are left out of every metric.
pub const IGNORED: u8 = 255;

/// What a label file says, in the terms of the metrics.
#[derive(Clone, Debug)]
pub struct Labels {
    /// Unexpected (1), normal (0) and ignored (255) pixels, where the dataset tells them.
    pub anomaly: Option<LabelMap>,
    /// Train ids of Cityscapes' classes, 255 where ignored, where the dataset has them.
    pub train_ids: Option<LabelMap>,
    /// Pixels with a value that the layout does not define. They are ignored; many of them mean another layout.
    pub undefined: u64,
    /// The file.
    pub content: ContentHash,
}

/// What each value of a label file stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LabelValues {
    anomaly: Option<[u8; 256]>,
    train_ids: Option<[u8; 256]>,
    defined: [bool; 256],
}

/// The values of a folder of labels that no known dataset defines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderLabels {
    /// Folder of the pictures, relative to the root.
    pub images: std::path::PathBuf,
    /// Folder of the labels, relative to the root. Without such a folder the pictures have no labels.
    pub labels: std::path::PathBuf,
    /// Values of unexpected pixels.
    pub anomaly: Vec<u8>,
    /// Values of normal pixels.
    pub normal: Vec<u8>,
    /// Values of ignored pixels; without any, all others are.
    pub ignore: Vec<u8>,
}

impl Default for FolderLabels {
    fn default() -> Self {
        Self {
            images: "images".into(),
            labels: "labels".into(),
            anomaly: vec![UNEXPECTED],
            normal: vec![NORMAL],
            ignore: Vec::new(),
        }
    }
}

impl LabelValues {
    /// The values of a dataset; `folders` is asked for [`DatasetKind::Folders`] alone.
    pub fn of(kind: DatasetKind, folders: &FolderLabels) -> Result<Self> {
        let anomaly = |unexpected: &dyn Fn(u8) -> bool, normal: &dyn Fn(u8) -> bool| {
            values(|value| match value {
                _ if unexpected(value) => UNEXPECTED,
                _ if normal(value) => NORMAL,
                _ => IGNORED,
            })
        };
        let (anomaly, defined): (_, &dyn Fn(u8) -> bool) = match kind {
            DatasetKind::Cityscapes => return Ok(Self::cityscapes()),
            DatasetKind::FishyscapesLostAndFound
            | DatasetKind::FishyscapesStatic
            | DatasetKind::RoadAnomaly21
            | DatasetKind::RoadObstacle21 => {
                (anomaly(&|v| v == 1, &|v| v == 0), &|v| matches!(v, 0 | 1 | IGNORED))
            }
            // 1 is the free road, 2..=43 are objects by its table of labels, and the benchmark takes all up to 200 for objects.
            DatasetKind::LostAndFound => {
                (anomaly(&|v| (2..=200).contains(&v), &|v| v == 1), &|v| v <= 43 || v == IGNORED)
            }
            DatasetKind::RoadAnomaly => {
                (anomaly(&|v| v == 2, &|v| v == 0), &|v| matches!(v, 0 | 2 | IGNORED))
            }
            // The project's classes 0..=13, of which 13 is the anomaly, are stored as 1..=14.
            DatasetKind::StreetHazards => {
                (anomaly(&|v| v == 14, &|v| (1..=13).contains(&v)), &|v| (1..=14).contains(&v))
            }
            DatasetKind::Folders => {
                let anomaly = Some(folders.anomaly_labels()?);
                let known = |v: u8| {
                    [&folders.anomaly, &folders.normal, &folders.ignore].iter().any(|f| f.contains(&v))
                };
                let defined =
                    values(|v| u8::from(folders.ignore.is_empty() || known(v))).map(|known| known == 1);
                return Ok(Self { anomaly, train_ids: None, defined });
            }
        };
        let defined = values(|value| u8::from(defined(value))).map(|known| known == 1);
        Ok(Self { anomaly: Some(anomaly), train_ids: None, defined })
    }

    /// True for the label ids of Cityscapes.
    pub fn has_train_ids(&self) -> bool {
        self.train_ids.is_some()
    }

    fn cityscapes() -> Self {
        let label = |value: u8| cityscapes::LABELS.iter().find(|label| label.id == value);
        let train_id = |value| label(value).and_then(|label| label.train_id).unwrap_or(IGNORED_TRAIN_ID);
        let defined = values(|value| u8::from(label(value).is_some())).map(|known| known == 1);
        Self { anomaly: None, train_ids: Some(values(train_id)), defined }
    }

    /// Maps the bytes of a label file; `path` is for messages and `name` for the digest.
    pub fn decode(&self, path: &Path, name: &str, bytes: &[u8]) -> Result<Labels> {
        let raw = decode(path, bytes)?;
        let mut content = ContentHash::default();
        content.add(name, bytes);
        let counts = count_values(&raw);
        let undefined = (0..256).filter(|&value| !self.defined[value]).map(|value| counts[value]).sum();
        let map = |table: &[u8; 256]| {
            let mapped = raw.as_raw().iter().map(|&value| table[usize::from(value)]).collect();
            Array2::from_shape_vec((raw.height() as usize, raw.width() as usize), mapped).map_err(|error| {
                Error::file(path, format!("has an impossible shape ({error})"), "a label picture")
            })
        };
        Ok(Labels {
            anomaly: self.anomaly.as_ref().map(map).transpose()?,
            train_ids: self.train_ids.as_ref().map(map).transpose()?,
            undefined,
            content,
        })
    }

    /// What the bytes of a label file hold that the layout does not define.
    pub fn undefined(&self, path: &Path, bytes: &[u8]) -> Result<UndefinedValues> {
        let raw = decode(path, bytes)?;
        let counts = count_values(&raw);
        let undefined = (0..=255_u8).filter(|&value| !self.defined[usize::from(value)]);
        let counted = undefined.map(|value| (value, counts[usize::from(value)]));
        let size = (raw.height() as usize, raw.width() as usize);
        Ok(UndefinedValues { pixels: counted.filter(|(_, pixels)| *pixels > 0).collect(), size })
    }
}

/// Values that a layout does not define, with the number of their pixels, in labels of a size (height, width).
pub(super) struct UndefinedValues {
    pub pixels: Vec<(u8, u64)>,
    pub size: (usize, usize),
}

impl FolderLabels {
    /// What each label value stands for: unexpected (1), normal (0) or ignored (255).
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] when a value is given twice, or there is none.
    pub fn anomaly_labels(&self) -> Result<[u8; 256]> {
        self.check()?;
        Ok(values(|value| match value {
            _ if self.anomaly.contains(&value) => UNEXPECTED,
            _ if self.normal.contains(&value) => NORMAL,
            _ => IGNORED,
        }))
    }

    fn check(&self) -> Result<()> {
        let refuse = |field, given: String, expected| Err(Error::InvalidParameter { field, given, expected });
        if self.anomaly.is_empty() && self.normal.is_empty() {
            return refuse(
                "the label values",
                "none".to_owned(),
                "a value of unexpected or of normal pixels",
            );
        }
        let all = || [&self.anomaly, &self.normal, &self.ignore].into_iter().flatten();
        match all().find(|&&value| all().filter(|&&other| other == value).count() > 1) {
            Some(twice) => {
                refuse("the label values", format!("{twice} twice"), "each value in one place only")
            }
            None => Ok(()),
        }
    }
}

fn values(value: impl Fn(u8) -> u8) -> [u8; 256] {
    std::array::from_fn(|index| value(index as u8))
}

fn count_values(raw: &GrayImage) -> [u64; 256] {
    let mut counts = [0; 256];
    raw.as_raw().iter().for_each(|&value| counts[usize::from(value)] += 1);
    counts
}

/// The values of a label file: grey, or the indices of a picture with a palette, in which many tools save labels.
fn decode(path: &Path, bytes: &[u8]) -> Result<GrayImage> {
    match palette_indices(bytes) {
        Some(indices) => Ok(indices),
        None => decode_labels(path, bytes),
    }
}

/// The indices of an undamaged PNG with a palette of 8 bits; `None` for everything else, about which [`decode_labels`] has
/// something to say. Size is bounded by the decoder's limits, as it is there.
fn palette_indices(bytes: &[u8]) -> Option<GrayImage> {
    let limits = png::Limits { bytes: 768 << 20 };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), limits);
    decoder.set_transformations(png::Transformations::IDENTITY);
    let mut reader = decoder.read_info().ok()?;
    let info = reader.info();
    let (width, height) = (info.width, info.height);
    if (info.color_type, info.bit_depth) != (png::ColorType::Indexed, png::BitDepth::Eight) {
        return None;
    }
    let mut indices = vec![0; reader.output_buffer_size().filter(|&bytes| bytes <= 1 << 30)?];
    reader.next_frame(&mut indices).ok()?;
    indices.truncate(width as usize * height as usize);
    GrayImage::from_raw(width, height, indices)
}
