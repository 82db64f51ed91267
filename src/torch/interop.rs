//! Tensors of libtorch as logits and as memory for results, without a copy.
//!
//! [`Engine::submit_tensor`] reads the logits where libtorch put them, and [`Engine::submit_tensor_into`] also writes the
//! results into tensors that the caller owns. A tensor on another device, of another element type or in a layout that
//! slices cannot express is an error: nothing is transferred or converted on the quiet.
//!
//! # Why these calls are safe and [`borrow_logits`] is not
//! A `tch::Tensor` is a handle: `shallow_clone`, views and slices share its memory, and in-place operations through any of
//! them write to it or replace it. A Rust slice over that memory is therefore only sound while no other handle is used.
//! The two calls of the engine make the slices, use them and drop them before they return, and run no code of the
//! caller meanwhile, so that no handle on this thread can interfere. Handles that were sent to other threads must leave
//! the memory alone during the call, as tch asks for each of its own operations. `borrow_logits` hands the slice out,
//! which moves that duty to its caller.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::ops::Range;

use half::{bf16, f16};
use tch::{Device, Kind, Tensor};
use torch_sys::C_tensor;

use super::torch_error;
use crate::{
    AnomalyMap, AnomalyMapMut, Engine, Error, Logits, LogitsData, LogitsShape, Result, ScoreMut, Size,
};

// Part of libtorch's stable C interface (torch/csrc/inductor/aoti_torch/c/shim.h): what tch does not tell of a tensor.
// Its tensor handle is a pointer to an `at::Tensor`, which is what tch's `C_tensor` is too.
unsafe extern "C" {
    fn aoti_torch_layout_strided() -> i32;
    fn aoti_torch_get_layout(tensor: *const C_tensor, layout: *mut i32) -> i32;
    fn aoti_torch_get_storage_size(tensor: *const C_tensor, bytes: *mut i64) -> i32;
    fn aoti_torch_get_storage_offset(tensor: *const C_tensor, elements: *mut i64) -> i32;
}

/// Tensors that the caller owns, for the result of one batch.
///
/// All lie on the engine's device, are contiguous in the order of their dimensions, take no part in automatic
/// differentiation, and share no memory with each other or with the logits. Their size is the size of the result: where
/// it differs from that of the logits, those are upsampled.
#[derive(Debug)]
pub struct OutputTensors<'a> {
    /// Anomaly scores, float32 or float16, N x H x W (or H x W for one image): higher is more anomalous.
    pub score: &'a mut Tensor,
    /// Predicted classes, uint8, of the same shape.
    pub prediction: &'a mut Tensor,
    /// Pixels of each image with a logit that is not finite, N.
    pub non_finite: &'a mut [u64],
}

