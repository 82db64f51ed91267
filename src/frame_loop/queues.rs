//! What the threads of a loop share: blocks of memory that go round, and one lock.
//!
//! An *input* goes from the free ones to the submitter, which fills it, waits, is worked on and is free again; an *output* goes from
//! the free ones to the worker, is ready, is held by the receiver as an [`AnomalyFrame`](super::AnomalyFrame) and is free again. There are as
//! many of each as can be somewhere at once, all made in the beginning; under the lock they only change hands.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::{debug, warn};

use super::memory::{HostMemory, ResultMemory};
use super::options::{FrameStamp, Policy, Submission};
use super::summary::LoopSummary;
use super::telemetry::{FrameTelemetry, Latencies};
use super::work::Lanes;
use super::{FrameForm, FrameLoopOptions};
use crate::obstacles::Obstacle;
use crate::{Error, Result, Size};

/// Obstacles of a frame for which there is room from the beginning.
const USUAL_OBSTACLES: usize = 256;

/// Memory of a frame that was submitted, with what is known of it.
pub(crate) struct Input {
    pub memory: HostMemory,
    pub stamp: FrameStamp,
    /// When `submit` was called.
    pub submitted: Instant,
    /// What copying it took.
    pub copied: Duration,
}

/// Memory of a result, with what is known of it.
pub(crate) struct Output {
    pub result: ResultMemory,
    /// Where it is delivered too, or needed to smooth over time.
    pub picture: Option<HostMemory>,
    pub obstacles: Vec<Obstacle>,
    pub stamp: FrameStamp,
    /// When `submit` was called.
    pub submitted: Instant,
    pub telemetry: FrameTelemetry,
    pub missed_deadline: bool,
}

pub(super) struct Queues {
    pub form: FrameForm,
    pub options: FrameLoopOptions,
    state: Mutex<State>,
    /// The submitter waits for room, the worker for a frame and memory for its result, the second thread for what the worker made, the
    /// receiver for a result.
    room: Condvar,
    work: Condvar,
    made: Condvar,
    results: Condvar,
}

struct State {
    free_inputs: Vec<Input>,
    waiting: VecDeque<Input>,
    free_outputs: Vec<Output>,
    /// For the second thread, where there is one.
    made: VecDeque<Output>,
    ready: VecDeque<Output>,
    /// No more frames are taken.
    closed: bool,
    /// The worker makes no more results.
    worked_off: bool,
    /// No more results become ready.
    ended: bool,
    /// Why, if the loop failed: for the one who finishes it, and as text for those who still submit.
    failure: Option<Error>,
    reason: Option<String>,
    summary: LoopSummary,
}

impl Queues {
    /// # Errors
    /// Where there is no memory.
    pub fn new(form: FrameForm, size: Size, options: FrameLoopOptions, lanes: &dyn Lanes) -> Result<Self> {
        let depth = lanes.depth();
        // One is being filled meanwhile.
        let inputs = options.queue + depth + 1;
        let outputs = options.results + depth + usize::from(options.has_second_thread());
        let with_picture =
            options.keep_picture || (options.temporal_smoothing.is_some() && form.is_picture());
        let input = |_| {
            let memory = lanes.memory(form.bytes())?;
            let (stamp, copied) = Default::default();
            Ok(Input { memory, stamp, submitted: Instant::now(), copied })
        };
        let output = |_| {
            let result = ResultMemory { block: lanes.memory(ResultMemory::bytes(size))?, size };
            let picture = with_picture.then(|| lanes.memory(form.bytes())).transpose()?;
            let obstacles = Vec::with_capacity(options.obstacles.as_ref().map_or(0, |_| USUAL_OBSTACLES));
            let (stamp, telemetry, missed_deadline) = Default::default();
            let submitted = Instant::now();
            Ok(Output { result, picture, obstacles, stamp, submitted, telemetry, missed_deadline })
        };
        let state = State {
            free_inputs: (0..inputs).map(input).collect::<Result<_>>()?,
            waiting: VecDeque::with_capacity(options.queue),
            free_outputs: (0..outputs).map(output).collect::<Result<_>>()?,
            made: VecDeque::with_capacity(outputs),
            ready: VecDeque::with_capacity(outputs),
            closed: false,
            worked_off: false,
            ended: false,
            failure: None,
            reason: None,
            summary: LoopSummary {
                submitted: 0,
                delivered: 0,
                dropped: 0,
                missed_deadlines: 0,
                latencies: Latencies::new()?,
            },
        };
        let (room, work, made, results) = Default::default();
        Ok(Self { form, options, state: Mutex::new(state), room, work, made, results })
    }

