//! Small frames of every kind: what compute-sanitizer can follow in seconds.

use sml::{
    BorderLabels, ElementType, Layout, NonFinite, Params, Replacement, Score, Smoothing, Suppression,
    Temperature,
};

use crate::comparison::{ELEMENTS, check, difference, frame};
use crate::frames::{Frame, logits};
use crate::on_gpu::{Setting, capture_and_replay, engine, gpu, on_gpu, through};

#[test]
fn small_frames_of_every_element_type_and_layout() {
    let Some(stream) = gpu() else { return };
    for element in ELEMENTS {
        for layout in [Layout::Nchw, Layout::Nhwc] {
            let setting = Setting::new(element, layout);
            check(&frame([2, 19, 21, 67], (21, 67), Params::default()), setting, &stream);
            check(&frame([1, 19, 6, 17], (24, 68), Params::default()), setting, &stream);
        }
    }
}

#[test]
fn small_frames_of_awkward_shapes() {
    let Some(stream) = gpu() else { return };
    let shapes =
        [(1, 1, 1, 1), (1, 19, 1, 37), (3, 2, 37, 1), (1, 255, 3, 5), (1, 3, 9, 300), (1, 3, 140, 6)];
    for (n, c, h, w) in shapes {
        check(
            &frame([n, c, h, w], (h, w), Params::default()),
            Setting::new(ElementType::F16, Layout::Nchw),
            &stream,
        );
        check(
            &frame([n, c, h, w], (h, w), Params::default()),
            Setting::new(ElementType::F32, Layout::Nhwc),
            &stream,
        );
    }
}

#[test]
fn small_frames_upsampled_by_any_ratio() {
    let Some(stream) = gpu() else { return };
    let sizes =
        [((8, 16), (64, 128)), ((3, 4), (7, 9)), ((3, 4), (1, 1)), ((1, 1), (4, 5)), ((20, 30), (13, 47))];
    for ((h, w), size) in sizes {
        for align_corners in [false, true] {
            for layout in [Layout::Nchw, Layout::Nhwc] {
                let params = Params { align_corners, ..Params::default() };
                check(&frame([1, 19, h, w], size, params), Setting::new(ElementType::F16, layout), &stream);
            }
        }
    }
}

#[test]
fn small_frames_at_any_alignment_and_with_gaps() {
    let Some(stream) = gpu() else { return };
    for (offsets, gaps) in
        [([1, 1, 1], [0, 0]), ([3, 2, 7], [1, 5]), ([4, 4, 4], [8, 16]), ([0, 0, 0], [5, 0])]
    {
        for element in ELEMENTS {
            for half_score in [false, true] {
                let setting = Setting { gaps, offsets, half_score, ..Setting::new(element, Layout::Nchw) };
                check(&frame([2, 5, 11, 70], (11, 70), Params::default()), setting, &stream);
            }
        }
        let setting = Setting { offsets, ..Setting::new(ElementType::F16, Layout::Nhwc) };
        check(&frame([2, 5, 11, 70], (11, 70), Params::default()), setting, &stream);
    }
}

#[test]
fn small_frames_under_every_parameter() {
    let Some(stream) = gpu() else { return };
    let default = Params::default();
    let scores = [
        Score::Msp,
        Score::MaxLogit,
        Score::Entropy,
        Score::Energy(Temperature::new(1.5).unwrap()),
        Score::Sml,
    ];
    let suppressions = [None, Some((0, 3)), Some((4, 1)), Some((8, 4)), Some((32, 4))];
    let smoothings = [None, Some((1, 1.0, 1)), Some((3, 0.5, 9)), Some((9, 2.0, 2)), Some((7, 1.0, 40))];
    let mut all: Vec<Params> = scores.map(|score| Params { score, ..default }).to_vec();
    all.extend(suppressions.map(|given| {
        let suppression = given.map(|(width, iterations)| Suppression::new(width, iterations).unwrap());
        Params { suppression, ..default }
    }));
    all.extend(smoothings.map(|given| {
        let smoothing = given.map(|(size, sigma, dilation)| Smoothing::new(size, sigma, dilation).unwrap());
        Params { smoothing, ..default }
    }));
    all.push(Params { border_labels: BorderLabels::One, ..default });
    all.push(Params { suppression: None, smoothing: None, ..default });
    for params in all {
        check(
            &frame([1, 6, 40, 75], (40, 75), params),
            Setting::new(ElementType::F32, Layout::Nchw),
            &stream,
        );
    }
}

#[test]
fn small_frames_with_broken_pixels() {
    let Some(stream) = gpu() else { return };
    for non_finite in [NonFinite::Propagate, NonFinite::Replace(Replacement::default())] {
        let mut broken = frame([2, 4, 19, 33], (19, 33), Params { non_finite, ..Params::default() });
        broken.logits[(0, 1, 3, 4)] = f32::NAN;
        broken.logits[(0, 2, 18, 32)] = f32::INFINITY;
        broken.logits[(1, 0, 0, 0)] = f32::NEG_INFINITY;
        check(&broken, Setting::new(ElementType::F32, Layout::Nchw), &stream);
        check(&broken, Setting::new(ElementType::F16, Layout::Nhwc), &stream);
    }
}

#[test]
fn small_frames_in_graphs_whose_addresses_change() {
    let Some(stream) = gpu() else { return };
    let one = frame([1, 19, 16, 40], (32, 80), Params::default());
    let mut engine = engine(&one, true);
    for (turn, element) in ELEMENTS.into_iter().cycle().take(9).enumerate() {
        let logits = logits(1, 19, 16, 40, turn as u64);
        let one = Frame { logits, ..one.clone() };
        let setting = Setting { offsets: [turn % 4, 0, turn % 3], ..Setting::new(element, Layout::Nchw) };
        let got = on_gpu(&one, &setting, &mut engine, &stream);
        assert_eq!(difference(&one, &setting, &got), None, "frame {turn}");
    }
}

#[test]
fn small_frames_can_be_captured_by_the_caller() {
    let Some(stream) = gpu() else { return };
    for (shape, size) in [([2, 19, 16, 40], (16, 40)), ([1, 19, 16, 40], (64, 160))] {
        let one = frame(shape, size, Params::default());
        let setting = Setting::new(ElementType::F16, Layout::Nchw);
        let got = through(capture_and_replay, &one, &setting, &mut engine(&one, false), &stream);
        assert_eq!(difference(&one, &setting, &got), None, "{size:?}");
    }
}
