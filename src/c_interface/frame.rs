//! A frame as C gives it: logits, and memory for the result.

use std::ffi::c_void;

use half::f16;

use super::arguments::check_address;
use super::status::{Failure, Outcome};
use super::versioned::Versioned;
use crate::{ElementType, Layout, LogitsShape, Size};

/// Type of an element.
pub type sml_element_type = i32;
/// IEEE 754 single precision, 4 bytes.
pub const SML_F32: sml_element_type = 0;
/// IEEE 754 half precision, 2 bytes.
pub const SML_F16: sml_element_type = 1;
/// bfloat16, 2 bytes. Logits only.
pub const SML_BF16: sml_element_type = 2;

/// Order of logits in memory.
pub type sml_layout = i32;
/// Packed: image, class, row, column. PyTorch's default.
pub const SML_NCHW: sml_layout = 0;
/// Packed: image, row, column, class. PyTorch's channels_last.
pub const SML_NHWC: sml_layout = 1;
/// Wherever `strides` says.
pub const SML_STRIDED: sml_layout = 2;

/// A batch of logits in host or device memory. They are read where they lie and never copied.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct sml_logits {
    /// sizeof(sml_logits).
    pub struct_size: usize,
    /// The first logit, in the memory of the engine's device, at a multiple of its size.
    pub data: *const c_void,
    /// SML_F32, SML_F16 or SML_BF16.
    pub element_type: sml_element_type,
    /// SML_NCHW, SML_NHWC or SML_STRIDED.
    pub layout: sml_layout,
    /// N: images.
    pub batch: usize,
    /// C: classes, 1 to 255.
    pub classes: usize,
    /// H: rows of the logits themselves, before any upsampling.
    pub height: usize,
    /// W: columns of the logits themselves.
    pub width: usize,
    /// With SML_STRIDED: elements from one image, class, row, column to the next. Otherwise not looked at.
    pub strides: [usize; 4],
}

/// Memory of the caller's for the result of a batch: N images of `height` x `width` pixels, packed one behind the other. It
/// overlaps neither the logits nor itself.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct sml_output {
    /// sizeof(sml_output).
    pub struct_size: usize,
    /// Rows of the result.
    pub height: usize,
    /// Columns of the result.
    pub width: usize,
    /// SML_F32, or SML_F16: the float32 result, rounded.
    pub score_type: sml_element_type,
    /// 0.
    pub reserved: i32,
    /// N x `height` x `width` anomaly scores: higher is more anomalous.
    pub score: *mut c_void,
    /// N x `height` x `width` predicted classes.
    pub prediction: *mut u8,
    /// For each of the N images, the number of its pixels with a NaN or infinite logit.
    pub non_finite: *mut u64,
}

/// The result of a batch in the engine's own memory: valid until the next call with this engine that submits, or destroys it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct sml_anomaly_map {
    /// sizeof(sml_anomaly_map), set by the caller. The library sets the others.
    pub struct_size: usize,
    /// N: images.
    pub batch: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// N x `height` x `width` anomaly scores, packed: higher is more anomalous.
    pub score: *const f32,
    /// N x `height` x `width` predicted classes, packed.
    pub prediction: *const u8,
    /// For each of the N images, the number of its pixels with a NaN or infinite logit.
    pub non_finite: *const u64,
}

impl sml_anomaly_map {
    /// No result.
    pub(super) const NOWHERE: Self = Self {
        struct_size: size_of::<Self>(),
        batch: 0,
        height: 0,
        width: 0,
        score: std::ptr::null(),
        prediction: std::ptr::null(),
        non_finite: std::ptr::null(),
    };
}

macro_rules! versioned {
    ($($name:ident: $first_bytes:literal)*) => {$(
        // SAFETY: repr(C), its size first, then numbers and pointers, which may have any value.
        #[allow(unsafe_code)]
        unsafe impl Versioned for $name {
            const NAME: &'static str = stringify!($name);
            // Sizes of 64-bit systems; on others nothing older is known.
            const FIRST_BYTES: usize =
                if size_of::<usize>() == 8 { $first_bytes } else { size_of::<Self>() };
        }
    )*};
}
pub(super) use versioned;

versioned! {
    sml_logits: 88
    sml_output: 56
    sml_anomaly_map: 56
}

