//! The layout of Cityscapes, which Lost and Found and the original project's copies of Fishyscapes share.
//!
//! `leftImg8bit/SPLIT/CITY/FRAME_leftImg8bit.png` and `gtFine/SPLIT/CITY/FRAME_gtFine_labelIds.png`, each below the folder of
//! its archive (`leftImg8bit_trainvaltest/`, `gtFine_trainvaltest/`) or not. Lost and Found has `gtCoarse` in the place of
//! `gtFine`. Pictures and labels may lie in the split's folder without cities in between.

use std::path::{Path, PathBuf};

use super::listing::{Listing, NamedFile, folders, holds_pictures, label_files, pictures};
use super::{Finding, FindingKind};
use crate::Result;

const PICTURE_SUFFIX: &str = "_leftImg8bit";
/// Where the pictures lie below the root: the official layout, the archives as they unpack into one folder, and the short form.
const PICTURE_FOLDERS: [&str; 3] =
    ["leftImg8bit_trainvaltest/leftImg8bit", "leftImg8bit/leftImg8bit", "leftImg8bit"];

/// The two trees of such a dataset.
#[derive(Clone, Debug)]
pub(super) struct CityFolders {
    root: PathBuf,
    pictures: PathBuf,
    labels: Option<PathBuf>,
    /// `gtFine` or `gtCoarse`.
    annotation: &'static str,
}

impl CityFolders {
    /// Finds the tree of pictures below `root`, and that of labels of this annotation where it exists.
    pub fn find(root: &Path, annotation: &'static str) -> Option<Self> {
        let has_splits = |folder: &PathBuf| !splits_of(folder).is_empty();
        let pictures = PICTURE_FOLDERS.map(|name| root.join(name)).into_iter().find(has_splits)?;
        let labels = [
            format!("{annotation}_trainvaltest/{annotation}"),
            format!("{annotation}/{annotation}"),
            annotation.to_owned(),
        ];
        let labels = labels.map(|name| root.join(name)).into_iter().find(|folder| folder.is_dir());
        Some(Self { root: root.to_owned(), pictures, labels, annotation })
    }

    /// True when there is a tree of labels.
    pub fn has_labels(&self) -> bool {
        self.labels.is_some()
    }

    /// The splits that hold pictures.
    pub fn splits(&self) -> Vec<String> {
        splits_of(&self.pictures)
    }

    /// The pictures of a split with their labels.
    pub fn list(&self, split: &str) -> Result<Listing> {
        let suffix = format!("_{}_labelIds", self.annotation);
        let mut listing = Listing::default();
        let all_labels = self.labels.as_ref().map(|labels| labels.join(split));
        let of_split = all_labels.as_ref().filter(|labels| labels.is_dir());
        let no_labels = |missing: &Path| {
            let problem = "is missing: no picture of the split has labels";
            Finding::new(FindingKind::Missing, missing, problem)
        };
        match (&all_labels, of_split) {
            (None, _) => listing.findings.push(no_labels(&self.root.join(self.annotation))),
            (Some(missing), None) => listing.findings.push(no_labels(missing)),
            _ => {}
        }
        for (prefix, city) in self.cities(split)? {
            let labels = of_split.map_or(Ok(Vec::new()), |labels| label_files(&labels.join(&prefix)))?;
            let frames = without_suffix(pictures(&city)?, PICTURE_SUFFIX);
            listing.pair(&prefix, frames, without_suffix(labels, &suffix), of_split.is_some())?;
        }
        Ok(listing)
    }

    /// Every picture of every split, by its frame's name.
    pub fn all_frames(&self) -> Result<Vec<NamedFile>> {
        let mut frames = Vec::new();
        for split in self.splits() {
            for (_, city) in self.cities(&split)? {
                frames.extend(without_suffix(pictures(&city)?, PICTURE_SUFFIX));
            }
        }
        Ok(frames)
    }

    /// The folders of a split with pictures, each with the prefix (`CITY/`) of the names in it; those of the labels may have
    /// further cities, whose labels then belong to no picture.
    fn cities(&self, split: &str) -> Result<Vec<(String, PathBuf)>> {
        let folder = self.pictures.join(split);
        let mut cities: Vec<(String, PathBuf)> =
            folders(&folder)?.into_iter().map(|(city, path)| (format!("{city}/"), path)).collect();
        cities.push((String::new(), folder));
        Ok(cities)
    }
}

fn splits_of(pictures: &Path) -> Vec<String> {
    let splits = folders(pictures).unwrap_or_default();
    splits.into_iter().filter(|(_, path)| holds_pictures(path)).map(|(name, _)| name).collect()
}

/// The files whose names end in `suffix`, without it. Other files belong to something else: `gtFine` holds colours,
/// instances and polygons beside the label ids.
fn without_suffix(files: Vec<NamedFile>, suffix: &str) -> impl Iterator<Item = NamedFile> {
    let suffix = suffix.to_owned();
    files.into_iter().filter_map(move |file| {
        let stem = file.stem.strip_suffix(&suffix)?.to_owned();
        Some(NamedFile { stem, ..file })
    })
}
