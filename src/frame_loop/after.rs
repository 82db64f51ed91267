//! What is done with a result after the worker made it, on the loop's second thread: smoothing over time and finding obstacles.

use std::time::Instant;

use tracing::{debug_span, error};

use super::form::FrameInput;
use super::memory::map;
use super::queues::{Output, Queues};
use super::worker::contained;
use super::{FrameForm, FrameLoopOptions};
use crate::obstacles::ObstacleFinder;
use crate::temporal_smoothing::PictureChange;
use crate::{Result, Size, TemporalSmoother};

/// What the options ask for.
pub(super) struct After {
    form: FrameForm,
    smoothing: Option<(TemporalSmoother, PictureChange)>,
    finder: Option<ObstacleFinder>,
}

impl After {
    /// # Errors
    /// [`Error::InvalidParameter`](crate::Error::InvalidParameter) for parameters out of range.
    pub fn new(form: FrameForm, size: Size, options: &FrameLoopOptions) -> Result<Self> {
        let smoother = |smoothing| TemporalSmoother::new(smoothing, size);
        let smoothing = options.temporal_smoothing.map(smoother).transpose()?;
        let finder = options.obstacles.clone().map(|params| ObstacleFinder::new(params, size)).transpose()?;
        Ok(Self { form, smoothing: smoothing.map(|smoother| (smoother, PictureChange::default())), finder })
    }

    /// # Errors
    /// Those of the smoother and the finder, for results of another size than theirs.
    fn run(&mut self, output: &mut Output) -> Result<()> {
        if let Some((smoother, change)) = &mut self.smoothing {
            let picture = output.picture.as_ref().map(|memory| self.form.view(memory.as_bytes()));
            let change = match picture.transpose()? {
                Some(FrameInput::Picture(picture)) => change.measure(&picture),
                _ => None,
            };
            smoother.smooth(output.result.score_mut(), change)?;
        }
        if let Some(finder) = &mut self.finder {
            let Output { result, obstacles, .. } = output;
            let found =
                finder.find(map(result.score(), result.size), map(result.prediction(), result.size))?;
            obstacles.clear();
            obstacles.extend_from_slice(found);
        }
        Ok(())
    }
}

/// Takes what the worker made until there is nothing more. A failure ends the loop.
pub(super) fn run(queues: &Queues, mut after: After) {
    while let Some(mut output) = queues.next_made() {
        let begun = Instant::now();
        let span = debug_span!("after", id = output.stamp.id);
        let done = span.in_scope(|| contained(|| after.run(&mut output)));
        output.telemetry.after = begun.elapsed();
        match done {
            Ok(()) => queues.deliver(output),
            Err(failure) => {
                error!(%failure, id = output.stamp.id, "the frame loop ends");
                return queues.end(Some(failure), 1);
            }
        }
    }
    queues.end(None, 0);
}
