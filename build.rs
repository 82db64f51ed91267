//! Tells the linker where libtorch lies, so that programs find it at run time without environment variables.
//!
//! Two kinds of run path are written into every binary of this package: paths relative to the binary itself, which
//! keep working when the clone is moved, and the absolute path of the libtorch that was linked against.

use std::env;

/// Where `.libtorch/lib` lies seen from `target/<profile>/`, `target/<profile>/{deps,examples}/` and
/// `target/<triple>/<profile>/deps/`.
const RELATIVE: [&str; 3] = ["../..", "../../..", "../../../.."];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_TORCH").is_none() {
        return;
    }
    for up in RELATIVE {
        println!("cargo:rustc-link-arg=-Wl,-rpath,$ORIGIN/{up}/.libtorch/lib");
    }
    // Set by torch-sys' build script for its direct dependents.
    if let Ok(lib) = env::var("DEP_TCH_LIBTORCH_LIB") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{lib}");
    }
}
