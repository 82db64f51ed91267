//! A picture's bytes to a network's input on the CPU, against reading the same bytes and writing as many.
//!
//! `cargo bench --no-default-features --bench preprocess`; `SML_BENCH_SMOKE=1` makes the picture a very small one.

use criterion::{Criterion, SamplingMode, Throughput};
use half::f16;
use rayon::prelude::*;
use sml::{
    ChannelOrder, Error, InputMut, Layout, PictureView, PixelFormat, Preprocessing, Preprocessor, Size,
};

/// A picture of Cityscapes.
fn picture() -> Size {
    let smoke = std::env::var_os("SML_BENCH_SMOKE").is_some_and(|value| value == "1");
    if smoke { Size::new(64, 128) } else { Size::new(1024, 2048) }
}

fn main() -> Result<(), Error> {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("preprocess");
    group.sampling_mode(SamplingMode::Flat).sample_size(30);
    let whole = picture();
    let of_whole =
        |part: f64| Size::new((whole.height as f64 * part) as usize, (whole.width as f64 * part) as usize);
    let bytes: Vec<u8> = (0..whole.pixels() * 4).map(|i| ((i * 2_654_435_761) >> 13) as u8).collect();
    let (mut single, mut half) = (vec![0.0_f32; 3 * whole.pixels()], vec![f16::ZERO; 3 * whole.pixels()]);

    for (name, format, layout, size, narrow) in [
        ("rgb/float32/nchw", PixelFormat::Rgb8, Layout::Nchw, whole, false),
        ("bgra/float32/nchw", PixelFormat::Bgra8, Layout::Nchw, whole, false),
        ("rgb/float32/nhwc", PixelFormat::Rgb8, Layout::Nhwc, whole, false),
        ("rgb/float16/nchw", PixelFormat::Rgb8, Layout::Nchw, whole, true),
        ("rgb/float16/nhwc", PixelFormat::Rgb8, Layout::Nhwc, whole, true),
        ("rgb/float32/nchw/half", PixelFormat::Rgb8, Layout::Nchw, of_whole(0.5), false),
        ("rgb/float32/nchw/from 720x1280", PixelFormat::Rgb8, Layout::Nchw, whole, false),
    ] {
        let source = if name.contains("720") { of_whole(0.625) } else { whole };
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

    let bytes = &bytes[..3 * whole.pixels()];
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
