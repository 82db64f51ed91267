//! What the kernels are given: one struct a kernel, passed by value, the twin of the struct of the same name in
//! kernels/common.cuh.
//!
//! Every struct begins with its device pointers, so that whoever records or replays a launch can find them, and has no
//! padding. Kernels are compiled with the size that Rust sees (`SML_ARGUMENT_BYTES`) and refuse another one.

use bytemuck::{Pod, Zeroable};

/// Arguments of `standardize.cu`: every entry point of it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
pub struct StandardizeArgs {
    /// First logit of the first image.
    pub logits: u64,
    /// Mean and standard deviation of each class, two float32 a class; 0 where the score needs none.
    pub standardization: u64,
    /// Scores, N x H x W, packed: float32, or float16 for [`Output::AnomalyF16`](super::Output).
    pub score: u64,
    /// Predictions, N x H x W, packed: uint8.
    pub prediction: u64,
    /// Pixels of each image with a logit that is not finite: N of uint64, written.
    pub non_finite: u64,
    /// Running counts, N of uint64: zero before and after every launch.
    pub counts: u64,
    /// Blocks that have finished, N of uint32: zero before and after every launch.
    pub tickets: u64,
    /// Strides of the logits in elements, in the order N, C, y, x.
    pub strides: [i64; 4],
    /// Images.
    pub batch: i32,
    /// Classes.
    pub classes: i32,
    /// Rows of the logits.
    pub height: i32,
    /// Columns of the logits.
    pub width: i32,
    /// Rows of the result.
    pub out_height: i32,
    /// Columns of the result.
    pub out_width: i32,
    /// See [`Output`](super::Output).
    pub output: i32,
    /// Score: 0 msp, 1 max_logit, 2 sml, 3 entropy, 4 energy.
    pub score_kind: i32,
    /// 1 where corner pixels are mapped onto corner pixels.
    pub align_corners: i32,
    /// 1 where pixels with a logit that is not finite are replaced.
    pub replace: i32,
    /// Their anomaly score then.
    pub replacement: f32,
    /// Temperature of the energy score; 1 for the others.
    pub temperature: f32,
    /// Rows of the result in a tile (`standardize_upsample`).
    pub tile_rows: i32,
    /// Columns of the result in a tile (`standardize_upsample`).
    pub tile_columns: i32,
    /// Rows of logits that a tile of the result may touch (`standardize_upsample`).
    pub source_rows: i32,
    /// Columns of logits that a tile of the result may touch (`standardize_upsample`).
    pub source_columns: i32,
    /// 1 where classes that cannot win are ruled out for whole cells (`standardize_upsample`).
    pub prune: i32,
    /// Unused: keeps the size a multiple of 8.
    pub padding: i32,
}

/// Arguments of `suppress.cu`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
pub struct SuppressArgs {
    /// Standardized scores, N x H x W, packed float32.
    pub score: u64,
    /// Predictions, N x H x W, packed uint8.
    pub prediction: u64,
    /// Suppressed scores, N x H x W, packed: float32, or float16 for [`Output::AnomalyF16`](super::Output).
    pub suppressed: u64,
    /// Images.
    pub batch: i32,
    /// Rows.
    pub height: i32,
    /// Columns.
    pub width: i32,
    /// See [`Output`](super::Output).
    pub output: i32,
    /// Boundary width, at most 32.
    pub boundary_width: i32,
    /// Iterations, at most 32.
    pub iterations: i32,
    /// 1 where pixels of the image's frame with a label of 2 or more are boundary too.
    pub border_one: i32,
    /// Rows of a tile.
    pub tile_rows: i32,
    /// Words of 32 pixels across a tile with its halo.
    pub region_words: i32,
    /// Columns of the halo on either side of a tile.
    pub halo: i32,
    /// 1 where predictions and scores take turns in the same shared memory, because there is not enough for both.
    pub share_memory: i32,
    /// Unused: keeps the size a multiple of 8.
    pub padding: i32,
}

