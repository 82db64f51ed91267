//! Small frames that together reach every branch of the kernels: what planted faults are hunted with.

use sml::cuda::kernels::KernelFile;
use sml::cuda::plan::GpuLimits;
use sml::{
    BorderLabels, ElementType, Layout, NonFinite, Params, Replacement, Score, Size, Smoothing, Suppression,
    Temperature,
};

use crate::accumulate::Calibration;
use crate::engine_on_host::{Arrangement, Pins, Setting, is_mutated, submit};
use crate::frames::{Frame, logits, statistics};
use crate::kernel_harness::{Failure, Order};
use crate::mutations::Mutation;
use crate::preprocess::{Preparation, preparations};
use crate::properties::difference;

/// One run whose result is known.
#[derive(Clone, Debug)]
pub enum Probe {
    Frame { kernel: KernelFile, name: &'static str, frame: Box<Frame>, setting: Box<Setting> },
    Calibration { name: &'static str, calibration: Calibration },
    Preparation { name: &'static str, preparation: Box<Preparation> },
}

impl Probe {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Frame { name, .. } | Self::Calibration { name, .. } | Self::Preparation { name, .. } => {
                name
            }
        }
    }

    /// The kernel that it is made for.
    pub fn kernel(&self) -> KernelFile {
        match self {
            Self::Frame { kernel, .. } => *kernel,
            Self::Calibration { .. } => KernelFile::Accumulate,
            Self::Preparation { .. } => KernelFile::Preprocess,
        }
    }

    /// Whether a mutation makes a difference to the kernels that it runs.
    pub fn is_mutated(&self, mutation: &Mutation) -> bool {
        match self {
            Self::Frame { frame, setting, .. } => {
                is_mutated(frame, &Setting { mutation: Some(mutation.clone()), ..(**setting).clone() })
            }
            Self::Calibration { .. } | Self::Preparation { .. } => true,
        }
    }

    /// What is wrong with the result, if anything.
    ///
    /// # Errors
    /// What a sanitizer or the harness found.
    pub fn wrong(&self, order: Order, mutation: Option<&Mutation>) -> Result<Option<String>, Failure> {
        match self {
            Self::Frame { frame, setting, .. } => {
                let setting = Setting { order, mutation: mutation.cloned(), ..(**setting).clone() };
                Ok(difference(frame, &setting, &submit(frame, &setting)?))
            }
            Self::Calibration { calibration, .. } => {
                Ok(calibration.difference(&calibration.on_host(order, mutation)?))
            }
            Self::Preparation { preparation, .. } => {
                Ok(preparation.difference(&preparation.on_host(order, mutation)?))
            }
        }
    }
}

/// N, C, h, w.
type Shape = [usize; 4];

fn frame([n, c, h, w]: Shape, size: Option<Size>, params: Params) -> Frame {
    let logits = logits(n, c, h, w, 11);
    Frame { logits, size: size.unwrap_or(Size::new(h, w)), params, statistics: statistics(c, 5) }
}

/// A frame in which all kinds of broken pixels and ties occur.
fn with_broken_pixels(mut frame: Frame) -> Frame {
    let (_, classes, height, width) = frame.logits.dim();
    let mut set = |pixel: usize, class: usize, value: f32| {
        let (y, x) = (pixel / width % height, pixel % width);
        frame.logits[(0, class % classes, y, x)] = value;
    };
    let kinds = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
    for (i, kind) in kinds.into_iter().enumerate() {
        set(5 * i + 1, i, kind);
        // The first class is broken, and two others share the largest finite logit.
        set(5 * i + 2, 0, kind);
        set(5 * i + 2, 2, 50.0);
        set(5 * i + 2, 3, 50.0);
    }
    // A NaN and then a larger number; ties, of the first class too.
    set(17, 1, f32::NAN);
    set(17, 2, 99.0);
    for class in [0, 3] {
        set(19, class, 60.0);
        set(21, class + 1, 60.0);
    }
    if width > 64 {
        // Everywhere, at the left and the right edge too.
        for i in 0..7 {
            set(i * height * width / 7 + 29 * i, i, kinds[i % 3]);
        }
        set(7 * width, 1, f32::NAN);
        set(13 * width - 1, 1, f32::NAN);
    }
    frame
}

fn only(score: Score) -> Params {
    Params { score, suppression: None, smoothing: None, ..Params::default() }
}

fn replaced(params: Params) -> Params {
    Params { non_finite: NonFinite::Replace(Replacement::default()), ..params }
}

/// `standardize` alone: one entry point at a time, by few blocks that take turns.
fn standardize_probes() -> Vec<(&'static str, Frame, Setting)> {
    let at = |arrangement| Setting { arrangement, pins: Pins::Entry, most_blocks: 2, ..Setting::default() };
    let (columns, nchw, nhwc) = (
        at(Arrangement::Columns),
        at(Arrangement::Packed(Layout::Nchw)),
        at(Arrangement::Packed(Layout::Nhwc)),
    );
    let half = |setting: &Setting| Setting { element: ElementType::F16, ..setting.clone() };
    let energy = Score::Energy(Temperature::new(0.5).unwrap());
    let broken = |shape, params| with_broken_pixels(frame(shape, None, params));
    let up = |shape, h, w, params| frame(shape, Some(Size::new(h, w)), params);
    let corners = |params: Params| Params { align_corners: true, ..params };
    let sml = only(Score::Sml);
    vec![
        ("any strides", broken([2, 5, 7, 9], sml), columns.clone()),
        ("any strides, pinned", broken([2, 5, 7, 9], sml), Setting { pins: Pins::Plan, ..columns.clone() }),
        ("any strides, replaced", broken([1, 5, 7, 9], replaced(sml)), columns.clone()),
        ("any strides, entropy", broken([1, 5, 5, 300], only(Score::Entropy)), columns.clone()),
        ("one class, entropy", frame([1, 1, 4, 5], None, only(Score::Entropy)), columns.clone()),
        ("fewer pixels", up([1, 4, 9, 11], 3, 4, sml), columns.clone()),
        ("fewer columns", up([1, 4, 9, 11], 9, 4, sml), columns.clone()),
        ("fewer pixels, corners", up([1, 4, 9, 11], 1, 1, corners(sml)), columns.clone()),
        ("many columns", up([1, 2, 1, 3], 1, 33_000, sml), columns.clone()),
        ("many columns, corners", up([1, 2, 1, 3], 1, 33_000, corners(sml)), columns.clone()),
        ("more columns than 16 bits count", up([1, 2, 1, 60_000], 1, 65_000, sml), columns.clone()),
        ("rows", broken([2, 5, 33, 40], sml), nchw.clone()),
        ("rows, replaced", broken([1, 9, 8, 8], replaced(sml)), nchw.clone()),
        ("rows, energy", frame([1, 10, 4, 8], None, only(energy)), nchw.clone()),
        (
            "rows, float16 scores",
            frame([1, 5, 6, 24], None, sml),
            Setting { half_score: true, ..nchw.clone() },
        ),
        (
            "rows, bfloat16",
            broken([1, 5, 8, 24], sml),
            Setting { element: ElementType::BF16, ..nchw.clone() },
        ),
        (
            "rows, float16, energy, pinned",
            frame([1, 5, 6, 24], None, only(energy)),
            Setting { pins: Pins::Plan, ..half(&nchw) },
        ),
        ("rows, float16", broken([1, 11, 8, 24], sml), half(&nchw)),
        ("pixels", broken([2, 5, 17, 37], sml), nhwc.clone()),
        ("pixels, even", broken([2, 4, 17, 37], sml), nhwc.clone()),
        ("pixels, float16", broken([2, 4, 17, 37], sml), half(&nhwc)),
        ("pixels, float16, odd", broken([2, 5, 17, 37], sml), half(&nhwc)),
        (
            "pixels, misaligned",
            frame([1, 5, 9, 9], None, sml),
            Setting { misalignments: [1, 0, 0], ..nhwc.clone() },
        ),
        ("upsampling", up([1, 6, 5, 13], 40, 150, sml), nchw.clone()),
        ("upsampling, broken", with_broken_pixels(up([2, 6, 7, 9], 37, 70, sml)), nchw.clone()),
        ("upsampling, corners", up([1, 6, 8, 8], 33, 70, corners(sml)), nhwc.clone()),
        ("upsampling, to one column", up([1, 3, 1, 1], 5, 1, corners(sml)), nhwc),
        ("upsampling, many classes", up([1, 70, 4, 5], 16, 20, sml), nchw.clone()),
        ("upsampling, ties", tied(up([1, 5, 3, 3], 12, 12, sml)), nchw.clone()),
        ("upsampling, energy", up([1, 6, 5, 7], 20, 28, only(energy)), nchw),
    ]
}

/// Two classes that are equal everywhere and win.
fn tied(mut frame: Frame) -> Frame {
    for class in [2, 4] {
        frame.logits.index_axis_mut(ndarray::Axis(1), class).fill(40.0);
    }
    frame
}

fn suppress_probes() -> Vec<(&'static str, Frame, Setting)> {
    let suppressed = |width, iterations, border_labels| Params {
        suppression: Some(Suppression::new(width, iterations).unwrap()),
        border_labels,
        ..only(Score::MaxLogit)
    };
    let setting = Setting { most_blocks: 2, ..Setting::default() };
    let odd = Setting { half_score: true, misalignments: [0, 1, 1], ..setting.clone() };
    let least = GpuLimits { multiprocessors: 1, shared_bytes: 64 << 10 };
    let usual = suppressed(4, 4, BorderLabels::Ignore);
    let shared = Setting { limits: least, ..setting.clone() };
    vec![
        ("suppression", frame([1, 5, 100, 240], None, usual), setting.clone()),
        ("suppression, broken", with_broken_pixels(frame([2, 5, 60, 130], None, usual)), setting.clone()),
        ("suppression, odd", frame([1, 4, 53, 119], None, suppressed(6, 2, BorderLabels::One)), odd),
        (
            "suppression, misaligned",
            frame([1, 4, 53, 120], None, usual),
            Setting { misalignments: [0, 1, 1], ..setting.clone() },
        ),
        (
            "suppression, frame",
            frame([2, 3, 20, 21], None, suppressed(0, 1, BorderLabels::One)),
            setting.clone(),
        ),
        (
            "suppression, 2 classes",
            frame([1, 2, 9, 60], None, suppressed(8, 4, BorderLabels::Ignore)),
            setting,
        ),
        (
            "suppression, in turns",
            frame([1, 3, 70, 130], None, suppressed(32, 16, BorderLabels::Ignore)),
            shared.clone(),
        ),
        (
            "suppression, in turns, one class",
            frame([1, 1, 70, 130], None, suppressed(32, 16, BorderLabels::Ignore)),
            shared,
        ),
    ]
}

fn smooth_probes() -> Vec<(&'static str, Frame, Setting)> {
    let smoothed = |taps, dilation| Params {
        smoothing: Some(Smoothing::new(taps, 1.0, dilation).unwrap()),
        ..only(Score::MaxLogit)
    };
    let generic = Setting { most_blocks: 2, ..Setting::default() };
    let pinned = Setting { pins: Pins::Plan, ..generic.clone() };
    vec![
        ("smoothing, pinned", frame([1, 3, 90, 150], None, smoothed(7, 6)), pinned.clone()),
        ("smoothing, pinned, whole tiles", frame([1, 3, 30, 184], None, smoothed(7, 6)), pinned.clone()),
        (
            "smoothing, pinned, misaligned",
            frame([1, 3, 30, 90], None, smoothed(7, 6)),
            Setting { misalignments: [0, 1, 0], ..pinned.clone() },
        ),
        ("smoothing, pinned, odd", frame([2, 3, 31, 101], None, smoothed(5, 3)), pinned.clone()),
        ("smoothing, pinned, chunks", frame([1, 3, 40, 150], None, smoothed(3, 1)), pinned),
        ("smoothing", frame([1, 3, 90, 150], None, smoothed(7, 6)), generic.clone()),
        ("smoothing, odd", frame([2, 3, 31, 101], None, smoothed(5, 3)), generic),
    ]
}

fn prepared((name, preparation): (&'static str, Preparation)) -> Probe {
    Probe::Preparation { name, preparation: Box::new(preparation) }
}

/// All of them.
pub fn probes() -> Vec<Probe> {
    let of = |kernel, list: Vec<(&'static str, Frame, Setting)>| {
        list.into_iter().map(move |(name, frame, setting)| Probe::Frame {
            kernel,
            name,
            frame: Box::new(frame),
            setting: Box::new(setting),
        })
    };
    let calibration = |name, classes, images, broken, negated| {
        let calibration = Calibration { classes, images, broken, multiprocessors: 1, negated };
        Probe::Calibration { name, calibration }
    };
    let calibrations = [
        calibration("calibration", 5, vec![(9000, 1), (4097, 2)], 4, false),
        calibration("calibration, in chunks", 35, vec![(40_000, 3)], 0, true),
        calibration("calibration, many classes", 255, vec![(700, 4)], 1, false),
    ];
    of(KernelFile::Standardize, standardize_probes())
        .chain(of(KernelFile::Suppress, suppress_probes()))
        .chain(of(KernelFile::Smooth, smooth_probes()))
        .chain(calibrations)
        .chain(preparations().into_iter().map(prepared))
        .collect()
}
