//! The engine's life for C: made, asked, waited for, destroyed. Frames are given in `host.rs` and `device.rs`.

#![allow(unsafe_code)]

use std::ffi::{CString, c_char, c_void};
use std::time::Duration;

use rayon::{ThreadPool, ThreadPoolBuilder};

use super::arguments::{Out, text};
use super::frame::versioned;
use super::handles::Handles;
use super::params::sml_params;
use super::statistics::sml_statistics;
use super::status::{Failure, Outcome, SML_ERROR_DEVICE, SML_ERROR_NOT_MEASURED, guard, sml_status};
use super::versioned::{self, Versioned};
use super::{params, statistics};
use crate::{Capacity, Device, DeviceRequest, Engine, Size};

/// An engine on one device: it takes batches of logits and gives anomaly maps.
pub struct sml_engine {
    _opaque: [u8; 0],
}

/// Where an engine runs, and the largest batch that will come: each dimension of a batch may be anything up to it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct sml_engine_options {
    /// sizeof(sml_engine_options).
    pub struct_size: usize,
    /// "cpu", or "cuda:N" for the GPU of that ordinal; NULL for "cpu".
    pub device: *const c_char,
    /// Images.
    pub batch: usize,
    /// Classes, 1 to 255.
    pub classes: usize,
    /// Rows of the logits, before any upsampling.
    pub logits_height: usize,
    /// Columns of the logits.
    pub logits_width: usize,
    /// Rows of the result.
    pub height: usize,
    /// Columns of the result.
    pub width: usize,
    /// Threads of its own on the CPU; 0 for those that all engines of the process share, one for each processor.
    pub threads: usize,
    /// On a GPU: 1 to give each frame to the stream as one CUDA graph, 0 for one launch a kernel. Results are the same.
    pub cuda_graph: i32,
    /// 0.
    pub reserved: i32,
}

/// Time that the stages of a batch took, in nanoseconds.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct sml_stage_timings {
    /// sizeof(sml_stage_timings), set by the caller. The library sets the others.
    pub struct_size: usize,
    /// Upsampling, prediction and score.
    pub standardize: u64,
    /// Boundary suppression.
    pub suppress: u64,
    /// Smoothing.
    pub smooth: u64,
}

versioned! {
    sml_engine_options: 80
    sml_stage_timings: 32
}

/// An engine with what belongs to it.
pub(super) struct HeldEngine {
    engine: Engine,
    threads: Option<ThreadPool>,
    warnings: Vec<CString>,
}

impl HeldEngine {
    /// Does something with the engine on its own threads, or here where it has none.
    pub fn run<T: Send>(&mut self, work: impl FnOnce(&mut Engine) -> T + Send) -> T {
        let Self { engine, threads, .. } = self;
        match threads {
            Some(threads) => threads.install(|| work(engine)),
            None => work(engine),
        }
    }

    /// The engine itself.
    pub fn engine(&mut self) -> &mut Engine {
        &mut self.engine
    }
}

static ENGINES: Handles<HeldEngine> = Handles::new("engine");

/// Does something with an engine that no other thread has.
pub(super) fn with<T>(
    handle: *const sml_engine,
    work: impl FnOnce(&mut HeldEngine) -> Outcome<T>,
) -> Outcome<T> {
    let engine = ENGINES.get(handle)?;
    work(&mut *ENGINES.lock(&engine)?)
}

/// Makes an engine. Does all that takes long: memory is allocated, and on a GPU kernels are loaded.
///
/// `params`: NULL for the paper's. `statistics`: NULL where the score needs none. Both are copied. `*engine`: the new
/// handle, NULL after a failure. Not to be called while a stream of its GPU is being captured into a graph.
///
/// # Safety
/// `options` points to a structure as long as it says, and its text ends with a NUL; `engine` may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sml_engine_create(
    options: *const sml_engine_options,
    params: *const sml_params,
    statistics: *const sml_statistics,
    engine: *mut *mut sml_engine,
) -> sml_status {
    guard(|| {
        // SAFETY: the caller's duty.
        let (out, options) =
            unsafe { (Out::new(engine, std::ptr::null_mut(), "engine")?, versioned::read(options)?) };
        // SAFETY: the caller's duty.
        let device = unsafe { options.device_name() }?;
        let params = params::of_handle(params)?;
        let statistics = statistics::of_handle(statistics)?;
        out.set(ENGINES.insert(options.build(device, params, statistics.as_ref())?)?);
        Ok(())
    })
}

