//! Class statistics: measuring them, from max logits and classes of frames, and merging and reading what was measured.

mod frame;

use criterion::{Criterion, Throughput};
use frame::{CLASSES, Frame, group, output, result_bytes};
use sml::{
    ClassStatistics, ElementType, Error, Layout, Params, Provenance, Score, Stage, StatisticsAccumulator,
};

fn main() -> Result<(), Error> {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = group(&mut criterion, "statistics");
    let frame = Frame::new(ElementType::F32, Layout::Nchw, 4);
    let params = Params { score: Score::MaxLogit, ..Params::default() }.through(Stage::Standardize);
    let mut engine = frame.engine(params);
    let map = engine.submit(&frame.logits(), output())?;
    let max_logits: Vec<f32> = map.score.iter().map(|score| -score).collect();
    let classes: Vec<u8> = map.prediction.iter().copied().collect();

    // A float32 and a class are read for each pixel.
    group.throughput(Throughput::Bytes(result_bytes()));
    let mut accumulator = StatisticsAccumulator::new(CLASSES);
    group.bench_function("accumulate", |bencher| bencher.iter(|| accumulator.add(&max_logits, &classes)));
    // Whole frames, as sml calibrate takes them: the first stage, and the accumulation behind it.
    group.throughput(Throughput::Bytes(frame.bytes() + 2 * result_bytes()));
    group.bench_function(format!("calibrate/{}", frame.name()), |bencher| {
        bencher.iter(|| {
            let map = engine.submit(&frame.logits(), output())?;
            let max_logits: Vec<f32> = map.score.iter().map(|score| -score).collect();
            let classes = map.prediction.as_slice().unwrap_or_default();
            accumulator.add(&max_logits, classes)
        });
    });

    let statistics = accumulator.finish(Provenance::default());
    let json = statistics.to_json();
    group.throughput(Throughput::Bytes(json.len() as u64));
    group.bench_function("merge", |bencher| bencher.iter(|| statistics.merge(&statistics)));
    group.bench_function("json/write", |bencher| bencher.iter(|| statistics.to_json()));
    group.bench_function("json/read", |bencher| bencher.iter(|| ClassStatistics::from_json(&json)));
    group.finish();
    criterion.final_summary();
    Ok(())
}