/// Tensors of libtorch.
impl Engine {
    /// As [`Engine::submit`], with the logits read in a tensor's own memory.
    ///
    /// `logits` is N x C x h x w, or C x h x w for one image, of float32, float16 or bfloat16, on the engine's device, with
    /// any strides: `channels_last`, slices and expanded dimensions too. Other threads must not write to its memory
    /// meanwhile.
    ///
    /// # Errors
    /// [`Error::Device`] for a tensor on another device, [`Error::Shape`] for one of another rank, element type or layout,
    /// and as [`Engine::submit`].
    pub fn submit_tensor(&mut self, logits: &Tensor, size: Size) -> Result<AnomalyMap<'_>> {
        // SAFETY: the view lives until this call returns, which runs no code of the caller; see the module's text.
        let logits = unsafe { borrow_logits(logits) }?;
        self.submit(&logits, size)
    }

    /// As [`Engine::submit_into`], with the logits read and the results written in tensors' own memory. Automatic
    /// differentiation does not see the writing. Other threads must not use the tensors' memory meanwhile.
    ///
    /// # Errors
    /// As [`Engine::submit_tensor`]; [`Error::Shape`] for outputs that are not as [`OutputTensors`] says; and as
    /// [`Engine::submit_into`]. The outputs are untouched then.
    pub fn submit_tensor_into(&mut self, logits: &Tensor, output: OutputTensors<'_>) -> Result<()> {
        let logits = View::of_logits(logits)?;
        let (score, size) = View::of_output(output.score, "score tensor", &[Kind::Float, Kind::Half])?;
        let (prediction, other) = View::of_output(output.prediction, "prediction tensor", &[Kind::Uint8])?;
        if size != other {
            return Err(Error::Shape {
                what: "size of the prediction tensor",
                given: other.to_string(),
                expected: size.to_string(),
            });
        }
        check_apart(&[&logits, &score, &prediction])?;
        // SAFETY: all three were checked to lie within their storages, aligned, of the element types named here and
        // apart from each other. The slices live until this call returns, which runs no code of the caller; see the
        // module's text.
        let (logits, score, prediction) = unsafe {
            let score_memory = match score.kind {
                Kind::Half => ScoreMut::F16(score.slice_mut::<f16>()),
                _ => ScoreMut::F32(score.slice_mut::<f32>()),
            };
            (logits.logits()?, score_memory, prediction.slice_mut::<u8>())
        };
        self.submit_into(&logits, AnomalyMapMut { size, score, prediction, non_finite: output.non_finite })
    }
}

/// Borrows the memory of a tensor on the CPU as logits: N x C x h x w, or C x h x w for one image, of float32, float16 or
/// bfloat16, with any strides.
///
/// # Safety
/// While the result lives, no handle of the tensor's memory, on any thread, may write to it, resize it or replace it:
/// neither the tensor's shallow clones nor its views.
///
/// # Errors
/// [`Error::Device`] for a tensor on another device, [`Error::Shape`] for one of another rank, element type or layout.
pub unsafe fn borrow_logits(tensor: &Tensor) -> Result<Logits<'_>> {
    let view = View::of_logits(tensor)?;
    // SAFETY: `of_logits` checked that the memory is there; the caller answers for its being left alone.
    unsafe { view.logits() }
}

/// A tensor's memory, checked: an aligned range within its storage, of strided elements of a known type.
struct View<'a> {
    name: &'static str,
    kind: Kind,
    /// Of four dimensions for logits, three for outputs.
    shape: Vec<usize>,
    strides: Vec<usize>,
    memory: *mut c_void,
    /// Elements from the first to the last one, with what lies between them.
    span: usize,
    /// The memory belongs to a tensor that is borrowed for as long.
    tensor: std::marker::PhantomData<&'a Tensor>,
}

impl<'a> View<'a> {
    fn of_logits(tensor: &'a Tensor) -> Result<Self> {
        const KINDS: [Kind; 3] = [Kind::Float, Kind::Half, Kind::BFloat16];
        let mut view = Self::of(tensor, "logits tensor", &KINDS)?;
        view.add_batch(4, "4 dimensions (N, C, h, w), or 3 for one image")?;
        Ok(view)
    }

    /// Also returns rows and columns.
    fn of_output(tensor: &'a mut Tensor, name: &'static str, kinds: &[Kind]) -> Result<(Self, Size)> {
        let tensor = &*tensor;
        let mut view = Self::of(tensor, name, kinds)?;
        if !tensor.is_contiguous() {
            return Err(view.wrong("strides", format!("{:?}", view.strides), "a contiguous tensor"));
        }
        if tensor.requires_grad() {
            return Err(view.wrong("requires_grad", "true".into(), "false: detach the tensor first"));
        }
        view.add_batch(3, "3 dimensions (N, H, W), or 2 for one image")?;
        let size = Size::new(view.shape[1], view.shape[2]);
        Ok((view, size))
    }

