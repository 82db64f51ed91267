//! `sml serve` through the real program: raw requests, good and bad, and its page in headless Chromium.
#![cfg(all(feature = "serve", feature = "torch"))]
#![allow(clippy::panic, clippy::unwrap_used, reason = "what cannot be made fails the test")]

mod chromium;
mod page;
mod requests;
mod server;
