//! The order of an engine's frames, on one stream and across several.
//!
//! The frames share a workspace, so they must run one after the other. On one stream they do. Where a frame comes on
//! another stream than the one before, its stream first waits for an event behind that earlier frame.
//!
//! Recording the event behind every frame would cost each one a call. Recording it when the stream changes needs the
//! earlier stream to exist still, which only two are known to do: CUDA's default stream and the engine's own. So the
//! event is recorded late on those and at once on all others, and nothing is ever asked of a stream that its owner may
//! have destroyed.
#![allow(unsafe_code)]

use std::ptr;
use std::sync::Arc;

use cudarc::driver::result::DriverError;
use cudarc::driver::sys::{CUdevice, CUresult, CUstream};

use super::context::Context;
use super::queue::{Failure, Step};
use super::stream::{Event, RawStream, device_of, id_of, is_capturing};
use crate::Result;

/// Where the latest frame went, and how a frame on another stream waits for it.
pub(super) struct StreamOrder {
    event: Event,
    device: CUdevice,
    /// Streams that exist for as long as the engine does, with their ids.
    lasting: [(usize, u64); 2],
    last: Option<Last>,
}

#[derive(Clone, Copy)]
struct Last {
    stream: RawStream,
    id: u64,
    /// Whether the event lies behind the frame already.
    recorded: bool,
}

impl StreamOrder {
    /// `own` is the engine's own stream.
    ///
    /// # Safety
    /// `own` is alive for as long as the result.
    pub unsafe fn new(context: &Arc<Context>, own: RawStream) -> Result<Self> {
        let refusal = |error| super::driver_error::refused("tell a stream's id", error);
        let _bound = context.bind().map_err(refusal)?;
        // SAFETY: the default stream always exists; the other one is the caller's duty. The context is bound.
        let ids = unsafe { [id_of(ptr::null_mut()), id_of(own.handle())] };
        let [default_id, own_id] = ids;
        let lasting = [
            (RawStream::DEFAULT.as_raw() as usize, default_id.map_err(refusal)?),
            (own.as_raw() as usize, own_id.map_err(refusal)?),
        ];
        Ok(Self { event: Event::for_order(context)?, device: context.device(), lasting, last: None })
    }

    /// Call before a frame is given to `stream`. After an error nothing has changed.
    ///
    /// # Safety
    /// The stream is alive and is not being captured, and the context is bound.
    pub unsafe fn enter(&mut self, stream: RawStream) -> Result<(), Failure> {
        let in_order = |error| (Step::Order, error);
        // SAFETY: the caller's duty.
        let id = unsafe { self.id(stream) }.map_err(in_order)?;
        if self.last.is_none_or(|last| last.id != id) {
            // SAFETY: an event that is not recorded yet belongs to a frame on a lasting stream; `stream` is the caller's
            // duty.
            unsafe {
                self.check_device(stream, id)?;
                self.record_late().map_err(in_order)?;
                if self.last.is_some() {
                    self.event.hold_back(stream.handle()).map_err(in_order)?;
                }
            }
        }
        self.last = Some(Last { stream, id, recorded: false });
        Ok(())
    }

    /// Call after the frame was given to the stream, also where that failed half-way. After an error nothing can follow
    /// that frame in order.
    ///
    /// # Safety
    /// As for [`enter`](Self::enter), with the same stream.
    pub unsafe fn leave(&mut self) -> Result<(), Failure> {
        if let Some(last) = &mut self.last
            && !self.lasting.iter().any(|&(_, id)| id == last.id)
        {
            // SAFETY: the caller's duty.
            let recorded = unsafe { self.event.record(last.stream.handle()) };
            recorded.map_err(|error| (Step::LoseOrder, error))?;
            last.recorded = true;
        }
        Ok(())
    }

    /// Waits until the latest frame is complete.
    ///
    /// # Safety
    /// The context is bound.
    pub unsafe fn wait(&mut self) -> Result<(), DriverError> {
        if self.last.is_none() {
            return Ok(());
        }
        // SAFETY: the event of a frame on a lasting stream is the only one not recorded yet.
        unsafe { self.record_late() }?;
        self.event.synchronize()
    }

    /// Records the event behind the latest frame, where that was not done yet.
    ///
    /// # Safety
    /// The context is bound.
    unsafe fn record_late(&mut self) -> Result<(), DriverError> {
        if let Some(last) = self.last.as_mut().filter(|last| !last.recorded) {
            // SAFETY: only the event behind a frame on a lasting stream is not recorded at once.
            unsafe { record_outside_captures(&self.event, last.stream.handle()) }?;
            // Work that others give to the stream later need not be waited for, but a later frame must be: `enter` forgets
            // this record with each frame.
            last.recorded = true;
        }
        Ok(())
    }

    /// # Safety
    /// The stream is alive, and the context is bound.
    unsafe fn check_device(&self, stream: RawStream, id: u64) -> Result<(), Failure> {
        if self.lasting.iter().any(|&(_, lasting)| lasting == id) {
            return Ok(());
        }
        // SAFETY: the caller's duty.
        let device = unsafe { device_of(stream.handle()) }.map_err(|error| (Step::Order, error))?;
        if device == self.device {
            return Ok(());
        }
        Err((Step::UseStreamOfAnotherGpu, DriverError(CUresult::CUDA_ERROR_INVALID_CONTEXT)))
    }

    /// # Safety
    /// The stream is alive, and its context is bound.
    unsafe fn id(&self, stream: RawStream) -> Result<u64, DriverError> {
        match self.lasting.iter().find(|&&(handle, _)| handle == stream.as_raw() as usize) {
            Some(&(_, id)) => Ok(id),
            // SAFETY: the caller's duty.
            None => unsafe { id_of(stream.handle()) },
        }
    }
}

/// Recorded on a stream that is being captured, the event would become part of the graph, and whoever waits for it too.
///
/// # Safety
/// The stream is alive, and its context is bound.
unsafe fn record_outside_captures(event: &Event, stream: CUstream) -> Result<(), DriverError> {
    // SAFETY: the caller's duty.
    unsafe {
        if is_capturing(stream)? {
            return Err(DriverError(CUresult::CUDA_ERROR_STREAM_CAPTURE_ISOLATION));
        }
        event.record(stream)
    }
}
