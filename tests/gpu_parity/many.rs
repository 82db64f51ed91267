//! Many frames and large ones. Those called `many_...` build many engines: quick with the kernels inside the program
//! (`SML_NO_JIT=1`), slow where each is compiled first.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use sml::{ElementType, Layout, Params};

use crate::comparison::{ELEMENTS, check, difference, frame};
use crate::frames::frames;
use crate::on_gpu::{Setting, engine, gpu, on_gpu};

#[test]
fn one_engine_gives_the_same_bits_a_hundred_times() {
    let Some(stream) = gpu() else { return };
    let one = frame([2, 19, 33, 129], (66, 258), Params::default());
    let setting = Setting::new(ElementType::F16, Layout::Nchw);
    let mut engine = engine(&one, false);
    let first = on_gpu(&one, &setting, &mut engine, &stream);
    assert_eq!(difference(&one, &setting, &first), None);
    for turn in 0..100 {
        assert!(on_gpu(&one, &setting, &mut engine, &stream) == first, "frame {turn} differs from the first");
    }
}

#[test]
fn many_random_frames_agree_with_the_cpu() {
    let Some(stream) = gpu() else { return };
    let settings = (
        0..3_usize,
        any::<bool>(),
        [0..9_usize, 0..9],
        [0..9_usize, 0..9, 0..9],
        any::<bool>(),
        any::<bool>(),
    );
    let settings = settings.prop_map(|(element, channels_last, gaps, offsets, half_score, graph)| Setting {
        element: ELEMENTS[element],
        layout: if channels_last { Layout::Nhwc } else { Layout::Nchw },
        gaps,
        offsets,
        half_score,
        graph,
    });
    let config = ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() };
    let result = TestRunner::new(config).run(&(frames(), settings), |(frame, setting)| {
        let got = on_gpu(&frame, &setting, &mut engine(&frame, setting.graph), &stream);
        match difference(&frame, &setting, &got) {
            None => Ok(()),
            Some(difference) => Err(TestCaseError::fail(difference)),
        }
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

#[test]
fn a_large_frame_agrees_with_the_cpu() {
    let Some(stream) = gpu() else { return };
    for (element, layout, divisor) in [
        (ElementType::F16, Layout::Nchw, 4),
        (ElementType::F32, Layout::Nhwc, 8),
        (ElementType::BF16, Layout::Nchw, 1),
    ] {
        let large = frame([1, 19, 1024 / divisor, 2048 / divisor], (1024, 2048), Params::default());
        check(&large, Setting::new(element, layout), &stream);
    }
}

/// The CPU engine agrees with the official code on them (tests/golden.rs).
#[cfg(feature = "files")]
#[test]
fn many_golden_cases_agree_with_the_cpu() {
    use crate::data::golden;
    use crate::frames::Frame;

    let Some(stream) = gpu() else { return };
    let mut run = 0;
    for golden in golden::sets().into_iter().take(1) {
        for case in golden.cases().filter(|case| case.kind().ends_with("pipeline")) {
            let (logits, statistics, params) = golden.input(case);
            let frame = Frame { logits, size: case.out_size(), params, statistics };
            check(&frame, Setting::new(ElementType::F32, Layout::Nchw), &stream);
            run += 1;
        }
    }
    assert!(run > 0, "no golden case");
}
