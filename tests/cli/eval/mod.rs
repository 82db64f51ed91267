//! `sml eval`: numbers against an independent computation, states that are gone on with, parts, and refusals.

mod literal;
mod numbers;
mod refusals;
mod set;
mod state;
