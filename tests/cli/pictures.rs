//! Small pictures for the program to read, and its pictures read back.

use std::io::Cursor;

use image::{DynamicImage, GrayImage, ImageFormat, Rgb, RgbImage};

use crate::program::Folder;

/// A picture with soft gradients and an edge, different for each `seed`.
pub fn picture(seed: u32, width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let edge = if x * 2 > width { 90 } else { 0 };
        let channel = |scale: u32| ((x * scale + y * (7 - scale) + seed * 31) % 160 + edge) as u8;
        Rgb([channel(1), channel(2), channel(3)])
    })
}

pub fn encoded(picture: &RgbImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

pub fn png(picture: &RgbImage) -> Vec<u8> {
    encoded(picture, ImageFormat::Png)
}

/// A PNG file of any kind.
pub fn decoded(folder: &Folder, name: &str) -> DynamicImage {
    image::load_from_memory_with_format(&folder.read(name), ImageFormat::Png).unwrap()
}

/// A PNG file that must be grey with 8 bits.
pub fn grey(folder: &Folder, name: &str) -> GrayImage {
    match decoded(folder, name) {
        DynamicImage::ImageLuma8(grey) => grey,
        other => panic!("{name} holds {:?}", other.color()),
    }
}

/// A PNG file that must be RGB with 8 bits.
pub fn rgb(folder: &Folder, name: &str) -> RgbImage {
    match decoded(folder, name) {
        DynamicImage::ImageRgb8(rgb) => rgb,
        other => panic!("{name} holds {:?}", other.color()),
    }
}
