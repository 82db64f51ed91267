//! The engine on a GPU against the engine on the CPU, on small frames in memory of its own: exactly as large as needed, at
//! any alignment, filled with other bytes beforehand. libtorch takes no part, so that a memory checker sees each access.
//!
//! The tests called `small_...` are the ones that scripts/gpu_check.sh runs under compute-sanitizer. Without a GPU every test
//! prints that it is skipped, or fails when `SML_REQUIRE_GPU=1`.
#![cfg(feature = "cuda")]
#![allow(clippy::panic, clippy::unwrap_used, reason = "clippy's exception covers test functions only")]

mod frames;

use std::sync::Arc;

use cudarc::driver::sys::CUgraphInstantiate_flags;
use cudarc::driver::sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
use cudarc::driver::{CudaContext, CudaSlice, CudaStream, DevicePtr};
use frames::{Frame, frames, logits, statistics};
use half::{bf16, f16};
use ndarray::Array4;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use sml::cuda::plan::{DeviceFrame, DeviceLogits};
use sml::cuda::{CudaOptions, RawStream, driver};
use sml::{
    BorderLabels, Capacity, ElementType, Engine, Layout, Logits, LogitsShape, NonFinite, Params, Replacement,
    Score, Size, Smoothing, Suppression, Temperature,
};

const ELEMENTS: [ElementType; 3] = [ElementType::F32, ElementType::F16, ElementType::BF16];

/// CUDA's default stream on the first GPU, or `None` and the reason.
fn gpu() -> Option<Arc<CudaStream>> {
    let reason = match driver::probe() {
        Ok(Some(driver)) if !driver.gpus.is_empty() => {
            return Some(CudaContext::new(0).unwrap().default_stream());
        }
        Ok(_) => "this machine has no NVIDIA GPU".to_owned(),
        Err(error) => error.to_string(),
    };
    let required = std::env::var_os("SML_REQUIRE_GPU").is_some_and(|value| value == "1");
    assert!(!required, "SML_REQUIRE_GPU=1 and {reason}");
    println!("skipped: {reason}");
    None
}

/// How a frame's logits and results lie in memory.
#[derive(Clone, Copy, Debug)]
struct Setting {
    element: ElementType,
    layout: Layout,
    /// Elements between two rows or images that belong to nobody; in NCHW order only.
    gaps: [usize; 2],
    /// Elements between an aligned address and the logits, the score and the prediction.
    offsets: [usize; 3],
    half_score: bool,
    graph: bool,
}

impl Setting {
    fn new(element: ElementType, layout: Layout) -> Self {
        Self { element, layout, gaps: [0; 2], offsets: [0; 3], half_score: false, graph: false }
    }

    fn strides(&self, shape: LogitsShape) -> [usize; 4] {
        let [row, image] = self.gaps;
        let (c, Size { height, width }) = (shape.classes, shape.size);
        match self.layout {
            Layout::Nhwc => self.layout.strides(shape),
            Layout::Nchw => [c * height * (width + row) + image, height * (width + row), width + row, 1],
        }
    }
}

/// Scores as float32, predictions, counts.
#[derive(Debug, PartialEq)]
struct Map {
    score: Vec<f32>,
    prediction: Vec<u8>,
    non_finite: Vec<u64>,
}

fn rounded(value: f32, element: ElementType) -> f32 {
    match element {
        ElementType::F32 => value,
        ElementType::F16 => f16::from_f32(value).to_f32(),
        ElementType::BF16 => bf16::from_f32(value).to_f32(),
    }
}

fn element_bytes(element: ElementType) -> usize {
    if element == ElementType::F32 { 4 } else { 2 }
}

/// The logits in memory, not a byte longer than needed; what lies between them is NaN.
fn memory(logits: &Array4<f32>, setting: &Setting, strides: [usize; 4]) -> Vec<u8> {
    let bytes = element_bytes(setting.element);
    let place = |at: [usize; 4]| {
        (setting.offsets[0] + at.iter().zip(strides).map(|(i, stride)| i * stride).sum::<usize>()) * bytes
    };
    let (n, c, h, w) = logits.dim();
    let mut memory = vec![0xff; place([n - 1, c - 1, h - 1, w - 1]) + bytes];
    for ((n, c, y, x), &value) in logits.indexed_iter() {
        let to = &mut memory[place([n, c, y, x])..][..bytes];
        match setting.element {
            ElementType::F32 => to.copy_from_slice(&value.to_le_bytes()),
            ElementType::F16 => to.copy_from_slice(&f16::from_f32(value).to_le_bytes()),
            ElementType::BF16 => to.copy_from_slice(&bf16::from_f32(value).to_le_bytes()),
        }
    }
    memory
}

