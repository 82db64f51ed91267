//! Files in and out, with hostile and broken input in mind: each refusal is one line that names the file.
#![cfg(feature = "files")]
// Clippy permits this in the test functions, but not in what they call.
#![allow(clippy::unwrap_used, clippy::panic)]

mod arrays;
#[path = "../data/mod.rs"]
mod data;
mod official_statistics;
mod pictures;
mod score_maps;
mod writing;

use std::path::{Path, PathBuf};

/// A folder of its own for a test.
struct Scratch {
    folder: tempfile::TempDir,
}

impl Scratch {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

/// Asserts that a refusal is one line that names the file and holds `reason`; returns it.
#[track_caller]
fn assert_refused<T: std::fmt::Debug>(result: sml::Result<T>, name: &str, reason: &str) -> String {
    let error = result.unwrap_err();
    assert!(matches!(error, sml::Error::File { .. } | sml::Error::Io { .. }), "{error:?}");
    let text = error.to_string();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(!text.contains(char::is_control), "{text:?}");
    assert!(text.contains(name), "{text} does not name {name}");
    assert!(text.contains(reason), "{text} does not say {reason:?}");
    text
}

/// A .npy file, version 1.0, with any header text.
fn npy(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

/// A .npy header with a type, in C order.
fn header(descr: &str, shape: &str) -> String {
    format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n")
}
