//! The engine and the reference against the official code's outputs.
//!
//! A choice of the vectors lies in tests/golden; the whole set is used too where the test data is at hand.
#![cfg(feature = "files")]
#![allow(clippy::panic, clippy::unwrap_used, reason = "functions that tests share fail as tests do")]

mod data;
mod instruction_sets;

use data::golden::{Case, Golden, assert_close};
use half::{bf16, f16};
use ndarray::{Array3, Array4, ArrayView4, Axis};
use sml::{
    Capacity, ClassStatistics, Device, Engine, Layout, Logits, LogitsData, LogitsShape, Provenance, Size,
    Stage, StatisticsAccumulator, reference,
};

fn each_case(kind: &str, mut test: impl FnMut(&Golden, &Case)) {
    let mut run = 0;
    for golden in data::golden::sets() {
        for case in golden.cases().filter(|case| case.kind() == kind) {
            test(&golden, case);
            run += 1;
        }
    }
    assert!(run > 0, "no golden case of the kind {kind}");
    println!("{run} golden cases of the kind {kind}");
}

#[test]
fn reference_agrees_with_the_official_code() {
    let test = |golden: &Golden, case: &Case| {
        if !case.is_required() {
            return;
        }
        let (logits, statistics, params) = golden.input(case);
        let want = golden.expected(case);
        let logits = logits.mapv(f64::from);
        let got = reference::stages(logits.view(), &params, Some(&statistics), case.out_size()).unwrap();
        assert_eq!(got.prediction, want.prediction, "{}: prediction", case.id());
        assert_eq!(got.boundary.mapv(u8::from), want.boundary, "{}: boundary", case.id());
        let tolerance = if want.float64 { 1e-11 * case.finite_scale() } else { want.tolerance };
        for (got, want) in [got.standardized, got.suppressed, got.smoothed].iter().zip(&want.stages) {
            assert_close(got, want, tolerance, case.id());
        }
    };
    each_case("pipeline", test);
    each_case("upsample_pipeline", test);
}

fn engine_stage(
    logits: &Logits<'_>,
    golden: &Golden,
    case: &Case,
    stage: Stage,
) -> (Array3<u8>, Array3<f64>) {
    let (_, statistics, params) = golden.input(case);
    let capacity = Capacity::of(logits.shape(), case.out_size());
    let mut engine = Engine::new(Device::Cpu, params.through(stage), Some(&statistics), capacity).unwrap();
    let map = engine.submit(logits, case.out_size()).unwrap();
    // Outside the stages the sign is that of an anomaly score.
    (map.prediction.to_owned(), map.score.mapv(|v| -f64::from(v)))
}

const STAGES: [Stage; 3] = [Stage::Standardize, Stage::Suppress, Stage::Smooth];

#[test]
fn cpu_engine_agrees_with_the_official_code() {
    let test = |golden: &Golden, case: &Case| {
        if !case.is_required() {
            return;
        }
        let (logits, ..) = golden.input(case);
        let want = golden.expected(case);
        for (stage, want_score) in STAGES.into_iter().zip(&want.stages) {
            let view = Logits::try_from(logits.view()).unwrap();
            let (prediction, score) = engine_stage(&view, golden, case, stage);
            assert_eq!(prediction, want.prediction, "{}: prediction", case.id());
            assert_close(&score, want_score, want.tolerance, &format!("{} {stage:?}", case.id()));
        }
    };
    each_case("pipeline", test);
    each_case("upsample_pipeline", test);
}

#[test]
fn cpu_engine_takes_every_element_type_and_layout() {
    let test = |golden: &Golden, case: &Case| {
        if !case.is_required() || !case.id().ends_with("/w4i4/d6") {
            return;
        }
        let (logits, ..) = golden.input(case);
        let nhwc = logits.view().permuted_axes([0, 2, 3, 1]).as_standard_layout().into_owned();
        let exact = |narrow: &[f32]| narrow.iter().zip(&logits).all(|(a, b)| a == b || a.is_nan());
        let half: Vec<f16> = logits.iter().map(|&v| f16::from_f32(v)).collect();
        let half_nhwc: Vec<f16> = nhwc.iter().map(|&v| f16::from_f32(v)).collect();
        let brain: Vec<bf16> = logits.iter().map(|&v| bf16::from_f32(v)).collect();
        let widened_half = widened(&logits, half.iter().map(|v| v.to_f32()));
        let widened_brain = widened(&logits, brain.iter().map(|v| v.to_f32()));

        let shape = shape_of(logits.view());
        let run = |data: LogitsData<'_>, layout| {
            engine_stage(&Logits::packed(data, shape, layout).unwrap(), golden, case, Stage::Smooth)
        };
        let plain = run(logits.as_slice().unwrap().into(), Layout::Nchw);
        assert_same(&run(nhwc.as_slice().unwrap().into(), Layout::Nhwc), &plain, case.id());
        let plain = run(widened_half.as_slice().unwrap().into(), Layout::Nchw);
        assert_same(&run((&half[..]).into(), Layout::Nchw), &plain, case.id());
        assert_same(&run((&half_nhwc[..]).into(), Layout::Nhwc), &plain, case.id());
        let plain = run(widened_brain.as_slice().unwrap().into(), Layout::Nchw);
        assert_same(&run((&brain[..]).into(), Layout::Nchw), &plain, case.id());
        if case.file().contains("fp16") {
            assert!(exact(widened_half.as_slice().unwrap()), "{}: not representable in float16", case.id());
        }
    };
    each_case("pipeline", test);
    each_case("upsample_pipeline", test);
}

