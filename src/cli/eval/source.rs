//! Where the images of an evaluation come from, and how one of them is read. Reading runs on worker threads.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use image::RgbImage;
use ndarray::Array2;
use sha2::{Digest, Sha256};

use super::pairs::{by_stem, image_of_labels};
use super::scorer::Measurement;
use crate::dataset::{ContentHash, Dataset, LabelMap};
use crate::files::{LogitsFile, PictureSource, decode_label_map, read_at_most, read_picture, read_score_map};
use crate::{Error, Result, Size};

/// Formats of saved logits.
const LOGITS: [&str; 3] = ["npy", "npz", "safetensors"];
/// Formats of saved scores.
const SCORES: [&str; 5] = ["npy", "npz", "hdf5", "h5", "png"];
/// Formats of labels.
const LABELS: [&str; 2] = ["png", "npy"];

/// Largest file of labels that is read.
const LARGEST_LABELS: u64 = 1 << 30;

/// The images of a set, in their order.
pub(super) struct Inputs {
    /// Name of the set.
    pub name: String,
    /// Its split, where it has several.
    pub split: Option<String>,
    /// Its images.
    pub images: Vec<Image>,
    kind: Kind,
    /// Where labels come from, if not from a file beside the scores.
    dataset: Option<Dataset>,
}

/// What is read for an image beside its labels.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    #[cfg(feature = "torch")]
    Pictures,
    Logits,
    Scores,
}

/// An image of a set.
pub(super) struct Image {
    /// Name in the set.
    pub name: String,
    /// One file of logits, or one file a score; what is missing has the folder in which it was looked for.
    files: Vec<Result<PathBuf, PathBuf>>,
    labels: LabelsOf,
}

/// Where the labels of an image are.
enum LabelsOf {
    File(PathBuf),
    Item(usize),
}

/// What was read for an image.
pub(super) struct Loaded {
    /// Digest of the files.
    pub files: ContentHash,
    /// 1 unexpected, 0 normal, anything else ignored.
    pub labels: Option<LabelMap>,
    /// Train ids, 255 where ignored.
    pub train_ids: Option<LabelMap>,
    /// Labelled pixels of a value that the dataset does not define.
    pub undefined_labels: u64,
    /// Scores, logits or a picture.
    pub content: Content,
}

/// What the scores are made of.
pub(super) enum Content {
    #[cfg(feature = "torch")]
    Picture(RgbImage),
    Logits(LogitsFile),
    Scores(Vec<Array2<f32>>),
}

/// A folder's files by their stem.
type ByStem = BTreeMap<String, PathBuf>;

impl Inputs {
    /// The pictures of a dataset, for a network.
    #[cfg(feature = "torch")]
    pub(super) fn pictures(dataset: Dataset) -> Self {
        let image = |(index, item): (usize, &crate::dataset::Item)| Image {
            name: item.name.clone(),
            files: Vec::new(),
            labels: LabelsOf::Item(index),
        };
        let images = dataset.items().iter().enumerate().map(image).collect();
        Self::of_dataset(Kind::Pictures, images, dataset)
    }

    /// Saved logits (one folder) or scores (one folder a method) for the labels of a dataset, matched by the last part of
    /// the images' names.
    pub(super) fn saved_for(kind: Kind, folders: &[PathBuf], dataset: Dataset) -> Result<Self> {
        let files = list(kind, folders)?;
        let image = |(index, item): (usize, &crate::dataset::Item)| {
            let stem = item.name.rsplit('/').next().unwrap_or(&item.name);
            Image {
                name: item.name.clone(),
                files: find(&files, folders, &[stem]),
                labels: LabelsOf::Item(index),
            }
        };
        let images: Vec<Image> = dataset.items().iter().enumerate().map(image).collect();
        check_any(&images, folders, dataset.root())?;
        Ok(Self::of_dataset(kind, images, dataset))
    }

    fn of_dataset(kind: Kind, images: Vec<Image>, dataset: Dataset) -> Self {
        Self {
            name: dataset.name().to_owned(),
            split: dataset.split().map(str::to_owned),
            images,
            kind,
            dataset: Some(dataset),
        }
    }

    /// Saved logits or scores, with labels in a folder of their own.
    pub(super) fn saved(kind: Kind, folders: &[PathBuf], labels: &Path) -> Result<Self> {
        let files = list(kind, folders)?;
        let mut images = Vec::new();
        for (stem, path) in by_stem(labels, &LABELS)? {
            let short = image_of_labels(&stem);
            let is_short = !files.iter().any(|files| files.contains_key(&stem))
                && files.iter().any(|files| files.contains_key(short));
            images.push(Image {
                files: find(&files, folders, &[&stem, short]),
                name: if is_short { short.to_owned() } else { stem },
                labels: LabelsOf::File(path),
            });
        }
        check_any(&images, folders, labels)?;
        let name = labels.file_name().unwrap_or(labels.as_os_str()).to_string_lossy().into_owned();
        Ok(Self { name, split: None, images, kind, dataset: None })
    }

    /// The dataset, where the images are of one.
    pub(super) fn dataset(&self) -> Option<&Dataset> {
        self.dataset.as_ref()
    }

