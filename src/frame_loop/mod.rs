//! Frames one after the other, on time, for as long as it takes: a bounded pipeline around a network or an engine.
//!
//! A [`FrameLoop`] has a thread of its own that runs network and engine, while the source's thread copies the next frame in, a second one
//! finds obstacles in the last result, where that is asked for, and the consumer's thread uses the one before. Its two ends are a [`Submitter`] and a [`Receiver`].
//!
//! * **Bounded.** So many frames may wait ([`FrameLoopOptions::queue`]), so many results ([`FrameLoopOptions::results`]). What happens
//!   to a frame that comes too soon is a [`Policy`]. All memory is allocated when the loop is built; afterwards a frame
//!   allocates nothing in the loop. (What the engine says about rayon holds here too; libtorch allocates in every forward pass, out of its
//!   own caches.)
//! * **In order.** Results come in the order of their frames, with the frame's id and timestamp.
//! * **Accounted for.** Every frame that was submitted is delivered or dropped, and counted ([`LoopSummary`]).
//! * **Measured.** Every result says what its parts took ([`FrameTelemetry`]), HDR histograms keep all of it, and frames that
//!   miss their deadline are marked and counted. With a `tracing` subscriber, each frame is a span `submit`, a span `frame` and, where
//!   there is a second thread, a span `after` on the threads that do it, with its `id`. On the CPU each part is a span within these
//!   (the engine's stages, which run together, are one); on a GPU, which works by itself, `frame` is the giving and a span `wait` the waiting. The event `frame is ready` has a field a part:
//!   `queue_us`, `upload_us` and so on, on a GPU by its own clock.
//! * **Ends whole.** An error or a panic in network, engine or device ends the loop: results that are ready can still be received, the
//!   threads end, and [`Receiver::finish`] returns the error. A new loop can be built at once, unless the error says
//!   otherwise ([`Error::Poisoned`]).
//!
//! ```
//! use sml::frame_loop::{FrameLoop, FrameLoopOptions, FrameStamp};
//! use sml::{Capacity, ClassStatistics, Device, ElementType, Engine, Layout, Logits, LogitsShape, Params, Size};
//!
//! let statistics = ClassStatistics::from_json(r#"{"mean": [5.0, 6.0], "variance": [1.0, 4.0]}"#)?;
//! let (shape, size) = (LogitsShape::new(1, 2, 6, 8)?, Size::new(24, 32));
//! let engine = Engine::new(Device::Cpu, Params::default(), Some(&statistics), Capacity::of(shape, size))?;
//! let form = (shape, ElementType::F32, Layout::Nchw);
//! let (mut submitter, mut receiver) =
//!     FrameLoop::around_engine(engine, form, size, FrameLoopOptions::default())?.split();
//!
//! let source = std::thread::spawn(move || -> sml::Result<()> {
//!     for id in 0..10 {
//!         let logits: Vec<f32> = (0..shape.elements()).map(|i| ((i as u64 * id) % 11) as f32).collect();
//!         submitter.submit(Logits::packed(&logits[..], shape, Layout::Nchw)?, FrameStamp { id, ..Default::default() })?;
//!     }
//!     Ok(()) // The submitter is dropped here, and the loop ends when the frames are done.
//! });
//! while let Some(frame) = receiver.receive() {
//!     println!("{}: {:?}", frame.stamp().id, frame.score()[(0, 0)]);
//! }
//! let summary = receiver.finish(drop)?;
//! assert_eq!((summary.submitted, summary.delivered, summary.dropped), (10, 10, 0));
//! # source.join().unwrap()?;
//! # Ok::<(), sml::Error>(())
//! ```

mod after;
mod form;
mod frame;
mod memory;
mod options;
#[cfg(feature = "torch")]
mod pipeline_work;
mod queues;
mod receiver;
mod ring;
mod submitter;
mod summary;
mod telemetry;
mod work;
mod worker;

use std::sync::{Arc, mpsc};
use std::time::Duration;

