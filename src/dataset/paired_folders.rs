//! Layouts with one folder of pictures and one of labels, paired by name.
//!
//! `images/NAME.EXT` belongs to `labels_masks/NAME.png` or `labels_masks/NAME_labels_semantic.png`, as SegmentMeIfYouCan names
//! them; many copies of the other datasets are kept in that form too. Colour versions and instance labels beside them are
//! passed over.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::listing::{Listing, NamedFile, label_files, pictures};
use crate::Result;

/// What label files append to their picture's name.
const LABEL_SUFFIXES: [&str; 4] = ["_labels_semantic", "_unexpected", "_labels", "_mask"];
/// Ends of files that show labels or hold others.
const COMPANIONS: [&str; 4] = ["_color", "_instance", "_labels_instance", "_overlay"];
/// How the pictures of SegmentMeIfYouCan with public labels are called.
const VALIDATION: &str = "validation";

/// A folder of pictures and one of labels.
#[derive(Clone, Debug)]
pub(super) struct PairedFolders {
    pictures: PathBuf,
    labels: PathBuf,
}

impl PairedFolders {
    /// The folders with these names below `root`, where the first holds pictures.
    pub fn find(root: &Path, images: &Path, labels: &Path) -> Option<Self> {
        let (pictures_folder, labels) = (root.join(images), root.join(labels));
        let holds_pictures = pictures(&pictures_folder).is_ok_and(|found| !found.is_empty());
        holds_pictures.then_some(Self { pictures: pictures_folder, labels })
    }

    /// True when there is a folder of labels.
    pub fn has_labels(&self) -> bool {
        self.labels.is_dir()
    }

    /// True when the labels are named as SegmentMeIfYouCan does, and whether the pictures are WebP files.
    pub fn is_segment_me_if_you_can(&self) -> Option<bool> {
        let labels = label_files(&self.labels).ok()?;
        labels.iter().find(|label| label.stem.ends_with(LABEL_SUFFIXES[0]))?;
        let pictures = pictures(&self.pictures).ok()?;
        let is_webp =
            |file: &NamedFile| file.path.extension().is_some_and(|end| end.eq_ignore_ascii_case("webp"));
        Some(pictures.iter().all(is_webp))
    }

    /// The splits of SegmentMeIfYouCan, where the names tell them.
    pub fn splits(&self) -> Vec<String> {
        let pictures = pictures(&self.pictures).unwrap_or_default();
        let validation = pictures.iter().filter(|file| file.stem.starts_with(VALIDATION)).count();
        match (validation, pictures.len() - validation) {
            (0, _) => Vec::new(),
            (_, 0) => vec![VALIDATION.to_owned()],
            _ => [VALIDATION, "test", "all"].map(str::to_owned).to_vec(),
        }
    }

    /// The pictures, of a split or all, with their labels.
    pub fn list(&self, split: Option<&str>) -> Result<Listing> {
        let wanted = |file: &NamedFile| match split {
            Some(VALIDATION) => file.stem.starts_with(VALIDATION),
            Some("test") => !file.stem.starts_with(VALIDATION),
            _ => true,
        };
        let pictures = pictures(&self.pictures)?;
        let names: BTreeSet<&str> = pictures.iter().map(|file| file.stem.as_str()).collect();
        let labels = label_files(&self.labels)?.into_iter().filter_map(|file| {
            let stem = picture_of(&file.stem, &names)?.to_owned();
            Some(NamedFile { stem, ..file })
        });
        let labels: Vec<NamedFile> = labels.filter(wanted).collect();
        // The test pictures' labels are not public.
        let expected = self.has_labels() && split != Some("test") && split != Some("all");
        let pictures: Vec<NamedFile> = pictures.iter().filter(|file| wanted(file)).cloned().collect();
        let mut listing = Listing::default();
        listing.pair("", pictures, labels, expected)?;
        Ok(listing)
    }
}

/// The name of the picture that a label file belongs to; `None` for what only accompanies labels.
fn picture_of<'a>(label: &'a str, pictures: &BTreeSet<&str>) -> Option<&'a str> {
    if pictures.contains(label) {
        return Some(label);
    }
    if COMPANIONS.iter().any(|end| label.ends_with(end)) {
        return None;
    }
    let suffix = LABEL_SUFFIXES.iter().find_map(|suffix| label.strip_suffix(suffix));
    Some(suffix.unwrap_or(label))
}
