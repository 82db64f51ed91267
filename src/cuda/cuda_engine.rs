//! The engine on a GPU: workspace, kernels and the giving of frames to a stream.
//!
//! Building an engine does all that takes time or may fail for want of something: it opens the GPU, compiles and loads
//! kernels, allocates the workspace and, where asked for, builds the graphs. After that a frame is a few calls of the
//! driver that only launch: no allocation, no waiting, no copy. A frame on another stream than the one before makes that
//! stream wait for an event (`stream_order`).
//!
//! When the GPU reports that work failed, nothing that this process has on it can be trusted and every later call fails the
//! same way. The engine then returns the failure once, and [`Error::Poisoned`] ever after.
#![allow(unsafe_code)]

use std::sync::Arc;

use cudarc::driver::result::DriverError;
use cudarc::driver::sys::{CUdevice_attribute, CUfunction, CUresult, CUstream};

use super::context::Context;
use super::device_workspace::DeviceWorkspace;
use super::driver_error::{breaks_the_context, describe, refused};
use super::graph::Graphs;
use super::kernel_set::KernelSet;
use super::module;
use super::plan::{DeviceFrame, DeviceLogits, GpuLimits, Launch, Plan, Workspace};
use super::stage_clock::{MOST_LAUNCHES, StageClock};
use super::stream::{OwnStream, RawStream, is_capturing};
use super::stream_order::StreamOrder;
use crate::statistics::Standardization;
use crate::{Capacity, ElementType, Error, Layout, LogitsShape, Params, Result, StageTimings};

/// How an engine uses the driver. Neither choice changes a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CudaOptions {
    /// Give each frame to the stream as one CUDA graph instead of one launch a kernel. Off by default: with at most three
    /// kernels a frame, changing the addresses in a graph takes about as many calls as it saves, and which way is faster
    /// has not been measured yet.
    pub graph: bool,
}

/// An engine on one GPU.
///
/// Fields are dropped in this order: what refers to kernels before the kernels, and everything before the context, which
/// each of them shares.
pub(crate) struct CudaEngine {
    plan: Plan,
    order: StreamOrder,
    clock: Option<StageClock>,
    graphs: Option<Graphs>,
    kernels: KernelSet,
    addresses: Workspace<u64>,
    workspace: DeviceWorkspace,
    stream: OwnStream,
    /// What the GPU reported when its work failed.
    poison: Option<String>,
    context: Arc<Context>,
}

// SAFETY: every handle in it may be used from every thread by one at a time, and each call that uses one binds the context
// to the calling thread first.
unsafe impl Send for CudaEngine {}

/// What was being done when the driver refused. Plain, so that a frame that succeeds costs no text.
#[derive(Clone, Copy)]
enum Step {
    Bind,
    AskAboutCapture,
    Order,
    Find(&'static str),
    Launch(&'static str),
    Graph,
    Time,
}

type Failure = (Step, DriverError);

impl CudaEngine {
    /// An engine on `cuda:ordinal`. Not to be called while a stream of the GPU is being captured.
    ///
    /// # Errors
    /// [`Error::Device`] where the GPU cannot be used, [`Error::DeviceMemory`] where the workspace does not fit,
    /// [`Error::Cuda`] if kernels cannot be had or the driver refuses.
    pub fn new(
        ordinal: usize,
        params: Params,
        standardization: Option<&Standardization>,
        capacity: Capacity,
        options: CudaOptions,
    ) -> Result<Self> {
        let context = Context::retain(ordinal)?;
        let plan = Plan::new(params, capacity, limits(&context)?);
        let kernels = KernelSet::load(&context, plan.variants(), |slot| plan.shared_bytes(slot))?;
        let stream = OwnStream::new(&context)?;
        let workspace = DeviceWorkspace::allocate(&context, plan.workspace())?;
        workspace
            .fill(standardization, &stream)
            .map_err(|error| refused("fill an engine's workspace", error))?;
        let mut engine = Self {
            // SAFETY: the stream lives in the engine too.
            order: unsafe { StreamOrder::new(&context, stream.raw()) }?,
            addresses: workspace.addresses(),
            workspace,
            plan,
            clock: None,
            graphs: options.graph.then(|| Graphs::new(&context)),
            kernels,
            stream,
            poison: None,
            context,
        };
        engine.prepare_graphs(capacity)?;
        Ok(engine)
    }

    /// Gives a batch to a stream, behind the stream's earlier work and behind this engine's earlier frames. Returns when
    /// the launches are given, long before they are complete. On a stream that is being captured the launches become
    /// part of the graph; whoever replays it keeps this engine alive, and orders the replays and the engine's other
    /// frames, which share its workspace.
    ///
    /// # Safety
    /// * `frame` has been checked against the engine's capacity. Its addresses are of this GPU, or ones that it can use,
    ///   and hold what the frame says, until the work is complete; nothing else writes to the logits or uses the outputs
    ///   meanwhile, and outputs overlap neither each other nor the logits.
    /// * `stream` is alive, and of this GPU's primary context.
    ///
    /// # Errors
    /// [`Error::Cuda`] if the driver refuses, also if it reports that earlier work on the GPU failed; from then on
    /// [`Error::Poisoned`].
    pub unsafe fn submit(&mut self, frame: &DeviceFrame, stream: RawStream) -> Result<()> {
        self.check_poison()?;
        let launches = self.plan.launches(frame, &self.addresses);
        // SAFETY: the plan's launches are for this engine's kernels and workspace; the rest is the caller's duty.
        unsafe { self.run(&launches, stream) }.map_err(|failure| self.failed(failure))
    }

    /// Measure the stages of each frame from now on, or cease to. Frames that are measured are given as plain launches with
    /// an event between any two.
    ///
    /// # Errors
    /// [`Error::Cuda`] if the driver refuses to make events.
    pub fn profile(&mut self, on: bool) -> Result<()> {
        self.check_poison()?;
        self.clock = match self.clock.take() {
            Some(clock) if on => Some(clock),
            None if on => Some(StageClock::new(&self.context)?),
            _ => None,
        };
        Ok(())
    }

    /// Time that the stages of the latest frame took on the GPU; `None` without [`profile`](Self::profile), or before the
    /// first frame. Waits for that frame.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub fn timings(&mut self) -> Result<Option<StageTimings>> {
        self.check_poison()?;
        let read = self.clock.as_ref().map_or(Ok(None), StageClock::read);
        read.map_err(|error| self.failed((Step::Time, error)))
    }

    /// Waits until this engine's latest frame is complete.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub fn synchronize(&mut self) -> Result<()> {
        self.check_poison()?;
        let waited = self.context.bind().and_then(|_bound| {
            // SAFETY: the context is bound.
            unsafe { self.order.wait() }
        });
        waited.map_err(|error| self.failed((Step::Order, error)))
    }

