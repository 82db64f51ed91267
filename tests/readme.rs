//! The Rust in the README compiles: each of its pieces stands in this file, word for word, between what it takes for granted.
#![cfg(all(feature = "torch", feature = "frame-loop"))]
#![allow(dead_code, unused_variables, clippy::unwrap_used, reason = "compiled, and not run")]

use std::error::Error;
use std::time::Duration;

use ndarray::ArrayView2;
use sml::frame_loop::{FrameLoop, FrameLoopOptions, FrameStamp, Policy};
use sml::obstacles::{DrivableArea, Obstacle, ObstacleFinder, ObstacleParams};
use sml::torch::{DabNetBackbone, Pipeline, PipelineOptions};
use sml::{ClassStatistics, OperatingPoints, Params, PictureView, PixelFormat, Size};

#[rustfmt::skip]
fn engine_alone(frame: &[u8], network: impl Fn(&[u8]) -> Vec<f32>) -> Result<(), Box<dyn Error>> {
    use sml::{Capacity, ClassStatistics, Device, Engine, Layout, Logits, LogitsShape, Params, Size};

    let statistics = ClassStatistics::read("network.json")?;
    let (shape, picture) = (LogitsShape::new(1, 19, 128, 256)?, Size::new(1024, 2048));
    let mut engine = Engine::new(Device::Cpu, Params::default(), Some(&statistics), Capacity::of(shape, picture))?;

    let logits: Vec<f32> = network(frame); // N x C x h x w
    let map = engine.submit(&Logits::packed(&logits[..], shape, Layout::Nchw)?, picture)?;
    // map.score: N x H x W, higher is more anomalous; map.prediction; map.non_finite
    Ok(())
}

#[rustfmt::skip]
fn whole_frames(
    network: DabNetBackbone,
    statistics: ClassStatistics,
    (camera, row_stride): (Vec<u8>, usize),
) -> Result<(), Box<dyn Error>> {
    let mut pipeline = Pipeline::new(Box::new(network), Params::default(), Some(statistics), PipelineOptions::default())?;
    let picture = PictureView::new(&camera, Size::new(1080, 1920), row_stride, PixelFormat::Bgr8)?; // padded rows, RGB(A), BGR(A)
    pipeline.warm_up(Size::new(1080, 1920))?; // before a loop: hides the first frames' extra time
    let map = pipeline.run(&picture)?;        // in host memory of the pipeline: one wait
    let tensors = pipeline.submit(&picture)?; // stays on the device: no wait
    Ok(())
}

fn act(stamp: FrameStamp, obstacles: &[Obstacle], score: ArrayView2<'_, f32>, late: bool) {}

#[rustfmt::skip]
fn in_a_loop(
    pipeline: Pipeline,
    (picture, size, threshold): (image::RgbImage, Size, f32),
    (id, timestamp): (u64, Duration),
) -> Result<(), Box<dyn Error>> {
    let options = FrameLoopOptions {
        policy: Policy::DropOldest,                  // a live source: the newest frame counts (or Block, DropNewest)
        queue: 1,                                    // frames that may wait
        deadline: Some(Duration::from_millis(66)),   // later results are marked and counted
        obstacles: Some(ObstacleParams::above(threshold)),
        ..FrameLoopOptions::default()
    };
    let (mut submitter, mut receiver) =
        FrameLoop::around_pipeline(pipeline, (size, PixelFormat::Rgb8), options)?.split();

    // On the source's thread:
    submitter.submit(PictureView::try_from(&picture)?, FrameStamp { id, timestamp })?;

    // On the consumer's:
    while let Some(frame) = receiver.receive() {
        act(frame.stamp(), frame.obstacles(), frame.score(), frame.missed_deadline());
    }
    let summary = receiver.finish(drop)?;            // counts and latencies, or the error that ended the loop
    Ok(())
}

#[rustfmt::skip]
fn obstacles(
    (operating_points, engine_params): (OperatingPoints, Params),
    size: Size,
    (score, prediction): (ArrayView2<'_, f32>, ArrayView2<'_, u8>),
) -> Result<(), Box<dyn Error>> {
    let params = ObstacleParams {
        drivable: Some(DrivableArea { margin: 8, ..DrivableArea::road_and_pavement() }),
        ..ObstacleParams::above(operating_points.threshold_at_fpr(0.01, &engine_params)?)
    };
    let mut finder = ObstacleFinder::new(params, size)?;
    for obstacle in finder.find(score, prediction)? { println!("{obstacle:?}"); }
    Ok(())
}

#[cfg(feature = "cuda")]
#[rustfmt::skip]
fn on_a_gpu(
    (statistics, network): (ClassStatistics, impl tch::nn::ModuleT),
    (frame, shape, picture): (tch::Tensor, sml::LogitsShape, Size),
) -> Result<(), Box<dyn Error>> {
    use sml::{Capacity, Device, Engine, Params};

    let mut engine = Engine::new(Device::Cuda(0), Params::default(), Some(&statistics), Capacity::of(shape, picture))?;
    let logits = network.forward_t(&frame, false); // a CUDA tensor, N x C x h x w: float32, float16 or bfloat16
    let map = engine.submit_tensor(&logits, picture)?;
    // map.score, map.prediction, map.non_finite: CUDA tensors that the engine owns; submit_tensor_into writes into yours
    Ok(())
}

#[test]
fn each_piece_stands_here() {
    let without_spaces = |text: &str| text.split_whitespace().collect::<String>();
    let here = without_spaces(include_str!("readme.rs"));
    let readme = include_str!("../README.md");
    let pieces: Vec<&str> =
        readme.split("```rust\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(pieces.len() >= 4, "{} pieces", pieces.len());
    for piece in pieces {
        assert!(here.contains(&without_spaces(piece)), "not in tests/readme.rs:\n{piece}");
    }
}
