//! The report as a page.

use sml::evaluation::{Evaluation, Mode};
use sml::render::{ReportPictures, evaluation_report};

use crate::browser::{assert_sound, look_at};
use crate::made_up::{self, HOSTILE};

/// A report of everything, small.
fn report() -> String {
    evaluation_report(&made_up::evaluation(), &made_up::pictures(3, (320, 160))).unwrap()
}

/// A folder of its own under the build's, so that what a test made can be looked at.
fn folder(name: &str) -> std::path::PathBuf {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("report").join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn everything_is_in_the_report() {
    let html = report();
    let evaluation = made_up::evaluation();
    let mut texts: Vec<String> = [
        "Anomaly segmentation on fishyscapes-lost-and-found, validation",
        "100 images: 400 unexpected and 20\u{202f}000 normal pixels, 0 ignored.",
        "1 image could not be evaluated",
        "04_Maurener_Weg/<wbr>17",
        "labels are 512x1024: expected the image&#39;s size",
        "content hash (SHA-256)",
        "smoothing.dilation",
        "sml eval --dataset",
        "<details open><summary>sml+suppression+smoothing</summary>",
        "traffic light",
        "A score is an anomaly score",
        "minus the maximum softmax probability",
        "65.43 %",
        "no single threshold fits all classes",
        "<span style=\"background:#4682b4\"></span>sky",
    ]
    .map(String::from)
    .into();
    texts.extend(evaluation.model_sha256.clone());
    texts.extend(evaluation.statistics_sha256.clone());
    texts.push(evaluation.dataset.sha256.clone());
    for score in &evaluation.scores {
        texts.extend(
            [score.pixels.auroc, score.pixels.ap, score.pixels.fpr95]
                .map(|share| format!("{:.2}", share * 100.0)),
        );
    }
    for text in texts {
        assert!(html.contains(&text), "the report lacks {text}");
    }
    assert_eq!(html.matches("<svg ").count(), 5);
    assert_eq!(html.matches("<img ").count(), 3 * 5 + 1);
    let legend = html.split_once("class=\"legend\"").unwrap().1.split_once("</ul>").unwrap().0;
    assert_eq!(legend.matches("<li>").count(), 3, "the classes of the scenes, and no others");
}

#[test]
fn the_report_needs_nothing_else() {
    let html = report();
    for foreign in ["<script", "<link", "@import", "url(", "src=\"http", "href=\"http", "src=\"//", "file:"] {
        assert!(!html.contains(foreign), "{foreign}");
    }
    let sources = html.split(" src=\"").skip(1);
    assert!(sources.into_iter().all(|source| source.starts_with("data:image/")));
    let anchors: Vec<&str> =
        html.split("href=\"#").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(anchors.len() >= 8);
    for anchor in anchors {
        assert!(html.contains(&format!("id=\"{anchor}\"")), "{anchor}");
    }
}

#[test]
fn what_was_not_measured_is_left_out() {
    let mut evaluation = made_up::evaluation();
    (evaluation.closed_set, evaluation.params, evaluation.model) = (None, None, None);
    evaluation.failures.clear();
    for score in &mut evaluation.scores {
        (score.components, score.auroc_by_class) = (None, vec![]);
        (score.thresholds, score.curve) = (vec![], vec![]);
    }
    let html = evaluation_report(&evaluation, &ReportPictures::default()).unwrap();
    for part in [
        "mIoU",
        "sIoU",
        "Parameters",
        "could not be evaluated",
        "<svg",
        "<img",
        "<details",
        "<article",
        "by class",
    ] {
        assert!(!html.contains(part), "{part}");
    }
    for id in ["metrics", "definitions", "provenance"] {
        assert!(html.contains(&format!("<section id=\"{id}\">")), "{id}");
    }
    // Not even a score is needed.
    evaluation.scores.clear();
    evaluation_report(&evaluation, &ReportPictures::default()).unwrap();
}

#[test]
fn histogram_mode_prints_its_bound() {
    let mut evaluation = made_up::evaluation();
    evaluation.mode = Mode::Histogram;
    evaluation.scores.iter_mut().for_each(|score| score.error_bound = Some(0.000_000_31));
    let html = evaluation_report(&evaluation, &ReportPictures::default()).unwrap();
    assert!(html.contains("at most off by") && html.contains("<td>3e-5</td>"));
    assert!(html.contains("computed from histograms"));
}

/// Everything that has a name, named to break the page.
fn hostile() -> (Evaluation, ReportPictures) {
    let (mut evaluation, mut pictures) = (made_up::evaluation(), made_up::pictures(1, (64, 32)));
    let name = || HOSTILE.to_owned();
    (evaluation.dataset.name, evaluation.dataset.split) = (name(), Some(name()));
    (evaluation.dataset.sha256, evaluation.version, evaluation.date) = (name(), name(), name());
    (evaluation.model, evaluation.model_sha256) = (Some(name()), Some(name()));
    (evaluation.device, evaluation.statistics_sha256) = (Some(name()), Some(name()));
    evaluation.scores.iter_mut().for_each(|score| score.name = name());
    for failure in &mut evaluation.failures {
        (failure.image, failure.problem) = (name(), name());
    }
    evaluation.closed_set.iter_mut().flat_map(|set| &mut set.iou).for_each(|iou| iou.0 = name());
    evaluation.class_names.iter_mut().for_each(|class| *class = name());
    pictures.facts = vec![(name(), name())];
    for scene in &mut pictures.scenes {
        (scene.name, scene.note) = (name(), name());
        let picture = image::RgbImage::new(8, 8);
        scene.pictures.push(sml::render::ReportPicture::drawing(HOSTILE, &picture).unwrap());
    }
    (evaluation, pictures)
}

#[test]
fn names_cannot_become_markup() {
    let (evaluation, pictures) = hostile();
    let html = evaluation_report(&evaluation, &pictures).unwrap();
    for attack in ["<script", "<img src=x", "\0", "\u{202e}"] {
        assert!(!html.contains(attack), "{attack:?}");
    }
    assert_eq!(html.matches("</style>").count(), 1);
    assert_eq!(html.matches("<title>").count(), html.matches("</title>").count());
}

#[test]
fn twenty_images_stay_small() {
    let html = evaluation_report(&made_up::evaluation(), &made_up::pictures(20, (1024, 512))).unwrap();
    assert!(html.len() < 15_000_000, "{} bytes", html.len());
}

#[test]
fn the_report_in_a_browser() {
    let page = folder("whole").join("report.html");
    std::fs::write(&page, report()).unwrap();
    let Some(seen) = look_at(&page) else { return };
    assert_sound(&seen);
    for seen in seen {
        assert_eq!(seen.images, 16);
        assert!(seen.fetched.is_empty(), "{:?}", seen.fetched);
        for heading in [
            "Metrics",
            "Curves",
            "Pictures",
            "Classes",
            "Components",
            "Thresholds",
            "Images left out",
            "Definitions",
            "Provenance",
        ] {
            assert!(seen.headings.iter().any(|seen| seen == heading), "{heading} of {:?}", seen.headings);
        }
    }
}

#[test]
fn hostile_names_in_a_browser() {
    let (evaluation, pictures) = hostile();
    let page = folder("hostile").join("report.html");
    std::fs::write(&page, evaluation_report(&evaluation, &pictures).unwrap()).unwrap();
    let Some(seen) = look_at(&page) else { return };
    assert_sound(&seen);
    assert!(seen.iter().all(|seen| seen.title.starts_with("Anomaly segmentation on </title>")), "{seen:#?}");
}

#[test]
fn the_browser_test_notices_what_is_wrong() {
    let page = folder("broken").join("report.html");
    let broken = "<div style=\"width:2000px\">wide</div><img src=\"data:image/png;base64,AAAA\"><img src=\"gone.png\" alt=\"gone\">";
    std::fs::write(&page, report().replace("</main>", &format!("{broken}</main>"))).unwrap();
    let Some(seen) = look_at(&page) else { return };
    for seen in seen {
        assert!(seen.overflow > 0 && !seen.too_wide.is_empty(), "{seen:#?}");
        assert_eq!((seen.broken.len(), seen.silent), (2, 1), "{seen:#?}");
        assert!(seen.errors.iter().any(|error| error.contains("img-src")), "{seen:#?}");
    }
}
