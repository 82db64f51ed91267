//! `sml eval`: numbers against an independent computation, states that are gone on with, parts, and refusals.

mod interrupted;
mod literal;
#[cfg(feature = "torch")]
mod network;
mod numbers;
mod refusals;
mod set;
mod state;