pub use form::{FrameForm, FrameInput};
pub use frame::AnomalyFrame;
pub use options::{FrameLoopOptions, FrameStamp, Policy, Submission};
pub use receiver::{Received, Receiver};
pub use submitter::Submitter;
pub use summary::LoopSummary;
pub use telemetry::{FramePart, FrameTelemetry, Latencies, WorkTimings};
pub use work::FrameWork;

#[cfg(feature = "cuda")]
use crate::cuda::{EngineOnStream, StreamLanes};
#[cfg(all(feature = "cuda", feature = "torch"))]
use crate::torch::OnStream;
use crate::{Device, ElementType, Engine, Error, Layout, LogitsShape, Result, Size};
use after::After;
#[cfg(feature = "cuda")]
pub(crate) use memory::{HostMemory, ResultMemory};
use queues::Queues;
use ring::Output;
#[cfg(feature = "cuda")]
pub(crate) use work::Job;
pub(crate) use work::Lanes;
use work::{AtOnce, EngineWork};

/// A bounded pipeline: see the [module](self).
///
/// Whole, it is submitted to and received from on one thread: with [`Policy::Block`] never submit more than
/// [`queue`](FrameLoopOptions::queue) frames ahead of what was received. [Split](Self::split), its two ends go to two threads.
///
/// Dropped, it gives up: frames that wait are dropped, and its threads are joined.
#[derive(Debug)]
pub struct FrameLoop {
    submitter: Submitter,
    receiver: Receiver,
}

impl FrameLoop {
    /// A loop around a network and its post-processing: pictures of one size and format in. The first passes of the network, which
    /// are slower than the others, are done here, on a black picture.
    ///
    /// On a GPU, frames and results lie in pinned memory, and two frames are under way at once, as in a loop
    /// [around a stream](Self::around_stream): copies to the GPU, preprocessing, network and kernels, and copies to the host have streams of
    /// their own and overlap. Where frames are to run [as one graph](crate::torch::PipelineOptions::graph), the network does, and the
    /// engine's launches follow it. All of this has been checked against a driver that is made up, but for libtorch's own part; it has
    /// not run on a GPU yet.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for options out of range; [`Error::Shape`] for a picture without pixels, or no memory for so
    /// many; and as [`Pipeline::run`](crate::torch::Pipeline::run).
    #[cfg(feature = "torch")]
    pub fn around_pipeline(
        pipeline: crate::torch::Pipeline,
        (size, format): (Size, crate::PixelFormat),
        options: FrameLoopOptions,
    ) -> Result<Self> {
        let form = FrameForm::Picture { size, format };
        form.check()?;
        #[cfg(feature = "cuda")]
        let pipeline = match pipeline.on_a_stream((size, format))? {
            OnStream::Gpu(work) => return Self::around_stream(*work, form, size, options),
            OnStream::Host(pipeline) => *pipeline,
        };
        let work = pipeline_work::PipelineWork::new(pipeline, size, format);
        Self::build(Box::new(AtOnce::new(work, form)), form, size, options)
    }

    /// A loop around a bare engine: packed logits of one image in, of the given shape, element type and layout, upsampled to `size`.
    ///
    /// With an engine on a GPU this is a loop [around its stream](Self::around_stream): copies and kernels overlap. That has been checked
    /// against a driver that is made up, and has not run on a GPU yet.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for options out of range; [`Error::Shape`] for more than one image, logits or a size that
    /// exceed the engine's capacity, or no memory for so many; [`Error::DeviceMemory`] and [`Error::Cuda`] where a GPU's driver
    /// refuses.
    pub fn around_engine(
        engine: Engine,
        (shape, element, layout): (LogitsShape, ElementType, Layout),
        size: Size,
        options: FrameLoopOptions,
    ) -> Result<Self> {
        let form = FrameForm::Logits { shape, element, layout };
        form.check()?;
        let lanes: Box<dyn Lanes> = match engine.device() {
            Device::Cpu => Box::new(AtOnce::new(EngineWork::new(engine, form, size)?, form)),
            #[cfg(feature = "cuda")]
            Device::Cuda(_) => {
                Box::new(StreamLanes::new(EngineOnStream::new(engine, form, size)?, form, size)?)
            }
        };
        Self::build(lanes, form, size, options)
    }

