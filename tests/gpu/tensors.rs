//! Tensors there as logits and results: the CPU engine's result, whatever their kind and order, frame after frame.

use cudarc::driver::{CudaContext, result};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use sml::{Engine, Error, Layout, Logits, Params, Score, Size, Temperature};
use tch::{Device, IndexOp, Kind, Tensor};

use crate::frames::{Frame, frames};
use crate::gpu;
use crate::maps::{KINDS, Outputs, assert_same, channels_last, engine_there, frame, on_host, tensor};

/// Checks both ways of submitting, for every kind and order of memory.
fn check(frame: &Frame, engine: &mut Engine, device: Device) {
    for kind in KINDS {
        let packed = tensor(frame, kind);
        let want = on_host(frame, &packed);
        let wider = Tensor::full(
            packed.size().iter().map(|length| length + 3).collect::<Vec<_>>(),
            f64::NAN,
            (kind, Device::Cpu),
        );
        let (n, c, h, w) = packed.size4().unwrap();
        let within = wider.to_device(device).i((1..n + 1, 2..c + 2, 1..h + 1, 3..w + 3));
        within.shallow_clone().copy_(&packed);
        let there = packed.to_device(device);
        for (logits, order) in [
            (there.shallow_clone(), "packed"),
            (channels_last(&there), "channels_last"),
            (within, "within a larger tensor"),
            (there.transpose(2, 3).contiguous().transpose(2, 3), "columns first"),
        ] {
            let what =
                format!("{kind:?}, {order}, {:?} -> {}, {:?}", frame.shape(), frame.size, frame.params);
            let got = engine.submit_tensor(&logits, frame.size).unwrap().to_host().unwrap();
            assert_same(&got, &want, frame.params.score, &what);
            let mut outputs = Outputs::of(frame, Kind::Float, device);
            engine.submit_tensor_into(&logits, outputs.lend()).unwrap();
            assert_same(&outputs.to_host(), &want, frame.params.score, &what);
        }
    }
}

#[test]
fn random_frames_agree_with_the_cpu_engine() {
    let Some((device, _turn)) = gpu() else { return };
    let config = ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() };
    TestRunner::new(config)
        .run(&(frames(), any::<bool>()), |(frame, graph)| {
            check(&frame, &mut engine_there(&frame, graph), device);
            Ok(())
        })
        .unwrap();
}

#[test]
fn every_score_at_the_usual_sizes() {
    let Some((device, _turn)) = gpu() else { return };
    let scores = [
        Score::Sml,
        Score::MaxLogit,
        Score::Msp,
        Score::Entropy,
        Score::Energy(Temperature::new(1.5).unwrap()),
    ];
    for score in scores {
        for (logits, size) in
            [([2, 19, 96, 160], (96, 160)), ([1, 19, 64, 128], (256, 512)), ([1, 19, 33, 65], (257, 513))]
        {
            let params = Params { score, ..Params::default() };
            let frame = frame(logits, size, params, 11);
            check(&frame, &mut engine_there(&frame, false), device);
        }
    }
}

#[test]
fn a_frame_of_the_size_that_is_measured() {
    let Some((device, _turn)) = gpu() else { return };
    for (logits, size) in [([1, 19, 1024, 2048], (1024, 2048)), ([1, 19, 256, 512], (1024, 2048))] {
        let frame = frame(logits, size, Params::default(), 23);
        let mut engine = engine_there(&frame, false);
        for kind in [Kind::Float, Kind::Half] {
            let logits = tensor(&frame, kind);
            let got = engine.submit_tensor(&logits.to_device(device), frame.size).unwrap().to_host().unwrap();
            assert_same(
                &got,
                &on_host(&frame, &logits),
                frame.params.score,
                &format!("{kind:?} {:?}", frame.shape()),
            );
        }
    }
}

#[test]
fn float16_scores_are_the_float32_ones_rounded() {
    let Some((device, _turn)) = gpu() else { return };
    for params in [
        Params::default(),
        Params { smoothing: None, ..Params::default() },
        Params { smoothing: None, suppression: None, ..Params::default() },
    ] {
        let frame = frame([2, 19, 40, 72], (80, 144), params, 5);
        let logits = tensor(&frame, Kind::Half);
        let mut want = on_host(&frame, &logits);
        want.score.mapv_inplace(|v| half::f16::from_f32(v).to_f32());
        let mut outputs = Outputs::of(&frame, Kind::Half, device);
        engine_there(&frame, false).submit_tensor_into(&logits.to_device(device), outputs.lend()).unwrap();
        assert_same(&outputs.to_host(), &want, frame.params.score, "float16 scores");
    }
}

