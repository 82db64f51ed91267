//! What the frames of a loop look like, and how one is copied into the loop's memory.

use crate::{
    ElementType, Error, Layout, Logits, LogitsData, LogitsShape, PictureView, PixelFormat, Result, Size,
};

/// The one form that all frames of a loop have: memory for them is allocated when the loop is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameForm {
    /// Pictures.
    Picture {
        /// Rows and columns.
        size: Size,
        /// Bytes of a pixel.
        format: PixelFormat,
    },
    /// Logits of one image, from a network of one's own.
    Logits {
        /// Shape, with a batch of 1.
        shape: LogitsShape,
        /// Type of the elements.
        element: ElementType,
        /// Their order in memory, packed.
        layout: Layout,
    },
}

/// A frame as the source has it. It is copied when it is submitted.
#[derive(Clone, Copy, Debug)]
pub enum FrameInput<'a> {
    /// A picture; its rows may be padded.
    Picture(PictureView<'a>),
    /// Packed logits.
    Logits(Logits<'a>),
}

impl<'a> From<PictureView<'a>> for FrameInput<'a> {
    fn from(picture: PictureView<'a>) -> Self {
        Self::Picture(picture)
    }
}

impl<'a> From<&PictureView<'a>> for FrameInput<'a> {
    fn from(picture: &PictureView<'a>) -> Self {
        Self::Picture(*picture)
    }
}

impl<'a> From<Logits<'a>> for FrameInput<'a> {
    fn from(logits: Logits<'a>) -> Self {
        Self::Logits(logits)
    }
}

impl<'a> From<&Logits<'a>> for FrameInput<'a> {
    fn from(logits: &Logits<'a>) -> Self {
        Self::Logits(*logits)
    }
}

impl FrameForm {
    /// Bytes of a frame in the loop's memory: pixels without padding, row by row, or elements of logits.
    pub fn bytes(self) -> usize {
        match self {
            Self::Picture { size, format } => size.pixels() * format.bytes(),
            Self::Logits { shape, element, .. } => shape.elements() * bytes_of(element),
        }
    }

    pub(super) fn is_picture(self) -> bool {
        matches!(self, Self::Picture { .. })
    }

    /// # Errors
    /// [`Error::Shape`] for a form that no frame has, or more than one image.
    pub(super) fn check(self) -> Result<()> {
        match self {
            Self::Picture { size, .. } => LogitsShape::new(1, 4, size.height, size.width).map(|_| ()),
            Self::Logits { shape: LogitsShape { batch, classes, size }, .. } => {
                LogitsShape::new(batch, classes, size.height, size.width)?;
                let given = batch.to_string();
                let expected = "1: a frame is one image".to_owned();
                let wrong = Error::Shape { what: "batch of the loop's logits", given, expected };
                if batch == 1 { Ok(()) } else { Err(wrong) }
            }
        }
    }

    /// # Errors
    /// [`Error::Shape`] for a frame of another form.
    pub(super) fn check_frame(self, frame: &FrameInput<'_>) -> Result<()> {
        let given = match frame {
            FrameInput::Picture(picture) => Self::Picture { size: picture.size(), format: picture.format() },
            FrameInput::Logits(logits) => {
                let (shape, element) = (logits.shape(), logits.data().element_type());
                let packed = [Layout::Nchw, Layout::Nhwc]
                    .into_iter()
                    .find(|layout| is_packed(logits, *layout) && self.has_layout(*layout))
                    .or_else(|| {
                        [Layout::Nchw, Layout::Nhwc].into_iter().find(|layout| is_packed(logits, *layout))
                    });
                let Some(layout) = packed else {
                    let given = format!("{:?} for {shape:?}", logits.strides());
                    let expected = "packed logits, in one of the two layouts".to_owned();
                    return Err(Error::Shape { what: "strides of the logits", given, expected });
                };
                Self::Logits { shape, element, layout }
            }
        };
        if given == self {
            return Ok(());
        }
        Err(Error::Shape {
            what: "form of the frame",
            given: format!("{given:?}"),
            expected: format!("{self:?}, for which the loop was built"),
        })
    }

    fn has_layout(self, wanted: Layout) -> bool {
        matches!(self, Self::Logits { layout, .. } if layout == wanted)
    }

    /// The frame in a block of the loop's memory.
    pub(super) fn view(self, bytes: &[u8]) -> Result<FrameInput<'_>> {
        match self {
            Self::Picture { size, format } => {
                PictureView::packed(bytes, size, format).map(FrameInput::Picture)
            }
            Self::Logits { shape, element, layout } => {
                let data = match element {
                    ElementType::F32 => LogitsData::F32(bytemuck::cast_slice(bytes)),
                    ElementType::F16 => LogitsData::F16(bytemuck::cast_slice(bytes)),
                    ElementType::BF16 => LogitsData::BF16(bytemuck::cast_slice(bytes)),
                };
                Logits::packed(data, shape, layout).map(FrameInput::Logits)
            }
        }
    }
}

/// Copies a frame of the loop's form into a block of its memory.
pub(super) fn copy(frame: &FrameInput<'_>, memory: &mut [u8]) {
    match frame {
        FrameInput::Picture(picture) => {
            let row = picture.size().width * picture.format().bytes();
            for (y, to) in memory.chunks_exact_mut(row).enumerate() {
                to.copy_from_slice(picture.row(y));
            }
        }
        FrameInput::Logits(logits) => {
            let bytes: &[u8] = match logits.data() {
                LogitsData::F32(data) => bytemuck::cast_slice(data),
                LogitsData::F16(data) => bytemuck::cast_slice(data),
                LogitsData::BF16(data) => bytemuck::cast_slice(data),
            };
            memory.copy_from_slice(&bytes[..memory.len()]);
        }
    }
}

/// Whether the logits lie one behind the other in this layout. Along a dimension of 1 no step is taken.
fn is_packed(logits: &Logits<'_>, layout: Layout) -> bool {
    let shape = logits.shape();
    let lengths = [shape.batch, shape.classes, shape.size.height, shape.size.width];
    let packed = layout.strides(shape);
    lengths.iter().zip(packed).zip(logits.strides()).all(|((&n, packed), given)| n == 1 || packed == given)
}

fn bytes_of(element: ElementType) -> usize {
    match element {
        ElementType::F32 => 4,
        ElementType::F16 | ElementType::BF16 => 2,
    }
}
