//! The engine's promise that a frame allocates nothing, kept by an allocator that counts.
//!
//! Counted is what the threads of the engine's pool allocate, and no other: the test program's own threads may do as
//! they like meanwhile. Inside a rayon pool the count is exactly 0. A call from outside the pool hands its work over
//! through rayon's queue, which grows by a block for every 63 calls; that one is bounded. And its promise to need little
//! memory: the most that its construction holds is known.
#![allow(unsafe_code, reason = "an allocator is unsafe to implement")]
#![allow(clippy::unwrap_used, reason = "functions that tests share fail as tests do")]

use std::alloc::{GlobalAlloc, Layout as MemoryLayout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};

use half::{bf16, f16};
use rayon::{ThreadPool, ThreadPoolBuilder};
use sml::{
    AnomalyMapMut, BorderLabels, Capacity, ChannelOrder, ClassStatistics, Device, Engine, InputMut, Layout,
    Logits, LogitsData, LogitsShape, NonFinite, Params, PictureView, PixelFormat, Preprocessing,
    Preprocessor, Replacement, Score, ScoreMut, Size, Smoothing, Suppression,
};

thread_local! {
    /// Where this thread's allocations are counted. Constant and without a destructor, so that reading it allocates
    /// nothing itself.
    static COUNTER: Cell<Option<&'static AtomicUsize>> = const { Cell::new(None) };

    /// Bytes that this thread has asked for and not given back, and the most that they ever were.
    static BYTES: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
}

struct CountingAllocator;

