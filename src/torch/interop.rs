//! Tensors of libtorch as logits and as memory for results, without a copy.
//!
//! [`Engine::submit_tensor`] reads the logits where libtorch put them and gives the results in tensors on the same device;
//! [`Engine::submit_tensor_into`] writes the results into tensors that the caller owns. A tensor on another device, of another element type or in a layout that
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

use half::f16;
use ndarray::Array3;
use tch::{Device, Kind, Tensor};

#[cfg(feature = "cuda")]
use super::cuda_stream::{StreamGuard, current_stream};
use super::tensor_view::{View, check_apart};
use super::torch_error;
#[cfg(feature = "cuda")]
use crate::cuda::plan::DeviceFrame;
#[cfg(all(feature = "cuda", feature = "frame-loop"))]
use crate::cuda::plan::DeviceLogits;
use crate::{AnomalyMap, AnomalyMapMut, Capacity, Engine, Error, Logits, Result, ScoreMut, Size};

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
    /// Pixels of each image with a logit that is not finite: int64, N.
    pub non_finite: &'a mut Tensor,
}

/// The result of one batch in tensors of the engine, on its device, until the next call. On a GPU they are complete when the
/// stream that the batch was given to has come so far: work that libtorch does with them on that stream sees the result.
#[derive(Debug)]
pub struct AnomalyTensors<'a> {
    /// Anomaly scores, float32, N x H x W: higher is more anomalous.
    pub score: &'a Tensor,
    /// Predicted classes, uint8, N x H x W.
    pub prediction: &'a Tensor,
    /// Pixels of each image with a logit that is not finite: int64, N.
    pub non_finite: &'a Tensor,
}

/// A result in host memory of its own.
#[derive(Clone, Debug, Default)]
pub struct HostAnomalyMap {
    /// Anomaly scores, N x H x W: higher is more anomalous.
    pub score: Array3<f32>,
    /// Predicted classes, N x H x W.
    pub prediction: Array3<u8>,
    /// Pixels of each image with a logit that is not finite, N.
    pub non_finite: Vec<u64>,
}

impl HostAnomalyMap {
    /// The same, borrowed.
    pub fn view(&self) -> AnomalyMap<'_> {
        AnomalyMap {
            score: self.score.view(),
            prediction: self.prediction.view(),
            non_finite: &self.non_finite,
        }
    }
}

impl AnomalyTensors<'_> {
    /// Copies the result to the host. Waits for it where it is on a GPU.
    ///
    /// # Errors
    /// [`Error::Torch`] when libtorch cannot.
    pub fn to_host(&self) -> Result<HostAnomalyMap> {
        let counts: Vec<i64> = elements(self.non_finite)?;
        Ok(HostAnomalyMap {
            score: maps(self.score)?,
            prediction: maps(self.prediction)?,
            non_finite: counts.into_iter().map(i64::unsigned_abs).collect(),
        })
    }
}

fn maps<T: tch::kind::Element + Copy + Default>(tensor: &Tensor) -> Result<Array3<T>> {
    let wrong = |given: String| Error::Shape {
        what: "result tensor",
        given,
        expected: "3 dimensions (N, H, W)".to_owned(),
    };
    let size = tensor.size();
    let [n, height, width] = size[..] else { return Err(wrong(format!("{size:?}"))) };
    Array3::from_shape_vec((n as usize, height as usize, width as usize), elements(tensor)?)
        .map_err(|error| wrong(error.to_string()))
}

fn elements<T: tch::kind::Element + Copy + Default>(tensor: &Tensor) -> Result<Vec<T>> {
    let mut elements = vec![T::default(); tensor.numel()];
    let host = tensor.f_to_device(Device::Cpu).map_err(torch_error("bring the result to the host"))?;
    host.f_copy_data(&mut elements, host.numel()).map_err(torch_error("copy the result"))?;
    Ok(elements)
}

/// Memory for the results of [`Engine::submit_tensor`], of full capacity, with views of the latest batch's size.
pub(crate) struct OwnTensors {
    score: Tensor,
    prediction: Tensor,
    non_finite: Tensor,
    views: [Tensor; 3],
    shape: [i64; 3],
}

impl OwnTensors {
    fn new(capacity: Capacity, device: Device) -> Result<Self> {
        let pixels = (capacity.batch * capacity.output.pixels()) as i64;
        let empty = |length: i64, kind| {
            Tensor::f_empty([length], (kind, device)).map_err(torch_error("allocate the results"))
        };
        let (score, prediction) = (empty(pixels, Kind::Float)?, empty(pixels, Kind::Uint8)?);
        let non_finite = empty(capacity.batch as i64, Kind::Int64)?;
        let views = [score.shallow_clone(), prediction.shallow_clone(), non_finite.shallow_clone()];
        Ok(Self { score, prediction, non_finite, views, shape: [0; 3] })
    }

