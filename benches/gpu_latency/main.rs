//! Latency of the engine on a GPU, by device events: whole frames and each stage, cold and hot, with and without a graph.
//!
//! `cargo bench --bench gpu_latency`, or the program itself on a machine without Rust (scripts/gpu_check.sh). Without a GPU
//! it prints that it is skipped, or fails when `SML_REQUIRE_GPU=1`. Every form is compared with the CPU engine on the same
//! logits before it is timed, in outputs that were filled with other numbers. benches/NOTES.md tells how to read the figures.

#[path = "../frame/mod.rs"]
mod frame;
mod inputs;
mod measure;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use frame::output;
use inputs::{Form, Inputs};
use measure::{Clock, Latency};
use report::{Report, Row};
use sml::cuda::CudaOptions;
use sml::cuda::driver;
use sml::torch::choose_device;
use sml::{Capacity, DeviceRequest, ElementType, Engine, Layout, Params};

/// What went wrong, for a person.
type Failure = Box<dyn std::error::Error>;

/// Times the engine on the first GPU.
#[derive(Parser)]
struct Arguments {
    /// Write the results there, in the form that benches/NOTES.md describes
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write logits and results of the frames there, for benches/peers/run.py --ours
    #[arg(long, value_name = "FOLDER")]
    frames_folder: Option<PathBuf>,
    /// Frames a measurement of the forms that have a target; a fifth of it for the others
    #[arg(long, default_value_t = 10_000, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=100_000))]
    frames: u32,
    /// Run one frame of each form that has a target and measure nothing: for a profiler
    #[arg(long)]
    once: bool,
    /// What `cargo bench` passes to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

/// The forms with a target come first; peers are measured on those in NCHW order.
const FORMS: [Form; 11] = [
    Form::new(ElementType::F16, Layout::Nchw, 1),
    Form::new(ElementType::F32, Layout::Nchw, 1),
    Form::new(ElementType::F16, Layout::Nchw, 4),
    Form::new(ElementType::F16, Layout::Nchw, 8),
    Form::new(ElementType::F32, Layout::Nchw, 4),
    Form::new(ElementType::F32, Layout::Nchw, 8),
    Form::new(ElementType::BF16, Layout::Nchw, 1),
    Form::new(ElementType::BF16, Layout::Nchw, 4),
    Form::new(ElementType::F16, Layout::Nhwc, 1),
    Form::new(ElementType::F32, Layout::Nhwc, 1),
    Form::new(ElementType::F16, Layout::Nhwc, 4),
];
/// How many of [`FORMS`] have a target.
const WITH_TARGET: usize = 4;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Err(error) = choose_device(DeviceRequest::Cuda(0)) {
        if std::env::var_os("SML_REQUIRE_GPU").is_some_and(|value| value == "1") {
            eprintln!("error: SML_REQUIRE_GPU=1 and {error}");
            return ExitCode::FAILURE;
        }
        println!("skipped: {error}");
        return ExitCode::SUCCESS;
    }
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Returns whether every form agreed with the CPU engine.
fn run(arguments: &Arguments) -> Result<bool, Failure> {
    let gpu = driver::probe()?
        .and_then(|driver| driver.gpus.into_iter().next())
        .ok_or("the driver shows no GPU")?;
    if arguments.once {
        return run_once();
    }
    let frames = arguments.frames as usize;
    let mut clock = Clock::new(frames)?;
    let mut report = Report::begin(&gpu, measure::bandwidth(&mut clock)?, measure::nothing(&mut clock)?);
    for (place, form) in FORMS.into_iter().enumerate() {
        clock.limit(if place < WITH_TARGET { frames } else { frames.div_ceil(5).max(2) });
        let inputs = Inputs::new(form, gpu.l2_bytes)?;
        for graph in [false, true] {
            time(&inputs, graph, &mut clock, &mut report)?;
        }
        if let Some(folder) = arguments.frames_folder.as_deref().filter(|_| form.is_for_peers()) {
            inputs.write(folder)?;
        }
        report.finish();
        // Also before the end: a run that is stopped leaves what it measured.
        if let Some(path) = &arguments.json {
            report.write(path)?;
        }
    }
    println!("{report}");
    Ok(report.all_right())
}

/// The engine of a form, on the GPU.
fn engine(inputs: &Inputs, graph: bool) -> sml::Result<Engine> {
    let options = CudaOptions { graph };
    let capacity = Capacity::of(inputs.shape(), output());
    Engine::on_cuda(0, options, Params::default(), Some(inputs.statistics()), capacity)
}

fn run_once() -> Result<bool, Failure> {
    for form in &FORMS[..WITH_TARGET] {
        let mut inputs = Inputs::new(*form, 0)?;
        let mut engine = engine(&inputs, false)?;
        inputs.submit(&mut engine, 0)?;
        engine.synchronize()?;
    }
    Ok(true)
}

/// All measurements of one form, with or without a graph.
fn time(inputs: &Inputs, graph: bool, clock: &mut Clock, report: &mut Report) -> Result<(), Failure> {
    let mut inputs = inputs.with_outputs();
    let mut engine = engine(&inputs, graph)?;
    for warning in engine.warnings() {
        eprintln!("{}: {warning}", inputs.form());
    }
    if let Some(difference) = inputs.difference_from_cpu(&mut engine)? {
        report.different(inputs.form(), graph, difference);
        return Ok(());
    }
    let host = measure::host_cost(clock, |turn| inputs.submit(&mut engine, turn))?;
    let alone = measure::alone(clock, |turn| inputs.submit(&mut engine, turn))?;
    for (cache, sets) in [("cold", inputs.sets()), ("hot", 1)] {
        let first = clock.latencies(|turn| inputs.submit(&mut engine, turn % sets))?;
        let again = clock.latencies(|turn| inputs.submit(&mut engine, turn % sets))?;
        let host = (cache == "cold").then_some((&host, &alone));
        report.add(Row {
            form: inputs.form(),
            stage: "all",
            cache,
            graph,
            latency: &first,
            again: Some(&again),
            host,
        });
    }
    if !graph {
        time_stages(&mut inputs, &mut engine, clock, report)?;
    }
    Ok(())
}

/// Each stage of cold frames, by the engine's own events between the launches.
fn time_stages(
    inputs: &mut Inputs,
    engine: &mut Engine,
    clock: &Clock,
    report: &mut Report,
) -> Result<(), Failure> {
    let frames = (clock.frames() / 10).max(2);
    engine.profile(true)?;
    let mut stages = [const { Vec::new() }; 3];
    for turn in 0..frames + inputs.sets() {
        inputs.submit(engine, turn)?;
        let timings = engine.timings()?.ok_or("the engine measures its stages, and tells no time")?;
        if turn >= inputs.sets() {
            let times = [timings.standardize, timings.suppress, timings.smooth];
            stages.iter_mut().zip(times).for_each(|(stage, time)| stage.push(time.as_secs_f64() * 1e6));
        }
    }
    engine.profile(false)?;
    for (stage, times) in ["standardize", "suppress", "smooth"].into_iter().zip(stages) {
        let latency = Latency::of(times)?;
        let form = inputs.form();
        report.add(Row {
            form,
            stage,
            cache: "cold",
            graph: false,
            latency: &latency,
            again: None,
            host: None,
        });
    }
    Ok(())
}
