//! Whole frames through the engine on the CPU, from logits to the anomaly map.

mod frame;

use criterion::{Criterion, Throughput};
use frame::{Frame, group, output, result_bytes};
use rayon::prelude::*;
use sml::{ElementType, Error, Layout, LogitsData, Params, Score};

fn main() -> Result<(), Error> {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = group(&mut criterion, "pipeline");
    let scores = [Score::Sml, Score::Msp, Score::Entropy];
    for (element_type, layout, stride, scores) in [
        (ElementType::F32, Layout::Nchw, 1, &scores[..]),
        (ElementType::F16, Layout::Nchw, 1, &scores),
        (ElementType::F32, Layout::Nhwc, 1, &scores[..1]),
        (ElementType::F16, Layout::Nhwc, 1, &scores[..1]),
        (ElementType::F32, Layout::Nchw, 4, &scores[..1]),
        (ElementType::F16, Layout::Nchw, 4, &scores),
        (ElementType::F16, Layout::Nhwc, 4, &scores[..1]),
        (ElementType::F32, Layout::Nchw, 8, &scores[..1]),
        (ElementType::F16, Layout::Nchw, 8, &scores[..1]),
    ] {
        let frame = Frame::new(element_type, layout, stride);
        let logits = frame.logits();
        group.throughput(Throughput::Bytes(frame.bytes() + result_bytes()));
        for &score in scores {
            let mut engine = frame.engine(Params { score, ..Params::default() });
            engine.submit(&logits, output())?;
            group.bench_function(format!("{score}/{}", frame.name()), |bencher| {
                bencher.iter(|| engine.submit(&logits, output()).map(|map| map.score[(0, 0, 0)]));
            });
        }
    }
    let frame = Frame::new(ElementType::F32, Layout::Nchw, 1);
    if let LogitsData::F32(logits) = frame.logits().data() {
        group.throughput(Throughput::Bytes(frame.bytes()));
        group.bench_function("read/float32", |bencher| bencher.iter(|| sum(logits)));
    }
    group.finish();
    criterion.final_summary();
    Ok(())
}

/// Reads all of it once, with rayon's threads: the floor for a frame of these logits.
fn sum(logits: &[f32]) -> f32 {
    let sum_of = |part: &[f32]| {
        let mut lanes = [0.0; 64];
        for chunk in part.chunks_exact(64) {
            lanes.iter_mut().zip(chunk).for_each(|(lane, logit)| *lane += logit);
        }
        lanes.iter().sum::<f32>()
    };
    logits.par_chunks(1 << 18).map(sum_of).sum()
}
