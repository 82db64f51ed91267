//! The work that a loop is built around: what makes a result of a frame.

use super::form::{FrameForm, FrameInput};
use super::memory::HostMemory;
use super::ring::{Input, Output};
use super::telemetry::WorkTimings;
use crate::{AnomalyMapMut, Engine, Error, Result, Size};

/// Makes a result of a frame. The loop calls it on a thread of its own, for one frame after the other.
///
/// `FrameLoop::around_pipeline` (with libtorch) and [`FrameLoop::around_engine`](super::FrameLoop::around_engine)
/// bring their own; implement it to put a network of another runtime between pictures and the engine, and give it to
/// [`FrameLoop::around`](super::FrameLoop::around).
pub trait FrameWork: Send {
    /// Called once, on the loop's thread, before the loop takes frames: what is slow the first time can be done here.
    ///
    /// # Errors
    /// Whatever makes the work impossible: the loop is not built then.
    fn prepare(&mut self) -> Result<()> {
        Ok(())
    }

    /// Writes the result of a frame, which has the loop's form, into the loop's memory, and says what it took.
    ///
    /// # Errors
    /// Whatever makes the result impossible: the loop ends with it. So it does when this panics.
    fn run(&mut self, frame: &FrameInput<'_>, result: AnomalyMapMut<'_>) -> Result<WorkTimings>;
}

/// A frame under way: its memory, and that of its result.
pub(crate) struct Job {
    pub input: Input,
    pub output: Output,
    pub timings: WorkTimings,
}

/// How frames go through the work, several of them at once where the device works by itself.
pub(crate) trait Lanes: Send {
    /// How many frames may be started and not finished.
    fn depth(&self) -> usize;

    /// Memory for frames or results that the device can copy from and to.
    fn memory(&self, bytes: usize) -> Result<HostMemory>;

    /// See [`FrameWork::prepare`].
    fn prepare(&mut self) -> Result<()>;

    /// Takes a frame in.
    fn start(&mut self, job: Job) -> Result<()>;

    /// Gives back the frame that was started first, done. Waits for it.
    fn finish(&mut self) -> Result<Option<Job>>;
}

/// Work on the CPU: a frame is done when it was started.
pub(super) struct AtOnce<W> {
    work: W,
    form: FrameForm,
    done: Option<Job>,
}

impl<W> AtOnce<W> {
    pub fn new(work: W, form: FrameForm) -> Self {
        Self { work, form, done: None }
    }
}

impl<W: FrameWork> Lanes for AtOnce<W> {
    fn depth(&self) -> usize {
        1
    }

    fn memory(&self, bytes: usize) -> Result<HostMemory> {
        HostMemory::allocate(bytes)
    }

    fn prepare(&mut self) -> Result<()> {
        self.work.prepare()
    }

    fn start(&mut self, mut job: Job) -> Result<()> {
        let frame = self.form.view(job.input.memory.as_bytes())?;
        job.timings = self.work.run(&frame, job.output.result.as_mut())?;
        self.done = Some(job);
        Ok(())
    }

    fn finish(&mut self) -> Result<Option<Job>> {
        Ok(self.done.take())
    }
}

/// A bare engine on the CPU.
pub(super) struct EngineWork {
    engine: Engine,
}

impl EngineWork {
    /// # Errors
    /// When the engine cannot take such frames.
    pub fn new(engine: Engine, form: FrameForm, size: Size) -> Result<Self> {
        if let FrameForm::Logits { shape, .. } = form {
            engine.check(shape, size)?;
        }
        Ok(Self { engine })
    }
}

impl FrameWork for EngineWork {
    fn run(&mut self, frame: &FrameInput<'_>, result: AnomalyMapMut<'_>) -> Result<WorkTimings> {
        let FrameInput::Logits(logits) = frame else { return Err(wrong_frame("a picture", "logits")) };
        self.engine.submit_into(logits, result)?;
        let stages = self.engine.timings()?.unwrap_or_default();
        Ok(WorkTimings { stages, ..WorkTimings::default() })
    }
}

/// For work that was given to a loop of another form.
pub(super) fn wrong_frame(given: &str, expected: &str) -> Error {
    Error::Shape { what: "frame of the loop", given: given.to_owned(), expected: expected.to_owned() }
}
