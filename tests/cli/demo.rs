//! `sml demo`: the bundled network on the bundled scenes. What the network is worth is not judged here.

use sml::demo::SCENES;
use sml::torch::Backbone;

use crate::pictures::*;
use crate::program::Folder;

const METHODS: [&str; 5] = ["MSP", "max logit", "SML", "+ suppression", "+ smoothing"];
const PICTURES: [&str; 7] = ["image", "prediction", "MSP", "max_logit", "SML", "final", "unexpected"];

/// The values of an attribute in a page.
fn attributes<'a>(page: &'a str, name: &str) -> Vec<&'a str> {
    let start = format!("{name}=\"");
    page.split(&start).skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

#[test]
fn pictures_figure_page_and_metrics_are_written() {
    let folder = Folder::new();
    let run = folder.sml(&["demo", "--device", "cpu", "-o", "out"]).succeeded();
    run.assert_told(&["10 synthetic scenes -> out/index.html"]);
    for method in METHODS {
        assert!(run.stdout().contains(method), "{method}: {}", run.stdout());
    }
    assert!(run.stdout().lines().last().unwrap().starts_with("mIoU "), "{}", run.stdout());

    let mut want: std::collections::BTreeSet<String> = ["figure.png", "index.html"].map(String::from).into();
    for scene in &SCENES {
        want.extend(PICTURES.map(|picture| format!("{}_{picture}.png", scene.name)));
    }
    assert_eq!(folder.names("out"), want);
    for scene in &SCENES {
        let whole = image::load_from_memory(scene.picture).unwrap().into_rgb8();
        for picture in PICTURES {
            let drawn = rgb(&folder, &format!("out/{}_{picture}.png", scene.name));
            assert_eq!(drawn.dimensions(), whole.dimensions(), "{} {picture}", scene.name);
            assert_eq!(drawn == whole, picture == "image", "{} {picture}", scene.name);
        }
    }

    let page = String::from_utf8(folder.read("out/index.html")).unwrap();
    // Places where a name may be broken.
    let page = page.replace("<wbr>", "");
    let links: Vec<&str> = [attributes(&page, "src"), attributes(&page, "href")].concat();
    assert!(links.len() >= 2 * PICTURES.len() * SCENES.len(), "{} links", links.len());
    for link in links {
        let file = link.trim_start_matches("./");
        assert!(folder.path("out").join(file).is_file(), "the page links to {link}");
    }
    for text in METHODS.iter().chain(&["synthetic", "AUROC", "FPR95", "mIoU"]) {
        assert!(page.contains(text), "the page lacks {text}");
    }
    assert!(!page.contains("http://") && !page.contains("https://"), "the page needs the network");
}

#[test]
fn metrics_for_machines_are_one_json_object() {
    let folder = Folder::new();
    let run = folder.sml(&["demo", "--device", "cpu", "--json", "-o", "out"]).succeeded();
    assert_eq!(run.stderr(), "");
    let metrics = run.json();
    assert_eq!(metrics["scenes"], SCENES.len());
    let rate = |value: &serde_json::Value| {
        let value = value.as_f64().unwrap_or_else(|| panic!("{value} in {metrics:#}"));
        assert!((0.0..=1.0).contains(&value), "{value} in {metrics:#}");
    };
    rate(&metrics["miou"]);
    let methods = metrics["methods"].as_object().unwrap();
    assert_eq!(methods.len(), METHODS.len());
    for method in METHODS {
        for metric in ["auroc", "ap", "fpr95"] {
            rate(&methods[method][metric]);
        }
    }
}

#[test]
fn the_bundled_statistics_are_those_of_the_bundled_network() {
    let statistics = sml::ClassStatistics::from_json(sml::demo::STATISTICS).unwrap();
    let network = sml::demo::backbone(tch::Device::Cpu).unwrap();
    assert_eq!(statistics.classes().len(), network.class_names().len());
    assert_eq!(statistics.provenance().model_sha256.as_deref(), Some(network.digest()));
    // So `sml run` needs no --stats, and knows thresholds.
    let folder = Folder::new();
    folder.write("scene.png", SCENES[0].picture);
    folder.sml(&["run", "scene.png", "--tpr", "0.95", "--device", "cpu", "-o", "out"]).succeeded();
    assert_eq!(
        grey(&folder, "out/scene_mask.png").dimensions(),
        rgb(&folder, "out/scene_prediction_color.png").dimensions()
    );
}

#[test]
fn an_output_folder_that_cannot_be_made() {
    let folder = Folder::new();
    folder.write("taken", "precious");
    folder.sml(&["demo", "--device", "cpu", "-o", "taken"]).failed(&["taken", "cannot create the folder"]);
    assert_eq!(folder.read("taken"), b"precious");
}
