//! Moments of max logits measured there against those of the host.

use sml::cuda::CudaStatisticsAccumulator;
use sml::torch::{DeviceStatistics, current_stream};
use sml::{Params, Provenance, Score, StatisticsAccumulator};
use tch::{Kind, Tensor};

use crate::gpu;
use crate::maps::{engine_there, frame, tensor};

#[test]
fn moments_there_are_those_of_the_host() {
    let Some((device, _turn)) = gpu() else { return };
    let params = Params { score: Score::MaxLogit, suppression: None, smoothing: None, ..Params::default() };
    let mut runs = [(); 2].map(|()| {
        let mut there = CudaStatisticsAccumulator::new(0, 19).unwrap();
        let mut host = StatisticsAccumulator::new(19);
        for (seed, size) in [(1, (256, 512)), (2, (37, 91)), (3, (1, 1)), (4, (1024, 2048))] {
            let frame = frame([1, 19, size.0, size.1], size, params, seed);
            let logits = tensor(&frame, Kind::Float).to_device(device);
            if seed == 2 {
                // A pixel without a finite max logit is left out by both.
                let _ = logits.select(1, 3).select(1, 5).fill_(f64::INFINITY);
            }
            let mut engine = engine_there(&frame, false);
            let map = engine.submit_tensor(&logits, frame.size).unwrap();
            let (score, prediction) = (map.score.shallow_clone(), map.prediction.shallow_clone());
            let addresses = (score.data_ptr() as u64, prediction.data_ptr() as u64);
            // SAFETY: both maps are of this GPU, hold that many pixels, and live until `read` returns; the stream is
            // the one that they are written on.
            unsafe {
                let stream = current_stream(0).unwrap();
                there.add(addresses.0, addresses.1, frame.size.pixels(), true, stream).unwrap();
            }
            let max_logits: Vec<f32> = host_copy(&score).into_iter().map(|v: f32| -v).collect();
            host.add(&max_logits, &host_copy::<u8>(&prediction)).unwrap();
            there.read().unwrap();
        }
        (there.read().unwrap(), host)
    });
    let (again, _) = runs[1].clone();
    let (there, host) = &mut runs[0];
    assert!(there.non_finite() == host.non_finite() && host.non_finite() > 0);
    let [there, again, host] =
        [&*there, &again, &*host].map(|accumulator| accumulator.finish(Provenance::default()));
    assert_eq!(there.classes(), again.classes(), "the same images in the same order give the same bits");
    for (class, (got, want)) in there.classes().iter().zip(host.classes()).enumerate() {
        assert_eq!(got.count, want.count, "class {class}");
        for (got, want) in [(got.mean, want.mean), (got.variance, want.variance)] {
            let close = match (got, want) {
                (Some(got), Some(want)) => (got - want).abs() <= 1e-10 * want.abs().max(1.0),
                (got, want) => got == want,
            };
            assert!(close, "class {class}: {got:?} and not {want:?}");
        }
    }
}

/// What `sml calibrate` does there: batch by batch, whatever came before.
#[test]
fn batches_are_measured_alone_and_give_the_same_bits() {
    let Some((device, _turn)) = gpu() else { return };
    let params = Params { score: Score::MaxLogit, suppression: None, smoothing: None, ..Params::default() };
    let mut there = DeviceStatistics::new(0, 19, params.align_corners).unwrap();
    let mut first = None;
    for (seed, size) in [(1, (128, 256)), (2, (37, 91)), (1, (128, 256))] {
        let frame = frame([2, 19, size.0 / 4 + 1, size.1 / 4 + 1], size, params, seed);
        let logits = tensor(&frame, Kind::Float).to_device(device);
        let got = there.measure(&logits, frame.size).unwrap();
        let mut engine = engine_there(&frame, false);
        let map = engine.submit_tensor(&logits, frame.size).unwrap();
        let max_logits: Vec<f32> = host_copy(map.score).into_iter().map(|v: f32| -v).collect();
        let mut host = StatisticsAccumulator::new(19);
        host.add(&max_logits, &host_copy::<u8>(map.prediction)).unwrap();
        let [on_gpu, on_host] = [&got, &host].map(|sums| sums.finish(Provenance::default()));
        for (got, want) in on_gpu.classes().iter().zip(on_host.classes()) {
            assert_eq!(got.count, want.count);
            for (got, want) in [(got.mean, want.mean), (got.variance, want.variance)] {
                let close =
                    got.zip(want).is_none_or(|(got, want)| (got - want).abs() <= 1e-10 * want.abs().max(1.0));
                assert!(close && got.is_some() == want.is_some(), "{got:?} and not {want:?}");
            }
        }
        match (&first, seed) {
            (None, _) => first = Some(got),
            (Some(first), 1) => assert_eq!(&got, first, "the same batch again, behind another"),
            _ => {}
        }
    }
    let wrong = tensor(&frame([1, 3, 8, 8], (8, 8), params, 1), Kind::Float).to_device(device);
    let error = there.measure(&wrong, sml::Size::new(8, 8)).unwrap_err();
    assert!(matches!(error, sml::Error::Shape { .. }), "{error}");
}

fn host_copy<T>(tensor: &Tensor) -> Vec<T>
where
    Vec<T>: TryFrom<Tensor>,
    <Vec<T> as TryFrom<Tensor>>::Error: std::fmt::Debug,
{
    Vec::try_from(tensor.to_device(tch::Device::Cpu).flatten(0, -1)).unwrap()
}
