//! The end of a loop where results come out, and the loop's threads are joined.

use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use super::frame::AnomalyFrame;
use super::queues::Queues;
use super::summary::LoopSummary;
use crate::{Error, Result};

/// Where results come out, in the order of their frames. There is one a loop; it may be sent to the thread that has the consumer.
///
/// When it is dropped, the loop is given up: frames that wait are dropped, and its threads are joined.
#[derive(Debug)]
pub struct Receiver {
    queues: Arc<Queues>,
    threads: Vec<JoinHandle<()>>,
}

/// What came of waiting for a result for a while.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "a box would be an allocation a frame")]
pub enum Received {
    /// A result.
    Frame(AnomalyFrame),
    /// None yet.
    TimedOut,
    /// There will be none any more.
    Ended,
}

impl Receiver {
    pub(super) fn new(queues: Arc<Queues>) -> Self {
        Self { queues, threads: Vec::with_capacity(2) }
    }

    /// Starts a thread of the loop, which is joined with it.
    ///
    /// # Errors
    /// [`Error::LoopEnded`] where the system starts no thread.
    pub(super) fn spawn(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<()> {
        let spawned = Builder::new().name(name.to_owned()).spawn(run);
        let refused = |error| Error::LoopEnded { reason: format!("no thread could be started: {error}") };
        self.threads.push(spawned.map_err(refused)?);
        Ok(())
    }

    /// The next result; waits for it. `None` when there will be none any more: the submitter was closed or dropped, and
    /// all that waited is done, or the loop failed. [`finish`](Self::finish) tells which.
    pub fn receive(&mut self) -> Option<AnomalyFrame> {
        let output = self.queues.receive(None)?;
        Some(AnomalyFrame::new(output, Arc::clone(&self.queues)))
    }

    /// The next result; waits for it no longer than `patience`, which may be zero.
    pub fn receive_timeout(&mut self, patience: Duration) -> Received {
        // Patience beyond what a clock holds is patience without end.
        match self.queues.receive(Instant::now().checked_add(patience)) {
            Some(output) => Received::Frame(AnomalyFrame::new(output, Arc::clone(&self.queues))),
            None if self.queues.has_ended() => Received::Ended,
            None => Received::TimedOut,
        }
    }

    /// Counts and latencies so far.
    pub fn summary(&self) -> LoopSummary {
        self.queues.summary()
    }

    /// Ends the loop in order: takes no more frames, works off those that wait, hands each result to `each` (or nowhere:
    /// `finish(drop)`), joins the threads and says what became of all frames. Of a loop that has ended already, only the last.
    ///
    /// # Errors
    /// What ended the loop: the error of the network, the engine or the device, or [`Error::LoopPanicked`]. Results that were ready
    /// before that are handed over all the same. [`summary`](Self::summary) gives the counts of such a loop too.
    pub fn finish(mut self, each: impl FnMut(AnomalyFrame)) -> Result<LoopSummary> {
        self.queues.close();
        std::iter::from_fn(|| self.receive()).for_each(each);
        self.join();
        match self.queues.take_failure() {
            Some(failure) => Err(failure),
            None => Ok(self.queues.summary()),
        }
    }

    fn join(&mut self) {
        for thread in self.threads.drain(..) {
            // A thread contains the panics of its work, and has none of its own.
            if thread.join().is_err() {
                self.queues.end(Some(Error::LoopPanicked { message: "in the loop itself".to_owned() }), 0);
            }
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.queues.give_up();
        self.join();
    }
}
