//! Datasets through the bundled network: the same numbers as from the maps that `sml run` writes.

use image::RgbImage;
use serde_json::Value;
use sml::Size;
use sml::files::write_grey_png;

use super::literal::metrics;
use crate::program::Folder;

const SIZE: Size = Size::new(64, 128);

/// A picture with an upper and a lower half, noise and a patch.
fn picture(number: u32) -> RgbImage {
    RgbImage::from_fn(SIZE.width as u32, SIZE.height as u32, |x, y| {
        let noise = ((x * 7919 + y * 104_729 + number * 31) % 23) as u8;
        match (y < 30, (20..40).contains(&x) && (34..50).contains(&y)) {
            (_, true) => image::Rgb([220 - noise, 30, 180 + noise]),
            (true, _) => image::Rgb([120 + noise, 160, 220 - noise]),
            (false, _) => image::Rgb([90 + noise, 90, 95 - noise]),
        }
    })
}

fn write_picture(folder: &Folder, name: &str, number: u32) {
    let path = folder.path(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    picture(number).save(path).unwrap();
}

fn write_labels(folder: &Folder, name: &str, label: impl Fn(usize, usize) -> u8) {
    let path = folder.path(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let labels: Vec<u8> =
        (0..SIZE.pixels()).map(|pixel| label(pixel / SIZE.width, pixel % SIZE.width)).collect();
    write_grey_png(&path, SIZE, &labels).unwrap();
}

fn is_patch(y: usize, x: usize) -> bool {
    (20..40).contains(&x) && (34..50).contains(&y)
}

/// A tiny set in the layout of Fishyscapes Static.
fn write_set(folder: &Folder, count: u32) {
    for number in 0..count {
        write_picture(folder, &format!("set/images/{number}.png"), number);
        write_labels(folder, &format!("set/labels_masks/{number}.png"), |y, x| {
            if y < 4 { 255 } else { u8::from(is_patch(y, x)) }
        });
    }
}

const STATIC: [&str; 5] = ["eval", "--dataset", "fishyscapes-static", "--root", "set"];

/// The elements of a float32 .npy file in C order.
fn elements(bytes: &[u8]) -> Vec<f32> {
    let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    bytes[start..].chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

#[test]
fn a_dataset_through_the_network_gives_the_metrics_of_its_maps() {
    let folder = Folder::new();
    write_set(&folder, 3);
    let json =
        folder.sml(&[&STATIC[..], &["--json", "-o", "out", "--components=1,1"]].concat()).succeeded().json();
    folder.sml(&["run", "set/images", "-o", "maps"]).succeeded();
    let (mut scores, mut labels) = (Vec::new(), Vec::new());
    for number in 0..3 {
        let map = elements(&folder.read(&format!("maps/{number}_score.npy")));
        scores.extend(map.into_iter().map(f64::from));
        let mask = image::open(folder.path(format!("set/labels_masks/{number}.png"))).unwrap().into_luma8();
        labels.extend(mask.into_raw());
    }
    let want = metrics(&scores, &labels);
    for (key, want) in
        [("auroc", want.auroc), ("ap", want.ap), ("fpr95", want.fpr95), ("fpr95_interp", want.fpr95_interp)]
    {
        let given = json[key].as_f64().unwrap();
        assert!((given - want).abs() < 1e-12, "{key} is {given} and should be {want}");
    }
    assert_eq!(json["scores"].as_array().unwrap().len(), 7);
    assert_eq!(json["scores"][6]["name"], "sml+suppression+smoothing");
    assert_eq!(
        (&json["dataset"]["name"], &json["dataset"]["files"]),
        (&"fishyscapes-static".into(), &6.into())
    );
    assert_eq!(json["class_names"].as_array().unwrap().len(), 19);
    assert!(json["model_sha256"].is_string() && json["statistics_sha256"].is_string());
    // Figures, overlays and the report stand beside the numbers.
    let names = folder.names("out");
    for name in [
        "results.json",
        "results.csv",
        "results.md",
        "report.html",
        "roc.svg",
        "roc.png",
        "precision_recall.svg",
        "precision_recall.png",
        "class_histograms.svg",
        "class_histograms.png",
        "paper_figure.png",
        "0_overlay.png",
    ] {
        assert!(names.contains(name), "{name} is not among {names:?}");
    }
    let report = String::from_utf8(folder.read("out/report.html")).unwrap();
    let auroc = format!("{:.2}", json["auroc"].as_f64().unwrap() * 100.0);
    assert!(
        report.contains(&auroc) && report.contains("data:image/"),
        "the report lacks {auroc} or its pictures"
    );
    // The maps that the benchmarks take are those of `sml run`.
    let export = ["--export", "fishyscapes", "exported"];
    folder.sml(&[&STATIC[..], &export].concat()).succeeded();
    assert_eq!(elements(&folder.read("exported/0_anomaly.npy")), elements(&folder.read("maps/0_score.npy")));
    assert!(folder.path("exported/2_segmentation.npy").exists());
    folder.sml(&[&STATIC[..], &["--export", "segment-me-if-you-can", "smiyc"]].concat()).succeeded();
    let frame = "smiyc/anomaly_p/sml+suppression+smoothing/fishyscapes-static/1.hdf5";
    assert!(folder.path(frame).exists());
    folder
        .sml(&[&STATIC[..], &["--export", "elsewhere", "x"]].concat())
        .refused(&["elsewhere", "fishyscapes"]);
}

#[test]
fn parts_through_the_network_merge_with_their_report() {
    let folder = Folder::new();
    write_set(&folder, 3);
    for (shard, output) in [("1/2", "a"), ("2/2", "b")] {
        folder.sml(&[&STATIC[..], &["--shard", shard, "-o", output]].concat()).succeeded();
        assert!(!folder.path(output).join("results.json").exists());
    }
    let merged = folder.sml(&["eval", "merge", "a", "b", "-o", "all", "--json"]).succeeded().json();
    let whole = folder.sml(&[&STATIC[..], &["--json"]].concat()).succeeded().json();
    assert_eq!(merged["scores"], whole["scores"]);
    assert_eq!(merged["dataset"], whole["dataset"]);
    assert!(folder.names("all").contains("report.html") && folder.names("all").contains("2_overlay.png"));
}

#[test]
fn cityscapes_gives_the_closed_set() {
    let folder = Folder::new();
    // Label ids of Cityscapes: 7 is the road, 23 the sky, 3 is not evaluated.
    let label = |y: usize, x: usize| {
        if y < 30 {
            23
        } else if x < 100 {
            7
        } else {
            3
        }
    };
    for number in 0..2 {
        let name = format!("town_{number:06}_000019");
        write_picture(&folder, &format!("city/leftImg8bit/val/town/{name}_leftImg8bit.png"), number);
        write_labels(&folder, &format!("city/gtFine/val/town/{name}_gtFine_labelIds.png"), label);
    }
    let arguments =
        ["eval", "--dataset", "cityscapes", "--root", "city", "--split", "val", "--json", "-o", "out"];
    let run = folder.sml(&arguments).succeeded();
    run.assert_told(&["labels nothing unexpected", "mIoU"]);
    let json = run.json();
    assert_eq!(json["scores"], serde_json::json!([]));
    folder.sml(&["run", "city/leftImg8bit/val/town", "-o", "maps"]).succeeded();
    let mut counts = vec![[0_u64; 19]; 19];
    for number in 0..2 {
        let path = format!("maps/town_{number:06}_000019_leftImg8bit_prediction.png");
        let prediction = image::open(folder.path(path)).unwrap().into_luma8();
        for (pixel, class) in prediction.as_raw().iter().enumerate() {
            let train_id = match label(pixel / SIZE.width, pixel % SIZE.width) {
                23 => 10,
                7 => 0,
                _ => continue,
            };
            counts[train_id][usize::from(*class)] += 1;
        }
    }
    let iou: Vec<Option<f64>> = (0..19)
        .map(|class| {
            let union: u64 = counts[class].iter().sum::<u64>()
                + counts.iter().map(|row| row[class]).sum::<u64>()
                - counts[class][class];
            (union > 0).then(|| counts[class][class] as f64 / union as f64)
        })
        .collect();
    let present: Vec<f64> = iou.iter().copied().flatten().collect();
    let given = json["closed_set"]["miou"].as_f64().unwrap();
    assert!((given - present.iter().sum::<f64>() / present.len() as f64).abs() < 1e-12, "{given}");
    let names: Vec<&Value> =
        json["closed_set"]["iou"].as_array().unwrap().iter().map(|pair| &pair[0]).collect();
    assert_eq!((names[0], names[10]), (&"road".into(), &"sky".into()));
    assert!(folder.path("out/report.html").exists());
}

#[test]
fn a_network_does_not_go_with_saved_logits() {
    let folder = Folder::new();
    write_set(&folder, 1);
    folder.sml(&["eval", "--model", "demo"]).refused(&["--root, --logits or --scores is missing"]);
    folder.sml(&[&STATIC[..], &["--layout", "nchw"]].concat()).refused(&["--layout", "--logits only"]);
    folder.sml(&["eval", "--root", "nowhere"]).failed(&["nowhere"]);
    folder.sml(&[&STATIC[..], &["--labels", "set/labels_masks"]].concat()).refused(&["--labels", "--root"]);
}
