//! Pictures to a network's input on a GPU: pinned memory, one copy, one kernel.
//!
//! A picture in host memory is first copied into pinned memory, by all threads, so that the caller may have its own back at
//! once. There are two such blocks: one is filled while the GPU still copies from the other, and only a caller that is two
//! pictures ahead of the GPU waits. A picture that lies in device memory already is read where it lies; where all do, there are no
//! such blocks.
#![allow(unsafe_code)]

use std::sync::Arc;

use rayon::prelude::*;

use super::context::Context;
use super::device_memory::DeviceMemory;
use super::driver_error::refused;
use super::kernel_set::KernelSet;
use super::pinned_memory::PinnedMemory;
use super::plan::PreprocessPlan;
use super::queue::{Queue, Step};
use super::stream::{Event, RawStream};
use crate::{ElementType, Error, Layout, PictureView, PixelFormat, Preprocessing, Result, Size};

/// Rows begin on multiples of this, so that the kernel reads words.
const ROW_ALIGNMENT: usize = 16;
/// Blocks of pinned memory.
const BLOCKS: usize = 2;

/// Makes a network's input of pictures of one size and format, on one GPU.
///
/// Fields are dropped in this order: the queue first, which waits for the work.
pub struct CudaPreprocessor {
    queue: Queue,
    plan: PreprocessPlan,
    kernels: KernelSet,
    tables: DeviceMemory,
    /// From the first picture in host memory on.
    uploads: Option<Uploads>,
}

/// What pictures in host memory need.
struct Uploads {
    /// One picture.
    pixels: DeviceMemory,
    row_stride: usize,
    blocks: [Block; BLOCKS],
    /// Pictures taken so far.
    taken: usize,
}

/// Pinned memory for one picture.
struct Block {
    memory: PinnedMemory,
    /// Behind the copy to the device.
    copied: Event,
}

impl CudaPreprocessor {
    /// On `cuda:ordinal`, for pictures of the size `picture` and an input of the given element type and layout. Not to be
    /// called while a stream of the GPU is being captured.
    ///
    /// # Errors
    /// [`Error::Shape`] for a picture or an input without pixels; [`Error::Device`] where the GPU cannot be used;
    /// [`Error::DeviceMemory`] and [`Error::Cuda`] where the driver refuses.
    pub fn new(
        ordinal: usize,
        preprocessing: &Preprocessing,
        (picture, format): (Size, PixelFormat),
        element: ElementType,
        layout: Layout,
    ) -> Result<Self> {
        let plan = PreprocessPlan::new(preprocessing, picture, format, element, layout)?;
        let context = Context::retain(ordinal)?;
        let tables =
            DeviceMemory::allocate(&context, plan.tables().len(), "tables of a picture's resampling")?;
        tables.write(plan.tables()).map_err(|error| refused("write the tables of a resampling", error))?;
        let kernels = KernelSet::load(&context, plan.variants(), |_| 0)?;
        Ok(Self { queue: Queue::new(&context)?, plan, kernels, tables, uploads: None })
    }

    /// What it does: sizes, formats, element type and layout.
    pub fn plan(&self) -> &PreprocessPlan {
        &self.plan
    }

    /// What a person should know about how the kernel was come by, one line each.
    pub fn notes(&self) -> &[String] {
        self.kernels.notes()
    }

