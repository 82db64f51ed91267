//! Where the test data lies, and what happens where it does not.
//!
//! `SML_DATA` names the folder; by default it is `../shared` beside the repository. A test that needs it and finds
//! nothing prints that it is skipped, or fails when `SML_REQUIRE_DATA=1`.
#![allow(dead_code, reason = "each test program uses its part")]
#![allow(clippy::panic, clippy::unwrap_used, reason = "test data that cannot be read fails the test")]

#[cfg(feature = "files")]
pub mod golden;

use std::path::{Path, PathBuf};

/// The repository: where these tests were built, or where they were carried to (scripts/gpu_check.sh), as
/// `CARGO_MANIFEST_DIR` tells at run time.
pub fn repository() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from)
}

/// The path of a piece of test data, or `None` (and a message) when it is not on this machine.
pub fn path(relative: impl AsRef<Path>) -> Option<PathBuf> {
    let folder = std::env::var_os("SML_DATA").map_or_else(|| repository().join("../shared"), PathBuf::from);
    let path = folder.join(relative);
    if path.exists() {
        return Some(path);
    }
    let required = std::env::var_os("SML_REQUIRE_DATA").is_some_and(|value| value == "1");
    assert!(!required, "{} is missing and SML_REQUIRE_DATA=1", path.display());
    println!("skipped: {} is not here (set SML_DATA to the folder of the test data)", path.display());
    None
}
