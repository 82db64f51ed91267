//! Launches of `standardize.cu`: which of its entry points a frame can use, and the tile of upsampling.

use super::{Arguments, DeviceFrame, DeviceLogits, Launch, Output, StandardizeArgs, Workspace, grid};
use crate::cuda::kernels::{KernelFile, KernelVariant};
use crate::{Capacity, ElementType, Layout, NonFinite, Params, Score, Size, Temperature};

/// Threads of a block.
const THREADS: usize = 256;
/// Dynamic shared memory that fits, beside the kernel's sampling positions, into the 48 KiB that every GPU gives unasked.
const MOST_SHARED_BYTES: usize = 43 << 10;
/// Tiles of the result, rows by columns, best first: large ones for logits of 1/6 or less, where they hold few of them.
const TILES: [[usize; 2]; 6] = [[32, 128], [16, 64], [8, 64], [8, 32], [4, 32], [1, 32]];

const ELEMENTS: [ElementType; 3] = [ElementType::F32, ElementType::F16, ElementType::BF16];

/// The entry points, in the order of `SML_ENTRY`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    Any,
    Rows,
    Pixels,
    Upsample,
}

impl Entry {
    fn name(self) -> &'static str {
        match self {
            Self::Any => "standardize",
            Self::Rows => "standardize_rows",
            Self::Pixels => "standardize_pixels",
            Self::Upsample => "standardize_upsample",
        }
    }
}

/// The kernels that were specialised, and where the generic ones are.
#[derive(Clone, Debug)]
pub(super) struct StandardizePlan {
    specialised: Vec<(ElementType, Entry, usize)>,
    /// One an element type, in the order of [`ELEMENTS`].
    generic: [usize; 3],
    /// What `SML_CLASSES` and `SML_PRUNE` pin in the specialised ones.
    classes: usize,
    prune: bool,
}

/// Where the score goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub score: u64,
    pub output: Output,
    pub tickets: u64,
}

impl StandardizePlan {
    /// Adds the variants to `variants`: for every element type the entry points that frames of the capacity's size take.
    pub(super) fn new(params: &Params, capacity: Capacity, variants: &mut Vec<KernelVariant>) -> Self {
        let prune = prunes(params.score, capacity.logits, capacity.output);
        let mut slot = |variant| {
            variants.push(variant);
            variants.len() - 1
        };
        let mut specialised = Vec::new();
        for element in ELEMENTS {
            for entry in expected_entries(capacity, element) {
                let defines = vec![
                    ("SML_CLASSES", capacity.classes as i64),
                    ("SML_ELEMENT", code_of_element(element)),
                    ("SML_ENTRY", entry as i64),
                    ("SML_PRUNE", i64::from(prune)),
                    ("SML_SCORE", i64::from(code_of_score(params.score).0)),
                ];
                let variant = KernelVariant { file: KernelFile::Standardize, defines };
                specialised.push((element, entry, slot(variant)));
            }
        }
        let generic = ELEMENTS.map(|element| {
            let defines = vec![("SML_ELEMENT", code_of_element(element))];
            slot(KernelVariant { file: KernelFile::Standardize, defines })
        });
        Self { specialised, generic, classes: capacity.classes, prune }
    }

    pub(super) fn launch(
        &self,
        params: &Params,
        frame: &DeviceFrame,
        workspace: &Workspace<u64>,
        target: Target,
    ) -> Launch {
        let mut args = arguments(params, frame, workspace, target);
        let (entry, threads, blocks, shared_bytes) = choose(frame, target.score, &mut args);
        Launch {
            slot: self.slot(frame, entry, args.prune == 1),
            entry: entry.name(),
            grid: grid(blocks, frame.logits.shape.batch),
            block: [threads as u32, 1, 1],
            shared_bytes: shared_bytes as u32,
            arguments: Arguments::Standardize(args),
        }
    }

    fn slot(&self, frame: &DeviceFrame, entry: Entry, prune: bool) -> usize {
        let element = frame.logits.element;
        let fits =
            frame.logits.shape.classes == self.classes && (entry != Entry::Upsample || prune == self.prune);
        let found = self.specialised.iter().find(|(e, own, _)| fits && *e == element && *own == entry);
        found.map_or(self.generic[code_of_element(element) as usize], |&(_, _, slot)| slot)
    }
}

/// The element type's number in [`ELEMENT`].
pub(super) fn code_of_element(element: ElementType) -> i64 {
    match element {
        ElementType::F32 => 0,
        ElementType::F16 => 1,
        ElementType::BF16 => 2,
    }
}

fn bytes_of(element: ElementType) -> usize {
    if element == ElementType::F32 { 4 } else { 2 }
}

/// Number of the score in the kernel, and its temperature.
fn code_of_score(score: Score) -> (i32, f32) {
    match score {
        Score::Msp => (0, 1.0),
        Score::MaxLogit => (1, 1.0),
        Score::Sml => (2, 1.0),
        Score::Entropy => (3, 1.0),
        Score::Energy(temperature) => (4, Temperature::get(temperature)),
    }
}

