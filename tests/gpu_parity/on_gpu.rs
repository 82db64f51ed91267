//! A frame in device memory of its own, given to an engine on the GPU, and its result.

use std::sync::Arc;

use cudarc::driver::sys::CUgraphInstantiate_flags;
use cudarc::driver::sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
use cudarc::driver::{CudaContext, CudaSlice, CudaStream, DevicePtr};
use half::{bf16, f16};
use ndarray::Array4;
use sml::cuda::plan::{DeviceFrame, DeviceLogits};
use sml::cuda::{CudaOptions, RawStream, driver};
use sml::{Capacity, ElementType, Engine, Layout, LogitsShape, Size};

use crate::frames::Frame;

/// CUDA's default stream on the first GPU, or `None` and the reason.
pub fn gpu() -> Option<Arc<CudaStream>> {
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
pub struct Setting {
    pub element: ElementType,
    pub layout: Layout,
    /// Elements between two rows or images that belong to nobody; in NCHW order only.
    pub gaps: [usize; 2],
    /// Elements between an aligned address and the logits, the score and the prediction.
    pub offsets: [usize; 3],
    pub half_score: bool,
    pub graph: bool,
}

impl Setting {
    pub fn new(element: ElementType, layout: Layout) -> Self {
        Self { element, layout, gaps: [0; 2], offsets: [0; 3], half_score: false, graph: false }
    }

    pub fn strides(&self, shape: LogitsShape) -> [usize; 4] {
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
pub struct Map {
    pub score: Vec<f32>,
    pub prediction: Vec<u8>,
    pub non_finite: Vec<u64>,
}

pub fn rounded(value: f32, element: ElementType) -> f32 {
    match element {
        ElementType::F32 => value,
        ElementType::F16 => f16::from_f32(value).to_f32(),
        ElementType::BF16 => bf16::from_f32(value).to_f32(),
    }
}

pub fn element_bytes(element: ElementType) -> usize {
    if element == ElementType::F32 { 4 } else { 2 }
}

/// The logits in memory, not a byte longer than needed; what lies between them is NaN.
pub fn memory(logits: &Array4<f32>, setting: &Setting, strides: [usize; 4]) -> Vec<u8> {
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

pub fn engine(frame: &Frame, graph: bool) -> Engine {
    let options = CudaOptions { graph };
    let capacity = Capacity::of(frame.shape(), frame.size);
    Engine::on_cuda(0, options, frame.params, Some(&frame.statistics), capacity).unwrap()
}

/// How a frame in memory is given to an engine: returns when the work is complete.
pub type Give = fn(&mut Engine, &DeviceFrame, &Arc<CudaStream>);

#[allow(unsafe_code, reason = "the engine is given plain addresses")]
pub fn give(engine: &mut Engine, frame: &DeviceFrame, _: &Arc<CudaStream>) {
    // SAFETY: `through` made the frame of memory that lives until this returns, by which time the work is complete; CUDA's
    // default stream is always alive, and the copies into that memory were given to it.
    unsafe { engine.submit_device(frame, RawStream::DEFAULT) }.unwrap();
    engine.synchronize().unwrap();
}

/// By way of a graph that the caller captures. Allocating, copying and waiting all fail in a capture.
#[allow(unsafe_code, reason = "the engine is given plain addresses")]
pub fn capture_and_replay(engine: &mut Engine, frame: &DeviceFrame, default: &Arc<CudaStream>) {
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
pub fn on_gpu(frame: &Frame, setting: &Setting, engine: &mut Engine, stream: &Arc<CudaStream>) -> Map {
    through(give, frame, setting, engine, stream)
}

pub fn through(
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
