//! Results that belong together appear together or not at all.
//!
//! The files of one result are written into a hidden folder within the target folder, and moved to their names when the
//! last one is complete. A full disk at the second file therefore leaves neither the first one alone nor an older result
//! half replaced.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::files::prepare_folder;
use crate::{Error, Result};

/// The files of one result on their way into a folder. Dropped before [`Together::appear`], it leaves nothing.
pub(super) struct Together<'a> {
    folder: &'a Path,
    hidden: TempDir,
    names: Vec<String>,
}

impl<'a> Together<'a> {
    /// Makes `folder` if it is missing, and the hidden folder in it.
    ///
    /// # Errors
    /// [`Error::Io`] that names `folder`.
    pub(super) fn in_folder(folder: &'a Path) -> Result<Self> {
        prepare_folder(folder)?;
        let hidden = tempfile::Builder::new()
            .prefix(".sml-")
            .suffix(".part")
            .tempdir_in(folder)
            .map_err(|refused| Error::io(folder, "create files in it", refused.kind().into()))?;
        Ok(Self { folder, hidden, names: Vec::new() })
    }

    /// Writes the file `name` through `write`, which is given the path to write to; tells the path that it will have.
    ///
    /// # Errors
    /// Those of `write`; an [`Error::Io`] names the path that the file would have had.
    pub(super) fn write(
        &mut self,
        name: impl Into<String>,
        write: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let name = name.into();
        let target = self.folder.join(&name);
        write(&self.hidden.path().join(&name)).map_err(|error| match error {
            Error::Io { action, source, .. } => Error::io(&target, action, source),
            other => other,
        })?;
        self.names.push(name);
        Ok(target)
    }

    /// Moves the files to their names.
    ///
    /// # Errors
    /// [`Error::Io`] when a name is taken by a folder; nothing is moved then.
    pub(super) fn appear(self) -> Result<()> {
        let targets: Vec<PathBuf> = self.names.iter().map(|name| self.folder.join(name)).collect();
        if let Some(taken) = targets.iter().find(|target| target.is_dir()) {
            return Err(Error::io(taken, "write", ErrorKind::IsADirectory.into()));
        }
        for (name, target) in self.names.iter().zip(&targets) {
            // The file behind a symbolic link is replaced, not the link.
            let behind = fs::canonicalize(target).unwrap_or_else(|_| target.clone());
            fs::rename(self.hidden.path().join(name), behind)
                .map_err(|refused| Error::io(target, "write", refused))?;
        }
        Ok(())
    }
}
