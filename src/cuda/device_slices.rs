//! Logits in slices of cudarc, the Rust binding that this crate uses too.

use cudarc::driver::{CudaStream, DevicePtr};
use half::{bf16, f16};

use super::plan::DeviceLogits;
use crate::{ElementType, Error, Layout, LogitsShape, Result};

/// Elements that logits can have.
pub trait LogitElement: sealed::Sealed {
    /// The type as a value.
    const ELEMENT: ElementType;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for half::f16 {}
    impl Sealed for half::bf16 {}
}

impl LogitElement for f32 {
    const ELEMENT: ElementType = ElementType::F32;
}

impl LogitElement for f16 {
    const ELEMENT: ElementType = ElementType::F16;
}

impl LogitElement for bf16 {
    const ELEMENT: ElementType = ElementType::BF16;
}

impl DeviceLogits {
    /// Densely packed logits at the beginning of a slice or view of cudarc, for a frame on `stream`.
    ///
    /// The stream is made to wait for what cudarc knows to be writing to the slice. The other way round cudarc knows nothing
    /// of the engine's reading: keep the slice, and write to it on the same stream, or wait.
    ///
    /// ```no_run
    /// use cudarc::driver::{CudaContext, DevicePtr};
    /// use sml::cuda::plan::{DeviceFrame, DeviceLogits};
    /// use sml::{Capacity, Device, Engine, Layout, LogitsShape, Params, Score, Size};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (shape, size) = (LogitsShape::new(1, 19, 256, 512)?, Size::new(1024, 2048));
    /// let params = Params { score: Score::MaxLogit, ..Params::default() };
    /// let mut engine = Engine::new(Device::Cuda(0), params, None, Capacity::of(shape, size))?;
    ///
    /// let stream = CudaContext::new(0)?.new_stream()?;
    /// let logits = stream.alloc_zeros::<half::f16>(shape.elements())?;
    /// let score = stream.alloc_zeros::<f32>(size.pixels())?;
    /// let prediction = stream.alloc_zeros::<u8>(size.pixels())?;
    /// let non_finite = stream.alloc_zeros::<u64>(1)?;
    /// let frame = DeviceFrame {
    ///     logits: DeviceLogits::in_slice(&logits, &stream, shape, Layout::Nchw)?,
    ///     size,
    ///     score: score.device_ptr(&stream).0,
    ///     half_score: false,
    ///     prediction: prediction.device_ptr(&stream).0,
    ///     non_finite: non_finite.device_ptr(&stream).0,
    /// };
    /// // SAFETY: the slices are as large as the frame says, apart from each other, and live until the stream was waited for.
    /// unsafe { engine.submit_device(&frame, (&stream).into()) }?;
    /// let score = stream.clone_dtoh(&score)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] for a slice with fewer elements than the shape.
    pub fn in_slice<T: LogitElement>(
        slice: &impl DevicePtr<T>,
        stream: &CudaStream,
        shape: LogitsShape,
        layout: Layout,
    ) -> Result<Self> {
        if slice.len() < shape.elements() {
            return Err(Error::Shape {
                what: "length of the slice of logits",
                given: slice.len().to_string(),
                expected: format!("at least {}", shape.elements()),
            });
        }
        let (pointer, _until_given) = slice.device_ptr(stream);
        Ok(Self { pointer, element: T::ELEMENT, shape, strides: layout.strides(shape) })
    }
}
