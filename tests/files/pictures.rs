//! Pictures in and out.

use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::webp::WebPEncoder;
use image::{DynamicImage, ExtendedColorType, ImageFormat, Rgb, RgbImage};
use proptest::prelude::*;
use sml::Size;
use sml::files::{
    PictureSource, ScoreScale, decode_picture, read_picture, write_grey_png, write_rgb_png, write_score_png,
};

use crate::{Scratch, assert_refused};

fn picture(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| Rgb([(x * 7) as u8, (y * 5) as u8, (x + y) as u8]))
}

fn png_bytes(picture: &DynamicImage) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

fn jpeg_bytes(picture: &RgbImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, 95).encode_image(picture).unwrap();
    bytes
}

fn webp_bytes(picture: &RgbImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    let encoder = WebPEncoder::new_lossless(&mut bytes);
    encoder.encode(picture, picture.width(), picture.height(), ExtendedColorType::Rgb8).unwrap();
    bytes
}

fn decode(name: &str, bytes: &[u8]) -> sml::Result<RgbImage> {
    decode_picture(Path::new(name), bytes)
}

#[test]
fn the_three_formats_are_read_whatever_the_name_says() {
    let scratch = Scratch::new();
    let original = picture(40, 30);
    for bytes in [png_bytes(&original.clone().into()), webp_bytes(&original)] {
        let path = scratch.file("frame.dat", &bytes);
        assert_eq!(read_picture(&PictureSource::File(path)).unwrap(), original);
    }
    let jpeg = decode("a.jpg", &jpeg_bytes(&original)).unwrap();
    let furthest = jpeg.iter().zip(original.iter()).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
    assert!(jpeg.dimensions() == (40, 30) && furthest < 30, "{furthest}");
}

#[test]
fn deep_grey_and_transparent_pictures_become_rgb() {
    let deep =
        image::ImageBuffer::<image::Luma<u16>, _>::from_fn(4, 4, |x, _| image::Luma([(x * 257 * 50) as u16]));
    assert_eq!(decode("a.png", &png_bytes(&deep.into())).unwrap().get_pixel(3, 0), &Rgb([150, 150, 150]));
    let clear = image::RgbaImage::from_pixel(2, 2, image::Rgba([9, 8, 7, 0]));
    assert_eq!(decode("a.png", &png_bytes(&clear.into())).unwrap().get_pixel(0, 0), &Rgb([9, 8, 7]));
}

/// Puts an EXIF segment that holds nothing but an orientation behind the start of a JPEG.
fn with_orientation(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let mut exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0]);
    let length = u16::try_from(exif.len() + 2).unwrap().to_be_bytes();
    [&jpeg[..2], &[0xff, 0xe1], &length, &exif, &jpeg[2..]].concat()
}

#[test]
fn a_photograph_is_turned_as_the_camera_was_held() {
    let upright = jpeg_bytes(&RgbImage::from_fn(32, 16, |x, _| Rgb([if x < 16 { 250 } else { 5 }; 3])));
    let plain = decode("a.jpg", &with_orientation(&upright, 1)).unwrap();
    assert!(plain.dimensions() == (32, 16) && plain.get_pixel(2, 2).0[0] > 200);
    // 6: to be turned by 90 degrees clockwise, so that what was at the left is at the top.
    let turned = decode("a.jpg", &with_orientation(&upright, 6)).unwrap();
    assert_eq!(turned.dimensions(), (16, 32));
    assert!(turned.get_pixel(8, 2).0[0] > 200 && turned.get_pixel(8, 29).0[0] < 50);
}

#[test]
fn truncated_pictures_are_refused_wherever_they_end() {
    let original = picture(64, 48);
    for (name, bytes) in [
        ("cut.png", png_bytes(&original.clone().into())),
        ("cut.jpg", jpeg_bytes(&original)),
        ("cut.webp", webp_bytes(&original)),
    ] {
        decode(name, &bytes).unwrap();
        // The last bytes of a PNG are a chunk without content, of a WebP perhaps padding.
        for length in (0..bytes.len() - 16).step_by(7) {
            assert_refused(decode(name, &bytes[..length]), name, "expected");
        }
    }
    let jpeg = jpeg_bytes(&original);
    assert_refused(decode("cut.jpg", &jpeg[..jpeg.len() - 1]), "cut.jpg", "truncated");
}

#[test]
fn what_is_no_picture_is_refused() {
    let scratch = Scratch::new();
    assert_refused(decode("a.png", b""), "a.png", "empty");
    assert_refused(decode("a.png", b"hello, this is text"), "a.png", "unknown format");
    assert_refused(decode("a.gif", b"GIF89a\x01\x00\x01\x00"), "a.gif", "unknown format");
    let absent = PictureSource::File(scratch.path().join("absent.png"));
    assert_refused(read_picture(&absent), "absent.png", "cannot read");
    assert_refused(read_picture(&PictureSource::File(scratch.path().into())), "", "folder");
}

