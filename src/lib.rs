//! x

mod error;
#[cfg(feature = "cli")]
pub mod cli;
pub use error::{Error, Result};
