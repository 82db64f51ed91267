//! Logits as the engine takes them: borrowed, never copied, of any layout.
//!
//! A [`Logits`] is a slice of elements together with shape and strides, checked once at construction. Every index it
//! hands out later is in bounds by that check.

use half::{bf16, f16};
use ndarray::ArrayView4;

use crate::{Error, Result};

/// Element types of logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ElementType {
    /// IEEE 754 single precision.
    F32,
    /// IEEE 754 half precision.
    F16,
    /// bfloat16.
    BF16,
}

/// Height and width of an image, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Size {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Size {
    /// `height` x `width` pixels.
    pub const fn new(height: usize, width: usize) -> Self {
        Self { height, width }
    }

    /// Number of pixels.
    pub const fn pixels(self) -> usize {
        self.height * self.width
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}", self.height, self.width)
    }
}

/// Shape of a batch of logits: N images, C classes, h x w.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LogitsShape {
    /// Images.
    pub batch: usize,
    /// Classes, 1 to 255.
    pub classes: usize,
    /// Rows and columns of the logits themselves, before any upsampling.
    pub size: Size,
}

impl LogitsShape {
    /// Most classes that a prediction of type `u8` can tell apart with 255 left for "ignore".
    pub const MAX_CLASSES: usize = 255;

    /// # Errors
    /// When a dimension is 0, there are more than 255 classes, or the number of elements overflows.
    pub fn new(batch: usize, classes: usize, height: usize, width: usize) -> Result<Self> {
        let wrong = |expected: &str| Error::Shape {
            what: "shape of the logits (N, C, H, W)",
            given: format!("({batch}, {classes}, {height}, {width})"),
            expected: expected.to_owned(),
        };
        if batch == 0 || classes == 0 || height == 0 || width == 0 {
            return Err(wrong("every dimension to be at least 1"));
        }
        if classes > Self::MAX_CLASSES {
            return Err(wrong("at most 255 classes"));
        }
        // Sizes are kept within 32 bits, so that the exact rational sampling positions fit into 64.
        if height > i32::MAX as usize || width > i32::MAX as usize {
            return Err(wrong("height and width below 2^31"));
        }
        [classes, height, width]
            .iter()
            .try_fold(batch, |product, &n| product.checked_mul(n))
            .filter(|&n| n <= isize::MAX as usize / 8)
            .ok_or_else(|| wrong("a number of elements that fits into memory"))?;
        Ok(Self { batch, classes, size: Size::new(height, width) })
    }

    /// Number of logits.
    pub fn elements(self) -> usize {
        self.batch * self.classes * self.size.pixels()
    }
}

/// Memory order of densely packed logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Layout {
    /// Image, class, row, column: PyTorch's default.
    #[default]
    Nchw,
    /// Image, row, column, class: `channels_last`.
    Nhwc,
}

impl Layout {
    /// Strides (in elements, in the order N, C, H, W) of densely packed logits.
    pub fn strides(self, shape: LogitsShape) -> [usize; 4] {
        let (c, Size { height, width }) = (shape.classes, shape.size);
        match self {
            Self::Nchw => [c * height * width, height * width, width, 1],
            Self::Nhwc => [c * height * width, 1, width * c, c],
        }
    }
}

/// The borrowed elements.
#[derive(Clone, Copy, Debug)]
pub enum LogitsData<'a> {
    /// float32.
    F32(&'a [f32]),
    /// float16.
    F16(&'a [f16]),
    /// bfloat16.
    BF16(&'a [bf16]),
}

impl LogitsData<'_> {
    /// Number of elements in the slice.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(data) => data.len(),
            Self::F16(data) => data.len(),
            Self::BF16(data) => data.len(),
        }
    }

    /// True for an empty slice.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Type of the elements.
    pub fn element_type(&self) -> ElementType {
        match self {
            Self::F32(_) => ElementType::F32,
            Self::F16(_) => ElementType::F16,
            Self::BF16(_) => ElementType::BF16,
        }
    }
}

impl<'a> From<&'a [f32]> for LogitsData<'a> {
    fn from(data: &'a [f32]) -> Self {
        Self::F32(data)
    }
}

impl<'a> From<&'a [f16]> for LogitsData<'a> {
    fn from(data: &'a [f16]) -> Self {
        Self::F16(data)
    }
}

impl<'a> From<&'a [bf16]> for LogitsData<'a> {
    fn from(data: &'a [bf16]) -> Self {
        Self::BF16(data)
    }
}

