//! Whether a copy of a dataset is complete and readable.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

use super::labels::UndefinedValues;
use super::read_ahead::{read_ahead, reading_threads};
use super::{ContentHash, Dataset, Item, LARGEST_FILE, other_size};
use crate::Result;
use crate::files::{decode_picture, read_at_most};

/// Something about a dataset that does not fit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What kind of thing it is.
    pub kind: FindingKind,
    /// The file or the folder.
    #[serde(serialize_with = "as_text")]
    pub path: PathBuf,
    /// What is wrong with it; the path is the sentence's subject.
    pub problem: String,
}

/// What can be wrong with a copy of a dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// Another number of pictures than the official copy has.
    Count,
    /// A picture without labels, where the set has labels.
    WithoutLabels,
    /// Labels without a picture.
    WithoutPicture,
    /// A file that the dataset's own list names is not there.
    Missing,
    /// A file that cannot be read or decoded.
    Unreadable,
    /// Labels of another size than their picture.
    Size,
    /// Labels with values that the layout does not define.
    UndefinedLabels,
}

impl Finding {
    pub(super) fn new(kind: FindingKind, path: &Path, problem: impl Into<String>) -> Self {
        Self { kind, path: path.to_owned(), problem: problem.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.path.display(), self.problem)
    }
}

fn as_text<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

/// What a check found.
#[derive(Clone, Debug)]
pub struct Check {
    /// Everything that does not fit.
    pub findings: Vec<Finding>,
    /// The files that could be read, whether they decode or not.
    pub content: ContentHash,
    /// Pictures.
    pub images: u64,
    /// Pictures with labels.
    pub labelled: u64,
}

impl Dataset {
    /// Reads every file and tells what does not fit. With `deep`, pictures and labels are decoded, too: damaged files, sizes,
    /// and values of labels. `progress` is called after each picture.
    ///
    /// # Errors
    /// None today: whatever cannot be read is a finding.
    pub fn check(&self, deep: bool, mut progress: impl FnMut()) -> Result<Check> {
        let labelled = self.items.iter().filter(|item| item.labels.is_some()).count() as u64;
        let mut check = Check {
            findings: self.findings.clone(),
            content: ContentHash::default(),
            images: self.items.len() as u64,
            labelled,
        };
        // Nothing else wants the processor meanwhile.
        let threads = 2 * reading_threads();
        let read = |index: usize| self.check_item(&self.items[index], deep);
        read_ahead(self.items.len(), threads, 2 * threads, read, |_, (findings, content)| {
            check.findings.extend(findings);
            check.content.merge(&content);
            progress();
            Ok(())
        })?;
        Ok(check)
    }

    fn check_item(&self, item: &Item, deep: bool) -> (Vec<Finding>, ContentHash) {
        let (mut findings, mut content) = (Vec::new(), ContentHash::default());
        let mut read = |path: &Path| {
            let bytes = read_at_most(path, LARGEST_FILE)
                .inspect_err(|error| findings.push(unreadable(path, error)))
                .ok()?;
            content.add(&self.file_name(path), &bytes);
            Some(bytes)
        };
        let image = read(&item.image);
        let labels = item.labels.as_ref().map(|path| (path, read(path)));
        if !deep {
            return (findings, content);
        }
        let size = image.and_then(|bytes| match decode_picture(&item.image, &bytes) {
            Ok(picture) => Some((picture.height() as usize, picture.width() as usize)),
            Err(error) => {
                findings.push(unreadable(&item.image, &error));
                None
            }
        });
        if let Some((path, Some(bytes))) = labels {
            self.check_labels(path, &bytes, size, &mut findings);
        }
        (findings, content)
    }

    fn check_labels(
        &self,
        path: &Path,
        bytes: &[u8],
        picture: Option<(usize, usize)>,
        findings: &mut Vec<Finding>,
    ) {
        let UndefinedValues { pixels, size } = match self.values.undefined(path, bytes) {
            Ok(found) => found,
            Err(error) => return findings.push(unreadable(path, &error)),
        };
        if let Some(picture) = picture.filter(|&picture| picture != size) {
            let problem = without_path(path, &other_size(path, size, picture));
            findings.push(Finding::new(FindingKind::Size, path, problem));
        }
        if !pixels.is_empty() {
            let values: Vec<String> =
                pixels.iter().map(|(value, pixels)| format!("{value} ({pixels} pixels)")).collect();
            let problem = format!("holds values that {} does not define: {}", self.kind, values.join(", "));
            findings.push(Finding::new(FindingKind::UndefinedLabels, path, problem));
        }
    }

    /// Compares the number of pictures with that of the official copy.
    pub(super) fn check_count(&mut self) {
        let Some(official) = self.kind.official_images(self.split()) else { return };
        if self.items.len() != official {
            let split = self.split().map_or(String::new(), |split| format!(" of the split {split}"));
            let problem =
                format!("holds {} pictures{split}; the official copy has {official}", self.items.len());
            self.findings.insert(0, Finding::new(FindingKind::Count, &self.root, problem));
        }
    }
}

fn unreadable(path: &Path, error: &crate::Error) -> Finding {
    Finding::new(FindingKind::Unreadable, path, without_path(path, error))
}

/// An error's text without the path that it begins with, which a finding carries by itself.
fn without_path(path: &Path, error: &crate::Error) -> String {
    let text = error.to_string();
    text.strip_prefix(&format!("{}: ", path.display())).map_or(text.clone(), str::to_owned)
}
