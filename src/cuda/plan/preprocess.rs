//! Launches of `preprocess.cu`: one for each picture, and the tables of resampling that it reads.

use super::standardize::code_of_element;
use super::{Arguments, Launch, PreprocessArgs};
use crate::cuda::kernels::{ELEMENT, KernelFile, KernelVariant};
use crate::resampling::Resampling;
use crate::{ElementType, Layout, PixelFormat, Preprocessing, Result, Size};

/// Rows and columns of a block's threads: as the kernels have them.
const BLOCK: [u32; 3] = [32, 8, 1];
/// Pixels of a thread of `preprocess`.
const PIXELS: usize = 4;
/// Most blocks in the second dimension of a grid; kernels step over the rows beyond.
const MOST_ROW_BLOCKS: usize = 65_535;

/// How pictures of one size and format become a network's input on a GPU.
#[derive(Clone, Debug)]
pub struct PreprocessPlan {
    picture: Size,
    format: PixelFormat,
    input: Size,
    element: ElementType,
    layout: Layout,
    entry: &'static str,
    /// Everything but the addresses and the distance of the picture's rows.
    arguments: PreprocessArgs,
    tables: Vec<u8>,
    /// Where the four tables begin.
    offsets: [u64; 4],
    variants: [KernelVariant; 1],
}

impl PreprocessPlan {
    /// A plan for pictures of the size `picture` and an input of the given element type and layout.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) for a picture or an input without pixels, or of more than 2^31 rows or columns.
    pub fn new(
        preprocessing: &Preprocessing,
        picture: Size,
        format: PixelFormat,
        element: ElementType,
        layout: Layout,
    ) -> Result<Self> {
        let input = preprocessing.checked_size_for(picture)?;
        let normalization = preprocessing.normalization(format);
        let (pixel_bytes, swapped, channels_last) =
            (format.bytes(), format.order() != preprocessing.channel_order, layout == Layout::Nhwc);
        let defines = vec![
            ("SML_CHANNELS_LAST", channels_last.into()),
            (ELEMENT, code_of_element(element)),
            ("SML_PIXEL_BYTES", pixel_bytes as i64),
            ("SML_SWAPPED", swapped.into()),
        ];
        let mut plan = Self {
            picture,
            format,
            input,
            element,
            layout,
            entry: "preprocess",
            arguments: PreprocessArgs {
                pixels: 0,
                input: 0,
                row_first: 0,
                row_weights: 0,
                column_first: 0,
                column_weights: 0,
                row_stride: 0,
                height: input.height as i32,
                width: input.width as i32,
                pixel_bytes: pixel_bytes as i32,
                swapped: swapped.into(),
                channels_last: channels_last.into(),
                row_taps: 0,
                column_taps: 0,
                scale: normalization.scale,
                mean: normalization.mean,
                std: normalization.std,
            },
            tables: Vec::new(),
            offsets: [0; 4],
            variants: [KernelVariant { file: KernelFile::Preprocess, defines }],
        };
        if input != picture {
            plan.resample();
        }
        Ok(plan)
    }

    fn resample(&mut self) {
        let rows = Resampling::new(self.picture.height, self.input.height);
        let columns = Resampling::new(self.picture.width, self.input.width);
        self.entry = "preprocess_resized";
        self.arguments.row_taps = rows.taps as i32;
        self.arguments.column_taps = columns.taps as i32;
        let parts: [&[u8]; 4] = [
            bytemuck::cast_slice(&rows.first),
            bytemuck::cast_slice(&rows.weights),
            bytemuck::cast_slice(&columns.first),
            bytemuck::cast_slice(&columns.weights),
        ];
        for (offset, part) in self.offsets.iter_mut().zip(parts) {
            *offset = self.tables.len() as u64;
            self.tables.extend_from_slice(part);
        }
    }

    /// The kernel to compile and load.
    pub fn variants(&self) -> &[KernelVariant] {
        &self.variants
    }

    /// What must lie in device memory, on a multiple of 4 bytes; empty where the size stays.
    pub fn tables(&self) -> &[u8] {
        &self.tables
    }

    /// Size of the pictures.
    pub fn picture_size(&self) -> Size {
        self.picture
    }

    /// Bytes of their pixels.
    pub fn format(&self) -> PixelFormat {
        self.format
    }

    /// Rows and columns of the input.
    pub fn input_size(&self) -> Size {
        self.input
    }

    /// Element type of the input.
    pub fn element(&self) -> ElementType {
        self.element
    }

    /// Memory order of the input.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// What to launch for the picture at `pixels`, whose rows begin `row_stride` bytes apart, with the tables at `tables` and
    /// the input at `input`.
    pub fn launch(&self, pixels: u64, row_stride: usize, tables: u64, input: u64) -> Launch {
        let pixels_of_thread = if self.tables.is_empty() { PIXELS } else { 1 };
        let across = self.input.width.div_ceil(BLOCK[0] as usize * pixels_of_thread);
        let down = self.input.height.div_ceil(BLOCK[1] as usize).min(MOST_ROW_BLOCKS);
        let [row_first, row_weights, column_first, column_weights] =
            self.offsets.map(|offset| if self.tables.is_empty() { 0 } else { tables + offset });
        Launch {
            slot: 0,
            entry: self.entry,
            grid: [across as u32, down as u32, 1],
            block: BLOCK,
            shared_bytes: 0,
            arguments: Arguments::Preprocess(PreprocessArgs {
                pixels,
                input,
                row_first,
                row_weights,
                column_first,
                column_weights,
                row_stride: row_stride as i64,
                ..self.arguments
            }),
        }
    }
}