    /// Makes the input at the device address `input` of a picture in host memory, which is free again when this returns.
    /// Waits only for the picture before the last to have been copied. The work on `stream` is not complete then. The first such
    /// picture allocates memory for them.
    ///
    /// # Safety
    /// * `input` is memory of this GPU for a whole input, aligned to its elements, which nothing else uses until the work is
    ///   complete.
    /// * `stream` is alive, of this GPU's primary context, and is not being captured.
    ///
    /// # Errors
    /// [`Error::Shape`] for a picture of another size or format. [`Error::DeviceMemory`] and [`Error::Cuda`] if the driver refuses, the
    /// latter also if it reports that earlier work on the GPU failed; from then on [`Error::Poisoned`].
    pub unsafe fn submit(&mut self, picture: &PictureView<'_>, input: u64, stream: RawStream) -> Result<()> {
        self.check(picture)?;
        let uploads = match self.uploads.take() {
            Some(uploads) => uploads,
            None => Uploads::new(self.queue.context(), picture.size(), picture.format())?,
        };
        let Self { queue, plan, kernels, tables, .. } = self;
        let Uploads { pixels, row_stride, blocks, taken } = self.uploads.insert(uploads);
        let block = &mut blocks[*taken % BLOCKS];
        if *taken >= BLOCKS {
            queue.call(|| block.copied.synchronize().map_err(|error| (Step::Order, error)))?;
        }
        // SAFETY: the copy from it, if there was one, is complete.
        copy_rows(picture, unsafe { block.memory.host_mut() }, *row_stride);
        let launch = plan.launch(pixels.address(), *row_stride, tables.address(), input);
        // SAFETY: the block is as long as the picture's memory; both live as long as `self`, whose queue is dropped first.
        // The block is left alone until its event is reached. The launch is for these kernels and this memory; the rest is
        // the caller's duty.
        unsafe {
            queue.submit(stream, |_captured| {
                let copying = |error| (Step::Copy("a picture to the GPU"), error);
                block.memory.upload(pixels.address(), pixels.bytes(), stream.handle()).map_err(copying)?;
                block.copied.record(stream.handle()).map_err(|error| (Step::Order, error))?;
                kernels.give(&launch, stream.handle())
            })
        }?;
        *taken += 1;
        Ok(())
    }

    /// Makes the input at the device address `input` of a picture in device memory at `pixels`, whose rows begin
    /// `row_stride` bytes apart: one launch.
    ///
    /// # Safety
    /// * `pixels` is a whole picture of the size and format that this was built for, in memory of this GPU or memory that it can
    ///   use, and is not written to until the work is complete.
    /// * `input` and `stream` as for [`submit`](Self::submit); the stream may be one that is being captured.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub unsafe fn submit_device(
        &mut self,
        pixels: u64,
        row_stride: usize,
        input: u64,
        stream: RawStream,
    ) -> Result<()> {
        let Self { queue, plan, kernels, tables, .. } = self;
        let launch = plan.launch(pixels, row_stride, tables.address(), input);
        // SAFETY: the launch is for these kernels; the rest is the caller's duty.
        unsafe { queue.submit(stream, |_captured| kernels.give(&launch, stream.handle())) }
    }

    fn check(&self, picture: &PictureView<'_>) -> Result<()> {
        let (size, format) = (self.plan.picture_size(), self.plan.format());
        if (picture.size(), picture.format()) == (size, format) {
            return Ok(());
        }
        Err(Error::Shape {
            what: "the picture",
            given: format!("{} {:?}", picture.size(), picture.format()),
            expected: format!("{size} {format:?}, which this was built for"),
        })
    }
}

impl Uploads {
    fn new(context: &Arc<Context>, picture: Size, format: PixelFormat) -> Result<Self> {
        let row_stride = (picture.width * format.bytes()).next_multiple_of(ROW_ALIGNMENT);
        let bytes = picture.height * row_stride;
        let pixels = DeviceMemory::allocate(context, bytes, "pictures")?;
        let block = || -> Result<Block> {
            Ok(Block {
                memory: PinnedMemory::allocate(context, bytes, "pictures")?,
                copied: Event::for_order(context)?,
            })
        };
        Ok(Self { pixels, row_stride, blocks: [block()?, block()?], taken: 0 })
    }
}

impl std::fmt::Debug for CudaPreprocessor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CudaPreprocessor").field("plan", &self.plan).finish_non_exhaustive()
    }
}

/// Copies the rows to where they begin `row_stride` bytes apart.
fn copy_rows(picture: &PictureView<'_>, to: &mut [u8], row_stride: usize) {
    to.par_chunks_mut(row_stride).enumerate().with_min_len(16).for_each(|(y, to)| {
        let row = picture.row(y);
        to[..row.len()].copy_from_slice(row);
    });
}
