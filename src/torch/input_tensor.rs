//! The tensor that a network's input is written into, picture after picture.
#![allow(unsafe_code)]

use half::{bf16, f16};
use tch::{Device, Tensor};

use super::execution::{InputFormat, Precision};
use super::torch_error;
use crate::{ElementType, InputMut, Layout, PictureView, Preprocessor, Result, Size};

/// A tensor 1 x 3 x H x W, packed in one of the two layouts (channels last: by its strides), whose storage is its own.
#[derive(Debug)]
pub(super) struct InputTensor {
    tensor: Tensor,
    element: ElementType,
    layout: Layout,
    elements: usize,
}

impl InputTensor {
    /// Allocates it.
    ///
    /// # Errors
    /// [`Error::Torch`](crate::Error::Torch) when libtorch cannot.
    pub fn new(size: Size, format: InputFormat, device: Device) -> Result<Self> {
        let (element, layout) = form_of(format);
        let (height, width) = (size.height as i64, size.width as i64);
        let strides = match layout {
            Layout::Nchw => [3 * height * width, height * width, width, 1],
            Layout::Nhwc => [3 * height * width, 1, 3 * width, 3],
        };
        let tensor =
            Tensor::f_empty_strided([1, 3, height, width], strides, (format.precision.kind(), device))
                .map_err(torch_error("allocate the network's input"))?;
        Ok(Self { tensor, element, layout, elements: 3 * size.pixels() })
    }

    /// Writes a picture's input into it, on the CPU.
    ///
    /// # Errors
    /// As [`Preprocessor::apply`].
    pub fn fill(&mut self, preprocessor: &mut Preprocessor, picture: &PictureView<'_>) -> Result<()> {
        debug_assert_eq!(self.tensor.device(), Device::Cpu);
        let memory = self.tensor.data_ptr();
        // SAFETY: the tensor was made by `new` with just these elements, one behind the other from its address on, in host
        // memory that libtorch aligns to 64 bytes; every bit pattern is a number. The slice lives until this function returns,
        // which runs no code of a caller meanwhile. (Handles that a network may have kept of its input see it change.)
        let input = unsafe {
            match self.element {
                ElementType::F32 => {
                    InputMut::F32(std::slice::from_raw_parts_mut(memory.cast::<f32>(), self.elements))
                }
                ElementType::F16 => {
                    InputMut::F16(std::slice::from_raw_parts_mut(memory.cast::<f16>(), self.elements))
                }
                ElementType::BF16 => {
                    InputMut::BF16(std::slice::from_raw_parts_mut(memory.cast::<bf16>(), self.elements))
                }
            }
        };
        preprocessor.apply(picture, self.layout, input)
    }

    /// The tensor.
    pub fn tensor(&self) -> &Tensor {
        &self.tensor
    }

    /// Its first element's address.
    #[cfg(feature = "cuda")]
    pub fn address(&self) -> u64 {
        self.tensor.data_ptr() as u64
    }

    /// The tensor, given away.
    pub fn into_tensor(self) -> Tensor {
        self.tensor
    }
}

/// Element type and layout of a network's input, as preprocessing names them.
pub(super) fn form_of(format: InputFormat) -> (ElementType, Layout) {
    let element = match format.precision {
        Precision::F32 => ElementType::F32,
        Precision::F16 => ElementType::F16,
        Precision::Bf16 => ElementType::BF16,
    };
    (element, if format.channels_last { Layout::Nhwc } else { Layout::Nchw })
}
