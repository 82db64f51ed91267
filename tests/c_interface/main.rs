//! The C interface as C and C++ see it: the header, the installed library, the examples, and misuse.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic)]

mod compiler;
mod header;
mod installed;
mod layout;
mod on_gpu;
mod programs;
