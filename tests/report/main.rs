//! Figures and the report of an evaluation, from made-up results; pages are looked at in headless Chromium.
#![cfg(feature = "files")]
#![allow(clippy::panic, clippy::unwrap_used, reason = "what cannot be made fails the test")]

mod browser;
#[cfg(all(feature = "cli", feature = "torch"))]
mod demo_page;
mod figures;
mod made_up;
mod page;
