//! A picture's bytes to a network's input on the CPU, against reading the same bytes and writing as many.
//!
//! `cargo bench --no-default-features --bench preprocess`

use criterion::{Criterion, SamplingMode, Throughput};
use half::f16;
use rayon::prelude::*;
use sml::{
    ChannelOrder, Error, InputMut, Layout, PictureView, PixelFormat, Preprocessing, Preprocessor, Size,
};

/// A picture of Cityscapes.
const PICTURE: Size = Size::new(1024, 2048);

fn main() -> Result<(), Error> {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("preprocess");
    group.sampling_mode(SamplingMode::Flat).sample_size(30);
    let bytes: Vec<u8> = (0..PICTURE.pixels() * 4).map(|i| ((i * 2_654_435_761) >> 13) as u8).collect();
    let (mut single, mut half) = (vec![0.0_f32; 3 * PICTURE.pixels()], vec![f16::ZERO; 3 * PICTURE.pixels()]);

    for (name, format, layout, size, narrow) in [
        ("rgb/float32/nchw", PixelFormat::Rgb8, Layout::Nchw, PICTURE, false),
        ("bgra/float32/nchw", PixelFormat::Bgra8, Layout::Nchw, PICTURE, false),
        ("rgb/float32/nhwc", PixelFormat::Rgb8, Layout::Nhwc, PICTURE, false),
        ("rgb/float16/nchw", PixelFormat::Rgb8, Layout::Nchw, PICTURE, true),
        ("rgb/float16/nhwc", PixelFormat::Rgb8, Layout::Nhwc, PICTURE, true),
        ("rgb/float32/nchw/half", PixelFormat::Rgb8, Layout::Nchw, Size::new(512, 1024), false),
        ("rgb/float32/nchw/from 720x1280", PixelFormat::Rgb8, Layout::Nchw, PICTURE, false),
    ] {
        let source = if name.contains("720") { Size::new(720, 1280) } else { PICTURE };
        let preprocessing = Preprocessing {
            input_size: Some(size),
            multiple: 1,
            channel_order: ChannelOrder::Rgb,
            scale: 1.0 / 255.0,
            mean: [0.485, 0.456, 0.406],
            std: [0.229, 0.224, 0.225],
        };
        let picture = PictureView::packed(&bytes[..source.pixels() * format.bytes()], source, format)?;
        let mut preprocessor = Preprocessor::new(&preprocessing, source)?;
        let elements = 3 * size.pixels();
        let written = elements * if narrow { 2 } else { 4 };
        group.throughput(Throughput::Bytes((picture.data().len() + written) as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let input = if narrow {
                    InputMut::F16(&mut half[..elements])
                } else {
                    InputMut::F32(&mut single[..elements])
                };
                preprocessor.apply(&picture, layout, input)
            });
        });
    }

    let bytes = &bytes[..3 * PICTURE.pixels()];
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("read", |bencher| bencher.iter(|| sum(bytes)));
    group.throughput(Throughput::Bytes(5 * bytes.len() as u64));
    group.bench_function("read and write float32", |bencher| {
        bencher.iter(|| {
            let rows = single.par_chunks_mut(1 << 16).zip(bytes.par_chunks(1 << 16));
            rows.for_each(|(row, bytes)| {
                row.iter_mut().zip(bytes).for_each(|(value, &byte)| *value = f32::from(byte));
            });
        });
    });
    group.finish();
    criterion.final_summary();
    Ok(())
}

/// Reads all of it once, with rayon's threads.
fn sum(bytes: &[u8]) -> u64 {
    let sum_of = |part: &[u8]| part.iter().map(|&byte| u64::from(byte)).sum::<u64>();
    bytes.par_chunks(1 << 18).map(sum_of).sum()
}
