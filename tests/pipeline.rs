//! Whole frames on the CPU: the same result as its parts one by one, for every size and format of the picture.
#![cfg(feature = "torch")]
#![allow(clippy::unwrap_used, reason = "functions that tests share fail as tests do")]

#[path = "pictures/mod.rs"]
mod pictures;

use std::sync::{Arc, Mutex};

use pictures::{Picture, imagenet};
use sml::torch::{
    Backbone, HostAnomalyMap, InputFormat, Pipeline, PipelineOptions, PostProcessor, Precision,
};
use sml::{
    AnomalyMap, Capacity, ChannelOrder, ClassStatistics, Device, Engine, Error, LogitsShape, Params,
    PixelFormat, Preprocessing, Provenance, Result, Score, Size, demo,
};
use tch::{Kind, Tensor};

fn statistics() -> ClassStatistics {
    ClassStatistics::from_json(demo::STATISTICS).unwrap()
}

fn pipeline() -> Pipeline {
    let network = demo::backbone(tch::Device::Cpu).unwrap();
    Pipeline::new(Box::new(network), Params::default(), Some(statistics()), PipelineOptions::default())
        .unwrap()
}

fn owned(map: &AnomalyMap<'_>) -> HostAnomalyMap {
    HostAnomalyMap {
        score: map.score.to_owned(),
        prediction: map.prediction.to_owned(),
        non_finite: map.non_finite.to_vec(),
    }
}

fn assert_same(got: &HostAnomalyMap, want: &HostAnomalyMap, what: &str) {
    assert_eq!(got.prediction, want.prediction, "{what}");
    assert_eq!(got.non_finite, want.non_finite, "{what}");
    let bits = |map: &HostAnomalyMap| map.score.iter().map(|score| score.to_bits()).collect::<Vec<_>>();
    assert!(got.score.dim() == want.score.dim() && bits(got) == bits(want), "{what}: scores differ");
}

/// The parts one by one, as a program without the pipeline calls them.
fn by_parts(network: &dyn Backbone, picture: &Picture) -> HostAnomalyMap {
    let packed = picture.rearranged(PixelFormat::Rgb8, 0);
    let (height, width) = (picture.size.height as u32, picture.size.width as u32);
    let image = image::RgbImage::from_raw(width, height, packed.data).unwrap();
    let logits = network.forward(&network.preprocess(&image).unwrap()).unwrap();
    let (n, c, h, w) = logits.size4().unwrap();
    let shape = LogitsShape::new(n as usize, c as usize, h as usize, w as usize).unwrap();
    let params = Params { align_corners: network.align_corners(), ..Params::default() };
    let capacity = Capacity::of(shape, picture.size);
    let mut engine = Engine::new(Device::Cpu, params, Some(&statistics()), capacity).unwrap();
    engine.submit_tensor(&logits, picture.size).unwrap().to_host().unwrap()
}

#[test]
fn frames_are_the_parts_one_by_one() {
    let network = demo::backbone(tch::Device::Cpu).unwrap();
    let mut pipeline = pipeline();
    for (seed, (height, width, padding, format)) in [
        (48, 64, 0, PixelFormat::Rgb8),
        (48, 64, 7, PixelFormat::Bgra8),
        (48, 64, 0, PixelFormat::Rgb8),
        (50, 61, 3, PixelFormat::Bgr8),
        (1, 1, 0, PixelFormat::Rgba8),
        (48, 64, 1, PixelFormat::Bgr8),
    ]
    .into_iter()
    .enumerate()
    {
        let picture = Picture::new(Size::new(height, width), padding, format, seed as u64);
        let what = format!("{:?}", picture.view());
        let want = by_parts(&network, &picture);
        assert_same(&owned(&pipeline.run(&picture.view()).unwrap()), &want, &what);
        let tensors = pipeline.submit(&picture.view()).unwrap().to_host().unwrap();
        assert_same(&tensors, &want, &format!("{what}, in tensors"));
        pipeline.synchronize().unwrap();
    }
}

#[test]
fn a_warm_pipeline_has_its_engine_and_gives_the_same() {
    let (mut warm, mut cold) = (pipeline(), pipeline());
    let picture = Picture::new(Size::new(50, 61), 0, PixelFormat::Rgb8, 9);
    assert!(warm.post_processor().engine().is_none());
    warm.warm_up(picture.size).unwrap();
    assert!(warm.post_processor().engine().is_some());
    let want = owned(&cold.run(&picture.view()).unwrap());
    assert_same(&owned(&warm.run(&picture.view()).unwrap()), &want, "after the warm-up");
    assert!(warm.warm_up(Size::new(0, 8)).is_err());
}

