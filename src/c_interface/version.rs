//! Which release the library and the header are of.

#![allow(unsafe_code, reason = "a name without mangling counts as such")]

use std::ffi::c_char;

/// Major number of the release that this header belongs to.
pub const SML_VERSION_MAJOR: i32 = 0;
/// Minor number of the release that this header belongs to.
pub const SML_VERSION_MINOR: i32 = 1;
/// Patch number of the release that this header belongs to.
pub const SML_VERSION_PATCH: i32 = 0;

/// Release of the library that is loaded, such as "0.1.0". The text is constant.
#[unsafe(no_mangle)]
pub extern "C" fn sml_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_of_this_release() {
        let header = format!("{SML_VERSION_MAJOR}.{SML_VERSION_MINOR}.{SML_VERSION_PATCH}");
        assert_eq!(header, env!("CARGO_PKG_VERSION"));
    }
}
