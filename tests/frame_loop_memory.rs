//! A frame loop for as long as it takes: frames allocate nothing, memory stays flat over 20,000 of them, every one is accounted for,
//! and loops that come and go leave no thread behind.
//!
//! One test, in a program of its own: what others allocated in the same process would be counted too.

#![cfg(feature = "frame-loop")]
#![allow(unsafe_code, reason = "an allocator is unsafe to implement")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "functions that tests share fail as tests do")]

use std::alloc::{GlobalAlloc, Layout as MemoryLayout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sml::drawn_logits::DrawnLogits;
use sml::frame_loop::{
    FrameForm, FrameInput, FrameLoop, FrameLoopOptions, FrameStamp, FrameWork, LoopSummary, Policy,
    WorkTimings,
};
use sml::obstacles::ObstacleParams;
use sml::{
    AnomalyMapMut, Capacity, Device, ElementType, Engine, Error, Layout, LogitsShape, Params, PictureView,
    PixelFormat, Result, ScoreMut, Size, TemporalSmoothing,
};

/// How often anything was allocated, on any thread.
static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

struct CountingAllocator;

// SAFETY: every call is handed on to the system's allocator as it came; counting touches an atomic number only.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: MemoryLayout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps `GlobalAlloc::alloc`'s contract, which is the same there.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: MemoryLayout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as above; `memory` came from the system's allocator, as all that this one gives out.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: MemoryLayout) {
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Frames of the soak.
const FRAMES: u64 = 20_000;

#[test]
fn a_loop_runs_for_as_long_as_it_takes() {
    frames_allocate_nothing();
    frames_through_an_engine_allocate_what_rayon_does();
    memory_stays_flat();
    loops_leave_no_threads();
}

/// Work without an engine: a blob of high scores wanders over the picture.
struct Blob {
    fails: bool,
}

const SIZE: Size = Size::new(32, 48);

impl FrameWork for Blob {
    fn run(&mut self, frame: &FrameInput<'_>, result: AnomalyMapMut<'_>) -> Result<WorkTimings> {
        let FrameInput::Picture(picture) = frame else { panic!("not a picture") };
        if self.fails {
            return Err(Error::Cuda { action: "work".to_owned(), message: "no".to_owned() });
        }
        let ScoreMut::F32(score) = result.score else { panic!("not float32") };
        let place = usize::from(picture.data()[0]) % 20;
        score.fill(0.0);
        for row in score.chunks_exact_mut(SIZE.width).skip(place).take(9) {
            row[place..place + 12].fill(5.0);
        }
        result.prediction.fill(0);
        result.non_finite[0] = 0;
        Ok(WorkTimings::default())
    }
}

fn around_blob(fails: bool, policy: Policy) -> FrameLoop {
    let form = FrameForm::Picture { size: SIZE, format: PixelFormat::Rgb8 };
    let options = FrameLoopOptions {
        policy,
        keep_picture: true,
        deadline: Some(Duration::from_secs(1)),
        obstacles: Some(ObstacleParams::above(1.0)),
        ..FrameLoopOptions::default()
    };
    FrameLoop::around(Blob { fails }, form, SIZE, options).unwrap()
}

fn frames_allocate_nothing() {
    for policy in Policy::ALL {
        let mut frame_loop = around_blob(false, policy);
        let mut bytes = vec![0; 3 * SIZE.pixels()];
        let mut frames = |ids: std::ops::Range<u64>| {
            let before = ALLOCATIONS.load(Ordering::Relaxed);
            for id in ids {
                bytes[0] = id as u8;
                let picture = PictureView::packed(&bytes, SIZE, PixelFormat::Rgb8).unwrap();
                let timestamp = Duration::from_millis(id);
                frame_loop.submit(picture, FrameStamp { id, timestamp }).unwrap();
                let frame = frame_loop.receive().unwrap();
                assert_eq!((frame.stamp().id, frame.obstacles().len()), (id, 1));
                assert_eq!(frame.obstacles()[0].area, 108);
                assert!(frame.picture().is_some() && !frame.telemetry().after.is_zero());
            }
            ALLOCATIONS.load(Ordering::Relaxed) - before
        };
        frames(0..50);
        assert_eq!(frames(50..2000), 0, "{policy}");
    }
}

/// A loop around an engine with everything that it can do.
fn around_engine(policy: Policy) -> (FrameLoop, Vec<DrawnLogits>) {
    let (shape, size) = (LogitsShape::new(1, 5, 12, 20).unwrap(), Size::new(48, 80));
    let drawn: Vec<DrawnLogits> =
        (0..4).map(|seed| DrawnLogits::new(seed, shape, ElementType::F32, Layout::Nchw).unwrap()).collect();
    let statistics = drawn[0].statistics(size).unwrap();
    let engine =
        Engine::new(Device::Cpu, Params::default(), Some(&statistics), Capacity::of(shape, size)).unwrap();
    let options = FrameLoopOptions {
        policy,
        deadline: Some(Duration::from_millis(5)),
        obstacles: Some(ObstacleParams::above(1.0)),
        temporal_smoothing: Some(TemporalSmoothing::default()),
        ..FrameLoopOptions::default()
    };
    let form = (shape, ElementType::F32, Layout::Nchw);
    (FrameLoop::around_engine(engine, form, size, options).unwrap(), drawn)
}

/// Calls into rayon from outside its pool go through its queue, which grows by a block for every 63 of them and gives the old ones
/// back: one call a frame by the engine, one by the temporal smoothing.
fn frames_through_an_engine_allocate_what_rayon_does() {
    let (mut frame_loop, drawn) = around_engine(Policy::Block);
    let mut frames = |ids: std::ops::Range<u64>| {
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        for id in ids {
            let logits = drawn[id as usize % 4].logits().unwrap();
            frame_loop.submit(logits, FrameStamp { id, ..FrameStamp::default() }).unwrap();
            frame_loop.receive().unwrap();
        }
        ALLOCATIONS.load(Ordering::Relaxed) - before
    };
    frames(0..200);
    let allocations = frames(200..2200);
    println!("2000 frames through an engine: {allocations} allocations");
    assert!(allocations <= 2 * 2000 / 63 + 2, "{allocations}");
}

/// Memory of the process that lies in RAM, in bytes; `None` where the system does not tell.
fn resident_bytes() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    text.split_whitespace().nth(1)?.parse::<usize>().ok().map(|pages| pages * 4096)
}

