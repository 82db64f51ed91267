//! Pictures as cameras and decoders give them, and what networks want of them: shared by several tests.
#![allow(dead_code, reason = "each test uses its part")]

use proptest::prelude::*;
use sml::{ChannelOrder, PictureView, PixelFormat, Preprocessing, Size};

/// A picture with its memory.
#[derive(Clone, Debug)]
pub struct Picture {
    pub data: Vec<u8>,
    pub size: Size,
    pub row_stride: usize,
    pub format: PixelFormat,
}

impl Picture {
    pub fn new(size: Size, padding: usize, format: PixelFormat, seed: u64) -> Self {
        let row_stride = size.width * format.bytes() + padding;
        let length = (size.height - 1) * row_stride + size.width * format.bytes();
        let byte = |i: usize| {
            let z = (i as u64 ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            (z ^ (z >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9).to_be_bytes()[0]
        };
        Self { data: (0..length).map(byte).collect(), size, row_stride, format }
    }

    pub fn view(&self) -> PictureView<'_> {
        PictureView::new(&self.data, self.size, self.row_stride, self.format).unwrap()
    }

    /// The same picture in another format, with other padding.
    pub fn rearranged(&self, format: PixelFormat, padding: usize) -> Self {
        let mut other = Self::new(self.size, padding, format, 99);
        let place = |picture: &Self, y, x, red_green_blue: usize| {
            let swapped = picture.format.order() == ChannelOrder::Bgr;
            let channel = if swapped { 2 - red_green_blue } else { red_green_blue };
            y * picture.row_stride + x * picture.format.bytes() + channel
        };
        for y in 0..self.size.height {
            for x in 0..self.size.width {
                for channel in 0..3 {
                    let to = place(&other, y, x, channel);
                    other.data[to] = self.data[place(self, y, x, channel)];
                }
            }
        }
        other
    }
}

/// What torchvision's networks want.
pub fn imagenet() -> Preprocessing {
    Preprocessing {
        input_size: None,
        multiple: 1,
        channel_order: ChannelOrder::Rgb,
        scale: 1.0 / 255.0,
        mean: [0.485, 0.456, 0.406],
        std: [0.229, 0.224, 0.225],
    }
}

pub fn sizes() -> impl Strategy<Value = Size> {
    (1_usize..40, 1_usize..90).prop_map(|(height, width)| Size::new(height, width))
}

pub fn pictures() -> impl Strategy<Value = Picture> {
    (sizes(), 0_usize..20, 0_usize..4, any::<u64>())
        .prop_map(|(size, padding, format, seed)| Picture::new(size, padding, PixelFormat::ALL[format], seed))
}

pub fn preprocessings() -> impl Strategy<Value = Preprocessing> {
    let own = (prop_oneof![Just(1_usize), Just(8), Just(32)], any::<bool>(), proptest::option::of(sizes()));
    (own, -3.0..3.0_f64, prop::array::uniform3(-120.0..120.0_f64), prop::array::uniform3(0.2..60.0_f64))
        .prop_map(|((multiple, blue_first, input_size), scale, mean, std)| Preprocessing {
            input_size,
            multiple,
            channel_order: if blue_first { ChannelOrder::Bgr } else { ChannelOrder::Rgb },
            scale,
            mean,
            std,
        })
}
