//! Properties of the CPU engine on random inputs: it agrees with the float64 reference, and its result depends on
//! nothing but the image and the parameters.
#![allow(clippy::panic, clippy::unwrap_used, reason = "functions that tests share fail as tests do")]

mod frames;
mod instruction_sets;

use frames::{Frame, LONGEST, frames, has_near_ties};
use half::{bf16, f16};
use ndarray::{Array4, Axis};
use proptest::prelude::*;
use sml::{
    AnomalyMapMut, Capacity, Device, Engine, Layout, Logits, NonFinite, Replacement, ScoreMut, Size,
    reference,
};

fn agrees_with_the_reference(frame: &Frame) -> Result<(), TestCaseError> {
    prop_assume!(!has_near_ties(frame));
    let exact = frame.logits.mapv(f64::from);
    let want = reference::stages(exact.view(), &frame.params, Some(&frame.statistics), frame.size).unwrap();
    let mut engine = frame.engine();
    let map = engine.submit(&Logits::try_from(frame.logits.view()).unwrap(), frame.size).unwrap();
    prop_assert_eq!(map.prediction, want.prediction.view());
    prop_assert_eq!(map.non_finite, &want.non_finite[..]);
    let scale = want.standardized.iter().fold(1.0_f64, |scale, v| scale.max(v.abs()));
    for (got, want) in map.score.iter().zip(&want.smoothed) {
        let error = (f64::from(*got) + want).abs();
        prop_assert!(error <= 3e-6 * scale, "score {} instead of {}", got, -want);
    }
    Ok(())
}

