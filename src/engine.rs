//! The engine: built once for a device, parameters, statistics and a maximum shape, then fed with logits frame by frame.
//!
//! Building validates and allocates; submitting a frame checks shapes and runs the stages, and allocates nothing. (On the
//! CPU rayon itself allocates one block of its queue, about 1.5 kB, for every 63 frames submitted from outside its pool;
//! inside [`rayon::ThreadPool::install`] not even that.)
//!
//! Logits are taken where they lie: in host memory by an engine on the CPU ([`Engine::submit`]), in a GPU's memory by an
//! engine on that GPU (`submit_device` with addresses, `submit_tensor` with libtorch's tensors), and nothing is
//! moved between the two on the quiet.

use std::fmt;
use std::time::Duration;

use ndarray::ArrayView3;

use crate::anomaly_map::{AnomalyMap, AnomalyMapMut, ScoreMut};
use crate::capacity::Capacity;
use crate::cpu::{CpuEngine, Output};
#[cfg(feature = "cuda")]
use crate::cuda::{CudaEngine, CudaOptions, RawStream};
use crate::logits::{Logits, LogitsShape, Size};
use crate::statistics::{ClassStatistics, Standardization};
use crate::{Error, InstructionSet, Params, Result};

/// Where an engine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Device {
    /// The host's processor, with rayon's threads.
    #[default]
    Cpu,
    /// The NVIDIA GPU of this ordinal, counted among those that `CUDA_VISIBLE_DEVICES` leaves visible.
    #[cfg(feature = "cuda")]
    Cuda(usize),
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            #[cfg(feature = "cuda")]
            Self::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
        }
    }
}

/// Time that the stages took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StageTimings {
    /// Upsampling, prediction and score.
    pub standardize: Duration,
    /// Boundary suppression.
    pub suppress: Duration,
    /// Smoothing.
    pub smooth: Duration,
}

/// What construction found that a person should know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// These classes have no usable statistics, and are standardized by the policy for missing ones.
    ClassesWithoutStatistics {
        /// Train ids.
        classes: Vec<usize>,
        /// True when the pooled statistics of all classes stand in; false when NaN or infinity propagates.
        pooled: bool,
    },
    /// The GPU's kernels were not come by in the best way: the text says how and why.
    #[cfg(feature = "cuda")]
    Kernels(String),
    /// Whole frames are not captured into a graph: the text says why.
    #[cfg(feature = "cuda")]
    Graph(String),
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClassesWithoutStatistics { classes, pooled } => {
                let effect =
                    if *pooled { "standardized with the pooled ones" } else { "their scores are not finite" };
                write!(f, "classes {classes:?} have no usable statistics: {effect}")
            }
            #[cfg(feature = "cuda")]
            Self::Kernels(note) => f.write_str(note),
            #[cfg(feature = "cuda")]
            Self::Graph(reason) => write!(f, "frames run without a graph: {reason}"),
        }
    }
}

/// Turns logits into anomaly maps.
///
/// ```
/// use sml::{Capacity, ClassStatistics, Device, Engine, Layout, Logits, LogitsShape, Params, Size};
///
/// let statistics = ClassStatistics::from_json(r#"{"mean": [5.0, 6.0], "variance": [1.0, 4.0]}"#)?;
/// let shape = LogitsShape::new(1, 2, 3, 4)?;
/// let size = Size::new(12, 16);
/// let mut engine =
///     Engine::new(Device::Cpu, Params::default(), Some(&statistics), Capacity::of(shape, size))?;
///
/// let elements: Vec<f32> = (0..24).map(|i| i as f32 / 4.0).collect();
/// let map = engine.submit(&Logits::packed(&elements[..], shape, Layout::Nchw)?, size)?;
/// assert_eq!(map.score.dim(), (1, 12, 16));
/// assert!(map.prediction.iter().all(|&class| class == 1));
/// # Ok::<(), sml::Error>(())
/// ```
pub struct Engine {
    params: Params,
    /// Classes that the statistics are for, when the score needs them.
    statistics_classes: Option<usize>,
    capacity: Capacity,
    warnings: Vec<Warning>,
    backend: Backend,
    /// Results for `submit_tensor`, dropped after the backend, which may still be writing to them.
    #[cfg(feature = "torch")]
    pub(crate) tensors: Option<crate::torch::OwnTensors>,
}