/// Arguments of `smooth.cu`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
pub struct SmoothArgs {
    /// Scores, N x H x W, packed float32.
    pub score: u64,
    /// Smoothed scores, N x H x W, packed: float32, or float16 for [`Output::AnomalyF16`](super::Output).
    pub smoothed: u64,
    /// Images.
    pub batch: i32,
    /// Rows.
    pub height: i32,
    /// Columns.
    pub width: i32,
    /// See [`Output`](super::Output).
    pub output: i32,
    /// Taps in each direction, at most 31.
    pub taps: i32,
    /// Distance of neighbouring taps in pixels.
    pub dilation: i32,
    /// Rows of one phase of the dilation that a block smooths.
    pub rows: i32,
    /// Columns that a block smooths.
    pub columns: i32,
    /// Weights of the taps.
    pub weights: [f32; 32],
}

/// Arguments of `accumulate.cu`: both entry points of it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
pub struct AccumulateArgs {
    /// Max logits, packed float32: their negation where `sign` is -1.
    pub max_logit: u64,
    /// Predictions, packed uint8.
    pub prediction: u64,
    /// Moments of each block: blocks x (classes + 1) of [`DeviceMoments`].
    pub partials: u64,
    /// Moments of all that was accumulated so far: classes + 1 of [`DeviceMoments`], updated.
    pub moments: u64,
    /// Pixels of all images.
    pub pixels: i64,
    /// Classes.
    pub classes: i32,
    /// Blocks of `accumulate`.
    pub blocks: i32,
    /// 1 for max logits, -1 for their negation.
    pub sign: f32,
    /// Unused: keeps the size a multiple of 8.
    pub padding: i32,
}

/// Moments of one class on the device. The last of a row, behind the classes, counts the pixels that were left out because
/// their max logit is not finite.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Default, Pod, Zeroable)]
pub struct DeviceMoments {
    /// Pixels.
    pub count: u64,
    /// Mean of their max logits.
    pub mean: f64,
    /// Sum of squared deviations from it.
    pub squared_deviations: f64,
}

/// Arguments of `preprocess.cu`: both entry points of it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
pub struct PreprocessArgs {
    /// First byte of the picture.
    pub pixels: u64,
    /// The network's input, 1 x 3 x H x W, packed: planes or pixels.
    pub input: u64,
    /// First row of the picture under each row of the input, int32 (`preprocess_resized`).
    pub row_first: u64,
    /// Weights of the rows from there on: H x `row_taps` of float32 (`preprocess_resized`).
    pub row_weights: u64,
    /// As `row_first`, for columns.
    pub column_first: u64,
    /// As `row_weights`, for columns.
    pub column_weights: u64,
    /// Bytes from one row of the picture to the next.
    pub row_stride: i64,
    /// Rows of the input.
    pub height: i32,
    /// Columns of the input.
    pub width: i32,
    /// Bytes of a pixel: 3 or 4.
    pub pixel_bytes: i32,
    /// 1 where the picture's first channel is the network's last.
    pub swapped: i32,
    /// 1 where the input's channels lie together.
    pub channels_last: i32,
    /// Rows of the picture that a row of the input is made of (`preprocess_resized`).
    pub row_taps: i32,
    /// Columns likewise.
    pub column_taps: i32,
    /// Factor on the bytes.
    pub scale: f32,
    /// Subtracted then, in the order of the picture's channels.
    pub mean: [f32; 3],
    /// Divisor then, likewise.
    pub std: [f32; 3],
}

/// The arguments of one launch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arguments {
    /// Of `standardize.cu`.
    Standardize(StandardizeArgs),
    /// Of `suppress.cu`.
    Suppress(SuppressArgs),
    /// Of `smooth.cu`.
    Smooth(SmoothArgs),
    /// Of `accumulate.cu`.
    Accumulate(AccumulateArgs),
    /// Of `preprocess.cu`.
    Preprocess(PreprocessArgs),
}

impl Arguments {
    /// The struct as the kernel's one parameter.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Standardize(arguments) => bytemuck::bytes_of(arguments),
            Self::Suppress(arguments) => bytemuck::bytes_of(arguments),
            Self::Smooth(arguments) => bytemuck::bytes_of(arguments),
            Self::Accumulate(arguments) => bytemuck::bytes_of(arguments),
            Self::Preprocess(arguments) => bytemuck::bytes_of(arguments),
        }
    }

    /// Number of device pointers at the struct's beginning, 8 bytes each.
    pub fn pointers(&self) -> usize {
        match self {
            Self::Standardize(_) => 7,
            Self::Suppress(_) => 3,
            Self::Smooth(_) => 2,
            Self::Accumulate(_) => 4,
            Self::Preprocess(_) => 6,
        }
    }
}
