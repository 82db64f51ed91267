//! What the threads of a loop share: the ring of its memory under one lock, and how they wait for each other.

use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::{debug, error, warn};

use super::options::{Policy, Submission};
use super::ring::{Input, Output, Ring};
use super::summary::LoopSummary;
use super::work::Lanes;
use super::{FrameForm, FrameLoopOptions};
use crate::{Error, Result, Size};

pub(super) struct Queues {
    pub form: FrameForm,
    pub options: FrameLoopOptions,
    ring: Mutex<Ring>,
    /// The submitter waits for room, the worker for a frame and memory for its result, the second thread for what the worker made, the
    /// receiver for a result.
    room: Condvar,
    work: Condvar,
    made: Condvar,
    results: Condvar,
}

impl Queues {
    /// # Errors
    /// Where there is no memory.
    pub fn new(form: FrameForm, size: Size, options: FrameLoopOptions, lanes: &dyn Lanes) -> Result<Self> {
        let ring = Mutex::new(Ring::new(form, size, &options, lanes)?);
        let (room, work, made, results) = Default::default();
        Ok(Self { form, options, ring, room, work, made, results })
    }

    /// A lock that a panicking consumer left poisoned guards nothing half-done: every change below is whole.
    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, condition: &Condvar, ring: MutexGuard<'a, Ring>) -> MutexGuard<'a, Ring> {
        condition.wait(ring).unwrap_or_else(PoisonError::into_inner)
    }

    /// Memory for a frame; `None` where the policy drops it.
    ///
    /// # Errors
    /// [`Error::LoopEnded`] when the loop takes no frames any more.
    pub fn take_input(&self) -> Result<Option<Input>> {
        let mut ring = self.lock();
        loop {
            if let Some(error) = ring.refusal() {
                return Err(error);
            }
            let full = ring.waiting.len() >= self.options.queue;
            match self.options.policy {
                Policy::DropNewest if full => {
                    ring.summary.submitted += 1;
                    ring.summary.dropped += 1;
                    return Ok(None);
                }
                Policy::Block if full => {}
                _ => {
                    if let Some(input) = ring.free_inputs.pop() {
                        return Ok(Some(input));
                    }
                }
            }
            ring = self.wait(&self.room, ring);
        }
    }

    /// Gives memory back that was taken and not filled.
    pub fn return_input(&self, input: Input) {
        self.lock().free_inputs.push(input);
    }

    /// Lets a filled frame wait for the worker.
    ///
    /// # Errors
    /// [`Error::LoopEnded`] when the loop takes no frames any more.
    pub fn offer(&self, input: Input) -> Result<Submission> {
        let mut ring = self.lock();
        if let Some(error) = ring.refusal() {
            ring.free_inputs.push(input);
            return Err(error);
        }
        ring.summary.submitted += 1;
        // Only where the oldest is to be dropped: with the other policies there was room, and only the worker has been here.
        let full = ring.waiting.len() >= self.options.queue;
        let oldest = if full { ring.waiting.pop_front() } else { None };
        ring.waiting.push_back(input);
        let Some(oldest) = oldest else {
            drop(ring);
            self.work.notify_one();
            return Ok(Submission::Accepted);
        };
        ring.summary.dropped += 1;
        let stamp = oldest.stamp;
        ring.free_inputs.push(oldest);
        Ok(Submission::DroppedOldest(stamp))
    }

    /// The frame that has waited longest, with memory for its result. Waits for both: then `None` says that none will come any
    /// more. Or returns at once.
    pub fn next(&self, patient: bool) -> Option<(Input, Output)> {
        let mut ring = self.lock();
        loop {
            if ring.ended || (ring.closed && ring.waiting.is_empty()) {
                return None;
            }
            if !ring.waiting.is_empty()
                && let Some(output) = ring.free_outputs.pop()
                && let Some(input) = ring.waiting.pop_front()
            {
                drop(ring);
                self.room.notify_one();
                return Some((input, output));
            }
            if !patient {
                return None;
            }
            ring = self.wait(&self.work, ring);
        }
    }

    /// Takes the memory of a frame back that has been worked on.
    pub fn release_input(&self, input: Input) {
        self.lock().free_inputs.push(input);
        self.room.notify_one();
    }

    /// Lets the second thread have a result, or the receiver where there is none.
    pub fn pass_on(&self, output: Output) {
        if !self.options.has_second_thread() {
            return self.deliver(output);
        }
        let mut ring = self.lock();
        if ring.ended {
            ring.drop_result(output);
        } else {
            ring.made.push_back(output);
        }
        drop(ring);
        self.made.notify_one();
    }

