//! What is delivered is the frame's own: score, prediction, picture, stamp and times; and of an engine, its very bits.

use std::time::Duration;

use sml::drawn_logits::DrawnLogits;
use sml::frame_loop::{FrameLoop, FrameLoopOptions, FramePart, FrameStamp, Received, Submission};
use sml::{
    Capacity, Device, ElementType, Engine, Error, Layout, Logits, LogitsShape, Params, PictureView,
    PixelFormat, Size,
};

use crate::staged_work::{SIZE, StagedWork, around, picture, stamp};

#[test]
fn a_result_is_that_of_its_frame() {
    for keep_picture in [false, true] {
        let options = FrameLoopOptions { keep_picture, ..FrameLoopOptions::default() };
        let mut frame_loop = around(StagedWork::default(), options);
        for id in 3..40 {
            let bytes = picture(id);
            let view = PictureView::packed(&bytes, SIZE, PixelFormat::Rgb8).unwrap();
            assert_eq!(frame_loop.submit(view, stamp(id)).unwrap(), Submission::Accepted);
            let frame = frame_loop.receive().unwrap();
            assert_eq!((frame.stamp(), frame.size()), (stamp(id), SIZE));
            assert!(frame.score().iter().all(|&score| score == id as f32));
            assert_eq!(frame.score().dim(), (3, 5));
            assert_eq!(frame.prediction().as_slice().unwrap(), &bytes[..15]);
            assert_eq!(frame.non_finite(), id + 1);
            assert_eq!(frame.picture().map(|picture| picture.data().to_vec()), keep_picture.then_some(bytes));
            assert!(!frame.missed_deadline());
        }
        let summary = frame_loop.finish(|_| panic!("all were received")).unwrap();
        assert_eq!((summary.submitted, summary.delivered, summary.dropped), (37, 37, 0));
    }
}

/// A row of the source may be followed by padding; the loop's copy has none.
#[test]
fn padded_rows_and_frames_written_in_place_are_taken() {
    let options = FrameLoopOptions { keep_picture: true, ..FrameLoopOptions::default() };
    let mut frame_loop = around(StagedWork::default(), options);
    let padded: Vec<u8> = (0..3 * 20).map(|n| if n % 20 < 15 { n as u8 } else { 255 }).collect();
    let view = PictureView::new(&padded, SIZE, 20, PixelFormat::Rgb8).unwrap();
    frame_loop.submit(view, stamp(0)).unwrap();
    let packed: Vec<u8> = padded.iter().copied().filter(|&byte| byte != 255).collect();
    assert_eq!(frame_loop.receive().unwrap().picture().unwrap().data(), packed);

    let (mut submitter, mut receiver) = frame_loop.split();
    submitter
        .submit_with(stamp(1), |memory| {
            assert_eq!(memory.len(), 45);
            memory.fill(9);
            Ok::<(), Error>(())
        })
        .unwrap();
    assert_eq!(receiver.receive().unwrap().score()[(2, 4)], 9.0);
    // A source that fails keeps its frame.
    let error = submitter.submit_with(stamp(2), |_| Err(Error::LoopEnded { reason: "camera".to_owned() }));
    assert!(error.unwrap_err().to_string().contains("camera"));
    submitter.submit_with(stamp(2), |_| Ok::<(), Error>(())).unwrap();
    submitter.close();
    assert_eq!(receiver.finish(drop).unwrap().submitted, 3);
}

#[test]
fn frames_of_another_form_and_ids_that_do_not_ascend_are_refused() {
    let mut frame_loop = around(StagedWork::default(), FrameLoopOptions::default());
    let bytes = vec![0; 100];
    let other = PictureView::packed(&bytes, Size::new(5, 3), PixelFormat::Rgb8).unwrap();
    let error = frame_loop.submit(other, stamp(0)).unwrap_err();
    assert!(error.to_string().contains("for which the loop was built"), "{error}");
    let fitting = PictureView::packed(&bytes, SIZE, PixelFormat::Rgb8).unwrap();
    frame_loop.submit(fitting, stamp(5)).unwrap();
    for id in [0, 5] {
        let error = frame_loop.submit(fitting, stamp(id)).unwrap_err().to_string();
        assert_eq!(error, format!("id of the frame is {id} after 5: expected ids that ascend"));
    }
    assert!(matches!(frame_loop.receive_timeout(Duration::from_secs(60)), Received::Frame(_)));
    assert!(matches!(frame_loop.receive_timeout(Duration::ZERO), Received::TimedOut));
    let (submitter, mut receiver) = frame_loop.split();
    drop(submitter);
    assert!(receiver.receive().is_none());
    assert!(matches!(receiver.receive_timeout(Duration::MAX), Received::Ended));
    assert_eq!(receiver.finish(drop).unwrap().submitted, 1);
}

