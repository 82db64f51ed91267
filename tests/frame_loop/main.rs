//! The frame loop: every frame is accounted for whatever the policy, faults end it as documented, and it runs for as long as it
//! takes without more memory.

#![cfg(feature = "frame-loop")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "functions that tests share fail as tests do")]

mod after;
mod faults;
#[cfg(feature = "torch")]
mod pipeline;
mod policies;
mod results;
mod spans;
mod staged_work;
