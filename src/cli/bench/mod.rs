//! `sml bench`: what the post-processing costs on this machine, alone or behind a network.
//!
//! Inputs are drawn scenes (`engine_alone`) or the bundled pictures (`whole_frames`), several in turn. The first frame, which
//! allocates, compiles and wakes threads, is told apart; frames to warm up are not measured. `measurement` warms up and measures
//! what is a `subject`, one engine or several side by side; `bandwidth` measures the limits beside it; `sweep` does it all along one
//! axis. What was found becomes a `report`, which is printed as a `table` or as JSON, and files (`outputs`). `compare` judges two such
//! reports; `peers` measures what runs in Python today beside the engine.

mod bandwidth;
mod case;
mod checks;
mod clocks;
mod compare;
mod csv;
mod engine_alone;
mod growth;
mod hdr;
mod inputs;
mod machine;
mod measurement;
mod outputs;
mod peers;
mod report;
mod rows;
mod settings;
mod shape;
mod subject;
mod sweep;
mod sweeping;
mod table;
#[cfg(feature = "torch")]
mod whole_frames;

use std::time::SystemTime;

use clap::{Args, Subcommand};

use super::interrupt::Interrupt;
use super::method::{ElementTypeArg, LayoutArg};
use super::stdout;
#[cfg(not(feature = "torch"))]
use crate::DeviceRequest;
use crate::latency::Limit;
use crate::{Device, Params, Result};
use bandwidth::Bandwidth;
use case::Case;
use engine_alone::Outcome;
use measurement::Recorded;
use outputs::{Finished, Kept, OutputArgs};
use report::{Machine, Options, Report, SCHEMA};
use rows::About;
use settings::{Cache, DurationArg, Settings, StagesArg, Switch};
use shape::{ResultArg, divisor};
use sweep::Axis;

/// The name that chooses no network.
#[cfg(feature = "torch")]
const NO_NETWORK: &str = "none";

/// What an interrupted run leaves.
const PRINTED: &str = "the figures are those of the frames until then";

/// Measure what the post-processing costs on this machine
///
/// Without a network the engine alone is measured, on drawn logits: smooth regions, rough borders, noise. With --backbone
/// whole frames are: a picture in, the network, the anomaly map out.
///
/// All times are of monotonic clocks. "all" and "end to end" are the host's time from the call until the result is complete. On
/// the CPU the stages are timed by the host within the same frames. On a GPU they are timed by the GPU, between marks in the
/// stream, in as many further frames without graphs: marks cost time of their own.
///
/// GB/s count the bytes that have to be read and written at least, at the median latency. The limits to compare them with,
/// copying and reading memory in buffers that no cache holds, are measured in the same run on the same device; logits that
/// stay in a cache may exceed them.
///
/// Ctrl-C ends the measurement: what was measured so far is printed and written, and the exit code is 130.
#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  sml bench
  sml bench --shape 1x19x512x1024 --from 4 --dtype f16 --frames 1000
  sml bench --duration 10m --plot latency.svg --hdr latency.hlog
  sml bench --cold --stages suppress --json
  sml bench --sweep sizes --plot sizes.svg
  sml bench --backbone deeplabv3plus-resnet101 --shape 1024x2048 --frames 5
  sml bench --backbone network.pt --device cuda:0 --graph on --json
  sml bench --peers --shape 1x19x512x1024
  sml bench compare before.json after.json --fail-above 5%"
)]
#[cfg_attr(
    feature = "torch",
    command(
        mut_arg("model", |arg| arg
            .visible_alias("backbone")
            .default_value(NO_NETWORK)
            .help("Measure whole frames with this network: demo, dabnet (with --weights), deeplabv3plus-resnet101 or \
                   deeplabv3plus-resnet50 (weights by formula without --weights: the network takes as long), or a \
                   TorchScript FILE.pt; none measures the engine alone")),
        mut_arg("device", |arg| arg.help("Where to measure: auto, cpu or cuda:N"))
    )
)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,

    /// Shape of the result: images, classes, height, width; with --backbone the size HxW alone will do; with --sweep sizes,
    /// classes or batch where it ends [default: 1x19x1024x2048; with --sweep 1x19x512x1024, of sizes 1x19x3872x7744]
    #[arg(long, value_name = "NxCxHxW")]
    shape: Option<ResultArg>,

    /// Engine alone: images a frame [default: those of --shape]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=shape::MOST_IMAGES as i64))]
    batch: Option<u16>,

    /// Engine alone: pixels of the result for each row and column of the logits, which are upsampled [default: 1]
    #[arg(long, value_name = "1|2|4|8|16", value_parser = divisor)]
    from: Option<usize>,

    /// Engine alone: element type of the logits, f32, f16 or bf16 [default: f32]
    #[arg(long, value_name = "TYPE", value_enum, hide_possible_values = true)]
    dtype: Option<ElementTypeArg>,

    /// Engine alone: memory order of the logits [default: nchw]
    #[arg(long, value_enum)]
    layout: Option<LayoutArg>,

    /// Engine alone: what is reported. Of a single stage, its own time is: frames go through the stages before it without being
    /// measured, and end behind it
    #[arg(long, value_enum, default_value_t = StagesArg::All)]
    stages: StagesArg,

    /// Give each frame to the GPU as one CUDA graph, or as one launch a kernel [default: off]
    #[arg(long, value_enum)]
    graph: Option<Switch>,

    /// Flush the caches before each frame: a buffer of twice the last-level cache (on a GPU, the L2) is read and written
    #[arg(long, conflicts_with = "hot")]
    cold: bool,

    /// Give one input again and again, so that the caches hold as much of it as they can; without --cold and --hot three
    /// inputs take turns (fewer where memory is short)
    #[arg(long)]
    hot: bool,

    /// Engines side by side, each on a thread of its own with --frames or --duration of its own; on the CPU they share the
    /// program's threads, on a GPU each has a stream
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    concurrency: u16,

    /// Measure along an axis, with a table, the fitted slope and what is not flat
    #[arg(long, value_name = "AXIS", value_enum)]
    sweep: Option<Axis>,

    /// Frames to measure [default: 100, with a network 10, with --sweep 30 a point]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    frames: Option<u32>,

    /// Measure for this time instead (a point of a sweep): 90 (seconds), 1.5s, 500ms, 10m, 2h
    #[arg(long, value_name = "TIME", conflicts_with = "frames")]
    duration: Option<DurationArg>,

    /// Frames before them that are not measured, besides the first [default: 10, with a network 2, with --sweep 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=10_000_000))]
    warmup: Option<u32>,

    #[command(flatten)]
    peers: peers::PeersArgs,

    /// Print one JSON object: schema 1, with results[] of stage, shape, dtype, from, latency_us, bytes, gb_per_s,
    /// copy_gb_per_s, read_gb_per_s, samples_us and more; benches/NOTES.md describes each field
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    outputs: OutputArgs,

    #[cfg(feature = "torch")]
    #[command(flatten)]
    model: super::model::ModelArgs,

    /// Where to measure: auto or cpu; GPUs need a build with libtorch
    #[cfg(not(feature = "torch"))]
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: DeviceRequest,
}

