//! What can be measured frame by frame, and the form in which its times come.

use std::any::Any;
use std::time::Duration;

use crate::Result;

/// One way through all frames, and the stages whose times each frame gives.
///
/// The CPU's stages are timed by the host's clock between them, which costs nothing: one pass measures them and the whole. A GPU
/// needs marks in its stream for them, which keep graphs from being used and cost time themselves; there the whole frames
/// are measured in a pass without marks, and the stages in a second one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pass {
    pub stages: &'static [&'static str],
    /// Whether stages are marked.
    pub profiled: bool,
}

/// One engine with its inputs.
pub(super) trait Subject: Send {
    /// The ways in which its frames are measured.
    fn passes(&self) -> &'static [Pass];

    /// Frames belong to this pass from now on.
    ///
    /// # Errors
    /// When the device refuses.
    fn begin(&mut self, pass: Pass) -> Result<()>;

    /// Beside others, on a thread of its own: what it returns is kept until the thread ends.
    ///
    /// # Errors
    /// When the device refuses.
    fn enter_thread(&self) -> Result<Option<Box<dyn Any>>> {
        Ok(None)
    }

    /// Pushes everything out of the caches, between two frames.
    ///
    /// # Errors
    /// When the device fails.
    fn flush(&mut self) -> Result<()>;

    /// One frame, from the call until its result is complete. `times` takes the time of each stage of the pass, and behind them the
    /// time after which the call returned.
    ///
    /// # Errors
    /// When the device fails.
    fn frame(&mut self, turn: u64, times: &mut [Duration]) -> Result<()>;
}

/// Stages in the order of the report: the whole comes last.
pub(super) const ORDER: [&str; 8] =
    ["preprocess", "network", "standardize", "suppress", "smooth", "post_processing", "all", "end_to_end"];

/// Whether a stage is the whole frame.
pub(super) fn is_whole(stage: &str) -> bool {
    matches!(stage, "all" | "end_to_end")
}