fn count(bytes: usize) {
    hold(bytes as isize);
    if let Some(counter) = COUNTER.get() {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

fn hold(bytes: isize) {
    let (now, most) = BYTES.get();
    BYTES.set((now + bytes, most.max(now + bytes)));
}

// SAFETY: every call is handed on to the system's allocator as it came; counting touches an atomic number only.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: MemoryLayout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps `GlobalAlloc::alloc`'s contract, which is the same there.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: MemoryLayout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: MemoryLayout, size: usize) -> *mut u8 {
        hold(-(layout.size() as isize));
        count(size);
        // SAFETY: as above; `memory` came from the system's allocator, as all that this one gives out.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: MemoryLayout) {
        hold(-(layout.size() as isize));
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const FRAMES: usize = 100;
const CLASSES: usize = 5;
const CAPACITY: Capacity =
    Capacity { batch: 2, classes: CLASSES, logits: Size::new(40, 52), output: Size::new(80, 104) };

/// A pool with the count of what its threads allocate. It has a count of its own, because the threads of a pool that was
/// dropped before may still be on their way out.
fn counted_pool(threads: usize) -> (ThreadPool, &'static AtomicUsize) {
    let counter: &AtomicUsize = Box::leak(Box::default());
    let mark = |_| COUNTER.set(Some(counter));
    let pool = ThreadPoolBuilder::new().num_threads(threads).start_handler(mark).build().unwrap();
    // All threads are up when each has done this.
    pool.broadcast(|_| ());
    (pool, counter)
}

fn engine(params: Params) -> Engine {
    let statistics = ClassStatistics::from_json(
        r#"{"mean": [1.0, 2.0, 3.0, 4.0, 5.0], "variance": [1.0, 2.0, 0.5, 1.5, 3.0]}"#,
    );
    Engine::new(Device::Cpu, params, Some(&statistics.unwrap()), CAPACITY).unwrap()
}

/// Every stage on and off, every score, and both policies for broken pixels.
fn settings() -> Vec<Params> {
    let paper = Params::default();
    let wide = Some(Suppression::new(8, 4).unwrap());
    let replaced = NonFinite::Replace(Replacement::default());
    vec![
        paper,
        Params { score: Score::MaxLogit, suppression: None, smoothing: None, ..paper },
        Params { score: Score::Msp, suppression: wide, border_labels: BorderLabels::One, ..paper },
        Params { score: Score::Entropy, smoothing: None, align_corners: true, ..paper },
        Params { score: Score::Energy(Default::default()), suppression: None, ..paper },
        Params { smoothing: Some(Smoothing::new(3, 0.5, 40).unwrap()), non_finite: replaced, ..paper },
    ]
}

/// Elements of one batch in every type: waves, with a few logits that are not finite.
struct Elements {
    single: Vec<f32>,
    half: Vec<f16>,
    brain: Vec<bf16>,
}

impl Elements {
    fn new() -> Self {
        let number = CAPACITY.batch * CLASSES * CAPACITY.logits.pixels();
        let mut single: Vec<f32> = (0..number).map(|i| 4.0 + 3.0 * (i as f32 * 0.013).sin()).collect();
        single[7] = f32::NAN;
        single[number / 2] = f32::INFINITY;
        Self {
            half: single.iter().map(|&v| f16::from_f32(v)).collect(),
            brain: single.iter().map(|&v| bf16::from_f32(v)).collect(),
            single,
        }
    }

    /// Batches of every type and memory order, as large as the engine takes and smaller.
    fn batches(&self) -> Vec<Logits<'_>> {
        let types: [LogitsData<'_>; 3] =
            [self.single[..].into(), self.half[..].into(), self.brain[..].into()];
        let shapes = [(2, 40, 52), (1, 31, 50)];
        let mut batches = Vec::new();
        for (data, layout) in types.into_iter().flat_map(|t| [(t, Layout::Nchw), (t, Layout::Nhwc)]) {
            for (batch, height, width) in shapes {
                let shape = LogitsShape::new(batch, CLASSES, height, width).unwrap();
                batches.push(Logits::strided(data, shape, layout.strides(shape)).unwrap());
            }
        }
        batches
    }
}

/// Memory of the caller for the largest result.
struct Output {
    single: Vec<f32>,
    half: Vec<f16>,
    prediction: Vec<u8>,
    non_finite: Vec<u64>,
}

impl Output {
    fn new() -> Self {
        let pixels = CAPACITY.batch * CAPACITY.output.pixels();
        Self {
            single: vec![0.0; pixels],
            half: vec![f16::ZERO; pixels],
            prediction: vec![0; pixels],
            non_finite: vec![0; CAPACITY.batch],
        }
    }

    fn of(&mut self, batch: usize, size: Size, half: bool) -> AnomalyMapMut<'_> {
        let pixels = batch * size.pixels();
        AnomalyMapMut {
            size,
            score: if half {
                ScoreMut::F16(&mut self.half[..pixels])
            } else {
                ScoreMut::F32(&mut self.single[..pixels])
            },
            prediction: &mut self.prediction[..pixels],
            non_finite: &mut self.non_finite[..batch],
        }
    }
}

/// One frame through both calls: frame `i` takes the batches, result sizes and result types in turn.
fn run(engine: &mut Engine, batches: &[Logits<'_>], output: &mut Output, i: usize) {
    let logits = &batches[i % batches.len()];
    let own = logits.shape().size;
    let size = [own, CAPACITY.output, Size::new(17, 103)][i % 3];
    black_box(engine.submit(logits, size).unwrap());
    engine.submit_into(logits, output.of(logits.shape().batch, size, i.is_multiple_of(2))).unwrap();
}

#[test]
fn the_count_sees_an_allocation() {
    let (pool, count) = counted_pool(2);
    let before = count.load(Ordering::Relaxed);
    pool.install(|| drop(black_box(Box::new(1))));
    pool.install(|| drop(black_box(vec![0_u8; 100])));
    assert_eq!(count.load(Ordering::Relaxed) - before, 2);
}

#[test]
fn frames_allocate_nothing() {
    let elements = Elements::new();
    let batches = elements.batches();
    for (threads, params) in [1, 2, 4].into_iter().flat_map(|n| settings().into_iter().map(move |p| (n, p))) {
        let (pool, count) = counted_pool(threads);
        let (mut engine, mut output) = (pool.install(|| engine(params)), Output::new());
        let frames = |engine: &mut Engine, output: &mut Output, range: std::ops::Range<usize>| {
            pool.install(|| range.for_each(|i| run(engine, &batches, output, i)));
        };
        frames(&mut engine, &mut output, 0..1);
        let before = count.load(Ordering::Relaxed);
        frames(&mut engine, &mut output, 1..1 + FRAMES);
        let allocations = count.load(Ordering::Relaxed) - before;
        assert_eq!(allocations, 0, "{threads} threads, {params:?}");
    }
}

/// Preprocessing: with the size kept, larger and smaller, in every layout and element type.
#[test]
fn pictures_allocate_nothing() {
    let bytes = vec![77; 40 * 60 * 4];
    let picture = PictureView::new(&bytes, Size::new(40, 52), 60 * 4, PixelFormat::Bgra8).unwrap();
    let (mut single, mut half) = (vec![0.0; 3 * 80 * 104], vec![f16::ZERO; 3 * 80 * 104]);
    for (threads, input) in [1, 4].into_iter().flat_map(|n| [(40, 52), (80, 104), (17, 30)].map(|s| (n, s))) {
        let size = Size::new(input.0, input.1);
        let preprocessing = Preprocessing {
            input_size: Some(size),
            multiple: 1,
            channel_order: ChannelOrder::Rgb,
            scale: 1.0,
            mean: [1.0; 3],
            std: [2.0; 3],
        };
        let (pool, count) = counted_pool(threads);
        let mut preprocessor = pool.install(|| Preprocessor::new(&preprocessing, picture.size()).unwrap());
        let mut frames = |number: usize| {
            pool.install(|| {
                for layout in [Layout::Nchw, Layout::Nhwc].into_iter().cycle().take(number) {
                    let (single, half) = (&mut single[..3 * size.pixels()], &mut half[..3 * size.pixels()]);
                    preprocessor.apply(&picture, layout, InputMut::F32(single)).unwrap();
                    preprocessor.apply(&picture, layout, InputMut::F16(half)).unwrap();
                }
            });
        };
        frames(2);
        let before = count.load(Ordering::Relaxed);
        frames(FRAMES);
        assert_eq!(count.load(Ordering::Relaxed) - before, 0, "{threads} threads, {size}");
    }
}

#[test]
fn frames_from_outside_the_pool_cost_rayon_a_block_of_its_queue_now_and_then() {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    ThreadPoolBuilder::new().start_handler(|_| COUNTER.set(Some(&COUNT))).build_global().unwrap();
    let elements = Elements::new();
    let batches = elements.batches();
    let (mut engine, mut output) = (engine(Params::default()), Output::new());
    run(&mut engine, &batches, &mut output, 0);
    COUNTER.set(Some(&COUNT));
    let before = COUNT.load(Ordering::Relaxed);
    (1..1 + 5 * FRAMES).for_each(|i| run(&mut engine, &batches, &mut output, i));
    let allocations = COUNT.load(Ordering::Relaxed) - before;
    COUNTER.set(None);
    let calls = 2 * 5 * FRAMES;
    assert!(allocations > 0, "the count does not see rayon's blocks");
    assert!(allocations <= 1 + calls / 63, "{allocations} allocations in {calls} calls");
}

#[test]
fn an_engine_needs_little_memory_beyond_its_result() {
    const MEGABYTE: usize = 1_000_000;
    let output = Size::new(1024, 2048);
    let statistics = ClassStatistics::from_vectors(&[1.0; 19], &[1.0; 19], Default::default()).unwrap();
    for stride in [1, 4, 8] {
        for threads in [1, 2, 4] {
            let capacity =
                Capacity { batch: 1, classes: 19, logits: Size::new(1024 / stride, 2048 / stride), output };
            let (pool, _) = counted_pool(threads);
            let bytes = pool.install(|| {
                BYTES.set((0, 0));
                let engine =
                    Engine::new(Device::Cpu, Params::default(), Some(&statistics), capacity).unwrap();
                black_box(&engine);
                BYTES.get().1 as usize
            });
            let result = output.pixels() * 5;
            println!("1/{stride}, {threads} threads: {} kB beyond the result", (bytes - result) / 1000);
            assert!(
                bytes - result < (4 + threads) * MEGABYTE,
                "1/{stride}, {threads} threads: {bytes} bytes"
            );
        }
    }
}

/// The C interface: looking up the handle and reading the structures included.
#[cfg(feature = "c-interface")]
#[test]
fn frames_from_c_allocate_nothing() {
    use sml::c_interface::*;

    let (pool, count) = counted_pool(2);
    let elements = Elements::new();
    let options = |device: &std::ffi::CStr| sml_engine_options {
        struct_size: size_of::<sml_engine_options>(),
        device: device.as_ptr(),
        batch: CAPACITY.batch,
        classes: CLASSES,
        logits_height: CAPACITY.logits.height,
        logits_width: CAPACITY.logits.width,
        height: CAPACITY.output.height,
        width: CAPACITY.output.width,
        threads: 0,
        cuda_graph: 0,
        reserved: 0,
    };
    let frame = |engine| {
        let logits = sml_logits {
            struct_size: size_of::<sml_logits>(),
            data: elements.single.as_ptr().cast(),
            element_type: SML_F32,
            layout: SML_NCHW,
            batch: CAPACITY.batch,
            classes: CLASSES,
            height: CAPACITY.logits.height,
            width: CAPACITY.logits.width,
            strides: [0; 4],
        };
        let mut map = sml_anomaly_map {
            struct_size: size_of::<sml_anomaly_map>(),
            batch: 0,
            height: 0,
            width: 0,
            score: std::ptr::null(),
            prediction: std::ptr::null(),
            non_finite: std::ptr::null(),
        };
        // SAFETY: structures that say how long they are; the logits are as many as they say.
        let status = unsafe { sml_engine_submit(engine, &raw const logits, 80, 104, &raw mut map) };
        assert_eq!((status, map.batch), (SML_OK, CAPACITY.batch));
    };
    let allocations = pool.install(|| {
        let (mut params, mut engine) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: places for handles, a structure that says how long it is, and text with a NUL.
        unsafe {
            assert_eq!(sml_params_create(&raw mut params), SML_OK);
            assert_eq!(sml_params_set_score(params, c"max_logit".as_ptr()), SML_OK);
            let options = options(c"cpu");
            let status = sml_engine_create(&raw const options, params, std::ptr::null(), &raw mut engine);
            assert_eq!(status, SML_OK);
        }
        frame(engine);
        let before = count.load(Ordering::Relaxed);
        (0..FRAMES).for_each(|_| frame(engine));
        let allocations = count.load(Ordering::Relaxed) - before;
        assert_eq!((sml_engine_destroy(engine), sml_params_destroy(params)), (SML_OK, SML_OK));
        allocations
    });
    assert_eq!(allocations, 0);
}
