//! A network of the tests' own on a GPU's stream, between a picture and the engine: two launches that the host can do, too, to the same
//! bits.
#![allow(dead_code, reason = "each test uses its part")]

use std::sync::Arc;

use cudarc::driver::{CudaContext, result};
use sml::cuda::plan::DeviceLogits;
use sml::cuda::{CudaPreprocessor, RawStream, StreamFrame, StreamWork};
use sml::frame_loop::FrameForm;
use sml::{
    AnomalyMap, Capacity, ClassStatistics, Device, ElementType, Engine, InputMut, Layout, LogitsShape,
    Params, PictureView, PixelFormat, Preprocessor, Result, Size,
};

use crate::pictures::imagenet;

/// Pictures in the loop.
pub const FORMAT: PixelFormat = PixelFormat::Bgr8;
/// What the network takes its input for: it reads as many bytes of it.
const READ_AS: PixelFormat = PixelFormat::Rgba8;
/// As many as a network's input has channels: that is what the logits are made as.
const CLASSES: usize = 3;
const STATISTICS: &str = r#"{"mean": [1.0, 2.0, 3.0], "variance": [1.0, 4.0, 0.25]}"#;

pub fn form(size: Size) -> FrameForm {
    FrameForm::Picture { size, format: FORMAT }
}

fn shape(size: Size) -> LogitsShape {
    LogitsShape::new(1, CLASSES, size.height, size.width).unwrap()
}

/// Of the network's input, and of its logits.
fn elements(size: Size) -> usize {
    CLASSES * size.pixels()
}

pub fn engine(device: Device, size: Size) -> Engine {
    let statistics = ClassStatistics::from_json(STATISTICS).unwrap();
    Engine::new(device, Params::default(), Some(&statistics), Capacity::of(shape(size), size)).unwrap()
}

/// The network's memory on the GPU, which outlives the loop.
pub struct Memory {
    context: Arc<CudaContext>,
    pub size: Size,
    pub input: u64,
    pub logits: u64,
    /// Of each of the two.
    pub bytes: usize,
}

impl Memory {
    pub fn new(size: Size) -> Self {
        let context = CudaContext::new(0).unwrap();
        context.bind_to_thread().unwrap();
        let bytes = 4 * elements(size);
        // SAFETY: the context is current; both are freed when this is dropped.
        let [input, logits] = [(); 2].map(|()| unsafe { result::malloc_sync(bytes) }.unwrap());
        Self { context, size, input, logits, bytes }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.context.bind_to_thread().unwrap();
        for address in [self.input, self.logits] {
            // SAFETY: allocated by `new`, freed once, after the loop was waited for.
            unsafe { result::free_sync(address) }.unwrap();
        }
    }
}

/// Preprocessing, a network that is another preprocessing, and the engine, on the engine's stream.
pub struct Network {
    prepare: CudaPreprocessor,
    network: CudaPreprocessor,
    engine: Engine,
    size: Size,
    input: u64,
    logits: u64,
    /// Frames that are run before the loop begins.
    passes: usize,
    /// A stream that the work must not be on.
    astray: Option<RawStream>,
}

impl Network {
    pub fn new(engine: Engine, memory: &Memory) -> Self {
        let preprocessor = |format| {
            let kind = (memory.size, format);
            CudaPreprocessor::new(0, &imagenet(), kind, ElementType::F32, Layout::Nchw).unwrap()
        };
        Self {
            prepare: preprocessor(FORMAT),
            network: preprocessor(READ_AS),
            engine,
            size: memory.size,
            input: memory.input,
            logits: memory.logits,
            passes: 2,
            astray: None,
        }
    }

    /// One that breaks its promise.
    pub fn astray(self, stream: RawStream) -> Self {
        Self { astray: Some(stream), passes: 0, ..self }
    }
}

// SAFETY: the stream is the engine's own, and all work lies on it, but for the work that is to be found out, by a driver that runs
// nothing.
unsafe impl StreamWork for Network {
    fn ordinal(&self) -> usize {
        0
    }

    fn stream(&self) -> RawStream {
        self.engine.stream().unwrap()
    }

    fn prepare(&mut self, frame: &mut StreamFrame<'_>) -> Result<()> {
        (0..self.passes).try_for_each(|_| self.give(frame))
    }

    fn give(&mut self, frame: &mut StreamFrame<'_>) -> Result<()> {
        assert_eq!((frame.stream(), frame.size()), (self.stream(), self.size));
        let stream = self.astray.unwrap_or(self.stream());
        // SAFETY: all memory is as large as is read and written, and lives longer than the loop; the streams are alive.
        unsafe {
            self.prepare.submit_device(
                frame.input(),
                FORMAT.bytes() * self.size.width,
                self.input,
                stream,
            )?;
            frame.mark_prepared()?;
            self.network.submit_device(self.input, READ_AS.bytes() * self.size.width, self.logits, stream)?;
            frame.mark_logits()?;
            let shape = shape(self.size);
            let (element, strides) = (ElementType::F32, Layout::Nchw.strides(shape));
            let logits = DeviceLogits { pointer: self.logits, element, shape, strides };
            frame.post_process(&mut self.engine, logits)
        }
    }
}

/// The same on the host.
pub struct OnHost {
    prepare: Preprocessor,
    network: Preprocessor,
    engine: Engine,
    size: Size,
}

impl OnHost {
    pub fn new(size: Size) -> Self {
        let preprocessor = || Preprocessor::new(&imagenet(), size).unwrap();
        Self { prepare: preprocessor(), network: preprocessor(), engine: engine(Device::Cpu, size), size }
    }

    pub fn run(&mut self, picture: &PictureView<'_>) -> AnomalyMap<'_> {
        let mut input = vec![0.0_f32; elements(self.size)];
        self.prepare.apply(picture, Layout::Nchw, InputMut::F32(&mut input)).unwrap();
        let read = &bytemuck::cast_slice::<f32, u8>(&input)[..READ_AS.bytes() * self.size.pixels()];
        let read = PictureView::packed(read, self.size, READ_AS).unwrap();
        let mut logits = vec![0.0_f32; elements(self.size)];
        self.network.apply(&read, Layout::Nchw, InputMut::F32(&mut logits)).unwrap();
        let logits = sml::Logits::packed(&logits[..], shape(self.size), Layout::Nchw).unwrap();
        self.engine.submit(&logits, self.size).unwrap()
    }
}
