//! Metrics of an evaluation: exact and from histograms over many pixels, and components of a picture.
//!
//! `SML_BENCH_PIXELS` sets how many pixels the first two have, 20 million otherwise (10 bytes of memory each), or 20 thousand with
//! `SML_BENCH_SMOKE=1`.

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use rayon::prelude::*;
use sml::metrics::{ComponentScores, ComponentSizes, PixelScores, ScoreHistograms};
use sml::{Error, Size};

/// A score and a label are read for each pixel.
const BYTES_A_PIXEL: u64 = 5;
/// One picture of Cityscapes.
const PICTURE: Size = Size { height: 1024, width: 2048 };
const PIXELS: usize = PICTURE.height * PICTURE.width;

/// Scores with labels: an image below the other.
struct Scores {
    scores: Vec<f32>,
    labels: Vec<u8>,
}

impl Scores {
    /// Pictures with unexpected blobs (about 3 %), which score higher, and an ignored lower eighth. `noise` is added to
    /// scores that change slowly from pixel to pixel.
    fn new(pixels: usize, noise: f32) -> Self {
        let wave = |x: usize, period: f32| (x as f32 / period).sin();
        let field = |index: usize, period: f32| {
            let (y, x) = (index / PICTURE.width % PICTURE.height, index % PICTURE.width);
            wave(x + index / PIXELS * 97, period) * wave(y, period * 0.7)
                + 0.3 * wave(x + 3 * y, period * 0.2)
        };
        let ignored = PIXELS / 8 * 7;
        let label = |index: usize| match index % PIXELS {
            within if within >= ignored => 255,
            _ => u8::from(field(index, 150.0) > 1.05),
        };
        let labels: Vec<u8> = (0..pixels).into_par_iter().map(label).collect();
        let score = |index: usize| {
            let scrambled =
                (index as u32).wrapping_mul(2_654_435_761) ^ (index as u32 >> 9).wrapping_mul(40_503);
            let bump = if labels[index] == 1 { 0.8 } else { 0.0 };
            field(index, 90.0) * 2.0 - 1.0 + bump + noise * (scrambled as f32 / u32::MAX as f32)
        };
        let scores = (0..pixels).into_par_iter().map(score).collect();
        Self { scores, labels }
    }

    /// Reads all of it once, with rayon's threads: the floor.
    fn read(&self) -> f32 {
        let lanes = |part: &[f32]| {
            let (chunks, _) = part.as_chunks::<64>();
            let sums =
                chunks.iter().fold([0.0_f32; 64], |sums, chunk| std::array::from_fn(|i| sums[i] + chunk[i]));
            sums.iter().sum::<f32>()
        };
        let bytes = |part: &[u8]| {
            part.as_chunks::<64>()
                .0
                .iter()
                .fold([0_u8; 64], |sums, chunk| std::array::from_fn(|i| sums[i] ^ chunk[i]))
        };
        let scores: f32 = self.scores.par_chunks(1 << 16).map(lanes).sum();
        let labels: u32 = self.labels.par_chunks(1 << 18).map(|part| u32::from(bytes(part)[0])).sum();
        scores + labels as f32
    }

    fn pictures(&self) -> impl Iterator<Item = (&[f32], &[u8])> {
        self.scores.chunks(PIXELS).zip(self.labels.chunks(PIXELS))
    }
}

fn main() -> Result<(), Error> {
    let smoke = std::env::var_os("SML_BENCH_SMOKE").is_some_and(|value| value == "1");
    let otherwise = if smoke { 20_000 } else { 20_000_000 };
    let pixels =
        std::env::var("SML_BENCH_PIXELS").ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise);
    let mut criterion = Criterion::default().configure_from_args();
    for (form, noise) in [("smooth", 0.0), ("noise", 2.0)] {
        whole_sets(&mut criterion, form, &Scores::new(pixels, noise));
    }
    components(&mut criterion)?;
    criterion.final_summary();
    Ok(())
}

fn whole_sets(criterion: &mut Criterion, form: &str, data: &Scores) {
    let mut group = criterion.benchmark_group("metrics");
    group.sample_size(10).throughput(Throughput::Bytes(data.scores.len() as u64 * BYTES_A_PIXEL));
    let id = |what: &str| BenchmarkId::new(what, form);
    group.bench_function(id("read"), |bencher| bencher.iter(|| data.read()));
    // Kept from one measurement to the next, as it is from one image to the next.
    let mut histograms = ScoreHistograms::new();
    group.bench_function(id("histogram/add"), |bencher| {
        bencher.iter(|| data.pictures().try_for_each(|(scores, labels)| histograms.add(scores, labels)));
    });
    group.bench_function(id("histogram/evaluate"), |bencher| bencher.iter(|| histograms.evaluate()));
    let collect = || {
        let mut exact = PixelScores::new();
        let added = data.pictures().try_for_each(|(scores, labels)| exact.add(scores, labels));
        added.map(|()| exact)
    };
    group.bench_function(id("exact/add"), |bencher| bencher.iter_with_large_drop(collect));
    group.bench_function(id("exact/evaluate"), |bencher| {
        bencher.iter_batched(collect, |exact| exact?.evaluate(), BatchSize::PerIteration);
    });
    group.finish();
}

fn components(criterion: &mut Criterion) -> Result<(), Error> {
    let mut group = criterion.benchmark_group("components");
    group.sample_size(20).throughput(Throughput::Bytes(PIXELS as u64 * BYTES_A_PIXEL));
    for (form, noise) in [("smooth", 0.0), ("noise", 2.0)] {
        let data = Scores::new(PIXELS, noise);
        let mut exact = PixelScores::new();
        exact.add(&data.scores, &data.labels)?;
        let threshold = exact.threshold_at_tpr(0.8)?;
        group.bench_function(BenchmarkId::new("add", form), |bencher| {
            bencher.iter(|| {
                let mut components = ComponentScores::new(threshold, ComponentSizes::ANOMALY_TRACK)?;
                components.add(&data.scores, &data.labels, PICTURE)?;
                components.evaluate()
            });
        });
    }
    group.finish();
    Ok(())
}
