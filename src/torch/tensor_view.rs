//! A tensor's memory, checked before anything reads it by its address.
//!
//! tch tells address, shape and strides of a tensor; this adds what it does not tell (layout, extent of the storage) and
//! refuses what cannot be read as it is: other devices, element types, sparse and lazily negated tensors, views that reach
//! beyond their storage.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::ops::Range;

use half::{bf16, f16};
use tch::{Device, Kind, Tensor};
use torch_sys::C_tensor;

use super::torch_error;
#[cfg(feature = "cuda")]
use crate::ElementType;
#[cfg(feature = "cuda")]
use crate::cuda::plan::DeviceLogits;
use crate::{Error, Logits, LogitsData, LogitsShape, Result, Size};

// Part of libtorch's stable C interface (torch/csrc/inductor/aoti_torch/c/shim.h): what tch does not tell of a tensor.
// Its tensor handle is a pointer to an `at::Tensor`, which is what tch's `C_tensor` is too.
unsafe extern "C" {
    fn aoti_torch_layout_strided() -> i32;
    fn aoti_torch_get_layout(tensor: *const C_tensor, layout: *mut i32) -> i32;
    fn aoti_torch_get_storage_size(tensor: *const C_tensor, bytes: *mut i64) -> i32;
    fn aoti_torch_get_storage_offset(tensor: *const C_tensor, elements: *mut i64) -> i32;
}

/// A tensor's memory, checked: an aligned range within its storage, of strided elements of a known type.
pub(super) struct View<'a> {
    name: &'static str,
    pub kind: Kind,
    /// Of four dimensions for logits, three for outputs.
    pub shape: Vec<usize>,
    strides: Vec<usize>,
    pub memory: *mut c_void,
    /// Elements from the first to the last one, with what lies between them.
    span: usize,
    /// The memory belongs to a tensor that is borrowed for as long.
    tensor: std::marker::PhantomData<&'a Tensor>,
}

impl<'a> View<'a> {
    pub fn of_logits(tensor: &'a Tensor, device: Device) -> Result<Self> {
        const KINDS: [Kind; 3] = [Kind::Float, Kind::Half, Kind::BFloat16];
        let mut view = Self::of(tensor, "logits tensor", &KINDS, device)?;
        view.add_batch(4, "4 dimensions (N, C, h, w), or 3 for one image")?;
        Ok(view)
    }

    /// Also returns rows and columns.
    pub fn of_map(
        tensor: &'a mut Tensor,
        name: &'static str,
        kinds: &[Kind],
        device: Device,
    ) -> Result<(Self, Size)> {
        let mut view = Self::of_output(tensor, name, kinds, device)?;
        view.add_batch(3, "3 dimensions (N, H, W), or 2 for one image")?;
        let size = Size::new(view.shape[1], view.shape[2]);
        Ok((view, size))
    }

    pub fn of_counts(tensor: &'a mut Tensor, device: Device) -> Result<Self> {
        let view = Self::of_output(tensor, "tensor of non-finite counts", &[Kind::Int64], device)?;
        match view.shape.len() {
            1 => Ok(view),
            _ => Err(view.wrong("shape", format!("{:?}", view.shape), "1 dimension (N)")),
        }
    }

    fn of_output(tensor: &'a mut Tensor, name: &'static str, kinds: &[Kind], device: Device) -> Result<Self> {
        let tensor = &*tensor;
        let view = Self::of(tensor, name, kinds, device)?;
        if !tensor.is_contiguous() {
            return Err(view.wrong("strides", format!("{:?}", view.strides), "a contiguous tensor"));
        }
        if tensor.requires_grad() {
            return Err(view.wrong("requires_grad", "true".into(), "false: detach the tensor first"));
        }
        Ok(view)
    }

    fn of(tensor: &'a Tensor, name: &'static str, kinds: &[Kind], device: Device) -> Result<Self> {
        check_readable(tensor, name, device)?;
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

    pub fn wrong(&self, property: &str, given: String, expected: &str) -> Error {
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
    pub unsafe fn logits(&self) -> Result<Logits<'a>> {
        // SAFETY: the element type is the one that was checked; the rest is the caller's.
        let data = unsafe {
            match self.kind {
                Kind::Half => LogitsData::F16(self.slice::<f16>()),
                Kind::BFloat16 => LogitsData::BF16(self.slice::<bf16>()),
                _ => LogitsData::F32(self.slice::<f32>()),
            }
        };
        Logits::strided(data, self.logits_shape()?, self.logits_strides())
    }

    pub fn logits_shape(&self) -> Result<LogitsShape> {
        LogitsShape::new(self.shape[0], self.shape[1], self.shape[2], self.shape[3])
    }

    fn logits_strides(&self) -> [usize; 4] {
        [self.strides[0], self.strides[1], self.strides[2], self.strides[3]]
    }

    #[cfg(feature = "cuda")]
    pub fn device_logits(&self) -> Result<DeviceLogits> {
        let element = match self.kind {
            Kind::Half => ElementType::F16,
            Kind::BFloat16 => ElementType::BF16,
            _ => ElementType::F32,
        };
        let (shape, strides) = (self.logits_shape()?, self.logits_strides());
        Ok(DeviceLogits { pointer: self.memory as u64, element, shape, strides })
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
    pub unsafe fn slice_mut<T>(&self) -> &'a mut [T] {
        // SAFETY: as for `slice`.
        unsafe { std::slice::from_raw_parts_mut(self.memory.cast(), self.span) }
    }
}

/// Refuses what has no memory on this side that could be read as it is. Comes before any other question to the tensor:
/// libtorch answers those with exceptions for some of the tensors that are refused here.
fn check_readable(tensor: &Tensor, name: &'static str, expected: Device) -> Result<()> {
    let wrong = |given: &str, expected: &str| Error::Shape {
        what: name,
        given: given.into(),
        expected: expected.into(),
    };
    if !tensor.defined() {
        return Err(wrong("undefined", "a tensor with elements"));
    }
    let device = tensor.device();
    if device != expected {
        let name_of = |device: Device| match device {
            Device::Cpu => "the CPU".to_owned(),
            Device::Cuda(ordinal) => format!("cuda:{ordinal}"),
            other => format!("{other:?}").to_lowercase(),
        };
        return Err(Error::Device {
            device: name_of(device).replace("the CPU", "cpu"),
            problem: format!("the {name} lies there, and the engine runs on {}", name_of(expected)),
            remedy: format!("move the tensor with to_device(Device::{expected:?}) first"),
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
pub(super) fn check_apart(views: &[&View<'_>]) -> Result<()> {
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
