//! The first stage alone: upsampling, prediction and score, for every score and form of logits.

mod frame;

use criterion::{Criterion, Throughput};
use frame::{Frame, bench_stage, group, result_bytes};
use sml::{ElementType, Layout, Params, Score, Stage};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = group(&mut criterion, "standardize");
    for (element_type, layout, stride) in [
        (ElementType::F32, Layout::Nchw, 1),
        (ElementType::F16, Layout::Nchw, 1),
        (ElementType::BF16, Layout::Nchw, 1),
        (ElementType::F16, Layout::Nhwc, 1),
        (ElementType::F16, Layout::Nhwc, 4),
        (ElementType::F32, Layout::Nchw, 4),
        (ElementType::F16, Layout::Nchw, 2),
        (ElementType::F16, Layout::Nchw, 4),
        (ElementType::F16, Layout::Nchw, 8),
        (ElementType::F16, Layout::Nchw, 16),
    ] {
        let frame = Frame::new(element_type, layout, stride);
        group.throughput(Throughput::Bytes(frame.bytes() + result_bytes()));
        for score in
            [Score::Sml, Score::MaxLogit, Score::Msp, Score::Entropy, Score::Energy(Default::default())]
        {
            let params = Params { score, ..Params::default() }.through(Stage::Standardize);
            let name = format!("{score}/{}", frame.name());
            bench_stage(&mut group, name, &frame, params, |timings| timings.standardize);
        }
    }
    group.finish();
    criterion.final_summary();
}