    /// SHA-256 over the names of the images, in their order.
    pub(super) fn digest_of_names(&self) -> String {
        let mut hash = Sha256::new();
        for image in &self.images {
            hash.update(image.name.as_bytes());
            hash.update([0]);
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Reads an image with its labels.
    ///
    /// # Errors
    /// When a file is missing or cannot be used.
    pub(super) fn read(&self, index: usize) -> Result<Loaded> {
        let image = &self.images[index];
        #[cfg(feature = "torch")]
        if let (Kind::Pictures, Some(dataset)) = (self.kind, &self.dataset) {
            let sample = dataset.read(&dataset.items()[index])?;
            return Ok(Loaded {
                files: sample.content,
                labels: sample.anomaly,
                train_ids: sample.train_ids,
                undefined_labels: sample.undefined_labels,
                content: Content::Picture(sample.picture),
            });
        }
        let present = image.files.iter().map(|file| match file {
            Ok(path) => Ok(path.as_path()),
            Err(folder) => {
                Err(Error::file(folder, format!("holds nothing for {}", image.name), "a file of that name"))
            }
        });
        let present = present.collect::<Result<Vec<&Path>>>()?;
        let mut loaded = self.read_labels(image, self.read_content(&present)?)?;
        for path in &present {
            loaded.files.add(&name_of(path), &read_at_most(path, u64::MAX)?);
        }
        Ok(loaded)
    }

    fn read_content(&self, files: &[&Path]) -> Result<Content> {
        if self.kind == Kind::Logits {
            return Ok(Content::Logits(LogitsFile::read(files[0], None)?));
        }
        Ok(Content::Scores(files.iter().map(read_score_map).collect::<Result<_>>()?))
    }

    fn read_labels(&self, image: &Image, content: Content) -> Result<Loaded> {
        let mut loaded = Loaded {
            files: ContentHash::default(),
            labels: None,
            train_ids: None,
            undefined_labels: 0,
            content,
        };
        match (&image.labels, &self.dataset) {
            (LabelsOf::Item(index), Some(dataset)) => {
                let item = &dataset.items()[*index];
                let labels = dataset.read_labels(item)?.ok_or_else(|| {
                    Error::file(&item.image, "has no labels", "a label file of its name in the dataset")
                })?;
                loaded.files = labels.content;
                loaded.labels = labels.anomaly;
                loaded.train_ids = labels.train_ids;
                loaded.undefined_labels = labels.undefined;
            }
            (LabelsOf::File(path), _) => {
                let bytes = read_at_most(path, LARGEST_LABELS)?;
                loaded.files.add(&name_of(path), &bytes);
                loaded.labels = Some(decode_label_map(path, &bytes)?);
            }
            (LabelsOf::Item(_), None) => {}
        }
        Ok(loaded)
    }

    /// The photograph of an image: the network's input, or that of the dataset whose labels are used, if it has the labels'
    /// size. What cannot be read is not shown.
    pub(super) fn photograph<'a>(
        &self,
        index: usize,
        measured: &'a Measurement,
    ) -> Option<Cow<'a, RgbImage>> {
        #[cfg(feature = "torch")]
        if let Content::Picture(picture) = &measured.loaded.content {
            return Some(Cow::Borrowed(picture));
        }
        let LabelsOf::Item(item) = self.images[index].labels else { return None };
        let path = self.dataset.as_ref()?.items().get(item)?.image.clone();
        let picture = read_picture(&PictureSource::File(path)).ok()?;
        let size = Size::new(picture.height() as usize, picture.width() as usize);
        (size == measured.size).then_some(Cow::Owned(picture))
    }

    /// The first file that is there, which tells the number of classes of logits.
    pub(super) fn first_file(&self) -> Option<&Path> {
        let mut files = self.images.iter().flat_map(|image| image.files.iter().flatten());
        files.next().map(PathBuf::as_path)
    }
}

impl Loaded {
    /// Rows and columns of the labels, or of the picture where there are none.
    pub(super) fn size(&self) -> Option<Size> {
        let labels = self.labels.as_ref().or(self.train_ids.as_ref());
        let of_labels = labels.map(|labels| Size::new(labels.nrows(), labels.ncols()));
        #[cfg(feature = "torch")]
        if let Content::Picture(picture) = &self.content {
            return Some(Size::new(picture.height() as usize, picture.width() as usize));
        }
        of_labels
    }
}

/// The files of each folder.
fn list(kind: Kind, folders: &[PathBuf]) -> Result<Vec<ByStem>> {
    let extensions: &[&str] = if kind == Kind::Logits { &LOGITS } else { &SCORES };
    folders.iter().map(|folder| by_stem(folder, extensions)).collect()
}

/// In each folder the file of one of these stems, the first that is there.
fn find(files: &[ByStem], folders: &[PathBuf], stems: &[&str]) -> Vec<Result<PathBuf, PathBuf>> {
    let one = |(files, folder): (&ByStem, &PathBuf)| {
        stems.iter().find_map(|stem| files.get(*stem)).cloned().ok_or_else(|| folder.clone())
    };
    files.iter().zip(folders).map(one).collect()
}

/// Refuses folders that have nothing to do with the labels.
fn check_any(images: &[Image], folders: &[PathBuf], labels: &Path) -> Result<()> {
    if images.iter().any(|image| image.files.iter().any(Result::is_ok)) {
        return Ok(());
    }
    let problem = format!("no file here has the name of one in {}", labels.display());
    Err(Error::file(&folders[0], problem, "files named as their labels, such as 7.npy for 7.png"))
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
