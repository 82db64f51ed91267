//! RoadAnomaly as it is published: `frames/NAME.webp` (or .jpg) with `frames/NAME.labels/labels_semantic.png`, and a list
//! `frame_list.json` of all pictures.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::listing::{Listing, NamedFile, folders, pictures};
use super::{Finding, FindingKind};
use crate::Result;
use crate::files::read_at_most;

/// Far more than a list of 60 names needs.
const LONGEST_LIST: u64 = 1 << 20;

/// The folder of the frames, and the list.
#[derive(Clone, Debug)]
pub(super) struct Frames {
    folder: PathBuf,
    list: PathBuf,
}

impl Frames {
    /// The folder `frames` below `root`, where it holds pictures and folders of labels.
    pub fn find(root: &Path) -> Option<Self> {
        let folder = root.join("frames");
        let has_labels = folders(&folder).ok()?.iter().any(|(name, _)| name.ends_with(".labels"));
        let has_pictures = pictures(&folder).is_ok_and(|found| !found.is_empty());
        (has_labels && has_pictures).then(|| Self { folder, list: root.join("frame_list.json") })
    }

    /// The pictures with their labels.
    pub fn list(&self) -> Result<Listing> {
        let pictures = pictures(&self.folder)?;
        let labels = folders(&self.folder)?.into_iter().filter_map(|(name, folder)| {
            let path = folder.join("labels_semantic.png");
            let stem = name.strip_suffix(".labels")?.to_owned();
            // A link that points nowhere is reported when it is read.
            path.symlink_metadata().is_ok().then_some(NamedFile { stem, path })
        });
        let mut listing = Listing::default();
        let present: BTreeSet<String> = pictures.iter().map(|file| file.stem.clone()).collect();
        listing.pair("", pictures, labels, true)?;
        for name in self.listed()? {
            let stem = name.rsplit_once('.').map_or(name.as_str(), |(stem, _)| stem);
            if !present.contains(stem) {
                let path = self.folder.join(&name);
                listing.findings.push(Finding::new(
                    FindingKind::Missing,
                    &path,
                    "is in frame_list.json and missing",
                ));
            }
        }
        Ok(listing)
    }

    /// Names in the list; none where it is missing or holds something else, since everything else tells what is there.
    fn listed(&self) -> Result<Vec<String>> {
        if !self.list.is_file() {
            return Ok(Vec::new());
        }
        Ok(serde_json::from_slice(&read_at_most(&self.list, LONGEST_LIST)?).unwrap_or_default())
    }
}