    /// A lock that a panicking consumer left poisoned guards nothing half-done: every change below is whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, condition: &Condvar, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        condition.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Memory for a frame; `None` where the policy drops it.
    ///
    /// # Errors
    /// [`Error::LoopEnded`] when the loop takes no frames any more.
    pub fn take_input(&self) -> Result<Option<Input>> {
        let mut state = self.lock();
        loop {
            if let Some(error) = state.refusal() {
                return Err(error);
            }
            let full = state.waiting.len() >= self.options.queue;
            match self.options.policy {
                Policy::DropNewest if full => {
                    state.summary.submitted += 1;
                    state.summary.dropped += 1;
                    return Ok(None);
                }
                Policy::Block if full => {}
                _ => {
                    if let Some(input) = state.free_inputs.pop() {
                        return Ok(Some(input));
                    }
                }
            }
            state = self.wait(&self.room, state);
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
        let mut state = self.lock();
        if let Some(error) = state.refusal() {
            state.free_inputs.push(input);
            return Err(error);
        }
        state.summary.submitted += 1;
        // Only where the oldest is to be dropped: with the other policies there was room, and only the worker has been here.
        let full = state.waiting.len() >= self.options.queue;
        let oldest = if full { state.waiting.pop_front() } else { None };
        state.waiting.push_back(input);
        let Some(oldest) = oldest else {
            drop(state);
            self.work.notify_one();
            return Ok(Submission::Accepted);
        };
        state.summary.dropped += 1;
        let stamp = oldest.stamp;
        state.free_inputs.push(oldest);
        Ok(Submission::DroppedOldest(stamp))
    }

    /// The frame that has waited longest, with memory for its result. Waits for both: then `None` says that none will come any
    /// more. Or returns at once.
    pub fn next(&self, patient: bool) -> Option<(Input, Output)> {
        let mut state = self.lock();
        loop {
            if state.ended || (state.closed && state.waiting.is_empty()) {
                return None;
            }
            if !state.waiting.is_empty()
                && let Some(output) = state.free_outputs.pop()
                && let Some(input) = state.waiting.pop_front()
            {
                drop(state);
                self.room.notify_one();
                return Some((input, output));
            }
            if !patient {
                return None;
            }
            state = self.wait(&self.work, state);
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
        let mut state = self.lock();
        if state.ended {
            state.drop_result(output);
        } else {
            state.made.push_back(output);
        }
        drop(state);
        self.made.notify_one();
    }

    /// What the worker made, for the second thread; waits for it. `None` when nothing will come any more.
    pub fn next_made(&self) -> Option<Output> {
        let mut state = self.lock();
        loop {
            if let Some(output) = state.made.pop_front() {
                return Some(output);
            }
            if state.worked_off || state.ended {
                return None;
            }
            state = self.wait(&self.made, state);
        }
    }

    /// Lets the receiver have a result.
    pub fn deliver(&self, mut output: Output) {
        let mut state = self.lock();
        let telemetry = &mut output.telemetry;
        telemetry.total = output.submitted.elapsed();
        let missed = self.options.deadline.is_some_and(|deadline| telemetry.total > deadline);
        state.summary.missed_deadlines += u64::from(missed);
        state.summary.latencies.record(telemetry);
        output.missed_deadline = missed;
        let (id, telemetry) = (output.stamp.id, *telemetry);
        if state.ended {
            // Nobody waits for it any more.
            state.drop_result(output);
        } else {
            state.ready.push_back(output);
        }
        drop(state);
        self.results.notify_one();
        debug!(id, ?telemetry, "frame is ready");
        if missed {
            warn!(id, total = ?telemetry.total, "frame missed its deadline");
        }
    }

    /// The next result; `None` when there will be none, or at `until`.
    pub fn receive(&self, until: Option<Instant>) -> Option<Output> {
        let mut state = self.lock();
        loop {
            if let Some(output) = state.ready.pop_front() {
                state.summary.delivered += 1;
                return Some(output);
            }
            if state.ended {
                return None;
            }
            state = match until.map(|until| until.saturating_duration_since(Instant::now())) {
                None => self.wait(&self.results, state),
                Some(Duration::ZERO) => return None,
                Some(rest) => {
                    self.results.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0
                }
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
        let state = self.lock();
        state.ended && state.ready.is_empty()
    }

    /// Takes no more frames. Those that wait are worked on.
    pub fn close(&self) {
        self.lock().closed = true;
        self.wake_all();
    }

    /// Takes no more frames, and drops those that wait and results that nobody took. What is being worked on goes the same way.
    pub fn give_up(&self) {
        let mut state = self.lock();
        state.drop_waiting();
        while let Some(output) = state.ready.pop_front() {
            state.drop_result(output);
        }
        state.end();
        drop(state);
        self.wake_all();
    }

    /// The worker's last word. `lost` are frames that it was working on.
    pub fn worked_off(&self, failure: Option<Error>, lost: u64) {
        let mut state = self.lock();
        state.drop_waiting();
        state.fail(failure, lost);
        state.worked_off = true;
        if !self.options.has_second_thread() {
            state.end();
        }
        drop(state);
        self.wake_all();
    }

    /// The second thread's last word: nothing more becomes ready. `lost` is a frame that it was working on.
    pub fn end(&self, failure: Option<Error>, lost: u64) {
        let mut state = self.lock();
        state.drop_waiting();
        state.fail(failure, lost);
        state.end();
        drop(state);
        self.wake_all();
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

impl fmt::Debug for Queues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queues")
            .field("form", &self.form)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl State {
    /// Why no frame is taken, if none is.
    fn refusal(&self) -> Option<Error> {
        let reason = match &self.reason {
            Some(reason) => reason.clone(),
            None if self.closed => "it was closed".to_owned(),
            None => return None,
        };
        Some(Error::LoopEnded { reason })
    }

    /// Keeps the first failure of a loop.
    fn fail(&mut self, failure: Option<Error>, lost: u64) {
        self.summary.dropped += lost;
        if let (Some(failure), None) = (failure, &self.reason) {
            self.reason = Some(failure.to_string());
            self.failure = Some(failure);
        }
    }

    fn end(&mut self) {
        self.ended = true;
        while let Some(output) = self.made.pop_front() {
            self.drop_result(output);
        }
    }

    fn drop_result(&mut self, output: Output) {
        self.summary.dropped += 1;
        self.free_outputs.push(output);
    }

    fn drop_waiting(&mut self) {
        self.closed = true;
        while let Some(input) = self.waiting.pop_front() {
            self.summary.dropped += 1;
            self.free_inputs.push(input);
        }
    }
}