    /// The `N` of `cuda:N`.
    pub fn ordinal(&self) -> usize {
        self.context.ordinal()
    }

    /// A stream that lives as long as the engine. It does not wait for CUDA's default stream, nor that for it. Made for
    /// running a network and the engine on, one behind the other.
    pub fn stream(&self) -> RawStream {
        self.stream.raw()
    }

    /// The same stream, for libtorch, whose allocator keeps memory for the streams that it has worked on. It lives as long
    /// as the process then.
    #[cfg(feature = "torch")]
    pub fn stream_for_libtorch(&self) -> RawStream {
        self.stream.lend()
    }

    /// What a person should know about how the kernels were come by, one line each.
    pub fn notes(&self) -> &[String] {
        self.kernels.notes()
    }

    /// Bytes of device memory that it allocated.
    pub fn device_bytes(&self) -> usize {
        self.workspace.bytes()
    }

    fn check_poison(&self) -> Result<()> {
        match &self.poison {
            None => Ok(()),
            Some(failure) => Err(Error::Poisoned { device: self.device(), failure: failure.clone() }),
        }
    }

    /// # Safety
    /// As for [`submit`](Self::submit).
    unsafe fn run(&mut self, launches: &[Launch], stream: RawStream) -> Result<(), Failure> {
        let _bound = self.context.bind().map_err(|error| (Step::Bind, error))?;
        // SAFETY: the context is bound; the stream is the caller's duty.
        unsafe {
            let captured = is_capturing(stream.handle()).map_err(|error| (Step::AskAboutCapture, error))?;
            if captured {
                return self.launch_each(launches, stream.handle(), None);
            }
            self.order.enter(stream).map_err(|error| (Step::Order, error))?;
            let mut clock = self.clock.take();
            let launched = match (&mut clock, &self.graphs) {
                (Some(clock), _) => self.launch_each(launches, stream.handle(), Some(clock)),
                (None, Some(_)) => self.launch_graph(launches, stream.handle()),
                (None, None) => self.launch_each(launches, stream.handle(), None),
            };
            self.clock = clock;
            // Also after a failure: some of the launches may run.
            let left = self.order.leave().map_err(|error| (Step::Order, error));
            launched.and(left)
        }
    }

    /// # Safety
    /// As for [`submit`](Self::submit), with the context bound.
    unsafe fn launch_each(
        &self,
        launches: &[Launch],
        stream: CUstream,
        mut clock: Option<&mut StageClock>,
    ) -> Result<(), Failure> {
        let timing = |error| (Step::Time, error);
        // SAFETY: the function is the one that the plan made the launch for; the rest is the caller's duty.
        unsafe {
            if let Some(clock) = &mut clock {
                clock.start(stream).map_err(timing)?;
            }
            for (place, launch) in launches.iter().enumerate() {
                let function = self.function(launch)?;
                module::launch(function, launch, stream)
                    .map_err(|error| (Step::Launch(launch.entry), error))?;
                if let (Some(clock), Some(stage)) = (&mut clock, self.kernels.stage(launch)) {
                    clock.lap(place, stage, stream).map_err(timing)?;
                }
            }
        }
        Ok(())
    }

