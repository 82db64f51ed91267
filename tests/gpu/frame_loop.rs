//! Frame loops there: an engine with copies and kernels on three streams, and whole frames.

use std::time::Instant;

use sml::drawn_logits::DrawnLogits;
use sml::frame_loop::{FrameLoop, FrameLoopOptions, FramePart, FrameStamp};
use sml::torch::{Pipeline, PipelineOptions};
use sml::{
    Capacity, ClassStatistics, Device, ElementType, Engine, Layout, LogitsShape, Params, PixelFormat, Size,
    demo,
};

use crate::gpu;
use crate::pictures::Picture;

const FRAMES: u64 = 400;

/// The CPU's bits, frame after frame, while two are under way at once.
#[test]
fn an_engine_in_a_loop_gives_the_cpus_bits() {
    let Some((_, _turn)) = gpu() else { return };
    for (element, layout, shape, size) in [
        (ElementType::F32, Layout::Nchw, LogitsShape::new(1, 19, 64, 128).unwrap(), Size::new(256, 512)),
        (ElementType::F16, Layout::Nhwc, LogitsShape::new(1, 19, 75, 131).unwrap(), Size::new(75, 131)),
        (ElementType::BF16, Layout::Nchw, LogitsShape::new(1, 7, 33, 65).unwrap(), Size::new(250, 490)),
    ] {
        let drawn: Vec<DrawnLogits> =
            (0..5).map(|seed| DrawnLogits::new(seed, shape, element, layout).unwrap()).collect();
        let statistics = drawn[0].statistics(size).unwrap();
        let engine = |device| {
            Engine::new(device, Params::default(), Some(&statistics), Capacity::of(shape, size)).unwrap()
        };
        let mut host = engine(Device::Cpu);
        let expected: Vec<(Vec<f32>, Vec<u8>)> = drawn
            .iter()
            .map(|drawn| {
                let map = host.submit(&drawn.logits().unwrap(), size).unwrap();
                (map.score.iter().copied().collect(), map.prediction.iter().copied().collect())
            })
            .collect();
        let (mut submitter, mut receiver) = FrameLoop::around_engine(
            engine(Device::Cuda(0)),
            (shape, element, layout),
            size,
            FrameLoopOptions { queue: 3, ..FrameLoopOptions::default() },
        )
        .unwrap()
        .split();
        let begun = Instant::now();
        let source = std::thread::spawn(move || {
            for id in 0..FRAMES {
                let logits = drawn[id as usize % 5].logits().unwrap();
                submitter.submit(logits, FrameStamp { id, ..FrameStamp::default() }).unwrap();
            }
        });
        for id in 0..FRAMES {
            let frame = receiver.receive().unwrap();
            let (score, prediction) = &expected[id as usize % 5];
            assert_eq!(frame.stamp().id, id);
            assert_eq!(frame.prediction().as_slice().unwrap(), prediction, "frame {id}");
            assert_eq!(frame.score().as_slice().unwrap(), score, "frame {id}");
            assert_eq!(frame.non_finite(), 0);
        }
        source.join().unwrap();
        let summary = receiver.finish(drop).unwrap();
        println!("{:.0} us a frame: {summary}", begun.elapsed().as_secs_f64() * 1e6 / FRAMES as f64);
        for part in [FramePart::Upload, FramePart::Standardize, FramePart::Download] {
            assert!(!summary.latencies.max(part).is_zero(), "{part:?}");
        }
    }
}

#[test]
fn a_network_in_a_loop_gives_the_pipelines_results() {
    let Some((device, _turn)) = gpu() else { return };
    let size = Size::new(120, 200);
    for graph in [false, true] {
        let pipeline = || {
            let network = demo::backbone(device).unwrap();
            let statistics = ClassStatistics::from_json(demo::STATISTICS).unwrap();
            let options = PipelineOptions { graph, ..PipelineOptions::default() };
            Pipeline::new(Box::new(network), Params::default(), Some(statistics), options).unwrap()
        };
        let mut alone = pipeline();
        let mut frame_loop =
            FrameLoop::around_pipeline(pipeline(), (size, PixelFormat::Bgr8), FrameLoopOptions::default())
                .unwrap();
        for id in 0..20 {
            let picture = Picture::new(size, 7, PixelFormat::Bgr8, id);
            frame_loop.submit(picture.view(), FrameStamp { id, ..FrameStamp::default() }).unwrap();
            let frame = frame_loop.receive().unwrap();
            let map = alone.run(&picture.view()).unwrap();
            // cuDNN may choose another algorithm, with sums in another order.
            let alike =
                frame.prediction().iter().zip(map.prediction).filter(|(got, want)| got == want).count();
            assert!(alike * 1000 >= size.pixels() * 999, "frame {id}: {alike} predictions are the same");
            assert_eq!(frame.telemetry().backbone.is_zero(), graph, "a graph has no marks between its parts");
        }
        println!("{}", frame_loop.finish(drop).unwrap());
    }
}
