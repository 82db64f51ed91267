//! Training batches: scenes drawn and augmented in the background, in an order that no timing can change.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use image::imageops::{crop_imm, flip_horizontal};
use image::{GrayImage, RgbImage};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use sml::Result;
use sml::torch::{Preprocessing, torch_error};
use tch::{Device, Kind, Tensor};

use crate::scene;
use crate::splits::{HEIGHT, Split, WIDTH, scene_seed};

/// Batches drawn ahead of the training.
const AHEAD: usize = 2;

/// An augmented training scene: drawn larger and cropped half of the time, mirrored half of the time, its brightness,
/// contrast and white balance varied.
fn training_scene(seed: u64, index: u64) -> (RgbImage, GrayImage) {
    let scene_seed = scene_seed(seed, Split::Training, index);
    let mut random = ChaCha8Rng::seed_from_u64(scene_seed);
    let zoom = if random.random_bool(0.5) { 1.0 } else { random.random_range(1.0..1.5_f64) };
    let (width, height) = ((f64::from(WIDTH) * zoom) as u32, (f64::from(HEIGHT) * zoom) as u32);
    let scene = scene::draw(scene_seed, width, height, false);
    let (left, top) = (random.random_range(0..=width - WIDTH), random.random_range(0..=height - HEIGHT));
    let mut image = crop_imm(&scene.image, left, top, WIDTH, HEIGHT).to_image();
    let mut labels = crop_imm(&scene.labels, left, top, WIDTH, HEIGHT).to_image();
    if random.random_bool(0.5) {
        image = flip_horizontal(&image);
        labels = flip_horizontal(&labels);
    }
    vary_colours(&mut image, &mut random);
    (image, labels)
}

fn vary_colours(image: &mut RgbImage, random: &mut ChaCha8Rng) {
    let contrast = random.random_range(0.85..1.15_f32);
    let tables: [[u8; 256]; 3] = std::array::from_fn(|_| {
        let gain = contrast * random.random_range(0.94..1.06_f32);
        let offset = random.random_range(-8.0..8.0_f32);
        std::array::from_fn(|value| {
            ((value as f32 - 128.0) * gain + 128.0 + offset).round().clamp(0.0, 255.0) as u8
        })
    });
    for pixel in image.pixels_mut() {
        for (value, table) in pixel.0.iter_mut().zip(&tables) {
            *value = table[usize::from(*value)];
        }
    }
}

/// A batch of pictures and their labels.
pub struct Batch {
    pictures: Vec<RgbImage>,
    labels: Vec<u8>,
}

impl Batch {
    fn draw(seed: u64, number: u64, size: u64) -> Self {
        let scenes: Vec<_> =
            (0..size).into_par_iter().map(|i| training_scene(seed, number * size + i)).collect();
        let mut batch = Self { pictures: Vec::new(), labels: Vec::new() };
        for (picture, labels) in scenes {
            batch.pictures.push(picture);
            batch.labels.extend_from_slice(labels.as_raw());
        }
        batch
    }

    /// Normalised pictures N x 3 x H x W (float32) and labels N x H x W (int64).
    pub fn tensors(&self) -> Result<(Tensor, Tensor)> {
        let preprocessing = Preprocessing::dabnet();
        let pictures = self.pictures.iter().map(|picture| preprocessing.apply(picture, Device::Cpu));
        let pictures = pictures.collect::<Result<Vec<_>>>()?;
        let shape = [pictures.len() as i64, i64::from(HEIGHT), i64::from(WIDTH)];
        Tensor::f_cat(&pictures, 0)
            .and_then(|pictures| {
                let labels = Tensor::f_from_data_size(&self.labels, &shape, Kind::Uint8)?;
                Ok((pictures, labels.f_to_kind(Kind::Int64)?))
            })
            .map_err(torch_error("assemble a batch"))
    }
}

/// Draws batches 0, 1, 2, ... on a thread of its own, a few ahead of the receiver, until the receiver is dropped.
pub fn draw_in_background(seed: u64, batch_size: u64) -> Receiver<Batch> {
    let (sender, receiver) = sync_channel(AHEAD);
    thread::spawn(move || {
        let mut number = 0;
        while sender.send(Batch::draw(seed, number, batch_size)).is_ok() {
            number += 1;
        }
    });
    receiver
}
