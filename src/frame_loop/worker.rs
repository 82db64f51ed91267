//! The loop's thread: takes the frame that has waited longest, has it worked on, and lets the receiver have its result.
//!
//! Where the device works by itself, the next frame is given to it before the last one is waited for. Whatever fails, also by a
//! panic, ends the loop with that failure; the thread itself always ends in order.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use tracing::debug_span;

use super::queues::Queues;
use super::telemetry::FrameTelemetry;
use super::work::{Job, Lanes};
use crate::{Error, Result};

/// Prepares the work, says so (or why not), and runs until there is nothing more to do.
pub(super) fn run(queues: &Arc<Queues>, mut lanes: Box<dyn Lanes>, prepared: &SyncSender<Result<()>>) {
    let preparation = contained(|| lanes.prepare());
    let failed = preparation.is_err();
    // Whoever builds the loop waits for this.
    let told = prepared.send(preparation);
    if failed || told.is_err() {
        return queues.worked_off(None, 0);
    }
    let mut worker = Worker { queues, lanes, under_way: 0 };
    let ended = contained(|| worker.work_off());
    let lost = worker.under_way;
    // What the device still does with frames and results is over before anyone may free them.
    let dropped = contained(|| {
        drop(worker);
        Ok(())
    });
    queues.worked_off(ended.and(dropped).err(), lost);
}

struct Worker<'a> {
    queues: &'a Queues,
    lanes: Box<dyn Lanes>,
    /// Frames that were taken and not delivered.
    under_way: u64,
}

impl Worker<'_> {
    fn work_off(&mut self) -> Result<()> {
        let depth = self.lanes.depth() as u64;
        loop {
            while self.under_way < depth
                && let Some((input, output)) = self.queues.next(self.under_way == 0)
            {
                self.under_way += 1;
                self.start(Job { input, output, timings: Default::default() })?;
            }
            match self.lanes.finish()? {
                Some(job) => self.pass_on(job),
                None => return Ok(()),
            }
        }
    }

    fn start(&mut self, mut job: Job) -> Result<()> {
        let span = debug_span!("frame", id = job.input.stamp.id);
        let _entered = span.enter();
        job.output.stamp = job.input.stamp;
        job.output.telemetry = FrameTelemetry {
            queue: job.input.submitted.elapsed().saturating_sub(job.input.copied),
            ..FrameTelemetry::default()
        };
        self.lanes.start(job)
    }

    fn pass_on(&mut self, job: Job) {
        let Job { mut input, mut output, timings } = job;
        let telemetry = &mut output.telemetry;
        telemetry.upload = input.copied + timings.upload;
        telemetry.backbone = timings.backbone;
        telemetry.standardize = timings.stages.standardize;
        telemetry.suppress = timings.stages.suppress;
        telemetry.smooth = timings.stages.smooth;
        telemetry.download = timings.download;
        if let Some(picture) = &mut output.picture {
            std::mem::swap(picture, &mut input.memory);
        }
        output.submitted = input.submitted;
        self.queues.release_input(input);
        self.under_way -= 1;
        self.queues.pass_on(output);
    }
}

/// Does something that others wrote; a panic becomes an error.
pub(super) fn contained<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    // What was being changed is not used again: the loop ends.
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(Error::LoopPanicked { message: told(&*panic) }))
}

/// What a panic said.
fn told(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
