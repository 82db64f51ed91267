//! The engine on a GPU: workspace, kernels and the giving of frames to a stream.
//!
//! Building an engine does all that takes time or may fail for want of something: it opens the GPU, compiles and loads
//! kernels, allocates the workspace and, where asked for, builds the graphs. After that a frame is a few calls of the
//! driver that only launch: no allocation, no waiting, no copy. A frame on another stream than the one before makes that
//! stream wait for an event.
#![allow(unsafe_code)]

use cudarc::driver::sys::{CUdevice_attribute, CUfunction, CUstream};

use super::context::Context;
use super::device_workspace::DeviceWorkspace;
use super::driver_error::refused;
use super::graph::Graphs;
use super::kernel_set::KernelSet;
use super::plan::{DeviceFrame, DeviceLogits, GpuLimits, Launch, Plan, Workspace};
use super::queue::{Failure, Queue, Step};
use super::stage_clock::{MOST_LAUNCHES, StageClock};
use super::stream::RawStream;
use crate::statistics::Standardization;
use crate::{Capacity, ElementType, Layout, LogitsShape, Params, Result, StageTimings};

/// How an engine uses the driver. Neither choice changes a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct CudaOptions {
    /// Give each frame to the stream as one CUDA graph instead of one launch a kernel. Off by default: with at most three
    /// kernels a frame, changing the addresses in a graph takes about as many calls as it saves, and which way is faster
    /// has not been measured yet.
    pub graph: bool,
}

/// An engine on one GPU.
///
/// Fields are dropped in this order: the queue first, which waits for the latest frame; then what refers to kernels, before
/// the kernels.
pub(crate) struct CudaEngine {
    queue: Queue,
    plan: Plan,
    clock: Option<StageClock>,
    graphs: Option<Graphs>,
    kernels: KernelSet,
    addresses: Workspace<u64>,
    workspace: DeviceWorkspace,
}

impl CudaEngine {
    /// An engine on `cuda:ordinal`. Not to be called while a stream of the GPU is being captured.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) where the GPU cannot be used,
    /// [`Error::DeviceMemory`](crate::Error::DeviceMemory) where the workspace does not fit,
    /// [`Error::Cuda`](crate::Error::Cuda) if kernels cannot be had or the driver refuses.
    pub fn new(
        ordinal: usize,
        params: Params,
        standardization: Option<&Standardization>,
        capacity: Capacity,
        options: CudaOptions,
    ) -> Result<Self> {
        let context = Context::retain(ordinal)?;
        let plan = Plan::new(params, capacity, limits(&context)?);
        // First what may not fit: compiling takes longer.
        let workspace = DeviceWorkspace::allocate(&context, plan.workspace())?;
        let kernels = KernelSet::load(&context, plan.variants(), |slot| plan.shared_bytes(slot))?;
        let queue = Queue::new(&context)?;
        workspace
            .fill(standardization, queue.stream())
            .map_err(|error| refused("fill an engine's workspace", error))?;
        let mut engine = Self {
            queue,
            plan,
            clock: None,
            graphs: options.graph.then(|| Graphs::new(&context)),
            kernels,
            addresses: workspace.addresses(),
            workspace,
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
    /// [`Error::Cuda`](crate::Error::Cuda) if the driver refuses, also if it reports that earlier work on the GPU failed;
    /// from then on [`Error::Poisoned`](crate::Error::Poisoned).
    pub unsafe fn submit(&mut self, frame: &DeviceFrame, stream: RawStream) -> Result<()> {
        let Self { queue, plan, clock, graphs, kernels, addresses, .. } = self;
        let launches = plan.launches(frame, addresses);
        let handle = stream.handle();
        // SAFETY: the plan's launches are for this engine's kernels and workspace; the rest is the caller's duty.
        unsafe {
            queue.submit(stream, |captured| match (clock, graphs) {
                (Some(clock), _) if !captured => launch_timed(kernels, &launches, handle, clock),
                (None, Some(graphs)) if !captured => {
                    let functions = functions(kernels, &launches)?;
                    graphs
                        .launch(&functions[..launches.len()], &launches, handle)
                        .map_err(|error| (Step::Graph, error))
                }
                _ => launches.iter().try_for_each(|launch| kernels.give(launch, handle)),
            })
        }
    }

    /// Measure the stages of each frame from now on, or cease to. Frames that are measured are given as plain launches with
    /// an event between any two.
    ///
    /// # Errors
    /// [`Error::Cuda`](crate::Error::Cuda) if the driver refuses to make events.
    pub fn profile(&mut self, on: bool) -> Result<()> {
        self.clock = match self.clock.take() {
            Some(clock) if on => Some(clock),
            None if on => Some(StageClock::new(self.queue.context())?),
            _ => None,
        };
        Ok(())
    }

    /// Gives the engine another clock, or none, for the frames to come, and takes its own: one frame can be timed while the
    /// clock of another still runs.
    #[cfg(feature = "frame-loop")]
    pub(super) fn exchange_clock(&mut self, clock: &mut Option<StageClock>) {
        std::mem::swap(&mut self.clock, clock);
    }

    /// Time that the stages of the latest frame took on the GPU; `None` without [`profile`](Self::profile), or before the
    /// first frame. Waits for that frame.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub fn timings(&mut self) -> Result<Option<StageTimings>> {
        let Some(clock) = &self.clock else { return Ok(None) };
        self.queue.call(|| clock.read().map_err(|error| (Step::Time, error)))
    }

    /// Waits until this engine's latest frame is complete.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub fn synchronize(&mut self) -> Result<()> {
        self.queue.synchronize()
    }