    /// What the worker made, for the second thread; waits for it. `None` when nothing will come any more.
    pub fn next_made(&self) -> Option<Output> {
        let mut ring = self.lock();
        loop {
            if let Some(output) = ring.made.pop_front() {
                return Some(output);
            }
            if ring.worked_off || ring.ended {
                return None;
            }
            ring = self.wait(&self.made, ring);
        }
    }

    /// Lets the receiver have a result.
    pub fn deliver(&self, mut output: Output) {
        let mut ring = self.lock();
        let telemetry = &mut output.telemetry;
        telemetry.total = output.submitted.elapsed();
        let missed = self.options.deadline.is_some_and(|deadline| telemetry.total > deadline);
        ring.summary.missed_deadlines += u64::from(missed);
        ring.summary.latencies.record(telemetry);
        output.missed_deadline = missed;
        let (id, told) = (output.stamp.id, *telemetry);
        if ring.ended {
            // Nobody waits for it any more.
            ring.drop_result(output);
        } else {
            ring.ready.push_back(output);
        }
        drop(ring);
        self.results.notify_one();
        let us = |time: Duration| time.as_micros() as u64;
        debug!(
            id,
            queue_us = us(told.queue),
            upload_us = us(told.upload),
            backbone_us = us(told.backbone),
            standardize_us = us(told.standardize),
            suppress_us = us(told.suppress),
            smooth_us = us(told.smooth),
            after_us = us(told.after),
            download_us = us(told.download),
            total_us = us(told.total),
            "frame is ready"
        );
        if missed {
            warn!(id, total_us = us(told.total), "frame missed its deadline");
        }
    }

    /// The next result; `None` when there will be none and every frame is accounted for, or at `until`.
    pub fn receive(&self, until: Option<Instant>) -> Option<Output> {
        let mut ring = self.lock();
        loop {
            if let Some(output) = ring.ready.pop_front() {
                ring.summary.delivered += 1;
                return Some(output);
            }
            if ring.is_over() {
                return None;
            }
            ring = match until.map(|until| until.saturating_duration_since(Instant::now())) {
                None => self.wait(&self.results, ring),
                Some(Duration::ZERO) => return None,
                Some(rest) => self.results.wait_timeout(ring, rest).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
    }

    /// Takes the memory of a result back.
    pub fn release_output(&self, output: Output) {
        self.lock().free_outputs.push(output);
        self.work.notify_one();
    }

    /// Whether no more results will come.
    pub fn has_ended(&self) -> bool {
        let ring = self.lock();
        ring.is_over() && ring.ready.is_empty()
    }

    /// Takes no more frames. Those that wait are worked on.
    pub fn close(&self) {
        self.lock().closed = true;
        self.wake_all();
    }

    /// Takes no more frames, and drops those that wait and results that nobody took. What is being worked on goes the same way.
    pub fn give_up(&self) {
        let mut ring = self.lock();
        ring.drop_waiting();
        while let Some(output) = ring.ready.pop_front() {
            ring.drop_result(output);
        }
        ring.end();
        drop(ring);
        self.wake_all();
    }

    /// The worker's last word. `lost` are frames that it was working on.
    pub fn worked_off(&self, failure: Option<Error>, lost: u64) {
        let told = failure.as_ref().map(ToString::to_string);
        let mut ring = self.lock();
        ring.drop_waiting();
        ring.fail(failure, lost);
        ring.worked_off = true;
        if !self.options.has_second_thread() {
            ring.end();
        }
        drop(ring);
        self.wake_all();
        tell(told, lost);
    }

    /// The second thread's last word: nothing more becomes ready. `lost` is a frame that it was working on.
    pub fn end(&self, failure: Option<Error>, lost: u64) {
        let told = failure.as_ref().map(ToString::to_string);
        let mut ring = self.lock();
        ring.drop_waiting();
        ring.fail(failure, lost);
        ring.end();
        drop(ring);
        self.wake_all();
        tell(told, lost);
    }

    /// The failure that ended the loop, once.
    pub fn take_failure(&self) -> Option<Error> {
        self.lock().failure.take()
    }

    pub fn summary(&self) -> LoopSummary {
        self.lock().summary.clone()
    }

    fn wake_all(&self) {
        for condition in [&self.room, &self.work, &self.made, &self.results] {
            condition.notify_all();
        }
    }
}

/// Last, so that a subscriber that panics leaves nobody waiting.
fn tell(failure: Option<String>, lost: u64) {
    if let Some(failure) = failure {
        error!(failure, lost, "the frame loop ends");
    }
}

impl fmt::Debug for Queues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queues")
            .field("form", &self.form)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