/// What else than measuring is done.
#[derive(Subcommand)]
enum Action {
    Compare(compare::Arguments),
}

impl Arguments {
    /// Runs the command.
    ///
    /// # Errors
    /// When options contradict each other, the device or the network cannot be used, or memory is missing.
    pub(super) fn run(&self) -> Result<()> {
        if let Some(Action::Compare(arguments)) = &self.action {
            return arguments.run();
        }
        self.check()?;
        if let Some(peers) = &self.peers.peers {
            return peers::run(&self.beside(peers)?);
        }
        self.outputs.check()?;
        let device = self.device()?;
        let settings = self.settings(device)?;
        let interrupt = Interrupt::catch()?;
        let finished = self.measure(device, &settings, interrupt)?;
        if finished.report.results.is_empty() {
            return interrupt.check(|| "nothing was measured yet".to_owned());
        }
        self.outputs.write(&finished)?;
        let report = &finished.report;
        if self.json {
            stdout::print_json(report)?
        } else {
            stdout::print(&report.to_text())?
        }
        interrupt.check(|| PRINTED.to_owned())
    }

    #[cfg(feature = "torch")]
    fn measure(&self, device: Device, settings: &Settings, interrupt: Interrupt) -> Result<Finished> {
        match self.sweep {
            Some(axis) => self.measure_sweep(axis, device, settings, interrupt),
            None if self.model.model == NO_NETWORK => self.measure_case(device, settings, interrupt),
            None => self.measure_network(device, settings, interrupt),
        }
    }

    #[cfg(not(feature = "torch"))]
    fn measure(&self, device: Device, settings: &Settings, interrupt: Interrupt) -> Result<Finished> {
        match self.sweep {
            Some(axis) => self.measure_sweep(axis, device, settings, interrupt),
            None => self.measure_case(device, settings, interrupt),
        }
    }

    /// The engine alone, once.
    fn measure_case(&self, device: Device, settings: &Settings, interrupt: Interrupt) -> Result<Finished> {
        let case = self.case()?;
        let bar = super::progress_bar(0, "frames");
        let began = SystemTime::now();
        let outcome = engine_alone::measure(&case, device, settings, None, interrupt, &bar)?;
        let machine = Machine::of(device)?;
        let about = About::case(&case, machine.threads);
        let bandwidth = Bandwidth::of(device)?;
        let rows = about.rows(&outcome.measured.stages, bandwidth, |stage| case.bytes(stage))?;
        let what = format!(
            "engine alone: logits {}x{}x{} {} {} -> {}",
            case.result.batch,
            case.result.classes,
            case.logits_shape()?.size,
            case.dtype(),
            case.layout(),
            case.result.size
        );
        let options = settings.options(self.stages, case.result.batch, None);
        let interrupted = interrupt.requested();
        Ok(finished(outcome, rows, Header { machine, what, options, interrupted, began, settings }))
    }

