//! Options about the pace of a frame loop.

use std::time::Duration;

use clap::Args;

use crate::frame_loop::{FrameLoopOptions, Policy};
use crate::{Error, Result};

/// How frames that come too fast, and results that come too late, are dealt with.
#[derive(Args)]
#[command(next_help_heading = "Pace")]
pub(super) struct LoopArgs {
    /// What happens to frames that come while others still wait: block (the source waits), drop-oldest or drop-newest. By default cameras
    /// drop the oldest and everything else waits
    #[arg(long, value_name = "POLICY")]
    policy: Option<Policy>,

    /// Frames that may wait
    #[arg(long, value_name = "FRAMES", default_value_t = 2)]
    queue: usize,

    /// Count results that take longer than this from the frame's arrival
    #[arg(long, value_name = "MS", value_parser = milliseconds)]
    deadline: Option<Duration>,
}

impl LoopArgs {
    /// The loop's options, for a source whose frames come when they come (`live`) or wait.
    pub(super) fn options(&self, live: bool) -> FrameLoopOptions {
        let usual = if live { Policy::DropOldest } else { Policy::Block };
        FrameLoopOptions {
            policy: self.policy.unwrap_or(usual),
            queue: self.queue,
            deadline: self.deadline,
            ..FrameLoopOptions::default()
        }
    }
}

fn milliseconds(text: &str) -> Result<Duration> {
    let time = text.parse().ok().filter(|ms: &f64| *ms > 0.0 && *ms <= 3.6e6);
    time.map(|ms| Duration::from_secs_f64(ms / 1e3)).ok_or_else(|| Error::InvalidParameter {
        field: "deadline",
        given: format!("{text:?}"),
        expected: "milliseconds, above 0",
    })
}
