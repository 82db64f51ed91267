//! Properties of the kernels on random frames: the CPU engine's result, whatever the layout, element type, alignment, block
//! order and grid.

use ndarray::Array4;
use proptest::prelude::*;
use sml::cuda::plan::GpuLimits;
use sml::{ElementType, Layout, NonFinite, Params, Replacement, Size, Smoothing, Suppression};

use crate::engine_on_host::{Arrangement, HostMap, Setting, is_exact, rounded, submit};
use crate::frames::{Frame, frames, logits, params, statistics};
use crate::kernel_harness::Order;

fn settings() -> impl Strategy<Value = Setting> {
    let order =
        prop_oneof![Just(Order::Ascending), Just(Order::Descending), any::<u64>().prop_map(Order::Random)];
    let element = prop_oneof![Just(ElementType::F32), Just(ElementType::F16), Just(ElementType::BF16)];
    let arrangement = prop_oneof![
        3 => Just(Arrangement::Packed(Layout::Nchw)),
        3 => Just(Arrangement::Packed(Layout::Nhwc)),
        1 => Just(Arrangement::Columns),
        1 => (0_usize..9, 0_usize..9).prop_map(|(row, image)| Arrangement::Gaps { row, image }),
        1 => Just(Arrangement::Gaps { row: 8, image: 16 }),
        1 => (0_usize..9).prop_map(|image| Arrangement::ApartPixels { image }),
    ];
    let offset = || prop_oneof![2 => Just(0_usize), 1 => 0_usize..16];
    let limits = (1_u32..=132, prop_oneof![Just(64_u32), Just(99), Just(227)]).prop_map(
        |(multiprocessors, kilobytes)| GpuLimits { multiprocessors, shared_bytes: kilobytes << 10 },
    );
    let most_blocks = prop_oneof![Just(u32::MAX), 1_u32..=3];
    let offsets = [offset().boxed(), offset().boxed(), offset().boxed()];
    (order, element, arrangement, offsets, any::<bool>(), limits, most_blocks).prop_map(
        |(order, element, arrangement, misalignments, half_score, limits, most_blocks)| Setting {
            order,
            element,
            arrangement,
            misalignments,
            half_score,
            limits,
            most_blocks,
            ..Setting::default()
        },
    )
}

/// Any boundary that is allowed.
fn suppressions() -> impl Strategy<Value = Suppression> {
    let widths = (0..=Suppression::MAX_WIDTH).flat_map(|width| (1..=32).map(move |count| (width, count)));
    let all: Vec<Suppression> =
        widths.filter_map(|(width, count)| Suppression::new(width, count).ok()).collect();
    proptest::sample::select(all)
}

/// Any Gaussian that is allowed.
fn smoothings() -> impl Strategy<Value = Smoothing> {
    (0..=Smoothing::MAX_KERNEL_SIZE / 2, 0.3_f32..9.0, 1..=Smoothing::MAX_DILATION)
        .prop_map(|(radius, sigma, dilation)| Smoothing::new(2 * radius + 1, sigma, dilation).unwrap())
}

/// Frames of all sizes, of few or many classes, with parameters from the usual to the most extreme.
fn all_frames() -> impl Strategy<Value = Frame> {
    let shape = (1_usize..=2, 28_usize..=255, 1_usize..=5, 1_usize..=12, any::<u64>());
    let size = proptest::option::of((1_usize..=20, 1_usize..=40));
    let many_classes = (shape, size, params()).prop_map(|((n, c, h, w, seed), size, params)| {
        let (height, width) = size.unwrap_or((h, w));
        let size = Size::new(height, width);
        Frame { logits: logits(n, c, h, w, seed), size, params, statistics: statistics(c, seed) }
    });
    let extremes = proptest::option::weighted(0.2, (suppressions(), smoothings()));
    (prop_oneof![4 => frames(), 1 => many_classes], extremes).prop_map(|(mut frame, extremes)| {
        if let Some((suppression, smoothing)) = extremes {
            frame.params.suppression = Some(suppression);
            frame.params.smoothing = Some(smoothing);
        }
        frame
    })
}

/// Broken pixels now and then, and their replacement.
fn frames_with_broken_pixels() -> impl Strategy<Value = Frame> {
    let broken = proptest::collection::vec((any::<prop::sample::Index>(), 0_usize..4), 0..4);
    (all_frames(), proptest::option::weighted(0.3, broken), any::<bool>()).prop_map(
        |(mut frame, broken, replace)| {
            for (at, kind) in broken.into_iter().flatten() {
                let elements = frame.logits.as_slice_mut().unwrap();
                elements[at.index(elements.len())] =
                    [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 100.0][kind];
            }
            if replace {
                frame.params.non_finite = NonFinite::Replace(Replacement::default());
            }
            frame
        },
    )
}