    /// A loop around work of one's own: frames of the given form in, results of the given size out.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for options out of range; [`Error::Shape`] for a form or a size without pixels, or no memory for so
    /// many; and what [`FrameWork::prepare`] returns.
    pub fn around(
        work: impl FrameWork + 'static,
        form: FrameForm,
        size: Size,
        options: FrameLoopOptions,
    ) -> Result<Self> {
        Self::build(Box::new(AtOnce::new(work, form)), form, size, options)
    }

    /// A loop around work on a GPU's stream: frames of the given form in, results of the given size out. For a network of another
    /// runtime there, with an engine behind it.
    ///
    /// Frames and results lie in pinned memory, and two frames are under way at once: the copy of the next frame to the GPU, the work on
    /// this one and the copy of the last result to the host are on streams of their own and overlap. A result is handed on when the next
    /// frame, if there is one, was given to the GPU.
    ///
    /// # Errors
    /// As [`around`](Self::around); [`Error::Device`] where the GPU cannot be used, [`Error::DeviceMemory`] and [`Error::Cuda`]
    /// where its driver refuses.
    #[cfg(feature = "cuda")]
    pub fn around_stream(
        work: impl crate::cuda::StreamWork + 'static,
        form: FrameForm,
        size: Size,
        options: FrameLoopOptions,
    ) -> Result<Self> {
        form.check()?;
        LogitsShape::new(1, 1, size.height, size.width)?;
        Self::build(Box::new(StreamLanes::new(work, form, size)?), form, size, options)
    }

    fn build(lanes: Box<dyn Lanes>, form: FrameForm, size: Size, options: FrameLoopOptions) -> Result<Self> {
        options.check(form)?;
        form.check()?;
        LogitsShape::new(1, 1, size.height, size.width)?;
        let mut after = After::new(form, size, &options)?;
        Self::start(lanes, form, size, options, move |output| after.run(output))
    }

    /// `after` is what the second thread does with a result, where the options ask for one.
    fn start(
        lanes: Box<dyn Lanes>,
        form: FrameForm,
        size: Size,
        options: FrameLoopOptions,
        after: impl FnMut(&mut Output) -> Result<()> + Send + 'static,
    ) -> Result<Self> {
        let second = options.has_second_thread();
        let queues = Arc::new(Queues::new(form, size, options, &*lanes)?);
        let (sender, prepared) = mpsc::sync_channel(1);
        let mut receiver = Receiver::new(Arc::clone(&queues));
        let shared = Arc::clone(&queues);
        receiver.spawn("sml frames", move || worker::run(&shared, lanes, &sender))?;
        if second {
            let shared = Arc::clone(&queues);
            receiver.spawn("sml after", move || after::run(&shared, after))?;
        }
        // The sender is gone without a word only where the thread is.
        prepared
            .recv()
            .unwrap_or_else(|_| Err(Error::LoopEnded { reason: "its thread is gone".to_owned() }))?;
        Ok(Self { submitter: Submitter::new(queues), receiver })
    }

    /// The two ends, for a thread each.
    pub fn split(self) -> (Submitter, Receiver) {
        (self.submitter, self.receiver)
    }

    /// As [`Submitter::submit`].
    ///
    /// # Errors
    /// As there.
    pub fn submit<'a>(&mut self, frame: impl Into<FrameInput<'a>>, stamp: FrameStamp) -> Result<Submission> {
        self.submitter.submit(frame, stamp)
    }

    /// As [`Receiver::receive`], which waits without end while nothing was submitted.
    pub fn receive(&mut self) -> Option<AnomalyFrame> {
        self.receiver.receive()
    }

    /// As [`Receiver::receive_timeout`].
    pub fn receive_timeout(&mut self, patience: Duration) -> Received {
        self.receiver.receive_timeout(patience)
    }

    /// As [`Receiver::summary`].
    pub fn summary(&self) -> LoopSummary {
        self.receiver.summary()
    }

    /// As [`Receiver::finish`].
    ///
    /// # Errors
    /// As there.
    pub fn finish(self, each: impl FnMut(AnomalyFrame)) -> Result<LoopSummary> {
        self.receiver.finish(each)
    }
}
