//! Whole frames: pictures through a network and the post-processing.

use std::path::Path;
use std::time::{Duration, Instant};

use image::RgbImage;
use image::imageops::{FilterType, resize};
use indicatif::ProgressBar;
use tch::Device;

use super::bandwidth::Flusher;
use super::case::ResultShape;
use super::engine_alone::Outcome;
use super::measurement::run;
use super::report::{First, Memory, us};
use super::settings::{Cache, Settings};
use super::subject::{Pass, Subject};
use crate::cli::interrupt::Interrupt;
use crate::cli::model::ModelArgs;
use crate::files::decode_picture;
use crate::torch::{Backbone, FrameTimings, Pipeline, PipelineOptions};
use crate::{ClassStatistics, Error, Params, PictureView, Provenance, Result, Size, demo};

/// Pictures that take turns.
const INPUTS: usize = 3;

/// The parts of a frame and the whole, by one clock.
const SPLIT: [Pass; 1] = [Pass {
    stages: &["preprocess", "network", "standardize", "suppress", "smooth", "post_processing", "end_to_end"],
    profiled: true,
}];

/// The whole without marks in the stream, and the parts between marks.
const WHOLE_AND_SPLIT: [Pass; 2] = [
    Pass { stages: &["end_to_end"], profiled: false },
    Pass {
        stages: &["preprocess", "network", "standardize", "suppress", "smooth", "post_processing"],
        profiled: true,
    },
];

/// What was measured, of which network.
pub(super) struct WholeFrames {
    pub outcome: Outcome,
    pub facts: Facts,
}

/// Measures the network that `model` names on pictures of `size`; `classes` where the shape told them.
///
/// # Errors
/// When the network cannot be loaded or run, or has another number of classes.
pub(super) fn measure(
    model: &ModelArgs,
    size: Size,
    classes: Option<usize>,
    settings: &Settings,
    interrupt: Interrupt,
    bar: &ProgressBar,
) -> Result<WholeFrames> {
    let start = Instant::now();
    let backbone = model.load_or_fill()?;
    let construction = start.elapsed();
    let facts = Facts::of(&*backbone, size);
    if let Some(classes) = classes.filter(|&classes| classes != facts.shape.classes) {
        return Err(Error::InvalidParameter {
            field: "--shape",
            given: format!("{classes} classes"),
            expected: "those of the network, or the size alone: 1024x2048 for instance",
        });
    }
    let device = device(backbone.device());
    let statistics = statistics(model, &*backbone)?;
    let pictures = pictures(size, if settings.cache == Cache::Hot { 1 } else { INPUTS })?;
    let options = PipelineOptions { profile: true, graph: settings.graph.unwrap_or_default() };
    let passes: &'static [Pass] = if device == crate::Device::Cpu { &SPLIT } else { &WHOLE_AND_SPLIT };
    let subject = |backbone: Box<dyn Backbone>| -> Result<Box<dyn Subject>> {
        let pipeline = Pipeline::new(backbone, Params::default(), Some(statistics.clone()), options)?
            .on_warning(crate::cli::show_warning);
        let flusher = (settings.cache == Cache::Cold).then(|| Flusher::on(device)).transpose()?;
        Ok(Box::new(Frames { pipeline, pictures: pictures.clone(), passes, pass: passes[0], flusher }))
    };
    let mut subjects = vec![subject(backbone)?];
    for _ in 1..settings.concurrency {
        subjects.push(subject(model.load_or_fill()?)?);
    }
    let measured = run(&mut subjects, settings.plan(device), interrupt, bar)?;
    let first = First {
        construction_us: us(construction),
        frame_us: us(measured.first),
        warmup_us: us(measured.warmup),
        ..First::default()
    };
    let memory = Memory { peak_bytes: measured.peak_bytes, device_bytes: None };
    Ok(WholeFrames { outcome: Outcome { measured, first, memory, inputs: pictures.len() }, facts })
}

fn device(device: Device) -> crate::Device {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(ordinal) => crate::Device::Cuda(ordinal),
        _ => crate::Device::Cpu,
    }
}

struct Frames {
    pipeline: Pipeline,
    pictures: Vec<RgbImage>,
    passes: &'static [Pass],
    pass: Pass,
    flusher: Option<Flusher>,
}

impl Subject for Frames {
    fn passes(&self) -> &'static [Pass] {
        self.passes
    }

    fn begin(&mut self, pass: Pass) -> Result<()> {
        self.pass = pass;
        self.pipeline.profile(pass.profiled)
    }

    fn flush(&mut self) -> Result<()> {
        self.flusher.as_mut().map_or(Ok(()), Flusher::flush)
    }

    fn frame(&mut self, turn: u64, times: &mut [Duration]) -> Result<()> {
        let picture = PictureView::try_from(&self.pictures[turn as usize % self.pictures.len()])?;
        let start = Instant::now();
        self.pipeline.run(&picture)?;
        let all = start.elapsed();
        let timings = if self.pass.profiled { self.pipeline.timings()? } else { FrameTimings::default() };
        let (submit, stages) = times.split_last_mut().unzip();
        for (time, stage) in stages.into_iter().flatten().zip(self.pass.stages) {
            *time = match *stage {
                "preprocess" => timings.preprocess,
                "network" => timings.backbone,
                "standardize" => timings.stages.standardize,
                "suppress" => timings.stages.suppress,
                "smooth" => timings.stages.smooth,
                "post_processing" => timings.post_processing(),
                _ => all,
            };
        }
        // `run` waits for the result.
        if let Some(submit) = submit {
            *submit = all;
        }
        Ok(())
    }
}

/// What rows say about the network.
pub(super) struct Facts {
    pub shape: ResultShape,
    pub dtype: String,
    pub from: usize,
}

impl Facts {
    fn of(backbone: &dyn Backbone, size: Size) -> Self {
        Self {
            shape: ResultShape { batch: 1, classes: backbone.class_names().len(), size },
            dtype: backbone.input_format().precision.to_string(),
            from: backbone.output_stride(),
        }
    }
}

/// The bundled ones where there are some for these weights. Else all classes have the same: the stages' work depends on them
/// no more than on any other numbers.
fn statistics(model: &ModelArgs, backbone: &dyn Backbone) -> Result<ClassStatistics> {
    if let Some(statistics) = model.statistics(None, backbone)? {
        return Ok(statistics);
    }
    let classes = backbone.class_names().len();
    ClassStatistics::from_vectors(&vec![0.0; classes], &vec![1.0; classes], Provenance::default())
}

/// The bundled pictures, scaled.
fn pictures(size: Size, number: usize) -> Result<Vec<RgbImage>> {
    let scaled = |scene: &demo::Scene| {
        let picture = decode_picture(Path::new(scene.name), scene.picture)?;
        Ok(resize(&picture, size.width as u32, size.height as u32, FilterType::Triangle))
    };
    demo::SCENES.iter().take(number).map(scaled).collect()
}
