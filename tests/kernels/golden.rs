//! The kernels against the official code's outputs: every golden case, each stage of it.

use ndarray::Array3;
use sml::{ElementType, Layout, Stage};

use crate::data::golden::{Case, Golden, assert_close, sets};
use crate::engine_on_host::{Arrangement, HostMap, Pins, Setting, submit};
use crate::frames::Frame;
use crate::kernel_harness::Order;
use crate::properties::difference;

/// Runs `test` on every case that must agree.
fn each_case(mut test: impl FnMut(&Golden, &Case, Frame)) -> usize {
    let mut run = 0;
    for golden in sets() {
        let pipelines = ["pipeline", "upsample_pipeline"];
        for case in golden.cases().filter(|case| pipelines.contains(&case.kind()) && case.is_required()) {
            let (logits, statistics, params) = golden.input(case);
            test(&golden, case, Frame { logits, size: case.out_size(), params, statistics });
            run += 1;
        }
    }
    run
}

/// An N x H x W map of scores with the official sign.
fn scores(frame: &Frame, score: &[f32], sign: f64) -> Array3<f64> {
    let shape = (frame.shape().batch, frame.size.height, frame.size.width);
    Array3::from_shape_vec(shape, score.iter().map(|&v| sign * f64::from(v)).collect()).unwrap()
}

fn assert_agrees(golden: &Golden, case: &Case, frame: &Frame, map: &HostMap) {
    let want = golden.expected(case);
    let id = case.id();
    assert_eq!(map.prediction, want.prediction.as_slice().unwrap(), "{id}: prediction");
    let ([standardized, suppressed, smoothed], tolerance) = (&want.stages, want.tolerance);
    // What lies between the stages: high is normal there.
    for (got, want, stage) in [
        (&map.standardized, standardized, Stage::Standardize),
        (&map.suppressed, suppressed, Stage::Suppress),
    ] {
        if !got.is_empty() {
            assert_close(&scores(frame, got, 1.0), want, tolerance, &format!("{id} {stage:?}"));
        }
    }
    assert_close(&scores(frame, &map.score, -1.0), smoothed, tolerance, id);
}

#[test]
fn generic_kernels_agree_with_the_official_code() {
    let mut seed = 0;
    let run = each_case(|golden, case, frame| {
        seed += 1;
        let setting = Setting { order: Order::Random(seed), ..Setting::default() };
        let map = submit(&frame, &setting).unwrap_or_else(|failure| panic!("{}: {}", case.id(), failure.0));
        assert_agrees(golden, case, &frame, &map);
        let different = difference(&frame, &setting, &map);
        assert!(different.is_none(), "{}: unlike the CPU: {different:?}", case.id());
    });
    assert!(run > 200, "{run} golden cases");
    println!("{run} golden cases");
}

/// Inputs and how each of them is run by the kernels that the plan specialises for it.
const SPECIALISED: [(&str, ElementType, Arrangement); 9] = [
    ("p03_batch3", ElementType::F32, Arrangement::Packed(Layout::Nchw)),
    ("p04_scene", ElementType::F32, Arrangement::Packed(Layout::Nhwc)),
    ("p06_1x37", ElementType::F32, Arrangement::Packed(Layout::Nchw)),
    ("p11_checker", ElementType::F32, Arrangement::Packed(Layout::Nhwc)),
    ("p12_ties", ElementType::F32, Arrangement::Packed(Layout::Nchw)),
    ("p14_fp16", ElementType::F16, Arrangement::Packed(Layout::Nhwc)),
    ("p16_halves", ElementType::F16, Arrangement::Packed(Layout::Nchw)),
    ("p30_up4", ElementType::F32, Arrangement::Packed(Layout::Nchw)),
    ("p35_up", ElementType::F32, Arrangement::Packed(Layout::Nhwc)),
];

#[test]
fn specialised_kernels_agree_with_the_official_code() {
    let mut entries = Vec::new();
    each_case(|golden, case, frame| {
        let found = SPECIALISED.iter().find(|(file, ..)| case.file().starts_with(file));
        let Some(&(_, element, arrangement)) = found.filter(|_| case.id().ends_with("/w4i4/d6")) else {
            return;
        };
        let setting = Setting { pins: Pins::Plan, element, arrangement, ..Setting::default() };
        let map = submit(&frame, &setting).unwrap_or_else(|failure| panic!("{}: {}", case.id(), failure.0));
        if element == ElementType::F32 {
            assert_agrees(golden, case, &frame, &map);
        }
        let different = difference(&frame, &setting, &map);
        assert!(different.is_none(), "{}: unlike the CPU: {different:?}", case.id());
        println!("{} {:?}", case.id(), map.entries);
        entries.extend(map.entries);
    });
    for entry in ["standardize_rows", "standardize_pixels", "standardize_upsample", "suppress", "smooth"] {
        assert!(entries.contains(&entry), "no case runs {entry}: {entries:?}");
    }
}
