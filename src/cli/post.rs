//! `sml post`: the three stages on saved logits of any framework.

use std::path::{Path, PathBuf};

use clap::{ArgAction, Args};
use half::{bf16, f16};
use serde::Serialize;

use super::method::{ElementTypeArg, LayoutArg, MethodArgs, size};
use super::together::Together;
use crate::files::{LogitsFile, write_npy};
use crate::{
    Capacity, ClassStatistics, Device, ElementType, Engine, Error, Logits, LogitsData, LogitsShape, Params,
    Result, Size, Stage,
};

/// Turn saved logits into an anomaly map
///
/// Reads logits (N x C x H x W, or C x H x W) from .npy, .npz or .safetensors and writes score.npy (float32, N x H x W,
/// higher is more anomalous) and prediction.npy (uint8, N x H x W).
#[derive(Args)]
#[command(after_help = "Examples:
  sml post logits.npy --stats cityscapes.json --size 1024x2048 -o out
  sml post logits.safetensors --score max_logit --suppression none --smoothing none -o out
  sml post frames.npz --array pred --layout nhwc --stats cityscapes.json --json -o out")]
pub(super) struct Arguments {
    /// File with the logits: .npy, .npz or .safetensors
    logits: PathBuf,

    /// Name of the array in an .npz or .safetensors file with several
    #[arg(long, value_name = "NAME")]
    array: Option<String>,

    /// Folder for the results; made if it is missing
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,

    /// Class statistics (JSON); needed by the score sml
    #[arg(long, value_name = "FILE")]
    stats: Option<PathBuf>,

    /// Size of the result, to which logits are upsampled; by default that of the logits
    #[arg(long, value_name = "HxW", value_parser = size)]
    size: Option<Size>,

    /// Sampling grid of the upsampling: true maps corner pixels onto corner pixels
    #[arg(long, value_name = "BOOL", default_value_t = false, action = ArgAction::Set)]
    align_corners: bool,

    /// Element type to convert the logits to first; by default they are used as they are stored
    #[arg(long, value_name = "TYPE", value_enum)]
    dtype: Option<ElementTypeArg>,

    /// Memory order of the logits in the file
    #[arg(long, value_enum, default_value_t)]
    layout: LayoutArg,

    /// Also write the un-negated value after each stage: standardized.npy, suppressed.npy, smoothed.npy
    #[arg(long)]
    raw: bool,

    /// Print a summary as one JSON object on stdout
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    method: MethodArgs,
}

impl Arguments {
    /// Runs the command.
    ///
    /// # Errors
    /// When a file cannot be read or written, or does not hold what it should.
    pub(super) fn run(&self) -> Result<()> {
        let file = LogitsFile::read(&self.logits, self.array.as_deref())?;
        let logits = file.logits(self.layout.into())?;
        let converted = self.dtype.map(|to| Converted::new(&logits, to.into()));
        let logits = match &converted {
            Some(converted) => converted.logits(&logits)?,
            None => logits,
        };
        let statistics = self.stats.as_ref().map(ClassStatistics::read).transpose()?;
        let params = self.method.params(self.align_corners);
        let size = self.size.unwrap_or(logits.shape().size);
        let mut engine = engine(params, statistics.as_ref(), logits.shape(), size, self.stats.as_deref())?;
        super::warn(&engine);
        let map = Map::compute(&mut engine, &logits, size)?;

        let mut results = Together::in_folder(&self.output)?;
        let shape = [logits.shape().batch, size.height, size.width];
        if self.raw {
            self.write_stages(&mut results, &logits, &params, statistics.as_ref(), size)?;
        }
        results.write("prediction.npy", |path| write_npy(path, &shape, &map.prediction))?;
        results.write("score.npy", |path| write_npy(path, &shape, &map.score))?;
        results.appear()?;

        let summary = Summary::new(shape, logits.shape().classes, &map);
        if self.json {
            super::stdout::print_json(&summary)?;
        } else {
            summary.print(&self.output);
        }
        Ok(())
    }

    /// Writes the value after each stage, with the official sign.
    fn write_stages(
        &self,
        results: &mut Together<'_>,
        logits: &Logits<'_>,
        params: &Params,
        statistics: Option<&ClassStatistics>,
        size: Size,
    ) -> Result<()> {
        let shape = [logits.shape().batch, size.height, size.width];
        let stages = [
            (Stage::Standardize, "standardized.npy"),
            (Stage::Suppress, "suppressed.npy"),
            (Stage::Smooth, "smoothed.npy"),
        ];
        for (stage, name) in stages {
            let params = params.through(stage);
            let mut engine = engine(params, statistics, logits.shape(), size, self.stats.as_deref())?;
            let mut map = Map::compute(&mut engine, logits, size)?;
            map.score.iter_mut().for_each(|score| *score = -*score);
            results.write(name, |path| write_npy(path, &shape, &map.score))?;
        }
        Ok(())
    }
}

