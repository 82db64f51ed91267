//! Whole frames: a picture in, an anomaly map out, with everything between them kept from frame to frame.
//!
//! A [`Pipeline`] owns network, engine, input tensor and, on a GPU, stream and pinned memory. The first picture of a size
//! allocates all of it and pictures of the same size use it again. On a GPU the parts of a frame follow each other on one stream, and
//! nothing is waited for but the result ([`Pipeline::run`]), or nothing at all ([`Pipeline::submit`]).

use std::fmt;
use std::time::Duration;

#[cfg(feature = "cuda")]
use tch::Device;

#[cfg(feature = "cuda")]
use super::gpu_frames::GpuFrames;
use super::host_frames::HostFrames;
#[cfg(all(feature = "cuda", feature = "frame-loop"))]
use super::stream_pipeline::StreamPipeline;
use super::{AnomalyTensors, Backbone, PostProcessor};
use crate::{
    AnomalyMap, AnomalyMapMut, ClassStatistics, Error, Params, PictureView, PixelFormat, Result, Size,
    StageTimings, Warning,
};

/// Time that the parts of one frame took. On the CPU by the host's clock; on a GPU by its own, between marks in the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FrameTimings {
    /// Resizing, normalisation, transfer to the network's device.
    pub preprocess: Duration,
    /// The network.
    pub backbone: Duration,
    /// The engine's stages.
    pub stages: StageTimings,
    /// From the picture to the result, in host memory where it was asked for there: the parts and what lies between them.
    pub total: Duration,
}

impl FrameTimings {
    /// Names of the parts with their times, in order.
    pub fn rows(&self) -> [(&'static str, Duration); 5] {
        let StageTimings { standardize, suppress, smooth } = self.stages;
        [
            ("preprocess", self.preprocess),
            ("backbone", self.backbone),
            ("standardize", standardize),
            ("suppress", suppress),
            ("smooth", smooth),
        ]
    }

    /// The stages of the post-processing together.
    pub fn post_processing(&self) -> Duration {
        self.stages.standardize + self.stages.suppress + self.stages.smooth
    }

    /// Which part of the whole frame the post-processing is, from 0 to 1; `None` where nothing was measured.
    pub fn post_processing_share(&self) -> Option<f64> {
        let total = self.total.as_secs_f64();
        (total > 0.0).then(|| self.post_processing().as_secs_f64() / total)
    }
}

/// How a pipeline works. No choice changes a result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PipelineOptions {
    /// Measure the parts of every frame. On the CPU they always are, and in a frame loop; on a GPU it costs an event a part and an event
    /// a stage.
    pub profile: bool,
    /// On a GPU, let [`Pipeline::run`] give network, engine and the copies of the result to the stream as one CUDA graph: one call for the
    /// hundreds of kernels of a network. The first frames run plainly, and frames that are profiled. The graph is for pictures of
    /// the first size and format, and takes the network's memory a second time. Where it cannot be captured, say because
    /// a module waits for the GPU or copies from the host, a [`Warning::Graph`](crate::Warning) tells the reason, and frames go on without.
    /// In a frame loop the graph is captured when the loop is built, and holds the network alone.
    ///
    /// Off by default: what it gains has not been measured yet.
    pub graph: bool,
}

/// A network and the post-processing of its logits, for pictures one after the other.
///
/// ```no_run
/// use sml::torch::{Pipeline, PipelineOptions, choose_device};
/// use sml::{ClassStatistics, DeviceRequest, Params, PictureView, PixelFormat, Size, demo};
///
/// let network = demo::backbone(choose_device(DeviceRequest::Auto)?)?;
/// let statistics = ClassStatistics::from_json(demo::STATISTICS)?;
/// let params = Params::default();
/// let mut pipeline =
///     Pipeline::new(Box::new(network), params, Some(statistics), PipelineOptions::default())?;
///
/// // A camera's buffer: blue first, rows padded to 4096 bytes.
/// let camera = vec![0; 720 * 4096];
/// for _ in 0..10 {
///     let picture = PictureView::new(&camera, Size::new(720, 1280), 4096, PixelFormat::Bgr8)?;
///     let map = pipeline.run(&picture)?;
///     println!("{:?}", map.score[(0, 0, 0)]);
/// }
/// # Ok::<(), sml::Error>(())
/// ```
///
/// Fields are dropped in this order: what waits for the stream first.
pub struct Pipeline {
    place: Place,
    post_processor: PostProcessor,
    backbone: Box<dyn Backbone>,
}

