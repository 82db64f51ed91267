//! The engine for C, C++ and whatever calls them: the functions and types of `include/sml.h`.
//!
//! The header is made out of this folder by cbindgen and checked in; a test compares the two. The comments here are written
//! for those who read the header, and the general rules (handles, errors, threads, versions) stand at its top, in
//! `cbindgen.toml`. The functions are the same with every combination of features: what a build lacks is an error code.
//!
//! * A handle is a number in the form of a pointer that is never followed (`handles`): NULL, a stale handle or one of
//!   another kind is an error and not an accident.
//! * A structure begins with its own size, by which older and newer callers are told apart (`versioned`).
//! * Every function runs inside `status::guard`, which turns errors and panics into a status and a message.
//!
//! What cannot be checked, that pointers of the caller hold what he says, is the only reason for `unsafe` here.

#![allow(non_camel_case_types, reason = "types have the names of the header")]

mod arguments;
mod device;
mod engine;
mod frame;
mod handles;
mod host;
mod obstacles;
mod params;
mod statistics;
mod status;
mod version;
mod versioned;

pub use device::*;
pub use engine::*;
pub use frame::*;
pub use host::*;
pub use obstacles::*;
pub use params::*;
pub use statistics::*;
pub use status::*;
pub use version::*;
