//! Whole files: written completely or not at all, and opened with their real size at hand.
//!
//! A file is written under a temporary name in the folder of its target, flushed and synchronised, and renamed
//! when it is complete. Readers therefore never see half a file, and a full disk, a crash or an error in between
//! leaves an older file of that name as it was.

use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, ErrorKind, Read, Write};
use std::path::Path;

use crate::{Error, Result};

/// Size of the buffer in front of a file that is written. Large, because images and score maps come in megabytes.
const BUFFER: usize = 1 << 18;

/// Writes `path` through `write`; the file appears under its name only when it is complete.
///
/// A symbolic link is followed. A path that exists and is no regular file (a device, a pipe) is written directly:
/// renaming over it would replace the device by a file. A new file gets the permissions of any new file (0666 less
/// the umask). The folder must exist.
///
/// # Errors
/// [`Error::Io`] that names `path`, whatever went wrong, `write` included; then nothing is left behind.
pub fn write_whole(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let failed = |source| Error::io(path, "write", source);
    match fs::metadata(path) {
        Ok(existing) if existing.is_dir() => return Err(failed(ErrorKind::IsADirectory.into())),
        Ok(existing) if !existing.is_file() => return write_directly(path, write).map_err(failed),
        _ => {}
    }
    write_and_rename(path, write).map_err(failed)
}

fn write_directly(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut buffered = BufWriter::with_capacity(BUFFER, File::options().write(true).open(path)?);
    write(&mut buffered)?;
    buffered.flush()
}

fn write_and_rename(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    // The file behind a symbolic link is replaced, not the link.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut temporary = temporary_file(folder_of(&target))?;
    let mut buffered = BufWriter::with_capacity(BUFFER, temporary.as_file_mut());
    write(&mut buffered)?;
    buffered.flush()?;
    drop(buffered);
    // Quotas and network disks report a failed write only here.
    temporary.as_file().sync_all()?;
    temporary.persist(&target).map(drop).map_err(|refused| refused.error)
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A file that is deleted when it is dropped. Its name is short whatever the target's name is, and hidden.
fn temporary_file(folder: &Path) -> io::Result<tempfile::NamedTempFile> {
    if !folder.is_dir() {
        let missing = format!("the folder {} does not exist", folder.display());
        return Err(io::Error::new(ErrorKind::NotFound, missing));
    }
    let mut builder = tempfile::Builder::new();
    builder.prefix(".sml-").suffix(".part");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // Less the umask, as for any new file; tempfile's own choice is 0600.
        builder.permissions(Permissions::from_mode(0o666));
    }
    // tempfile appends its own path to the message, which would name a file that nobody asked for.
    builder.tempfile_in(folder).map_err(|refused| refused.kind().into())
}

/// Creates the folder `path`, with its parents, unless it is there, and proves that a file can be created in it, so
/// that a long computation does not end in a refusal.
///
/// # Errors
/// [`Error::Io`] that names `path`.
pub fn prepare_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|source| Error::io(path, "create the folder", source))?;
    temporary_file(path).map(drop).map_err(|source| Error::io(path, "create files in it", source))
}

/// Opens a regular file for reading and tells its size in bytes.
///
/// Folders, devices and pipes are refused: their size says nothing, and opening a pipe may never return.
pub(super) fn open_regular(path: &Path) -> Result<(File, u64)> {
    let unreadable = |source| Error::io(path, "read", source);
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if metadata.is_dir() {
        return Err(Error::file(path, "is a folder", "a file"));
    }
    if !metadata.is_file() {
        return Err(Error::file(path, "is a device or a pipe", "a regular file"));
    }
    let file = File::open(path).map_err(unreadable)?;
    let size = file.metadata().map_err(unreadable)?.len();
    Ok((file, size))
}

/// Reads a regular file of at most `limit` bytes into memory.
///
/// # Errors
/// [`Error::Io`] when it cannot be read, [`Error::File`] when it is larger or no regular file.
pub fn read_at_most(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let (file, size) = open_regular(path)?;
    let mut bytes = Vec::with_capacity(usize::try_from(size.min(limit)).unwrap_or(0));
    // One byte more than allowed shows a file that grew since its size was asked for.
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|source| Error::io(path, "read", source))?;
    if size > limit || bytes.len() as u64 > limit {
        return Err(Error::file(path, format!("is {size} bytes long"), format!("at most {limit} bytes")));
    }
    Ok(bytes)
}

/// A file, or an array in it, as error messages name it.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    /// The file.
    pub path: &'a Path,
    /// The array within it, where it can hold several.
    pub array: Option<&'a str>,
}

impl<'a> Place<'a> {
    /// The whole file.
    pub fn file(path: &'a Path) -> Self {
        Self { path, array: None }
    }

    /// An [`Error::File`] here. `problem` goes on a sentence whose subject is the file or the array.
    pub fn error(&self, problem: impl std::fmt::Display, expected: impl ToString) -> Error {
        match self.array {
            Some(name) => Error::file(self.path, format!("array {} {problem}", quoted(name)), expected),
            None => Error::file(self.path, problem, expected),
        }
    }

    /// What a failed read of the content means: the content's fault or the system's.
    pub fn read_error(&self, source: io::Error) -> Error {
        match source.kind() {
            ErrorKind::UnexpectedEof => self.error("is truncated", "as many bytes as its header declares"),
            ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::Other => {
                self.error(format!("is damaged ({})", first_line(&source)), "an undamaged file")
            }
            _ => Error::io(self.path, "read", source),
        }
    }
}

/// A name out of a file for an error message: on one line, without control characters, not too long.
pub(super) fn quoted(name: &str) -> String {
    const LONGEST: usize = 60;
    let mut text: String = name.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if name.chars().nth(LONGEST).is_some() {
        text.push('…');
    }
    format!("\"{text}\"")
}

/// The first line of a message of another library.
pub(super) fn first_line(message: &impl std::fmt::Display) -> String {
    let text = message.to_string();
    let line: String = text.lines().next().unwrap_or_default().chars().take(200).collect();
    line.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn entries(folder: &Path) -> Vec<PathBuf> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    #[test]
    fn a_failed_write_leaves_the_older_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("score.npy");
        write_whole(&path, |out| out.write_all(b"older")).unwrap();
        let error = write_whole(&path, |out| {
            out.write_all(&[0; 1 << 20])?;
            Err(io::Error::other("broken off"))
        })
        .unwrap_err();
        assert!(error.to_string().contains("score.npy: cannot write: broken off"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"older");
        assert_eq!(entries(folder.path()), [path]);
    }

    #[test]
    fn a_missing_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("absent").join("score.npy");
        let error = write_whole(&path, |_| Ok(())).unwrap_err().to_string();
        assert!(error.contains("absent does not exist") && error.contains("score.npy"), "{error}");
    }

    #[test]
    fn a_folder_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let error = write_whole(folder.path(), |_| Ok(())).unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{error}");
        assert!(entries(folder.path()).is_empty());
    }

    #[test]
    fn names_are_quoted_on_one_line() {
        assert_eq!(quoted("a\nb\u{1b}"), r#""a\nb\u{1b}""#);
        assert!(quoted(&"x".repeat(1000)).chars().count() < 70);
        assert_eq!(first_line(&"one\ntwo"), "one");
    }

    #[test]
    fn a_limit_on_reading_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ten");
        fs::write(&path, [7; 10]).unwrap();
        assert_eq!(read_at_most(&path, 10).unwrap(), [7; 10]);
        assert!(read_at_most(&path, 9).is_err());
        assert!(read_at_most(folder.path(), 9).is_err());
    }
}
