//! `--sweep`: the same measurement along one axis, and how its cost grows.

use std::sync::Arc;

use clap::ValueEnum;

use super::case::{Case, ResultShape};
use super::machine::available_bytes;
use super::shape::{MOST_IMAGES, ResultArg};
use crate::cli::threads;
use crate::{Error, Result, Size, Suppression};

/// What grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Axis {
    /// Pixels of the result: halved from those of --shape (30 megapixels without it) down to 0.1 megapixels, six sizes at least
    Sizes,
    /// Classes: 2, 5, 10, 19, 40, 80, 150 and 255, up to those of --shape
    Classes,
    /// Images a frame: powers of two up to those of --shape or --batch (16 without)
    Batch,
    /// Widths of the boundary suppression: 1, 2, 4, 8, 16 and 32 pixels, in 4 iterations or as many as the width has pixels
    Widths,
    /// Threads of the engine: powers of two up to all of them; CPU only
    Threads,
}

/// Largest size without `--shape`, and the least that is halved further.
const LARGEST: Size = Size::new(3872, 7744);
const LEAST_PIXELS: usize = 100_000;
const LEAST_SIZES: usize = 6;

/// Size of the frames of the other axes without `--shape`.
const MEDIUM: Size = Size::new(512, 1024);

const CLASSES: [usize; 8] = [2, 5, 10, 19, 40, 80, 150, 255];
const MOST_BATCH: usize = 16;
const WIDTHS: [u8; 6] = [1, 2, 4, 8, 16, 32];
const MOST_ITERATIONS: u8 = 4;

/// One measurement of the sweep.
#[derive(Clone)]
pub(super) struct Point {
    pub x: f64,
    pub case: Case,
    /// Threads of its own; the program's without.
    pub pool: Option<Arc<rayon::ThreadPool>>,
}

impl Axis {
    /// As the report spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sizes => "sizes",
            Self::Classes => "classes",
            Self::Batch => "batch",
            Self::Widths => "widths",
            Self::Threads => "threads",
        }
    }

    /// What the largest frames are, without `--shape`.
    pub fn default_shape(self) -> ResultArg {
        let size = if self == Self::Sizes { LARGEST } else { MEDIUM };
        ResultArg { batch: None, classes: None, size }
    }

    /// Whether the work of a pixel stays the same along the axis, so that its cost should.
    pub fn is_of_pixels(self) -> bool {
        matches!(self, Self::Sizes | Self::Batch)
    }

    /// The points, ascending. `given` is what `--shape` says, of which `base` is made.
    ///
    /// # Errors
    /// When a pool of threads cannot be made.
    pub fn points(self, base: &Case, given: ResultArg) -> Result<Vec<Point>> {
        let of = |x: f64, result: ResultShape| Point { x, case: Case { result, ..*base }, pool: None };
        let result = base.result;
        Ok(match self {
            Self::Sizes => sizes(result.size, base.from)
                .into_iter()
                .map(|size| ResultShape { size, ..result })
                .map(|result| of(result.pixels() as f64 / 1e6, result))
                .collect(),
            Self::Classes => up_to(CLASSES, given.classes.unwrap_or(255))
                .into_iter()
                .map(|classes| of(classes as f64, ResultShape { classes, ..result }))
                .collect(),
            Self::Batch => powers_of_two(given.batch.unwrap_or(MOST_BATCH).min(MOST_IMAGES))
                .into_iter()
                .map(|batch| of(batch as f64, ResultShape { batch, ..result }))
                .collect(),
            Self::Widths => WIDTHS
                .into_iter()
                .map(|width| {
                    let suppression = Some(Suppression::new(width, width.min(MOST_ITERATIONS))?);
                    let case = Case { suppression, ..*base };
                    Ok(Point { x: f64::from(width), case, pool: None })
                })
                .collect::<Result<_>>()?,
            Self::Threads => powers_of_two(rayon::current_num_threads())
                .into_iter()
                .map(|threads| Ok(Point { x: threads as f64, case: *base, pool: Some(pool(threads)?) }))
                .collect::<Result<_>>()?,
        })
    }
}

/// Title of the axis of that name, with its unit.
pub(super) fn axis_title(name: &str) -> &'static str {
    match name {
        "sizes" => "megapixels",
        "classes" => "classes",
        "batch" => "images a frame",
        "widths" => "boundary width (pixels)",
        _ => "threads",
    }
}

