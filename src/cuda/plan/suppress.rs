//! Launches of `suppress.cu`: the tile that shared memory has room for.

use super::{Arguments, GpuLimits, Image, Launch, Output, SuppressArgs, grid};
use crate::cuda::kernels::{KernelFile, KernelVariant};
use crate::{BorderLabels, Suppression};

/// Threads of a block.
const THREADS: u32 = 256;
/// Shared memory that every GPU gives a block unasked, less what the driver keeps of it.
const USUAL_SHARED_BYTES: u32 = 47 << 10;
/// Most that wide boundaries with many iterations may take.
const MOST_SHARED_BYTES: u32 = 99 << 10;

/// A tile with its halo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tile {
    rows: u32,
    words: u32,
    halo: u32,
    share_memory: bool,
    /// Dynamic shared memory of a block.
    pub shared_bytes: u32,
}

/// The maps that the kernel reads and writes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Maps {
    pub score: u64,
    pub prediction: u64,
    pub suppressed: u64,
    pub output: Output,
}

impl Tile {
    /// The tallest tile of which three find room on a multiprocessor, predictions and scores side by side. Where halos are
    /// wide: one that fits at all with at least 16 rows, else one whose predictions and scores take turns.
    pub(super) fn choose(suppression: Suppression, limits: GpuLimits) -> Self {
        // What a block may ask for is all that a multiprocessor has, about.
        let third = (limits.shared_bytes / 3).saturating_sub(2 << 10).min(USUAL_SHARED_BYTES);
        let most = limits.shared_bytes.min(MOST_SHARED_BYTES);
        let several = [48, 32, 24, 16].map(|rows| (rows, false, third));
        let usual = [48, 32, 24, 16].map(|rows| (rows, false, USUAL_SHARED_BYTES));
        let scarce = [32, 16, 8, 4, 2, 1].map(|rows| (rows, true, most));
        let fits = |&(rows, share_memory, limit): &(u32, bool, u32)| {
            Self::new(suppression, rows, share_memory).shared_bytes <= limit
        };
        let mut choices = several.into_iter().chain(usual).chain(scarce);
        let (rows, share_memory, _) = choices.find(fits).unwrap_or((1, true, most));
        Self::new(suppression, rows, share_memory)
    }

    fn new(suppression: Suppression, rows: u32, share_memory: bool) -> Self {
        let (iterations, reach) = (u32::from(suppression.iterations()), u32::from(suppression.reach()));
        // The outermost column of the region has no neighbour to tell whether it is boundary.
        let halo = (iterations + reach + 1).next_multiple_of(4);
        let words = if halo <= 32 { 4 } else { 6 };
        let columns = 32 * words;
        let score_rows = rows + 2 * iterations;
        let boundary_rows = score_rows + 2 * reach;
        let scores = 4 * score_rows * columns;
        let predictions = (boundary_rows + 2) * columns;
        // The boundary, and two masks and one of broken scores.
        let bits = 4 * words * (boundary_rows + 3 * score_rows);
        let maps = if share_memory { scores.max(predictions) } else { scores + predictions };
        Self { rows, words, halo, share_memory, shared_bytes: maps + bits }
    }

    pub(super) fn launch(
        self,
        slot: usize,
        suppression: Suppression,
        border_labels: BorderLabels,
        image: Image,
        maps: Maps,
    ) -> Launch {
        let interior = (32 * self.words - 2 * self.halo) as usize;
        let tiles = image.size.height.div_ceil(self.rows as usize) * image.size.width.div_ceil(interior);
        let arguments = SuppressArgs {
            score: maps.score,
            prediction: maps.prediction,
            suppressed: maps.suppressed,
            batch: image.batch as i32,
            height: image.size.height as i32,
            width: image.size.width as i32,
            output: maps.output as i32,
            boundary_width: suppression.width().into(),
            iterations: suppression.iterations().into(),
            border_one: i32::from(border_labels == BorderLabels::One),
            tile_rows: self.rows as i32,
            region_words: self.words as i32,
            halo: self.halo as i32,
            share_memory: i32::from(self.share_memory),
            padding: 0,
        };
        Launch {
            slot,
            entry: "suppress",
            grid: grid(tiles as i64, image.batch),
            block: [THREADS, 1, 1],
            shared_bytes: self.shared_bytes,
            arguments: Arguments::Suppress(arguments),
        }
    }
}

/// The kernel for these parameters.
pub(super) fn variant(suppression: Suppression, tile: Tile) -> KernelVariant {
    let defines = vec![
        ("SML_ITERATIONS", i64::from(suppression.iterations())),
        ("SML_WIDTH", i64::from(suppression.width())),
        ("SML_WORDS", i64::from(tile.words)),
    ];
    KernelVariant { file: KernelFile::Suppress, defines }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What compute capability 7.5 has.
    const LEAST: GpuLimits = GpuLimits { multiprocessors: 40, shared_bytes: 64 << 10 };

    #[test]
    fn every_suppression_has_a_tile_that_fits_every_gpu() {
        for iterations in 1..=32_u8 {
            for width in (0..=32_u8).filter(|width| width % iterations == 0) {
                let tile = Tile::choose(Suppression::new(width, iterations).unwrap(), LEAST);
                let what = format!("width {width}, {iterations} iterations: {tile:?}");
                assert!(tile.shared_bytes <= LEAST.shared_bytes, "{what}");
                assert!(32 * tile.words >= 2 * tile.halo + 64, "{what}");
            }
        }
    }

    #[test]
    fn the_usual_tile_is_high_and_leaves_room_for_others() {
        let rows = |shared_bytes| {
            let tile = Tile::choose(Suppression::default(), GpuLimits { multiprocessors: 100, shared_bytes });
            assert_eq!((tile.words, tile.halo, tile.share_memory), (4, 8, false));
            assert!(3 * (tile.shared_bytes + 1024) <= shared_bytes, "{tile:?}");
            tile.rows
        };
        // Compute capability 7.5, 8.6 and 8.9, 8.0, 9.0.
        assert_eq!([64, 99, 163, 227].map(|kib| rows(kib << 10)), [16, 32, 48, 48]);
    }
}