/// Logits whose description makes sense. Where they lie is not looked at.
pub(super) struct Description {
    pub element: ElementType,
    pub shape: LogitsShape,
    pub strides: [usize; 4],
    /// Elements from the first to the last, both included.
    pub length: usize,
}

impl sml_logits {
    pub(super) fn describe(&self) -> Outcome<Description> {
        let element = match self.element_type {
            SML_F32 => ElementType::F32,
            SML_F16 => ElementType::F16,
            SML_BF16 => ElementType::BF16,
            other => {
                return Err(unknown("element_type of the logits", other, "SML_F32, SML_F16 or SML_BF16"));
            }
        };
        let shape = LogitsShape::new(self.batch, self.classes, self.height, self.width)?;
        let strides = match self.layout {
            SML_NCHW => Layout::Nchw.strides(shape),
            SML_NHWC => Layout::Nhwc.strides(shape),
            SML_STRIDED => self.strides,
            other => return Err(unknown("layout of the logits", other, "SML_NCHW, SML_NHWC or SML_STRIDED")),
        };
        let length = span(shape, strides).ok_or_else(|| {
            Failure::argument(format!(
                "strides of the logits are {strides:?}: expected ones that stay within memory, none of them negative"
            ))
        })?;
        let address = self.data;
        match element {
            ElementType::F32 => check_address(address.cast::<f32>(), "data of the logits"),
            ElementType::F16 | ElementType::BF16 => {
                check_address(address.cast::<f16>(), "data of the logits")
            }
        }?;
        Ok(Description { element, shape, strides, length })
    }
}

/// Elements from the first to the last logit, both included.
fn span(shape: LogitsShape, strides: [usize; 4]) -> Option<usize> {
    let LogitsShape { batch, classes, size } = shape;
    let steps = [batch, classes, size.height, size.width].into_iter().zip(strides);
    let last =
        steps.into_iter().try_fold(0_usize, |sum, (n, stride)| sum.checked_add((n - 1).checked_mul(stride)?));
    // No object is longer than half of memory, whatever its elements.
    last?.checked_add(1).filter(|&length| length <= isize::MAX as usize / size_of::<f32>())
}

impl sml_output {
    pub(super) fn size(&self) -> Size {
        Size::new(self.height, self.width)
    }

    /// Whether scores are float16.
    pub(super) fn is_half(&self) -> Outcome<bool> {
        match self.score_type {
            SML_F32 => Ok(false),
            SML_F16 => Ok(true),
            other => Err(unknown("score_type of the output", other, "SML_F32 or SML_F16")),
        }
    }

    /// Refuses outputs that lie nowhere, or over each other or the logits. The engine takes the shapes: they multiply without
    /// overflow.
    pub(super) fn check(&self, logits: &sml_logits, described: &Description) -> Outcome {
        if self.reserved != 0 {
            return Err(Failure::argument(format!(
                "reserved of the output is {}: expected 0",
                self.reserved
            )));
        }
        let half = self.is_half()?;
        if half {
            check_address(self.score.cast::<f16>(), "score of the output")?;
        } else {
            check_address(self.score.cast::<f32>(), "score of the output")?;
        }
        check_address(self.prediction, "prediction of the output")?;
        check_address(self.non_finite, "non_finite of the output")?;
        let element_bytes = if described.element == ElementType::F32 { 4 } else { 2 };
        let pixels = described.shape.batch.saturating_mul(self.size().pixels());
        let ranges = [
            ("logits", logits.data.addr(), described.length.saturating_mul(element_bytes)),
            ("score", self.score.addr(), pixels.saturating_mul(if half { 2 } else { 4 })),
            ("prediction", self.prediction.addr(), pixels),
            ("non_finite", self.non_finite.addr(), described.shape.batch.saturating_mul(8)),
        ];
        let over = ranges.iter().enumerate().find_map(|(place, &(one, from, bytes))| {
            let (_, others) = ranges.split_at(place + 1);
            let meets = |&&(_, other, other_bytes): &&(&str, usize, usize)| {
                from < other.saturating_add(other_bytes) && other < from.saturating_add(bytes)
            };
            others.iter().find(meets).map(|&(other, ..)| (one, other))
        });
        match over {
            None => Ok(()),
            Some((one, other)) => Err(Failure::argument(format!(
                "{one} and {other} overlap: expected memory of its own for each"
            ))),
        }
    }
}

fn unknown(what: &str, given: i32, expected: &str) -> Failure {
    Failure::argument(format!("{what} is {given}: expected {expected}"))
}
