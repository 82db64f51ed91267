//! Pictures to a network's input on the GPU against the CPU: the same bytes.

use std::sync::Arc;

use cudarc::driver::{CudaStream, DevicePtr};
use half::{bf16, f16};
use sml::cuda::{CudaPreprocessor, RawStream};
use sml::{ElementType, InputMut, Layout, PixelFormat, Preprocessing, Preprocessor, Size};

use crate::on_gpu::{element_bytes, gpu};
use crate::pictures::{Picture, imagenet};

const ELEMENTS: [ElementType; 3] = [ElementType::F32, ElementType::F16, ElementType::BF16];

fn on_cpu(picture: &Picture, preprocessing: &Preprocessing, element: ElementType, layout: Layout) -> Vec<u8> {
    let mut preprocessor = Preprocessor::new(preprocessing, picture.size).unwrap();
    let elements = 3 * preprocessor.input_size().pixels();
    let mut bytes = vec![0_u32; elements];
    let view = picture.view();
    match element {
        ElementType::F32 => {
            preprocessor.apply(&view, layout, InputMut::F32(bytemuck::cast_slice_mut(&mut bytes))).unwrap();
        }
        ElementType::F16 => {
            let input: &mut [f16] = &mut bytemuck::cast_slice_mut(&mut bytes)[..elements];
            preprocessor.apply(&view, layout, InputMut::F16(input)).unwrap();
        }
        ElementType::BF16 => {
            let input: &mut [bf16] = &mut bytemuck::cast_slice_mut(&mut bytes)[..elements];
            preprocessor.apply(&view, layout, InputMut::BF16(input)).unwrap();
        }
    }
    bytemuck::cast_slice(&bytes)[..elements * element_bytes(element)].to_vec()
}

/// From host memory by way of pinned memory, three times over, and then from device memory at an odd address.
#[allow(unsafe_code, reason = "the preprocessor is given plain addresses")]
fn check(picture: &Picture, preprocessing: &Preprocessing, stream: &Arc<CudaStream>) {
    for (element, layout) in ELEMENTS.into_iter().flat_map(|e| [(e, Layout::Nchw), (e, Layout::Nhwc)]) {
        let what = format!("{:?}, {preprocessing:?}, {element:?}, {layout:?}", picture.view());
        let want = on_cpu(picture, preprocessing, element, layout);
        let kind = (picture.size, picture.format);
        let mut preprocessor = CudaPreprocessor::new(0, preprocessing, kind, element, layout).unwrap();
        let moved: Vec<u8> = [7; 3].into_iter().chain(picture.data.iter().copied()).collect();
        let there = stream.clone_htod(&moved).unwrap();
        for turn in 0..4 {
            let input = stream.clone_htod(&vec![0xee_u8; want.len()]).unwrap();
            let address = input.device_ptr(stream).0;
            // SAFETY: the input is exactly as large as needed, and lives until it has been copied back, on the same stream, CUDA's
            // default one; so does the picture behind its three bytes.
            unsafe {
                if turn < 3 {
                    preprocessor.submit(&picture.view(), address, RawStream::DEFAULT).unwrap();
                } else {
                    let pixels = there.device_ptr(stream).0 + 3;
                    preprocessor
                        .submit_device(pixels, picture.row_stride, address, RawStream::DEFAULT)
                        .unwrap();
                }
            }
            assert!(stream.clone_dtoh(&input).unwrap() == want, "{what}, turn {turn}");
        }
    }
}

#[test]
fn small_pictures_become_the_cpus_input() {
    let Some(stream) = gpu() else { return };
    for (place, format) in PixelFormat::ALL.into_iter().enumerate() {
        for (height, width, padding) in [(1, 1, 0), (9, 70, 2), (16, 64, 0), (5, 131, 1)] {
            let picture = Picture::new(Size::new(height, width), padding, format, place as u64);
            check(&picture, &imagenet(), &stream);
        }
        let picture = Picture::new(Size::new(21, 45), 3, format, place as u64);
        for (height, width) in [(24, 48), (10, 50), (1, 3)] {
            let preprocessing = Preprocessing { input_size: Some(Size::new(height, width)), ..imagenet() };
            check(&picture, &preprocessing, &stream);
        }
    }
}

#[test]
fn a_cameras_picture_becomes_the_cpus_input() {
    let Some(stream) = gpu() else { return };
    check(&Picture::new(Size::new(1024, 2048), 0, PixelFormat::Bgr8, 1), &imagenet(), &stream);
    let smaller = Preprocessing { input_size: Some(Size::new(512, 1024)), ..imagenet() };
    check(&Picture::new(Size::new(1080, 1920), 64, PixelFormat::Bgra8, 2), &smaller, &stream);
}