    fn of(tensor: &'a Tensor, name: &'static str, kinds: &[Kind]) -> Result<Self> {
        check_readable(tensor, name)?;
        let mut view = Self {
            name,
            kind: tensor.f_kind().map_err(torch_error("tell an element type"))?,
            shape: unsigned(tensor.size()),
            strides: unsigned(tensor.stride()),
            memory: tensor.data_ptr(),
            span: 0,
            tensor: std::marker::PhantomData,
        };
        if !kinds.contains(&view.kind) {
            let expected = kinds.iter().map(|kind| format!("{kind:?}")).collect::<Vec<_>>().join(" or ");
            return Err(view.wrong("element type", format!("{:?}", view.kind), &expected));
        }
        let within = span(&view.shape, &view.strides).filter(|&span| {
            let storage = storage_elements(tensor, view.kind.elt_size_in_bytes());
            storage.is_some_and(|elements| span <= elements)
        });
        match within {
            Some(span) if span > 0 => view.span = span,
            _ => {
                let given = format!("{:?} with strides {:?}", view.shape, view.strides);
                return Err(view.wrong(
                    "shape",
                    given,
                    "at least one element, and all within the tensor's storage",
                ));
            }
        }
        if view.memory.is_null() || !(view.memory as usize).is_multiple_of(view.kind.elt_size_in_bytes()) {
            return Err(view.wrong(
                "address",
                format!("{:?}", view.memory),
                "a multiple of the element's size",
            ));
        }
        Ok(view)
    }

    /// Puts a batch of one in front of a tensor that has none.
    fn add_batch(&mut self, rank: usize, expected: &str) -> Result<()> {
        if self.shape.len() + 1 == rank {
            self.shape.insert(0, 1);
            self.strides.insert(0, 0);
        }
        if self.shape.len() == rank {
            Ok(())
        } else {
            Err(self.wrong("shape", format!("{:?}", self.shape), expected))
        }
    }

    fn wrong(&self, property: &str, given: String, expected: &str) -> Error {
        Error::Shape {
            what: self.name,
            given: format!("of {property} {given}"),
            expected: expected.to_owned(),
        }
    }

    fn addresses(&self) -> Range<usize> {
        let start = self.memory as usize;
        start..start + self.span * self.kind.elt_size_in_bytes()
    }

    /// # Safety
    /// The memory is neither written nor freed while the result lives.
    unsafe fn logits(&self) -> Result<Logits<'a>> {
        // SAFETY: the element type is the one that was checked; the rest is the caller's.
        let data = unsafe {
            match self.kind {
                Kind::Half => LogitsData::F16(self.slice::<f16>()),
                Kind::BFloat16 => LogitsData::BF16(self.slice::<bf16>()),
                _ => LogitsData::F32(self.slice::<f32>()),
            }
        };
        let shape = LogitsShape::new(self.shape[0], self.shape[1], self.shape[2], self.shape[3])?;
        Logits::strided(data, shape, [self.strides[0], self.strides[1], self.strides[2], self.strides[3]])
    }

    /// # Safety
    /// `T` is the element type, and the memory is neither written nor freed while the result lives.
    unsafe fn slice<T>(&self) -> &'a [T] {
        // SAFETY: `of` checked that address and span lie within the storage and that the address is aligned for elements
        // of this size; every bit pattern is a value of these types.
        unsafe { std::slice::from_raw_parts(self.memory.cast(), self.span) }
    }

    /// # Safety
    /// `T` is the element type, and nothing else uses the memory while the result lives.
    unsafe fn slice_mut<T>(&self) -> &'a mut [T] {
        // SAFETY: as for `slice`.
        unsafe { std::slice::from_raw_parts_mut(self.memory.cast(), self.span) }
    }
}

