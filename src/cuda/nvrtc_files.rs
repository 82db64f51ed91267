//! Where NVRTC's two libraries lie on this machine.
//!
//! Folders are tried in this order: beside libtorch, the NVIDIA wheels beside a libtorch installed by pip, `.libtorch`
//! in the source folder that holds the program, the toolkit that `CUDA_HOME` or `CUDA_PATH` names, and last the
//! system's own search.
//!
//! The crate's build script looks for NVRTC with these same functions, so this file knows nothing of the rest of the crate.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Releases of NVRTC that are looked for, best first: their major numbers, as in `libnvrtc.so.13`.
pub const MAJORS: [u32; 2] = [13, 12];

/// Folders that may hold NVRTC, in the order in which they are tried, given the folders of libtorch and of the program.
/// They need not exist.
pub fn folders_around(
    libtorch: Option<&Path>,
    program: Option<&Path>,
    toolkits: impl Iterator<Item = PathBuf>,
) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    if let Some(lib) = libtorch {
        folders.push(lib.to_owned());
        // A wheel's libtorch lies in site-packages/torch/lib, NVIDIA's wheels in site-packages/nvidia.
        if let Some(packages) = lib.ancestors().nth(2) {
            folders.push(packages.join("nvidia/cu13/lib"));
            folders.push(packages.join("nvidia/cuda_nvrtc/lib"));
        }
    }
    // The program lies in target/<profile>/ or up to two folders deeper.
    let above = program.into_iter().flat_map(|folder| folder.ancestors().skip(2).take(3));
    folders.extend(above.map(|folder| folder.join(".libtorch/lib")));
    folders.extend(toolkits.filter(|path| path.is_absolute()).map(|path| path.join("lib64")));
    let mut seen = BTreeSet::new();
    folders.retain(|folder| seen.insert(folder.clone()));
    folders
}

/// The best NVRTC in a folder that also holds its builtins: without those it would load and compile nothing, and another
/// folder may do better.
pub fn nvrtc_in(folder: &Path) -> Option<PathBuf> {
    let found = MAJORS.iter().map(|major| folder.join(format!("libnvrtc.so.{major}")));
    found.into_iter().find(|path| path.is_file() && !builtins_of(path).is_empty())
}

/// The builtins that lie beside an NVRTC and belong to its release: `libnvrtc-builtins.so.13.0` to `libnvrtc.so.13`.
pub fn builtins_of(nvrtc: &Path) -> Vec<PathBuf> {
    let version =
        nvrtc.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_prefix("libnvrtc.so."));
    let (Some(folder), Some(version)) = (nvrtc.parent(), version) else { return Vec::new() };
    let Ok(entries) = folder.read_dir() else { return Vec::new() };
    let wanted = format!("libnvrtc-builtins.so.{version}.");
    let paths = entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(&wanted));
    paths.map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_follow_libtorch_the_program_and_the_toolkit() {
        let folders = folders_around(
            Some(Path::new("/venv/site-packages/torch/lib")),
            Some(Path::new("/clone/target/release/deps")),
            [PathBuf::from("/usr/local/cuda"), PathBuf::from("relative")].into_iter(),
        );
        let expected = [
            "/venv/site-packages/torch/lib",
            "/venv/site-packages/nvidia/cu13/lib",
            "/venv/site-packages/nvidia/cuda_nvrtc/lib",
            "/clone/target/.libtorch/lib",
            "/clone/.libtorch/lib",
            "/.libtorch/lib",
            "/usr/local/cuda/lib64",
        ];
        assert_eq!(folders, expected.map(PathBuf::from));
    }

    #[test]
    fn the_best_nvrtc_with_builtins_is_taken_from_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let add = |name: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, "not a library").unwrap();
            path
        };
        assert_eq!(nvrtc_in(folder.path()), None);
        let new = add("libnvrtc.so.13");
        let old = add("libnvrtc.so.12");
        assert_eq!(nvrtc_in(folder.path()), None, "builtins are missing");
        let old_builtins = add("libnvrtc-builtins.so.12.8");
        assert_eq!(nvrtc_in(folder.path()), Some(old.clone()));
        add("libnvrtc-builtins.so.13.0");
        assert_eq!(nvrtc_in(folder.path()), Some(new.clone()));
        assert_eq!(builtins_of(&old), [old_builtins]);
    }
}