/// Ruling out classes pays where a cell between four logits holds at least two pixels, for scores of the winner alone.
fn prunes(score: Score, logits: Size, output: Size) -> bool {
    matches!(score, Score::MaxLogit | Score::Sml) && output.pixels() >= logits.pixels().saturating_mul(2)
}

/// The entry points that packed frames of the capacity's size take.
fn expected_entries(capacity: Capacity, element: ElementType) -> Vec<Entry> {
    let lanes = 16 / bytes_of(element);
    if capacity.logits != capacity.output {
        let tiled = Tile::choose(capacity.classes, capacity.logits, capacity.output, true).is_some();
        vec![if tiled { Entry::Upsample } else { Entry::Any }]
    } else if capacity.classes == 1 || capacity.output.pixels() > i32::MAX as usize {
        vec![Entry::Any, Entry::Rows]
    } else if capacity.output.pixels().is_multiple_of(lanes) {
        vec![Entry::Rows, Entry::Pixels]
    } else {
        vec![Entry::Any, Entry::Pixels]
    }
}

fn arguments(
    params: &Params,
    frame: &DeviceFrame,
    workspace: &Workspace<u64>,
    target: Target,
) -> StandardizeArgs {
    let DeviceLogits { pointer, shape, strides, .. } = frame.logits;
    let (score_kind, temperature) = code_of_score(params.score);
    let replacement = match params.non_finite {
        NonFinite::Propagate => None,
        NonFinite::Replace(value) => Some(value.get()),
    };
    StandardizeArgs {
        logits: pointer,
        standardization: workspace.standardization,
        score: target.score,
        prediction: frame.prediction,
        non_finite: frame.non_finite,
        counts: workspace.counters,
        tickets: target.tickets,
        strides: strides.map(|stride| stride as i64),
        batch: shape.batch as i32,
        classes: shape.classes as i32,
        height: shape.size.height as i32,
        width: shape.size.width as i32,
        out_height: frame.size.height as i32,
        out_width: frame.size.width as i32,
        output: target.output as i32,
        score_kind,
        align_corners: i32::from(params.align_corners),
        replace: i32::from(replacement.is_some()),
        replacement: replacement.unwrap_or_default(),
        temperature,
        tile_rows: 0,
        tile_columns: 0,
        source_rows: 0,
        source_columns: 0,
        prune: i32::from(prunes(params.score, shape.size, frame.size)),
        padding: 0,
    }
}

/// Entry point, threads of a block, blocks of an image and dynamic shared memory for a frame; completes the arguments.
fn choose(frame: &DeviceFrame, score: u64, args: &mut StandardizeArgs) -> (Entry, usize, i64, usize) {
    let shape = frame.logits.shape;
    if frame.size != shape.size {
        if let Some(tile) = Tile::choose(shape.classes, shape.size, frame.size, args.align_corners == 1) {
            args.tile_rows = tile.rows as i32;
            args.tile_columns = tile.columns as i32;
            args.source_rows = tile.source_rows as i32;
            args.source_columns = tile.source_columns as i32;
            let tiles = frame.size.height.div_ceil(tile.rows) * frame.size.width.div_ceil(tile.columns);
            return (Entry::Upsample, THREADS, tiles as i64, tile.shared_bytes);
        }
    } else if let Some(rows) = rows(frame, score) {
        (args.height, args.width) = (rows.height as i32, rows.width as i32);
        let vectors = rows.width * bytes_of(frame.logits.element) / 16;
        return (Entry::Rows, THREADS, (rows.height * vectors.div_ceil(THREADS)) as i64, 0);
    } else if are_packed_pixels(frame) {
        let (threads, shared_bytes) = staging(shape.classes, frame.logits.element);
        return (Entry::Pixels, threads, frame.size.pixels().div_ceil(threads) as i64, shared_bytes);
    }
    let blocks = frame.size.height * frame.size.width.div_ceil(THREADS);
    (Entry::Any, THREADS, blocks as i64, 0)
}

/// Size for `standardize_rows`, where every load and store of 16 bytes is aligned: rows without gaps count as one.
fn rows(frame: &DeviceFrame, score: u64) -> Option<Size> {
    let DeviceLogits { pointer, element, shape, strides: [n, c, y, x] } = frame.logits;
    let lanes = 16 / bytes_of(element);
    let Size { height, width } = shape.size;
    let gapless = height == 1 || y == width;
    let size = if gapless && shape.size.pixels() <= i32::MAX as usize {
        Size::new(1, shape.size.pixels())
    } else {
        shape.size
    };
    // Along a dimension of length 1 no step is taken, and its stride may be anything.
    let steps = [(shape.batch, n), (shape.classes, c), (size.height, y)];
    let aligned = steps.iter().all(|&(length, stride)| length == 1 || stride.is_multiple_of(lanes))
        && size.width.is_multiple_of(lanes)
        && (pointer | score).is_multiple_of(16)
        && frame.prediction.is_multiple_of(4);
    ((x == 1 || width == 1) && aligned).then_some(size)
}

