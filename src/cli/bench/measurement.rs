//! Warming up and measuring, with one engine or several side by side, under the eyes of Ctrl-C and of a progress bar.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, ScopedJoinHandle, Thread};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use super::clocks::{ClockSource, Clocks};
use super::machine::peak_bytes;
use super::subject::{ORDER, Pass, Subject, is_whole};
use crate::cli::interrupt::Interrupt;
use crate::latency::{Limit, Samples, measure};
use crate::{Device, Result};

/// How often the bar moves.
const BAR_INTERVAL: Duration = Duration::from_millis(200);

/// How subjects are measured.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    pub limit: Limit,
    pub warmup: u64,
    /// Caches are flushed before every frame.
    pub cold: bool,
    pub device: Device,
}

/// Measurements of one stage.
pub(super) struct Recorded {
    pub stage: &'static str,
    pub samples: Samples,
    /// Until the call returned, for whole frames.
    pub submit: Option<Samples>,
    /// Frames of all engines over the time that passed; `None` where other things than frames lay in it, and for single stages.
    pub frames_per_s: Option<f64>,
}

/// What was measured.
pub(super) struct Measured {
    /// In the order of the report.
    pub stages: Vec<Recorded>,
    pub first: Duration,
    pub warmup: Duration,
    pub passed: Duration,
    pub clocks: Option<Clocks>,
    pub peak_bytes: Option<u64>,
}

impl Measured {
    /// Frames of the longest pass; 0 when nothing was measured.
    pub fn frames(&self) -> u64 {
        self.stages.iter().map(|stage| stage.samples.count()).max().unwrap_or_default()
    }
}

/// Measures all passes. `bar` is hidden where nobody looks.
///
/// # Errors
/// Those of the subjects.
pub(super) fn run(
    subjects: &mut [Box<dyn Subject + '_>],
    plan: Plan,
    interrupt: Interrupt,
    bar: &ProgressBar,
) -> Result<Measured> {
    let passes = subjects.first().map(|subject| subject.passes()).unwrap_or_default();
    let (mut first, mut warmup, mut passed) = (None, Duration::ZERO, Duration::ZERO);
    let (mut stages, mut clocks) = (Vec::new(), ClockSource::of(plan.device));
    for pass in passes {
        for subject in &mut *subjects {
            subject.begin(*pass)?;
        }
        let mut times = vec![Duration::ZERO; pass.stages.len() + 1];
        let start = Instant::now();
        subjects[0].frame(0, &mut times)?;
        first.get_or_insert(start.elapsed());
        let part = side_by_side(subjects, *pass, plan, interrupt, bar, &mut clocks)?;
        warmup += part.warmup;
        passed += part.measured;
        stages.extend(part.recorded(*pass, plan.cold));
    }
    stages.sort_by_key(|recorded| ORDER.iter().position(|stage| *stage == recorded.stage));
    bar.finish_and_clear();
    Ok(Measured {
        stages,
        first: first.unwrap_or_default(),
        warmup,
        passed,
        clocks: clocks.finish(),
        peak_bytes: peak_bytes(),
    })
}

/// What one pass, or one engine's part in it, came to.
struct Part {
    /// Of each stage, and until the call returned.
    samples: Vec<Samples>,
    warmup: Duration,
    measured: Duration,
}

impl Part {
    fn recorded(mut self, pass: Pass, cold: bool) -> Vec<Recorded> {
        let submit = self.samples.pop();
        let seconds = self.measured.as_secs_f64();
        let record = |(&stage, samples): (&&'static str, Samples)| {
            let whole = is_whole(stage);
            let rate = (whole && !cold && seconds > 0.0).then(|| samples.count() as f64 / seconds);
            Recorded { stage, submit: submit.clone().filter(|_| stage == "all"), frames_per_s: rate, samples }
        };
        pass.stages.iter().zip(self.samples).map(record).collect()
    }

    fn merge(&mut self, other: Self) -> Result<()> {
        for (own, samples) in self.samples.iter_mut().zip(other.samples) {
            own.merge(samples)?;
        }
        self.warmup = self.warmup.max(other.warmup);
        self.measured = self.measured.max(other.measured);
        Ok(())
    }
}

/// What the engines of one pass share.
struct Shared<'a> {
    pass: Pass,
    plan: Plan,
    interrupt: Interrupt,
    /// All begin to measure at once.
    start: Barrier,
    failed: AtomicBool,
    measured: AtomicU64,
    onlooker: Thread,
    clocks: &'a std::sync::Mutex<&'a mut ClockSource>,
}

