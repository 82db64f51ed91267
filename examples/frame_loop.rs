//! The loop of a perception program: pictures in, obstacles out, on time.
//!
//! A thread plays a camera that shows the bundled scenes; the main thread takes the results. `cargo run --release --example frame_loop`

use std::time::{Duration, Instant};

use sml::files::decode_picture;
use sml::frame_loop::{FrameLoop, FrameLoopOptions, FrameStamp, Policy};
use sml::obstacles::ObstacleParams;
use sml::torch::{Pipeline, PipelineOptions, choose_device};
use sml::{ClassStatistics, DeviceRequest, PictureView, PixelFormat, Size, demo};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let scenes = demo::SCENES.iter().map(|scene| decode_picture(scene.name.as_ref(), scene.picture));
    let scenes = scenes.collect::<Result<Vec<_>, _>>()?;
    let size = Size::new(scenes[0].height() as usize, scenes[0].width() as usize);

    let network = demo::backbone(choose_device(DeviceRequest::Auto)?)?;
    let statistics = ClassStatistics::from_json(demo::STATISTICS)?;
    let points = statistics.operating_points().ok_or("the statistics hold no thresholds")?;
    let threshold = points.threshold_at_fpr(0.01, &points.params)?;
    let params = points.params;
    let pipeline = Pipeline::new(Box::new(network), params, Some(statistics), PipelineOptions::default())?;
    let options = FrameLoopOptions {
        policy: Policy::DropOldest,
        queue: 1,
        deadline: Some(Duration::from_millis(66)),
        obstacles: Some(ObstacleParams::above(threshold)),
        ..FrameLoopOptions::default()
    };
    let (mut submitter, mut receiver) =
        FrameLoop::around_pipeline(pipeline, (size, PixelFormat::Rgb8), options)?.split();

    let camera = std::thread::spawn(move || -> sml::Result<()> {
        let start = Instant::now();
        for (id, picture) in (0..90).zip(scenes.iter().cycle()) {
            submitter
                .submit(PictureView::try_from(picture)?, FrameStamp { id, timestamp: start.elapsed() })?;
            std::thread::sleep(Duration::from_millis(33));
        }
        Ok(())
    });
    while let Some(frame) = receiver.receive() {
        let (id, total) = (frame.stamp().id, frame.telemetry().total);
        let late = if frame.missed_deadline() { ", late" } else { "" };
        println!("frame {id}: {} obstacles after {total:.1?}{late}", frame.obstacles().len());
    }
    let summary = receiver.finish(drop)?;
    camera.join().map_err(|_| "the camera's thread panicked")??;
    eprintln!("{summary}");
    Ok(())
}
