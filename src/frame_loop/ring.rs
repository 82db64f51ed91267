//! The blocks of memory of a loop, and where each of them is.
//!
//! An *input* goes from the free ones to the submitter, which fills it, waits, is worked on and is free again; an *output* goes from
//! the free ones to the worker, is ready, is held by the receiver as an [`AnomalyFrame`](super::AnomalyFrame) and is free again. There are as
//! many of each as can be somewhere at once, all made in the beginning. Whoever has them changes hands under the lock of `queues.rs`.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::memory::{HostMemory, ResultMemory};
use super::options::FrameStamp;
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

/// All blocks that nobody has in his hands, the counts, and how far the loop has come.
pub(super) struct Ring {
    pub free_inputs: Vec<Input>,
    pub waiting: VecDeque<Input>,
    pub free_outputs: Vec<Output>,
    /// For the second thread, where there is one.
    pub made: VecDeque<Output>,
    pub ready: VecDeque<Output>,
    /// No more frames are taken.
    pub closed: bool,
    /// The worker makes no more results.
    pub worked_off: bool,
    /// No more results become ready.
    pub ended: bool,
    /// Why, if the loop failed: for the one who finishes it, and as text for those who still submit.
    pub failure: Option<Error>,
    reason: Option<String>,
    pub summary: LoopSummary,
}

impl Ring {
    /// Allocates all blocks.
    ///
    /// # Errors
    /// Where there is no memory.
    pub fn new(form: FrameForm, size: Size, options: &FrameLoopOptions, lanes: &dyn Lanes) -> Result<Self> {
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
        Ok(Self {
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
        })
    }

    /// Why no frame is taken, if none is.
    pub fn refusal(&self) -> Option<Error> {
        let reason = match &self.reason {
            Some(reason) => reason.clone(),
            None if self.closed => "it was closed".to_owned(),
            None => return None,
        };
        Some(Error::LoopEnded { reason })
    }

    /// Whether both threads have had their last word: nothing becomes ready any more, and nothing is under way.
    pub fn is_over(&self) -> bool {
        self.ended && self.worked_off
    }

    /// Keeps the first failure of a loop.
    pub fn fail(&mut self, failure: Option<Error>, lost: u64) {
        self.summary.dropped += lost;
        if let (Some(failure), None) = (failure, &self.reason) {
            self.reason = Some(failure.to_string());
            self.failure = Some(failure);
        }
    }

    pub fn end(&mut self) {
        self.ended = true;
        while let Some(output) = self.made.pop_front() {
            self.drop_result(output);
        }
    }

    pub fn drop_result(&mut self, output: Output) {
        self.summary.dropped += 1;
        self.free_outputs.push(output);
    }

    pub fn drop_waiting(&mut self) {
        self.closed = true;
        while let Some(input) = self.waiting.pop_front() {
            self.summary.dropped += 1;
            self.free_inputs.push(input);
        }
    }
}