fn widened(like: &Array4<f32>, values: impl Iterator<Item = f32>) -> Array4<f32> {
    Array4::from_shape_vec(like.dim(), values.collect()).unwrap()
}

fn shape_of(logits: ArrayView4<'_, f32>) -> LogitsShape {
    let (n, c, h, w) = logits.dim();
    LogitsShape::new(n, c, h, w).unwrap()
}

/// Bit for bit, NaN included.
fn assert_same(got: &(Array3<u8>, Array3<f64>), want: &(Array3<u8>, Array3<f64>), what: &str) {
    assert_eq!(got.0, want.0, "{what}");
    assert!(got.1.iter().zip(&want.1).all(|(a, b)| a.to_bits() == b.to_bits()), "{what}");
}

#[test]
fn boundaries_and_their_expansion() {
    each_case("boundaries", |golden, case| {
        let labels = golden.plane(case, "labels");
        let boundary = reference::boundary(labels.view(), sml::BorderLabels::Ignore);
        assert_eq!(boundary.mapv(u8::from), golden.plane(case, "boundary"), "{}", case.id());
        let pinned = reference::boundary(labels.view(), sml::BorderLabels::One);
        assert_eq!(pinned.mapv(u8::from), golden.plane(case, "boundary__pinned"), "{}", case.id());
        for (radius, key) in golden.keys(case, "expanded_by_r").iter().enumerate() {
            let expanded = reference::expand(&boundary, radius as u8);
            assert_eq!(expanded.mapv(u8::from), golden.plane_at(case, key), "{} radius {radius}", case.id());
        }
    });
}

#[test]
fn statistics_agree_with_the_official_script() {
    each_case("statistics", |golden, case| {
        let mut accumulator = StatisticsAccumulator::new(case.number("num_classes"));
        for key in golden.keys(case, "batches").iter().take(case.number("batches_used")) {
            let batch = golden.logits_at(case, key);
            let shape = shape_of(batch.view());
            let params = sml::Params {
                score: sml::Score::MaxLogit,
                suppression: None,
                smoothing: None,
                ..Default::default()
            };
            let size = Size::new(shape.size.height, shape.size.width);
            let mut engine = Engine::new(Device::Cpu, params, None, Capacity::of(shape, size)).unwrap();
            let map = engine.submit(&Logits::try_from(batch.view()).unwrap(), size).unwrap();
            for (score, prediction) in map.score.axis_iter(Axis(0)).zip(map.prediction.axis_iter(Axis(0))) {
                let max_logits: Vec<f32> = score.iter().map(|v| -v).collect();
                accumulator.add(&max_logits, prediction.as_slice().unwrap()).unwrap();
            }
        }
        let statistics: ClassStatistics = accumulator.finish(Provenance::default());
        let (mean, variance) = (golden.vector(case, "mean_f64"), golden.vector(case, "var_f64"));
        let count = golden.vector(case, "count");
        for (class, moments) in statistics.classes().iter().enumerate() {
            let close = |got: Option<f64>, want: f64| match got {
                None => want.is_nan(),
                Some(got) => (got - want).abs() <= 1e-9 * want.abs().max(1.0),
            };
            assert_eq!(moments.count, Some(count[class] as u64), "{} class {class}", case.id());
            assert!(close(moments.mean, mean[class]), "{} class {class}: {moments:?}", case.id());
            assert!(close(moments.variance, variance[class]), "{} class {class}: {moments:?}", case.id());
        }
    });
}

#[test]
fn on_every_instruction_set() {
    instruction_sets::run_again("on_every_instruction_set");
}
