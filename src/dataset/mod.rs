//! Datasets as they lie on a disk: which pictures a set holds, which labels belong to them, and what their values mean.
//!
//! [`Dataset::open`] finds the files of one of the known layouts ([`DatasetKind`]), or of the one that fits; nothing is read
//! then. [`Dataset::read`] reads the picture and the labels of an [`Item`] once, decodes them, maps the labels' values to
//! those of the metrics, and digests the same bytes, so that the [`ContentHash`] of a result is that of what was measured.
//! [`read_ahead`] does so on worker threads while a network works on the picture before. [`Dataset::check`] verifies a copy.
//!
//! | layout | unexpected | normal | ignored |
//! | --- | --- | --- | --- |
//! | Cityscapes | | | train ids instead, of the label ids |
//! | Fishyscapes, RoadAnomaly21, RoadObstacle21 | 1 | 0 | 255, others |
//! | Lost and Found | 2 to 200 | 1 (free road) | 0, 255, others |
//! | RoadAnomaly | 2 | 0 | others |
//! | StreetHazards | 14 | 1 to 13 | others |
//!
//! A file of its own for each family of layouts: `city_folders`, `paired_folders`, `road_anomaly`, `fishyscapes`,
//! `street_hazards`; `layout` chooses among them.

mod check;
mod city_folders;
mod content_hash;
mod fishyscapes;
mod kind;
mod labels;
mod layout;
mod listing;
mod paired_folders;
mod read_ahead;
mod road_anomaly;
mod shard;
mod street_hazards;

use std::path::{Path, PathBuf};

use image::RgbImage;

pub use check::{Check, Finding, FindingKind};
pub use content_hash::ContentHash;
pub use kind::DatasetKind;
pub use labels::{FolderLabels, IGNORED, LabelMap, Labels};
pub use read_ahead::{read_ahead, reading_threads};
pub use shard::Shard;

use crate::files::{decode_picture, read_at_most};
use crate::{Error, Result};
use labels::LabelValues;
use layout::Layout;

/// Largest file that is read: far more than a picture of 50 megapixels takes.
const LARGEST_FILE: u64 = 512 << 20;

/// A picture of a dataset, with its labels where it has some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Name within the set, of which there is only one; it may hold `/` (`frankfurt/frankfurt_000001_058914`).
    pub name: String,
    /// The picture: PNG, JPEG or WebP.
    pub image: PathBuf,
    /// The labels: an 8-bit PNG, grey or with a palette.
    pub labels: Option<PathBuf>,
}

/// An item, read and decoded.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The picture.
    pub picture: RgbImage,
    /// Unexpected (1), normal (0) and ignored (255) pixels, of the picture's size, where the dataset labels them.
    pub anomaly: Option<LabelMap>,
    /// Train ids of Cityscapes' classes, 255 where ignored, of the picture's size, where the dataset labels them.
    pub train_ids: Option<LabelMap>,
    /// Labelled pixels with a value that the layout does not define; they are ignored.
    pub undefined_labels: u64,
    /// The files that were read.
    pub content: ContentHash,
}

/// A dataset, or a split or a part of it: its pictures in a fixed order, by name.
#[derive(Clone, Debug)]
pub struct Dataset {
    kind: DatasetKind,
    root: PathBuf,
    split: Option<String>,
    shard: Option<Shard>,
    items: Vec<Item>,
    values: LabelValues,
    findings: Vec<Finding>,
}

impl Dataset {
    /// Finds the files of a dataset below `root`. Without a `kind` it is told by the structure; `folders` is asked for
    /// [`DatasetKind::Folders`] alone. A split has to be named where the layout has several, except that Fishyscapes is its
    /// `val`, Lost and Found and StreetHazards are their `test`, and SegmentMeIfYouCan's tracks are their `validation`.
    ///
    /// Pictures without labels and labels without pictures are kept as [`findings`](Self::findings).
    ///
    /// # Errors
    /// [`Error::Io`] for folders that cannot be read; [`Error::File`] when no layout fits or several do, the split does not
    /// exist, there are two files of one name, or no picture at all; [`Error::InvalidParameter`] for label values of
    /// `folders` that contradict each other.
    pub fn open(
        kind: Option<DatasetKind>,
        root: impl AsRef<Path>,
        split: Option<&str>,
        folders: &FolderLabels,
    ) -> Result<Self> {
        let root = root.as_ref();
        let (kind, layout) = find(kind, root, folders)?;
        let values = LabelValues::of(kind, folders)?;
        let split = choose_split(kind, root, &layout.splits(kind), split)?;
        let listing = layout.list(split.as_deref())?;
        let mut items = listing.items;
        items.sort_by(|a, b| a.name.cmp(&b.name));
        if items.is_empty() {
            let problem = match listing.findings.first() {
                Some(finding) => format!("holds no picture of {kind} with its labels ({finding})"),
                None => format!("holds no picture of {kind}"),
            };
            return Err(Error::file(root, problem, "PNG, JPEG or WebP pictures"));
        }
        let mut dataset = Self {
            kind,
            root: root.to_owned(),
            split,
            shard: None,
            items,
            values,
            findings: listing.findings,
        };
        dataset.check_count();
        Ok(dataset)
    }

