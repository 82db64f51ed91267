//! Launches of `smooth.cu`: how many columns and rows a block takes.

use super::{Arguments, GpuLimits, Image, Launch, Output, SmoothArgs, grid};
use crate::Smoothing;
use crate::cuda::kernels::{KernelFile, KernelVariant};

/// More taps than these are read anew: a kernel that held 31 of them spilled its registers.
const MOST_TAPS_IN_REGISTERS: u8 = 15;
/// Threads of a block where every tap is read anew.
const THREADS: usize = 256;
/// Blocks that a multiprocessor should get: enough to hide the memory's latency and to even out the last wave.
const BLOCKS_PER_MULTIPROCESSOR: usize = 4;

/// The maps that the kernel reads and writes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Maps {
    pub score: u64,
    pub smoothed: u64,
    pub output: Output,
}

/// The kernel for these parameters: specialised where its registers hold the taps.
pub(super) fn variant(smoothing: Smoothing) -> KernelVariant {
    let pinned =
        [("SML_DILATION", i64::from(smoothing.dilation())), ("SML_TAPS", i64::from(smoothing.kernel_size()))];
    let defines = if in_registers(smoothing) { pinned.to_vec() } else { Vec::new() };
    KernelVariant { file: KernelFile::Smooth, defines }
}

/// Whether a block has a thread for every two columns of its region, as the specialised kernel demands.
fn in_registers(smoothing: Smoothing) -> bool {
    smoothing.kernel_size() <= MOST_TAPS_IN_REGISTERS && smoothing.reach() <= 256
}

pub(super) fn launch(
    slot: usize,
    smoothing: Smoothing,
    limits: GpuLimits,
    image: Image,
    maps: Maps,
) -> Launch {
    let reach = smoothing.reach();
    let (threads, columns) = if in_registers(smoothing) {
        columns_of_pairs(reach, image.size.width)
    } else {
        (THREADS, 2 * THREADS)
    };
    let dilation = usize::from(smoothing.dilation());
    let (height, width) = (image.size.height, image.size.width);
    let (across, phases) = (width.div_ceil(columns), dilation.min(height));
    let rows = rows_of_chunk(smoothing, limits, height.div_ceil(dilation), across * phases * image.batch);
    let tiles = across * phases * height.div_ceil(dilation).div_ceil(rows);
    let mut weights = [0.0; 32];
    weights.iter_mut().zip(smoothing.weights_f32()).for_each(|(to, weight)| *to = weight);
    let arguments = SmoothArgs {
        score: maps.score,
        smoothed: maps.smoothed,
        batch: image.batch as i32,
        height: height as i32,
        width: width as i32,
        output: maps.output as i32,
        taps: smoothing.kernel_size().into(),
        dilation: smoothing.dilation().into(),
        rows: rows as i32,
        columns: columns as i32,
        weights,
    };
    Launch {
        slot,
        entry: "smooth",
        grid: grid(tiles as i64, image.batch),
        block: [threads as u32, 1, 1],
        shared_bytes: (2 * (columns + 2 * reach) * size_of::<f32>()) as u32,
        arguments: Arguments::Smooth(arguments),
    }
}

/// Threads, and the columns that they write, where a thread takes two columns of the region: what wastes least of them
/// over the width.
fn columns_of_pairs(reach: usize, width: usize) -> (usize, usize) {
    let choices = (2..=16).map(|warps| 32 * warps).filter(|threads| 2 * threads >= 2 * reach + 64);
    let columns = |threads: usize| 2 * threads - 2 * reach;
    let best = choices.min_by_key(|&threads| width.div_ceil(columns(threads)) * threads);
    let threads = best.unwrap_or(512);
    (threads, columns(threads))
}

/// Rows of one phase for a block: few enough to fill the GPU, but at least twice as many as the halo has.
fn rows_of_chunk(smoothing: Smoothing, limits: GpuLimits, longest: usize, columns_of_blocks: usize) -> usize {
    let wanted = (limits.multiprocessors as usize * BLOCKS_PER_MULTIPROCESSOR).div_ceil(columns_of_blocks);
    let least = 2 * usize::from(smoothing.kernel_size());
    longest.div_ceil(wanted.max(1)).max(least).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Size;

    const LIMITS: GpuLimits = GpuLimits { multiprocessors: 132, shared_bytes: 64 << 10 };

    fn launch_of(smoothing: Smoothing, size: Size) -> Launch {
        let maps = Maps { score: 0, smoothed: 0, output: Output::AnomalyF32 };
        launch(0, smoothing, LIMITS, Image { batch: 1, size }, maps)
    }

    #[test]
    fn every_smoothing_has_a_launch_within_the_limits() {
        for kernel_size in (1..=31).step_by(2) {
            for dilation in 1..=64 {
                let smoothing = Smoothing::new(kernel_size, 1.0, dilation).unwrap();
                for width in [1, 37, 513, 2048, 100_000] {
                    let launch = launch_of(smoothing, Size::new(1024, width));
                    let Arguments::Smooth(args) = launch.arguments else { panic!("{launch:?}") };
                    assert!(launch.shared_bytes <= 47 << 10 && args.columns >= 64 && args.columns % 2 == 0);
                    assert!(launch.block[0] <= 512 && args.rows >= 1, "{launch:?}");
                    if !variant(smoothing).defines.is_empty() {
                        assert_eq!(
                            2 * launch.block[0] as usize,
                            args.columns as usize + 2 * smoothing.reach()
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn the_usual_frame_fills_the_gpu_and_reads_little_twice() {
        let launch = launch_of(Smoothing::default(), Size::new(1024, 2048));
        let Arguments::Smooth(args) = launch.arguments else { panic!("{launch:?}") };
        assert!(launch.grid[0] >= 2 * LIMITS.multiprocessors, "{launch:?}");
        assert!(args.rows >= 14, "{launch:?}");
    }
}