/// What runs the stages.
enum Backend {
    Cpu(Box<HostBackend>),
    #[cfg(feature = "cuda")]
    Cuda(Box<CudaEngine>),
}

impl Backend {
    fn warnings(&self) -> Vec<Warning> {
        match self {
            Self::Cpu(_) => Vec::new(),
            #[cfg(feature = "cuda")]
            Self::Cuda(engine) => engine.notes().iter().cloned().map(Warning::Kernels).collect(),
        }
    }
}

/// The engine on the CPU, with memory for its results.
struct HostBackend {
    engine: CpuEngine,
    score: Vec<f32>,
    prediction: Vec<u8>,
    non_finite: Vec<u64>,
}

impl HostBackend {
    fn new(params: Params, standardization: Option<Standardization>, capacity: Capacity) -> Result<Self> {
        capacity.check_memory()?;
        let pixels = capacity.batch * capacity.output.pixels();
        let arch = InstructionSet::chosen()?.arch().unwrap_or(pulp::Arch::Scalar);
        Ok(Self {
            engine: CpuEngine::new(params, standardization, capacity, arch),
            score: vec![0.0; pixels],
            prediction: vec![0; pixels],
            non_finite: vec![0; capacity.batch],
        })
    }
}

impl Engine {
    /// An engine for batches of up to `capacity`. Statistics are needed by [`Score::Sml`](crate::Score::Sml) alone.
    ///
    /// # Errors
    /// When a dimension of `capacity` is 0 or too large, the score needs statistics that are not given or have another
    /// number of classes, or classes without statistics are an error by `params.missing`.
    pub fn new(
        device: Device,
        params: Params,
        statistics: Option<&ClassStatistics>,
        capacity: Capacity,
    ) -> Result<Self> {
        match device {
            Device::Cpu => Self::build(params, statistics, capacity, |standardization| {
                let host = HostBackend::new(params, standardization, capacity)?;
                Ok(Backend::Cpu(Box::new(host)))
            }),
            #[cfg(feature = "cuda")]
            Device::Cuda(ordinal) => {
                Self::on_cuda(ordinal, CudaOptions::default(), params, statistics, capacity)
            }
        }
    }

    /// As [`Engine::new`] for [`Device::Cuda`], with a choice of how the driver is used.
    ///
    /// Opens the GPU, compiles the kernels or takes them from the cache, loads them, and allocates the workspace. Not to be
    /// called while a stream of that GPU is being captured into a graph.
    ///
    /// # Errors
    /// As [`Engine::new`]; [`Error::Device`] when the GPU cannot be used, [`Error::DeviceMemory`] when the workspace does
    /// not fit, [`Error::Cuda`] when kernels cannot be had or the driver refuses.
    #[cfg(feature = "cuda")]
    pub fn on_cuda(
        ordinal: usize,
        options: CudaOptions,
        params: Params,
        statistics: Option<&ClassStatistics>,
        capacity: Capacity,
    ) -> Result<Self> {
        Self::build(params, statistics, capacity, |standardization| {
            let engine = CudaEngine::new(ordinal, params, standardization.as_ref(), capacity, options)?;
            Ok(Backend::Cuda(Box::new(engine)))
        })
    }

    fn build(
        params: Params,
        statistics: Option<&ClassStatistics>,
        capacity: Capacity,
        backend: impl FnOnce(Option<Standardization>) -> Result<Backend>,
    ) -> Result<Self> {
        capacity.check()?;
        let statistics = statistics.filter(|_| params.score.needs_statistics());
        if params.score.needs_statistics() && statistics.is_none() {
            return Err(Error::StatisticsNeeded { score: params.score.to_string() });
        }
        if let Some(classes) = statistics.map(|s| s.classes().len()).filter(|&n| n != capacity.classes) {
            return Err(different_classes(classes, capacity.classes));
        }
        let standardization = statistics.map(|s| s.standardization(params.missing)).transpose()?;
        let without = standardization.as_ref().map(|s| s.without_statistics.clone()).unwrap_or_default();
        let pooled = params.missing == crate::MissingStatistics::Pooled;
        let warning =
            (!without.is_empty()).then_some(Warning::ClassesWithoutStatistics { classes: without, pooled });
        let backend = backend(standardization)?;
        let warnings = warning.into_iter().chain(backend.warnings()).collect();
        Ok(Self {
            params,
            statistics_classes: statistics.map(|s| s.classes().len()),
            capacity,
            warnings,
            backend,
            #[cfg(feature = "torch")]
            tensors: None,
        })
    }

