//! Datasets: every layout found in a tiny tree of it, labels mapped, odd files handled, and the real pieces that lie here.
#![cfg(feature = "files")]
// Clippy permits this in the test functions, but not in what they call.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../data/mod.rs"]
mod data;
mod detection;
mod layouts;
mod odd_files;
mod real;
mod verification;

use std::path::{Path, PathBuf};

use image::{GrayImage, Luma, Rgb, RgbImage};
use sml::dataset::{Dataset, DatasetKind, FolderLabels};

/// A folder of its own for a test, in which a dataset is put together.
struct Tree {
    folder: tempfile::TempDir,
}

const SIDE: u32 = 8;

impl Tree {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn root(&self) -> &Path {
        self.folder.path()
    }

    fn path(&self, name: &str) -> PathBuf {
        let path = self.root().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    /// A picture whose colour tells its name from others. Any extension: the format follows it.
    fn picture(&self, name: &str) -> &Self {
        let shade = name.bytes().fold(7_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte));
        let picture = RgbImage::from_pixel(SIDE, SIDE, Rgb([shade, 0, 255 - shade]));
        let format = match name.rsplit('.').next().unwrap().to_ascii_lowercase().as_str() {
            "jpg" | "jpeg" => image::ImageFormat::Jpeg,
            "webp" => image::ImageFormat::WebP,
            _ => image::ImageFormat::Png,
        };
        picture.save_with_format(self.path(name), format).unwrap();
        self
    }

    /// Labels whose first pixels hold `values`, and the others the last of them.
    fn labels(&self, name: &str, values: &[u8]) -> &Self {
        self.labels_of_size(name, values, SIDE, SIDE)
    }

    fn labels_of_size(&self, name: &str, values: &[u8], width: u32, height: u32) -> &Self {
        let labels = GrayImage::from_fn(width, height, |x, y| {
            Luma([*values.get((y * width + x) as usize).unwrap_or(values.last().unwrap())])
        });
        labels.save_with_format(self.path(name), image::ImageFormat::Png).unwrap();
        self
    }

    fn open(&self, kind: DatasetKind) -> sml::Result<Dataset> {
        Dataset::open(Some(kind), self.root(), None, &FolderLabels::default())
    }

    fn open_split(&self, kind: DatasetKind, split: &str) -> sml::Result<Dataset> {
        Dataset::open(Some(kind), self.root(), Some(split), &FolderLabels::default())
    }

    fn detect(&self) -> sml::Result<Dataset> {
        Dataset::open(None, self.root(), None, &FolderLabels::default())
    }
}

/// Names of the pictures, and whether they have labels.
fn names(dataset: &Dataset) -> Vec<(&str, bool)> {
    dataset.items().iter().map(|item| (item.name.as_str(), item.labels.is_some())).collect()
}

/// Anomaly labels of the first pixels of an item.
fn anomaly(dataset: &Dataset, index: usize, pixels: usize) -> Vec<u8> {
    let sample = dataset.read(&dataset.items()[index]).unwrap();
    assert_eq!(sample.picture.dimensions(), (SIDE, SIDE));
    sample.anomaly.unwrap().iter().copied().take(pixels).collect()
}

/// Asserts that a refusal is one line with all of `parts`.
#[track_caller]
fn assert_refused<T: std::fmt::Debug>(result: sml::Result<T>, parts: &[&str]) {
    let text = result.unwrap_err().to_string();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(parts.iter().all(|part| text.contains(part)), "{text} does not tell {parts:?}");
}

/// The problems of all findings.
fn problems(dataset: &Dataset) -> Vec<String> {
    dataset.findings().iter().map(ToString::to_string).collect()
}
