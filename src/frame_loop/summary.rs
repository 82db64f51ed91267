//! What became of all frames of a loop.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::telemetry::{FramePart, Latencies};

/// Counts and latencies of a loop so far. Every frame is accounted for: once the loop has ended, `submitted` is `delivered` +
/// `dropped`, and before that the rest is [under way](Self::under_way).
#[derive(Clone, Debug, Serialize)]
pub struct LoopSummary {
    /// Frames that were given to the loop, those too that it refused.
    pub submitted: u64,
    /// Results that the receiver took.
    pub delivered: u64,
    /// Frames without a delivered result: those that a policy dropped, and at the end of a loop that failed or was given up
    /// those that were under way.
    pub dropped: u64,
    /// Results that came after the deadline.
    pub missed_deadlines: u64,
    /// What the parts took, of every frame whose result became ready. As JSON: mean, p50, p90, p99, p999 and max of each part, in
    /// microseconds.
    #[serde(rename = "latencies_us")]
    pub latencies: Latencies,
}

impl LoopSummary {
    /// Frames that wait, are worked on, or whose result waits.
    pub fn under_way(&self) -> u64 {
        self.submitted - self.delivered - self.dropped
    }
}

/// A line of counts and a table of the parts.
impl fmt::Display for LoopSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} frames submitted: {} delivered, {} dropped; {} missed the deadline",
            self.submitted, self.delivered, self.dropped, self.missed_deadlines
        )?;
        let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
        write!(f, "{:<12} {:>10} {:>10} {:>10}", "ms", "p50", "p99", "max")?;
        for part in FramePart::ALL {
            let max = self.latencies.max(part);
            if max.is_zero() {
                continue;
            }
            let [p50, p99] =
                [0.5, 0.99].map(|quantile| milliseconds(self.latencies.quantile(part, quantile)));
            write!(f, "\n{:<12} {p50:>10.3} {p99:>10.3} {:>10.3}", part.name(), milliseconds(max))?;
        }
        Ok(())
    }
}
