//! Device memory that an engine owns: allocated when it is built, freed when it is dropped.
#![allow(unsafe_code)]

use std::sync::Arc;

use cudarc::driver::result::DriverError;
use cudarc::driver::sys::{self, CUresult, CUstream};

use super::context::Context;
use super::driver_error::refused;
use crate::{Error, Result};

/// A block of device memory, aligned to 256 bytes at least, as the driver promises.
pub(super) struct DeviceMemory {
    context: Arc<Context>,
    address: u64,
    bytes: usize,
}

impl DeviceMemory {
    /// Allocates `bytes`; none, with address 0, for 0. `purpose` is the plural noun that an error names.
    ///
    /// # Errors
    /// [`Error::DeviceMemory`] where that much is not free; [`Error::Cuda`] if the driver refuses otherwise.
    pub fn allocate(context: &Arc<Context>, bytes: usize, purpose: &'static str) -> Result<Self> {
        let mut address = 0;
        if bytes > 0 {
            let refusal = |error: DriverError| allocation_error(context, bytes, purpose, error);
            let _bound = context.bind().map_err(refusal)?;
            // SAFETY: valid for the write of one address; the context is bound.
            unsafe { sys::cuMemAlloc_v2(&raw mut address, bytes) }.result().map_err(refusal)?;
        }
        Ok(Self { context: Arc::clone(context), address, bytes })
    }

    /// Sets every byte to 0, on a stream.
    pub fn zero(&self, stream: CUstream) -> Result<(), DriverError> {
        if self.bytes == 0 {
            return Ok(());
        }
        let _bound = self.context.bind()?;
        // SAFETY: the whole of a live allocation, on a stream of the same context.
        unsafe { sys::cuMemsetD8Async(self.address, 0, self.bytes, stream) }.result()
    }

    /// Copies `data` to its beginning. Returns when the copy is complete.
    pub fn write(&self, data: &[u8]) -> Result<(), DriverError> {
        self.check_length(data.len())?;
        if data.is_empty() {
            return Ok(());
        }
        let _bound = self.context.bind()?;
        // SAFETY: source and destination are live and at least that long.
        unsafe { sys::cuMemcpyHtoD_v2(self.address, data.as_ptr().cast(), data.len()) }.result()
    }

    /// Copies from its beginning into `data`, after all work on `stream`. Returns when the copy is complete.
    pub fn read(&self, data: &mut [u8], stream: CUstream) -> Result<(), DriverError> {
        self.check_length(data.len())?;
        if data.is_empty() {
            return Ok(());
        }
        let _bound = self.context.bind()?;
        // SAFETY: source and destination are live and at least that long, and `data` is borrowed until the stream has
        // been waited for, also when the copy was refused.
        unsafe {
            let copied =
                sys::cuMemcpyDtoHAsync_v2(data.as_mut_ptr().cast(), self.address, data.len(), stream);
            let waited = sys::cuStreamSynchronize(stream);
            copied.result()?;
            waited.result()
        }
    }

    /// Address of the first byte; 0 for an empty block.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// Length in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn check_length(&self, bytes: usize) -> Result<(), DriverError> {
        if bytes <= self.bytes { Ok(()) } else { Err(DriverError(CUresult::CUDA_ERROR_INVALID_VALUE)) }
    }
}

impl Drop for DeviceMemory {
    fn drop(&mut self) {
        if self.address != 0 {
            let _bound = self.context.bind();
            // SAFETY: allocated by `allocate`, freed once. Whoever owns the memory has waited for the work that uses it.
            let _ = unsafe { sys::cuMemFree_v2(self.address) };
        }
    }
}

fn allocation_error(context: &Context, bytes: usize, purpose: &'static str, error: DriverError) -> Error {
    if error.0 != CUresult::CUDA_ERROR_OUT_OF_MEMORY {
        return refused(format!("allocate {bytes} bytes for {purpose}"), error);
    }
    Error::DeviceMemory {
        device: format!("cuda:{}", context.ordinal()),
        purpose,
        bytes: bytes as u64,
        free: context.free_bytes(),
    }
}
