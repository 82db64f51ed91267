//! Streams and events of the driver.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::fmt;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cudarc::driver::result::DriverError;
use cudarc::driver::sys::{
    self, CUdevice, CUevent, CUevent_flags, CUstream, CUstream_flags, CUstreamCaptureStatus,
};

use super::context::Context;
use super::driver_error::refused;
use crate::Result;

/// A stream by the driver's handle (`CUstream`, or `cudaStream_t` of the runtime): a name, not an owner.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RawStream(usize);

impl RawStream {
    /// CUDA's default stream (the legacy one): what libtorch uses unless told otherwise. It waits for all streams that
    /// were not made non-blocking, and those wait for it.
    pub const DEFAULT: Self = Self(0);

    /// The stream of this handle. Nothing is checked here; the calls that use the stream say what they ask of it.
    pub fn from_raw(handle: *mut c_void) -> Self {
        Self(handle as usize)
    }

    /// The handle.
    pub fn as_raw(self) -> *mut c_void {
        self.0 as *mut c_void
    }

    pub(super) fn handle(self) -> CUstream {
        self.0 as CUstream
    }
}

/// The number that the driver gave to this stream alone, in the life of the process. (A handle may be given again when its
/// stream is destroyed, and one of the default stream's handles means another stream in every thread.)
///
/// # Safety
/// The stream is alive, and a context is bound.
pub(super) unsafe fn id_of(stream: CUstream) -> Result<u64, DriverError> {
    let mut id = 0;
    // SAFETY: valid for the write of one number; the stream is the caller's duty.
    unsafe { sys::cuStreamGetId(stream, &raw mut id) }.result()?;
    Ok(id)
}

/// The GPU of a stream.
///
/// # Safety
/// The stream is alive, and a context is bound.
pub(super) unsafe fn device_of(stream: CUstream) -> Result<CUdevice, DriverError> {
    let mut device = 0;
    // SAFETY: valid for the write of one number; the stream is the caller's duty.
    unsafe { sys::cuStreamGetDevice(stream, &raw mut device) }.result()?;
    Ok(device)
}

/// Whether work given to the stream is being captured into a graph. An error with CUDA's default stream while another
/// stream that it would wait for is being captured.
///
/// # Safety
/// The stream is alive, and a context is bound.
pub(super) unsafe fn is_capturing(stream: CUstream) -> Result<bool, DriverError> {
    let mut status = CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE;
    // SAFETY: valid for the write of one status; the stream is the caller's duty.
    unsafe { sys::cuStreamIsCapturing(stream, &raw mut status) }.result()?;
    Ok(status != CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE)
}

impl fmt::Debug for RawStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawStream({:#x})", self.0)
    }
}

/// The stream of cudarc, which must be kept alive while the handle is used.
impl From<&Arc<cudarc::driver::CudaStream>> for RawStream {
    fn from(stream: &Arc<cudarc::driver::CudaStream>) -> Self {
        Self(stream.cu_stream() as usize)
    }
}

/// A stream that the engine made: it does not wait for CUDA's default stream, and can be captured into a graph.
pub(super) struct OwnStream {
    context: Arc<Context>,
    handle: CUstream,
    /// Whether it is left behind when this is dropped.
    lent: AtomicBool,
}

// SAFETY: a stream's handle may be used from every thread.
unsafe impl Send for OwnStream {}

impl OwnStream {
    pub fn new(context: &Arc<Context>) -> Result<Self> {
        let refusal = |error| refused("make a stream", error);
        let _bound = context.bind().map_err(refusal)?;
        let mut handle = ptr::null_mut();
        // SAFETY: valid for the write of one handle; the context is bound.
        unsafe { sys::cuStreamCreate(&raw mut handle, CUstream_flags::CU_STREAM_NON_BLOCKING as u32) }
            .result()
            .map_err(refusal)?;
        Ok(Self { context: Arc::clone(context), handle, lent: AtomicBool::new(false) })
    }

    /// The handle, for someone who may use it for as long as the process runs: the stream is never destroyed then.
    pub fn lend(&self) -> RawStream {
        self.lent.store(true, Ordering::Relaxed);
        self.raw()
    }

    pub fn raw(&self) -> RawStream {
        RawStream(self.handle as usize)
    }

    /// Waits until all work on it is complete.
    pub fn synchronize(&self) -> Result<(), DriverError> {
        let _bound = self.context.bind()?;
        // SAFETY: the stream is alive.
        unsafe { sys::cuStreamSynchronize(self.handle) }.result()
    }
}

impl Drop for OwnStream {
    fn drop(&mut self) {
        if self.lent.load(Ordering::Relaxed) {
            return;
        }
        let _bound = self.context.bind();
        // SAFETY: made by `new`, destroyed once; the driver completes its work first.
        let _ = unsafe { sys::cuStreamDestroy_v2(self.handle) };
    }
}

/// A point in a stream's work.
pub(super) struct Event {
    context: Arc<Context>,
    handle: CUevent,
}

// SAFETY: an event's handle may be used from every thread.
unsafe impl Send for Event {}

impl Event {
    /// One that orders work. It tells no time, which makes it the cheaper kind.
    pub fn for_order(context: &Arc<Context>) -> Result<Self> {
        Self::new(context, CUevent_flags::CU_EVENT_DISABLE_TIMING)
    }

    /// One that tells when it was reached.
    pub fn for_timing(context: &Arc<Context>) -> Result<Self> {
        Self::new(context, CUevent_flags::CU_EVENT_DEFAULT)
    }

    fn new(context: &Arc<Context>, flags: CUevent_flags) -> Result<Self> {
        let refusal = |error| refused("make an event", error);
        let _bound = context.bind().map_err(refusal)?;
        let mut handle = ptr::null_mut();
        // SAFETY: valid for the write of one handle; the context is bound.
        unsafe { sys::cuEventCreate(&raw mut handle, flags as u32) }.result().map_err(refusal)?;
        Ok(Self { context: Arc::clone(context), handle })
    }

    /// Moves it behind all work that the stream was given so far.
    ///
    /// # Safety
    /// The stream is alive and of the event's context, which is bound.
    pub unsafe fn record(&self, stream: CUstream) -> Result<(), DriverError> {
        // SAFETY: the event is alive; the stream is the caller's duty.
        unsafe { sys::cuEventRecord(self.handle, stream) }.result()
    }

    /// Makes the stream's further work wait for it.
    ///
    /// # Safety
    /// The stream is alive, and a context is bound.
    pub unsafe fn hold_back(&self, stream: CUstream) -> Result<(), DriverError> {
        // SAFETY: the event is alive; the stream is the caller's duty.
        unsafe { sys::cuStreamWaitEvent(stream, self.handle, 0) }.result()
    }

    /// Waits until it is reached.
    pub fn synchronize(&self) -> Result<(), DriverError> {
        let _bound = self.context.bind()?;
        // SAFETY: the event is alive.
        unsafe { sys::cuEventSynchronize(self.handle) }.result()
    }

    /// Milliseconds from this event to a later one. Both tell time, were recorded and have been reached.
    pub fn milliseconds_until(&self, later: &Self) -> Result<f32, DriverError> {
        let _bound = self.context.bind()?;
        let mut milliseconds = 0.0;
        // SAFETY: both events are alive; valid for the write of one number.
        unsafe { sys::cuEventElapsedTime_v2(&raw mut milliseconds, self.handle, later.handle) }.result()?;
        Ok(milliseconds)
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        let _bound = self.context.bind();
        // SAFETY: made by `new`, destroyed once; the driver keeps what it still needs.
        let _ = unsafe { sys::cuEventDestroy_v2(self.handle) };
    }
}
