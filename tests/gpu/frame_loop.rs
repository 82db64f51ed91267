//! Frame loops there: an engine with copies and kernels on three streams, and whole frames.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use sml::drawn_logits::DrawnLogits;
use sml::frame_loop::{FrameLoop, FrameLoopOptions, FramePart, FrameStamp};
use sml::torch::{Pipeline, PipelineOptions};
use sml::{
    Capacity, ClassStatistics, Device, ElementType, Engine, Layout, LogitsShape, Params, PixelFormat, Size,
    demo,
};

use crate::gpu;
use crate::picture_network::{self, Memory, Network, OnHost};
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

/// Pictures through a network of the test's own, two under way at once: the CPU's bits.
#[test]
fn work_on_a_stream_in_a_loop_gives_the_cpus_bits() {
    let Some((_, _turn)) = gpu() else { return };
    for size in [Size::new(256, 512), Size::new(61, 133)] {
        let memory = Memory::new(size);
        let network = Network::new(picture_network::engine(Device::Cuda(0), size), &memory);
        let pictures: Vec<Picture> =
            (0..5).map(|seed| Picture::new(size, 7, picture_network::FORMAT, seed)).collect();
        let mut host = OnHost::new(size);
        let expected: Vec<(Vec<f32>, Vec<u8>)> = pictures
            .iter()
            .map(|picture| {
                let picture = picture.view();
                let map = host.run(&picture);
                (map.score.iter().copied().collect(), map.prediction.iter().copied().collect())
            })
            .collect();
        let options = FrameLoopOptions { queue: 3, ..FrameLoopOptions::default() };
        let (mut submitter, mut receiver) =
            FrameLoop::around_stream(network, picture_network::form(size), size, options).unwrap().split();
        let begun = Instant::now();
        let source = std::thread::spawn(move || {
            for id in 0..FRAMES {
                let picture = pictures[id as usize % 5].view();
                submitter.submit(picture, FrameStamp { id, ..FrameStamp::default() }).unwrap();
            }
        });
        for id in 0..FRAMES {
            let frame = receiver.receive().unwrap();
            let (score, prediction) = &expected[id as usize % 5];
            assert_eq!(frame.stamp().id, id);
            assert_eq!(frame.prediction().as_slice().unwrap(), prediction, "frame {id}");
            assert_eq!(frame.score().as_slice().unwrap(), score, "frame {id}");
        }
        source.join().unwrap();
        let summary = receiver.finish(drop).unwrap();
        println!("{:.0} us a frame: {summary}", begun.elapsed().as_secs_f64() * 1e6 / FRAMES as f64);
        for part in [FramePart::Upload, FramePart::Backbone, FramePart::Smooth, FramePart::Download] {
            assert!(!summary.latencies.max(part).is_zero(), "{part:?}");
        }
    }
}

/// Plainly and with the network as a graph, while two frames are under way at once.
#[test]
fn a_network_in_a_loop_gives_the_pipelines_results() {
    let Some((device, _turn)) = gpu() else { return };
    let size = Size::new(120, 200);
    for graph in [false, true] {
        let told = Arc::new(Mutex::new(Vec::new()));
        let pipeline = || {
            let network = demo::backbone(device).unwrap();
            let statistics = ClassStatistics::from_json(demo::STATISTICS).unwrap();
            let options = PipelineOptions { graph, ..PipelineOptions::default() };
            let list = Arc::clone(&told);
            Pipeline::new(Box::new(network), Params::default(), Some(statistics), options)
                .unwrap()
                .on_warning(move |warning| list.lock().unwrap().push(warning.to_string()))
        };
        let pictures: Vec<Picture> =
            (0..7).map(|seed| Picture::new(size, 7, PixelFormat::Bgr8, seed)).collect();
        let mut alone = pipeline();
        let wanted: Vec<(Vec<f32>, Vec<u8>)> = pictures
            .iter()
            .map(|picture| {
                let map = alone.run(&picture.view()).unwrap();
                (map.score.iter().copied().collect(), map.prediction.iter().copied().collect())
            })
            .collect();
        let options = FrameLoopOptions { queue: 3, ..FrameLoopOptions::default() };
        let (mut submitter, mut receiver) =
            FrameLoop::around_pipeline(pipeline(), (size, PixelFormat::Bgr8), options).unwrap().split();
        let source = std::thread::spawn(move || {
            for id in 0..100 {
                let picture = pictures[id as usize % 7].view();
                submitter.submit(picture, FrameStamp { id, ..FrameStamp::default() }).unwrap();
            }
        });
        for id in 0..100 {
            let frame = receiver.receive().unwrap();
            let (score, prediction) = &wanted[id as usize % 7];
            // cuDNN may choose another algorithm, with sums in another order.
            let alike = frame.prediction().iter().zip(prediction).filter(|(got, want)| got == want).count();
            assert!(alike * 1000 >= size.pixels() * 999, "frame {id}: {alike} predictions are the same");
            let near = |(got, want): &(&f32, &f32)| (*got - *want).abs() <= 0.02 * want.abs().max(1.0);
            let alike = frame.score().iter().zip(score).filter(near).count();
            assert!(alike * 1000 >= size.pixels() * 999, "frame {id}: {alike} scores are alike");
            let telemetry = frame.telemetry();
            for part in [FramePart::Upload, FramePart::Backbone, FramePart::Standardize, FramePart::Download]
            {
                assert!(!telemetry.part(part).is_zero(), "{part:?}, graph: {graph}");
            }
        }
        source.join().unwrap();
        println!("graph: {graph}: {}", receiver.finish(drop).unwrap());
        assert!(told.lock().unwrap().is_empty(), "{:?}", told.lock().unwrap());
    }
}
