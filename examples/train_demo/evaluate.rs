//! Held-out intersection over union, and the class statistics of normal scenes.

use std::fmt::Write as _;
use std::path::Path;

use image::RgbImage;
use sml::torch::{DabNet, Preprocessing, sha256_hex, torch_error};
use sml::{Error, Provenance, Result, StatisticsAccumulator, cityscapes};
use tch::{Device, Kind, TchError, Tensor};

use crate::files;
use crate::samples::{HEIGHT, Purpose, WIDTH, normal_scene};

const CLASSES: usize = cityscapes::CLASSES.len();
/// Scenes of the validation after training.
const VALIDATION_SCENES: u64 = 40;
/// Scenes of which the class statistics are measured.
const CALIBRATION_SCENES: u64 = 60;

/// Max logit and predicted class of every pixel of a picture, at its full resolution.
struct Prediction {
    max_logits: Vec<f32>,
    classes: Vec<u8>,
}

fn predict(network: &DabNet, picture: &RgbImage) -> Result<Prediction> {
    let input = Preprocessing::dabnet().apply(picture, Device::Cpu)?;
    let logits = tch::no_grad(|| network.forward(&input, false))?;
    read_prediction(&logits).map_err(torch_error("read a prediction"))
}

fn read_prediction(logits: &Tensor) -> Result<Prediction, TchError> {
    let full = logits.f_upsample_bilinear2d([i64::from(HEIGHT), i64::from(WIDTH)], false, None, None)?;
    let (max_logits, classes) = full.f_max_dim(1, false)?;
    Ok(Prediction {
        max_logits: Vec::try_from(max_logits.f_flatten(0, -1)?)?,
        classes: Vec::try_from(classes.f_to_kind(Kind::Uint8)?.f_flatten(0, -1)?)?,
    })
}

/// Pixels by labelled class (rows) and predicted class (columns).
pub struct Confusion {
    pixels: [[u64; CLASSES]; CLASSES],
}

impl Confusion {
    fn add(&mut self, labels: &[u8], predictions: &[u8]) {
        for (&label, &predicted) in labels.iter().zip(predictions) {
            if let Some(row) = self.pixels.get_mut(usize::from(label)) {
                row[usize::from(predicted)] += 1;
            }
        }
    }

    fn labelled(&self, class: usize) -> u64 {
        self.pixels[class].iter().sum()
    }

    /// Intersection over union; `None` for a class that neither labels nor predictions hold.
    fn iou(&self, class: usize) -> Option<f64> {
        let predicted: u64 = self.pixels.iter().map(|row| row[class]).sum();
        let intersection = self.pixels[class][class];
        let union = self.labelled(class) + predicted - intersection;
        (union > 0).then(|| intersection as f64 / union as f64)
    }

    /// Mean over the classes that are labelled somewhere; `None` without labels.
    pub fn mean_iou(&self) -> Option<f64> {
        let labelled: Vec<f64> = (0..CLASSES)
            .filter(|&class| self.labelled(class) > 0)
            .filter_map(|class| self.iou(class))
            .collect();
        (!labelled.is_empty()).then(|| labelled.iter().sum::<f64>() / labelled.len() as f64)
    }

    fn to_csv(&self) -> String {
        let number = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.4}"));
        let mut csv = "class,labelled_pixels,iou\n".to_owned();
        for (class, name) in cityscapes::class_names().iter().enumerate() {
            // Writing to a String cannot fail.
            let _ = writeln!(csv, "{name},{},{}", self.labelled(class), number(self.iou(class)));
        }
        let total: u64 = (0..CLASSES).map(|class| self.labelled(class)).sum();
        let _ = writeln!(csv, "mean over labelled classes,{total},{}", number(self.mean_iou()));
        csv
    }
}

/// Confusion on the first `scenes` held-out normal scenes.
pub fn confusion(network: &DabNet, seed: u64, scenes: u64) -> Result<Confusion> {
    let mut confusion = Confusion { pixels: [[0; CLASSES]; CLASSES] };
    for index in 0..scenes {
        let (picture, labels) = normal_scene(seed, Purpose::Validation, index);
        confusion.add(labels.as_raw(), &predict(network, &picture)?.classes);
    }
    Ok(confusion)
}

/// Writes `validation.csv` and `demo_statistics.json` for the finished network whose weights lie in `weights`.
pub fn write_reports(network: &DabNet, seed: u64, weights: &Path, folder: &Path) -> Result<()> {
    let confusion = confusion(network, seed, VALIDATION_SCENES)?;
    if let Some(miou) = confusion.mean_iou() {
        eprintln!("mIoU on {VALIDATION_SCENES} held-out scenes: {miou:.4}");
    }
    files::write(&folder.join("validation.csv"), confusion.to_csv().as_bytes())?;

    let mut statistics = StatisticsAccumulator::new(CLASSES);
    for index in 0..CALIBRATION_SCENES {
        let (picture, _) = normal_scene(seed, Purpose::Calibration, index);
        let prediction = predict(network, &picture)?;
        statistics.add(&prediction.max_logits, &prediction.classes)?;
    }
    let bytes = std::fs::read(weights).map_err(|error| Error::io(weights, "read", error))?;
    let statistics = statistics.finish(Provenance {
        images: Some(CALIBRATION_SCENES),
        model: Some("demo: DABNet, half width, trained on synthetic scenes".to_owned()),
        model_sha256: Some(sha256_hex(&bytes)),
        conditioned_on: Some("predicted class".to_owned()),
        class_names: cityscapes::class_names(),
        ..Provenance::default()
    });
    files::write(&folder.join("demo_statistics.json"), statistics.to_json().as_bytes())
}