/// The CPU engine's result on what the element type makes of the logits.
pub fn on_cpu(frame: &Frame, element: ElementType) -> HostMap {
    let logits: Array4<f32> = rounded(&frame.logits, element);
    let frame = Frame { logits, ..frame.clone() };
    let (bits, prediction, non_finite) = frame.run(&mut frame.engine());
    let score = bits.into_iter().map(f32::from_bits).collect();
    HostMap { score, prediction, non_finite, ..HostMap::default() }
}

/// What differs, if anything. The softmax scores take exponentials and logarithms, which differ in the last bits.
pub fn difference(frame: &Frame, setting: &Setting, got: &HostMap) -> Option<String> {
    if got.left_counters {
        return Some("counters that are not zero after the frame".to_owned());
    }
    let mut want = on_cpu(frame, setting.element);
    if setting.half_score {
        want.score.iter_mut().for_each(|v| *v = half::f16::from_f32(*v).to_f32());
    }
    if got.prediction != want.prediction {
        return Some(format!("predictions {:?} instead of {:?}", got.prediction, want.prediction));
    }
    if got.non_finite != want.non_finite {
        return Some(format!("{:?} broken pixels instead of {:?}", got.non_finite, want.non_finite));
    }
    let finite =
        |scores: &[f32]| scores.iter().filter(|v| v.is_finite()).fold(1.0_f32, |s, v| s.max(v.abs()));
    let tolerance = match (is_exact(&frame.params), setting.half_score) {
        (true, _) => 0.0,
        (false, false) => 3e-6 * finite(&want.score),
        (false, true) => 1e-3 * finite(&want.score),
    };
    let pairs = got.score.iter().zip(&want.score);
    let far = |(got, want): &(&f32, &f32)| {
        !(got == want || (got.is_nan() && want.is_nan()) || (**got - **want).abs() <= tolerance)
    };
    let at = pairs.clone().position(|pair| far(&pair))?;
    let count = pairs.filter(far).count();
    let (got, want) = (got.score[at], want.score[at]);
    Some(format!("{count} scores, the first at {at}: {got} instead of {want} within {tolerance:e}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn kernels_agree_with_the_cpu(frame in frames_with_broken_pixels(), setting in settings()) {
        let got = submit(&frame, &setting).map_err(|failure| TestCaseError::fail(failure.0))?;
        if let Some(difference) = difference(&frame, &setting, &got) {
            return Err(TestCaseError::fail(format!("{:?}: {difference}", got.entries)));
        }
    }

    #[test]
    fn the_order_of_threads_and_blocks_changes_no_bit(
        frame in frames_with_broken_pixels(),
        setting in settings(),
        seed in any::<u64>(),
    ) {
        let bits = |order| {
            let map = submit(&frame, &Setting { order, ..setting.clone() });
            map.map(|map| (map.bits(), map.prediction, map.non_finite)).map_err(|failure| TestCaseError::fail(failure.0))
        };
        let ascending = bits(Order::Ascending)?;
        prop_assert_eq!(&bits(Order::Descending)?, &ascending);
        prop_assert_eq!(&bits(Order::Random(seed))?, &ascending);
    }
}

#[test]
fn logits_may_lie_further_apart_than_32_bits_count() {
    // In elements: beyond what 32 bits hold with and without a sign.
    let (far, farther) = ((1 << 31) + 16, (1 << 32) + 16);
    let far_apart = [
        ("standardize", [farther, 20, 5, 1], None),
        ("standardize", [1, 3, far, 9], None),
        ("standardize_rows", [farther, 160, 8, 1], None),
        ("standardize_rows", [32, far, 8, 1], None),
        ("standardize_rows", [8, 16, far, 1], None),
        ("standardize_pixels", [farther, 1, 24, 3], None),
        ("standardize_upsample", [farther, 32, 8, 1], Some(Size::new(10, 20))),
        ("standardize_upsample", [32, far, 8, 1], Some(Size::new(10, 20))),
        ("standardize_upsample", [1, 2, 6, far], Some(Size::new(10, 20))),
    ];
    for (entry, strides, size) in far_apart {
        let packed_width = if entry == "standardize" && strides[3] == 1 { 5 } else { 8 };
        let logits = logits(2, 3, 4, packed_width, 3);
        let size = size.unwrap_or(Size::new(4, packed_width));
        let params = Params { suppression: None, smoothing: None, ..Params::default() };
        let frame = Frame { logits, size, params, statistics: statistics(3, 1) };
        let element = ElementType::F16;
        let setting = Setting { element, arrangement: Arrangement::Far(strides), ..Setting::default() };
        let map =
            submit(&frame, &setting).unwrap_or_else(|failure| panic!("{entry} {strides:?}: {}", failure.0));
        assert_eq!(map.entries, [entry], "{strides:?}");
        assert_eq!(difference(&frame, &setting, &map), None, "{entry} {strides:?}");
    }
}