#[test]
fn a_picture_that_claims_to_be_huge_is_refused_before_it_is_decoded() {
    let mut bytes = png_bytes(&picture(8, 8).into());
    for (width, height, reason) in [(100_000_u32, 1_u32, "too large"), (30_000, 30_000, "memory")] {
        bytes[16..20].copy_from_slice(&width.to_be_bytes());
        bytes[20..24].copy_from_slice(&height.to_be_bytes());
        let checksum = crc32(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&checksum.to_be_bytes());
        assert_refused(decode("huge.png", &bytes), "huge.png", reason);
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| crc >> 1 ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

#[test]
fn labels_and_colours_come_back_exactly() {
    let scratch = Scratch::new();
    let path = scratch.path().join("labels.png");
    let labels: Vec<u8> = (0..35).map(|index| if index % 3 == 0 { 255 } else { index }).collect();
    write_grey_png(&path, Size::new(5, 7), &labels).unwrap();
    let read = image::open(&path).unwrap();
    assert_eq!((read.color(), read.as_bytes()), (image::ColorType::L8, &labels[..]));
    let original = picture(7, 5);
    write_rgb_png(&path, Size::new(5, 7), original.as_raw()).unwrap();
    assert_eq!(read_picture(&PictureSource::File(path)).unwrap(), original);
}

#[test]
fn a_score_map_tells_its_range() {
    let scratch = Scratch::new();
    let path = scratch.path().join("score.png");
    let scores: Vec<f32> = (0..12).map(|index| index as f32 * 0.37 - 2.1).collect();
    let scale = write_score_png(&path, Size::new(3, 4), &scores).unwrap();
    let mut reader =
        png::Decoder::new(std::io::BufReader::new(std::fs::File::open(&path).unwrap())).read_info().unwrap();
    let texts = &reader.info().uncompressed_latin1_text;
    let number = |keyword: &str| -> f32 {
        texts.iter().find(|text| text.keyword == keyword).unwrap().text.parse().unwrap()
    };
    let stated = ScoreScale { minimum: number("sml:minimum"), maximum: number("sml:maximum") };
    assert_eq!(stated, scale);
    assert_eq!((stated.minimum, stated.maximum), (scores[0], scores[11]));
    let mut grey = vec![0; 24];
    reader.next_frame(&mut grey).unwrap();
    for (grey, score) in grey.as_chunks().0.iter().zip(&scores) {
        let back = stated.score(u16::from_be_bytes(*grey));
        assert!((back - score).abs() < (scale.maximum - scale.minimum) / 65535.0, "{back} for {score}");
    }
}

#[test]
fn samples_that_do_not_fit_the_size_are_refused() {
    let scratch = Scratch::new();
    let path = scratch.path().join("a.png");
    for (size, samples) in [(Size::new(2, 2), 3), (Size::new(0, 2), 0), (Size::new(usize::MAX, 2), 4)] {
        let error = write_grey_png(&path, size, &vec![0; samples]).unwrap_err();
        assert!(matches!(error, sml::Error::Shape { .. }), "{error}");
    }
    assert!(!path.exists());
}

#[cfg(feature = "cli")]
mod listing {
    use std::fs;

    use super::*;
    use sml::files::list_pictures;

    fn names(pictures: &[PictureSource]) -> Vec<String> {
        pictures.iter().map(PictureSource::name).collect()
    }

    #[test]
    fn files_folders_patterns_and_standard_input_are_listed() {
        let scratch = Scratch::new();
        for name in ["10.png", "9.JPG", "1.webp", "note.txt", ".hidden.png", "_x.jpeg"] {
            scratch.file(name, b"");
        }
        fs::create_dir(scratch.path().join("folder.png")).unwrap();
        let listed = list_pictures(&[scratch.path()]).unwrap();
        assert_eq!(names(&listed), ["1", "9", "10", "_x"]);
        let listed = list_pictures(&[scratch.path().join("*.png"), scratch.path().join("1*")]).unwrap();
        assert_eq!(names(&listed), ["10", "1"]);
        let listed = list_pictures(&["-".into(), scratch.path().join("note.txt"), "-".into()]).unwrap();
        assert_eq!(names(&listed), ["stdin", "note"]);
        // A name that looks like a pattern but exists is a file.
        let odd = scratch.file("a[1].png", b"");
        assert_eq!(names(&list_pictures(&[&odd]).unwrap()), ["a[1]"]);
    }

    #[test]
    fn what_means_no_picture_is_refused() {
        let scratch = Scratch::new();
        scratch.file("note.txt", b"");
        assert_refused(list_pictures(&[scratch.path()]), "", "the folder holds no pictures");
        assert_refused(
            list_pictures(&[scratch.path().join("*.png")]),
            "*.png",
            "the pattern holds no pictures",
        );
        assert_refused(list_pictures(&[scratch.path().join("a***b")]), "a***b", "is no pattern");
        assert_refused(list_pictures(&[scratch.path().join("absent.png")]), "absent.png", "cannot read");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(start in 0..4_usize, bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let starts: [&[u8]; 4] = [b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR", b"\xff\xd8\xff", b"RIFF\x80\0\0\0WEBPVP8", b""];
        assert_refused(decode("a.png", &[starts[start], &bytes].concat()), "a.png", "");
    }

    #[test]
    fn damaged_pictures_never_panic(
        which in 0..3_usize,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let original = picture(24, 24);
        let mut bytes = match which {
            0 => png_bytes(&original.into()),
            1 => jpeg_bytes(&original),
            _ => webp_bytes(&original),
        };
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let refused @ Err(_) = decode("a.picture", &bytes) {
            assert_refused(refused, "a.picture", "");
        }
    }
}
