//! Latencies: what many measurements of one thing come to, and the loop that takes them.
//!
//! All memory is there before the first measurement, and the loop allocates nothing: every measurement goes into a
//! histogram of constant size (HdrHistogram, three digits) and into running moments, and the first
//! [`MOST_KEPT`](Samples::MOST_KEPT) are kept as they are. When those are full every second one is dropped, and of what follows
//! only every second one is kept, so that the kept ones always lie evenly over the whole run. Times are of the monotonic clock.
//!
//! For measurements of this crate alone, and no part of its interface: it may change in any release.

mod measuring_loop;
mod samples;
mod summary;

pub use measuring_loop::{Limit, measure};
pub use samples::Samples;
pub use summary::Latency;