fn engine(frame: &Frame, graph: bool) -> Engine {
    let options = CudaOptions { graph };
    let capacity = Capacity::of(frame.shape(), frame.size);
    Engine::on_cuda(0, options, frame.params, Some(&frame.statistics), capacity).unwrap()
}

/// How a frame in memory is given to an engine: returns when the work is complete.
type Give = fn(&mut Engine, &DeviceFrame, &Arc<CudaStream>);

#[allow(unsafe_code, reason = "the engine is given plain addresses")]
fn give(engine: &mut Engine, frame: &DeviceFrame, _: &Arc<CudaStream>) {
    // SAFETY: `through` made the frame of memory that lives until this returns, by which time the work is complete; CUDA's
    // default stream is always alive, and the copies into that memory were given to it.
    unsafe { engine.submit_device(frame, RawStream::DEFAULT) }.unwrap();
    engine.synchronize().unwrap();
}

/// By way of a graph that the caller captures. Allocating, copying and waiting all fail in a capture.
#[allow(unsafe_code, reason = "the engine is given plain addresses")]
fn capture_and_replay(engine: &mut Engine, frame: &DeviceFrame, default: &Arc<CudaStream>) {
    default.synchronize().unwrap();
    let stream = default.context().new_stream().unwrap();
    stream.begin_capture(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL).unwrap();
    // SAFETY: as in `give`; the stream lives in this function, and the copies are complete.
    unsafe { engine.submit_device(frame, RawStream::from_raw(stream.cu_stream().cast())) }.unwrap();
    let graph = stream.end_capture(CUgraphInstantiate_flags(0)).unwrap().unwrap();
    graph.launch().unwrap();
    stream.synchronize().unwrap();
}

/// The frame through an engine on the GPU.
fn on_gpu(frame: &Frame, setting: &Setting, engine: &mut Engine, stream: &Arc<CudaStream>) -> Map {
    through(give, frame, setting, engine, stream)
}

fn through(
    give: Give,
    frame: &Frame,
    setting: &Setting,
    engine: &mut Engine,
    stream: &Arc<CudaStream>,
) -> Map {
    let shape = frame.shape();
    let strides = setting.strides(shape);
    let pixels = shape.batch * frame.size.pixels();
    let score_bytes = if setting.half_score { 2 } else { 4 };
    let [logits_offset, score_offset, prediction_offset] = setting.offsets;
    let lent = |bytes: Vec<u8>| stream.clone_htod(&bytes).unwrap();
    let logits = lent(memory(&frame.logits, setting, strides));
    let score = lent(vec![0xaa; (score_offset + pixels) * score_bytes]);
    let prediction = lent(vec![0xaa; prediction_offset + pixels]);
    let non_finite = lent(vec![0xaa; shape.batch * 8]);
    let address = |slice: &CudaSlice<u8>| slice.device_ptr(stream).0;
    let device_frame = DeviceFrame {
        logits: DeviceLogits {
            pointer: address(&logits) + (logits_offset * element_bytes(setting.element)) as u64,
            element: setting.element,
            shape,
            strides,
        },
        size: frame.size,
        score: address(&score) + (score_offset * score_bytes) as u64,
        half_score: setting.half_score,
        prediction: address(&prediction) + prediction_offset as u64,
        non_finite: address(&non_finite),
    };
    give(engine, &device_frame, stream);
    let back = |slice: &CudaSlice<u8>| stream.clone_dtoh(slice).unwrap();
    let score: Vec<f32> = match setting.half_score {
        false => back(&score).chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect(),
        true => {
            back(&score).chunks_exact(2).map(|b| f16::from_le_bytes(b.try_into().unwrap()).to_f32()).collect()
        }
    };
    let counts = back(&non_finite);
    Map {
        score: score[score_offset..].to_vec(),
        prediction: back(&prediction)[prediction_offset..].to_vec(),
        non_finite: counts.chunks_exact(8).map(|b| u64::from_le_bytes(b.try_into().unwrap())).collect(),
    }
}

