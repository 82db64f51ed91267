//! StreetHazards: `train/images/training/TOWN/NAME.png` with `train/annotations/training/TOWN/NAME.png`, `validation` beside
//! `training`, and `test/images/test/TOWN/NAME.png`. The folders `train` and `test` of the two archives may be left out.

use std::path::{Path, PathBuf};

use super::listing::{Listing, folders, holds_pictures, label_files, pictures};
use crate::Result;

/// A split's name, and its folder in each archive.
const SPLITS: [(&str, &str, &str); 3] =
    [("train", "train", "training"), ("validation", "train", "validation"), ("test", "test", "test")];

/// The root of the archives.
#[derive(Clone, Debug)]
pub(super) struct StreetHazards {
    root: PathBuf,
}

impl StreetHazards {
    /// The archives below `root`, where they hold pictures.
    pub fn find(root: &Path) -> Option<Self> {
        let found = Self { root: root.to_owned() };
        (!found.splits().is_empty()).then_some(found)
    }

    /// The splits that hold pictures.
    pub fn splits(&self) -> Vec<String> {
        let present = SPLITS.iter().filter(|(split, ..)| self.folders_of(split).is_some());
        present.map(|(split, ..)| (*split).to_owned()).collect()
    }

    /// The pictures of a split with their labels.
    pub fn list(&self, split: &str) -> Result<Listing> {
        let mut listing = Listing::default();
        if let Some((images, annotations)) = self.folders_of(split) {
            for (town, folder) in folders(&images)? {
                let labels = label_files(&annotations.join(&town))?;
                listing.pair(&format!("{town}/"), pictures(&folder)?, labels, annotations.is_dir())?;
            }
        }
        Ok(listing)
    }

    /// Folders of the pictures and of the labels of a split.
    fn folders_of(&self, split: &str) -> Option<(PathBuf, PathBuf)> {
        let (_, archive, folder) = SPLITS.iter().find(|(name, ..)| *name == split)?;
        [self.root.join(archive), self.root.clone()].into_iter().find_map(|base| {
            let (images, annotations) =
                (base.join("images").join(folder), base.join("annotations").join(folder));
            holds_pictures(&images).then_some((images, annotations))
        })
    }
}
