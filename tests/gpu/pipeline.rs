//! Whole frames there: the parts one by one, on one stream, frame after frame, in constant memory.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cudarc::driver::{CudaContext, result};
use sml::torch::{Backbone, HostAnomalyMap, Pipeline, PipelineOptions, current_stream};
use sml::{AnomalyMap, Capacity, ClassStatistics, Engine, LogitsShape, Params, PixelFormat, Size, demo};
use tch::Device;

use crate::gpu;
use crate::pictures::Picture;

fn statistics() -> ClassStatistics {
    ClassStatistics::from_json(demo::STATISTICS).unwrap()
}

fn pipeline(device: Device, options: PipelineOptions) -> Pipeline {
    let network = demo::backbone(device).unwrap();
    Pipeline::new(Box::new(network), Params::default(), Some(statistics()), options).unwrap()
}

fn owned(map: &AnomalyMap<'_>) -> HostAnomalyMap {
    HostAnomalyMap {
        score: map.score.to_owned(),
        prediction: map.prediction.to_owned(),
        non_finite: map.non_finite.to_vec(),
    }
}

/// The parts one by one on the same GPU, on libtorch's usual stream.
fn by_parts(picture: &Picture, device: Device) -> HostAnomalyMap {
    let network = demo::backbone(device).unwrap();
    let packed = picture.rearranged(PixelFormat::Rgb8, 0);
    let (height, width) = (picture.size.height as u32, picture.size.width as u32);
    let image = image::RgbImage::from_raw(width, height, packed.data).unwrap();
    let logits = network.forward(&network.preprocess(&image).unwrap()).unwrap();
    let (n, c, h, w) = logits.size4().unwrap();
    let shape = LogitsShape::new(n as usize, c as usize, h as usize, w as usize).unwrap();
    let capacity = Capacity::of(shape, picture.size);
    let mut engine =
        Engine::new(sml::Device::Cuda(0), Params::default(), Some(&statistics()), capacity).unwrap();
    engine.submit_tensor(&logits, picture.size).unwrap().to_host().unwrap()
}

/// cuDNN may choose another algorithm, with sums in another order, from run to run.
fn assert_alike(got: &HostAnomalyMap, want: &HostAnomalyMap, what: &str) {
    assert_eq!((got.score.dim(), &got.non_finite), (want.score.dim(), &want.non_finite), "{what}");
    let pixels = want.score.len() as f64;
    let same = got.prediction.iter().zip(&want.prediction).filter(|(got, want)| got == want).count() as f64;
    assert!(same >= 0.999 * pixels, "{what}: {same} predictions of {pixels}");
    let near = |(got, want): (&f32, &f32)| (got - want).abs() <= 0.02 * want.abs().max(1.0);
    let alike = got.score.iter().zip(&want.score).filter(|&pair| near(pair)).count() as f64;
    assert!(alike >= 0.999 * pixels, "{what}: {alike} scores of {pixels}");
}

#[test]
fn frames_are_the_parts_one_by_one_on_the_pipelines_stream() {
    let Some((device, _turn)) = gpu() else { return };
    let mut pipeline = pipeline(device, PipelineOptions::default());
    let before = current_stream(0).unwrap();
    for (seed, (height, width, padding, format)) in [
        (96, 160, 0, PixelFormat::Rgb8),
        (96, 160, 0, PixelFormat::Rgb8),
        (96, 160, 5, PixelFormat::Bgra8),
        (90, 155, 3, PixelFormat::Bgr8),
        (256, 512, 0, PixelFormat::Bgr8),
    ]
    .into_iter()
    .enumerate()
    {
        let picture = Picture::new(Size::new(height, width), padding, format, seed as u64);
        let what = format!("{:?}", picture.view());
        let want = by_parts(&picture, device);
        for turn in 0..3 {
            let got = owned(&pipeline.run(&picture.view()).unwrap());
            assert_alike(&got, &want, &format!("{what}, turn {turn}"));
        }
        pipeline.submit(&picture.view()).unwrap();
        pipeline.synchronize().unwrap();
        assert_eq!(current_stream(0).unwrap(), before, "libtorch is back on its own stream");
    }
}

