//! The engine there against the official code's outputs.

use sml::{Capacity, Device, Engine, LogitsShape, Stage};
use tch::Tensor;

use crate::data::golden::{assert_close, sets};
use crate::gpu;

#[test]
fn the_engine_there_agrees_with_the_official_code() {
    let Some((device, _turn)) = gpu() else { return };
    let mut run = 0;
    for golden in sets() {
        let pipelines = ["pipeline", "upsample_pipeline"];
        for case in golden.cases().filter(|case| pipelines.contains(&case.kind()) && case.is_required()) {
            let (logits, statistics, params) = golden.input(case);
            let want = golden.expected(case);
            let (n, c, h, w) = logits.dim();
            let capacity = Capacity::of(LogitsShape::new(n, c, h, w).unwrap(), case.out_size());
            let shape = [n, c, h, w].map(|length| length as i64);
            let tensor = Tensor::from_slice(logits.as_slice().unwrap()).view(shape).to_device(device);
            let stages = [Stage::Standardize, Stage::Suppress, Stage::Smooth];
            for (stage, want_score) in stages.into_iter().zip(&want.stages) {
                let params = params.through(stage);
                let mut engine = Engine::new(Device::Cuda(0), params, Some(&statistics), capacity).unwrap();
                let map = engine.submit_tensor(&tensor, case.out_size()).unwrap().to_host().unwrap();
                let what = format!("{} {stage:?}", case.id());
                assert_eq!(map.prediction, want.prediction, "{what}");
                // Outside the stages the sign is that of an anomaly score.
                assert_close(&map.score.mapv(|v| -f64::from(v)), want_score, want.tolerance, &what);
            }
            run += 1;
        }
    }
    assert!(run > 0, "no golden case");
    println!("{run} golden cases");
}
