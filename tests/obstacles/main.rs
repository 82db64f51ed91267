//! Obstacles: against a literal flood fill, over frames, and in memory.

#![allow(unsafe_code, reason = "the allocator that counts is unsafe to implement")]
#![allow(clippy::unwrap_used, reason = "functions that tests share fail as tests do")]

mod allocation;
mod flood_fill;
mod over_frames;
mod properties;