fn side_by_side(
    subjects: &mut [Box<dyn Subject + '_>],
    pass: Pass,
    plan: Plan,
    interrupt: Interrupt,
    bar: &ProgressBar,
    clocks: &mut ClockSource,
) -> Result<Part> {
    let several = subjects.len() > 1;
    let clocks = std::sync::Mutex::new(clocks);
    let shared = Shared {
        pass,
        plan,
        interrupt,
        start: Barrier::new(subjects.len()),
        failed: AtomicBool::new(false),
        measured: AtomicU64::new(0),
        onlooker: thread::current(),
        clocks: &clocks,
    };
    let parts = thread::scope(|scope| {
        let work = |subject: &mut Box<dyn Subject + '_>| shared.work(&mut **subject, several);
        let threads: Vec<_> = subjects.iter_mut().map(|subject| scope.spawn(move || work(subject))).collect();
        show(bar, plan, &shared.measured, &threads);
        threads.into_iter().map(joined).collect::<Result<Vec<Part>>>()
    })?;
    let mut parts = parts.into_iter();
    let Some(mut all) = parts.next() else { return Ok(Part::default()) };
    parts.try_for_each(|part| all.merge(part))?;
    Ok(all)
}

impl Default for Part {
    fn default() -> Self {
        Self { samples: Vec::new(), warmup: Duration::ZERO, measured: Duration::ZERO }
    }
}

/// A panic of the thread goes on here.
fn joined(thread: ScopedJoinHandle<'_, Result<Part>>) -> Result<Part> {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Moves the bar until all threads are done. Where nobody sees it, nothing wakes up meanwhile.
fn show<T>(bar: &ProgressBar, plan: Plan, measured: &AtomicU64, threads: &[ScopedJoinHandle<'_, T>]) {
    if bar.is_hidden() {
        return;
    }
    let start = Instant::now();
    while !threads.iter().all(ScopedJoinHandle::is_finished) {
        let frames = measured.load(Ordering::Relaxed);
        match plan.limit {
            Limit::Frames(most) => {
                bar.set_length(most * threads.len() as u64);
                bar.set_position(frames);
            }
            Limit::Duration(longest) => {
                bar.set_length(longest.as_secs().max(1));
                bar.set_position(start.elapsed().as_secs().min(longest.as_secs()));
                bar.set_message(format!("{frames} frames"));
            }
        }
        thread::park_timeout(BAR_INTERVAL);
    }
}

impl Shared<'_> {
    fn is_over(&self) -> bool {
        self.interrupt.requested() || self.failed.load(Ordering::Relaxed)
    }

    /// One engine's part. Whatever happens, the others are not left waiting.
    fn work(&self, subject: &mut dyn Subject, several: bool) -> Result<Part> {
        let entered = if several { subject.enter_thread() } else { Ok(None) };
        let warm = entered.and_then(|entered| Ok((entered, self.warm_up(subject)?)));
        if warm.is_err() {
            self.failed.store(true, Ordering::Relaxed);
        }
        if self.start.wait().is_leader()
            && let Ok(mut clocks) = self.clocks.lock()
        {
            clocks.begin();
        }
        let part = warm.and_then(|(_entered, warmup)| self.measure(subject, warmup));
        if part.is_err() {
            self.failed.store(true, Ordering::Relaxed);
        }
        if let Ok(mut clocks) = self.clocks.lock() {
            clocks.end();
        }
        self.onlooker.unpark();
        part
    }

    fn warm_up(&self, subject: &mut dyn Subject) -> Result<Duration> {
        let mut times = vec![Duration::ZERO; self.pass.stages.len() + 1];
        let start = Instant::now();
        for turn in 0..self.plan.warmup {
            if self.is_over() {
                break;
            }
            subject.frame(turn + 1, &mut times)?;
        }
        Ok(start.elapsed())
    }

    fn measure(&self, subject: &mut dyn Subject, warmup: Duration) -> Result<Part> {
        let number = self.pass.stages.len() + 1;
        let room = self.plan.limit.frames();
        let mut samples = (0..number).map(|_| Samples::with_room_for(room)).collect::<Result<Vec<_>>>()?;
        let mut times = vec![Duration::ZERO; number];
        let measured = measure(
            self.plan.limit,
            || self.is_over(),
            &self.measured,
            &mut samples,
            &mut times,
            |turn, times| {
                if self.plan.cold {
                    subject.flush()?;
                }
                subject.frame(turn, times)
            },
        )?;
        Ok(Part { samples, warmup, measured })
    }
}
