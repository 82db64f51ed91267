//! What the engine does on a GPU, on the host: the plan's launches, one frame, memory that is checked to the byte.

use half::{bf16, f16};
use ndarray::Array4;
use sml::cuda::kernels::KernelVariant;
use sml::cuda::plan::{DeviceFrame, DeviceLogits, GpuLimits, Plan, Workspace};
use sml::{Capacity, ClassStatistics, ElementType, Layout, LogitsShape, Params, Size};

use crate::frames::Frame;
use crate::kernel_harness::{Failure, Job, Launch, Library, Order, Source, compile, elements, run};
use crate::mutations::Mutation;

/// Where the logits lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrangement {
    Packed(Layout),
    /// Neither classes nor pixels of a row side by side: columns first.
    Columns,
    /// NCHW with elements between rows and between images that belong to nobody.
    Gaps {
        row: usize,
        image: usize,
    },
    /// Pixels with their classes side by side, images apart.
    ApartPixels {
        image: usize,
    },
    /// Strides of billions of elements: only memory that holds logits is touched.
    Far([usize; 4]),
}

impl Arrangement {
    fn strides(self, shape: LogitsShape) -> [usize; 4] {
        let (c, Size { height, width }) = (shape.classes, shape.size);
        match self {
            Self::Packed(layout) => layout.strides(shape),
            Self::Columns => [c * height * width, height * width, 1, height],
            Self::Gaps { row, image } => {
                let row = width + row;
                [c * height * row + image, height * row, row, 1]
            }
            Self::Far(strides) => strides,
            Self::ApartPixels { image } => [c * height * width + image, 1, c * width, c],
        }
    }
}

/// What is pinned by macros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pins {
    /// What the plan pins.
    Plan,
    /// Only the element type.
    Generic,
    /// The element type, and the entry point of `standardize`: quick to compile.
    Entry,
}

/// How a frame is run.
#[derive(Clone, Debug)]
pub struct Setting {
    pub order: Order,
    pub pins: Pins,
    pub element: ElementType,
    pub arrangement: Arrangement,
    /// Distance of the logits, the score and the prediction from an aligned address: elements.
    pub misalignments: [usize; 3],
    pub half_score: bool,
    pub limits: GpuLimits,
    /// Most blocks in each dimension of a grid: kernels step over the rest.
    pub most_blocks: u32,
    pub mutation: Option<Mutation>,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            order: Order::Random(0),
            pins: Pins::Generic,
            element: ElementType::F32,
            arrangement: Arrangement::Packed(Layout::Nchw),
            misalignments: [0; 3],
            half_score: false,
            limits: GpuLimits { multiprocessors: 8, shared_bytes: 99 << 10 },
            most_blocks: u32::MAX,
            mutation: None,
        }
    }
}

/// The result, and what lies between the stages.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HostMap {
    /// Anomaly scores; float16 widened.
    pub score: Vec<f32>,
    pub prediction: Vec<u8>,
    pub non_finite: Vec<u64>,
    /// Empty where no later stage reads them.
    pub standardized: Vec<f32>,
    pub suppressed: Vec<f32>,
    /// Whether counters are not zero after the frame, as they were before.
    pub left_counters: bool,
    /// Kernels that ran.
    pub entries: Vec<&'static str>,
}

impl HostMap {
    /// The scores' bits; one pattern for every NaN.
    pub fn bits(&self) -> Vec<u32> {
        self.score.iter().map(|v| if v.is_nan() { f32::NAN } else { *v }.to_bits()).collect()
    }
}

/// The values that logits have after rounding to an element type.
pub fn rounded(logits: &Array4<f32>, element: ElementType) -> Array4<f32> {
    match element {
        ElementType::F32 => logits.clone(),
        ElementType::F16 => logits.mapv(|v| f16::from_f32(v).to_f32()),
        ElementType::BF16 => logits.mapv(|v| bf16::from_f32(v).to_f32()),
    }
}

/// Bytes from the first to the last logit.
fn length(shape: LogitsShape, element: ElementType, strides: [usize; 4]) -> usize {
    let lengths = [shape.batch, shape.classes, shape.size.height, shape.size.width];
    let last: usize = lengths.iter().zip(strides).map(|(length, stride)| (length - 1) * stride).sum();
    (last + 1) * bytes_of(element)
}

/// Where each logit lies, and its bytes.
fn encoded(
    logits: &Array4<f32>,
    element: ElementType,
    strides: [usize; 4],
) -> impl Iterator<Item = (usize, Vec<u8>)> {
    logits.indexed_iter().map(move |((n, c, y, x), &value)| {
        let at = n * strides[0] + c * strides[1] + y * strides[2] + x * strides[3];
        let bytes = match element {
            ElementType::F32 => value.to_le_bytes().to_vec(),
            ElementType::F16 => f16::from_f32(value).to_le_bytes().to_vec(),
            ElementType::BF16 => bf16::from_f32(value).to_le_bytes().to_vec(),
        };
        (at * bytes_of(element), bytes)
    })
}

fn bytes_of(element: ElementType) -> usize {
    if element == ElementType::F32 { 4 } else { 2 }
}

