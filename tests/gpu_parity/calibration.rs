//! Moments of max logits measured on the GPU against those measured on the CPU.

use std::sync::Arc;

use cudarc::driver::{CudaStream, DevicePtr};
use sml::cuda::{CudaStatisticsAccumulator, RawStream};
use sml::{ClassStatistics, Provenance, StatisticsAccumulator};

use crate::on_gpu::gpu;

const CLASSES: usize = 19;

/// Max logits in regions of one class, a few of them not finite. Class 18 never occurs.
fn image(pixels: usize, seed: usize) -> (Vec<f32>, Vec<u8>) {
    let class = |i: usize| ((i / 37 + seed) * 7 % (CLASSES - 1)) as u8;
    let value = |i: usize| match i % 1009 {
        500 => f32::NAN,
        501 => f32::INFINITY,
        _ => 1000.0 + f32::from(class(i)) + ((i * 31 + seed * 17) % 101) as f32 / 64.0,
    };
    ((0..pixels).map(value).collect(), (0..pixels).map(class).collect())
}

#[allow(unsafe_code, reason = "the accumulator is given plain addresses")]
fn on_gpu(images: &[(Vec<f32>, Vec<u8>)], negated: bool, stream: &Arc<CudaStream>) -> (ClassStatistics, u64) {
    let mut accumulator = CudaStatisticsAccumulator::new(0, CLASSES).unwrap();
    for (values, predictions) in images {
        let map: Vec<f32> = values.iter().map(|&value| if negated { -value } else { value }).collect();
        let (map, prediction) = (stream.clone_htod(&map).unwrap(), stream.clone_htod(predictions).unwrap());
        let (map_at, prediction_at) = (map.device_ptr(stream).0, prediction.device_ptr(stream).0);
        // SAFETY: both maps hold as many pixels, live until `read` has waited for the work, and were copied on the same
        // stream, CUDA's default one; the predictions are below 19.
        unsafe { accumulator.add(map_at, prediction_at, values.len(), negated, RawStream::DEFAULT) }.unwrap();
        let sums = accumulator.read().unwrap();
        assert!(sums.non_finite() > 0 || values.len() < 500);
    }
    let sums = accumulator.read().unwrap();
    (sums.finish(Provenance::default()), sums.non_finite())
}

#[test]
fn small_calibrations_agree_with_the_cpu_and_repeat_to_the_bit() {
    let Some(stream) = gpu() else { return };
    let sizes: [&[usize]; 3] = [&[1], &[2, 777, 31], &[70_001, 640, 3]];
    for sizes in sizes {
        let images: Vec<_> = sizes.iter().enumerate().map(|(seed, &pixels)| image(pixels, seed)).collect();
        let mut host = StatisticsAccumulator::new(CLASSES);
        images.iter().for_each(|(values, predictions)| host.add(values, predictions).unwrap());
        let want = host.finish(Provenance::default());
        for negated in [false, true] {
            let (got, left_out) = on_gpu(&images, negated, &stream);
            assert_eq!(left_out, host.non_finite(), "{sizes:?}");
            for (class, (got, want)) in got.classes().iter().zip(want.classes()).enumerate() {
                assert_eq!(got.count, want.count, "{sizes:?}, class {class}");
                let pairs = [(got.mean, want.mean), (got.variance, want.variance)];
                for (got, want) in pairs {
                    assert_eq!(got.is_some(), want.is_some(), "{sizes:?}, class {class}");
                    let (got, want) = (got.unwrap_or_default(), want.unwrap_or_default());
                    let allowed = 1e-11 * want.abs().max(1.0);
                    assert!((got - want).abs() <= allowed, "{sizes:?}, class {class}: {got} and not {want}");
                }
            }
            assert_eq!(
                on_gpu(&images, negated, &stream).0,
                got,
                "{sizes:?}: the same images give other bits"
            );
        }
    }
}
