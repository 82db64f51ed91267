//! What needs an NVIDIA GPU. Without one these tests print that they are skipped, or fail when `SML_REQUIRE_GPU=1`.
#![cfg(feature = "torch")]
#![allow(clippy::unwrap_used, reason = "clippy's exception covers test functions only")]

use std::path::Path;

use sml::files::decode_picture;
use sml::torch::{Backbone, choose_device, libtorch};
use sml::{DeviceRequest, demo};
use tch::{Device, Kind};

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