    /// # Safety
    /// As for [`submit`](Self::submit), with the context bound.
    unsafe fn launch_graph(&mut self, launches: &[Launch], stream: CUstream) -> Result<(), Failure> {
        let functions = self.functions(launches)?;
        let Some(graphs) = &mut self.graphs else { return Ok(()) };
        // SAFETY: the functions are those that the plan made the launches for, and their modules are dropped after the
        // graphs; the rest is the caller's duty.
        unsafe { graphs.launch(&functions[..launches.len()], launches, stream) }
            .map_err(|error| (Step::Graph, error))
    }

    fn functions(&self, launches: &[Launch]) -> Result<[CUfunction; MOST_LAUNCHES], Failure> {
        let mut functions = [std::ptr::null_mut(); MOST_LAUNCHES];
        for (function, launch) in functions.iter_mut().zip(launches) {
            *function = self.function(launch)?;
        }
        Ok(functions)
    }

    fn function(&self, launch: &Launch) -> Result<CUfunction, Failure> {
        let missing = (Step::Find(launch.entry), DriverError(CUresult::CUDA_ERROR_NOT_FOUND));
        self.kernels.function(launch).ok_or(missing)
    }

    /// Builds the graphs of packed logits at full capacity, so that no frame of that kind has to wait for one.
    fn prepare_graphs(&mut self, capacity: Capacity) -> Result<()> {
        let Some(mut graphs) = self.graphs.take() else { return Ok(()) };
        let prepared = (|| -> Result<(), Failure> {
            let _bound = self.context.bind().map_err(|error| (Step::Bind, error))?;
            for frame in usual_frames(capacity, self.addresses.standardized) {
                let launches = self.plan.launches(&frame, &self.addresses);
                let launches = &*launches;
                let functions = self.functions(launches)?;
                // SAFETY: nothing runs yet, so the frame's addresses may point nowhere; the functions are those of the
                // launches, and the stream is the engine's own.
                unsafe { graphs.prepare(&functions[..launches.len()], launches, self.stream.raw().handle()) }
                    .map_err(|error| (Step::Graph, error))?;
            }
            self.stream.synchronize().map_err(|error| (Step::Graph, error))
        })();
        self.graphs = Some(graphs);
        prepared.map_err(|failure| self.failed(failure))
    }

    fn failed(&mut self, (step, error): Failure) -> Error {
        let device = self.device();
        let action = match step {
            Step::Bind => format!("use {device} on this thread"),
            Step::AskAboutCapture => "tell whether the stream is being captured".to_owned(),
            Step::Order => "put a frame behind the one before".to_owned(),
            Step::Find(kernel) => format!("find the kernel {kernel}"),
            Step::Launch(kernel) => format!("launch the kernel {kernel} on {device}"),
            Step::Graph => format!("launch a frame's graph on {device}"),
            Step::Time => "time the stages".to_owned(),
        };
        let message = describe(error);
        if breaks_the_context(error) {
            self.poison = Some(message.clone());
            let message = format!("{message} (work that {device} was given earlier has failed)");
            return Error::Cuda { action, message };
        }
        Error::Cuda { action, message }
    }

    fn device(&self) -> String {
        format!("cuda:{}", self.ordinal())
    }
}

/// What graphs are built for in advance: batches of full capacity, packed in either layout, of every element type. All of
/// their addresses are `address`.
fn usual_frames(capacity: Capacity, address: u64) -> impl Iterator<Item = DeviceFrame> {
    let shape = LogitsShape { batch: capacity.batch, classes: capacity.classes, size: capacity.logits };
    let elements = [ElementType::F32, ElementType::F16, ElementType::BF16];
    let layouts = [Layout::Nchw, Layout::Nhwc];
    elements.into_iter().flat_map(move |element| {
        layouts.map(|layout| DeviceFrame {
            logits: DeviceLogits { pointer: address, element, shape, strides: layout.strides(shape) },
            size: capacity.output,
            score: address,
            half_score: false,
            prediction: address,
            non_finite: address,
        })
    })
}

fn limits(context: &Context) -> Result<GpuLimits> {
    Ok(GpuLimits {
        multiprocessors: context.gpu().multiprocessors,
        shared_bytes: context
            .attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?,
    })
}

impl Drop for CudaEngine {
    /// Waits for the latest frame: its workspace is about to be freed. Captured graphs of others are theirs to stop.
    fn drop(&mut self) {
        if self.poison.is_none()
            && let Ok(_bound) = self.context.bind()
        {
            // SAFETY: the context is bound. An error leaves nothing to wait for.
            let _ = unsafe { self.order.wait() };
        }
    }
}