/// Refuses what has no memory on this side that could be read as it is. Comes before any other question to the tensor:
/// libtorch answers those with exceptions for some of the tensors that are refused here.
fn check_readable(tensor: &Tensor, name: &'static str) -> Result<()> {
    let wrong = |given: &str, expected: &str| Error::Shape {
        what: name,
        given: given.into(),
        expected: expected.into(),
    };
    if !tensor.defined() {
        return Err(wrong("undefined", "a tensor with elements"));
    }
    let device = tensor.device();
    if device != Device::Cpu {
        return Err(Error::Device {
            device: format!("{device:?}").to_lowercase(),
            problem: format!("the {name} lies there, and the engine runs on the CPU"),
            remedy: "move the tensor with to_device(Device::Cpu) first".into(),
        });
    }
    let mut layout = -1;
    // SAFETY: the tensor is alive and defined; the pointer is valid for the write of one integer.
    let strided = unsafe {
        aoti_torch_get_layout(tensor.as_ptr(), &raw mut layout) == 0 && layout == aoti_torch_layout_strided()
    };
    if !strided {
        return Err(wrong("of a sparse or opaque layout", "a dense tensor (to_dense)"));
    }
    // Such a view negates when it is read: its memory holds the numbers with the wrong sign.
    if tensor.f_is_neg().map_err(torch_error("tell a tensor's sign"))? {
        return Err(wrong("a lazily negated view", "its values in memory (resolve_neg)"));
    }
    Ok(())
}

/// Elements of this size from the tensor's first one to the end of its storage.
fn storage_elements(tensor: &Tensor, element_size: usize) -> Option<usize> {
    let (mut bytes, mut offset) = (0, 0);
    // SAFETY: the tensor is alive, defined and dense, hence has a storage; both pointers are valid for the write of one
    // integer.
    let told = unsafe {
        aoti_torch_get_storage_size(tensor.as_ptr(), &raw mut bytes) == 0
            && aoti_torch_get_storage_offset(tensor.as_ptr(), &raw mut offset) == 0
    };
    let elements = usize::try_from(bytes).ok()? / element_size;
    if told { elements.checked_sub(usize::try_from(offset).ok()?) } else { None }
}

/// Elements from the first to the last one, 0 without elements; `None` if that overflows.
fn span(shape: &[usize], strides: &[usize]) -> Option<usize> {
    if shape.contains(&0) {
        return Some(0);
    }
    let steps =
        |sum: usize, (&length, &stride): (&usize, &usize)| sum.checked_add((length - 1).checked_mul(stride)?);
    shape.iter().zip(strides).try_fold(0, steps)?.checked_add(1)
}

/// Every two must lie apart, gaps between their elements included: a slice covers those too.
fn check_apart(views: &[&View<'_>]) -> Result<()> {
    for (place, later) in views.iter().enumerate() {
        for earlier in &views[..place] {
            let (a, b) = (earlier.addresses(), later.addresses());
            if a.start < b.end && b.start < a.end {
                return Err(Error::Shape {
                    what: later.name,
                    given: format!("in the same memory as the {}", earlier.name),
                    expected: "memory of its own".into(),
                });
            }
        }
    }
    Ok(())
}

/// libtorch has no negative sizes or strides; should one come, it fails the check of the span.
fn unsigned(list: Vec<i64>) -> Vec<usize> {
    list.into_iter().map(|value| usize::try_from(value).unwrap_or(usize::MAX)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_span_is_from_first_to_last_element() {
        assert_eq!(span(&[2, 3], &[3, 1]), Some(6));
        assert_eq!(span(&[2, 3], &[10, 2]), Some(15));
        assert_eq!(span(&[5, 3], &[0, 1]), Some(3));
        assert_eq!(span(&[5, 0], &[1, 1]), Some(0));
        assert_eq!(span(&[], &[]), Some(1));
        assert_eq!(span(&[1, 2], &[usize::MAX, 1]), Some(2), "no step is taken along a length of 1");
        assert_eq!(span(&[2, 2], &[usize::MAX, 1]), None);
        assert_eq!(span(&[3], &[usize::MAX]), None);
    }

    #[test]
    fn the_storage_is_counted_from_the_first_element() {
        let tensor = Tensor::zeros([4, 6], (Kind::Half, Device::Cpu));
        assert_eq!(storage_elements(&tensor, 2), Some(24));
        assert_eq!(storage_elements(&tensor.narrow(0, 1, 2), 2), Some(18));
    }
}
