//! What a loop is told when it is built, and what it says to each frame that is submitted.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::form::FrameForm;
use crate::obstacles::ObstacleParams;
use crate::{Error, Result, TemporalSmoothing};

/// What happens to a frame that comes while as many as may are waiting already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// The submitter waits: no frame is lost. For files, and for sources that can wait.
    #[default]
    Block,
    /// The frame that has waited longest makes room: what is worked on is as new as can be. For live sources.
    DropOldest,
    /// The new frame is refused: what waits is kept.
    DropNewest,
}

impl Policy {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Block, Self::DropOldest, Self::DropNewest];

    /// The name that [`Display`](fmt::Display) writes, [`FromStr`] reads and JSON holds.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::DropOldest => "drop-oldest",
            Self::DropNewest => "drop-newest",
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Policy {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|policy| policy.name() == text).ok_or_else(|| Error::InvalidParameter {
            field: "policy",
            given: format!("{text:?}"),
            expected: "block, drop-oldest or drop-newest",
        })
    }
}

/// How a loop works.
///
/// ```
/// use std::time::Duration;
/// use sml::frame_loop::{FrameLoopOptions, Policy};
///
/// // A camera at 30 frames a second: the newest picture counts, and a result after 66 ms comes too late.
/// let options = FrameLoopOptions {
///     policy: Policy::DropOldest,
///     queue: 1,
///     deadline: Some(Duration::from_millis(66)),
///     ..FrameLoopOptions::default()
/// };
/// # let _ = options;
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct FrameLoopOptions {
    /// What happens to a frame that finds the queue full.
    pub policy: Policy,
    /// Frames that may wait for the worker, 1 to 1024. Every one takes memory for its picture or its logits.
    pub queue: usize,
    /// Results that may wait for the receiver or be held by it, 1 to 1024. Every one takes memory for a score and a prediction. While so many are
    /// not given back the loop stands still, and frames wait or are dropped as the policy says.
    pub results: usize,
    /// The longest that a frame may take from the call of [`submit`](super::Submitter::submit) to its result; later ones are
    /// delivered too, are marked, and counted.
    pub deadline: Option<Duration>,
    /// Whether a result comes with its picture. Costs memory for a picture a result and no time.
    pub keep_picture: bool,
    /// Find obstacles in every result, after it was smoothed over time. They are found on a second thread of the loop's, while the next
    /// frame is worked on.
    pub obstacles: Option<ObstacleParams>,
    /// Smooth the scores over time, starting anew where the picture changes much. The same thread does it. A loop of logits
    /// has no pictures, and smooths always.
    pub temporal_smoothing: Option<TemporalSmoothing>,
}

impl Default for FrameLoopOptions {
    fn default() -> Self {
        Self {
            policy: Policy::Block,
            queue: 2,
            results: 2,
            deadline: None,
            keep_picture: false,
            obstacles: None,
            temporal_smoothing: None,
        }
    }
}

impl FrameLoopOptions {
    /// # Errors
    /// [`Error::InvalidParameter`] for a number out of its range, and for pictures of frames that come without.
    pub(super) fn check(&self, form: FrameForm) -> Result<()> {
        for (field, given) in [("queue", self.queue), ("results", self.results)] {
            if !(1..=1024).contains(&given) {
                let given = given.to_string();
                return Err(Error::InvalidParameter { field, given, expected: "1 to 1024 frames" });
            }
        }
        if self.deadline.is_some_and(|deadline| deadline.is_zero()) {
            let given = "0".to_owned();
            return Err(Error::InvalidParameter { field: "deadline", given, expected: "a time above 0" });
        }
        if self.keep_picture && !form.is_picture() {
            let (given, expected) =
                ("true".to_owned(), "false for a loop of logits: they come without pictures");
            return Err(Error::InvalidParameter { field: "keep_picture", given, expected });
        }
        self.obstacles.as_ref().map_or(Ok(()), ObstacleParams::validate)?;
        self.temporal_smoothing.as_ref().map_or(Ok(()), TemporalSmoothing::validate)
    }

    /// Whether something is done with a result after the worker made it.
    pub(super) fn has_second_thread(&self) -> bool {
        self.obstacles.is_some() || self.temporal_smoothing.is_some()
    }
}

/// What a source calls its frame. A result carries the stamp of its frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameStamp {
    /// Number of the frame. Each is greater than the one before; what a source lost may be left out.
    pub id: u64,
    /// When the frame was taken, by the source's own clock. The loop only hands it on.
    pub timestamp: Duration,
}

/// What became of a frame that was submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Submission {
    /// It waits for the worker.
    Accepted,
    /// It waits for the worker, and this one, which had waited longest, does no more.
    DroppedOldest(FrameStamp),
    /// It was dropped, and not even copied: those that wait came first.
    DroppedThis,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_read_as_they_are_written() {
        for policy in Policy::ALL {
            assert_eq!(policy.to_string().parse::<Policy>().unwrap(), policy);
            assert_eq!(serde_json::to_string(&policy).unwrap(), format!("\"{policy}\""));
        }
        let error = "oldest".parse::<Policy>().unwrap_err().to_string();
        assert_eq!(error, "policy is \"oldest\": expected block, drop-oldest or drop-newest");
    }

    #[test]
    fn options_out_of_range_are_refused() {
        let options = FrameLoopOptions::default;
        let form = FrameForm::Picture { size: crate::Size::new(2, 3), format: crate::PixelFormat::Rgb8 };
        assert!(options().check(form).is_ok());
        for wrong in [
            FrameLoopOptions { queue: 0, ..options() },
            FrameLoopOptions { results: 0, ..options() },
            FrameLoopOptions { queue: 1025, ..options() },
            FrameLoopOptions { deadline: Some(Duration::ZERO), ..options() },
        ] {
            assert!(matches!(wrong.check(form), Err(Error::InvalidParameter { .. })), "{wrong:?}");
        }
    }
}
