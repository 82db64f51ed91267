//! Whole frames through the engine on the CPU, from logits to the anomaly map.

mod frame;

use criterion::{Criterion, Throughput};
use frame::{Frame, OUTPUT, RESULT_BYTES, group};
use sml::{ElementType, Error, Layout, Params, Score};

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
        group.throughput(Throughput::Bytes(frame.bytes() + RESULT_BYTES));
        for &score in scores {
            let mut engine = frame.engine(Params { score, ..Params::default() });
            engine.submit(&logits, OUTPUT)?;
            group.bench_function(format!("{score}/{}", frame.name()), |bencher| {
                bencher.iter(|| engine.submit(&logits, OUTPUT).map(|map| map.score[(0, 0, 0)]));
            });
        }
    }
    group.finish();
    criterion.final_summary();
    Ok(())
}
