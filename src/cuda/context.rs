//! A GPU's primary context: the one that libtorch, the CUDA runtime and this crate share, so that addresses, streams and
//! events of one are good for all.
//!
//! It is retained for as long as anything of an engine lives. A thread that calls the driver must have a context; every
//! piece of an engine binds its own before it does, and puts back the one that the thread had, so that a thread's
//! current GPU is what it was. A thread that had none keeps this one, as after its first call of the CUDA runtime.
#![allow(unsafe_code)]

use std::ptr;
use std::sync::Arc;

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys::{self, CUcontext, CUdevice, CUdevice_attribute as Attribute};

use super::driver::{self, NEEDED_CUDA};
use super::driver_error::refused;
use crate::{Error, Gpu, Result};

/// A retained primary context.
pub(super) struct Context {
    device: CUdevice,
    handle: CUcontext,
    gpu: Gpu,
}

// SAFETY: a context's handle may be used from every thread, and by several at once: the driver locks what it must. The
// other fields are plain data.
unsafe impl Send for Context {}
// SAFETY: as above.
unsafe impl Sync for Context {}

impl Context {
    /// Retains the context of the GPU `cuda:ordinal`.
    ///
    /// # Errors
    /// [`Error::Device`] without a driver, with one that is too old, or without such a GPU; [`Error::Cuda`] if the
    /// driver refuses.
    pub fn retain(ordinal: usize) -> Result<Arc<Self>> {
        let gpu = find_gpu(ordinal)?;
        let action = || format!("open cuda:{ordinal}");
        let device = result::device::get(gpu.ordinal as i32).map_err(|error| refused(action(), error))?;
        // SAFETY: the device comes from `cuDeviceGet`. The context is released when this value is dropped.
        let handle =
            unsafe { result::primary_ctx::retain(device) }.map_err(|error| refused(action(), error))?;
        Ok(Arc::new(Self { device, handle, gpu }))
    }

    /// Makes the context current on this thread until the result is dropped.
    pub fn bind(&self) -> Result<Bound, DriverError> {
        let mut current = ptr::null_mut();
        // SAFETY: valid for the write of one handle; the driver was initialised when the context was retained.
        unsafe { sys::cuCtxGetCurrent(&raw mut current) }.result()?;
        if current == self.handle {
            return Ok(Bound { previous: ptr::null_mut() });
        }
        // SAFETY: the context is retained while `self` lives, and whoever binds it borrows or shares `self`.
        unsafe { sys::cuCtxSetCurrent(self.handle) }.result()?;
        Ok(Bound { previous: current })
    }

    /// The GPU.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// Its ordinal among the visible ones.
    pub fn ordinal(&self) -> usize {
        self.gpu.ordinal
    }

    /// Waits until all work of this process on the GPU is complete.
    pub fn synchronize(&self) -> Result<(), DriverError> {
        let _bound = self.bind()?;
        // SAFETY: the context is bound.
        unsafe { sys::cuCtxSynchronize() }.result()
    }

    /// The driver's number for the GPU.
    pub fn device(&self) -> CUdevice {
        self.device
    }

    /// One of the GPU's properties, at least 0.
    pub fn attribute(&self, attribute: Attribute) -> Result<u32> {
        // SAFETY: the device comes from `cuDeviceGet`.
        let value = unsafe { result::device::get_attribute(self.device, attribute) };
        value
            .map(i32::unsigned_abs)
            .map_err(|error| refused(format!("tell {attribute:?} of cuda:{}", self.gpu.ordinal), error))
    }

    /// Bytes of device memory that are free now; `None` if the driver does not tell.
    pub fn free_bytes(&self) -> Option<u64> {
        let _bound = self.bind().ok()?;
        let (mut free, mut total) = (0, 0);
        // SAFETY: both are valid for the write of one integer, and the context is bound.
        unsafe { sys::cuMemGetInfo_v2(&raw mut free, &raw mut total) }.result().ok()?;
        Some(free as u64)
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // An error here has nobody to go to and nothing to undo.
        // SAFETY: retained once by `retain`; nothing that needs it is left, since everything shares this value.
        let _ = unsafe { sys::cuDevicePrimaryCtxRelease_v2(self.device) };
    }
}

/// A context that is current on this thread. Dropping it makes the thread's earlier one current again.
pub(super) struct Bound {
    /// Null where there was none, or the same.
    previous: CUcontext,
}

impl Drop for Bound {
    fn drop(&mut self) {
        if !self.previous.is_null() {
            // SAFETY: it was current on this thread, whose owner has not run since.
            let _ = unsafe { sys::cuCtxSetCurrent(self.previous) };
        }
    }
}

fn find_gpu(ordinal: usize) -> Result<Gpu> {
    let unusable = |problem: String, remedy: &str| Error::Device {
        device: format!("cuda:{ordinal}"),
        problem,
        remedy: remedy.to_owned(),
    };
    let Some(found) = driver::probe()? else {
        return Err(unusable(
            "this machine has no NVIDIA driver (libcuda.so.1 does not load)".into(),
            "install the driver (in a container, pass the GPUs through), or use the CPU",
        ));
    };
    if found.cuda < NEEDED_CUDA {
        return Err(unusable(
            format!("the driver supports CUDA {} and {NEEDED_CUDA} is needed", found.cuda),
            "install NVIDIA driver 580 or newer, or use the CPU",
        ));
    }
    let count = found.gpus.len();
    let chosen = found.gpus.into_iter().nth(ordinal);
    chosen.ok_or_else(|| match count {
        0 => unusable(
            "the driver shows no GPU".into(),
            "check CUDA_VISIBLE_DEVICES and nvidia-smi, or use the CPU",
        ),
        1 => unusable("the only GPU is cuda:0".into(), "use cuda:0, or check CUDA_VISIBLE_DEVICES"),
        _ => unusable(
            format!("the GPUs are cuda:0 to cuda:{}", count - 1),
            "use one of them, or check CUDA_VISIBLE_DEVICES",
        ),
    })
}
