//! libtorch's CUDA half, and the bundled network there.

use std::path::Path;

use sml::cuda::RawStream;
use sml::files::decode_picture;
use sml::torch::{Backbone, choose_device, current_stream, libtorch};
use sml::{Capacity, DeviceRequest, Engine, LogitsShape, Params, Size, demo};
use tch::{Device, Kind, Tensor};

use crate::frames::statistics;
use crate::gpu;
use crate::maps::assert_same;

#[test]
fn libtorch_uses_the_gpu_once_its_cuda_half_is_loaded() {
    let Some((_, _turn)) = gpu() else { return };
    assert!(matches!(libtorch::load_cuda_half(), libtorch::CudaHalf::Loaded(_)));
    assert!(tch::Cuda::is_available());
    assert!(libtorch::gpu_count() > 0);
    assert_eq!(choose_device(DeviceRequest::Auto).unwrap(), Device::Cuda(0));
}

#[test]
fn the_network_gives_the_same_logits_there() {
    let Some((device, _turn)) = gpu() else { return };
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

/// Network and engine one behind the other, with nothing between them: on the default stream and on the engine's own.
#[test]
fn the_engine_runs_behind_the_network_on_either_stream() {
    let Some((device, _turn)) = gpu() else { return };
    let picture = decode_picture(Path::new("00.png"), demo::SCENES[0].picture).unwrap();
    let network = demo::backbone(device).unwrap();
    let input = network.preprocess(&picture).unwrap();
    let (_, classes, h, w) = network.forward(&input).unwrap().size4().unwrap();
    let shape = LogitsShape::new(1, classes as usize, h as usize, w as usize).unwrap();
    let size = Size::new(4 * shape.size.height, 4 * shape.size.width);
    let capacity = Capacity::of(shape, size);
    let statistics = statistics(shape.classes, 3);
    let engine = |device| Engine::new(device, Params::default(), Some(&statistics), capacity).unwrap();
    let (mut there, mut host) = (engine(sml::Device::Cuda(0)), engine(sml::Device::Cpu));
    let mut compare = |logits: Tensor, got: sml::torch::HostAnomalyMap, what: &str| {
        let want = host.submit_tensor(&logits.to_device(Device::Cpu), size).unwrap().to_host().unwrap();
        assert_same(&got, &want, Params::default().score, what);
    };

    for turn in 0..5 {
        let logits = network.forward(&input).unwrap();
        let got = there.submit_tensor(&logits, size).unwrap().to_host().unwrap();
        compare(logits, got, &format!("turn {turn} on the default stream"));
    }
    let own = there.stream().unwrap();
    for turn in 0..5 {
        let guard = there.stream_guard().unwrap();
        assert_eq!(current_stream(0).unwrap(), own);
        let logits = network.forward(&input).unwrap();
        let got = there.submit_tensor(&logits, size).unwrap().to_host().unwrap();
        compare(logits, got, &format!("turn {turn} on the engine's stream"));
        drop(guard);
        assert_eq!(current_stream(0).unwrap(), RawStream::DEFAULT);
    }
}