/// What the CPU engine makes of the logits as the element type holds them.
fn on_cpu(frame: &Frame, setting: &Setting) -> Map {
    let frame = Frame { logits: frame.logits.mapv(|v| rounded(v, setting.element)), ..frame.clone() };
    let (bits, prediction, non_finite) = frame.run(&mut frame.engine());
    let half = |v: f32| if setting.half_score { f16::from_f32(v).to_f32() } else { v };
    Map { score: bits.into_iter().map(|bits| half(f32::from_bits(bits))).collect(), prediction, non_finite }
}

/// What differs. Scores are equal to the last bit, but for those that take exponentials and logarithms.
fn difference(frame: &Frame, setting: &Setting, got: &Map) -> Option<String> {
    let want = on_cpu(frame, setting);
    if got.prediction != want.prediction || got.non_finite != want.non_finite {
        let wrong = got.prediction.iter().zip(&want.prediction).filter(|(got, want)| got != want).count();
        return Some(format!("{wrong} predictions, counts {:?} for {:?}", got.non_finite, want.non_finite));
    }
    let scale = want.score.iter().filter(|v| v.is_finite()).fold(1.0_f32, |scale, v| scale.max(v.abs()));
    let tolerance = match (matches!(frame.params.score, Score::Sml | Score::MaxLogit), setting.half_score) {
        (true, _) => 0.0,
        (false, false) => 3e-6 * scale,
        (false, true) => 1e-3 * scale,
    };
    let same = |got: f32, want: f32| {
        got == want || (got.is_nan() && want.is_nan()) || (got - want).abs() <= tolerance
    };
    let at = (0..want.score.len()).find(|&i| !same(got.score[i], want.score[i]))?;
    Some(format!("score {at} is {} and not {} within {tolerance:e}", got.score[at], want.score[at]))
}

/// Runs a frame and fails where the results differ.
fn check(frame: &Frame, setting: Setting, stream: &Arc<CudaStream>) {
    let got = on_gpu(frame, &setting, &mut engine(frame, setting.graph), stream);
    if let Some(difference) = difference(frame, &setting, &got) {
        panic!("{:?} -> {}, {setting:?}, {:?}: {difference}", frame.shape(), frame.size, frame.params);
    }
}

fn frame(shape: [usize; 4], size: (usize, usize), params: Params) -> Frame {
    let [n, c, h, w] = shape;
    Frame {
        logits: logits(n, c, h, w, 7),
        size: Size::new(size.0, size.1),
        params,
        statistics: statistics(c, 0x5_1234_9876),
    }
}

/// Without a GPU too: what the other tests hand to the GPU is the frame.
#[test]
fn the_memory_holds_the_frame() {
    let frame = frame([2, 5, 11, 70], (11, 70), Params::default());
    for element in ELEMENTS {
        for (layout, gaps, offset) in [(Layout::Nchw, [3, 5], 7), (Layout::Nhwc, [0, 0], 1)] {
            let setting = Setting { gaps, offsets: [offset, 0, 0], ..Setting::new(element, layout) };
            let (shape, strides) = (frame.shape(), setting.strides(frame.shape()));
            let bytes = memory(&frame.logits, &setting, strides);
            let halves = || bytes.chunks_exact(2).skip(offset).map(|b| u16::from_le_bytes([b[0], b[1]]));
            let values: Vec<f32> = match element {
                ElementType::F32 => bytes
                    .chunks_exact(4)
                    .skip(offset)
                    .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
                    .collect(),
                ElementType::F16 => halves().map(|bits| f16::from_bits(bits).to_f32()).collect(),
                ElementType::BF16 => halves().map(|bits| bf16::from_bits(bits).to_f32()).collect(),
            };
            let logits = Logits::strided(&values[..], shape, strides).unwrap();
            let mut engine = frame.engine();
            let map = engine.submit(&logits, frame.size).unwrap();
            let got = Map {
                score: map.score.iter().copied().collect(),
                prediction: map.prediction.iter().copied().collect(),
                non_finite: map.non_finite.to_vec(),
            };
            assert_eq!(difference(&frame, &setting, &got), None, "{setting:?}");
        }
    }
}

