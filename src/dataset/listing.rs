//! What lies in the folders of a dataset, in an order that does not depend on the file system.
//!
//! Symbolic links are followed. Hidden files are left out, among them the `._NAME.png` that macOS puts beside each file on
//! foreign disks: they end like pictures and are none. A link that points nowhere is listed like a file, so that it is
//! reported when it is read, not passed over.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Finding, FindingKind, Item};
use crate::{Error, Result};

/// Extensions of the formats that pictures are decoded from, in lower case.
const PICTURES: [&str; 4] = ["png", "jpg", "jpeg", "webp"];

/// What a layout found: pictures with their labels, and what does not fit.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub items: Vec<Item>,
    pub findings: Vec<Finding>,
}

/// A file by its name without the extension.
#[derive(Clone, Debug)]
pub(super) struct NamedFile {
    pub stem: String,
    pub path: PathBuf,
}

/// The pictures directly in a folder, by name.
pub(super) fn pictures(folder: &Path) -> Result<Vec<NamedFile>> {
    files(folder, &PICTURES)
}

/// The PNG files directly in a folder, by name; none where there is no folder.
pub(super) fn label_files(folder: &Path) -> Result<Vec<NamedFile>> {
    if folder.is_dir() { files(folder, &["png"]) } else { Ok(Vec::new()) }
}

/// The folders directly in a folder, by name.
pub(super) fn folders(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    Ok(entries(folder)?.into_iter().filter(|(_, path)| path.is_dir()).collect())
}

fn files(folder: &Path, extensions: &[&str]) -> Result<Vec<NamedFile>> {
    let named = |(name, path): (String, PathBuf)| {
        let (stem, extension) = name.rsplit_once('.')?;
        let known = extensions.contains(&extension.to_ascii_lowercase().as_str());
        (known && !path.is_dir()).then(|| NamedFile { stem: stem.to_owned(), path })
    };
    Ok(entries(folder)?.into_iter().filter_map(named).collect())
}

/// Everything in a folder that is not hidden, by name.
fn entries(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let unreadable = |source| Error::io(folder, "read", source);
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            entries.push((name, entry.path()));
        }
    }
    entries.sort();
    Ok(entries)
}

/// True when a folder holds a picture, directly or one folder below.
pub(super) fn holds_pictures(folder: &Path) -> bool {
    let directly = |folder: &Path| pictures(folder).is_ok_and(|found| !found.is_empty());
    directly(folder) || folders(folder).is_ok_and(|found| found.iter().any(|(_, path)| directly(path)))
}

impl Listing {
    /// Puts pictures and labels of the same key together. Two pictures or two labels of one key are an error: which of
    /// them belongs to the other cannot be told.
    pub fn pair(
        &mut self,
        prefix: &str,
        pictures: impl IntoIterator<Item = NamedFile>,
        labels: impl IntoIterator<Item = NamedFile>,
        labels_expected: bool,
    ) -> Result<()> {
        let pictures = by_key(pictures, "picture")?;
        let mut labels = by_key(labels, "label file")?;
        for (key, image) in pictures {
            let found = labels.remove(&key);
            if found.is_none() && labels_expected {
                self.findings.push(Finding::new(FindingKind::WithoutLabels, &image, "has no labels"));
            }
            self.items.push(Item { name: format!("{prefix}{key}"), image, labels: found });
        }
        for path in labels.into_values() {
            self.findings.push(Finding::new(FindingKind::WithoutPicture, &path, "belongs to no picture"));
        }
        Ok(())
    }
}

fn by_key(files: impl IntoIterator<Item = NamedFile>, what: &str) -> Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    for NamedFile { stem, path } in files {
        if let Some(first) = found.insert(stem.clone(), path.clone()) {
            let problem = format!("is a second {what} \"{stem}\" beside {}", first.display());
            return Err(Error::file(path, problem, "one of each name: move the other away"));
        }
    }
    Ok(found)
}
