//! The folder that keeps compiled GPU kernels between runs: where it is and what state it is in.
//!
//! `SML_CACHE_DIR` names it, else it is `sml` in `$XDG_CACHE_HOME`, else `~/.cache/sml`. Kernels depend on the GPU, the
//! shapes and NVRTC, so they are compiled on the machine that runs them; the folder saves doing so at every start. It
//! may be deleted at any time.
//!
//! What lies there is machine code that this process will run, so nobody else may have written it: the folder is created
//! for this user alone, and a folder or file that belongs to another user (root excepted) or that others may write to is
//! neither read nor written. Such a folder costs time, as does one that cannot be written: kernels are then compiled at
//! every start. Kernels that were not used for longest are removed when the folder grows beyond 256 MiB.
#![allow(unsafe_code)]

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::cached_kernel::TEMPORARY_PREFIX;

/// Size in bytes beyond which kernels that were not used for longest are removed.
const MAXIMUM_BYTES: u64 = 256 << 20;
/// A file that has been in the writing for longer was left by a process that ended.
const ABANDONED_AFTER: Duration = Duration::from_secs(3600);

/// The folder for this user, whether it exists or not; `None` if the environment names no home to put it in.
pub fn folder() -> Option<PathBuf> {
    folder_in(|name| std::env::var_os(name))
}

/// Relative paths in `XDG_CACHE_HOME` are ignored, as its specification asks.
fn folder_in(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let path = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    path("SML_CACHE_DIR")
        .or_else(|| path("XDG_CACHE_HOME").filter(|path| path.is_absolute()).map(|path| path.join("sml")))
        .or_else(|| path("HOME").map(|path| path.join(".cache/sml")))
}

/// State of a kernel cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KernelCache {
    /// Whether the folder exists.
    pub exists: bool,
    /// Files in it, folders within included.
    pub files: u64,
    /// Sum of their sizes in bytes.
    pub bytes: u64,
    /// Why nothing can be written there, or will be because others may write there too; `None` if it can be. Where the folder does not exist yet, this is about
    /// creating it.
    pub write_error: Option<String>,
}

/// Looks at the folder. Tries to write by creating and removing an empty file in it, or in the nearest folder above it
/// that exists; leaves nothing behind.
pub fn inspect(folder: &Path) -> KernelCache {
    let mut found =
        KernelCache { exists: folder.is_dir(), files: 0, bytes: 0, write_error: may_be_used(folder).err() };
    count(folder, &mut found);
    found
}

fn may_be_used(folder: &Path) -> Result<(), String> {
    if let Ok(metadata) = fs::metadata(folder) {
        check_private(folder, &metadata)?;
    }
    try_to_write(folder).map_err(|error| error.to_string())
}

fn count(folder: &Path, found: &mut KernelCache) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        // Symbolic links are not followed: `metadata` of an entry is the link's own.
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => count(&entry.path(), found),
            Ok(metadata) if metadata.is_file() => {
                found.files += 1;
                found.bytes += metadata.len();
            }
            _ => {}
        }
    }
}

fn try_to_write(folder: &Path) -> io::Result<()> {
    let nearest = folder.ancestors().find(|path| path.exists() || path.as_os_str().is_empty());
    // A relative folder of one part ends in the empty path, which stands for the current folder.
    let nearest = nearest.filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let probe = nearest.join(format!(".sml-write-test-{}", std::process::id()));
    OpenOptions::new().write(true).create_new(true).open(&probe)?;
    fs::remove_file(&probe)
}

unsafe extern "C" {
    // SAFETY: the C library's function of this name takes nothing, returns an unsigned 32-bit number on every Unix that
    // Rust's standard library supports, and never fails.
    safe fn geteuid() -> u32;
}

/// Creates the folder for this user alone where it is missing; the error is why it must not be used.
pub(super) fn private_folder(folder: &Path) -> Result<(), String> {
    let named = |error: io::Error| format!("{}: {error}", folder.display());
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(named)?;
    check_private(folder, &fs::metadata(folder).map_err(named)?)
}

/// What an open file is; the error is why it must not be used.
pub(super) fn check_private_file(path: &Path, file: &File) -> Result<Metadata, String> {
    let metadata = file.metadata().map_err(|error| format!("{}: {error}", path.display()))?;
    check_private(path, &metadata)?;
    Ok(metadata)
}

fn check_private(path: &Path, metadata: &Metadata) -> Result<(), String> {
    let (owner, user) = (metadata.uid(), geteuid());
    if owner != user && owner != 0 {
        return Err(format!(
            "{} belongs to user {owner} and this process runs as user {user}: machine code is not shared with other \
             users; set SML_CACHE_DIR to a folder of your own",
            path.display()
        ));
    }
    if metadata.mode() & 0o022 != 0 {
        return Err(format!(
            "{0} may be written by others (mode {1:03o}): machine code is not read from there; run chmod go-w {0}",
            path.display(),
            metadata.mode() & 0o777
        ));
    }
    Ok(())
}