/// Whether the logits of an image are pixels one after the other, each with its classes side by side.
fn are_packed_pixels(frame: &DeviceFrame) -> bool {
    let shape = frame.logits.shape;
    let packed = Layout::Nhwc.strides(shape);
    let lengths = [shape.batch, shape.classes, shape.size.height, shape.size.width];
    // Images may lie apart.
    let as_packed = |axis: usize| lengths[axis] == 1 || frame.logits.strides[axis] == packed[axis];
    shape.classes > 1 && (1..4).all(as_packed) && shape.size.pixels() <= i32::MAX as usize
}

/// Threads (one a pixel) and shared memory of `standardize_pixels`.
fn staging(classes: usize, element: ElementType) -> (usize, usize) {
    let bytes = classes * bytes_of(element);
    // The kernel's rule against bank conflicts: a pixel of an even number of words gets one more.
    let pitch = if bytes.is_multiple_of(8) { bytes + 4 } else { bytes };
    let threads =
        [256, 128, 64].into_iter().find(|threads| threads * pitch <= MOST_SHARED_BYTES).unwrap_or(32);
    (threads, (threads * pitch).next_multiple_of(16))
}

/// A tile of `standardize_upsample`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tile {
    rows: usize,
    columns: usize,
    source_rows: usize,
    source_columns: usize,
    shared_bytes: usize,
}

impl Tile {
    /// The largest tile whose logits fit into shared memory; `None` where many logits fall onto a pixel: gathering the four
    /// that count is better then.
    fn choose(classes: usize, logits: Size, output: Size, align_corners: bool) -> Option<Self> {
        if logits.pixels() > output.pixels().saturating_mul(2) {
            return None;
        }
        let sparse = output.pixels() >= logits.pixels().saturating_mul(36);
        let tiles = if sparse { &TILES[..] } else { &TILES[1..] };
        let fitting = tiles.iter().map(|&[rows, columns]| {
            let source_rows = touched(rows.min(output.height), logits.height, output.height, align_corners);
            let source_columns =
                touched(columns.min(output.width), logits.width, output.width, align_corners);
            let positions = source_rows * source_columns;
            // A logit of each class, best class, lead and magnitude, and the candidates of the cell.
            let shared_bytes = positions * 4 * (classes + 3 + classes.div_ceil(32));
            Self { rows, columns, source_rows, source_columns, shared_bytes }
        });
        { fitting }.find(|tile| tile.shared_bytes <= MOST_SHARED_BYTES)
    }
}

/// Most input samples that `count` neighbouring outputs touch, of `input` that become `output`: the first ones of the
/// outputs span floor(step) + 1 at most, and each has a second one behind it.
fn touched(count: usize, input: usize, output: usize, align_corners: bool) -> usize {
    let (steps, of) = if align_corners { (input - 1, (output - 1).max(1)) } else { (input, output) };
    let span = (count - 1) as u128 * steps as u128 / of as u128;
    (span as usize).saturating_add(3).min(input)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::sampling::sample;

    #[test]
    fn a_tile_touches_no_more_samples_than_counted() {
        for (input, output) in
            [(1, 1), (1, 9), (5, 40), (7, 56), (9, 10), (16, 64), (17, 64), (33, 31), (64, 33)]
        {
            for align_corners in [false, true] {
                for count in 1..=output {
                    let most = (0..=output - count).map(|first| {
                        let at = |position| sample(position, output, input, align_corners);
                        (at(first + count - 1).second - at(first).first + 1) as usize
                    });
                    let most = most.max().unwrap();
                    let bound = touched(count, input, output, align_corners);
                    assert!(most <= bound, "{input} -> {output}, {count} of them: {most} > {bound}");
                }
            }
        }
    }

    #[test]
    fn every_class_count_has_a_staging_that_fits() {
        for classes in 2..=255 {
            for element in ELEMENTS {
                let (threads, bytes) = staging(classes, element);
                assert!(threads >= 32 && bytes <= MOST_SHARED_BYTES, "{classes} {element:?}: {bytes}");
            }
        }
    }

    #[test]
    fn a_tile_of_the_usual_networks_is_large() {
        let full = Size::new(1024, 2048);
        let tile = |classes, fraction: usize| {
            Tile::choose(classes, Size::new(1024 / fraction, 2048 / fraction), full, true).unwrap()
        };
        assert_eq!((tile(19, 4).rows, tile(19, 4).columns), (16, 64));
        assert_eq!((tile(19, 8).rows, tile(19, 8).columns), (32, 128));
        assert!(tile(255, 4).rows >= 4);
        assert_eq!(Tile::choose(19, Size::new(64, 64), Size::new(16, 16), false), None);
    }
}
