//! The second stage alone: boundary, distances and averaging, for several widths and numbers of iterations.

mod frame;

use criterion::{Criterion, Throughput};
use frame::{Frame, bench_stage, group, output};
use sml::{BorderLabels, ElementType, Error, Layout, Params, Stage, Suppression};

/// A class and a score are read for each pixel, and a score is written.
fn bytes() -> u64 {
    output().pixels() as u64 * 9
}

fn main() -> Result<(), Error> {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = group(&mut criterion, "suppress");
    group.throughput(Throughput::Bytes(bytes()));
    // The stage before costs least from small logits.
    let frame = Frame::new(ElementType::F16, Layout::Nchw, 8);
    for text in ["4,4", "4,1", "8,4", "32,8"] {
        let suppression: Suppression = text.parse()?;
        let params = Params { suppression: Some(suppression), ..Params::default() }.through(Stage::Suppress);
        bench_stage(&mut group, text.to_owned(), &frame, params, |timings| timings.suppress);
    }
    let params = Params { border_labels: BorderLabels::One, ..Params::default() }.through(Stage::Suppress);
    bench_stage(&mut group, "4,4/border one".to_owned(), &frame, params, |timings| timings.suppress);
    group.finish();
    criterion.final_summary();
    Ok(())
}
