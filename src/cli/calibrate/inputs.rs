//! What is measured: pictures, a dataset, or saved logits, each read on a worker thread while the network works.

use std::path::{Path, PathBuf};

use image::RgbImage;

use crate::dataset::{ContentHash, Dataset, LabelMap, Shard, reading_threads};
use crate::files::{LogitsFile, PictureSource, decode_picture, list_pictures, read_picture_bytes};
use crate::{Error, Result};

/// The inputs of a measurement, in their order.
pub(super) enum Inputs {
    Dataset(Box<Dataset>),
    Pictures(Vec<PictureSource>),
    Logits(Vec<PathBuf>),
}

/// An input, read.
pub(super) struct Input {
    pub decoded: Decoded,
    /// The files that were read; empty for logits, whose digest nobody asked for.
    pub content: ContentHash,
}

/// What a file holds.
pub(super) enum Decoded {
    Picture { picture: RgbImage, train_ids: Option<LabelMap> },
    Logits(LogitsFile),
}

impl Inputs {
    /// The dataset, or what the command line lists.
    pub fn open(dataset: Option<Dataset>, listed: &[PathBuf], shard: Option<Shard>) -> Result<Self> {
        let inputs = match dataset {
            Some(dataset) => Self::Dataset(Box::new(match shard {
                Some(shard) => dataset.shard(shard),
                None => dataset,
            })),
            None if listed.iter().all(|path| is_logits(path)) => Self::Logits(part(listed.to_vec(), shard)),
            None => Self::Pictures(part(list_pictures(listed)?, shard)),
        };
        match (inputs.len(), shard) {
            (0, Some(shard)) => Err(Error::InvalidParameter {
                field: "--shard",
                given: format!("{shard} of fewer inputs than shards"),
                expected: "at most as many shards as inputs",
            }),
            _ => Ok(inputs),
        }
    }

    pub fn len(&self) -> usize {
        match self {
            Self::Dataset(dataset) => dataset.items().len(),
            Self::Pictures(pictures) => pictures.len(),
            Self::Logits(files) => files.len(),
        }
    }

    pub fn is_logits(&self) -> bool {
        matches!(self, Self::Logits(_))
    }

    /// The file, for messages.
    pub fn path(&self, index: usize) -> &Path {
        match self {
            Self::Dataset(dataset) => &dataset.items()[index].image,
            Self::Pictures(pictures) => pictures[index].path(),
            Self::Logits(files) => &files[index],
        }
    }

    /// The name that a failure is reported under.
    pub fn name(&self, index: usize) -> String {
        match self {
            Self::Dataset(dataset) => dataset.items()[index].name.clone(),
            Self::Pictures(_) | Self::Logits(_) => self.path(index).display().to_string(),
        }
    }

    /// Reads and decodes an input.
    pub fn read(&self, index: usize) -> Result<Input> {
        match self {
            Self::Dataset(dataset) => {
                let sample = dataset.read(&dataset.items()[index])?;
                let decoded = Decoded::Picture { picture: sample.picture, train_ids: sample.train_ids };
                Ok(Input { decoded, content: sample.content })
            }
            Self::Pictures(pictures) => {
                let source = &pictures[index];
                let bytes = read_picture_bytes(source)?;
                let mut content = ContentHash::default();
                content.add(&source.path().file_name().unwrap_or_default().to_string_lossy(), &bytes);
                let picture = decode_picture(source.path(), &bytes)?;
                Ok(Input { decoded: Decoded::Picture { picture, train_ids: None }, content })
            }
            Self::Logits(files) => {
                let file = LogitsFile::read(&files[index], None)?;
                Ok(Input { decoded: Decoded::Logits(file), content: ContentHash::default() })
            }
        }
    }

    /// Threads that read, and how far they may be ahead. Logits take a hundred times the memory of a picture.
    pub fn reading(&self) -> (usize, usize) {
        match self {
            Self::Logits(_) => (1, 1),
            _ => (reading_threads(), reading_threads() + 2),
        }
    }
}

fn part<T>(inputs: Vec<T>, shard: Option<Shard>) -> Vec<T> {
    let held = |position: usize| shard.is_none_or(|shard| shard.holds(position));
    inputs.into_iter().enumerate().filter(|(position, _)| held(*position)).map(|(_, input)| input).collect()
}

fn is_logits(path: &Path) -> bool {
    let endings = ["npy", "npz", "safetensors"];
    path.extension().is_some_and(|given| endings.iter().any(|ending| given.eq_ignore_ascii_case(ending)))
}
