//! What the tests work with: an engine, its frames, and streams of a caller.

use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaStream};
use sml::cuda::CudaOptions;
use sml::cuda::plan::{DeviceFrame, DeviceLogits, GpuLimits, Plan, Workspace};
use sml::{Capacity, ClassStatistics, ElementType, Engine, Layout, LogitsShape, Params, Result, Size};

use crate::log::Run;

pub const CLASSES: usize = 3;
pub const SIZE: Size = Size { height: 32, width: 64 };
/// What the stand-in says of its GPUs.
pub const LIMITS: GpuLimits = GpuLimits { multiprocessors: 132, shared_bytes: 227 << 10 };

pub fn shape() -> LogitsShape {
    LogitsShape::new(2, CLASSES, 32, 64).unwrap()
}

pub fn capacity() -> Capacity {
    Capacity::of(shape(), SIZE)
}

pub fn build(ordinal: usize, options: CudaOptions) -> Result<Engine> {
    let statistics =
        ClassStatistics::from_json(r#"{"mean": [1.0, 2.0, 3.0], "variance": [1.0, 4.0, 0.25]}"#).unwrap();
    Engine::on_cuda(ordinal, options, Params::default(), Some(&statistics), capacity())
}

pub fn plain() -> Engine {
    build(0, CudaOptions::default()).unwrap()
}

pub fn graph() -> CudaOptions {
    CudaOptions { graph: true }
}

/// The `n`th frame: addresses differ from frame to frame, and point nowhere. The stand-in runs nothing.
pub fn frame(n: u64) -> DeviceFrame {
    let shape = shape();
    let address = |what: u64| (1 << 40) + (4 * n + what) * (1 << 24);
    DeviceFrame {
        logits: DeviceLogits {
            pointer: address(0),
            element: ElementType::F32,
            shape,
            strides: Layout::Nchw.strides(shape),
        },
        size: SIZE,
        score: address(1),
        half_score: false,
        prediction: address(2),
        non_finite: address(3),
    }
}

/// The engine's plan and the addresses of its workspace, the latter out of the launches of one of its frames.
pub fn plan_and_workspace(runs: &[Run]) -> (Plan, Workspace<u64>) {
    let [standardize, suppress, smooth] = runs else { panic!("{} launches", runs.len()) };
    let workspace = Workspace {
        standardization: standardize.pointer(1),
        standardized: standardize.pointer(2),
        counters: standardize.pointer(5),
        suppressed: suppress.pointer(2),
    };
    assert_eq!((suppress.pointer(0), smooth.pointer(0)), (workspace.standardized, workspace.suppressed));
    (Plan::new(Params::default(), capacity(), LIMITS), workspace)
}

/// A caller's own streams.
pub fn caller_streams<const N: usize>(ordinal: usize) -> [Arc<CudaStream>; N] {
    let context = CudaContext::new(ordinal).unwrap();
    std::array::from_fn(|_| context.new_stream().unwrap())
}