fn layouts_and_narrow_types_agree(frame: &Frame) -> Result<(), TestCaseError> {
    let half = frame.logits.mapv(f16::from_f32);
    let brain = frame.logits.mapv(bf16::from_f32);
    let channels_last =
        |array: &Array4<f16>| array.view().permuted_axes([0, 2, 3, 1]).as_standard_layout().into_owned();
    let nhwc = channels_last(&half);
    let widened = Frame { logits: half.mapv(f16::to_f32), ..frame.clone() };
    let want = widened.run(&mut widened.engine()).0;
    let bits = |logits: Logits<'_>| -> Vec<u32> {
        frame.engine().submit(&logits, frame.size).unwrap().score.iter().map(|v| v.to_bits()).collect()
    };
    let shape = frame.shape();
    prop_assert_eq!(&bits(Logits::packed(half.as_slice().unwrap(), shape, Layout::Nchw).unwrap()), &want);
    prop_assert_eq!(&bits(Logits::packed(nhwc.as_slice().unwrap(), shape, Layout::Nhwc).unwrap()), &want);
    let permuted = Logits::try_from(nhwc.view().permuted_axes([0, 3, 1, 2])).unwrap();
    prop_assert_eq!(&bits(permuted), &want);
    // Columns first: neither the classes nor the pixels of a row lie side by side.
    let columns = half.view().permuted_axes([0, 1, 3, 2]).as_standard_layout().into_owned();
    let transposed = Logits::try_from(columns.view().permuted_axes([0, 1, 3, 2])).unwrap();
    prop_assert_eq!(&bits(transposed), &want);
    let widened = Frame { logits: brain.mapv(bf16::to_f32), ..frame.clone() };
    let want = widened.run(&mut widened.engine()).0;
    prop_assert_eq!(&bits(Logits::try_from(brain.view()).unwrap()), &want);
    let nhwc = brain.view().permuted_axes([0, 2, 3, 1]).as_standard_layout().into_owned();
    prop_assert_eq!(&bits(Logits::packed(nhwc.as_slice().unwrap(), shape, Layout::Nhwc).unwrap()), &want);
    let want = frame.run(&mut frame.engine()).0;
    let nhwc = frame.logits.view().permuted_axes([0, 2, 3, 1]).as_standard_layout().into_owned();
    prop_assert_eq!(&bits(Logits::packed(nhwc.as_slice().unwrap(), shape, Layout::Nhwc).unwrap()), &want);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn engine_agrees_with_the_reference(frame in frames()) {
        agrees_with_the_reference(&frame)?;
    }

    /// More than a word of candidates tells apart, and squares of NHWC logits side by side and overlapping.
    #[test]
    fn many_classes_agree_with_the_reference(
        (classes, height, width) in (10_usize..=80, 1_usize..=4, 2_usize..=12),
        size in (1_usize..=8, 1_usize..=40).prop_map(|(height, width)| Size::new(height, width)),
        (params, seed) in (frames::params(), any::<u64>()),
    ) {
        let logits = frames::logits(1, classes, height, width, seed);
        let frame = Frame { logits, size, params, statistics: frames::statistics(classes, seed) };
        agrees_with_the_reference(&frame)?;
        layouts_and_narrow_types_agree(&frame)?;
        let logits = frames::logits(1, classes, size.height, size.width, seed);
        layouts_and_narrow_types_agree(&Frame { logits, ..frame })?;
    }

    #[test]
    fn threads_do_not_change_a_bit(frame in frames(), threads in 1_usize..=5) {
        let want = frame.run(&mut frame.engine());
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let got = pool.install(|| frame.run(&mut frame.engine()));
        prop_assert_eq!(got, want);
    }

    /// Tall lanes go ahead through all stages and leave seams between them; a single thread has no seams.
    #[test]
    fn lanes_that_go_ahead_change_no_bit(
        frame in frames(),
        (height, width) in (60_usize..=290, 1_usize..=40),
        (threads, seed, broken) in (2_usize..=4, any::<u64>(), any::<prop::sample::Index>()),
    ) {
        let classes = frame.shape().classes;
        let mut logits = frames::logits(1, classes, height, width, seed);
        let pixels = logits.len();
        logits.as_slice_mut().unwrap()[broken.index(pixels)] = f32::NAN;
        let frame = Frame { logits, size: Size::new(height, width), ..frame };
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| frame.run(&mut frame.engine()))
        };
        prop_assert_eq!(run(threads), run(1));
    }

    #[test]
    fn an_image_is_the_same_alone_and_in_a_batch(frame in frames()) {
        let (score, prediction, _) = frame.run(&mut frame.engine());
        let pixels = frame.size.pixels();
        for (n, image) in frame.logits.axis_iter(Axis(0)).enumerate() {
            let alone = Frame { logits: image.insert_axis(Axis(0)).to_owned(), ..frame.clone() };
            let (alone_score, alone_prediction, _) = alone.run(&mut alone.engine());
            prop_assert_eq!(&alone_score[..], &score[n * pixels..(n + 1) * pixels]);
            prop_assert_eq!(&alone_prediction[..], &prediction[n * pixels..(n + 1) * pixels]);
        }
    }

    #[test]
    fn an_engine_forgets_the_frames_before(first in frames(), second in frames()) {
        let mut first = first;
        let classes = first.shape().classes;
        let second = Frame {
            logits: second.logits.slice(ndarray::s![.., ..second.shape().classes.min(classes), .., ..]).to_owned(),
            params: first.params,
            statistics: first.statistics.clone(),
            ..second
        };
        prop_assume!(second.shape().classes == classes);
        // A broken pixel in the last rows, whose lane a lower frame does not use.
        first.logits.iter_mut().last().into_iter().for_each(|logit| *logit = f32::NAN);
        let capacity = Capacity { batch: 2, classes, logits: LONGEST, output: LONGEST };
        let mut engine = Engine::new(Device::Cpu, first.params, Some(&first.statistics), capacity).unwrap();
        first.run(&mut engine);
        prop_assert_eq!(second.run(&mut engine), second.run(&mut second.engine()));
    }

    #[test]
    fn layouts_and_narrow_types_agree_with_packed_float32(frame in frames()) {
        layouts_and_narrow_types_agree(&frame)?;
    }

    #[test]
    fn broken_logits_are_counted_and_replaced(
        frame in frames(),
        broken in proptest::collection::vec((any::<prop::sample::Index>(), 0_usize..4), 1..6),
        pixel in proptest::option::of(any::<prop::sample::Index>()),
        replace in any::<bool>(),
    ) {
        let mut frame = frame;
        frame.size = frame.shape().size;
        if replace {
            frame.params.non_finite = NonFinite::Replace(Replacement::default());
        }
        let (classes, pixels) = (frame.shape().classes, frame.size.pixels());
        for (at, kind) in broken {
            let elements = frame.logits.as_slice_mut().unwrap();
            // Anywhere, or several in one pixel: then the first NaN counts, and the first of the largest finite ones.
            let at = match pixel {
                Some(pixel) => at.index(classes) * pixels + pixel.index(pixels),
                None => at.index(elements.len()),
            };
            elements[at] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 100.0][kind];
        }
        let exact = frame.logits.mapv(f64::from);
        let want = reference::stages(exact.view(), &frame.params, Some(&frame.statistics), frame.size).unwrap();
        let mut engine = frame.engine();
        let map = engine.submit(&Logits::try_from(frame.logits.view()).unwrap(), frame.size).unwrap();
        prop_assert_eq!(map.non_finite, &want.non_finite[..]);
        prop_assert_eq!(map.prediction, want.prediction.view());
        if replace {
            prop_assert!(map.score.iter().all(|v| v.is_finite()));
        }
        let scale = want.standardized.iter().filter(|v| v.is_finite()).fold(10.0_f64, |s, v| s.max(v.abs()));
        for (got, want) in map.score.iter().zip(&want.smoothed) {
            let (got, want) = (f64::from(*got), -want);
            let same = got == want || (got.is_nan() && want.is_nan()) || (got - want).abs() <= 3e-6 * scale;
            prop_assert!(same, "score {} instead of {}", got, want);
        }
    }

    #[test]
    fn results_go_into_the_callers_memory(frame in frames()) {
        let (bits, prediction, non_finite) = frame.run(&mut frame.engine());
        let mut score = vec![f16::NAN; bits.len()];
        let (mut classes, mut counts) = (vec![255; bits.len()], vec![99; non_finite.len()]);
        let output = AnomalyMapMut {
            size: frame.size,
            score: ScoreMut::F16(&mut score),
            prediction: &mut classes,
            non_finite: &mut counts,
        };
        frame.engine().submit_into(&Logits::try_from(frame.logits.view()).unwrap(), output).unwrap();
        let rounded: Vec<f16> = bits.iter().map(|&bits| f16::from_f32(f32::from_bits(bits))).collect();
        prop_assert_eq!(score, rounded);
        prop_assert_eq!((classes, counts), (prediction, non_finite));
    }
}

#[test]
fn on_every_instruction_set() {
    instruction_sets::run_again("on_every_instruction_set");
}
