//! What a frame loop adds to the bare engine, and what it costs by itself.
//!
//! `flow` is frames one behind the other as a source gives them, `in turn` is a frame submitted only when the one before was
//! received: that is the loop's latency, two changes of thread included. Besides time, the processor's time of all threads is printed:
//! it does not depend on what else the machine does.

use std::time::{Duration, Instant};

use criterion::Criterion;
use sml::drawn_logits::DrawnLogits;
use sml::frame_loop::{
    FrameForm, FrameInput, FrameLoop, FrameLoopOptions, FramePart, FrameStamp, FrameWork, WorkTimings,
};
use sml::obstacles::ObstacleParams;
use sml::{
    AnomalyMapMut, Capacity, Device, ElementType, Engine, Error, Layout, Logits, LogitsShape, Params,
    PictureView, PixelFormat, Result, Size, TemporalSmoothing,
};

/// Work that does nothing: what is left is the loop.
struct Nothing;

impl FrameWork for Nothing {
    fn run(&mut self, _: &FrameInput<'_>, _: AnomalyMapMut<'_>) -> Result<WorkTimings> {
        Ok(WorkTimings::default())
    }
}

const CLASSES: usize = 19;
const OUTPUT: Size = Size::new(256, 512);

/// A loop and the frames that it is given over and over.
struct Flow {
    frame_loop: FrameLoop,
    id: u64,
}

impl Flow {
    fn new(frame_loop: FrameLoop) -> Self {
        Self { frame_loop, id: 0 }
    }

    fn stamp(&mut self) -> FrameStamp {
        self.id += 1;
        FrameStamp { id: self.id, timestamp: Duration::ZERO }
    }

    /// Each frame when the one before was received.
    fn in_turn<'a>(&mut self, frames: u64, frame: impl Fn() -> FrameInput<'a>) -> Result<Duration> {
        let start = Instant::now();
        for _ in 0..frames {
            let stamp = self.stamp();
            self.frame_loop.submit(frame(), stamp)?;
            self.frame_loop.receive();
        }
        Ok(start.elapsed())
    }

    /// Two frames ahead of the receiver, on one thread.
    fn flow<'a>(&mut self, frames: u64, frame: impl Fn() -> FrameInput<'a>) -> Result<Duration> {
        let start = Instant::now();
        for n in 0..frames + 2 {
            let stamp = self.stamp();
            if n < frames {
                self.frame_loop.submit(frame(), stamp)?;
            }
            if n >= 2 {
                self.frame_loop.receive();
            }
        }
        Ok(start.elapsed())
    }
}

fn empty() -> Result<Flow> {
    let form = FrameForm::Picture { size: Size::new(2, 2), format: PixelFormat::Rgb8 };
    FrameLoop::around(Nothing, form, Size::new(2, 2), FrameLoopOptions::default()).map(Flow::new)
}

/// Processor time of all threads of this process, in nanoseconds; `None` where the system does not tell.
fn processor_time() -> Option<u64> {
    let tasks = std::fs::read_dir("/proc/self/task").ok()?;
    let times = tasks.flatten().filter_map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Some(times.sum())
}

fn report(what: &str, frames: u64, mut run: impl FnMut(u64) -> Result<Duration>) -> Result<()> {
    run(frames / 10)?;
    let before = processor_time();
    let wall = run(frames)?.as_secs_f64() / frames as f64 * 1e6;
    match processor_time().zip(before) {
        Some((after, before)) => {
            let processor = (after - before) as f64 / frames as f64 / 1e3;
            println!("{what:<32} {processor:8.2} us of processor time a frame, {wall:8.2} us of time");
        }
        None => println!("{what:<32} {wall:8.2} us a frame (this system does not tell processor time)"),
    }
    Ok(())
}

