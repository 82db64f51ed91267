//! A loop around the bundled network gives the pipeline's own results.

use sml::frame_loop::{FrameLoop, FrameLoopOptions, FramePart};
use sml::torch::{Pipeline, PipelineOptions};
use sml::{ClassStatistics, Error, Params, PictureView, PixelFormat, Size, demo};

use crate::staged_work::stamp;

const SIZE: Size = Size::new(72, 120);

fn pipeline() -> Pipeline {
    let network = demo::backbone(tch::Device::Cpu).unwrap();
    let statistics = ClassStatistics::from_json(demo::STATISTICS).unwrap();
    let options = PipelineOptions::default();
    Pipeline::new(Box::new(network), Params::default(), Some(statistics), options).unwrap()
}

#[test]
fn a_network_in_a_loop_gives_the_pipelines_bits() {
    let options = FrameLoopOptions { keep_picture: true, ..FrameLoopOptions::default() };
    let mut frame_loop = FrameLoop::around_pipeline(pipeline(), (SIZE, PixelFormat::Bgra8), options).unwrap();
    let mut alone = pipeline();
    for id in 0..5_u64 {
        let bytes: Vec<u8> =
            (0..4 * SIZE.pixels()).map(|n| ((n as u64 * 7919 + id * 131) >> 3) as u8).collect();
        let picture = PictureView::packed(&bytes, SIZE, PixelFormat::Bgra8).unwrap();
        frame_loop.submit(picture, stamp(id)).unwrap();
        let frame = frame_loop.receive().unwrap();
        let map = alone.run(&picture).unwrap();
        assert_eq!(frame.score().as_slice(), map.score.as_slice(), "frame {id}");
        assert_eq!(frame.prediction().as_slice(), map.prediction.as_slice(), "frame {id}");
        assert_eq!(frame.picture().unwrap().data(), bytes);
        let telemetry = frame.telemetry();
        for part in [FramePart::Upload, FramePart::Backbone, FramePart::Standardize, FramePart::Total] {
            assert!(!telemetry.part(part).is_zero(), "{part:?}: {telemetry:?}");
        }
    }
    assert_eq!(frame_loop.finish(drop).unwrap().delivered, 5);
}

/// What does not suit the network is found when the loop is built, and memory of another size by the pipeline.
#[test]
fn what_a_pipeline_cannot_do_is_an_error() {
    let network = demo::backbone(tch::Device::Cpu).unwrap();
    let bare = Pipeline::new(Box::new(network), Params::default(), None, PipelineOptions::default()).unwrap();
    let error =
        FrameLoop::around_pipeline(bare, (SIZE, PixelFormat::Rgb8), FrameLoopOptions::default()).unwrap_err();
    assert!(matches!(error, Error::StatisticsNeeded { .. }), "{error}");

    let bytes = vec![0; 3 * SIZE.pixels()];
    let picture = PictureView::packed(&bytes, SIZE, PixelFormat::Rgb8).unwrap();
    let (mut score, mut prediction) = (vec![0.0; 4], vec![0; 4]);
    let result = sml::AnomalyMapMut {
        size: Size::new(2, 2),
        score: sml::ScoreMut::F32(&mut score),
        prediction: &mut prediction,
        non_finite: &mut [0],
    };
    let error = pipeline().run_into(&picture, result).unwrap_err().to_string();
    assert!(error.contains("size of the result is 2x2: expected 72x120"), "{error}");
}
