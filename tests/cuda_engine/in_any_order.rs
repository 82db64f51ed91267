//! Whatever is done with an engine, in whatever order: frames stay in order, nothing is used that is gone, nothing stays
//! behind.

use std::sync::Arc;

use cudarc::driver::sys::{CUgraphInstantiate_flags, CUstreamCaptureMode};
use cudarc::driver::{CudaContext, CudaStream};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sml::cuda::{CudaOptions, RawStream};
use sml::{ElementType, Engine, Error, Size};

use crate::setting::{build, frame};
use crate::stand_in::{StandIn, with_stand_in};

/// An engine, streams of a caller, and what is going on with them.
struct Scene {
    random: ChaCha8Rng,
    context: Arc<CudaContext>,
    engine: Engine,
    streams: Vec<Arc<CudaStream>>,
    /// One of the streams, while it is captured.
    captured: Option<Arc<CudaStream>>,
    frames: u64,
    submitted: usize,
}

impl Scene {
    fn new(seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let engine = build(0, CudaOptions { graph: random.random() }).unwrap();
        let context = CudaContext::new(0).unwrap();
        Self { random, context, engine, streams: Vec::new(), captured: None, frames: 0, submitted: 0 }
    }

    fn step(&mut self) {
        match self.random.random_range(0..20) {
            0..12 => self.submit(),
            12..14 => self.streams.push(self.context.new_stream().unwrap()),
            14..16 => self.destroy_a_stream(),
            16 => self.begin_a_capture(),
            17 => self.end_the_capture(),
            18 => self.engine.profile(self.random.random()).unwrap(),
            _ => drop(self.engine.timings().unwrap()),
        }
    }

    fn submit(&mut self) {
        self.frames += 1;
        let mut frame = frame(self.frames % 7);
        frame.logits.element =
            [ElementType::F32, ElementType::F16, ElementType::BF16][self.random.random_range(0..3)];
        frame.size =
            [Size::new(32, 64), Size::new(16, 64), Size::new(31, 33)][self.random.random_range(0..3)];
        frame.half_score = self.random.random();
        let callers = self.streams.iter().map(RawStream::from);
        let streams: Vec<_> = callers.chain([RawStream::DEFAULT, self.engine.stream().unwrap()]).collect();
        let stream = streams[self.random.random_range(0..streams.len())];
        let is_captured = self.captured.as_ref().is_some_and(|captured| RawStream::from(captured) == stream);
        // SAFETY: the stand-in runs nothing, so that addresses may point nowhere; the stream is alive.
        unsafe { self.engine.submit_device(&frame, stream) }.unwrap();
        self.submitted += usize::from(!is_captured);
    }

    fn destroy_a_stream(&mut self) {
        if !self.streams.is_empty() {
            let place = self.random.random_range(0..self.streams.len());
            // One that is captured is kept by `captured`.
            self.streams.swap_remove(place);
        }
    }

    fn begin_a_capture(&mut self) {
        if self.captured.is_none()
            && let Some(stream) = self.streams.first()
        {
            stream.begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_GLOBAL).unwrap();
            self.captured = Some(Arc::clone(stream));
        }
    }

    fn end_the_capture(&mut self) {
        if let Some(stream) = self.captured.take() {
            stream.end_capture(CUgraphInstantiate_flags(0)).unwrap();
        }
    }
}

fn play(driver: &StandIn, seed: u64) {
    let mut scene = Scene::new(seed);
    driver.take_log();
    for _ in 0..200 {
        // While a stream is captured, making and destroying others is allowed; waiting for the GPU is not.
        scene.step();
    }
    scene.end_the_capture();
    let log = driver.take_log();
    assert!(scene.submitted > 60, "seed {seed}: {} frames", scene.submitted);
    assert_eq!(log.runs.len(), 3 * scene.submitted, "seed {seed}");
    log.assert_ordered();
    drop(scene);
    driver.take_log();
    driver.assert_nothing_lives();
}

with_stand_in! {
    fn frames_stay_in_order_whatever_is_done(driver) {
        (0..40).for_each(|seed| play(driver, seed));
    }

    /// The engine's own stream may be captured like any other. A frame on another stream cannot then be put behind the
    /// engine's latest one there, and says so without harm to the capture.
    fn a_frame_behind_a_captured_stream_is_an_error(driver) {
        let mut engine = build(0, CudaOptions::default()).unwrap();
        let own = engine.stream().unwrap();
        let context = CudaContext::new(0).unwrap();
        // SAFETY: the engine's stream outlives this, and cudarc does not destroy it.
        let stream = unsafe { context.wrap_borrowed_stream(own.as_raw().cast()) };
        // SAFETY: the stand-in runs nothing, so that addresses may point nowhere; the streams are alive.
        let submit = |engine: &mut Engine, stream| unsafe { engine.submit_device(&frame(1), stream) };
        submit(&mut engine, own).unwrap();
        stream.begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_GLOBAL).unwrap();
        submit(&mut engine, own).unwrap();
        let error = submit(&mut engine, RawStream::DEFAULT).unwrap_err();
        assert!(matches!(error, Error::Cuda { .. }), "{error}");
        assert!(error.to_string().contains("put work behind the work before"), "{error}");
        let captured = stream.end_capture(CUgraphInstantiate_flags(0)).unwrap().unwrap();
        submit(&mut engine, RawStream::DEFAULT).unwrap();
        let log = driver.take_log();
        assert_eq!((log.runs.len(), log.captured.len()), (6, 3));
        log.assert_ordered();
        drop(captured);
    }
}