fn main() -> Result<(), Error> {
    let mut criterion = Criterion::default().configure_from_args();
    let shape = LogitsShape::new(1, CLASSES, OUTPUT.height / 4, OUTPUT.width / 4)?;
    let drawn = DrawnLogits::new(0, shape, ElementType::F16, Layout::Nchw)?;
    let statistics = drawn.statistics(OUTPUT)?;
    let engine =
        || Engine::new(Device::Cpu, Params::default(), Some(&statistics), Capacity::of(shape, OUTPUT));
    let form = (shape, ElementType::F16, Layout::Nchw);
    let around_engine =
        || FrameLoop::around_engine(engine()?, form, OUTPUT, FrameLoopOptions::default()).map(Flow::new);
    let logits: Logits<'_> = drawn.logits()?;
    let pixels = [0; 12];
    let picture = PictureView::packed(&pixels, Size::new(2, 2), PixelFormat::Rgb8)?;

    let mut bare = engine()?;
    let mut alone = move |frames: u64| -> Result<Duration> {
        let start = Instant::now();
        for _ in 0..frames {
            bare.submit(&logits, OUTPUT)?;
        }
        Ok(start.elapsed())
    };
    let (mut turns, mut flow) = (empty()?, empty()?);
    let (mut engine_turns, mut engine_flow) = (around_engine()?, around_engine()?);
    let measured = |time: Result<Duration>| time.unwrap_or_default();

    let mut group = criterion.benchmark_group("frame_loop");
    group.bench_function("nothing/in turn", |bencher| {
        bencher.iter_custom(|frames| measured(turns.in_turn(frames, || picture.into())));
    });
    group.bench_function("nothing/flow", |bencher| {
        bencher.iter_custom(|frames| measured(flow.flow(frames, || picture.into())));
    });
    group.bench_function("engine/alone", |bencher| bencher.iter_custom(|frames| measured(alone(frames))));
    group.bench_function("engine/in turn", |bencher| {
        bencher.iter_custom(|frames| measured(engine_turns.in_turn(frames, || logits.into())));
    });
    group.bench_function("engine/flow", |bencher| {
        bencher.iter_custom(|frames| measured(engine_flow.flow(frames, || logits.into())));
    });
    group.finish();

    let smoke = std::env::args().any(|argument| argument == "--test");
    let (many, few) = if smoke { (20, 10) } else { (50_000, 1_000) };
    report("nothing, in turn", many, |frames| turns.in_turn(frames, || picture.into()))?;
    report("nothing, flow", many, |frames| flow.flow(frames, || picture.into()))?;
    // In turns, so that what else the machine does falls on both.
    for _ in 0..if smoke { 1 } else { 3 } {
        report("engine alone", few, &mut alone)?;
        report("engine in the loop, in turn", few, |frames| engine_turns.in_turn(frames, || logits.into()))?;
        report("engine in the loop, flow", few, |frames| engine_flow.flow(frames, || logits.into()))?;
    }
    // What steadying scores and finding obstacles do to a result's latency: the part `after`, on the loop's second thread.
    let smoothing = Some(TemporalSmoothing::default());
    let obstacles = Some(ObstacleParams::above(3.0));
    for (what, temporal_smoothing, obstacles) in [
        ("neither", None, None),
        ("temporal smoothing", smoothing, None),
        ("obstacles", None, obstacles.clone()),
        ("both", smoothing, obstacles),
    ] {
        let options = FrameLoopOptions { temporal_smoothing, obstacles, ..FrameLoopOptions::default() };
        let mut turns = Flow::new(FrameLoop::around_engine(engine()?, form, OUTPUT, options)?);
        turns.in_turn(few, || logits.into())?;
        let latencies = turns.frame_loop.summary().latencies;
        let [after, total] = [FramePart::After, FramePart::Total].map(|part| latencies.quantile(part, 0.5));
        println!("with {what:<20} {after:>10.1?} of {total:>10.1?} from frame to result (medians)");
    }
    criterion.final_summary();
    Ok(())
}
