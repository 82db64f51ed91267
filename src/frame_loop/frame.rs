//! A result, in the loop's memory.

use std::fmt;
use std::sync::Arc;

use ndarray::ArrayView2;

use super::form::FrameInput;
use super::memory::map;
use super::options::FrameStamp;
use super::queues::Queues;
use super::ring::Output;
use super::telemetry::FrameTelemetry;
use crate::obstacles::Obstacle;
use crate::{PictureView, Size};

/// The result of one frame. It lies in memory of the loop's, which the loop gets back when this is dropped: hold no more of them than
/// [`FrameLoopOptions::results`](super::FrameLoopOptions::results), or the loop waits. It may be sent to other threads, and outlive
/// the loop.
pub struct AnomalyFrame {
    /// There until this is dropped.
    output: Option<Output>,
    queues: Arc<Queues>,
    stamp: FrameStamp,
    telemetry: FrameTelemetry,
    missed_deadline: bool,
    size: Size,
}

impl AnomalyFrame {
    pub(super) fn new(output: Output, queues: Arc<Queues>) -> Self {
        let Output { stamp, telemetry, missed_deadline, .. } = output;
        let size = output.result.size;
        Self { output: Some(output), queues, stamp, telemetry, missed_deadline, size }
    }

    /// What the source called the frame.
    pub fn stamp(&self) -> FrameStamp {
        self.stamp
    }

    /// Rows and columns of the result.
    pub fn size(&self) -> Size {
        self.size
    }

    /// Anomaly scores, H x W: higher is more anomalous.
    pub fn score(&self) -> ArrayView2<'_, f32> {
        map(self.output.as_ref().map_or(&[], |output| output.result.score()), self.size)
    }

    /// Predicted classes, H x W.
    pub fn prediction(&self) -> ArrayView2<'_, u8> {
        map(self.output.as_ref().map_or(&[], |output| output.result.prediction()), self.size)
    }

    /// Pixels with a logit that is not finite.
    pub fn non_finite(&self) -> u64 {
        self.output.as_ref().map_or(0, |output| output.result.non_finite())
    }

    /// The obstacles, the highest score first, with [`FrameLoopOptions::obstacles`](super::FrameLoopOptions::obstacles); none
    /// without.
    pub fn obstacles(&self) -> &[Obstacle] {
        self.output.as_ref().map_or(&[], |output| &output.obstacles)
    }

    /// The picture, with [`FrameLoopOptions::keep_picture`](super::FrameLoopOptions::keep_picture); `None` without.
    pub fn picture(&self) -> Option<PictureView<'_>> {
        if !self.queues.options.keep_picture {
            return None;
        }
        let bytes = self.output.as_ref()?.picture.as_ref()?.as_bytes();
        match self.queues.form.view(bytes) {
            Ok(FrameInput::Picture(picture)) => Some(picture),
            _ => None,
        }
    }

    /// What the frame took.
    pub fn telemetry(&self) -> FrameTelemetry {
        self.telemetry
    }

    /// Whether it came after [`FrameLoopOptions::deadline`](super::FrameLoopOptions::deadline).
    pub fn missed_deadline(&self) -> bool {
        self.missed_deadline
    }
}

impl Drop for AnomalyFrame {
    fn drop(&mut self) {
        if let Some(output) = self.output.take() {
            self.queues.release_output(output);
        }
    }
}

impl fmt::Debug for AnomalyFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnomalyFrame")
            .field("stamp", &self.stamp)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}