/// What libtorch's own operations make of a picture: to a bit where the size stays. Where it changes, libtorch computes the
/// positions in float32, which moves a pixel's weights by up to its position's rounding.
#[test]
fn preprocessing_agrees_with_libtorch() {
    for (size, target, tolerance) in [
        (Size::new(40, 72), Size::new(40, 72), 0.0),
        (Size::new(30, 61), Size::new(32, 64), 1e-6),
        (Size::new(90, 130), Size::new(40, 50), 1e-6),
        (Size::new(360, 640), Size::new(512, 1024), 1e-5),
    ] {
        for channel_order in [ChannelOrder::Rgb, ChannelOrder::Bgr] {
            let preprocessing = Preprocessing { input_size: Some(target), channel_order, ..imagenet() };
            let picture = Picture::new(size, 0, PixelFormat::Rgb8, 5);
            let (height, width) = (size.height as i64, size.width as i64);
            let rows = Tensor::from_slice(&picture.data).view([1, height, width, 3]);
            let mut planes = rows.permute([0, 3, 1, 2]).to_kind(Kind::Float);
            if channel_order == ChannelOrder::Bgr {
                planes = planes.flip([1]);
            }
            if target != size {
                let target = [target.height as i64, target.width as i64];
                planes = planes.internal_upsample_bilinear2d_aa(target, false, None, None);
            }
            let channels =
                |values: [f64; 3]| Tensor::from_slice(&values.map(|v| v as f32)).view([1, 3, 1, 1]);
            let want =
                (planes * preprocessing.scale - channels(preprocessing.mean)) / channels(preprocessing.std);
            let image = image::RgbImage::from_raw(width as u32, height as u32, picture.data).unwrap();
            let got = preprocessing.apply(&image, tch::Device::Cpu).unwrap();
            let error = (got - want).abs().max().double_value(&[]) * 0.229;
            assert!(error <= tolerance, "{size} -> {target}, {channel_order:?}: {error}");
        }
    }
}

/// Element type and strides of an input.
type Form = (Kind, Vec<i64>);

/// A network of one's own: its logits are its input, and it tells what that looked like.
struct Mirror {
    preprocessing: Preprocessing,
    format: InputFormat,
    class_names: Vec<String>,
    fails: bool,
    seen: Arc<Mutex<Vec<Form>>>,
}

impl Mirror {
    fn new(format: InputFormat) -> Self {
        let class_names = ["red", "green", "blue"].map(str::to_owned).into();
        Self { preprocessing: imagenet(), format, class_names, fails: false, seen: Arc::default() }
    }
}

impl Backbone for Mirror {
    fn name(&self) -> &str {
        "mirror"
    }
    fn class_names(&self) -> &[String] {
        &self.class_names
    }
    fn output_stride(&self) -> usize {
        1
    }
    fn align_corners(&self) -> bool {
        true
    }
    fn device(&self) -> tch::Device {
        tch::Device::Cpu
    }
    fn preprocessing(&self) -> &Preprocessing {
        &self.preprocessing
    }
    fn input_format(&self) -> InputFormat {
        self.format
    }
    fn digest(&self) -> &str {
        ""
    }
    fn logits(&self, input: &Tensor) -> Result<Tensor> {
        self.seen.lock().unwrap().push((input.kind(), input.stride()));
        if self.fails {
            let message = "as the test asked for".to_owned();
            return Err(Error::Torch { action: "mirror".to_owned(), message });
        }
        Ok(input.shallow_clone())
    }
}

fn mirror_pipeline(network: Mirror) -> Pipeline {
    let params = Params { score: Score::MaxLogit, ..Params::default() };
    Pipeline::new(Box::new(network), params, None, PipelineOptions::default()).unwrap()
}

