//! Files of two folders that belong to the same image, found by their names.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// What label files have behind the name of their image in some datasets.
const LABEL_ENDINGS: [&str; 3] = ["_labels_semantic", "_unexpected", "_labels"];

/// The files directly in a folder that are not hidden and end in one of `extensions`, by their stem.
///
/// # Errors
/// [`Error::Io`] when the folder cannot be read; [`Error::File`] when it holds none, or two of one stem.
pub(super) fn by_stem(folder: &Path, extensions: &[&str]) -> Result<BTreeMap<String, PathBuf>> {
    let unreadable = |source| Error::io(folder, "read", source);
    let mut files: BTreeMap<String, PathBuf> = BTreeMap::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let extension = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if stem.starts_with('.') || !extensions.contains(&extension.as_str()) || !path.is_file() {
            continue;
        }
        if let Some(other) = files.insert(stem.clone(), path.clone()) {
            let problem = format!("is a second file named {stem}, beside {}", other.display());
            return Err(Error::file(path, problem, "one file an image"));
        }
    }
    if files.is_empty() {
        let expected = format!("files ending in .{}", extensions.join(", ."));
        return Err(Error::file(folder, "the folder holds no such files", expected));
    }
    Ok(files)
}

/// The name of the image that labels in a file of this stem are for.
pub(super) fn image_of_labels(stem: &str) -> &str {
    LABEL_ENDINGS.iter().find_map(|ending| stem.strip_suffix(ending)).unwrap_or(stem)
}