    /// Which dataset lies below `root`, and the splits that [`open`](Self::open) would take; none where it has none.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn splits(
        kind: Option<DatasetKind>,
        root: impl AsRef<Path>,
        folders: &FolderLabels,
    ) -> Result<(DatasetKind, Vec<String>)> {
        let (kind, layout) = find(kind, root.as_ref(), folders)?;
        Ok((kind, layout.splits(kind)))
    }

    /// Which dataset it is.
    pub fn kind(&self) -> DatasetKind {
        self.kind
    }

    /// Its name, such as `fishyscapes-static`.
    pub fn name(&self) -> &'static str {
        self.kind.name()
    }

    /// The folder that it lies in, as it was given.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The split, where the layout has several.
    pub fn split(&self) -> Option<&str> {
        self.split.as_deref()
    }

    /// Which part of the split this is; `None` for all of it.
    pub fn part(&self) -> Option<Shard> {
        self.shard
    }

    /// The pictures, by name. Never empty, but for a part of a set with fewer pictures than parts.
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// True when the labels are those of Cityscapes' classes, so that samples have train ids.
    pub fn has_train_ids(&self) -> bool {
        self.values.has_train_ids()
    }

    /// What does not fit: pictures without labels, labels without pictures, another number of pictures than the official
    /// copy has.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// A part of it: always the same pictures, and each picture in one part.
    #[must_use]
    pub fn shard(mut self, shard: Shard) -> Self {
        let mut position = 0..;
        self.items.retain(|_| position.next().is_some_and(|position| shard.holds(position)));
        self.shard = Some(shard);
        self
    }

    /// Reads and decodes the picture and the labels of an item, and maps the labels.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::File`] when a file cannot be read or decoded, or the labels have another size than the
    /// picture.
    pub fn read(&self, item: &Item) -> Result<Sample> {
        let bytes = read_at_most(&item.image, LARGEST_FILE)?;
        let picture = decode_picture(&item.image, &bytes)?;
        let mut content = ContentHash::default();
        content.add(&self.file_name(&item.image), &bytes);
        drop(bytes);
        let labels = self.read_labels(item)?;
        if let (Some(labels), Some(path)) = (&labels, &item.labels) {
            content.merge(&labels.content);
            let map = labels.anomaly.as_ref().or(labels.train_ids.as_ref());
            let size = (picture.height() as usize, picture.width() as usize);
            if let Some((height, width)) = map.map(LabelMap::dim).filter(|&labelled| labelled != size) {
                return Err(other_size(path, (height, width), size));
            }
        }
        let (anomaly, train_ids, undefined_labels) = match labels {
            Some(labels) => (labels.anomaly, labels.train_ids, labels.undefined),
            None => (None, None, 0),
        };
        Ok(Sample { picture, anomaly, train_ids, undefined_labels, content })
    }

    /// Reads and maps the labels of an item alone, for scores that come out of files; `None` where it has none.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_labels(&self, item: &Item) -> Result<Option<Labels>> {
        let Some(path) = &item.labels else { return Ok(None) };
        let bytes = read_at_most(path, LARGEST_FILE)?;
        self.values.decode(path, &self.file_name(path), &bytes).map(Some)
    }

    /// A file's path below the root, with `/` between its parts.
    fn file_name(&self, path: &Path) -> String {
        let below = path.strip_prefix(&self.root).unwrap_or(path);
        let parts: Vec<_> = below.iter().map(|part| part.to_string_lossy()).collect();
        parts.join("/")
    }
}

/// The dataset that was named, or the one that fits, with its folders.
fn find(kind: Option<DatasetKind>, root: &Path, folders: &FolderLabels) -> Result<(DatasetKind, Layout)> {
    let metadata = std::fs::metadata(root).map_err(|source| Error::io(root, "read", source))?;
    if !metadata.is_dir() {
        return Err(Error::file(root, "is a file", "the folder of a dataset"));
    }
    let kind = kind.map_or_else(|| layout::detect(root), Ok)?;
    Ok((kind, Layout::of(kind, root, folders)?))
}

/// Labels of another size than their picture.
fn other_size(labels: &Path, (height, width): (usize, usize), picture: (usize, usize)) -> Error {
    let given = format!("has {height}x{width} pixels (height x width)");
    Error::file(labels, given, format!("{}x{}, as its picture has", picture.0, picture.1))
}

/// The split to take of those that there are.
fn choose_split(
    kind: DatasetKind,
    root: &Path,
    splits: &[String],
    wanted: Option<&str>,
) -> Result<Option<String>> {
    let all = splits.join(", ");
    let usual = match kind {
        DatasetKind::FishyscapesLostAndFound | DatasetKind::FishyscapesStatic => "val",
        DatasetKind::LostAndFound | DatasetKind::StreetHazards => "test",
        DatasetKind::RoadAnomaly21 | DatasetKind::RoadObstacle21 => "validation",
        _ => "",
    };
    let has = |split: &str| splits.iter().any(|name| name == split);
    match (wanted, splits) {
        (None, []) => Ok(None),
        (None, [only]) => Ok(Some(only.clone())),
        (None, _) if has(usual) => Ok(Some(usual.to_owned())),
        (None, _) => Err(Error::file(root, format!("holds the splits {all}"), "--split to tell which")),
        (Some(wanted), []) => {
            let problem = format!("has no splits here, yet the split {wanted} is asked for");
            Err(Error::file(root, problem, "no --split"))
        }
        (Some(wanted), _) if has(wanted) => Ok(Some(wanted.to_owned())),
        (Some(wanted), _) => {
            Err(Error::file(root, format!("has no split {wanted}"), format!("one of: {all}")))
        }
    }
}
