//! Preprocessing on the CPU: equal to the literal definition, and the same bits whatever the picture's layout in memory, the
//! input's, its element type and the number of threads.
#![allow(clippy::panic, clippy::unwrap_used, reason = "functions that tests share fail as tests do")]

mod instruction_sets;
mod pictures;

use half::{bf16, f16};
use pictures::{Picture, imagenet, pictures, preprocessings};
use proptest::prelude::*;
use sml::{ChannelOrder, Error, InputMut, Layout, PixelFormat, Preprocessing, Preprocessor, Size, reference};

/// The input as planes of float32.
fn planes(picture: &Picture, preprocessing: &Preprocessing) -> Vec<f32> {
    let mut preprocessor = Preprocessor::new(preprocessing, picture.size).unwrap();
    let mut input = vec![f32::NAN; 3 * preprocessor.input_size().pixels()];
    preprocessor.apply(&picture.view(), Layout::Nchw, InputMut::F32(&mut input)).unwrap();
    input
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Fails unless every number is within 1e-6 of the definition, as a part of the numbers' range.
fn assert_defined(picture: &Picture, preprocessing: &Preprocessing) {
    let want = reference::input(&picture.view(), preprocessing);
    let got = planes(picture, preprocessing);
    assert_eq!(got.len(), want.len());
    for (((channel, y, x), want), got) in want.indexed_iter().zip(got) {
        let largest = (255.0 * preprocessing.scale).abs() + preprocessing.mean[channel].abs();
        let error = (f64::from(got) - want).abs() * preprocessing.std[channel].abs() / largest;
        assert!(
            error <= 1e-6,
            "{:?} -> {}: {got} instead of {want} at {channel}, {y}, {x}",
            picture.view(),
            preprocessing.size_for(picture.size.height, picture.size.width)
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_number_is_as_defined(picture in pictures(), preprocessing in preprocessings()) {
        assert_defined(&picture, &preprocessing);
    }

    #[test]
    fn memory_order_changes_no_bit(
        picture in pictures(), preprocessing in preprocessings(), format in 0_usize..4, padding in 0_usize..9,
    ) {
        let other = picture.rearranged(PixelFormat::ALL[format], padding);
        prop_assert_eq!(bits(&planes(&picture, &preprocessing)), bits(&planes(&other, &preprocessing)));
    }

    /// Narrow numbers are the wide ones rounded, and pixels are the planes turned around.
    #[test]
    fn element_types_and_layouts_hold_the_same_numbers(picture in pictures(), preprocessing in preprocessings()) {
        let planes = planes(&picture, &preprocessing);
        let mut preprocessor = Preprocessor::new(&preprocessing, picture.size).unwrap();
        let pixels = preprocessor.input_size().pixels();
        let (mut half, mut brain) = (vec![f16::NAN; 3 * pixels], vec![bf16::NAN; 3 * pixels]);
        let mut turned = vec![f32::NAN; 3 * pixels];
        for layout in [Layout::Nchw, Layout::Nhwc] {
            let at = |i| match layout {
                Layout::Nchw => planes[i],
                Layout::Nhwc => planes[i % 3 * pixels + i / 3],
            };
            preprocessor.apply(&picture.view(), layout, InputMut::F32(&mut turned)).unwrap();
            preprocessor.apply(&picture.view(), layout, InputMut::F16(&mut half)).unwrap();
            preprocessor.apply(&picture.view(), layout, InputMut::BF16(&mut brain)).unwrap();
            for i in 0..3 * pixels {
                prop_assert_eq!(turned[i].to_bits(), at(i).to_bits());
                prop_assert_eq!(half[i].to_bits(), f16::from_f32_const(at(i)).to_bits());
                prop_assert_eq!(brain[i].to_bits(), bf16::from_f32_const(at(i)).to_bits());
            }
        }
    }

    #[test]
    fn threads_change_no_bit(picture in pictures(), preprocessing in preprocessings()) {
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| bits(&planes(&picture, &preprocessing)))
        };
        prop_assert_eq!(on(1), on(5));
    }
}

#[test]
fn large_pictures_are_as_defined() {
    let to = |height, width| Preprocessing { input_size: Some(Size::new(height, width)), ..imagenet() };
    for (size, preprocessing) in [
        (Size::new(3, 2047), to(4, 2048)),
        (Size::new(700, 5), to(64, 3)),
        (Size::new(2, 4000), to(2, 500)),
        (Size::new(150, 200), to(151, 200)),
        (Size::new(1, 1), to(40, 50)),
    ] {
        assert_defined(&Picture::new(size, 3, PixelFormat::Bgra8, 5), &preprocessing);
    }
}

/// Where the size stays, every number is that of one expression: what libtorch computes, operation by operation.
#[test]
fn without_resampling_every_bit_is_that_of_the_formula() {
    let picture = Picture::new(Size::new(9, 300), 2, PixelFormat::Bgr8, 7);
    let network = Preprocessing { channel_order: ChannelOrder::Bgr, ..imagenet() };
    let got = planes(&picture, &network);
    for (i, got) in got.iter().enumerate() {
        let (channel, y, x) = (i / 2700, i % 2700 / 300, i % 300);
        let byte = picture.data[y * picture.row_stride + 3 * x + channel];
        let [mean, std] = [network.mean[channel] as f32, network.std[channel] as f32];
        let want = (f32::from(byte) * network.scale as f32 - mean) / std;
        assert_eq!(got.to_bits(), want.to_bits(), "channel {channel}, row {y}, column {x}");
    }
}

/// One preprocessor serves picture after picture: nothing of the one before is left.
#[test]
fn pictures_come_one_after_the_other() {
    let preprocessing = Preprocessing { input_size: Some(Size::new(20, 24)), ..imagenet() };
    let size = Size::new(33, 31);
    let mut preprocessor = Preprocessor::new(&preprocessing, size).unwrap();
    let mut input = vec![0.0; 3 * 20 * 24];
    for seed in 0..4 {
        let picture = Picture::new(size, 1, PixelFormat::Rgb8, seed);
        preprocessor.apply(&picture.view(), Layout::Nchw, InputMut::F32(&mut input)).unwrap();
        assert_eq!(bits(&input), bits(&planes(&picture, &preprocessing)), "picture {seed}");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let size = Size::new(8, 8);
    let mut preprocessor = Preprocessor::new(&imagenet(), size).unwrap();
    let mut input = vec![7.0; 3 * 64];
    let other = Picture::new(Size::new(8, 9), 0, PixelFormat::Rgb8, 0);
    let error = preprocessor.apply(&other.view(), Layout::Nchw, InputMut::F32(&mut input)).unwrap_err();
    assert_eq!(error.to_string(), "size of the picture is 8x9: expected 8x8, which this was built for");
    let picture = Picture::new(size, 0, PixelFormat::Rgb8, 0);
    let error =
        preprocessor.apply(&picture.view(), Layout::Nchw, InputMut::F32(&mut input[1..])).unwrap_err();
    assert!(matches!(error, Error::Shape { .. }), "{error}");
    assert!(input.iter().all(|&value| value == 7.0));
    for size in [Size::new(0, 8), Size::new(8, usize::MAX)] {
        assert!(matches!(Preprocessor::new(&imagenet(), size), Err(Error::Shape { .. })));
    }
    let nothing = Preprocessing { input_size: Some(Size::new(0, 3)), ..imagenet() };
    assert!(Preprocessor::new(&nothing, size).is_err());
}

#[test]
fn on_every_instruction_set() {
    instruction_sets::run_again("on_every_instruction_set");
}