/// Addresses change from frame to frame, plainly and in a graph; device memory stays as it is.
#[test]
fn many_frames_at_changing_addresses() {
    let Some((device, _turn)) = gpu() else { return };
    let frames: Vec<Frame> =
        (0..7).map(|seed| frame([1, 19, 64, 128], (256, 512), Params::default(), seed)).collect();
    let logits: Vec<Tensor> =
        frames.iter().map(|frame| tensor(frame, Kind::Half).to_device(device)).collect();
    let wanted: Vec<_> = frames.iter().zip(&logits).map(|(frame, logits)| on_host(frame, logits)).collect();
    let context = CudaContext::new(0).unwrap();
    for graph in [false, true] {
        let mut engine = engine_there(&frames[0], graph);
        let mut outputs: Vec<Outputs> =
            (0..5).map(|_| Outputs::of(&frames[0], Kind::Float, device)).collect();
        engine.submit_tensor_into(&logits[0], outputs[0].lend()).unwrap();
        engine.synchronize().unwrap();
        context.bind_to_thread().unwrap();
        let free = result::mem_get_info().unwrap().0;
        for n in 0..350 {
            let output = &mut outputs[n % 5];
            engine.submit_tensor_into(&logits[n % 7], output.lend()).unwrap();
            if n % 50 > 44 {
                let what = format!("frame {n}, graph {graph}");
                assert_same(&output.to_host(), &wanted[n % 7], Score::Sml, &what);
            }
        }
        engine.synchronize().unwrap();
        assert_eq!(result::mem_get_info().unwrap().0, free, "device memory changed, graph {graph}");
    }
}

#[test]
fn pixels_with_non_finite_logits_are_counted_there() {
    let Some((device, _turn)) = gpu() else { return };
    let frame = frame([2, 5, 20, 30], (20, 30), Params::default(), 3);
    let logits = tensor(&frame, Kind::Float);
    for (at, value) in
        [((0, 0, 0, 0), f64::NAN), ((1, 4, 19, 29), f64::INFINITY), ((1, 2, 7, 7), f64::NEG_INFINITY)]
    {
        let _ = logits.i(at).fill_(value);
    }
    let mut engine = engine_there(&frame, false);
    // Twice: the counters are zero again after a frame.
    for _ in 0..2 {
        let got = engine.submit_tensor(&logits.to_device(device), frame.size).unwrap().to_host().unwrap();
        assert_same(&got, &on_host(&frame, &logits), Score::Sml, "broken logits");
        assert_eq!(got.non_finite, [1, 2]);
    }
}

#[test]
fn what_lies_elsewhere_is_refused() {
    let Some((device, _turn)) = gpu() else { return };
    let frame = frame([1, 3, 8, 8], (8, 8), Params::default(), 1);
    let logits = tensor(&frame, Kind::Float);
    let (mut host, mut there) = (frame.engine(), engine_there(&frame, false));
    let size: Size = frame.size;
    let error = host.submit_tensor(&logits.to_device(device), size).unwrap_err();
    assert!(matches!(&error, Error::Device { device, .. } if device == "cuda:0"), "{error}");
    let error = there.submit_tensor(&logits, size).unwrap_err();
    assert!(matches!(&error, Error::Device { device, .. } if device == "cpu"), "{error}");
    let elements = frame.logits.as_slice().unwrap();
    let on_the_host = Logits::packed(elements, frame.shape(), Layout::Nchw).unwrap();
    assert!(matches!(there.submit(&on_the_host, size), Err(Error::Device { .. })));
    let mut outputs = Outputs::of(&frame, Kind::Float, Device::Cpu);
    let error = there.submit_tensor_into(&logits.to_device(device), outputs.lend()).unwrap_err();
    assert!(matches!(error, Error::Device { .. }), "{error}");
    assert_eq!(outputs.score.double_value(&[0, 0, 0]), -777.0);
}

#[test]
fn the_stages_take_some_time() {
    let Some((device, _turn)) = gpu() else { return };
    let frame = frame([1, 19, 256, 512], (1024, 2048), Params::default(), 2);
    let logits = tensor(&frame, Kind::Half).to_device(device);
    let mut engine = engine_there(&frame, true);
    engine.submit_tensor(&logits, frame.size).unwrap();
    assert_eq!(engine.timings().unwrap(), None);
    engine.profile(true).unwrap();
    for _ in 0..3 {
        engine.submit_tensor(&logits, frame.size).unwrap();
    }
    let timings = engine.timings().unwrap().unwrap();
    for (stage, time) in
        [("standardize", timings.standardize), ("suppress", timings.suppress), ("smooth", timings.smooth)]
    {
        assert!(time.as_nanos() > 500 && time.as_millis() < 100, "{stage}: {time:?}");
    }
    println!("stages, without care for the clock: {timings:?}");
}
