//! Preprocessing with libtorch's tensors: what the networks here want, and one picture's input.

use image::RgbImage;
use tch::{Device, Tensor};

use super::input_tensor::InputTensor;
use super::{DabNet, InputFormat, torch_error};
use crate::{ChannelOrder, PictureView, Preprocessing, Preprocessor, Result};

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

    /// The input tensor 1 x 3 x H x W, float32 on `device`, made on the CPU: for one picture. For many,
    /// [`Pipeline`](super::Pipeline) keeps what this makes anew each time, and does the work where the network runs.
    ///
    /// A picture of another size than [`size_for`](Self::size_for) gives is resampled bilinearly (align_corners = false,
    /// widened filter where it shrinks), so that positions in the logits correspond to positions in the picture by
    /// the ratio of the sizes alone.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) for a picture without pixels, [`Error::Torch`](crate::Error::Torch) when
    /// libtorch or the device fails.
    pub fn apply(&self, picture: &RgbImage, device: Device) -> Result<Tensor> {
        let picture = PictureView::try_from(picture)?;
        let mut preprocessor = Preprocessor::new(self, picture.size())?;
        let size = preprocessor.input_size();
        let mut input = InputTensor::new(size, InputFormat::default(), Device::Cpu)?;
        input.fill(&mut preprocessor, &picture)?;
        let action = || format!("bring an input of {size} to {device:?}");
        input.into_tensor().f_to_device(device).map_err(torch_error(action()))
    }
}
