//! The third stage alone: dilated Gaussian smoothing, for several kernels.

mod frame;

use criterion::{Criterion, Throughput};
use frame::{Frame, bench_stage, group, output};
use sml::{ElementType, Error, Layout, Params, Smoothing};

/// A score is read for each pixel, and a score is written.
fn bytes() -> u64 {
    output().pixels() as u64 * 8
}

fn main() -> Result<(), Error> {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = group(&mut criterion, "smooth");
    group.throughput(Throughput::Bytes(bytes()));
    // The stages before cost least from small logits and without suppression.
    let frame = Frame::new(ElementType::F16, Layout::Nchw, 8);
    for text in ["7,1,6", "7,1,1", "3,1,6", "31,5,2"] {
        let smoothing: Smoothing = text.parse()?;
        let params = Params { suppression: None, smoothing: Some(smoothing), ..Params::default() };
        bench_stage(&mut group, text.to_owned(), &frame, params, |timings| timings.smooth);
    }
    group.finish();
    criterion.final_summary();
    Ok(())
}
