//! Tiny labelled sets on disk.

use ndarray::Array4;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sml::Size;
use sml::files::write_grey_png;

use crate::arrays::{npy, random_logits, statistics, to_npy};
use crate::program::Folder;

/// An image of a set: labels and one score map.
pub struct Image {
    pub name: String,
    pub size: Size,
    pub labels: Vec<u8>,
    pub scores: Vec<f32>,
}

/// Images whose scores have ties and overlap, with all three kinds of label.
pub fn images(count: usize) -> Vec<Image> {
    let mut random = ChaCha8Rng::seed_from_u64(7);
    (0..count)
        .map(|number| {
            let size = Size::new(9 + number, 11);
            let labels: Vec<u8> = (0..size.pixels())
                .map(|_| match random.random_range(0..10) {
                    0 | 1 => 1,
                    2 => 255,
                    3 => 7,
                    _ => 0,
                })
                .collect();
            let score = |label: &u8| {
                // Multiples of 1/4, so that many scores tie.
                let step: i32 = random.random_range(-8..8) + if *label == 1 { 5 } else { 0 };
                step as f32 / 4.0
            };
            let scores = labels.iter().map(score).collect();
            Image { name: format!("frame{number}"), size, labels, scores }
        })
        .collect()
}

/// Writes labels/NAME.png and METHOD/NAME.npy.
pub fn write_scores(folder: &Folder, method: &str, images: &[Image]) {
    for image in images {
        write_labels(folder, image);
        let bytes: Vec<u8> = image.scores.iter().flat_map(|score| score.to_le_bytes()).collect();
        let array = npy("<f4", &[image.size.height, image.size.width], &bytes);
        folder.write(&format!("{method}/{}.npy", image.name), array);
    }
}

/// Writes labels/NAME.png.
pub fn write_labels(folder: &Folder, image: &Image) {
    std::fs::create_dir_all(folder.path("labels")).unwrap();
    write_grey_png(&folder.path(format!("labels/{}.png", image.name)), image.size, &image.labels).unwrap();
}

/// Classes of [`write_logits`].
pub const CLASSES: usize = 5;

/// Writes labels/NAME.png, logits/NAME.npy at a quarter of the size, and statistics.json; gives the logits.
pub fn write_logits(folder: &Folder, count: usize, size: Size) -> Vec<(Image, Array4<f32>)> {
    let text = statistics(CLASSES).to_json();
    folder.write("statistics.json", text);
    (0..count)
        .map(|number| {
            let seed = number as u64;
            let logits: Array4<f32> = random_logits(seed, [1, CLASSES, size.height / 4, size.width / 4]);
            let mut random = ChaCha8Rng::seed_from_u64(1000 + seed);
            let labels = (0..size.pixels()).map(|_| [0, 0, 0, 1, 255][random.random_range(0..5)]).collect();
            let image = Image { name: format!("frame{number:02}"), size, labels, scores: Vec::new() };
            write_labels(folder, &image);
            folder.write(&format!("logits/{}.npy", image.name), to_npy(&logits));
            (image, logits)
        })
        .collect()
}

/// Arguments for the set of [`write_logits`].
pub const LOGITS: [&str; 7] =
    ["eval", "--logits", "logits", "--labels", "labels", "--stats", "statistics.json"];

/// These arguments with more behind them.
pub fn with<'a>(arguments: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [arguments, more].concat()
}
