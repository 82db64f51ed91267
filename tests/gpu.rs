//! What needs an NVIDIA GPU. Without one these tests print that they are skipped, or fail when `SML_REQUIRE_GPU=1`.
#![cfg(all(feature = "torch", feature = "cuda"))]
#![allow(clippy::unwrap_used, reason = "clippy's exception covers test functions only")]

use std::path::Path;

use sml::files::decode_picture;
use sml::torch::{Backbone, HostAnomalyMap, OutputTensors, choose_device, libtorch};
use sml::{Capacity, ClassStatistics, DeviceRequest, Engine, Error, LogitsShape, Params, Size, demo};
use tch::{Device, IndexOp, Kind, Tensor};

/// The first GPU, or `None` and the reason.
fn gpu() -> Option<Device> {
    match choose_device(DeviceRequest::Cuda(0)) {
        Ok(device) => Some(device),
        Err(error) => {
            let required = std::env::var_os("SML_REQUIRE_GPU").is_some_and(|value| value == "1");
            assert!(!required, "SML_REQUIRE_GPU=1 and {error}");
            println!("skipped: {error}");
            None
        }
    }
}

#[test]
fn libtorch_uses_the_gpu_once_its_cuda_half_is_loaded() {
    if gpu().is_none() {
        return;
    }
    assert!(matches!(libtorch::load_cuda_half(), libtorch::CudaHalf::Loaded(_)));
    assert!(tch::Cuda::is_available());
    assert!(libtorch::gpu_count() > 0);
    assert_eq!(choose_device(DeviceRequest::Auto).unwrap(), Device::Cuda(0));
}

#[test]
fn the_network_gives_the_same_logits_there() {
    let Some(device) = gpu() else { return };
    let picture = decode_picture(Path::new("00.png"), demo::SCENES[0].picture).unwrap();
    let logits = [Device::Cpu, device].map(|device| {
        let network = demo::backbone(device).unwrap();
        let logits = network.forward(&network.preprocess(&picture).unwrap()).unwrap();
        assert_eq!(logits.device(), device);
        logits.to_device(Device::Cpu)
    });
    let [host, there] = &logits;
    let difference = (host - there).abs().max().double_value(&[]);
    let scale = host.abs().max().double_value(&[]);
    // TF32 is off by default in libtorch's matrix products but on in its convolutions: 10 bits of mantissa.
    assert!(difference <= 1e-2 * scale, "logits differ by up to {difference}, of {scale}");
    let same = host.argmax(1, false).eq_tensor(&there.argmax(1, false)).to_kind(Kind::Double).mean(None);
    assert!(same.double_value(&[]) > 0.99, "predictions agree on {same:?} of the pixels");
}

const SHAPE: [i64; 4] = [2, 19, 24, 40];
const SIZE: Size = Size::new(48, 80);

fn engine(device: sml::Device) -> Engine {
    let statistics =
        ClassStatistics::from_vectors(&[1.5; 19], &[0.3; 19], sml::Provenance::default()).unwrap();
    let shape = LogitsShape::new(2, 19, 24, 40).unwrap();
    Engine::new(device, Params::default(), Some(&statistics), Capacity::of(shape, SIZE)).unwrap()
}

fn same(got: &HostAnomalyMap, want: &HostAnomalyMap) -> bool {
    let bits = |map: &HostAnomalyMap| map.score.mapv(f32::to_bits);
    bits(got) == bits(want) && got.prediction == want.prediction && got.non_finite == want.non_finite
}

/// What the CPU engine makes of the same tensor.
fn on_cpu(logits: &Tensor) -> HostAnomalyMap {
    engine(sml::Device::Cpu).submit_tensor(&logits.to_device(Device::Cpu), SIZE).unwrap().to_host().unwrap()
}