#[test]
fn the_input_is_made_in_the_networks_own_form() {
    let picture = Picture::new(Size::new(6, 10), 2, PixelFormat::Bgr8, 1);
    for (precision, kind) in
        [(Precision::F32, Kind::Float), (Precision::F16, Kind::Half), (Precision::Bf16, Kind::BFloat16)]
    {
        for (channels_last, strides) in [(false, [180, 60, 10, 1]), (true, [180, 1, 30, 3])] {
            let network = Mirror::new(InputFormat { precision, channels_last });
            let seen = Arc::clone(&network.seen);
            let mut pipeline = mirror_pipeline(network);
            assert!(pipeline.post_processor().params().align_corners, "the network's grid is taken");
            let map = owned(&pipeline.run(&picture.view()).unwrap());
            assert_eq!(*seen.lock().unwrap(), [(kind, strides.to_vec())]);
            assert_eq!(map.score.dim(), (1, 6, 10));
        }
    }
}

/// A frame loop has a thread of its own, and may be built before it is started.
#[test]
fn a_pipeline_may_go_to_another_thread() {
    let mut pipeline = pipeline();
    let picture = Picture::new(Size::new(24, 40), 0, PixelFormat::Rgb8, 3);
    let here = owned(&pipeline.run(&picture.view()).unwrap());
    let view = picture.clone();
    let there = std::thread::spawn(move || owned(&pipeline.run(&view.view()).unwrap())).join().unwrap();
    assert_same(&there, &here, "on another thread");
}

#[test]
fn after_an_error_the_pipeline_goes_on() {
    let mut pipeline = pipeline();
    let picture = Picture::new(Size::new(32, 40), 0, PixelFormat::Rgb8, 3);
    let want = owned(&pipeline.run(&picture.view()).unwrap());
    // Statistics of another network.
    let three = ClassStatistics::from_vectors(&[1.0; 3], &[1.0; 3], Provenance::default()).unwrap();
    let network = demo::backbone(tch::Device::Cpu).unwrap();
    let mut wrong =
        Pipeline::new(Box::new(network), Params::default(), Some(three), PipelineOptions::default()).unwrap();
    for _ in 0..2 {
        assert!(matches!(wrong.run(&picture.view()), Err(Error::InvalidStatistics { .. })));
    }
    let failing = Mirror { fails: true, ..Mirror::new(InputFormat::default()) };
    assert!(matches!(mirror_pipeline(failing).run(&picture.view()), Err(Error::Torch { .. })));
    assert_same(&owned(&pipeline.run(&picture.view()).unwrap()), &want, "again");
}

#[test]
fn timings_cover_the_frame() {
    let mut pipeline = pipeline();
    assert_eq!(pipeline.timings().unwrap(), Default::default());
    assert_eq!(pipeline.timings().unwrap().post_processing_share(), None);
    let picture = Picture::new(Size::new(64, 96), 0, PixelFormat::Rgb8, 3);
    for in_tensors in [false, true] {
        if in_tensors {
            pipeline.submit(&picture.view()).unwrap();
        } else {
            pipeline.run(&picture.view()).unwrap();
        }
        let timings = pipeline.timings().unwrap();
        assert!(timings.rows().iter().all(|(_, time)| !time.is_zero()), "{timings:?}");
        assert!(timings.preprocess + timings.backbone + timings.post_processing() <= timings.total);
        let share = timings.post_processing_share().unwrap();
        assert!(share > 0.0 && share < 1.0, "{share}");
    }
}

/// Classes without statistics are told once, however often the engine is built.
#[test]
fn warnings_come_once() {
    let shown = Arc::new(Mutex::new(Vec::new()));
    let list = Arc::clone(&shown);
    let text = r#"{"mean": [1.0, null, 2.0], "variance": [1.0, null, 2.0]}"#;
    let statistics = ClassStatistics::from_json(text).unwrap();
    let mut post_processor = PostProcessor::new(Params::default(), Some(statistics))
        .on_warning(move |warning| list.lock().unwrap().push(warning.to_string()));
    for side in [8, 12, 8] {
        let logits = Tensor::zeros([1, 3, side, side], (Kind::Float, tch::Device::Cpu));
        let size = Size::new(side as usize, side as usize);
        post_processor.submit_tensor(&logits, size).unwrap();
    }
    assert_eq!(shown.lock().unwrap().len(), 1);
    let flat = Tensor::zeros([3, 8, 8], (Kind::Float, tch::Device::Cpu));
    assert!(matches!(post_processor.submit_tensor(&flat, Size::new(8, 8)), Err(Error::Shape { .. })));
}
