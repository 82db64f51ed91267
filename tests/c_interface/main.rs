//! The C interface as C and C++ see it: the header, the installed library, the examples, and misuse.

#![cfg(target_os = "linux")]
// The functions of the header are `unsafe`; clippy's leave for tests does not cover their helpers.
#![allow(clippy::unwrap_used, clippy::panic, unsafe_code)]

mod compiler;
mod frames;
mod header;
mod installed;
mod layout;
mod on_gpu;
mod programs;