/// Where pictures are prepared.
enum Place {
    /// Nothing yet: the first picture tells its size.
    Host(Option<Box<HostFrames>>),
    #[cfg(feature = "cuda")]
    Gpu(Box<GpuFrames>),
}

/// What a loop is built around.
#[cfg(all(feature = "cuda", feature = "frame-loop"))]
pub(crate) enum OnStream {
    Gpu(Box<StreamPipeline>),
    Host(Box<Pipeline>),
}

impl Pipeline {
    /// A pipeline on the backbone's device. `params.align_corners` is taken from the backbone.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) and [`Error::Cuda`](crate::Error::Cuda) where the backbone's GPU cannot be
    /// used by this crate.
    pub fn new(
        backbone: Box<dyn Backbone>,
        params: Params,
        statistics: Option<ClassStatistics>,
        options: PipelineOptions,
    ) -> Result<Self> {
        let place = match backbone.device() {
            #[cfg(feature = "cuda")]
            Device::Cuda(ordinal) => {
                Place::Gpu(Box::new(GpuFrames::new(ordinal, options.profile, options.graph)?))
            }
            _ => Place::Host(None),
        };
        let params = Params { align_corners: backbone.align_corners(), ..params };
        let mut post_processor = PostProcessor::new(params, statistics);
        post_processor.profile(options.profile)?;
        Ok(Self { place, post_processor, backbone })
    }

    /// The same, with `show` called once for each warning, when the first engine is built.
    #[must_use]
    pub fn on_warning(mut self, show: impl FnMut(&Warning) + Send + 'static) -> Self {
        self.post_processor = self.post_processor.on_warning(show);
        self
    }

    /// The network.
    pub fn backbone(&self) -> &dyn Backbone {
        &*self.backbone
    }

    /// The post-processing.
    pub fn post_processor(&self) -> &PostProcessor {
        &self.post_processor
    }

