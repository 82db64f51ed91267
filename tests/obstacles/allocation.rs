//! After its construction a finder allocates nothing, whatever the frames hold; a smoother neither.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use ndarray::Array2;
use sml::obstacles::{DrivableArea, ObstacleFinder, ObstacleParams};
use sml::{PictureChange, PictureView, PixelFormat, Size, TemporalSmoother, TemporalSmoothing};

struct Counting;

thread_local! {
    /// Allocations of this thread. Constant and without a destructor, so that reading it allocates nothing.
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count() {
    COUNT.set(COUNT.get() + 1);
}

// SAFETY: every call is handed on to the system's allocator as it came; counting touches a number of this thread only.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps `GlobalAlloc::alloc`'s contract, which is the same there.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above; `pointer` came from `System`.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above; `pointer` came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Masks with few components, with as many as there can be, with as many runs as there can be, with none.
fn scores(size: Size) -> Vec<Array2<f32>> {
    let map = |set: fn(usize, usize) -> bool| {
        Array2::from_shape_fn((size.height, size.width), |(row, column)| {
            if set(row, column) { 2.0 + (row * 7 + column) as f32 / 1000.0 } else { 0.0 }
        })
    };
    vec![
        map(|row, column| row / 5 % 2 == 0 && column / 9 % 2 == 0),
        map(|row, column| row % 2 == 0 && column % 2 == 0),
        map(|_, column| column % 2 == 0),
        map(|row, column| (row + column) % 2 == 0),
        map(|_, _| true),
        map(|_, _| false),
        map(|row, column| row % 2 == 0 && column % 2 == 0),
    ]
}

#[test]
fn no_frame_allocates() {
    let size = Size::new(61, 131);
    let area = DrivableArea { margin: 3, ..DrivableArea::road_and_pavement() };
    for drivable in [None, Some(DrivableArea::road()), Some(area)] {
        for minimum_area in [1, 3, 40] {
            let drivable = drivable.clone();
            let params = ObstacleParams { minimum_area, drivable, ..ObstacleParams::above(1.0) };
            let mut finder = ObstacleFinder::new(params, size).unwrap();
            let scores = scores(size);
            let predictions: Vec<Array2<u8>> =
                scores.iter().map(|score| score.mapv(|score| if score > 2.3 { 5 } else { 0 })).collect();
            let before = COUNT.get();
            let mut found = 0;
            for (score, prediction) in scores.iter().zip(&predictions) {
                found += finder.find(score.view(), prediction.view()).unwrap().len();
            }
            let allocations = COUNT.get() - before;
            assert!(found > 0);
            assert_eq!(allocations, 0, "drivable area {:?}, {minimum_area}", finder.params().drivable);
        }
    }
}

#[test]
fn smoothing_allocates_nothing() {
    let size = Size::new(40, 50);
    let mut smoother = TemporalSmoother::new(TemporalSmoothing::default(), size).unwrap();
    let mut change = PictureChange::default();
    let (mut score, mut bytes) = (vec![1.0; size.pixels()], vec![7; 3 * size.pixels()]);
    // Threads of the pool start with the first frame.
    smoother.smooth(&mut score, None).unwrap();
    let before = COUNT.get();
    for frame in 0..10 {
        bytes.fill(frame * 20);
        let picture = PictureView::packed(&bytes, size, PixelFormat::Rgb8).unwrap();
        let change = change.measure(&picture);
        smoother.smooth(&mut score, change).unwrap();
    }
    // What one frame costs at most is handing work to the pool's queue, which now and then takes a new block.
    let allocations = COUNT.get() - before;
    assert!(allocations <= 1, "{allocations}");
}
