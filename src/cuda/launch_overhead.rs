//! What giving kernels to a GPU costs when they do nothing: single launches in two ways, and a graph.
//!
//! For measurements of this crate alone (benches/launch_overhead.rs), and no part of its interface: it may change in any release.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use cudarc::driver::result::DriverError;
use cudarc::driver::sys::{self, CUevent_flags, CUgraphInstantiate_flags, CUstreamCaptureMode};
use cudarc::driver::{CudaContext, CudaFunction, CudaGraph, CudaStream, LaunchConfig, PushKernelArg};
use cudarc::nvrtc::Ptx;

use super::{driver, driver_error};
use crate::{Error, Result};

/// A kernel with as many parameters as the engine's first one has pointers and sizes, which does nothing.
const NOTHING: &str = "
.version 6.3
.target sm_75
.address_size 64
.visible .entry nothing(
    .param .u64 a, .param .u64 b, .param .u64 c, .param .u64 d, .param .u32 e, .param .u32 f, .param .u32 g, .param .u32 h)
{ ret; }
";

/// Kernels of a frame: one a stage.
pub const KERNELS: usize = 3;

/// Blocks of a launch, and threads of a block: as of a small frame.
const GRID: u32 = 256;
const BLOCK: u32 = 128;

/// A way to give a frame's kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// `cuLaunchKernel` with arguments that lie ready, as the engine does it.
    Raw,
    /// cudarc's `LaunchArgs`, whose arguments are pushed for each launch.
    LaunchArgs,
    /// A graph of the frame's kernels.
    Graph,
}

impl Way {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Raw, Self::LaunchArgs, Self::Graph];

    /// As a part of a benchmark's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::LaunchArgs => "launch args",
            Self::Graph => "graph",
        }
    }
}

/// A stream with a kernel that does nothing.
pub struct LaunchOverhead {
    stream: Arc<CudaStream>,
    nothing: CudaFunction,
    graph: CudaGraph,
}

impl LaunchOverhead {
    /// On the first GPU; `None` where there is no driver or no GPU.
    ///
    /// # Errors
    /// [`Error::Cuda`] when the driver refuses.
    pub fn new() -> Result<Option<Self>> {
        match driver::probe()? {
            Some(found) if !found.gpus.is_empty() => {
                Self::build().map(Some).map_err(refused("prepare launches"))
            }
            _ => Ok(None),
        }
    }

    fn build() -> Result<Self, DriverError> {
        let context = CudaContext::new(0)?;
        let stream = context.new_stream()?;
        let module = context.load_module(Ptx::from_src(NOTHING))?;
        let nothing = module.load_function("nothing")?;
        stream.begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)?;
        raw(&stream, &nothing)?;
        let graph = stream
            .end_capture(CUgraphInstantiate_flags(0))?
            .ok_or(DriverError(sys::CUresult::CUDA_ERROR_INVALID_VALUE))?;
        Ok(Self { stream, nothing, graph })
    }

    /// Gives the kernels of one frame.
    ///
    /// # Errors
    /// [`Error::Cuda`] when the driver refuses.
    pub fn frame(&self, way: Way) -> Result<()> {
        let given = match way {
            Way::Raw => raw(&self.stream, &self.nothing),
            Way::LaunchArgs => self.launch_args(),
            Way::Graph => self.graph.launch(),
        };
        given.map_err(refused("launch kernels"))
    }

    /// Waits for all of them.
    ///
    /// # Errors
    /// [`Error::Cuda`] when the driver refuses.
    pub fn synchronize(&self) -> Result<()> {
        self.stream.synchronize().map_err(refused("wait for kernels"))
    }

    /// Time on the GPU from before the first of so many frames until behind the last, given without waiting between them.
    ///
    /// # Errors
    /// [`Error::Cuda`] when the driver refuses.
    pub fn on_device(&self, way: Way, frames: u64) -> Result<Duration> {
        let event = || self.stream.record_event(Some(CUevent_flags::CU_EVENT_DEFAULT));
        let before = event().map_err(refused("record an event"))?;
        (0..frames).try_for_each(|_| self.frame(way))?;
        let time = event().and_then(|after| {
            self.stream.synchronize()?;
            before.elapsed_ms(&after)
        });
        time.map(|ms| Duration::from_secs_f64(f64::from(ms) / 1e3))
            .map_err(refused("read the time between events"))
    }

    fn launch_args(&self) -> Result<(), DriverError> {
        let (pointer, number) = (0_u64, 0_u32);
        let config = LaunchConfig { grid_dim: (GRID, 1, 1), block_dim: (BLOCK, 1, 1), shared_mem_bytes: 0 };
        for _ in 0..KERNELS {
            let mut launch = self.stream.launch_builder(&self.nothing);
            (0..4).for_each(|_| {
                launch.arg(&pointer);
            });
            (0..4).for_each(|_| {
                launch.arg(&number);
            });
            // SAFETY: the arguments are of the number and the sizes that the kernel declares, and it reads none of them.
            unsafe { launch.launch(config) }?;
        }
        Ok(())
    }
}

fn raw(stream: &CudaStream, nothing: &CudaFunction) -> Result<(), DriverError> {
    let (mut pointer, mut number) = (0_u64, 0_u32);
    let (pointer, number) = ((&raw mut pointer).cast::<c_void>(), (&raw mut number).cast::<c_void>());
    let mut arguments = [pointer, pointer, pointer, pointer, number, number, number, number];
    for _ in 0..KERNELS {
        // SAFETY: function and stream are alive and of one context, which is bound (cudarc binds it where it makes them, and
        // they stay on this thread's); the arguments are of the number and the sizes that the kernel declares.
        unsafe {
            sys::cuLaunchKernel(
                nothing.cu_function(),
                GRID,
                1,
                1,
                BLOCK,
                1,
                1,
                0,
                stream.cu_stream(),
                arguments.as_mut_ptr(),
                ptr::null_mut(),
            )
        }
        .result()?;
    }
    Ok(())
}

fn refused(action: &'static str) -> impl Fn(DriverError) -> Error {
    move |error| driver_error::refused(action, error)
}
