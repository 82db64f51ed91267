//! The measuring loop's promise to allocate nothing, kept by an allocator that counts on the measuring thread.
#![cfg(feature = "cli")]
#![allow(unsafe_code, reason = "an allocator is unsafe to implement")]
#![allow(clippy::unwrap_used, reason = "functions that tests share fail as tests do")]

use std::alloc::{GlobalAlloc, Layout as MemoryLayout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use sml::drawn_logits::DrawnLogits;
use sml::latency::{Limit, Samples, measure};
use sml::{Capacity, Device, ElementType, Engine, Layout, LogitsShape, Params, Size};

thread_local! {
    /// Allocations of this thread. Constant and without a destructor, so that counting allocates nothing itself.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct CountingAllocator;

// SAFETY: every call is handed on to the system's allocator as it came; counting touches a number of the thread only.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: MemoryLayout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps `GlobalAlloc::alloc`'s contract, which is the same there.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: MemoryLayout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: MemoryLayout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
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

/// Allocations of this thread while `work` runs.
fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

#[test]
fn the_count_sees_an_allocation() {
    assert_eq!(allocations(|| drop(black_box(vec![1_u8; 100]))), 1);
}

#[test]
fn the_loop_allocates_nothing_however_long_it_runs() {
    // More than are kept, so that the kept ones are thinned on the way.
    let frames = 2 * Samples::MOST_KEPT as u64 + 7;
    for limit in [Limit::Frames(frames), Limit::Duration(Duration::from_millis(50))] {
        let mut samples = [(); 2].map(|()| Samples::with_room_for(limit.frames()).unwrap());
        let (measured, mut times) = (AtomicU64::new(0), [Duration::ZERO; 2]);
        let frame = |number: u64, times: &mut [Duration]| {
            times.fill(Duration::from_nanos(100 + number % 1000));
            Ok(())
        };
        let count = allocations(|| {
            measure(limit, || false, &measured, &mut samples, &mut times, frame).unwrap();
        });
        assert_eq!(count, 0, "{limit:?}: {} frames", samples[0].count());
        assert!(samples[1].count() > 0 && samples[0].kept().len() <= Samples::MOST_KEPT);
    }
}

#[test]
fn engine_and_loop_together_allocate_nothing() {
    let (shape, size) = (LogitsShape::new(1, 5, 8, 16).unwrap(), Size::new(32, 64));
    let drawn = DrawnLogits::new(0, shape, ElementType::F32, Layout::Nchw).unwrap();
    let statistics = drawn.statistics(size).unwrap();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let count = pool.install(|| {
        let capacity = Capacity::of(shape, size);
        let mut engine = Engine::new(Device::Cpu, Params::default(), Some(&statistics), capacity).unwrap();
        let mut samples = [(); 2].map(|()| Samples::with_room_for(Some(200)).unwrap());
        let (measured, mut times) = (AtomicU64::new(0), [Duration::ZERO; 2]);
        let logits = drawn.logits().unwrap();
        let mut frame = |_, times: &mut [Duration]| {
            let start = Instant::now();
            black_box(engine.submit(&logits, size)?);
            times[0] = engine.timings()?.unwrap_or_default().standardize;
            times[1] = start.elapsed();
            Ok(())
        };
        frame(0, &mut times).unwrap();
        let count = allocations(|| {
            measure(Limit::Frames(200), || false, &measured, &mut samples, &mut times, frame).unwrap();
        });
        assert_eq!(samples[1].count(), 200);
        count
    });
    assert_eq!(count, 0);
}
