//! Frame after frame takes no more memory: neither of what Rust allocates, to the byte, nor of the whole process, in which
//! libtorch allocates too.
#![cfg(feature = "torch")]
#![allow(unsafe_code, reason = "an allocator is unsafe to implement")]
#![allow(clippy::unwrap_used, reason = "functions that tests share fail as tests do")]

#[path = "pictures/mod.rs"]
mod pictures;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, Ordering};

use pictures::Picture;
use sml::torch::{Pipeline, PipelineOptions};
use sml::{ClassStatistics, Params, PixelFormat, Size, demo};

/// Bytes that are allocated and not yet freed.
static LIVE: AtomicIsize = AtomicIsize::new(0);

struct CountingAllocator;

fn count(bytes: isize) {
    LIVE.fetch_add(bytes, Ordering::Relaxed);
}

// SAFETY: every call is handed on to the system's allocator as it came; counting touches an atomic number only.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps `GlobalAlloc::alloc`'s contract, which is the same there.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        // SAFETY: as above; `memory` came from the system's allocator, as all that this one gives out.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Memory of the process that lies in RAM, in bytes; `None` where the system does not tell.
fn resident_bytes() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    text.split_whitespace().nth(1)?.parse::<usize>().ok().map(|pages| pages * 4096)
}

// One test: others in the same process would be counted too.
#[test]
fn frames_take_no_more_memory() {
    const FRAMES: usize = 40;
    let network = demo::backbone(tch::Device::Cpu).unwrap();
    let statistics = ClassStatistics::from_json(demo::STATISTICS).unwrap();
    let options = PipelineOptions::default();
    let mut pipeline =
        Pipeline::new(Box::new(network), Params::default(), Some(statistics), options).unwrap();
    let pictures: Vec<Picture> =
        (0..3).map(|seed| Picture::new(Size::new(120, 200), 8, PixelFormat::Bgr8, seed)).collect();
    let mut frames = |count: usize| {
        for n in 0..count {
            pipeline.run(&pictures[n % 3].view()).unwrap();
            pipeline.submit(&pictures[n % 3].view()).unwrap();
        }
        (LIVE.load(Ordering::Relaxed), resident_bytes())
    };
    frames(10);
    let (live, resident) = frames(10);
    let (live_then, resident_then) = frames(FRAMES);
    // rayon's queue for calls from outside grows by a block now and then, and gives it back later.
    assert!((live_then - live).abs() < 16 << 10, "{live} bytes grew to {live_then}");
    match (resident, resident_then) {
        (Some(before), Some(after)) => {
            println!("resident: {} KiB, then {} KiB", before >> 10, after >> 10);
            // An input takes 290 KB: one kept a frame would make 11 MB.
            assert!(after < before + (6 << 20), "{before} bytes grew to {after}");
        }
        _ => println!("skipped: this system does not tell how much memory is resident"),
    }
}