#[test]
fn an_engine_in_a_loop_gives_the_engines_bits() {
    let shape = LogitsShape::new(1, 7, 12, 16).unwrap();
    let size = Size::new(48, 64);
    for (element, layout) in [
        (ElementType::F32, Layout::Nchw),
        (ElementType::F16, Layout::Nhwc),
        (ElementType::BF16, Layout::Nchw),
    ] {
        let drawn: Vec<DrawnLogits> =
            (0..6).map(|seed| DrawnLogits::new(seed, shape, element, layout).unwrap()).collect();
        let statistics = drawn[0].statistics(size).unwrap();
        let engine = || {
            Engine::new(Device::Cpu, Params::default(), Some(&statistics), Capacity::of(shape, size)).unwrap()
        };
        let form = (shape, element, layout);
        let mut frame_loop =
            FrameLoop::around_engine(engine(), form, size, FrameLoopOptions::default()).unwrap();
        let mut alone = engine();
        for (id, drawn) in (0..).zip(&drawn) {
            let logits = drawn.logits().unwrap();
            frame_loop.submit(logits, FrameStamp { id, ..Default::default() }).unwrap();
            let frame = frame_loop.receive().unwrap();
            let map = alone.submit(&logits, size).unwrap();
            assert_eq!(frame.score().as_slice(), map.score.as_slice());
            assert_eq!(frame.prediction().as_slice(), map.prediction.as_slice());
            let telemetry = frame.telemetry();
            let parts = [telemetry.upload, telemetry.standardize, telemetry.suppress, telemetry.smooth];
            assert!(parts.iter().all(|part| !part.is_zero()), "{telemetry:?}");
            assert!(telemetry.queue + parts.iter().sum::<Duration>() <= telemetry.total, "{telemetry:?}");
        }
        // Other strides, another type, and a picture.
        let elements = vec![0.0_f32; shape.elements() * 2];
        let strided = Logits::strided(&elements[..], shape, [1, 12 * 16 * 2, 16, 1]).unwrap();
        assert!(matches!(frame_loop.submit(strided, stamp(9)), Err(Error::Shape { .. })));
        let summary = frame_loop.finish(drop).unwrap();
        assert_eq!(summary.latencies.histogram(FramePart::Total).len(), 6);
        assert!(summary.latencies.max(FramePart::Backbone).is_zero());
        let json: serde_json::Value =
            serde_json::from_str(&serde_json::to_string(&summary).unwrap()).unwrap();
        assert_eq!(json["delivered"], 6);
        assert!(json["latencies_us"]["total"]["p99"].as_f64().unwrap() > 0.0, "{json}");
        let text = summary.to_string();
        assert!(text.contains("6 delivered") && !text.contains("backbone"), "{text}");
    }
}

#[test]
fn frames_that_an_engine_cannot_take_are_refused_before_the_first_one() {
    let shape = LogitsShape::new(1, 3, 8, 8).unwrap();
    let engine = |params: Params| {
        Engine::new(Device::Cpu, params, None, Capacity::of(shape, Size::new(8, 8))).unwrap()
    };
    let params = Params { score: sml::Score::MaxLogit, ..Params::default() };
    let two = LogitsShape::new(2, 3, 8, 8).unwrap();
    let options = FrameLoopOptions::default;
    let pictures = FrameLoopOptions { keep_picture: true, ..options() };
    for (shape, size, options, told) in [
        (two, Size::new(8, 8), options(), "batch of the loop's logits is 2: expected 1"),
        (shape, Size::new(9, 8), options(), "height of the result is 9: expected 1 to 8"),
        (shape, Size::new(8, 8), FrameLoopOptions { queue: 0, ..options() }, "queue is 0"),
        (shape, Size::new(8, 8), pictures, "keep_picture is true"),
    ] {
        let form = (shape, ElementType::F32, Layout::Nchw);
        let error = FrameLoop::around_engine(engine(params), form, size, options).unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
    }
}