/// Removes the kernels that were not used for longest once all of them take more than [`MAXIMUM_BYTES`].
pub(super) fn evict(folder: &Path) {
    evict_beyond(folder, MAXIMUM_BYTES);
}

/// Goes down to three quarters, so that not every kernel that is added has others removed. A file that cannot be removed is
/// left to the next time.
fn evict_beyond(folder: &Path, maximum_bytes: u64) {
    let now = SystemTime::now();
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut kernels = Vec::new();
    for entry in entries.flatten() {
        let Ok(metadata) = entry.metadata() else { continue };
        let Ok(used) = metadata.modified() else { continue };
        let (path, name) = (entry.path(), entry.file_name());
        if name.to_string_lossy().starts_with(TEMPORARY_PREFIX) {
            if now.duration_since(used).is_ok_and(|age| age > ABANDONED_AFTER) {
                let _ = fs::remove_file(path);
            }
        } else if metadata.is_file() && path.extension().is_some_and(|extension| extension == "cubin") {
            kernels.push((used, metadata.len(), path));
        }
    }
    let mut total: u64 = kernels.iter().map(|kernel| kernel.1).sum();
    if total <= maximum_bytes {
        return;
    }
    kernels.sort();
    for (_, bytes, path) in kernels {
        if total <= maximum_bytes / 4 * 3 {
            break;
        }
        if fs::remove_file(path).is_ok() {
            total -= bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with(variables: &[(&str, &str)]) -> Option<PathBuf> {
        folder_in(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()))
    }

    #[test]
    fn the_environment_names_the_folder() {
        let all = [("SML_CACHE_DIR", "/own"), ("XDG_CACHE_HOME", "/xdg"), ("HOME", "/home/ada")];
        assert_eq!(folder_with(&all).unwrap(), Path::new("/own"));
        assert_eq!(folder_with(&all[1..]).unwrap(), Path::new("/xdg/sml"));
        assert_eq!(folder_with(&all[2..]).unwrap(), Path::new("/home/ada/.cache/sml"));
        assert_eq!(folder_with(&[]), None);
        let unset = [("SML_CACHE_DIR", ""), ("XDG_CACHE_HOME", "relative"), ("HOME", "/home/ada")];
        assert_eq!(folder_with(&unset).unwrap(), Path::new("/home/ada/.cache/sml"));
    }

    #[test]
    fn files_are_counted_at_every_depth() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("sm_90")).unwrap();
        fs::write(root.path().join("one"), [0; 3]).unwrap();
        fs::write(root.path().join("sm_90/two"), [0; 5]).unwrap();
        let found = inspect(root.path());
        assert_eq!(found, KernelCache { exists: true, files: 2, bytes: 8, write_error: None });
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 2, "the write test leaves nothing behind");
    }

    #[test]
    fn a_folder_that_does_not_exist_is_not_created() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("not/yet");
        assert_eq!(inspect(&folder), KernelCache { exists: false, files: 0, bytes: 0, write_error: None });
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_in_the_way_is_reported() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("file"), "").unwrap();
        let found = inspect(&root.path().join("file/cache"));
        assert!(!found.exists && found.write_error.is_some());
    }

    #[test]
    fn the_kernels_that_were_not_used_for_longest_go_first() {
        let root = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let add = |name: &str, hours: u64| {
            let path = root.path().join(name);
            fs::write(&path, [0; 100]).unwrap();
            File::open(&path).unwrap().set_modified(now - Duration::from_secs(3600 * hours)).unwrap();
        };
        let left = || {
            let mut names: Vec<_> =
                fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        for hour in 0..8 {
            add(&format!("{hour}.cubin"), hour);
        }
        add("notes.txt", 1000);
        add(&format!("{TEMPORARY_PREFIX}new"), 0);
        add(&format!("{TEMPORARY_PREFIX}old"), 2);
        evict_beyond(root.path(), 800);
        let expected = |kernels: u64| {
            let kernels = (0..kernels).map(|hour| format!("{hour}.cubin"));
            let names = [format!("{TEMPORARY_PREFIX}new")].into_iter().chain(kernels);
            names.chain(["notes.txt".to_owned()]).map(OsString::from).collect::<Vec<_>>()
        };
        assert_eq!(left(), expected(8), "as much as there may be; only what was abandoned is removed");
        evict_beyond(root.path(), 799);
        assert_eq!(left(), expected(5), "down to three quarters");
    }
}