#[test]
fn small_frames_of_every_element_type_and_layout() {
    let Some(stream) = gpu() else { return };
    for element in ELEMENTS {
        for layout in [Layout::Nchw, Layout::Nhwc] {
            let setting = Setting::new(element, layout);
            check(&frame([2, 19, 21, 67], (21, 67), Params::default()), setting, &stream);
            check(&frame([1, 19, 6, 17], (24, 68), Params::default()), setting, &stream);
        }
    }
}

#[test]
fn small_frames_of_awkward_shapes() {
    let Some(stream) = gpu() else { return };
    let shapes =
        [(1, 1, 1, 1), (1, 19, 1, 37), (3, 2, 37, 1), (1, 255, 3, 5), (1, 3, 9, 300), (1, 3, 140, 6)];
    for (n, c, h, w) in shapes {
        check(
            &frame([n, c, h, w], (h, w), Params::default()),
            Setting::new(ElementType::F16, Layout::Nchw),
            &stream,
        );
        check(
            &frame([n, c, h, w], (h, w), Params::default()),
            Setting::new(ElementType::F32, Layout::Nhwc),
            &stream,
        );
    }
}

#[test]
fn small_frames_upsampled_by_any_ratio() {
    let Some(stream) = gpu() else { return };
    let sizes =
        [((8, 16), (64, 128)), ((3, 4), (7, 9)), ((3, 4), (1, 1)), ((1, 1), (4, 5)), ((20, 30), (13, 47))];
    for ((h, w), size) in sizes {
        for align_corners in [false, true] {
            for layout in [Layout::Nchw, Layout::Nhwc] {
                let params = Params { align_corners, ..Params::default() };
                check(&frame([1, 19, h, w], size, params), Setting::new(ElementType::F16, layout), &stream);
            }
        }
    }
}

#[test]
fn small_frames_at_any_alignment_and_with_gaps() {
    let Some(stream) = gpu() else { return };
    for (offsets, gaps) in
        [([1, 1, 1], [0, 0]), ([3, 2, 7], [1, 5]), ([4, 4, 4], [8, 16]), ([0, 0, 0], [5, 0])]
    {
        for element in ELEMENTS {
            for half_score in [false, true] {
                let setting = Setting { gaps, offsets, half_score, ..Setting::new(element, Layout::Nchw) };
                check(&frame([2, 5, 11, 70], (11, 70), Params::default()), setting, &stream);
            }
        }
        let setting = Setting { offsets, ..Setting::new(ElementType::F16, Layout::Nhwc) };
        check(&frame([2, 5, 11, 70], (11, 70), Params::default()), setting, &stream);
    }
}

#[test]
fn small_frames_under_every_parameter() {
    let Some(stream) = gpu() else { return };
    let default = Params::default();
    let scores = [
        Score::Msp,
        Score::MaxLogit,
        Score::Entropy,
        Score::Energy(Temperature::new(1.5).unwrap()),
        Score::Sml,
    ];
    let suppressions = [None, Some((0, 3)), Some((4, 1)), Some((8, 4)), Some((32, 4))];
    let smoothings = [None, Some((1, 1.0, 1)), Some((3, 0.5, 9)), Some((9, 2.0, 2)), Some((7, 1.0, 40))];
    let mut all: Vec<Params> = scores.map(|score| Params { score, ..default }).to_vec();
    all.extend(suppressions.map(|given| {
        let suppression = given.map(|(width, iterations)| Suppression::new(width, iterations).unwrap());
        Params { suppression, ..default }
    }));
    all.extend(smoothings.map(|given| {
        let smoothing = given.map(|(size, sigma, dilation)| Smoothing::new(size, sigma, dilation).unwrap());
        Params { smoothing, ..default }
    }));
    all.push(Params { border_labels: BorderLabels::One, ..default });
    all.push(Params { suppression: None, smoothing: None, ..default });
    for params in all {
        check(
            &frame([1, 6, 40, 75], (40, 75), params),
            Setting::new(ElementType::F32, Layout::Nchw),
            &stream,
        );
    }
}

