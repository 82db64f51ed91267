//! Whole frames: pictures through a network and the post-processing.

use std::path::Path;
use std::time::Instant;

use image::RgbImage;
use image::imageops::{FilterType, resize};
use tch::Device;

use super::report::{First, MOST_SAMPLES, Machine, Memory, Options, Report, Row, SCHEMA, us};
use super::{Frames, ResultShape};
use crate::cli::model::ModelArgs;
use crate::files::decode_picture;
use crate::latency::Samples;
use crate::torch::{Backbone, FrameTimings, Pipeline, PipelineOptions};
use crate::{ClassStatistics, Error, Params, PictureView, Provenance, Result, Size, demo};

/// Pictures that take turns.
const INPUTS: usize = 3;

/// The rows of the report, in the order of `times`.
const STAGES: [&str; 7] =
    ["preprocess", "network", "standardize", "suppress", "smooth", "post_processing", "end_to_end"];

/// Measures the network that `model` names on pictures of `size`; `classes` where the shape told them.
///
/// # Errors
/// When the network cannot be loaded or run, or has another number of classes.
pub(super) fn run(model: &ModelArgs, size: Size, classes: Option<usize>, frames: Frames) -> Result<Report> {
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
    let machine = Machine::of(device(backbone.device()))?;
    let what = format!(
        "whole frames: {size} pictures -> {} ({}), logits at 1/{} -> {size}",
        model.model, facts.dtype, facts.from
    );
    let pictures = pictures(size)?;
    let views = pictures.iter().map(PictureView::try_from).collect::<Result<Vec<_>>>()?;
    let statistics = statistics(model, &*backbone)?;
    let options = PipelineOptions { profile: true, ..PipelineOptions::default() };
    let mut pipeline = Pipeline::new(backbone, Params::default(), Some(statistics), options)?
        .on_warning(crate::cli::show_warning);

    let start = Instant::now();
    pipeline.run(&views[0])?;
    let first = start.elapsed();
    for turn in 0..frames.warmup {
        pipeline.run(&views[(turn + 1) % INPUTS])?;
    }
    let mut samples =
        (0..7).map(|_| Samples::with_room_for(Some(frames.measured as u64))).collect::<Result<Vec<_>>>()?;
    for turn in 0..frames.measured {
        pipeline.run(&views[turn % INPUTS])?;
        samples.iter_mut().zip(times(&pipeline.timings()?)).for_each(|(samples, time)| samples.add(time));
    }
    Ok(Report {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        machine,
        what,
        options: Options::default(),
        frames: frames.measured as u64,
        warmup: frames.warmup as u64,
        inputs: INPUTS,
        measured_s: 0.0,
        interrupted: false,
        first: First { construction_us: us(construction), frame_us: us(first), ..First::default() },
        memory: Memory { peak_bytes: super::machine::peak_bytes(), device_bytes: None },
        clocks: None,
        results: STAGES.iter().zip(&samples).map(|(stage, samples)| facts.row(stage, samples)).collect(),
        sweep: None,
    })
}

fn device(device: Device) -> crate::Device {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(ordinal) => crate::Device::Cuda(ordinal),
        _ => crate::Device::Cpu,
    }
}

fn times(timings: &FrameTimings) -> [std::time::Duration; 7] {
    let FrameTimings { preprocess, backbone, stages, total } = *timings;
    let post_processing = timings.post_processing();
    [preprocess, backbone, stages.standardize, stages.suppress, stages.smooth, post_processing, total]
}

/// What rows say about the network.
struct Facts {
    shape: ResultShape,
    dtype: String,
    from: usize,
}

impl Facts {
    fn of(backbone: &dyn Backbone, size: Size) -> Self {
        Self {
            shape: ResultShape { batch: 1, classes: backbone.class_names().len(), size },
            dtype: backbone.input_format().precision.to_string(),
            from: backbone.output_stride(),
        }
    }

    fn row(&self, stage: &'static str, samples: &Samples) -> Row {
        Row {
            stage: stage.to_owned(),
            shape: self.shape.to_string(),
            dtype: self.dtype.clone(),
            from: self.from,
            layout: None,
            threads: rayon::current_num_threads(),
            suppression: "4,4".to_owned(),
            frames: samples.count(),
            frames_per_s: None,
            latency_us: samples.latency(),
            submit_us: None,
            bytes: None,
            gb_per_s: None,
            copy_gb_per_s: None,
            read_gb_per_s: None,
            copy_percent: None,
            read_percent: None,
            samples_us: samples.thinned(MOST_SAMPLES),
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
fn pictures(size: Size) -> Result<Vec<RgbImage>> {
    let scaled = |scene: &demo::Scene| {
        let picture = decode_picture(Path::new(scene.name), scene.picture)?;
        Ok(resize(&picture, size.width as u32, size.height as u32, FilterType::Triangle))
    };
    demo::SCENES.iter().take(INPUTS).map(scaled).collect()
}