    /// The `N` of `cuda:N`.
    pub fn ordinal(&self) -> usize {
        self.queue.context().ordinal()
    }

    /// A stream that lives as long as the engine. It does not wait for CUDA's default stream, nor that for it. Made for
    /// running a network and the engine on, one behind the other.
    pub fn stream(&self) -> RawStream {
        self.queue.stream().raw()
    }

    /// The same stream, for libtorch, whose allocator keeps memory for the streams that it has worked on. It lives as long
    /// as the process then.
    #[cfg(feature = "torch")]
    pub fn stream_for_libtorch(&self) -> RawStream {
        self.queue.stream().lend()
    }

    /// What a person should know about how the kernels were come by, one line each.
    pub fn notes(&self) -> &[String] {
        self.kernels.notes()
    }

    /// Bytes of device memory that it allocated.
    pub fn device_bytes(&self) -> usize {
        self.workspace.bytes()
    }

    /// Builds the graphs of packed logits at full capacity, so that no frame of that kind has to wait for one.
    fn prepare_graphs(&mut self, capacity: Capacity) -> Result<()> {
        let Self { queue, plan, graphs, kernels, addresses, .. } = self;
        let Some(graphs) = graphs else { return Ok(()) };
        let stream = queue.stream().raw();
        queue.call(|| {
            for frame in usual_frames(capacity, addresses.standardized) {
                let launches = plan.launches(&frame, addresses);
                let functions = functions(kernels, &launches)?;
                // SAFETY: nothing runs yet, so the frame's addresses may point nowhere; the functions are those of the
                // launches, and the stream is the engine's own.
                unsafe { graphs.prepare(&functions[..launches.len()], &launches, stream.handle()) }
                    .map_err(|error| (Step::Graph, error))?;
            }
            Ok(())
        })?;
        queue.stream().synchronize().map_err(|error| refused("put a frame's graph on the GPU", error))
    }
}

/// # Safety
/// As for [`KernelSet::give`]; the stream is not being captured.
unsafe fn launch_timed(
    kernels: &KernelSet,
    launches: &[Launch],
    stream: CUstream,
    clock: &mut StageClock,
) -> Result<(), Failure> {
    let timing = |error| (Step::Time, error);
    // SAFETY: the caller's duty.
    unsafe {
        clock.start(stream).map_err(timing)?;
        for (place, launch) in launches.iter().enumerate() {
            kernels.give(launch, stream)?;
            if let Some(stage) = kernels.stage(launch) {
                clock.lap(place, stage, stream).map_err(timing)?;
            }
        }
    }
    Ok(())
}

fn functions(kernels: &KernelSet, launches: &[Launch]) -> Result<[CUfunction; MOST_LAUNCHES], Failure> {
    let mut functions = [std::ptr::null_mut(); MOST_LAUNCHES];
    for (place, launch) in functions.iter_mut().zip(launches) {
        *place = kernels.function(launch)?;
    }
    Ok(functions)
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

pub(super) fn limits(context: &Context) -> Result<GpuLimits> {
    Ok(GpuLimits {
        multiprocessors: context.gpu().multiprocessors,
        shared_bytes: context
            .attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?,
    })
}