#[test]
fn small_frames_with_broken_pixels() {
    let Some(stream) = gpu() else { return };
    for non_finite in [NonFinite::Propagate, NonFinite::Replace(Replacement::default())] {
        let mut broken = frame([2, 4, 19, 33], (19, 33), Params { non_finite, ..Params::default() });
        broken.logits[(0, 1, 3, 4)] = f32::NAN;
        broken.logits[(0, 2, 18, 32)] = f32::INFINITY;
        broken.logits[(1, 0, 0, 0)] = f32::NEG_INFINITY;
        check(&broken, Setting::new(ElementType::F32, Layout::Nchw), &stream);
        check(&broken, Setting::new(ElementType::F16, Layout::Nhwc), &stream);
    }
}

#[test]
fn small_frames_in_graphs_whose_addresses_change() {
    let Some(stream) = gpu() else { return };
    let one = frame([1, 19, 16, 40], (32, 80), Params::default());
    let mut engine = engine(&one, true);
    for (turn, element) in ELEMENTS.into_iter().cycle().take(9).enumerate() {
        let logits = logits(1, 19, 16, 40, turn as u64);
        let one = Frame { logits, ..one.clone() };
        let setting = Setting { offsets: [turn % 4, 0, turn % 3], ..Setting::new(element, Layout::Nchw) };
        let got = on_gpu(&one, &setting, &mut engine, &stream);
        assert_eq!(difference(&one, &setting, &got), None, "frame {turn}");
    }
}

#[test]
fn small_frames_can_be_captured_by_the_caller() {
    let Some(stream) = gpu() else { return };
    for (shape, size) in [([2, 19, 16, 40], (16, 40)), ([1, 19, 16, 40], (64, 160))] {
        let one = frame(shape, size, Params::default());
        let setting = Setting::new(ElementType::F16, Layout::Nchw);
        let got = through(capture_and_replay, &one, &setting, &mut engine(&one, false), &stream);
        assert_eq!(difference(&one, &setting, &got), None, "{size:?}");
    }
}

#[test]
fn one_engine_gives_the_same_bits_a_hundred_times() {
    let Some(stream) = gpu() else { return };
    let one = frame([2, 19, 33, 129], (66, 258), Params::default());
    let setting = Setting::new(ElementType::F16, Layout::Nchw);
    let mut engine = engine(&one, false);
    let first = on_gpu(&one, &setting, &mut engine, &stream);
    assert_eq!(difference(&one, &setting, &first), None);
    for turn in 0..100 {
        assert!(on_gpu(&one, &setting, &mut engine, &stream) == first, "frame {turn} differs from the first");
    }
}

#[test]
fn random_frames_agree_with_the_cpu() {
    let Some(stream) = gpu() else { return };
    let settings = (
        0..3_usize,
        any::<bool>(),
        [0..9_usize, 0..9],
        [0..9_usize, 0..9, 0..9],
        any::<bool>(),
        any::<bool>(),
    );
    let settings = settings.prop_map(|(element, channels_last, gaps, offsets, half_score, graph)| Setting {
        element: ELEMENTS[element],
        layout: if channels_last { Layout::Nhwc } else { Layout::Nchw },
        gaps,
        offsets,
        half_score,
        graph,
    });
    let config = ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() };
    let result = TestRunner::new(config).run(&(frames(), settings), |(frame, setting)| {
        let got = on_gpu(&frame, &setting, &mut engine(&frame, setting.graph), &stream);
        match difference(&frame, &setting, &got) {
            None => Ok(()),
            Some(difference) => Err(TestCaseError::fail(difference)),
        }
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

#[test]
fn a_large_frame_agrees_with_the_cpu() {
    let Some(stream) = gpu() else { return };
    for (element, layout, divisor) in [
        (ElementType::F16, Layout::Nchw, 4),
        (ElementType::F32, Layout::Nhwc, 8),
        (ElementType::BF16, Layout::Nchw, 1),
    ] {
        let large = frame([1, 19, 1024 / divisor, 2048 / divisor], (1024, 2048), Params::default());
        check(&large, Setting::new(element, layout), &stream);
    }
}