/// Pictures follow each other without a wait between them: none takes the place of another.
#[test]
fn frames_given_without_waiting_keep_apart() {
    let Some((device, _turn)) = gpu() else { return };
    let mut pipeline = pipeline(device, PipelineOptions::default());
    let pictures: Vec<Picture> =
        (0..5).map(|seed| Picture::new(Size::new(128, 256), 0, PixelFormat::Bgr8, seed)).collect();
    let wanted: Vec<_> =
        pictures.iter().map(|picture| owned(&pipeline.run(&picture.view()).unwrap())).collect();
    for last in 0..pictures.len() {
        for n in 0..40 {
            pipeline.submit(&pictures[n % 5].view()).unwrap();
        }
        let got = owned(&pipeline.run(&pictures[last].view()).unwrap());
        assert_alike(&got, &wanted[last], &format!("picture {last} behind forty others"));
    }
}

#[test]
fn device_memory_stays_as_it_is() {
    let Some((device, _turn)) = gpu() else { return };
    let mut pipeline = pipeline(device, PipelineOptions::default());
    let picture = Picture::new(Size::new(256, 512), 0, PixelFormat::Rgb8, 1);
    for _ in 0..10 {
        pipeline.run(&picture.view()).unwrap();
    }
    let context = CudaContext::new(0).unwrap();
    context.bind_to_thread().unwrap();
    let free = result::mem_get_info().unwrap().0;
    for _ in 0..100 {
        pipeline.submit(&picture.view()).unwrap();
        pipeline.run(&picture.view()).unwrap();
    }
    assert_eq!(result::mem_get_info().unwrap().0, free);
}

#[test]
fn the_parts_take_some_time_and_the_whole_at_least_as_much() {
    let Some((device, _turn)) = gpu() else { return };
    let mut pipeline = pipeline(device, PipelineOptions { profile: true, ..PipelineOptions::default() });
    let picture = Picture::new(Size::new(1024, 2048), 0, PixelFormat::Bgr8, 1);
    for _ in 0..20 {
        pipeline.run(&picture.view()).unwrap();
    }
    let timings = pipeline.timings().unwrap();
    for (part, time) in timings.rows() {
        assert!(time > Duration::from_nanos(500) && time < Duration::from_secs(1), "{part}: {time:?}");
    }
    let parts = timings.preprocess + timings.backbone + timings.post_processing();
    assert!(parts <= timings.total + Duration::from_micros(50), "{timings:?}");
    let share = timings.post_processing_share().unwrap();
    println!(
        "a frame of 1024 x 2048, without care for the clock: {timings:?}; post-processing {:.2} %",
        100.0 * share
    );
    pipeline.profile(false).unwrap();
    pipeline.run(&picture.view()).unwrap();
    assert_eq!(pipeline.timings().unwrap().total, Duration::ZERO);
}

/// As one graph, and without where that cannot be: the same results either way, with a reason told.
#[test]
fn frames_as_one_graph_are_the_plain_ones() {
    let Some((device, _turn)) = gpu() else { return };
    let told = Arc::new(Mutex::new(Vec::new()));
    let list = Arc::clone(&told);
    let options = PipelineOptions { graph: true, ..PipelineOptions::default() };
    let mut graph =
        pipeline(device, options).on_warning(move |warning| list.lock().unwrap().push(warning.to_string()));
    let mut plain = pipeline(device, PipelineOptions::default());
    let pictures: Vec<Picture> =
        (0..4).map(|seed| Picture::new(Size::new(256, 512), 0, PixelFormat::Bgr8, seed)).collect();
    let wanted: Vec<_> = pictures.iter().map(|picture| owned(&plain.run(&picture.view()).unwrap())).collect();
    for n in 0..60 {
        let got = owned(&graph.run(&pictures[n % 4].view()).unwrap());
        assert_alike(&got, &wanted[n % 4], &format!("frame {n}"));
        if n % 7 == 3 {
            // Others of libtorch's allocations come and go.
            drop(tch::Tensor::zeros([64 << 20], (tch::Kind::Uint8, device)));
            graph.submit(&pictures[n % 4].view()).unwrap();
        }
    }
    assert!(told.lock().unwrap().is_empty(), "{:?}", told.lock().unwrap());
    println!("captured: {}", graph.is_one_graph());
    assert!(graph.is_one_graph());

    let other = Picture::new(Size::new(96, 160), 0, PixelFormat::Rgb8, 9);
    let want = owned(&plain.run(&other.view()).unwrap());
    assert_alike(&owned(&graph.run(&other.view()).unwrap()), &want, "another size");
    assert!(!graph.is_one_graph() && told.lock().unwrap()[0].contains("another size"));
}