/// An engine for one image at a time. An error about the statistics names their file.
fn engine(
    params: Params,
    statistics: Option<&ClassStatistics>,
    shape: LogitsShape,
    size: Size,
    file: Option<&Path>,
) -> Result<Engine> {
    let capacity = Capacity { batch: 1, ..Capacity::of(shape, size) };
    Engine::new(Device::Cpu, params, statistics, capacity).map_err(super::naming(file))
}

/// The result for a whole file.
struct Map {
    score: Vec<f32>,
    prediction: Vec<u8>,
    non_finite: u64,
}

impl Map {
    fn compute(engine: &mut Engine, logits: &Logits<'_>, size: Size) -> Result<Self> {
        let batch = logits.shape().batch;
        let mut map = Self { score: Vec::new(), prediction: Vec::new(), non_finite: 0 };
        let pixels = batch.saturating_mul(size.pixels());
        let reserved = map.score.try_reserve_exact(pixels).and(map.prediction.try_reserve_exact(pixels));
        reserved.map_err(|_| Error::Shape {
            what: "size of the result",
            given: format!("{batch} images of {size}"),
            expected: "one that fits into memory".to_owned(),
        })?;
        for n in 0..batch {
            let image = engine.submit(&logits.image(n)?, size)?;
            map.score.extend(image.score);
            map.prediction.extend(image.prediction);
            map.non_finite += image.non_finite.iter().sum::<u64>();
        }
        Ok(map)
    }
}

/// Logits in another element type.
enum Converted {
    F32(Vec<f32>),
    F16(Vec<f16>),
    BF16(Vec<bf16>),
}

impl Converted {
    fn new(logits: &Logits<'_>, to: ElementType) -> Self {
        let values: Vec<f32> = match logits.data() {
            LogitsData::F32(data) => data.to_vec(),
            LogitsData::F16(data) => data.iter().map(|v| v.to_f32()).collect(),
            LogitsData::BF16(data) => data.iter().map(|v| v.to_f32()).collect(),
        };
        match to {
            ElementType::F32 => Self::F32(values),
            ElementType::F16 => Self::F16(values.into_iter().map(f16::from_f32).collect()),
            ElementType::BF16 => Self::BF16(values.into_iter().map(bf16::from_f32).collect()),
        }
    }

    /// The same logits with the shape and strides of the original.
    fn logits(&self, like: &Logits<'_>) -> Result<Logits<'_>> {
        match self {
            Self::F32(data) => Logits::strided(&data[..], like.shape(), like.strides()),
            Self::F16(data) => Logits::strided(&data[..], like.shape(), like.strides()),
            Self::BF16(data) => Logits::strided(&data[..], like.shape(), like.strides()),
        }
    }
}

/// What the command prints.
#[derive(Serialize)]
struct Summary {
    /// N, H, W.
    shape: [usize; 3],
    classes: usize,
    /// Over the finite scores; null when there are none.
    min: Option<f32>,
    mean: Option<f64>,
    max: Option<f32>,
    /// Pixels predicted as each class, by train id.
    pixels_per_class: Vec<u64>,
    /// Pixels with a NaN or infinite logit.
    non_finite_logits: u64,
    /// Pixels whose score is NaN or infinite.
    non_finite_scores: u64,
}

impl Summary {
    fn new(shape: [usize; 3], classes: usize, map: &Map) -> Self {
        let finite = || map.score.iter().copied().filter(|score| score.is_finite());
        let count = finite().count();
        let mut pixels_per_class = vec![0; classes];
        for &class in &map.prediction {
            pixels_per_class[usize::from(class)] += 1;
        }
        Self {
            shape,
            classes,
            min: finite().reduce(f32::min),
            mean: (count > 0).then(|| finite().map(f64::from).sum::<f64>() / count as f64),
            max: finite().reduce(f32::max),
            pixels_per_class,
            non_finite_logits: map.non_finite,
            non_finite_scores: (map.score.len() - count) as u64,
        }
    }

    fn print(&self, folder: &Path) {
        let [n, h, w] = self.shape;
        eprintln!("{n} x {h} x {w} pixels, {} classes -> {}", self.classes, folder.display());
        if let (Some(min), Some(mean), Some(max)) = (self.min, self.mean, self.max) {
            eprintln!("anomaly score: min {min:.4}, mean {mean:.4}, max {max:.4}");
        }
        if self.non_finite_logits > 0 {
            eprintln!("{} pixels have a NaN or infinite logit", self.non_finite_logits);
        }
    }
}
