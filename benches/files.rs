//! Logits and score maps from and to .npy files, against reading the same bytes.
//!
//! The files lie in a temporary folder (`TMPDIR` says where), and were written just before: what is measured is this crate and the
//! system's copying, not the disk.

mod frame;

use std::fs;
use std::path::Path;

use criterion::{Criterion, Throughput};
use frame::{Frame, group, output};
use sml::files::{LogitsFile, write_npy};
use sml::{ElementType, Error, Layout, LogitsData, LogitsShape, Params};

fn main() -> Result<(), Error> {
    let folder =
        tempfile::tempdir().map_err(|error| Error::io(std::env::temp_dir(), "create a folder in", error))?;
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = group(&mut criterion, "files");
    let path = folder.path().join("logits.npy");
    for (element_type, stride) in [(ElementType::F32, 4), (ElementType::F16, 4), (ElementType::F32, 1)] {
        let frame = Frame::new(element_type, Layout::Nchw, stride);
        group.throughput(Throughput::Bytes(frame.bytes()));
        group.bench_function(format!("npy/write/{}", frame.name()), |bencher| {
            bencher.iter(|| write_logits(&path, &frame));
        });
        write_logits(&path, &frame)?;
        group.bench_function(format!("npy/read/{}", frame.name()), |bencher| {
            bencher.iter_with_large_drop(|| LogitsFile::read(&path, None));
        });
        group.bench_function(format!("bytes/read/{}", frame.name()), |bencher| {
            bencher.iter_with_large_drop(|| fs::read(&path));
        });
    }

    let frame = Frame::new(ElementType::F16, Layout::Nchw, 8);
    let mut engine = frame.engine(Params::default());
    let map = engine.submit(&frame.logits(), output())?;
    let scores = map.score.as_slice().unwrap_or_default();
    let scores_path = folder.path().join("scores.npy");
    group.throughput(Throughput::Bytes(4 * scores.len() as u64));
    group.bench_function("npy/write/scores", |bencher| {
        bencher.iter(|| write_npy(&scores_path, &[output().height, output().width], scores));
    });
    write_npy(&scores_path, &[output().height, output().width], scores)?;
    group.bench_function("npy/read/scores", |bencher| {
        bencher.iter_with_large_drop(|| sml::files::read_score_map(&scores_path));
    });
    group.finish();
    criterion.final_summary();
    Ok(())
}

fn write_logits(path: &Path, frame: &Frame) -> Result<(), Error> {
    let LogitsShape { batch, classes, size } = frame.shape();
    let shape = [batch, classes, size.height, size.width];
    match frame.logits().data() {
        LogitsData::F32(data) => write_npy(path, &shape, data),
        LogitsData::F16(data) => write_npy(path, &shape, data),
        // Drawn in the other two types only.
        LogitsData::BF16(_) => Ok(()),
    }
}
