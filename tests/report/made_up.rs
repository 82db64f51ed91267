//! An evaluation with everything a report can show, made up: scores are random numbers, pictures are gradients.

use image::{Rgb, RgbImage};
use ndarray::Array2;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use sml::Params;
use sml::cityscapes::class_names;
use sml::evaluation::{
    ClosedSet, ComponentMetrics, DatasetFacts, Evaluation, Failure, Mode, ScoreResult, ThresholdRow,
};
use sml::metrics::PixelScores;
use sml::render::{
    ClassPanel, ClassScoreHistograms, Figure, PaperFigure, ReportPicture, ReportPictures, ReportScene,
    ScoreRange, class_histograms, heat_map, mask,
};

const SCORES: [(&str, f64); 7] = [
    ("msp", 1.2),
    ("max_logit", 1.6),
    ("entropy", 1.5),
    ("energy", 1.7),
    ("sml", 2.3),
    ("sml+suppression", 2.6),
    ("sml+suppression+smoothing", 3.0),
];

/// What tries to break out of a page.
pub const HOSTILE: &str = "</title></style>\"'><script>document.title='broken'</script><img src=x onerror=alert(1)>&amp;\u{202e}\0]]>";

pub fn random() -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(7)
}

/// About a normal distribution: the sum of twelve uniform numbers.
fn normal(random: &mut ChaCha8Rng) -> f64 {
    (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0
}

/// The rates at every threshold of some made-up scores, by counting.
fn result(name: &str, apart: f64, random: &mut ChaCha8Rng) -> ScoreResult {
    let (positives, negatives) = (400, 20_000);
    let mut pixels: Vec<(f32, u8)> = (0..positives + negatives)
        .map(|index| {
            let unexpected = u8::from(index < positives);
            ((normal(random) * 0.9 + apart * f64::from(unexpected)) as f32, unexpected)
        })
        .collect();
    let mut scores = PixelScores::new();
    let (values, labels): (Vec<f32>, Vec<u8>) = pixels.iter().copied().unzip();
    scores.add(&values, &labels).unwrap();
    pixels.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut found = 0;
    let curve: Vec<ThresholdRow> = (1..)
        .zip(&pixels)
        .map(|(count, &(threshold, label))| {
            found += i32::from(label);
            ThresholdRow {
                threshold,
                tpr: f64::from(found) / f64::from(positives),
                fpr: f64::from(count - found) / f64::from(negatives),
                precision: f64::from(found) / f64::from(count),
            }
        })
        .collect();
    let thresholds = [0.5, 0.8, 0.9, 0.95, 0.99];
    let at = |tpr: f64| *curve.iter().find(|row| row.tpr >= tpr).unwrap();
    let f1 = (0..11).map(|step| (0.25 + 0.05 * f64::from(step), 0.6 - 0.05 * f64::from(step))).collect();
    ScoreResult {
        name: name.to_owned(),
        pixels: scores.evaluate().unwrap(),
        error_bound: None,
        components: Some(ComponentMetrics {
            threshold: 0.73,
            siou: 0.2 + apart / 10.0,
            ppv: (apart > 1.3).then_some(0.1 + apart / 20.0),
            mean_f1: apart / 8.0,
            f1,
            labelled: 31,
            predicted: 77,
        }),
        auroc_by_class: (0..19)
            .map(|class| (class % 5 != 3).then(|| 0.9 - 0.3 / (apart + f64::from(class))))
            .collect(),
        thresholds: thresholds.map(at).to_vec(),
        curve: curve.into_iter().step_by(7).collect(),
    }
}

pub fn evaluation() -> Evaluation {
    let random = &mut random();
    Evaluation {
        schema: Evaluation::SCHEMA,
        version: "0.1.0".into(),
        date: "2026-01-31".into(),
        dataset: DatasetFacts {
            name: "fishyscapes-lost-and-found".into(),
            split: Some("validation".into()),
            images: 100,
            files: 200,
            sha256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".into(),
        },
        model: Some("dabnet".into()),
        model_sha256: Some("2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae".into()),
        device: Some("cpu".into()),
        statistics_sha256: Some("fcde2b2edba56bf408601fb721fe9b5c338d10ee429ea04fae5511b68fbf8fb9".into()),
        params: Some(Params::default()),
        mode: Mode::Exact,
        class_names: class_names(),
        scores: SCORES.iter().map(|&(name, apart)| result(name, apart, random)).collect(),
        closed_set: Some(ClosedSet {
            miou: 0.6543,
            iou: class_names()
                .into_iter()
                .enumerate()
                .map(|(i, name)| (name, (i != 16).then_some(0.9 - i as f64 / 40.0)))
                .collect(),
        }),
        failures: vec![Failure {
            image: "04_Maurener_Weg/17".into(),
            problem: "labels are 512x1024: expected the image's size".into(),
        }],
    }
}

/// Max logits whose means differ from class to class, and the same standardized.
pub fn class_scores() -> [ClassScoreHistograms; 2] {
    let random = &mut random();
    let names = class_names();
    let mut histograms = [ClassScoreHistograms::new(&names), ClassScoreHistograms::new(&names)];
    for class in 0..19_u8 {
        let (mean, deviation) =
            (5.0 + 0.61 * f64::from(class * 7 % 19), 0.7 + 0.1 * f64::from(class * 5 % 11));
        for unexpected in [0_u8, 1] {
            let count = if unexpected == 0 { 3000 } else { 40 * usize::from(class % 4) };
            let values = Array2::from_shape_fn((1, count), |_| normal(random) - 2.2 * f64::from(unexpected));
            let labels = Array2::from_elem((1, count), unexpected);
            let prediction = Array2::from_elem((1, count), class);
            let logits = values.mapv(|value| -(mean + deviation * value) as f32);
            let standardized = values.mapv(|value| -value as f32);
            histograms[0].add(logits.view(), prediction.view(), labels.view()).unwrap();
            histograms[1].add(standardized.view(), prediction.view(), labels.view()).unwrap();
        }
    }
    histograms
}

pub fn class_panels() -> Vec<Figure> {
    let histograms = class_scores();
    let panel = |title, index: usize, threshold| ClassPanel {
        title,
        histograms: &histograms[index],
        threshold: Some(threshold),
    };
    [panel("max logit", 0, -8.1), panel("standardized max logit", 1, 0.6)]
        .map(|panel| class_histograms(&[panel]).unwrap())
        .into()
}

/// A score map with a bright spot, its labels, and a photograph of the same size.
fn scene(index: u32, (width, height): (u32, u32)) -> (RgbImage, Array2<f32>, Array2<u8>) {
    let spot = (width / 3 + 40 * index, height / 2);
    let distance = |y: usize, x: usize| (x as f32 - spot.0 as f32).hypot(y as f32 - spot.1 as f32);
    let shape = (height as usize, width as usize);
    let photograph = RgbImage::from_fn(width, height, |x, y| {
        let noise = ((x * 7919 + y * 104_729) % 23) as u8;
        Rgb([(x * 200 / width) as u8 + noise, (y * 200 / height) as u8 + noise, 90 + (index * 8) as u8])
    });
    let scores = Array2::from_shape_fn(shape, |(y, x)| {
        1.0 - distance(y, x) / 300.0 + ((x * 31 + y * 17) % 97) as f32 / 400.0
    });
    let labels = Array2::from_shape_fn(shape, |(y, x)| {
        if y > shape.0 * 9 / 10 { 255 } else { u8::from(distance(y, x) < 60.0) }
    });
    (photograph, scores, labels)
}

pub fn pictures(scenes: u32, size: (u32, u32)) -> ReportPictures {
    let mut figure = PaperFigure::new(&["MSP", "max logit", "ours"], 256);
    let mut shown = Vec::new();
    for index in 0..scenes {
        let (photograph, scores, labels) = scene(index, size);
        let heat = heat_map(scores.view(), ScoreRange::robust(scores.iter().copied())).unwrap();
        let found = |threshold| {
            image::DynamicImage::ImageLuma8(mask::unexpected(scores.view(), threshold).unwrap()).into_rgb8()
        };
        if index < 4 {
            let maps = [0.55, 0.7, 0.85].map(|threshold| (scores.view(), threshold));
            figure.add(&photograph, &maps, Some(labels.view())).unwrap();
        }
        shown.push(ReportScene {
            name: format!("04_Maurener_Weg_8/04_Maurener_Weg_8_000000_0000{index:02}0"),
            note: "1.20 % unexpected pixels".into(),
            pictures: vec![
                ReportPicture::photograph("image", &photograph).unwrap(),
                ReportPicture::photograph("max logit", &heat).unwrap(),
                ReportPicture::photograph("ours", &heat).unwrap(),
                ReportPicture::drawing("unexpected at 95 % TPR", &found(0.85)).unwrap(),
                ReportPicture::drawing(
                    "labels",
                    &image::DynamicImage::ImageLuma8(mask::labelled(labels.view()).unwrap()).into_rgb8(),
                )
                .unwrap(),
            ],
            classes: vec![0, 10, 13],
        });
    }
    ReportPictures {
        class_panels: class_panels(),
        paper_figure: Some(
            ReportPicture::figure("unexpected pixels at 95 % TPR", &figure.draw().unwrap()).unwrap(),
        ),
        scenes: shown,
        facts: vec![("command".into(), "sml eval --dataset fishyscapes-lost-and-found".into())],
    }
}