fn pool(threads: usize) -> Result<Arc<rayon::ThreadPool>> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.inspect(threads::pin_likewise)
        .map(Arc::new)
        .map_err(|error| Error::io("threads", "start", std::io::Error::other(error.to_string())))
}

/// Sizes of half the pixels each, ascending to `largest`, whose sides `from` divides.
fn sizes(largest: Size, from: usize) -> Vec<Size> {
    let mut sizes: Vec<Size> = Vec::new();
    for halving in 0.. {
        let side = |length: usize| {
            let shorter = length as f64 / 2_f64.powf(f64::from(halving) / 2.0);
            ((shorter / from as f64).round() as usize).max(1) * from
        };
        let size = Size::new(side(largest.height), side(largest.width));
        let small = size.pixels() < LEAST_PIXELS && sizes.len() >= LEAST_SIZES;
        if small || sizes.last() == Some(&size) {
            break;
        }
        sizes.push(size);
    }
    sizes.reverse();
    sizes
}

/// The values below `most`, and `most`.
fn up_to(values: impl IntoIterator<Item = usize>, most: usize) -> Vec<usize> {
    values.into_iter().filter(|&value| value < most).chain([most]).collect()
}

fn powers_of_two(most: usize) -> Vec<usize> {
    up_to((0..usize::BITS).map(|power| 1 << power), most)
}

/// Why a case cannot be measured on this machine; `None` if it can.
///
/// # Errors
/// Those of [`Case::logit_bytes`].
pub(super) fn does_not_fit(case: &Case) -> Result<Option<String>> {
    /// The scene as float32, twice while it is drawn, and scores and classes of a few engines.
    const DRAWN: u64 = 8;
    const RESULT: u64 = 20;
    let elements = case.logits_shape()?.elements() as u64;
    let needed = DRAWN * elements + case.logit_bytes()? + RESULT * case.result.pixels();
    let available = available_bytes().unwrap_or(u64::MAX);
    let gigabytes = |bytes: u64| bytes as f64 / 1e9;
    Ok((needed > available).then(|| {
        format!(
            "{}: needs {:.1} GB of memory, {:.1} GB are available",
            case.result,
            gigabytes(needed),
            gigabytes(available)
        )
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ElementType, Layout};

    #[test]
    fn sizes_halve_from_30_megapixels_to_0_1() {
        let sizes = sizes(LARGEST, 16);
        assert_eq!(sizes.last(), Some(&LARGEST));
        let megapixels: Vec<f64> = sizes.iter().map(|size| size.pixels() as f64 / 1e6).collect();
        assert!(megapixels[0] >= 0.1 && megapixels[0] < 0.2, "{megapixels:?}");
        for pair in megapixels.windows(2) {
            assert!((pair[1] / pair[0] - 2.0).abs() < 0.12, "{megapixels:?}");
        }
        assert!(sizes.iter().all(|size| size.height % 16 == 0 && size.width % 16 == 0));
    }

    #[test]
    fn small_sizes_end_where_they_repeat() {
        let sizes = sizes(Size::new(64, 128), 4);
        assert_eq!(sizes.len(), LEAST_SIZES);
        assert!(sizes.windows(2).all(|pair| pair[0].pixels() < pair[1].pixels()), "{sizes:?}");
        assert_eq!(super::sizes(Size::new(4, 4), 4), [Size::new(4, 4)]);
    }

    #[test]
    fn the_last_point_is_what_was_asked_for() {
        assert_eq!(up_to(CLASSES, 19), [2, 5, 10, 19]);
        assert_eq!(up_to(CLASSES, 7), [2, 5, 7]);
        assert_eq!(powers_of_two(6), [1, 2, 4, 6]);
        assert_eq!(powers_of_two(1), [1]);
    }

    #[test]
    fn what_is_too_large_is_left_out_with_the_reason() {
        let result = ResultShape { batch: 4095, classes: 255, size: Size::new(1 << 15, 1 << 15) };
        let (element_type, layout) = (ElementType::F32, Layout::Nchw);
        let case = Case { result, element_type, layout, from: 1, only: None, suppression: None };
        let reason = does_not_fit(&case).unwrap();
        if available_bytes().is_some() {
            assert!(reason.unwrap().contains("GB are available"));
        }
    }
}