    /// Runs all stages on a batch of logits, upsampled to `size` where it differs from theirs. The result lies in
    /// the engine's memory.
    ///
    /// # Errors
    /// When the batch exceeds the engine's capacity or has another number of classes than the statistics.
    pub fn submit(&mut self, logits: &Logits<'_>, size: Size) -> Result<AnomalyMap<'_>> {
        self.check(logits.shape(), size)?;
        let batch = logits.shape().batch;
        let pixels = batch * size.pixels();
        let host = self.host()?;
        let score = &mut host.score[..pixels];
        let prediction = &mut host.prediction[..pixels];
        let non_finite = &mut host.non_finite[..batch];
        let output = Output { score, narrow: None, prediction, non_finite };
        host.engine.submit(logits, size, output)?;
        let (score, prediction) = (&host.score[..pixels], &host.prediction[..pixels]);
        let dimensions = (batch, size.height, size.width);
        Ok(AnomalyMap {
            score: view(score, dimensions)?,
            prediction: view(prediction, dimensions)?,
            non_finite: &host.non_finite[..batch],
        })
    }

    /// As [`Engine::submit`], with the result written into the caller's memory.
    ///
    /// # Errors
    /// As [`Engine::submit`], and when an output does not have exactly the result's number of elements.
    pub fn submit_into(&mut self, logits: &Logits<'_>, output: AnomalyMapMut<'_>) -> Result<()> {
        self.check(logits.shape(), output.size)?;
        let batch = logits.shape().batch;
        let pixels = batch * output.size.pixels();
        let lengths = [
            ("number of anomaly scores", output.score.len(), pixels),
            ("number of predictions", output.prediction.len(), pixels),
            ("number of counts of non-finite pixels", output.non_finite.len(), batch),
        ];
        for (what, given, expected) in lengths {
            if given != expected {
                let expected = format!("{expected} for {batch} images of {}", output.size);
                return Err(Error::Shape { what, given: given.to_string(), expected });
            }
        }
        let host = self.host()?;
        let AnomalyMapMut { size, score, prediction, non_finite } = output;
        let (score, narrow) = match score {
            ScoreMut::F32(score) => (score, None),
            // The stages compute in float32: in the engine's own memory.
            ScoreMut::F16(narrow) => (&mut host.score[..pixels], Some(narrow)),
        };
        host.engine.submit(logits, size, Output { score, narrow, prediction, non_finite })
    }

    /// The engine on the GPU, for the calls that come with its memory's addresses.
    #[cfg(feature = "cuda")]
    pub(crate) fn on_gpu(&mut self) -> Result<&mut CudaEngine> {
        match &mut self.backend {
            Backend::Cuda(engine) => Ok(engine),
            Backend::Cpu(_) => Err(Error::Device {
                device: "cpu".to_owned(),
                problem: "the engine runs there, and the logits lie in a GPU's memory".to_owned(),
                remedy: "build the engine with Device::Cuda, or copy the logits to the host and use submit"
                    .to_owned(),
            }),
        }
    }

    /// A stream that lives as long as the engine and does not wait for CUDA's default stream: made for running a network
    /// and the engine on, one behind the other. `None` on the CPU.
    #[cfg(feature = "cuda")]
    pub fn stream(&self) -> Option<RawStream> {
        match &self.backend {
            Backend::Cpu(_) => None,
            Backend::Cuda(engine) => Some(engine.stream()),
        }
    }

    /// The same stream, which then lives as long as the process: libtorch's allocator keeps memory for the streams that it
    /// has worked on.
    #[cfg(all(feature = "cuda", feature = "torch"))]
    pub(crate) fn stream_for_libtorch(&self) -> Option<RawStream> {
        match &self.backend {
            Backend::Cpu(_) => None,
            Backend::Cuda(engine) => Some(engine.stream_for_libtorch()),
        }
    }

    /// Waits until the latest batch is complete. Returns at once on the CPU, where `submit` did the work.
    ///
    /// # Errors
    /// [`Error::Cuda`] when the GPU reports that work failed, and [`Error::Poisoned`] ever after.
    pub fn synchronize(&mut self) -> Result<()> {
        match &mut self.backend {
            Backend::Cpu(_) => Ok(()),
            #[cfg(feature = "cuda")]
            Backend::Cuda(engine) => engine.synchronize(),
        }
    }

    /// Where the engine runs.
    pub fn device(&self) -> Device {
        match &self.backend {
            Backend::Cpu(_) => Device::Cpu,
            #[cfg(feature = "cuda")]
            Backend::Cuda(engine) => Device::Cuda(engine.ordinal()),
        }
    }

    fn host(&mut self) -> Result<&mut HostBackend> {
        match &mut self.backend {
            Backend::Cpu(host) => Ok(host),
            #[cfg(feature = "cuda")]
            Backend::Cuda(engine) => Err(Error::Device {
                device: format!("cuda:{}", engine.ordinal()),
                problem: "the engine runs there, and the logits lie in host memory".to_owned(),
                remedy: "give it logits on its GPU (submit_tensor, submit_device), or build the engine with Device::Cpu"
                    .to_owned(),
            }),
        }
    }

    /// The engine's parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// The largest batch that it accepts.
    pub fn capacity(&self) -> Capacity {
        self.capacity
    }

    /// What construction found that a person should know.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Bytes of device memory that the engine keeps; 0 on the CPU.
    pub fn device_bytes(&self) -> usize {
        match &self.backend {
            Backend::Cpu(_) => 0,
            #[cfg(feature = "cuda")]
            Backend::Cuda(engine) => engine.device_bytes(),
        }
    }

    /// Measures the stages of each batch from now on, or ceases to. On the CPU they always are; on a GPU it costs an event
    /// a stage, and graphs are not used meanwhile.
    ///
    /// # Errors
    /// [`Error::Cuda`] when the driver refuses.
    #[cfg_attr(
        not(feature = "cuda"),
        allow(unused_variables, reason = "there is nothing to switch on the CPU")
    )]
    pub fn profile(&mut self, on: bool) -> Result<()> {
        match &mut self.backend {
            Backend::Cpu(_) => Ok(()),
            #[cfg(feature = "cuda")]
            Backend::Cuda(engine) => engine.profile(on),
        }
    }

    /// Time that the stages of the latest batch took. On the CPU they run side by side, and the batch's time is divided among them by
    /// what the threads spent in each. `None` on a GPU without [`Engine::profile`]; with it, this waits for the batch.
    ///
    /// # Errors
    /// [`Error::Cuda`] when the GPU reports that work failed, and [`Error::Poisoned`] ever after.
    pub fn timings(&mut self) -> Result<Option<StageTimings>> {
        match &mut self.backend {
            Backend::Cpu(host) => Ok(Some(host.engine.timings())),
            #[cfg(feature = "cuda")]
            Backend::Cuda(engine) => engine.timings(),
        }
    }

    /// Refuses a batch that the engine was not built for.
    pub(crate) fn check(&self, shape: LogitsShape, size: Size) -> Result<()> {
        let capacity = self.capacity;
        if let Some(classes) = self.statistics_classes.filter(|&classes| classes != shape.classes) {
            return Err(different_classes(classes, shape.classes));
        }
        let dimensions = [
            ("batch of the logits", shape.batch, capacity.batch),
            ("number of classes", shape.classes, capacity.classes),
            ("height of the logits", shape.size.height, capacity.logits.height),
            ("width of the logits", shape.size.width, capacity.logits.width),
            ("height of the result", size.height, capacity.output.height),
            ("width of the result", size.width, capacity.output.width),
        ];
        for (what, given, most) in dimensions {
            if given == 0 || given > most {
                let expected = format!("1 to {most}, the capacity that the engine was built with");
                return Err(Error::Shape { what, given: given.to_string(), expected });
            }
        }
        Ok(())
    }
}

fn view<T>(data: &[T], dimensions: (usize, usize, usize)) -> Result<ArrayView3<'_, T>> {
    ArrayView3::from_shape(dimensions, data).map_err(|error| Error::Shape {
        what: "result",
        given: error.to_string(),
        expected: format!("{dimensions:?}"),
    })
}

fn different_classes(statistics: usize, logits: usize) -> Error {
    Error::InvalidStatistics {
        problem: format!("{statistics} classes"),
        expected: format!("{logits}, as the logits have"),
    }
}