    /// Makes a loop's first picture of this size as fast as the later ones: builds the engine, lets libtorch profile and compile
    /// a TorchScript module and cuDNN try its algorithms, all on black pictures ([`Backbone::slow_passes`] of them, at least
    /// one). Not worth its time before a single picture.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn warm_up(&mut self, size: Size) -> Result<()> {
        let black = vec![0; 3 * size.pixels()];
        let picture = PictureView::new(&black, size, 3 * size.width, PixelFormat::Rgb8)?;
        for _ in 0..self.backbone.slow_passes().max(1) {
            self.run(&picture)?;
        }
        Ok(())
    }

    /// The anomaly map of a picture, of the picture's size, in host memory of the pipeline's, until the next call. Waits for it.
    ///
    /// # Errors
    /// When the picture does not suit the network, statistics or memory are missing, or libtorch or the GPU fail. The
    /// pipeline can be used again, unless the error is [`Error::Poisoned`](crate::Error::Poisoned).
    pub fn run(&mut self, picture: &PictureView<'_>) -> Result<AnomalyMap<'_>> {
        let Self { place, post_processor, backbone } = self;
        match place {
            Place::Host(frames) => {
                fitting(frames, &**backbone, picture)?.run(&**backbone, post_processor, picture)
            }
            #[cfg(feature = "cuda")]
            Place::Gpu(frames) => frames.run(&**backbone, post_processor, picture),
        }
    }

    /// As [`run`](Self::run), with the result written into the caller's memory: in place on the CPU, with one more copy on a GPU.
    ///
    /// # Errors
    /// As [`run`](Self::run); [`Error::Shape`](crate::Error::Shape) for memory of another size than the picture's, or for scores
    /// in float16 from a GPU.
    pub fn run_into(&mut self, picture: &PictureView<'_>, result: AnomalyMapMut<'_>) -> Result<()> {
        if result.size != picture.size() {
            return Err(Error::Shape {
                what: "size of the result",
                given: result.size.to_string(),
                expected: format!("{}, as the picture has", picture.size()),
            });
        }
        let Self { place, post_processor, backbone } = self;
        match place {
            Place::Host(frames) => {
                fitting(frames, &**backbone, picture)?.run_into(&**backbone, post_processor, picture, result)
            }
            #[cfg(feature = "cuda")]
            Place::Gpu(frames) => frames.run(&**backbone, post_processor, picture)?.copy_to(result),
        }
    }

    /// The anomaly map of a picture, of the picture's size, in tensors of the pipeline's, on its device, until the next call.
    ///
    /// On a GPU this returns when the work is given to the pipeline's own stream, which does not wait for CUDA's default
    /// stream: whoever reads the tensors waits with [`synchronize`](Self::synchronize), or works on that stream. The picture's
    /// memory is free again when this returns.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn submit(&mut self, picture: &PictureView<'_>) -> Result<AnomalyTensors<'_>> {
        let Self { place, post_processor, backbone } = self;
        match place {
            Place::Host(frames) => {
                fitting(frames, &**backbone, picture)?.submit(&**backbone, post_processor, picture)
            }
            #[cfg(feature = "cuda")]
            Place::Gpu(frames) => frames.submit(&**backbone, post_processor, picture),
        }
    }

    /// Whether frames run as one CUDA graph now: see [`PipelineOptions::graph`].
    pub fn is_one_graph(&self) -> bool {
        match &self.place {
            Place::Host(_) => false,
            #[cfg(feature = "cuda")]
            Place::Gpu(frames) => frames.is_one_graph(),
        }
    }

    /// The work of a loop around it, where it is on a GPU; itself where it is not.
    ///
    /// # Errors
    /// When pictures of this kind do not suit the network; where libtorch or the driver refuse.
    #[cfg(all(feature = "cuda", feature = "frame-loop"))]
    pub(crate) fn on_a_stream(self, kind: (Size, PixelFormat)) -> Result<OnStream> {
        let Self { place, post_processor, backbone } = self;
        match (place, backbone.device()) {
            (Place::Gpu(frames), Device::Cuda(ordinal)) => {
                let work = StreamPipeline::new((*frames, post_processor, backbone), ordinal, kind)?;
                Ok(OnStream::Gpu(Box::new(work)))
            }
            (place, _) => Ok(OnStream::Host(Box::new(Self { place, post_processor, backbone }))),
        }
    }

    /// Waits for the latest frame. Returns at once on the CPU.
    ///
    /// # Errors
    /// When the GPU reports that work failed.
    pub fn synchronize(&mut self) -> Result<()> {
        match &mut self.place {
            Place::Host(_) => Ok(()),
            #[cfg(feature = "cuda")]
            Place::Gpu(frames) => frames.synchronize(),
        }
    }

    /// Measures the parts of each frame from now on, or ceases to: see [`PipelineOptions::profile`].
    ///
    /// # Errors
    /// As [`PostProcessor::profile`].
    pub fn profile(&mut self, on: bool) -> Result<()> {
        #[cfg(feature = "cuda")]
        if let Place::Gpu(frames) = &mut self.place {
            frames.profile(on);
        }
        self.post_processor.profile(on)
    }

    /// Time that the parts of the latest frame took; zero where nothing was measured. On a GPU this waits for the frame.
    ///
    /// # Errors
    /// When the GPU reports that work failed.
    pub fn timings(&mut self) -> Result<FrameTimings> {
        let timings = match &mut self.place {
            Place::Host(frames) => frames.as_ref().map(|frames| frames.timings).unwrap_or_default(),
            #[cfg(feature = "cuda")]
            Place::Gpu(frames) => frames.timings()?,
        };
        Ok(FrameTimings { stages: self.post_processor.timings()?, ..timings })
    }
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline")
            .field("backbone", &self.backbone.name())
            .field("device", &self.backbone.device())
            .field("post_processor", &self.post_processor)
            .finish_non_exhaustive()
    }
}

/// What there is for pictures of this size, made anew where there is none.
fn fitting<'a>(
    frames: &'a mut Option<Box<HostFrames>>,
    backbone: &dyn Backbone,
    picture: &PictureView<'_>,
) -> Result<&'a mut HostFrames> {
    let fits = frames.take().filter(|frames| frames.fits(picture));
    let fitting = match fits {
        Some(fits) => fits,
        None => Box::new(HostFrames::new(backbone, picture)?),
    };
    Ok(frames.insert(fitting))
}
