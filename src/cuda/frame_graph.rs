//! What a stream was given between two calls, captured into one CUDA graph and given again with one call.
//!
//! Unlike the graphs of an engine (`graph.rs`), which are built node by node, this captures whatever is put on the stream, the
//! network's kernels too. Nothing in it changes from frame to frame: all addresses stay those of the capture.
#![allow(unsafe_code)]

use std::ptr;
use std::sync::Arc;

use cudarc::driver::sys::{self, CUgraph, CUgraphExec, CUstreamCaptureMode};

use super::context::Context;
use super::frame_stream::FrameStream;
use super::queue::Step;
use crate::Result;

/// A captured graph, ready to be given to a stream.
pub struct FrameGraph {
    context: Arc<Context>,
    exec: CUgraphExec,
}

// SAFETY: a graph's handle may be used from every thread, by one at a time.
unsafe impl Send for FrameGraph {}

impl FrameStream {
    /// Captures what `give` puts on the stream instead of running it. Waits for the stream first.
    ///
    /// # Safety
    /// Whatever the captured work uses (memory, kernels, pinned memory) stays alive and is used by nothing else while the graph is
    /// [replayed](Self::replay).
    ///
    /// # Errors
    /// That of `give`; [`Error::Cuda`](crate::Error::Cuda) when something on the stream cannot be captured, such as a wait or a copy
    /// from memory that is not pinned. The stream can be used as before then.
    pub unsafe fn capture<T>(
        &mut self,
        give: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<(T, FrameGraph)> {
        self.finish()?;
        let stream = self.stream();
        let failed = |error| (Step::Capture, error);
        // Other threads, and libtorch on this one, may allocate meanwhile.
        let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
        self.queue_mut().call(|| {
            // SAFETY: the stream is the queue's own and idle; `call` binds its context.
            unsafe { sys::cuStreamBeginCapture_v2(stream.handle(), mode) }.result().map_err(failed)
        })?;
        let given = give(self);
        let mut graph = Graph(ptr::null_mut());
        // Also after a failure: the stream has to leave its capture.
        let ended = self.queue_mut().call(|| {
            // SAFETY: the capture was begun above; valid for the write of one handle.
            unsafe { sys::cuStreamEndCapture(stream.handle(), &raw mut graph.0) }.result().map_err(failed)
        });
        let given = given?;
        ended?;
        let context = Arc::clone(self.queue_mut().context());
        let mut exec = ptr::null_mut();
        self.queue_mut().call(|| {
            // SAFETY: the graph is alive; valid for the write of one handle.
            unsafe { sys::cuGraphInstantiateWithFlags(&raw mut exec, graph.0, 0) }.result().map_err(failed)
        })?;
        let graph = FrameGraph { context, exec };
        self.queue_mut().call(|| {
            // SAFETY: the executable graph is alive, and so is the stream.
            unsafe { sys::cuGraphUpload(exec, stream.handle()) }.result().map_err(failed)
        })?;
        Ok((given, graph))
    }

    /// Gives a captured graph to the stream, behind what it was given before.
    ///
    /// # Safety
    /// As [`capture`](Self::capture) says, until the work is complete; the graph was captured on this stream.
    ///
    /// # Errors
    /// As [`mark`](Self::mark).
    pub unsafe fn replay(&mut self, graph: &FrameGraph) -> Result<()> {
        let stream = self.stream();
        // SAFETY: the graph is alive; the rest is the caller's duty.
        unsafe {
            self.queue_mut().submit(stream, |_captured| {
                let launched = sys::cuGraphLaunch(graph.exec, stream.handle());
                launched.result().map_err(|error| (Step::Graph, error))
            })
        }
    }
}

impl Drop for FrameGraph {
    fn drop(&mut self) {
        let _bound = self.context.bind();
        // SAFETY: made by `capture`, destroyed once; one that still runs is freed by the driver when it is complete.
        let _ = unsafe { sys::cuGraphExecDestroy(self.exec) };
    }
}

impl std::fmt::Debug for FrameGraph {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FrameGraph").finish_non_exhaustive()
    }
}

/// A captured graph before it is made executable, destroyed when this is dropped; null where there is none.
struct Graph(CUgraph);

impl Drop for Graph {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: given by the driver, destroyed once.
            let _ = unsafe { sys::cuGraphDestroy(self.0) };
        }
    }
}
