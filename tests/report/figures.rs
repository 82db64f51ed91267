//! Figures as SVG and as pictures.

use image::Rgb;
use sml::render::{ClassPanel, ClassScoreHistograms, Curve, Figure, PaperFigure, class_histograms, curves};

use crate::made_up::{self, HOSTILE};

const KINDS: [Curve; 3] = [Curve::Roc, Curve::RocLogFpr, Curve::PrecisionRecall];

/// Width and height that an SVG says of itself.
fn size(svg: &str) -> (u32, u32) {
    let value = |name: &str| {
        let start = format!(" {name}=\"");
        svg.split_once(&start).unwrap().1.split_once('"').unwrap().0.parse().unwrap()
    };
    (value("width"), value("height"))
}

/// Panics unless the SVG is XML: every element closed, every letter allowed, no markup out of texts.
fn assert_xml(svg: &str) {
    let mut open = Vec::new();
    for tag in svg.split('<').skip(1) {
        let tag = tag.split_once('>').unwrap().0;
        match tag.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name), "{tag}"),
            None if tag.ends_with('/') => {}
            None => open.push(tag.split(' ').next().unwrap()),
        }
    }
    assert!(open.is_empty(), "{open:?}");
    assert!(!svg.contains(|letter: char| letter.is_control() && letter != '\n'));
}

fn both_forms(figure: &Figure) -> (String, image::RgbImage) {
    let (svg, picture) = (figure.svg().unwrap(), figure.picture().unwrap());
    assert_xml(&svg);
    let (width, height) = size(&svg);
    assert_eq!(picture.dimensions(), (2 * width, 2 * height));
    // White paper with something on it, in both.
    let inked = picture.pixels().filter(|pixel| pixel.0 != [255; 3]).count();
    assert!(
        (picture.len() / 3 / 100..picture.len() / 6).contains(&inked),
        "{inked} pixels of {}",
        picture.len() / 3
    );
    (svg, picture)
}

#[test]
fn curves_name_scores_with_their_numbers() {
    let evaluation = made_up::evaluation();
    for kind in KINDS {
        let (svg, _) = both_forms(&curves(&evaluation.scores, kind).unwrap());
        for score in &evaluation.scores {
            assert!(svg.contains(&format!("\n{}\n", score.name)), "{kind:?} lacks {}", score.name);
            let value = if kind == Curve::PrecisionRecall { score.pixels.ap } else { score.pixels.auroc };
            assert!(svg.contains(&format!("\n{:.2}\n", value * 100.0)), "{kind:?} lacks {value}");
        }
        assert!(svg.contains("TPR 95 %"));
        assert_eq!(svg.contains("\n0.001\n"), kind == Curve::RocLogFpr);
    }
}

#[test]
fn curves_run_where_their_points_are() {
    // One threshold finds half of the unexpected pixels and a quarter of the normal ones.
    let mut score = made_up::evaluation().scores.remove(0);
    score.curve.truncate(1);
    (score.curve[0].tpr, score.curve[0].fpr, score.curve[0].precision) = (0.5, 0.25, 0.6);
    let svg = curves(&[score], Curve::Roc).unwrap().svg().unwrap();
    // The frame is the one polyline of five points; the curve that of three.
    let lines: Vec<Vec<(f64, f64)>> = svg
        .split("points=\"")
        .skip(1)
        .map(|rest| {
            let numbers = rest.split_once('"').unwrap().0.split_whitespace();
            let point = |pair: &str| {
                pair.split_once(',').map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap())).unwrap()
            };
            numbers.map(point).collect()
        })
        .collect();
    let curve = lines.iter().find(|line| line.len() == 3).unwrap();
    let (left, top) = (curve[0].0, curve[2].1);
    let (width, height) = (curve[2].0 - left, curve[0].1 - top);
    assert!(((curve[1].0 - left) / width - 0.25).abs() < 2.0 / width, "{curve:?}");
    assert!(((curve[1].1 - top) / height - 0.5).abs() < 2.0 / height, "{curve:?}");
}

#[test]
fn the_best_ten_of_many_scores_are_shown() {
    let one = made_up::evaluation().scores.remove(0);
    let many: Vec<_> = (0..25)
        .map(|index| {
            let mut score = one.clone();
            score.name = format!("setting {index}.");
            score.pixels.auroc = f64::from((index * 7) % 25) / 25.0;
            score
        })
        .collect();
    let (svg, _) = both_forms(&curves(&many, Curve::Roc).unwrap());
    for (index, score) in many.iter().enumerate() {
        assert_eq!(svg.contains(&format!("\nsetting {index}.\n")), score.pixels.auroc >= 0.6, "{index}");
    }
    assert!(svg.contains("The best 10 of 25 scores."));
    assert!(curves(&[], Curve::Roc).is_err());
}