/// Puts the logits into memory; what lies between them is NaN. Returns their device pointer.
fn add_logits(job: &mut Job, frame: &Frame, setting: &Setting, strides: [usize; 4]) -> u64 {
    let length = length(frame.shape(), setting.element, strides);
    let logits = encoded(&frame.logits, setting.element, strides);
    if let Arrangement::Far(_) = setting.arrangement {
        return job.sparse(length, logits.collect());
    }
    let mut memory = vec![0xff; length];
    logits.for_each(|(at, bytes)| memory[at..at + bytes.len()].copy_from_slice(&bytes));
    job.buffer(memory, setting.misalignments[0] * bytes_of(setting.element))
}

/// Mean and standard deviation of each class as the kernel reads them. Every class has statistics here, or what it has not
/// propagates.
fn standardization(statistics: &ClassStatistics) -> Vec<u8> {
    let table: Vec<[f32; 2]> = statistics
        .classes()
        .iter()
        .map(|m| [m.mean.unwrap_or(f64::NAN) as f32, m.variance.unwrap_or(f64::NAN).sqrt() as f32])
        .collect();
    bytemuck::cast_slice(&table).to_vec()
}

/// The names of the entry points of `standardize`, in the order of `SML_ENTRY`.
const ENTRIES: [&str; 4] = ["standardize", "standardize_rows", "standardize_pixels", "standardize_upsample"];

/// A kernel file, compiled.
pub fn library(variant: &KernelVariant, mutation: Option<&Mutation>) -> Library {
    let mut source = Source::kernel(variant);
    if let Some(mutation) = mutation {
        mutation.apply(&mut source);
    }
    compile(&source).unwrap_or_else(|problem| panic!("{variant}: {problem}"))
}

fn pinned(variant: &KernelVariant, entry: &str, pins: Pins) -> KernelVariant {
    let mut variant = if pins == Pins::Plan { variant.clone() } else { variant.generic() };
    let number = ENTRIES.iter().position(|name| *name == entry).filter(|_| pins == Pins::Entry);
    variant.defines.extend(number.map(|number| ("SML_ENTRY", number as i64)));
    variant
}

/// Everything that the engine would do for a frame: memory and launches.
fn prepare(frame: &Frame, setting: &Setting) -> Job {
    let (shape, pixels) = (frame.shape(), frame.shape().batch * frame.size.pixels());
    let plan = Plan::new(frame.params, Capacity::of(shape, frame.size), setting.limits);
    let strides = setting.arrangement.strides(shape);
    let score_bytes = if setting.half_score { 2 } else { 4 };
    let [_, score_offset, prediction_offset] = setting.misalignments;

    let mut job = Job::new(setting.order);
    let logits = add_logits(&mut job, frame, setting, strides);
    let score = job.unwritten(pixels * score_bytes, score_offset * score_bytes);
    let prediction = job.unwritten(pixels, prediction_offset);
    let non_finite = job.unwritten(shape.batch * size_of::<u64>(), 0);
    let needed = plan.workspace();
    let table = if needed.standardization > 0 { standardization(&frame.statistics) } else { Vec::new() };
    let workspace = Workspace {
        standardization: job.buffer(table, 0),
        counters: job.buffer(vec![0; needed.counters], 0),
        standardized: job.unwritten(needed.standardized, 0),
        suppressed: job.unwritten(needed.suppressed, 0),
    };
    let device = DeviceFrame {
        logits: DeviceLogits { pointer: logits, element: setting.element, shape, strides },
        size: frame.size,
        score,
        half_score: setting.half_score,
        prediction,
        non_finite,
    };
    for launch in plan.launches(&device, &workspace).iter() {
        let variant = pinned(&plan.variants()[launch.slot], launch.entry, setting.pins);
        job.launches.push(Launch {
            library: library(&variant, setting.mutation.as_ref()),
            entry: launch.entry,
            grid: launch.grid.map(|blocks| blocks.min(setting.most_blocks)),
            block: launch.block,
            shared_bytes: launch.shared_bytes,
            arguments: launch.arguments.bytes().to_vec(),
            pointers: launch.arguments.pointers(),
        });
    }
    job
}

/// Runs all stages on a frame.
///
/// # Errors
/// What a sanitizer or the harness found.
pub fn submit(frame: &Frame, setting: &Setting) -> Result<HostMap, Failure> {
    let job = prepare(frame, setting);
    let [_, score, prediction, non_finite, _, counters, standardized, suppressed] = &run(&job)?[..] else {
        panic!("the job has other buffers");
    };
    Ok(HostMap {
        score: if setting.half_score {
            elements::<f16>(score).into_iter().map(f16::to_f32).collect()
        } else {
            elements(score)
        },
        prediction: prediction.clone(),
        non_finite: elements(non_finite),
        standardized: elements(standardized),
        suppressed: elements(suppressed),
        left_counters: counters.iter().any(|&byte| byte != 0),
        entries: job.launches.iter().map(|launch| launch.entry).collect(),
    })
}

/// Whether the mutation changes a kernel that this run uses, as it is compiled for it.
pub fn is_mutated(frame: &Frame, setting: &Setting) -> bool {
    let unchanged = Setting { mutation: None, ..setting.clone() };
    let libraries = |setting| prepare(frame, setting).launches.into_iter().map(|launch| launch.library);
    !libraries(setting).eq(libraries(&unchanged))
}

/// Whether scores are the same bits on a GPU and on the CPU: no exponential or logarithm takes part.
pub fn is_exact(params: &Params) -> bool {
    use sml::Score::{MaxLogit, Sml};
    matches!(params.score, MaxLogit | Sml)
}
