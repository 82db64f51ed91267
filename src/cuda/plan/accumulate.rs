//! Launches of `accumulate.cu`: moments of max logits, a block's share each, then merged a class a warp.

use super::{AccumulateArgs, Arguments, DeviceMoments, GpuLimits, Launch};
use crate::cuda::kernels::{KernelFile, KernelVariant};

/// Threads of a block of `accumulate`, and pixels of each in a chunk: as the kernel has them.
const THREADS: u32 = 256;
const PIXELS: i64 = 16;
/// Blocks that a multiprocessor gets.
const BLOCKS_PER_MULTIPROCESSOR: u32 = 4;

/// How max logits are accumulated on a GPU.
#[derive(Clone, Debug)]
pub struct AccumulatePlan {
    classes: usize,
    blocks: u32,
    variants: [KernelVariant; 1],
}

impl AccumulatePlan {
    /// A plan for `classes` classes. The number of blocks depends on the GPU alone, and with it the order of all sums.
    pub fn new(classes: usize, limits: GpuLimits) -> Self {
        let variant = KernelVariant { file: KernelFile::Accumulate, defines: Vec::new() };
        let blocks = (limits.multiprocessors * BLOCKS_PER_MULTIPROCESSOR).clamp(1, 1024);
        Self { classes, blocks, variants: [variant] }
    }

    /// The kernel to compile and load.
    pub fn variants(&self) -> &[KernelVariant] {
        &self.variants
    }

    /// Moments in the running sums: one a class, and one that counts pixels left out. To be zeroed at the start.
    pub fn moments(&self) -> usize {
        self.classes + 1
    }

    /// Moments in the scratch memory of the blocks.
    pub fn partials(&self) -> usize {
        self.blocks as usize * self.moments()
    }

    /// Adds `pixels` max logits at `max_logit`, of the classes at `prediction`, to the moments at `moments`. With `negated`
    /// the map holds anomaly scores of [`Score::MaxLogit`](crate::Score::MaxLogit): the negated max logits.
    pub fn launches(
        &self,
        max_logit: u64,
        prediction: u64,
        pixels: usize,
        negated: bool,
        (partials, moments): (u64, u64),
    ) -> [Launch; 2] {
        let chunks = (pixels as i64).div_euclid(i64::from(THREADS) * PIXELS) + 1;
        let blocks = chunks.min(i64::from(self.blocks)) as u32;
        let arguments = Arguments::Accumulate(AccumulateArgs {
            max_logit,
            prediction,
            partials,
            moments,
            pixels: pixels as i64,
            classes: self.classes as i32,
            blocks: blocks as i32,
            sign: if negated { -1.0 } else { 1.0 },
            padding: 0,
        });
        let launch = |entry, blocks, threads| Launch {
            slot: 0,
            entry,
            grid: [blocks, 1, 1],
            block: [threads, 1, 1],
            shared_bytes: 0,
            arguments,
        };
        [launch("accumulate", blocks, THREADS), launch("merge_moments", self.moments() as u32, 32)]
    }

    /// Bytes of the running sums and of the scratch memory.
    pub fn bytes(&self) -> (usize, usize) {
        (self.moments() * size_of::<DeviceMoments>(), self.partials() * size_of::<DeviceMoments>())
    }
}
