//! Which kernels an engine needs and how each frame launches them: pure arithmetic, without a driver.
//!
//! A [`Plan`] is made once from parameters, capacity and the GPU's limits. It says what to compile ([`Plan::variants`]) and
//! how much memory to allocate ([`Plan::workspace`]); then it turns every frame into at most three [`Launch`]es. The
//! engine hands these to the driver; the tests hand the same ones to kernels that run on the host.

mod accumulate;
mod arguments;
mod preprocess;
mod smooth;
mod standardize;
mod suppress;

use std::ops::Deref;

pub use accumulate::AccumulatePlan;
pub use arguments::{
    AccumulateArgs, Arguments, DeviceMoments, PreprocessArgs, SmoothArgs, StandardizeArgs, SuppressArgs,
};
pub use preprocess::PreprocessPlan;

use crate::cuda::kernels::KernelVariant;
use crate::{Capacity, ElementType, LogitsShape, Params, Size};
use standardize::StandardizePlan;

/// Most blocks in the first dimension of a grid.
const MOST_BLOCKS: i64 = i32::MAX as i64;
/// Most blocks in the second dimension of a grid; kernels step over the images beyond.
const MOST_BATCH_BLOCKS: usize = 65_535;

/// What a stage's kernel writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Output {
    /// The score for the next stage, float32, high for normal pixels.
    Score = 0,
    /// The anomaly score, float32: the negated score.
    AnomalyF32 = 1,
    /// The anomaly score rounded to float16.
    AnomalyF16 = 2,
}

/// What a GPU offers to one block and in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GpuLimits {
    /// Multiprocessors.
    pub multiprocessors: u32,
    /// Most shared memory that a block may ask for, in bytes: 64 KiB on compute capability 7.5, more on all later ones.
    pub shared_bytes: u32,
}

/// One launch of a kernel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Launch {
    /// Which of [`Plan::variants`].
    pub slot: usize,
    /// Name of the kernel in it.
    pub entry: &'static str,
    /// Blocks.
    pub grid: [u32; 3],
    /// Threads of a block.
    pub block: [u32; 3],
    /// Dynamic shared memory of a block.
    pub shared_bytes: u32,
    /// The kernel's one parameter.
    pub arguments: Arguments,
}

/// The launches of one frame, in the order of the stream.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Launches {
    list: [Launch; 3],
    length: usize,
}

impl Launches {
    fn new(first: Launch) -> Self {
        Self { list: [first; 3], length: 1 }
    }

    fn push(&mut self, launch: Launch) {
        self.list[self.length] = launch;
        self.length += 1;
    }
}

impl Deref for Launches {
    type Target = [Launch];

    fn deref(&self) -> &[Launch] {
        &self.list[..self.length]
    }
}

/// Logits in device memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceLogits {
    /// Address of the first logit.
    pub pointer: u64,
    /// Element type.
    pub element: ElementType,
    /// Shape.
    pub shape: LogitsShape,
    /// Strides in elements, in the order N, C, H, W.
    pub strides: [usize; 4],
}

/// One batch in device memory: where its logits lie and where its result goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceFrame {
    /// The logits.
    pub logits: DeviceLogits,
    /// Rows and columns of the result.
    pub size: Size,
    /// Address of N x H x W anomaly scores.
    pub score: u64,
    /// True for float16 scores, false for float32.
    pub half_score: bool,
    /// Address of N x H x W predictions, uint8.
    pub prediction: u64,
    /// Address of N counts, uint64.
    pub non_finite: u64,
}

/// Memory that an engine keeps on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Workspace<T> {
    /// Mean and standard deviation of each class, two float32 each. Filled when the engine is built.
    pub standardization: T,
    /// Counts and tickets of `standardize`: zeroed when the engine is built.
    pub counters: T,
    /// Standardized scores.
    pub standardized: T,
    /// Suppressed scores.
    pub suppressed: T,
}

/// How an engine works on a GPU.
#[derive(Clone, Debug)]
pub struct Plan {
    params: Params,
    capacity: Capacity,
    limits: GpuLimits,
    standardize: StandardizePlan,
    suppress: Option<(usize, suppress::Tile)>,
    smooth: Option<usize>,
    variants: Vec<KernelVariant>,
}