/// A batch of logits in host memory, borrowed from its owner.
///
/// ```
/// use sml::{Layout, Logits, LogitsShape};
/// let elements = vec![0.0_f32; 2 * 19 * 4 * 6];
/// let shape = LogitsShape::new(2, 19, 4, 6)?;
/// let logits = Logits::packed(&elements[..], shape, Layout::Nchw)?;
/// assert_eq!(logits.strides(), [19 * 24, 24, 6, 1]);
/// # Ok::<(), sml::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Logits<'a> {
    data: LogitsData<'a>,
    shape: LogitsShape,
    strides: [usize; 4],
}

impl<'a> Logits<'a> {
    /// Densely packed logits in the given memory order.
    ///
    /// # Errors
    /// When the slice does not hold exactly the elements of `shape`.
    pub fn packed(data: impl Into<LogitsData<'a>>, shape: LogitsShape, layout: Layout) -> Result<Self> {
        let data = data.into();
        if data.len() != shape.elements() {
            return Err(Error::Shape {
                what: "number of logits",
                given: data.len().to_string(),
                expected: format!("{} for the shape {shape:?}", shape.elements()),
            });
        }
        Ok(Self { data, shape, strides: layout.strides(shape) })
    }

    /// Logits with any strides, in elements and in the order N, C, H, W. The slice begins with the first logit.
    ///
    /// # Errors
    /// When the strides reach beyond the slice.
    pub fn strided(data: impl Into<LogitsData<'a>>, shape: LogitsShape, strides: [usize; 4]) -> Result<Self> {
        let data = data.into();
        let LogitsShape { batch, classes, size } = shape;
        let last = [batch, classes, size.height, size.width]
            .iter()
            .zip(strides)
            .try_fold(0_usize, |sum, (&n, stride)| sum.checked_add((n - 1).checked_mul(stride)?));
        match last {
            Some(last) if last < data.len() => Ok(Self { data, shape, strides }),
            _ => Err(Error::Shape {
                what: "strides of the logits (N, C, H, W)",
                given: format!("{strides:?} for {shape:?}"),
                expected: format!("every index to lie within the {} elements", data.len()),
            }),
        }
    }

    /// The elements.
    pub fn data(&self) -> LogitsData<'a> {
        self.data
    }

    /// The shape.
    pub fn shape(&self) -> LogitsShape {
        self.shape
    }

    /// Strides in elements, in the order N, C, H, W.
    pub fn strides(&self) -> [usize; 4] {
        self.strides
    }

    /// Image `n` of the batch alone.
    ///
    /// # Errors
    /// When the batch has no image `n`.
    pub fn image(&self, n: usize) -> Result<Self> {
        if n >= self.shape.batch {
            return Err(Error::Shape {
                what: "index of an image in the batch",
                given: n.to_string(),
                expected: format!("less than {}", self.shape.batch),
            });
        }
        let from = n * self.strides[0];
        let data = match self.data {
            LogitsData::F32(data) => LogitsData::F32(&data[from..]),
            LogitsData::F16(data) => LogitsData::F16(&data[from..]),
            LogitsData::BF16(data) => LogitsData::BF16(&data[from..]),
        };
        Ok(Self { data, shape: LogitsShape { batch: 1, ..self.shape }, strides: self.strides })
    }
}

macro_rules! from_array_view {
    ($($element:ty),*) => {$(
        /// Borrows an array of shape (N, C, H, W) in any dense memory order, such as a permuted NHWC array.
        impl<'a> TryFrom<ArrayView4<'a, $element>> for Logits<'a> {
            type Error = Error;

            fn try_from(view: ArrayView4<'a, $element>) -> Result<Self> {
                let (n, c, h, w) = view.dim();
                let shape = LogitsShape::new(n, c, h, w)?;
                let mut strides = [0; 4];
                for (axis, stride) in view.strides().iter().enumerate() {
                    // Along an axis of length 1 no step is ever taken, and its stride may be anything.
                    strides[axis] = match usize::try_from(*stride) {
                        Ok(stride) => stride,
                        Err(_) if view.shape()[axis] == 1 => 0,
                        Err(_) => return Err(Error::Shape {
                            what: "strides of the logits",
                            given: format!("{:?}", view.strides()),
                            expected: "no negative stride (copy the reversed array first)".to_owned(),
                        }),
                    };
                }
                let data = view.to_slice_memory_order().ok_or_else(|| Error::Shape {
                    what: "strides of the logits",
                    given: format!("{:?} for {:?}", view.strides(), view.shape()),
                    expected: "an array without gaps (copy the slice first, or use Logits::strided)".to_owned(),
                })?;
                Self::strided(data, shape, strides)
            }
        }
    )*};
}
from_array_view!(f32, f16, bf16);
