//! The launches that usual frames need, for every architecture: what budgets are about.

use sml::cuda::kernels::{Architecture, KernelVariant};
use sml::cuda::plan::{
    AccumulatePlan, DeviceFrame, DeviceLogits, GpuLimits, Launch, Plan, PreprocessPlan, Workspace,
};
use sml::{
    Capacity, ChannelOrder, ComputeCapability, ElementType, Layout, LogitsShape, Params, PixelFormat,
    Preprocessing, Size,
};

/// What the multiprocessors of an architecture have (CUDA C++ Programming Guide, "Technical Specifications per Compute
/// Capability").
#[derive(Clone, Copy)]
pub struct Multiprocessor {
    /// As in `sm_90`.
    pub architecture: u32,
    /// Most threads at a time.
    pub threads: u32,
    /// Most blocks at a time.
    pub blocks: u32,
    /// Shared memory of all blocks together, in bytes.
    pub shared_bytes: u32,
    /// Shared memory that the system takes from every block, in bytes.
    pub reserved_bytes: u32,
}

/// 32-bit registers of every multiprocessor.
const REGISTERS: u32 = 65_536;

/// Those of the architectures that kernels are embedded for.
pub const MULTIPROCESSORS: [Multiprocessor; 7] = [
    multiprocessor(75, 1024, 16, 64, 0),
    multiprocessor(80, 2048, 32, 164, 1),
    multiprocessor(86, 1536, 16, 100, 1),
    multiprocessor(89, 1536, 24, 100, 1),
    multiprocessor(90, 2048, 32, 228, 1),
    multiprocessor(100, 2048, 32, 228, 1),
    multiprocessor(120, 1536, 24, 100, 1),
];

const fn multiprocessor(
    architecture: u32,
    threads: u32,
    blocks: u32,
    shared_kib: u32,
    reserved_kib: u32,
) -> Multiprocessor {
    let (shared_bytes, reserved_bytes) = (shared_kib << 10, reserved_kib << 10);
    Multiprocessor { architecture, threads, blocks, shared_bytes, reserved_bytes }
}

impl Multiprocessor {
    /// Its compute capability.
    pub fn gpu(&self) -> ComputeCapability {
        ComputeCapability { major: self.architecture / 10, minor: self.architecture % 10 }
    }

    /// Blocks that run at a time, given threads of a block, registers of a thread, and shared memory of a block. Registers
    /// are handed out by 256 a warp, shared memory by 128 bytes.
    pub fn blocks_at_a_time(&self, threads: u32, registers: u32, shared_bytes: u32) -> u32 {
        let warps = threads.div_ceil(32);
        let by_registers = REGISTERS / (registers * 32).next_multiple_of(256) / warps;
        let shared_bytes = (shared_bytes + self.reserved_bytes).next_multiple_of(128).max(128);
        let by_shared = self.shared_bytes / shared_bytes;
        self.blocks.min(self.threads / (warps * 32)).min(by_registers).min(by_shared)
    }
}

/// One launch on one architecture.
pub struct PlannedLaunch {
    /// What it is for: `full f16 nchw`, for instance.
    pub frame: String,
    /// The kernel.
    pub variant: KernelVariant,
    /// Where it runs.
    pub multiprocessor: Multiprocessor,
    /// How it is launched.
    pub launch: Launch,
}

