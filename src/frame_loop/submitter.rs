//! The end of a loop where frames go in.

use std::sync::Arc;
use std::time::Instant;

use tracing::debug_span;

use super::form::{FrameForm, FrameInput, copy};
use super::options::{FrameStamp, Submission};
use super::queues::Queues;
use super::ring::Input;
use crate::{Error, Result};

/// Where frames go in. There is one a loop; it may be sent to the thread that has the source. When it is dropped, the loop
/// works off what waits and ends.
#[derive(Debug)]
pub struct Submitter {
    queues: Arc<Queues>,
    latest: Option<u64>,
}

impl Submitter {
    pub(super) fn new(queues: Arc<Queues>) -> Self {
        Self { queues, latest: None }
    }

    /// The form that every frame must have.
    pub fn form(&self) -> FrameForm {
        self.queues.form
    }

    /// Copies a picture or logits into the loop. With [`Policy::Block`](super::Policy::Block) it waits for room; otherwise it
    /// returns as soon as the frame is copied.
    ///
    /// # Errors
    /// [`Error::Shape`] for a frame of another form and [`Error::InvalidParameter`] for an id that is not greater than the one
    /// before: the frame does not count as submitted. [`Error::LoopEnded`] when the loop has failed or was closed; the failure
    /// itself is what [`Receiver::finish`](super::Receiver::finish) returns.
    pub fn submit<'a>(&mut self, frame: impl Into<FrameInput<'a>>, stamp: FrameStamp) -> Result<Submission> {
        let frame = frame.into();
        self.queues.form.check_frame(&frame)?;
        self.submit_with(stamp, |memory| {
            copy(&frame, memory);
            Ok(())
        })
    }

    /// As [`submit`](Self::submit), with the frame written by `fill` where it will be worked on: a decoder or a network can do
    /// without a copy. The memory is as long as [`FrameForm::bytes`] says, aligned for every element type, and holds an older
    /// frame.
    ///
    /// `fill` is not called where the policy drops the frame ([`Submission::DroppedThis`]).
    ///
    /// # Errors
    /// As [`submit`](Self::submit); what `fill` returns, and then the frame does not count as submitted.
    pub fn submit_with<E: From<Error>>(
        &mut self,
        stamp: FrameStamp,
        fill: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<Submission, E> {
        let submitted = Instant::now();
        let span = debug_span!("submit", id = stamp.id);
        let _entered = span.enter();
        if let Some(latest) = self.latest.filter(|latest| *latest >= stamp.id) {
            let given = format!("{} after {latest}", stamp.id);
            let expected = "ids that ascend";
            return Err(Error::InvalidParameter { field: "id of the frame", given, expected }.into());
        }
        let input = debug_span!("room").in_scope(|| self.queues.take_input())?;
        let Some(input) = input else {
            self.latest = Some(stamp.id);
            return Ok(Submission::DroppedThis);
        };
        let mut taken = Taken { queues: &self.queues, input: Some(input) };
        let copying = Instant::now();
        if let Some(input) = &mut taken.input {
            debug_span!("copy").in_scope(|| fill(input.memory.as_bytes_mut()))?;
            (input.stamp, input.submitted, input.copied) = (stamp, submitted, copying.elapsed());
        }
        let submission = taken.offer()?;
        self.latest = Some(stamp.id);
        Ok(submission)
    }

    /// Ends the source: the same as dropping it.
    pub fn close(self) {}
}

impl Drop for Submitter {
    fn drop(&mut self) {
        self.queues.close();
    }
}

/// Memory for a frame while it is filled: given back where that fails, also by a panic.
struct Taken<'a> {
    queues: &'a Queues,
    /// There until it is offered.
    input: Option<Input>,
}

impl Taken<'_> {
    fn offer(mut self) -> Result<Submission> {
        match self.input.take() {
            Some(input) => self.queues.offer(input),
            None => Ok(Submission::DroppedThis),
        }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if let Some(input) = self.input.take() {
            self.queues.return_input(input);
        }
    }
}
