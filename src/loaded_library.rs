//! Which file a shared library of this process came from, and why one does not load.
//!
//! The loader picks a library by run paths, environment and cache; what it picked is known only afterwards. The kernel
//! lists every mapped file in `/proc/self/maps`, which is read here. On systems without it nothing is found.

use std::error::Error as _;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Path of the loaded library whose file name is `name`, or `name` with a version behind it (`libnvrtc.so` finds
/// `libnvrtc.so.13`). `None` where no such library is loaded. Symbolic links in the path are already resolved.
pub(crate) fn loaded_library(name: &str) -> Option<PathBuf> {
    let maps = std::fs::read("/proc/self/maps").ok()?;
    find_in_maps(&maps, name)
}

/// What the system's loader says, in one line. The error itself only names the call that failed.
pub(crate) fn loader_message(error: &libloading::Error) -> String {
    let message = error.source().map_or_else(|| error.to_string(), ToString::to_string);
    message.lines().next().unwrap_or_default().to_owned()
}

fn find_in_maps(maps: &[u8], name: &str) -> Option<PathBuf> {
    maps.split(|&byte| byte == b'\n')
        .filter_map(mapped_path)
        .find(|path| path.file_name().is_some_and(|file| is_library(file, name)))
        .map(Path::to_owned)
}

/// The path of one line: whatever follows the fifth field. It may hold spaces; anonymous memory has none.
fn mapped_path(line: &[u8]) -> Option<&Path> {
    let mut rest = line;
    for _ in 0..5 {
        let end = rest.iter().position(|&byte| byte == b' ')?;
        rest = rest[end..].trim_ascii_start();
    }
    rest.starts_with(b"/").then(|| Path::new(OsStr::from_bytes(rest)))
}

fn is_library(file: &OsStr, name: &str) -> bool {
    let rest = file.as_bytes().strip_prefix(name.as_bytes());
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"."))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &[u8] = b"\
55d0c0000000-55d0c0001000 r--p 00000000 08:01 11 /opt/sml\n\
7f0000000000-7f0000001000 rw-p 00000000 00:00 0 \n\
7f0000002000-7f0000003000 r--p 00000000 08:01 12                         /opt/my libs/libtorch_cpu.so\n\
7f0000004000-7f0000005000 r--p 00000000 08:01 13                         /opt/libnvrtc-builtins.so.13.0\n\
7f0000006000-7f0000007000 r--p 00000000 08:01 14                         /opt/libnvrtc.so.13\n\
7ffd00000000-7ffd00001000 r-xp 00000000 00:00 0                          [vdso]\n";

    #[test]
    fn a_library_is_found_by_name_with_or_without_version() {
        let find = |name| find_in_maps(MAPS, name);
        assert_eq!(find("libtorch_cpu.so").unwrap(), Path::new("/opt/my libs/libtorch_cpu.so"));
        assert_eq!(find("libnvrtc.so").unwrap(), Path::new("/opt/libnvrtc.so.13"));
        assert_eq!(find("libtorch"), None);
        assert_eq!(find("libtorch_cuda.so"), None);
    }

    #[test]
    fn the_c_library_of_this_process_is_found() {
        let path = loaded_library("libc.so").expect("the test runs with a shared C library");
        assert!(path.is_file(), "{}", path.display());
    }
}
