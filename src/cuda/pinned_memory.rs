//! Host memory that a GPU copies from and to by itself, while the host goes on.
//!
//! Not the write-combined kind, which a processor reads many times more slowly: results are read from it.
#![allow(unsafe_code)]

use std::ptr;
use std::sync::Arc;

use cudarc::driver::result::DriverError;
use cudarc::driver::sys;

use super::context::Context;
use super::driver_error::refused;
use crate::Result;

/// A block of pinned host memory, aligned to a page, zeroed when it is allocated.
pub(super) struct PinnedMemory {
    context: Arc<Context>,
    memory: *mut u8,
    bytes: usize,
}

// SAFETY: the memory belongs to this value alone, and may be used and freed from every thread.
unsafe impl Send for PinnedMemory {}

// SAFETY: a shared reference gives out nothing but reading, and calls whose callers answer for their order.
unsafe impl Sync for PinnedMemory {}

impl PinnedMemory {
    /// Allocates `bytes`, at least 1. `purpose` is the plural noun that an error names.
    ///
    /// # Errors
    /// [`Error::Cuda`](crate::Error::Cuda) if the driver refuses.
    pub fn allocate(context: &Arc<Context>, bytes: usize, purpose: &'static str) -> Result<Self> {
        let refusal =
            |error: DriverError| refused(format!("pin {bytes} bytes of host memory for {purpose}"), error);
        let _bound = context.bind().map_err(refusal)?;
        let mut memory = ptr::null_mut();
        // SAFETY: valid for the write of one address; the context is bound.
        unsafe { sys::cuMemHostAlloc(&raw mut memory, bytes, 0) }.result().map_err(refusal)?;
        let memory = memory.cast::<u8>();
        // SAFETY: a live allocation of that length, which nobody else knows.
        unsafe { ptr::write_bytes(memory, 0, bytes) };
        Ok(Self { context: Arc::clone(context), memory, bytes })
    }

    /// The memory, for the host.
    ///
    /// # Safety
    /// No copy of the GPU writes to it while the result lives.
    pub unsafe fn host(&self) -> &[u8] {
        // SAFETY: a live allocation, written when it was made; the rest is the caller's duty.
        unsafe { std::slice::from_raw_parts(self.memory, self.bytes) }
    }

    /// The memory, for the host to write.
    ///
    /// # Safety
    /// No copy of the GPU reads from or writes to it while the result lives.
    pub unsafe fn host_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `host`; `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.memory, self.bytes) }
    }

    /// Copies the first `bytes` bytes to device memory, on a stream.
    ///
    /// # Safety
    /// Both are that long and live until the copy is complete, and the host does not write here meanwhile. The stream is
    /// alive, and its context is bound.
    pub unsafe fn upload(&self, to: u64, bytes: usize, stream: sys::CUstream) -> Result<(), DriverError> {
        // SAFETY: the caller's duty.
        unsafe { sys::cuMemcpyHtoDAsync_v2(to, self.memory.cast(), bytes, stream) }.result()
    }

    /// Copies `bytes` bytes of device memory to `offset`, on a stream.
    ///
    /// # Safety
    /// Both are that long and live until the copy is complete, and the host does not use these bytes meanwhile. The stream is
    /// alive, and its context is bound.
    pub unsafe fn download(
        &self,
        offset: usize,
        from: u64,
        bytes: usize,
        stream: sys::CUstream,
    ) -> Result<(), DriverError> {
        // SAFETY: the caller's duty.
        unsafe { sys::cuMemcpyDtoHAsync_v2(self.memory.add(offset).cast(), from, bytes, stream) }.result()
    }
}

impl Drop for PinnedMemory {
    fn drop(&mut self) {
        let _bound = self.context.bind();
        // SAFETY: allocated by `allocate`, freed once. Whoever owns the memory has waited for the copies that use it.
        let _ = unsafe { sys::cuMemFreeHost(self.memory.cast()) };
    }
}