impl sml_engine_options {
    /// # Safety
    /// `device` is NULL, or text that ends with a NUL.
    unsafe fn device_name<'a>(&self) -> Outcome<&'a str> {
        if self.device.is_null() {
            return Ok("cpu");
        }
        // SAFETY: the caller's duty.
        unsafe { text(self.device, "device") }
    }

    fn build(
        &self,
        device: &str,
        params: crate::Params,
        statistics: Option<&crate::ClassStatistics>,
    ) -> Outcome<HeldEngine> {
        let graph = match (self.cuda_graph, self.reserved) {
            (0, 0) => false,
            (1, 0) => true,
            (graph, 0) => return Err(Failure::argument(format!("cuda_graph is {graph}: expected 0 or 1"))),
            (_, other) => {
                return Err(Failure::argument(format!("reserved of the options is {other}: expected 0")));
            }
        };
        let capacity = Capacity {
            batch: self.batch,
            classes: self.classes,
            logits: Size::new(self.logits_height, self.logits_width),
            output: Size::new(self.height, self.width),
        };
        let device = device_of(device)?;
        let threads = match self.threads {
            0 => None,
            number => Some(ThreadPoolBuilder::new().num_threads(number).build().map_err(|error| {
                Failure::argument(format!("threads is {number}: the system refuses that many: {error}"))
            })?),
        };
        let make = || make(device, graph, params, statistics, capacity);
        let engine = match &threads {
            Some(threads) => threads.install(make),
            None => make(),
        }?;
        let warnings = engine.warnings().iter().map(|warning| warning.to_string().replace('\0', " "));
        let warnings = warnings.map(|text| CString::new(text).unwrap_or_default()).collect();
        Ok(HeldEngine { engine, threads, warnings })
    }
}

fn device_of(name: &str) -> Outcome<Device> {
    match name.parse()? {
        DeviceRequest::Cpu => Ok(Device::Cpu),
        #[cfg(feature = "cuda")]
        DeviceRequest::Cuda(ordinal) => Ok(Device::Cuda(ordinal)),
        #[cfg(not(feature = "cuda"))]
        DeviceRequest::Cuda(_) => Err(Failure::new(
            super::status::SML_ERROR_UNSUPPORTED,
            format!("device is {name:?}: this library was built without CUDA (feature `cuda`)"),
        )),
        DeviceRequest::Auto => Err(Failure::new(
            SML_ERROR_DEVICE,
            "device is \"auto\": expected \"cpu\" or \"cuda:N\", wherever the logits will lie",
        )),
    }
}

fn make(
    device: Device,
    graph: bool,
    params: crate::Params,
    statistics: Option<&crate::ClassStatistics>,
    capacity: Capacity,
) -> Outcome<Engine> {
    Ok(match device {
        Device::Cpu if graph => {
            return Err(Failure::argument("cuda_graph is 1 for an engine on the CPU: expected 0"));
        }
        Device::Cpu => Engine::new(device, params, statistics, capacity)?,
        #[cfg(feature = "cuda")]
        Device::Cuda(ordinal) => {
            let options = crate::cuda::CudaOptions { graph };
            Engine::on_cuda(ordinal, options, params, statistics, capacity)?
        }
    })
}

/// Ends an engine and frees its memory, results in it included. Waits for its work on a GPU. NULL is allowed.
/// SML_ERROR_BUSY, and nothing is done, while another thread is in a call on it.
#[unsafe(no_mangle)]
pub extern "C" fn sml_engine_destroy(engine: *mut sml_engine) -> sml_status {
    guard(|| ENGINES.remove(engine))
}

