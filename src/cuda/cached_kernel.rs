//! One compiled kernel in the cache folder.
//!
//! The file begins with the kernel, so that NVIDIA's tools read it as it is, and ends with a mark: a magic number, the key,
//! the kernel's length and its SHA-256. The key is a SHA-256 of everything that the machine code depends on. A file without
//! a fitting mark (cut short, damaged, of another key or another program) counts as absent and is written anew.
//!
//! Files are written under a temporary name and renamed when they are whole, so that any number of processes and threads
//! may share the folder: the last writer wins, and all of them write the same.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

use super::kernel_cache::{check_private_file, evict, private_folder};

/// Begins the mark. The last character counts changes of the format.
const MAGIC: [u8; 8] = *b"smlcubin";
const MARK_BYTES: usize = MAGIC.len() + 32 + 8 + 32;
/// Above this a file is not one of ours, and is not read into memory.
const MAXIMUM_BYTES: u64 = 64 << 20;
/// Files that were used are dated anew, so that eviction finds those that were not; once an hour is enough.
const DATED_ANEW_AFTER: Duration = Duration::from_secs(3600);

/// Where one compiled kernel lies, whether it is there or not.
#[derive(Clone, Debug)]
pub(super) struct CachedKernel {
    folder: PathBuf,
    path: PathBuf,
    key: [u8; 32],
}

impl CachedKernel {
    /// The kernel that is known by all of `parts`. `label` begins the file's name, for people.
    pub(super) fn new<'a>(folder: &Path, label: &str, parts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut hash = Sha256::new_with_prefix(MAGIC);
        for part in parts {
            // With the lengths no two lists of parts hash the same text.
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        let key: [u8; 32] = hash.finalize().into();
        let digits: String = key[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        Self { folder: folder.to_owned(), path: folder.join(format!("{label}-{digits}.cubin")), key }
    }

    /// The kernel; `None` if it is not there in good order, or others may have written it.
    pub(super) fn read(&self) -> Option<Vec<u8>> {
        let mut file = File::open(&self.path).ok()?;
        private_folder(&self.folder).ok()?;
        let metadata = check_private_file(&self.path, &file).ok()?;
        if metadata.len() > MAXIMUM_BYTES {
            return None;
        }
        let mut bytes = Vec::with_capacity(metadata.len() as usize);
        file.read_to_end(&mut bytes).ok()?;
        if !self.strip_mark(&mut bytes) {
            return None;
        }
        let now = SystemTime::now();
        let age = metadata.modified().ok().and_then(|then| now.duration_since(then).ok());
        if age.is_none_or(|age| age > DATED_ANEW_AFTER) {
            // Where files cannot be dated, none can be evicted either.
            let _ = file.set_modified(now);
        }
        Some(bytes)
    }

    /// Writes the kernel. The error is why that failed, which costs the next start time and nothing else.
    pub(super) fn write(&self, kernel: &[u8]) -> Result<(), String> {
        private_folder(&self.folder)?;
        self.try_to_write(kernel).map_err(|error| format!("{}: {error}", self.path.display()))?;
        evict(&self.folder);
        Ok(())
    }

    fn try_to_write(&self, kernel: &[u8]) -> io::Result<()> {
        // Readable and writable by this user alone; removed when dropped before the rename.
        let mut file = tempfile::Builder::new().prefix(TEMPORARY_PREFIX).tempfile_in(&self.folder)?;
        file.write_all(kernel)?;
        file.write_all(&self.mark_of(kernel))?;
        file.persist(&self.path)?;
        Ok(())
    }

    /// Removes the kernel, if it is there.
    pub(super) fn remove(&self) {
        // A file that stays is refused again by whoever refused it, which then compiles for itself.
        let _ = fs::remove_file(&self.path);
    }

    fn mark_of(&self, kernel: &[u8]) -> Vec<u8> {
        let mut mark = Vec::with_capacity(MARK_BYTES);
        mark.extend(MAGIC);
        mark.extend(self.key);
        mark.extend((kernel.len() as u64).to_le_bytes());
        mark.extend(Sha256::digest(kernel));
        mark
    }

    /// Leaves the kernel in `bytes`; false if the mark is not the one that belongs to it.
    fn strip_mark(&self, bytes: &mut Vec<u8>) -> bool {
        let Some(length) = bytes.len().checked_sub(MARK_BYTES) else { return false };
        let mark = bytes.split_off(length);
        mark == self.mark_of(bytes)
    }
}

/// Names of files that are being written begin with it.
pub(super) const TEMPORARY_PREFIX: &str = ".sml-kernel-";

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const KERNEL: &[u8] = b"\x7fELF machine code";

    fn kernel_in(folder: &Path) -> CachedKernel {
        CachedKernel::new(folder, "smooth-sm_90", ["source", "options"])
    }

    #[test]
    fn what_was_written_is_read_back_and_begins_with_the_kernel() {
        let root = tempfile::tempdir().unwrap();
        let kernel = kernel_in(&root.path().join("new/cache"));
        assert_eq!(kernel.read(), None);
        kernel.write(KERNEL).unwrap();
        assert_eq!(kernel.read().unwrap(), KERNEL);
        assert!(fs::read(&kernel.path).unwrap().starts_with(KERNEL));
        kernel.remove();
        assert_eq!(kernel.read(), None);
    }