impl Plan {
    /// A plan for batches of up to `capacity`. Frames of its very size find kernels that are specialised for them; others
    /// take the generic ones.
    pub fn new(params: Params, capacity: Capacity, limits: GpuLimits) -> Self {
        let mut variants = Vec::new();
        let standardize = StandardizePlan::new(&params, capacity, &mut variants);
        let mut slot = |variant| {
            variants.push(variant);
            variants.len() - 1
        };
        let suppress = params.suppression.map(|suppression| {
            let tile = suppress::Tile::choose(suppression, limits);
            (slot(suppress::variant(suppression, tile)), tile)
        });
        let smooth = params.smoothing.map(|smoothing| slot(smooth::variant(smoothing)));
        Self { params, capacity, limits, standardize, suppress, smooth, variants }
    }

    /// The kernels to compile and load.
    pub fn variants(&self) -> &[KernelVariant] {
        &self.variants
    }

    /// Most dynamic shared memory that a launch of this variant asks for: above 48 KiB a kernel must be told beforehand.
    pub fn shared_bytes(&self, slot: usize) -> u32 {
        match self.suppress {
            Some((own, tile)) if own == slot => tile.shared_bytes,
            _ => 48 << 10,
        }
    }

    /// Bytes of device memory to allocate; 0 for what is not needed.
    pub fn workspace(&self) -> Workspace<usize> {
        let Capacity { batch, classes, output, .. } = self.capacity;
        let map = batch * output.pixels() * size_of::<f32>();
        let (suppress, smooth) = (self.suppress.is_some(), self.smooth.is_some());
        Workspace {
            standardization: if self.params.score.needs_statistics() { classes * 8 } else { 0 },
            counters: batch * (size_of::<u64>() + size_of::<u32>()),
            standardized: if suppress || smooth { map } else { 0 },
            suppressed: if suppress && smooth { map } else { 0 },
        }
    }

    /// What to launch for a frame, which has been checked against the capacity. Allocates nothing.
    pub fn launches(&self, frame: &DeviceFrame, workspace: &Workspace<u64>) -> Launches {
        let last = if frame.half_score { Output::AnomalyF16 } else { Output::AnomalyF32 };
        let ends_here = self.suppress.is_none() && self.smooth.is_none();
        let (score, output) =
            if ends_here { (frame.score, last) } else { (workspace.standardized, Output::Score) };
        let target = standardize::Target { score, output, tickets: self.tickets(workspace) };
        let mut launches = Launches::new(self.standardize.launch(&self.params, frame, workspace, target));
        let image = Image { batch: frame.logits.shape.batch, size: frame.size };
        let mut score = workspace.standardized;
        if let (Some((slot, tile)), Some(suppression)) = (self.suppress, self.params.suppression) {
            let ends_here = self.smooth.is_none();
            let (suppressed, output) =
                if ends_here { (frame.score, last) } else { (workspace.suppressed, Output::Score) };
            let maps = suppress::Maps { score, prediction: frame.prediction, suppressed, output };
            launches.push(tile.launch(slot, suppression, self.params.border_labels, image, maps));
            score = workspace.suppressed;
        }
        if let (Some(slot), Some(smoothing)) = (self.smooth, self.params.smoothing) {
            let maps = smooth::Maps { score, smoothed: frame.score, output: last };
            launches.push(smooth::launch(slot, smoothing, self.limits, image, maps));
        }
        launches
    }

    /// Tickets lie behind the counts, one a possible image each.
    fn tickets(&self, workspace: &Workspace<u64>) -> u64 {
        workspace.counters + (self.capacity.batch * size_of::<u64>()) as u64
    }
}

/// A batch of maps.
#[derive(Clone, Copy, Debug)]
struct Image {
    batch: usize,
    size: Size,
}

/// Blocks for `tiles` pieces of each image of a batch.
fn grid(tiles: i64, batch: usize) -> [u32; 3] {
    [tiles.clamp(1, MOST_BLOCKS) as u32, batch.clamp(1, MOST_BATCH_BLOCKS) as u32, 1]
}
