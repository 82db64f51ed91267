//! Fishyscapes Lost & Found as it is published: only its labels, `fishyscapes_lostandfound/NNNN_FRAME_labels.png`. The pictures are
//! frames of Lost and Found, which lie beside that folder in their own layout, or gathered in `laf_images/`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::city_folders::CityFolders;
use super::listing::{Listing, NamedFile, label_files, pictures};
use super::{Finding, FindingKind, Item};
use crate::Result;

/// The labels, and where the pictures may lie.
#[derive(Clone, Debug)]
pub(super) struct PublishedLabels {
    labels: PathBuf,
    gathered: PathBuf,
    lost_and_found: Option<CityFolders>,
}

impl PublishedLabels {
    /// The folder of labels below `root`, where it exists.
    pub fn find(root: &Path) -> Option<Self> {
        let labels = root.join("fishyscapes_lostandfound");
        let lost_and_found = CityFolders::find(root, "gtCoarse");
        labels.is_dir().then(|| Self { labels, gathered: root.join("laf_images"), lost_and_found })
    }

    /// The labelled frames with their pictures.
    pub fn list(&self) -> Result<Listing> {
        let mut frames: BTreeMap<String, PathBuf> = BTreeMap::new();
        let gathered = if self.gathered.is_dir() { pictures(&self.gathered)? } else { Vec::new() };
        let recorded = self.lost_and_found.as_ref().map(CityFolders::all_frames).transpose()?;
        for NamedFile { stem, path } in gathered.into_iter().chain(recorded.unwrap_or_default()) {
            let frame = stem.strip_suffix("_leftImg8bit").unwrap_or(&stem).to_owned();
            frames.entry(frame).or_insert(path);
        }
        let mut listing = Listing::default();
        for NamedFile { stem, path } in label_files(&self.labels)? {
            let Some(frame) = frame_of(&stem) else { continue };
            match frames.get(frame) {
                Some(image) => {
                    listing.items.push(Item {
                        name: frame.to_owned(),
                        image: image.clone(),
                        labels: Some(path),
                    });
                }
                None => {
                    let problem = format!("has no picture {frame}_leftImg8bit.png of Lost and Found");
                    listing.findings.push(Finding::new(FindingKind::WithoutPicture, &path, problem));
                }
            }
        }
        Ok(listing)
    }
}

/// `NNNN_FRAME_labels` without its number and its end.
fn frame_of(label: &str) -> Option<&str> {
    let (number, frame) = label.strip_suffix("_labels")?.split_once('_')?;
    number.bytes().all(|byte| byte.is_ascii_digit()).then_some(frame)
}

#[cfg(test)]
mod tests {
    use super::frame_of;

    #[test]
    fn frames_of_label_names() {
        let official = "0003_04_Maurener_Weg_8_000001_000190_labels";
        assert_eq!(frame_of(official), Some("04_Maurener_Weg_8_000001_000190"));
        for other in ["readme", "0003_labels", "a_b_labels", "0003_04_Maurener"] {
            assert_eq!(frame_of(other), None);
        }
    }
}
