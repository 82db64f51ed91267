//! NVIDIA GPUs: the engine's half for them, from the plan of a frame's launches to the driver's calls; the kernels, compiled
//! by NVRTC at run time or carried by the program; the driver and its GPUs.
//!
//! Nothing here is linked: driver and NVRTC are looked for when they are first needed, so that one program serves
//! machines with and without them, and their absence is an answer and not a crash.

mod cached_kernel;
pub mod compiled_kernels;
mod context;
mod cuda_engine;
mod device_frame;
mod device_memory;
mod device_slices;
mod device_workspace;
pub mod driver;
mod driver_error;
mod embedded_kernels;
#[cfg(feature = "frame-loop")]
mod frame_clock;
mod frame_graph;
#[cfg(feature = "frame-loop")]
mod frame_lanes;
mod frame_stream;
mod graph;
pub mod kernel_cache;
mod kernel_set;
pub mod kernels;
#[doc(hidden)]
pub mod launch_overhead;
mod module;
pub mod nvrtc;
mod nvrtc_binding;
mod nvrtc_files;
mod pinned_memory;
pub mod plan;
mod preprocessor;
mod queue;
mod stage_clock;
mod statistics_accumulator;
mod stream;
#[cfg(feature = "frame-loop")]
mod stream_lanes;
mod stream_order;
#[cfg(feature = "frame-loop")]
mod stream_work;

pub(crate) use cuda_engine::CudaEngine;
pub use cuda_engine::CudaOptions;
pub use device_slices::LogitElement;
pub use embedded_kernels::embedded_architectures;
pub use frame_graph::FrameGraph;
#[cfg(feature = "frame-loop")]
pub(crate) use frame_lanes::PinnedBlock;
pub use frame_stream::{DeviceResults, FrameStream, Mark};
pub use preprocessor::CudaPreprocessor;
pub use statistics_accumulator::CudaStatisticsAccumulator;
pub use stream::RawStream;
#[cfg(feature = "frame-loop")]
pub(crate) use stream_lanes::{EngineOnStream, StreamLanes};
#[cfg(feature = "frame-loop")]
pub use stream_work::{StreamFrame, StreamWork};