#[test]
fn tensors_there_give_the_cpus_result_in_every_element_type_and_layout() {
    let Some(device) = gpu() else { return };
    let mut engine = engine(sml::Device::Cuda(0));
    for kind in [Kind::Float, Kind::Half, Kind::BFloat16] {
        let packed = Tensor::randn(SHAPE, (Kind::Float, device)).to_kind(kind);
        let channels_last = packed.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]);
        let sliced = Tensor::cat(&[&packed, &packed], 3).i((.., .., .., 3..43));
        for logits in [&packed, &channels_last, &sliced, &packed.i(..1)] {
            let got = engine.submit_tensor(logits, SIZE).unwrap().to_host().unwrap();
            assert!(same(&got, &on_cpu(logits)), "{kind:?}, strides {:?}", logits.stride());
        }
        let size = [2, SIZE.height as i64, SIZE.width as i64];
        let mut score = Tensor::full(size, f64::NAN, (Kind::Half, device));
        let mut prediction = Tensor::full(size, 200, (Kind::Uint8, device));
        let mut non_finite = Tensor::full([2], -1, (Kind::Int64, device));
        let output =
            OutputTensors { score: &mut score, prediction: &mut prediction, non_finite: &mut non_finite };
        engine.submit_tensor_into(&packed, output).unwrap();
        let want = engine.submit_tensor(&packed, SIZE).unwrap();
        assert!(score.equal(&want.score.to_kind(Kind::Half)), "{kind:?}: float16 scores");
        assert!(prediction.equal(want.prediction) && non_finite.equal(want.non_finite), "{kind:?}");
    }
}

/// Logits that take the GPU a while, so that a frame given to another stream would read what was there before.
fn slow_logits(device: Device, turn: i64) -> Tensor {
    let mut mixed = Tensor::randn([2048, 2048], (Kind::Float, device));
    let turned = Tensor::randn([2048, 2048], (Kind::Float, device)) / 2048_f64.sqrt();
    for _ in 0..20 {
        mixed = mixed.matmul(&turned);
    }
    let elements: i64 = SHAPE.iter().product();
    (mixed.flatten(0, -1).i(turn..turn + elements).view(SHAPE) / mixed.std(false)).contiguous()
}

#[test]
fn frames_come_behind_the_network_on_its_stream_and_nobody_waits() {
    let Some(device) = gpu() else { return };
    let mut engine = engine(sml::Device::Cuda(0));
    for own_stream in [false, true] {
        let guard = own_stream.then(|| engine.stream_guard().unwrap());
        for turn in 0..10 {
            let logits = slow_logits(device, turn);
            // The result is read by libtorch on the same stream, after the logits' memory went back to its allocator
            // and to the next tensor.
            let kept = {
                let given = logits.copy();
                let map = engine.submit_tensor(&given, SIZE).unwrap();
                [map.score.copy(), map.prediction.copy()]
            };
            let _overwrites = Tensor::full(SHAPE, 1e9, (Kind::Float, device));
            let want = on_cpu(&logits);
            let score = Vec::<f32>::try_from(kept[0].to_device(Device::Cpu).flatten(0, -1)).unwrap();
            let prediction = Vec::<u8>::try_from(kept[1].to_device(Device::Cpu).flatten(0, -1)).unwrap();
            assert!(score.iter().eq(&want.score), "frame {turn}, own stream: {own_stream}");
            assert!(prediction.iter().eq(&want.prediction), "frame {turn}, own stream: {own_stream}");
        }
        drop(guard);
    }
}

#[test]
fn engines_on_several_threads_do_not_disturb_each_other() {
    let Some(device) = gpu() else { return };
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || {
                let mut engine = engine(sml::Device::Cuda(0));
                for turn in 0..25 {
                    let logits = Tensor::randn(SHAPE, (Kind::Float, device)) * f64::from(1 + thread);
                    let got = engine.submit_tensor(&logits, SIZE).unwrap().to_host().unwrap();
                    assert!(same(&got, &on_cpu(&logits)), "thread {thread}, frame {turn}");
                }
            });
        }
    });
}

#[test]
fn a_tensor_on_another_device_is_refused_and_the_engine_goes_on() {
    let Some(device) = gpu() else { return };
    let there = Tensor::randn(SHAPE, (Kind::Float, device));
    let here = there.to_device(Device::Cpu);
    for (place, wrong, right) in [(sml::Device::Cuda(0), &here, &there), (sml::Device::Cpu, &there, &here)] {
        let mut engine = engine(place);
        let error = engine.submit_tensor(wrong, SIZE).map(|_| ()).unwrap_err();
        assert!(matches!(error, Error::Device { .. }), "{error}");
        assert!(same(&engine.submit_tensor(right, SIZE).unwrap().to_host().unwrap(), &on_cpu(&there)));
    }
}