fn soak(policy: Policy) -> (LoopSummary, Vec<usize>) {
    let (frame_loop, drawn) = around_engine(policy);
    let (mut submitter, mut receiver) = frame_loop.split();
    let source = std::thread::spawn(move || {
        for id in 0..FRAMES {
            let logits = drawn[id as usize % 4].logits().unwrap();
            submitter.submit(logits, FrameStamp { id, timestamp: Duration::from_millis(33 * id) }).unwrap();
            if policy != Policy::Block {
                // Faster than the loop, but not so that nothing is left of it.
                std::thread::sleep(Duration::from_micros(20));
            }
        }
    });
    let (mut resident, mut before) = (Vec::with_capacity(FRAMES as usize), None);
    while let Some(frame) = receiver.receive() {
        let id = frame.stamp().id;
        assert_eq!(frame.stamp().timestamp, Duration::from_millis(33 * id));
        assert!(before.is_none_or(|before| before < id), "{id} after {before:?}");
        before = Some(id);
        resident.extend(resident_bytes().filter(|_| id % 100 < 3));
    }
    source.join().unwrap();
    (receiver.finish(drop).unwrap(), resident)
}

fn memory_stays_flat() {
    for policy in Policy::ALL {
        let begun = std::time::Instant::now();
        let (summary, resident) = soak(policy);
        println!("{policy}, {:.1} s: {summary}", begun.elapsed().as_secs_f64());
        assert_eq!(summary.submitted, FRAMES);
        assert_eq!(summary.delivered + summary.dropped, FRAMES);
        assert!(summary.delivered > 0 && (policy != Policy::Block || summary.dropped == 0));
        // The first tenth is warming up.
        let steady = &resident[resident.len() / 10..];
        match (steady.first(), steady.iter().max()) {
            (Some(&first), Some(&most)) => {
                println!("resident: {} KiB, at most {} KiB", first >> 10, most >> 10);
                assert!(most <= first + first / 50, "{first} bytes grew to {most}");
            }
            _ => println!("skipped: this system does not tell how much memory is resident"),
        }
    }
}

fn threads() -> Option<usize> {
    Some(std::fs::read_dir("/proc/self/task").ok()?.count())
}

/// Built and ended in every way, a loop leaves no thread behind.
fn loops_leave_no_threads() {
    let before = threads();
    for n in 0..300 {
        let fails = n % 3 == 0;
        let mut frame_loop = around_blob(fails, Policy::ALL[n % 3]);
        let bytes = vec![0; 3 * SIZE.pixels()];
        let picture = PictureView::packed(&bytes, SIZE, PixelFormat::Rgb8).unwrap();
        frame_loop.submit(picture, FrameStamp::default()).unwrap();
        match n % 4 {
            0 => drop(frame_loop),
            1 => assert_eq!(frame_loop.finish(drop).is_err(), fails),
            2 => {
                let (submitter, receiver) = frame_loop.split();
                drop((receiver, submitter));
            }
            _ => {
                let (submitter, mut receiver) = frame_loop.split();
                drop(submitter);
                while receiver.receive().is_some() {}
            }
        }
    }
    // One that was joined may be listed for a moment more.
    let patience = std::time::Instant::now() + Duration::from_secs(10);
    while threads() > before && std::time::Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(5));
    }
    match before {
        Some(_) => assert_eq!(threads(), before),
        None => println!("skipped: this system does not list threads"),
    }
}