#[test]
fn names_cannot_break_out_of_a_figure() {
    let mut evaluation = made_up::evaluation();
    evaluation.scores.iter_mut().for_each(|score| score.name = HOSTILE.into());
    for kind in KINDS {
        let (svg, _) = both_forms(&curves(&evaluation.scores, kind).unwrap());
        assert!(!svg.contains("<script") && !svg.contains("<img"), "{svg}");
    }
}

#[test]
fn curves_without_points_have_axes() {
    let mut score = made_up::evaluation().scores.remove(0);
    score.curve.clear();
    for kind in KINDS {
        curves(std::slice::from_ref(&score), kind).unwrap().picture().unwrap();
    }
    score.curve =
        vec![sml::evaluation::ThresholdRow { threshold: 0.0, tpr: f64::NAN, fpr: 0.0, precision: 0.0 }];
    curves(&[score], Curve::RocLogFpr).unwrap().picture().unwrap();
}

#[test]
fn classes_have_rows_and_panels_titles() {
    let histograms = made_up::class_scores();
    let panel =
        |title, index: usize| ClassPanel { title, histograms: &histograms[index], threshold: Some(-8.0) };
    let figure = class_histograms(&[panel("max logit", 0), panel("standardized & <max> logit", 1)]).unwrap();
    let (svg, picture) = both_forms(&figure);
    for text in [
        "max logit",
        "standardized &amp; &lt;max&gt; logit",
        "road",
        "bicycle",
        "normal pixels",
        "unexpected pixels",
    ] {
        assert!(svg.contains(&format!("\n{text}\n")), "{text}");
    }
    assert!(figure.title().contains("traffic light"));
    // Both distributions are there, in their colours.
    for color in [[0x2f, 0x7e, 0xd8], [0xd5, 0x52, 0x00]] {
        assert!(picture.pixels().any(|pixel| *pixel == Rgb(color)), "{color:?}");
    }
}

#[test]
fn class_figures_need_pixels_of_the_same_classes() {
    let names = ["a".to_owned(), "b".to_owned()];
    let (empty, other) = (ClassScoreHistograms::new(&names), ClassScoreHistograms::new(&names[..1]));
    let panel = |histograms| ClassPanel { title: "t", histograms, threshold: None };
    for panels in [vec![], vec![panel(&empty)], vec![panel(&empty), panel(&other)]] {
        assert!(class_histograms(&panels).is_err());
    }
    // All pixels of one class at one value are drawn too.
    let mut one = ClassScoreHistograms::new(&names);
    let zeros = ndarray::Array2::zeros((4, 4));
    let labels = ndarray::Array2::zeros((4, 4));
    one.add(zeros.view(), labels.view(), labels.view()).unwrap();
    let svg = class_histograms(&[panel(&one)]).unwrap().svg().unwrap();
    assert!(svg.contains("\na\n") && !svg.contains("\nb\n"));
}

#[test]
fn the_papers_figure_shows_what_each_method_finds() {
    let mut figure = PaperFigure::new(&["MSP", "ours"], 64);
    let photograph = image::RgbImage::from_pixel(128, 64, Rgb([10, 20, 200]));
    let scores = ndarray::Array2::from_shape_fn((64, 128), |(_, x)| if x < 64 { 1.0_f32 } else { 0.0 });
    let labels = ndarray::Array2::from_elem((64, 128), 1_u8);
    figure.add(&photograph, &[(scores.view(), 0.5), (scores.view(), 2.0)], None).unwrap();
    figure.add(&photograph, &[(scores.view(), 0.0), (scores.view(), 0.5)], Some(labels.view())).unwrap();
    assert!(figure.add(&photograph, &[(scores.view(), 0.5)], None).is_err());
    assert_eq!(figure.rows(), 2);
    let picture = figure.draw().unwrap();
    let (gap, panel, caption) = (2, 64, (picture.height() - 3 * 2 - 2 * 32) / 2);
    let at = |row: u32, column: u32, x: u32| {
        picture.get_pixel(gap + column * (panel + gap) + x, gap + row * (32 + caption + gap) + caption + 16).0
    };
    assert_eq!(at(0, 0, 9), [10, 20, 200]);
    // A white mask ends at a line, not in the paper.
    assert_ne!(at(0, 1, 0), [255; 3]);
    assert_eq!([at(0, 1, 9), at(0, 1, 50), at(0, 2, 9)], [[255; 3], [0; 3], [0; 3]]);
    assert_eq!(
        [at(1, 1, 50), at(1, 2, 9), at(1, 2, 50), at(1, 3, 9)],
        [[255; 3], [255; 3], [0; 3], [255; 3]]
    );
    assert!(PaperFigure::new(&["MSP"], 64).draw().is_err());
}