    /// Views of a batch's size: made anew when the size changes.
    fn views(&mut self, batch: usize, size: Size) -> Result<&mut [Tensor; 3]> {
        let shape = [batch as i64, size.height as i64, size.width as i64];
        if shape != self.shape {
            let part = |whole: &Tensor, shape: &[i64]| {
                whole
                    .f_narrow(0, 0, shape.iter().product())
                    .and_then(|part| part.f_view(shape))
                    .map_err(torch_error("give the results their shape"))
            };
            self.views = [
                part(&self.score, &shape)?,
                part(&self.prediction, &shape)?,
                part(&self.non_finite, &shape[..1])?,
            ];
            self.shape = shape;
        }
        Ok(&mut self.views)
    }
}

/// Tensors of libtorch.
impl Engine {
    /// As [`Engine::submit`], with the logits read in a tensor's own memory and the result in tensors that the engine owns. The
    /// first call allocates these, for the engine's capacity.
    ///
    /// `logits` is N x C x h x w, or C x h x w for one image, of float32, float16 or bfloat16, on the engine's device, with
    /// any strides: `channels_last`, slices and expanded dimensions too. Other threads must not write to its memory
    /// meanwhile.
    ///
    /// On a GPU the work is given to libtorch's current stream and is not complete when this returns: nothing is
    /// allocated, copied or waited for. As with libtorch's own operations, tensors belong to the stream that they were made
    /// on: logits made on another stream must be complete, and must not be dropped before this work is; and after a
    /// change of the current stream the result tensors may be written while the old stream still reads them.
    ///
    /// # Errors
    /// [`Error::Device`] for a tensor on another device, [`Error::Shape`] for one of another rank, element type or layout,
    /// and as [`Engine::submit`] (or `submit_device` on a GPU).
    pub fn submit_tensor(&mut self, logits: &Tensor, size: Size) -> Result<AnomalyTensors<'_>> {
        let shape = View::of_logits(logits, torch_device(self.device()))?.logits_shape()?;
        self.check(shape, size)?;
        let mut own = match self.tensors.take() {
            Some(own) => own,
            None => OwnTensors::new(self.capacity(), torch_device(self.device()))?,
        };
        let submitted = own.views(shape.batch, size).and_then(|[score, prediction, non_finite]| {
            self.submit_tensor_into(logits, OutputTensors { score, prediction, non_finite })
        });
        let own = self.tensors.insert(own);
        submitted?;
        let [score, prediction, non_finite] = &own.views;
        Ok(AnomalyTensors { score, prediction, non_finite })
    }

    /// As [`Engine::submit`], with the logits read in the memory of a tensor on the CPU and the result in the engine's own.
    ///
    /// # Errors
    /// As [`Engine::submit_tensor`]; [`Error::Device`] for an engine on a GPU.
    pub fn submit_host_tensor(&mut self, logits: &Tensor, size: Size) -> Result<AnomalyMap<'_>> {
        let view = View::of_logits(logits, Device::Cpu)?;
        // SAFETY: as for `submit_host_views`: the slice is used and dropped before this call returns, which runs no code of
        // the caller. The result lies in the engine's memory.
        let logits = unsafe { view.logits()? };
        self.submit(&logits, size)
    }

    /// As [`Engine::submit_host_tensor`], with the result written into the caller's memory.
    ///
    /// # Errors
    /// As [`Engine::submit_host_tensor`] and [`Engine::submit_into`].
    pub fn submit_host_tensor_into(&mut self, logits: &Tensor, result: AnomalyMapMut<'_>) -> Result<()> {
        let view = View::of_logits(logits, Device::Cpu)?;
        // SAFETY: as for `submit_host_tensor`. No tensor's memory can be borrowed as a slice of the caller's without a promise of
        // its own (`borrow_logits`), so the result does not overlap the logits.
        let logits = unsafe { view.logits()? };
        self.submit_into(&logits, result)
    }

    /// As [`Engine::submit_tensor`], with the results written in tensors' own memory. Automatic differentiation does not
    /// see the writing. Other threads must not use the tensors' memory meanwhile.
    ///
    /// # Errors
    /// As [`Engine::submit_tensor`]; [`Error::Shape`] for outputs that are not as [`OutputTensors`] says. The outputs are
    /// untouched then.
    pub fn submit_tensor_into(&mut self, logits: &Tensor, output: OutputTensors<'_>) -> Result<()> {
        let device = torch_device(self.device());
        let logits = View::of_logits(logits, device)?;
        let score_kinds = [Kind::Float, Kind::Half];
        let (score, size) = View::of_map(output.score, "score tensor", &score_kinds, device)?;
        let (prediction, other) =
            View::of_map(output.prediction, "prediction tensor", &[Kind::Uint8], device)?;
        if size != other {
            return Err(Error::Shape {
                what: "size of the prediction tensor",
                given: other.to_string(),
                expected: size.to_string(),
            });
        }
        let non_finite = View::of_counts(output.non_finite, device)?;
        let shape = logits.logits_shape()?;
        for (view, batch) in [&score, &prediction, &non_finite].map(|view| (view, view.shape[0])) {
            if batch != shape.batch {
                let expected = format!("{} images, as the logits have", shape.batch);
                return Err(view.wrong("shape", format!("{:?}", view.shape), &expected));
            }
        }
        check_apart(&[&logits, &score, &prediction, &non_finite])?;
        match self.device() {
            crate::Device::Cpu => self.submit_host_views(&logits, size, [&score, &prediction, &non_finite]),
            #[cfg(feature = "cuda")]
            crate::Device::Cuda(ordinal) => {
                let frame = DeviceFrame {
                    logits: logits.device_logits()?,
                    size,
                    score: score.memory as u64,
                    half_score: score.kind == Kind::Half,
                    prediction: prediction.memory as u64,
                    non_finite: non_finite.memory as u64,
                };
                let stream = current_stream(ordinal)?;
                // SAFETY: all four were checked to lie on this GPU, within their storages, aligned, of the element types
                // named here and apart from each other. The stream is libtorch's own. What libtorch does with the
                // tensors later comes behind the frame on that stream; it keeps freed memory for the same stream.
                unsafe { self.submit_device(&frame, stream) }
            }
        }
    }

    /// Makes libtorch work on the engine's own stream, on this thread, until the guard is dropped. Network and engine then run
    /// one behind the other on a stream that does not wait for CUDA's default one and can be captured into a graph.
    ///
    /// # Errors
    /// [`Error::Device`] for an engine on the CPU or a libtorch without its CUDA half.
    #[cfg(feature = "cuda")]
    pub fn stream_guard(&self) -> Result<StreamGuard> {
        let (crate::Device::Cuda(ordinal), Some(stream)) = (self.device(), self.stream_for_libtorch()) else {
            return Err(Error::Device {
                device: "cpu".to_owned(),
                problem: "an engine on the CPU has no stream".to_owned(),
                remedy: "build the engine with Device::Cuda".to_owned(),
            });
        };
        // SAFETY: the stream is of this GPU, and lent to libtorch, it is never destroyed.
        unsafe { StreamGuard::new(stream, ordinal) }
    }

    fn submit_host_views(
        &mut self,
        logits: &View<'_>,
        size: Size,
        [score, prediction, non_finite]: [&View<'_>; 3],
    ) -> Result<()> {
        // SAFETY: all were checked to lie in host memory, within their storages, aligned, of the element types named here
        // and apart from each other. The slices live until this call returns, which runs no code of the caller; see the
        // module's text. Counts stay far below 2^63, so that int64 and uint64 read the same.
        let (logits, score, prediction, non_finite) = unsafe {
            let score_memory = match score.kind {
                Kind::Half => ScoreMut::F16(score.slice_mut::<f16>()),
                _ => ScoreMut::F32(score.slice_mut::<f32>()),
            };
            (logits.logits()?, score_memory, prediction.slice_mut::<u8>(), non_finite.slice_mut::<u64>())
        };
        self.submit_into(&logits, AnomalyMapMut { size, score, prediction, non_finite })
    }
}

/// A tensor of logits as an engine on its GPU, `cuda:ordinal`, reads it. The result says nothing of how long the tensor lives.
///
/// # Errors
/// As [`Engine::submit_tensor`].
#[cfg(all(feature = "cuda", feature = "frame-loop"))]
pub(super) fn device_logits(logits: &Tensor, ordinal: usize) -> Result<DeviceLogits> {
    View::of_logits(logits, Device::Cuda(ordinal))?.device_logits()
}

fn torch_device(device: crate::Device) -> Device {
    match device {
        crate::Device::Cpu => Device::Cpu,
        #[cfg(feature = "cuda")]
        crate::Device::Cuda(ordinal) => Device::Cuda(ordinal),
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
    let view = View::of_logits(tensor, Device::Cpu)?;
    // SAFETY: `of_logits` checked that the memory is there; the caller answers for its being left alone.
    unsafe { view.logits() }
}
