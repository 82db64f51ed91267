//! Giving work to a GPU's streams: in order, on the right context, and never again after it failed.
//!
//! When the GPU reports that work failed, nothing that this process has on it can be trusted, and every later call fails the
//! same way. The failure is returned once, and [`Error::Poisoned`] ever after without calling the driver. The same holds
//! should the driver refuse to mark where work on a stream ends, because later work could then overtake it.
#![allow(unsafe_code)]

use std::sync::Arc;

use cudarc::driver::result::DriverError;

use super::context::Context;
use super::driver_error::{breaks_the_context, describe};
use super::stream::{OwnStream, RawStream, is_capturing};
use super::stream_order::StreamOrder;
use crate::{Error, Result};

/// What was being done when the driver refused. Plain, so that work that succeeds costs no text.
#[derive(Clone, Copy)]
pub(super) enum Step {
    Bind,
    AskAboutCapture,
    Order,
    /// Later work could overtake what was just given.
    LoseOrder,
    UseStreamOfAnotherGpu,
    Find(&'static str),
    Launch(&'static str),
    Graph,
    Capture,
    Time,
    Read,
    /// What, and where to.
    Copy(&'static str),
}

pub(super) type Failure = (Step, DriverError);

/// One owner's work on one GPU, which uses memory that the owner will free: dropped first, it waits for that work.
pub(super) struct Queue {
    order: StreamOrder,
    stream: OwnStream,
    /// What the GPU reported when work failed.
    poison: Option<String>,
    context: Arc<Context>,
}

impl Queue {
    pub fn new(context: &Arc<Context>) -> Result<Self> {
        let stream = OwnStream::new(context)?;
        // SAFETY: the stream lives in the result too.
        let order = unsafe { StreamOrder::new(context, stream.raw()) }?;
        Ok(Self { order, stream, poison: None, context: Arc::clone(context) })
    }

    /// Lets `give` put work on a stream, behind what this queue was given before on whatever stream. `give` is told
    /// whether the stream is being captured; then the order among replays is left to whoever replays.
    ///
    /// # Safety
    /// The stream is alive and of the queue's context. `give` puts work on no other one.
    ///
    /// # Errors
    /// [`Error::Cuda`] if the driver refuses, also if it reports that earlier work on the GPU failed; from then on
    /// [`Error::Poisoned`].
    pub unsafe fn submit(
        &mut self,
        stream: RawStream,
        give: impl FnOnce(bool) -> Result<(), Failure>,
    ) -> Result<()> {
        self.check()?;
        // SAFETY: the caller's duty.
        unsafe { self.give_in_order(stream, give) }.map_err(|failure| self.failed(failure))
    }

    /// # Safety
    /// As for [`submit`](Self::submit).
    unsafe fn give_in_order(
        &mut self,
        stream: RawStream,
        give: impl FnOnce(bool) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let _bound = self.context.bind().map_err(|error| (Step::Bind, error))?;
        // SAFETY: the context is bound; the stream is the caller's duty.
        unsafe {
            if is_capturing(stream.handle()).map_err(|error| (Step::AskAboutCapture, error))? {
                return give(true);
            }
            self.order.enter(stream)?;
            let given = give(false);
            // Also after a failure: some of the work may run.
            self.order.leave().and(given)
        }
    }

    /// Does something else with the GPU, its context bound.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub fn call<T>(&mut self, call: impl FnOnce() -> Result<T, Failure>) -> Result<T> {
        self.check()?;
        let bound = self.context.bind().map_err(|error| (Step::Bind, error));
        bound.and_then(|_bound| call()).map_err(|failure| self.failed(failure))
    }

    /// Waits for all work that was given so far.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub fn synchronize(&mut self) -> Result<()> {
        self.check()?;
        self.wait().map_err(|error| self.failed((Step::Order, error)))
    }

    fn wait(&mut self) -> Result<(), DriverError> {
        let _bound = self.context.bind()?;
        // SAFETY: the context is bound.
        unsafe { self.order.wait() }
    }

    /// A stream that lives as long as the queue.
    pub fn stream(&self) -> &OwnStream {
        &self.stream
    }

    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    fn check(&self) -> Result<()> {
        match &self.poison {
            None => Ok(()),
            Some(failure) => Err(Error::Poisoned { device: self.device(), failure: failure.clone() }),
        }
    }

    fn failed(&mut self, (step, error): Failure) -> Error {
        let device = self.device();
        let action = match step {
            Step::Bind => format!("use {device} on this thread"),
            Step::AskAboutCapture => "tell whether the stream is being captured".to_owned(),
            Step::Order => "put work behind the work before".to_owned(),
            Step::LoseOrder => "mark the end of work on its stream".to_owned(),
            Step::UseStreamOfAnotherGpu => {
                return Error::Device {
                    device,
                    problem: "the stream is of another GPU".to_owned(),
                    remedy: "give the engine a stream of its own GPU, where the logits are".to_owned(),
                };
            }
            Step::Find(kernel) => format!("find the kernel {kernel}"),
            Step::Launch(kernel) => format!("launch the kernel {kernel} on {device}"),
            Step::Graph => format!("launch a frame's graph on {device}"),
            Step::Capture => format!("capture a whole frame into a graph on {device}"),
            Step::Time => "time the stages".to_owned(),
            Step::Read => format!("read memory of {device}"),
            Step::Copy(what) => format!("copy {what} ({device})"),
        };
        let mut message = describe(error);
        if breaks_the_context(error) {
            self.poison = Some(message.clone());
            message.push_str(&format!(" (work that {device} was given earlier has failed)"));
        } else if matches!(step, Step::LoseOrder) {
            self.poison = Some(message.clone());
        }
        Error::Cuda { action, message }
    }

    fn device(&self) -> String {
        format!("cuda:{}", self.context.ordinal())
    }
}

impl Drop for Queue {
    /// Captured graphs of others are theirs to stop.
    fn drop(&mut self) {
        let waited = self.poison.is_none() && self.wait().is_ok();
        if !waited {
            // Whatever the work became, all of it must be over. An error leaves nothing to wait for.
            let _ = self.context.synchronize();
        }
    }
}
