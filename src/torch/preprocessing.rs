//! From a picture to a network's input tensor.
//!
//! The 8-bit picture is copied to the device as it is and normalised there: a quarter of the bytes cross the bus.

use image::RgbImage;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, TchError, Tensor};

use super::{DabNet, torch_error};
use crate::{Error, Result, Size};

impl Preprocessing {
    /// What DABNet's published weights and the bundled ones were trained with: red, green and blue in 0..=255 less the mean
    /// of Cityscapes, not divided, at any size whose sides are multiples of 8.
    pub fn dabnet() -> Self {
        Self {
            input_size: None,
            multiple: DabNet::INPUT_MULTIPLE,
            channel_order: ChannelOrder::Rgb,
            scale: 1.0,
            mean: [73.158325, 82.90902, 72.3924],
            std: [1.0; 3],
        }
    }

    /// The input tensor 1 x 3 x H x W, float32 on `device`.
    ///
    /// A picture of another size than [`size_for`](Self::size_for) gives is resampled bilinearly (align_corners = false,
    /// widened filter where it shrinks), so that positions in the logits correspond to positions in the picture by
    /// the ratio of the sizes alone.
    ///
    /// # Errors
    /// [`Error::Shape`] for a picture without pixels, [`Error::Torch`] when libtorch or the device fails.
    pub fn apply(&self, picture: &RgbImage, device: Device) -> Result<Tensor> {
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        if width == 0 || height == 0 {
            return Err(Error::Shape {
                what: "the picture",
                given: format!("{height} x {width} pixels"),
                expected: "at least one pixel".to_owned(),
            });
        }
        let size = self.size_for(height, width);
        self.tensor(picture.as_raw(), [height, width], size, device)
            .map_err(torch_error(format!("prepare a picture of {height} x {width} pixels")))
    }

    fn tensor(
        &self,
        pixels: &[u8],
        [height, width]: [usize; 2],
        size: Size,
        device: Device,
    ) -> Result<Tensor, TchError> {
        let rows = Tensor::f_from_data_size(pixels, &[1, height as i64, width as i64, 3], Kind::Uint8)?;
        let mut planes = rows.f_to_device(device)?.f_permute([0, 3, 1, 2])?.f_to_kind(Kind::Float)?;
        if self.channel_order == ChannelOrder::Bgr {
            planes = planes.f_flip([1])?;
        }
        if size != (Size { height, width }) {
            let target = [size.height as i64, size.width as i64];
            planes = planes.f_internal_upsample_bilinear2d_aa(target, false, None, None)?;
        }
        let per_channel = |values: [f64; 3]| {
            let values = Tensor::f_from_slice(&values.map(|value| value as f32))?;
            values.f_view([1, 3, 1, 1])?.f_to_device(device)
        };
        let scaled = if self.scale == 1.0 { planes } else { planes.f_mul_scalar(self.scale)? };
        scaled.f_sub(&per_channel(self.mean)?)?.f_div(&per_channel(self.std)?)?.f_contiguous()
    }
}