/// Launches for pictures of 1024 x 2048 pixels and 19 classes with the default parameters: logits of full size, of 1/4 and of
/// 1/8, of each element type and layout; and those of calibration. Launches that differ in nothing but addresses come
/// once. And those of preprocessing.
pub fn planned_launches() -> Vec<PlannedLaunch> {
    let mut planned: Vec<PlannedLaunch> = Vec::new();
    let mut add = |new: PlannedLaunch| {
        let same = |old: &PlannedLaunch| {
            old.variant == new.variant
                && old.multiprocessor.architecture == new.multiprocessor.architecture
                && (old.launch.entry, old.launch.block, old.launch.shared_bytes)
                    == (new.launch.entry, new.launch.block, new.launch.shared_bytes)
        };
        if !planned.iter().any(same) {
            planned.push(new);
        }
    };
    for multiprocessor in MULTIPROCESSORS {
        let limits = GpuLimits {
            multiprocessors: 100,
            shared_bytes: multiprocessor.shared_bytes - multiprocessor.reserved_bytes,
        };
        for (name, fraction) in [("full", 1), ("1/4", 4), ("1/8", 8)] {
            let output = Size::new(1024, 2048);
            let logits = Size::new(output.height / fraction, output.width / fraction);
            let capacity = Capacity { batch: 1, classes: 19, logits, output };
            let plan = Plan::new(Params::default(), capacity, limits);
            for (layout_name, layout) in [("nchw", Layout::Nchw), ("nhwc", Layout::Nhwc)] {
                for element in [ElementType::F32, ElementType::F16, ElementType::BF16] {
                    for launch in frame_launches(&plan, capacity, element, layout) {
                        let frame = format!("{name} {element:?} {layout_name}").to_lowercase();
                        let variant = plan.variants()[launch.slot].clone();
                        add(PlannedLaunch { frame, variant, multiprocessor, launch });
                    }
                }
            }
        }
        let plan = AccumulatePlan::new(19, limits);
        for launch in plan.launches(0, 0, 1024 * 2048, false, (0, 0)) {
            let variant = plan.variants()[launch.slot].clone();
            add(PlannedLaunch { frame: "calibration".to_owned(), variant, multiprocessor, launch });
        }
        for (frame, picture, element, layout) in pictures() {
            let plan = PreprocessPlan::new(&imagenet(), picture, PixelFormat::Bgr8, element, layout);
            let Ok(plan) = plan else { continue };
            let launch = plan.launch(1 << 40, 3 * picture.width, 2 << 40, 3 << 40);
            let variant = plan.variants()[0].clone();
            add(PlannedLaunch { frame: frame.to_owned(), variant, multiprocessor, launch });
        }
    }
    planned
}

/// Pictures that become an input of 1024 x 2048, of their size and of another.
fn pictures() -> [(&'static str, Size, ElementType, Layout); 3] {
    let size = Size::new(1024, 2048);
    [
        ("picture f32 nchw", size, ElementType::F32, Layout::Nchw),
        ("picture f16 nhwc", size, ElementType::F16, Layout::Nhwc),
        ("picture of 1080x1920 f16 nchw", Size::new(1080, 1920), ElementType::F16, Layout::Nchw),
    ]
}

/// What networks trained on ImageNet want.
fn imagenet() -> Preprocessing {
    Preprocessing {
        input_size: Some(Size::new(1024, 2048)),
        multiple: 1,
        channel_order: ChannelOrder::Rgb,
        scale: 1.0 / 255.0,
        mean: [0.485, 0.456, 0.406],
        std: [0.229, 0.224, 0.225],
    }
}

/// Addresses are those of an allocator: on large boundaries, and nothing lies there.
fn frame_launches(plan: &Plan, capacity: Capacity, element: ElementType, layout: Layout) -> Vec<Launch> {
    let shape = LogitsShape { batch: capacity.batch, classes: capacity.classes, size: capacity.logits };
    let logits = DeviceLogits { pointer: 1 << 40, element, shape, strides: layout.strides(shape) };
    let frame = DeviceFrame {
        logits,
        size: capacity.output,
        score: 2 << 40,
        half_score: false,
        prediction: 3 << 40,
        non_finite: 4 << 40,
    };
    let workspace =
        Workspace { standardization: 5 << 40, counters: 6 << 40, standardized: 7 << 40, suppressed: 8 << 40 };
    plan.launches(&frame, &workspace).to_vec()
}

/// The architecture as compilers spell it.
pub fn architecture_name(multiprocessor: &Multiprocessor) -> String {
    Architecture::Real(multiprocessor.architecture).to_string()
}