    /// Whole frames.
    #[cfg(feature = "torch")]
    fn measure_network(&self, device: Device, settings: &Settings, interrupt: Interrupt) -> Result<Finished> {
        let ResultArg { classes, size, .. } = self.shape.unwrap_or(ResultArg::CITYSCAPES);
        let bar = super::progress_bar(0, "frames");
        let began = SystemTime::now();
        let whole_frames::WholeFrames { outcome, facts } =
            whole_frames::measure(&self.model, size, classes, settings, interrupt, &bar)?;
        let machine = Machine::of(device)?;
        let about = About {
            shape: facts.shape,
            dtype: facts.dtype,
            from: facts.from,
            layout: None,
            suppression: case::suppression_text(Params::default().suppression),
            threads: machine.threads,
        };
        let rows = about.rows(&outcome.measured.stages, None, |_| Ok(None))?;
        let what = format!(
            "whole frames: {size} pictures -> {} ({}), logits at 1/{} -> {size}",
            self.model.model, about.dtype, about.from
        );
        let options = settings.options(self.stages, 1, Some(self.model.model.clone()));
        let interrupted = interrupt.requested();
        Ok(finished(outcome, rows, Header { machine, what, options, interrupted, began, settings }))
    }

    /// What `--peers` is to measure.
    fn beside(&self, peers: &[peers::Peer]) -> Result<peers::Request> {
        let from = self.from.map_or(vec![1, 4], |from| vec![from]);
        let result = self.shape.unwrap_or(ResultArg::CITYSCAPES).shape();
        from.iter().try_for_each(|from| checks::divides(*from, result.size))?;
        Ok(peers::Request {
            peers: peers.to_vec(),
            result,
            element_type: self.dtype.unwrap_or(ElementTypeArg::Float32).into(),
            from,
            turns: self.frames.map(|frames| frames as usize),
            json: self.json,
        })
    }

    fn settings(&self, device: Device) -> Result<Settings> {
        let (frames, warmup) = if self.sweep.is_some() {
            (30, 3)
        } else if self.has_network() {
            (10, 2)
        } else {
            (100, 10)
        };
        let frames = u64::from(self.frames.unwrap_or(frames));
        let limit =
            self.duration.map_or(Limit::Frames(frames), |DurationArg(longest)| Limit::Duration(longest));
        let cache = match (self.cold, self.hot) {
            (true, _) => Cache::Cold,
            (_, true) => Cache::Hot,
            _ => Cache::Turns,
        };
        Ok(Settings {
            limit,
            warmup: u64::from(self.warmup.unwrap_or(warmup)),
            cache,
            graph: self.graph_on(device)?,
            concurrency: usize::from(self.concurrency),
        })
    }

    /// What the engine alone is given.
    fn case(&self) -> Result<Case> {
        let default = self.sweep.map_or(ResultArg::CITYSCAPES, Axis::default_shape);
        let given = self.shape.unwrap_or(default);
        let mut result = given.shape();
        result.batch = self.batch.map_or(result.batch, usize::from);
        let from = self.from.unwrap_or(1);
        checks::divides(from, result.size)?;
        Ok(Case {
            result,
            element_type: self.dtype.unwrap_or(ElementTypeArg::Float32).into(),
            layout: self.layout.unwrap_or_default().into(),
            from,
            only: self.stages.only(),
            suppression: Params::default().suppression,
        })
    }
}

/// What the report says beside the measurements.
struct Header<'a> {
    machine: Machine,
    what: String,
    options: Options,
    interrupted: bool,
    began: SystemTime,
    settings: &'a Settings,
}

fn finished(outcome: Outcome, results: Vec<report::Row>, header: Header<'_>) -> Finished {
    let Outcome { measured, first, memory, inputs } = outcome;
    let Header { machine, what, options, interrupted, began, settings } = header;
    let report = Report {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        machine,
        what,
        options,
        frames: measured.frames(),
        warmup: settings.warmup,
        inputs,
        measured_s: measured.passed.as_secs_f64(),
        interrupted,
        first,
        memory,
        clocks: measured.clocks,
        results,
        sweep: None,
    };
    let kept = measured.stages.into_iter().filter_map(|recorded| kept(recorded, None)).collect();
    Finished { report, kept, began, passed: measured.passed }
}

/// `None` where nothing was measured.
fn kept(recorded: Recorded, point: Option<&str>) -> Option<Kept> {
    let Recorded { stage, samples, .. } = recorded;
    let label = point.map_or(stage.to_owned(), |point| format!("{stage}@{point}"));
    (samples.count() > 0).then_some(Kept { label, samples })
}
