//! The launches of a frame as one CUDA graph, whose arguments are changed from frame to frame.
//!
//! A graph is a chain of kernel nodes, built without capturing anything. Giving it to a stream is one call, however many
//! kernels it has; before that, each node whose arguments or geometry differ from those of the frame before gets the new
//! ones. The kernels themselves cannot change in a graph, so there is one for each sequence of kernels that frames come
//! to, for instance one for each element type.
#![allow(unsafe_code)]

use std::ptr;
use std::sync::Arc;

use cudarc::driver::result::DriverError;
use cudarc::driver::sys::{
    self, CUDA_KERNEL_NODE_PARAMS, CUfunction, CUgraph, CUgraphExec, CUgraphNode, CUstream,
};

use super::context::Context;
use super::plan::Launch;

/// Graphs that are kept at most: each element type and layout, at full resolution and upsampled, with room to spare.
const MOST: usize = 16;

/// The graphs of an engine.
pub(super) struct Graphs {
    context: Arc<Context>,
    graphs: Vec<FrameGraph>,
    frames: u64,
}

impl Graphs {
    pub fn new(context: &Arc<Context>) -> Self {
        Self { context: Arc::clone(context), graphs: Vec::with_capacity(MOST), frames: 0 }
    }

    /// Builds the graph for these kernels if there is none yet, and puts it on the GPU.
    ///
    /// # Safety
    /// As for [`launch`](Self::launch), except that the arguments may point nowhere.
    pub unsafe fn prepare(
        &mut self,
        functions: &[CUfunction],
        launches: &[Launch],
        stream: CUstream,
    ) -> Result<(), DriverError> {
        // SAFETY: the caller's duty.
        let graph = unsafe { self.find_or_build(functions, launches) }?;
        // SAFETY: the graph is alive; the stream is the caller's duty.
        unsafe { sys::cuGraphUpload(graph.exec, stream) }.result()
    }

    /// Runs the launches, one behind the other, as a graph.
    ///
    /// # Safety
    /// As for [`launch`](super::module::launch), for each launch with the function in the same place; the modules stay
    /// loaded for as long as these graphs live.
    pub unsafe fn launch(
        &mut self,
        functions: &[CUfunction],
        launches: &[Launch],
        stream: CUstream,
    ) -> Result<(), DriverError> {
        // SAFETY: the caller's duty.
        let graph = unsafe { self.find_or_build(functions, launches) }?;
        // SAFETY: the graph is alive; the rest is the caller's duty.
        unsafe {
            graph.update(launches)?;
            sys::cuGraphLaunch(graph.exec, stream)
        }
        .result()
    }

    /// # Safety
    /// The functions' modules are loaded and their context is bound.
    unsafe fn find_or_build(
        &mut self,
        functions: &[CUfunction],
        launches: &[Launch],
    ) -> Result<&mut FrameGraph, DriverError> {
        self.frames += 1;
        let found = self.graphs.iter().position(|graph| graph.functions == functions);
        let place = match found {
            Some(place) => place,
            None => {
                // SAFETY: the caller's duty.
                let graph = unsafe { FrameGraph::build(&self.context, functions, launches) }?;
                if self.graphs.len() == MOST {
                    let oldest = (0..MOST).min_by_key(|&place| self.graphs[place].latest_frame).unwrap_or(0);
                    self.graphs.swap_remove(oldest);
                }
                self.graphs.push(graph);
                self.graphs.len() - 1
            }
        };
        let graph = &mut self.graphs[place];
        graph.latest_frame = self.frames;
        Ok(graph)
    }
}

/// One chain of kernels.
struct FrameGraph {
    context: Arc<Context>,
    functions: Vec<CUfunction>,
    graph: CUgraph,
    exec: CUgraphExec,
    nodes: Vec<CUgraphNode>,
    /// What the nodes hold.
    launches: Vec<Launch>,
    latest_frame: u64,
}

// SAFETY: handles of graphs, nodes and functions may be used from every thread, by one at a time.
unsafe impl Send for FrameGraph {}

impl FrameGraph {
    /// # Safety
    /// The functions' modules are loaded and their context is bound.
    unsafe fn build(
        context: &Arc<Context>,
        functions: &[CUfunction],
        launches: &[Launch],
    ) -> Result<Self, DriverError> {
        // From here on dropping it destroys what was made so far.
        let mut new = Self {
            context: Arc::clone(context),
            functions: functions.to_vec(),
            graph: ptr::null_mut(),
            exec: ptr::null_mut(),
            nodes: Vec::with_capacity(launches.len()),
            launches: launches.to_vec(),
            latest_frame: 0,
        };
        // SAFETY: each pointer is valid for the write of one handle; the graph and the node before are alive; the driver
        // copies the parameters before it returns.
        unsafe {
            sys::cuGraphCreate(&raw mut new.graph, 0).result()?;
            for (launch, &function) in launches.iter().zip(functions) {
                let mut node = ptr::null_mut();
                let before = new.nodes.last().map_or(ptr::null(), ptr::from_ref);
                with_node_parameters(function, launch, |parameters| {
                    let count = usize::from(!before.is_null());
                    sys::cuGraphAddKernelNode_v2(&raw mut node, new.graph, before, count, parameters)
                })
                .result()?;
                new.nodes.push(node);
            }
            sys::cuGraphInstantiateWithFlags(&raw mut new.exec, new.graph, 0).result()?;
        }
        Ok(new)
    }

    /// Gives each node that differs its launch.
    ///
    /// # Safety
    /// The context is bound.
    unsafe fn update(&mut self, launches: &[Launch]) -> Result<(), DriverError> {
        let nodes = self.nodes.iter().zip(&self.functions);
        for ((held, wanted), (&node, &function)) in self.launches.iter_mut().zip(launches).zip(nodes) {
            if held == wanted {
                continue;
            }
            with_node_parameters(function, wanted, |parameters| {
                // SAFETY: the node is of this graph and keeps its function; the driver copies the parameters before it
                // returns. Frames that were given to a stream before keep theirs.
                unsafe { sys::cuGraphExecKernelNodeSetParams_v2(self.exec, node, parameters) }
            })
            .result()?;
            *held = *wanted;
        }
        Ok(())
    }
}

impl Drop for FrameGraph {
    fn drop(&mut self) {
        let _bound = self.context.bind();
        // SAFETY: made by `build`, destroyed once; a graph that still runs is freed by the driver when it is complete.
        unsafe {
            if !self.exec.is_null() {
                let _ = sys::cuGraphExecDestroy(self.exec);
            }
            if !self.graph.is_null() {
                let _ = sys::cuGraphDestroy(self.graph);
            }
        }
    }
}

/// A launch as the driver's parameters of a kernel node, which point at the launch and are good for the call only.
fn with_node_parameters<T>(
    function: CUfunction,
    launch: &Launch,
    call: impl FnOnce(*const CUDA_KERNEL_NODE_PARAMS) -> T,
) -> T {
    let mut parameter = launch.arguments.bytes().as_ptr().cast_mut().cast();
    let ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]) = (launch.grid, launch.block);
    let parameters = CUDA_KERNEL_NODE_PARAMS {
        func: function,
        gridDimX: grid_x,
        gridDimY: grid_y,
        gridDimZ: grid_z,
        blockDimX: block_x,
        blockDimY: block_y,
        blockDimZ: block_z,
        sharedMemBytes: launch.shared_bytes,
        kernelParams: &raw mut parameter,
        extra: ptr::null_mut(),
        kern: ptr::null_mut(),
        ctx: ptr::null_mut(),
    };
    call(&raw const parameters)
}