/// Number of things that making the engine found and a person should know.
///
/// # Safety
/// `count` may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sml_engine_warning_count(
    engine: *const sml_engine,
    count: *mut usize,
) -> sml_status {
    guard(|| {
        // SAFETY: the caller's duty.
        let out = unsafe { Out::new(count, 0, "count") }?;
        out.set(with(engine, |held| Ok(held.warnings.len()))?);
        Ok(())
    })
}

/// One of them, counted from 0: a line of UTF-8, valid until the engine is destroyed.
///
/// # Safety
/// `text` may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sml_engine_warning(
    engine: *const sml_engine,
    index: usize,
    text: *mut *const c_char,
) -> sml_status {
    guard(|| {
        // SAFETY: the caller's duty.
        let out = unsafe { Out::new(text, std::ptr::null(), "text") }?;
        let warning = with(engine, |held| {
            let none = || {
                let count = held.warnings.len();
                Failure::argument(format!("index of the warning is {index}: expected less than {count}"))
            };
            held.warnings.get(index).map(|warning| warning.as_ptr()).ok_or_else(none)
        })?;
        out.set(warning);
        Ok(())
    })
}

/// Waits until the engine's latest batch is complete. On the CPU it is when it was submitted.
#[unsafe(no_mangle)]
pub extern "C" fn sml_engine_synchronize(engine: *mut sml_engine) -> sml_status {
    guard(|| with(engine, |held| Ok(held.engine.synchronize()?)))
}

/// Times the stages of each batch from now on (1), or ceases to (0). On the CPU they always are timed; on a GPU it costs an event a
/// stage, and graphs are not used meanwhile.
#[unsafe(no_mangle)]
pub extern "C" fn sml_engine_profile(engine: *mut sml_engine, on: i32) -> sml_status {
    guard(|| with(engine, |held| Ok(held.engine.profile(on != 0)?)))
}

/// Time that the stages of the latest batch took. Waits for that batch. SML_ERROR_NOT_MEASURED on a GPU before
/// sml_engine_profile and a batch behind it. On the CPU the stages run side by side, and the batch's time is divided among them by what
/// the threads spent in each.
///
/// # Safety
/// `timings` points to a structure as long as it says, which may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sml_engine_timings(
    engine: *mut sml_engine,
    timings: *mut sml_stage_timings,
) -> sml_status {
    guard(|| {
        let measured = with(engine, |held| Ok(held.engine.timings()?))?.ok_or_else(|| {
            let message = "no batch was timed yet: call sml_engine_profile, submit a batch, and ask again";
            Failure::new(SML_ERROR_NOT_MEASURED, message)
        })?;
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let result = sml_stage_timings {
            struct_size: size_of::<sml_stage_timings>(),
            standardize: nanoseconds(measured.standardize),
            suppress: nanoseconds(measured.suppress),
            smooth: nanoseconds(measured.smooth),
        };
        // SAFETY: the caller's duty.
        unsafe { versioned::write(timings, &result) }
    })
}

/// A CUDA stream (`CUstream`, `cudaStream_t`) that lives as long as the engine and does not wait for the default stream. NULL
/// for an engine on the CPU.
///
/// # Safety
/// `stream` may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sml_engine_stream(
    engine: *const sml_engine,
    stream: *mut *mut c_void,
) -> sml_status {
    guard(|| {
        // SAFETY: the caller's duty.
        let out = unsafe { Out::new(stream, std::ptr::null_mut(), "stream") }?;
        out.set(with(engine, |held| Ok(super::device::stream_of(&held.engine)))?);
        Ok(())
    })
}

/// Bytes of device memory that the engine keeps; 0 on the CPU.
///
/// # Safety
/// `bytes` may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sml_engine_device_bytes(engine: *const sml_engine, bytes: *mut usize) -> sml_status {
    guard(|| {
        // SAFETY: the caller's duty.
        let out = unsafe { Out::new(bytes, 0, "bytes") }?;
        out.set(with(engine, |held| Ok(held.engine.device_bytes()))?);
        Ok(())
    })
}
