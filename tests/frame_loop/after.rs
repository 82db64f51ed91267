//! What a loop does with a result after the engine made it is what the parts do by themselves.

use sml::frame_loop::FrameLoopOptions;
use sml::obstacles::{ObstacleFinder, ObstacleParams};
use sml::{PictureView, PixelFormat, TemporalSmoother, TemporalSmoothing};

use crate::staged_work::{SIZE, StagedWork, around, picture, stamp};

fn bytes_of(id: u64) -> Vec<u8> {
    // Two scenes: a cut lies between the frames 9 and 10.
    if id < 10 { picture(id) } else { picture(id).iter().map(|byte| 255 - byte).collect() }
}

#[test]
fn scores_are_smoothed_and_obstacles_found_frame_by_frame() {
    let smoothing = TemporalSmoothing { weight: 0.25, reset_change: 60.0 };
    let params = ObstacleParams { minimum_area: 1, ..ObstacleParams::above(4.0) };
    for (temporal_smoothing, obstacles, keep_picture) in [
        (Some(smoothing), Some(params.clone()), false),
        (Some(smoothing), None, true),
        (None, Some(params.clone()), true),
    ] {
        let options =
            FrameLoopOptions { temporal_smoothing, obstacles, keep_picture, ..FrameLoopOptions::default() };
        let (finds, smooths) = (options.obstacles.is_some(), options.temporal_smoothing.is_some());
        let mut frame_loop = around(StagedWork::default(), options);
        let mut smoother = TemporalSmoother::new(smoothing, SIZE).unwrap();
        let mut finder = ObstacleFinder::new(params.clone(), SIZE).unwrap();
        let mut resets = 0;
        for id in 0..20 {
            let bytes = bytes_of(id);
            let view = PictureView::packed(&bytes, SIZE, PixelFormat::Rgb8).unwrap();
            frame_loop.submit(view, stamp(id)).unwrap();
            let frame = frame_loop.receive().unwrap();

            let mut score = vec![f32::from(bytes[0]); SIZE.pixels()];
            if smooths {
                let change = if id == 10 { 200.0 } else { 1.0 };
                let goes_on = smoother.smooth(&mut score, (id > 0).then_some(change)).unwrap();
                resets += u64::from(!goes_on);
            }
            assert_eq!(frame.score().as_slice().unwrap(), score, "frame {id}");
            let map = ndarray::ArrayView2::from_shape((SIZE.height, SIZE.width), &score).unwrap();
            let found = finder.find(map, frame.prediction()).unwrap();
            assert_eq!(frame.obstacles(), if finds { found } else { &[] }, "frame {id}");
            assert_eq!(frame.picture().is_some(), keep_picture);
            assert!(!frame.telemetry().after.is_zero());
        }
        // The first frame and the cut.
        assert_eq!(resets, if smooths { 2 } else { 0 });
    }
}

#[test]
fn parameters_out_of_range_make_no_loop() {
    let smoothing = TemporalSmoothing { weight: 0.0, reset_change: 1.0 };
    for options in [
        FrameLoopOptions { temporal_smoothing: Some(smoothing), ..Default::default() },
        FrameLoopOptions { obstacles: Some(ObstacleParams::above(f32::NAN)), ..Default::default() },
    ] {
        let form = crate::staged_work::FORM;
        let error = sml::frame_loop::FrameLoop::around(StagedWork::default(), form, SIZE, options);
        assert!(matches!(error, Err(sml::Error::InvalidParameter { .. })));
    }
}