    #[test]
    fn folder_and_file_are_for_this_user_alone_and_nothing_else_is_left() {
        let root = tempfile::tempdir().unwrap();
        let kernel = kernel_in(&root.path().join("cache"));
        kernel.write(KERNEL).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&kernel.folder), 0o700);
        assert_eq!(mode(&kernel.path), 0o600);
        assert_eq!(fs::read_dir(&kernel.folder).unwrap().count(), 1);
    }

    #[test]
    fn every_part_and_its_place_are_in_the_key() {
        let kernel =
            |parts: &[&'static str]| CachedKernel::new(Path::new("/x"), "k", parts.iter().copied()).path;
        let all = [
            kernel(&["source", "options"]),
            kernel(&["source", "option", "s"]),
            kernel(&["sourceo", "ptions"]),
            kernel(&["options", "source"]),
            kernel(&["source"]),
        ];
        for (i, one) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|other| other != one), "{all:?}");
        }
        assert_eq!(kernel(&["source", "options"]), all[0]);
    }

    #[test]
    fn a_file_that_is_cut_short_damaged_or_foreign_counts_as_absent() {
        let root = tempfile::tempdir().unwrap();
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let kernel = kernel_in(root.path());
        kernel.write(KERNEL).unwrap();
        let whole = fs::read(&kernel.path).unwrap();
        let reads_as = |bytes: &[u8]| {
            fs::write(&kernel.path, bytes).unwrap();
            kernel.read()
        };
        for length in 0..whole.len() {
            assert_eq!(reads_as(&whole[..length]), None, "cut to {length} bytes");
        }
        for i in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[i] ^= 0x10;
            assert_eq!(reads_as(&damaged), None, "byte {i} is damaged");
        }
        assert_eq!(reads_as(&[&whole[..], b"more"].concat()), None);
        let other = CachedKernel::new(root.path(), "smooth-sm_90", ["source", "other options"]);
        other.write(KERNEL).unwrap();
        assert_eq!(reads_as(&fs::read(&other.path).unwrap()), None, "a kernel of another key");
        assert_eq!(reads_as(&whole).unwrap(), KERNEL);
    }

    #[test]
    fn what_others_may_write_is_neither_read_nor_written() {
        let root = tempfile::tempdir().unwrap();
        let kernel = kernel_in(&root.path().join("cache"));
        kernel.write(KERNEL).unwrap();
        let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();

        set(&kernel.path, 0o620);
        assert_eq!(kernel.read(), None, "a file that the group may write");
        kernel.write(KERNEL).unwrap();
        assert_eq!(kernel.read().unwrap(), KERNEL, "it was replaced by one of our own");

        for mode in [0o770, 0o703, 0o777, 0o1777] {
            set(&kernel.folder, mode);
            assert_eq!(kernel.read(), None, "{mode:o}");
            let refusal = kernel.write(KERNEL).unwrap_err();
            assert!(refusal.contains("chmod go-w") && !refusal.contains('\n'), "{refusal}");
        }
        set(&kernel.folder, 0o755);
        assert_eq!(kernel.read().unwrap(), KERNEL, "others may read it");
    }

    #[test]
    fn what_belongs_to_another_user_is_neither_read_nor_written() {
        let root = tempfile::tempdir().unwrap();
        let kernel = kernel_in(&root.path().join("cache"));
        kernel.write(KERNEL).unwrap();
        // Only root can give a file away.
        if std::os::unix::fs::chown(&kernel.path, Some(12345), None).is_err() {
            eprintln!("skipped: this user cannot give a file to another one");
            return;
        }
        assert_eq!(kernel.read(), None, "another user's file");
        kernel.write(KERNEL).unwrap();
        assert_eq!(kernel.read().unwrap(), KERNEL, "it was replaced by one of our own");
        std::os::unix::fs::chown(&kernel.folder, Some(12345), None).unwrap();
        assert_eq!(kernel.read(), None, "another user's folder");
        let refusal = kernel.write(KERNEL).unwrap_err();
        assert!(refusal.contains("user 12345") && refusal.contains("SML_CACHE_DIR"), "{refusal}");
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_told() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("file"), "").unwrap();
        let kernel = kernel_in(&root.path().join("file/cache"));
        assert_eq!(kernel.read(), None);
        let reason = kernel.write(KERNEL).unwrap_err();
        assert!(reason.contains("file/cache: ") && !reason.contains('\n'), "{reason}");
    }

    #[test]
    fn a_kernel_that_was_used_is_dated_anew() {
        let root = tempfile::tempdir().unwrap();
        let kernel = kernel_in(&root.path().join("cache"));
        kernel.write(KERNEL).unwrap();
        let long_ago = SystemTime::now() - Duration::from_secs(86400 * 30);
        File::open(&kernel.path).unwrap().set_modified(long_ago).unwrap();
        kernel.read().unwrap();
        let age = fs::metadata(&kernel.path).unwrap().modified().unwrap().elapsed().unwrap();
        assert!(age < Duration::from_secs(3600), "{age:?}");
    }
}
