//! `sml bench --peers`: the engine beside what users run today in Python, on the CPU, in one run.
//!
//! The inputs are drawn once, and written as .npy into a temporary folder. Each peer is a Python process of its own
//! (`peer_process`, benches/peers/drive.py) that loads them. Its result of the first input is compared with the engine's
//! (`agreement`); one that differs is reported and not timed. The others are measured in turns with the engine, frame by
//! frame, so that only ratios within the same moments count (`turns`). The floor, reading the logits once, takes part the same way.

mod agreement;
mod peer_process;
mod report;
mod turns;

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use serde_json::json;

use self::agreement::Expected;
use self::peer_process::{PeerProcess, python};
use self::report::{OURS, READ, Reason, Report, Row, full_name};
use self::turns::{Limit, Turns};
use super::PRINTED;
use super::bandwidth::sum;
use super::case::ResultShape;
use super::machine::load_average;
use super::report::Machine;
use crate::cli::interrupt::Interrupt;
use crate::cli::{progress_bar, stdout};
use crate::drawn_logits::DrawnLogits;
use crate::files::write_npy;
use crate::latency::Latency;
use crate::{
    Capacity, ClassMoments, ClassStatistics, Device, ElementType, Engine, Error, Layout, LogitsData,
    LogitsShape, Params, Provenance, Result, Size, Stage,
};

/// Inputs that take turns, so that one's logits are not simply the last one's in the cache.
const INPUTS: usize = 3;

/// Time for measuring one peer on one form of the logits.
const TIME: Duration = Duration::from_secs(8);

/// Rest before each side's frames: OpenMP's threads look for work for a moment after their frame, and would take the other side's
/// time.
const REST: Duration = Duration::from_millis(20);

/// What runs beside the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Peer {
    /// The official method's passes in PyTorch
    Official,
    /// Fewer and narrower passes in PyTorch
    Careful,
    /// The careful ones under torch.compile, which needs a C++ compiler
    Compiled,
    /// OpenCV and NumPy, a call a step
    Opencv,
    /// The same, a thread a band of rows
    OpencvBanded,
}

impl Peer {
    /// Its name among the versions, in drive.py and in JSON.
    fn name(self) -> &'static str {
        match self {
            Self::Official => "official eager",
            Self::Careful => "careful eager",
            Self::Compiled => "careful compiled",
            Self::Opencv => "opencv",
            Self::OpencvBanded => "opencv banded",
        }
    }
}

/// Which peers.
#[derive(Args)]
pub(super) struct PeersArgs {
    /// Measure what runs in Python today beside the engine on the CPU, in turns and on identical inputs, all results compared
    /// first: every peer, or those named, separated by commas. Needs the environment that make bench-env makes, or
    /// SML_PYTHON; takes --shape, --dtype f32 or f16, --from [default: 1, then 4] and --frames, which are turns [default: as
    /// many as 8 seconds allow]
    #[arg(long, value_name = "PEERS", value_enum, num_args = 0.., require_equals = true, value_delimiter = ',',
          default_missing_values = ["official", "careful", "compiled", "opencv", "opencv-banded"],
          hide_possible_values = true)]
    #[arg(conflicts_with_all = ["layout", "warmup", "batch", "stages", "graph", "cold", "hot", "concurrency", "sweep", "duration",
                                "csv", "plot", "hdr", "device"])]
    #[cfg_attr(feature = "torch", arg(conflicts_with_all = ["model", "weights", "precision", "channels_last", "output_stride",
                                                            "keep_batch_norm"]))]
    pub peers: Option<Vec<Peer>>,
}

/// What is to be measured.
pub(super) struct Request {
    pub peers: Vec<Peer>,
    pub result: ResultShape,
    pub element_type: ElementType,
    /// Pixels of the result for each row or column of the logits: a form of the logits each.
    pub from: Vec<usize>,
    /// Turns with each peer; by the time they take where this is not given.
    pub turns: Option<usize>,
    pub json: bool,
}

/// Measures, and prints what was measured.
///
/// # Errors
/// [`Error::File`] where there is no Python with the libraries; when there is no memory or disk space for the inputs.
pub(super) fn run(request: &Request) -> Result<()> {
    if request.element_type == ElementType::BF16 {
        return Err(Error::InvalidParameter {
            field: "--dtype",
            given: "bf16 with --peers".to_owned(),
            expected: "f32 or f16: NumPy has no bfloat16",
        });
    }
    let interrupt = Interrupt::catch()?;
    let report = measure(request, interrupt)?;
    if request.json {
        stdout::print_json(&report)?
    } else {
        stdout::print(&report.to_text())?
    }
    interrupt.check(|| PRINTED.to_owned())
}

fn measure(request: &Request, interrupt: Interrupt) -> Result<Report> {
    let folder = tempfile::Builder::new()
        .prefix("sml-peers-")
        .tempdir()
        .map_err(|error| Error::io(std::env::temp_dir(), "create a folder in", error))?;
    let folder = folder.path();
    let mut report = Report::begin(Machine::of(Device::Cpu)?, INPUTS);
    let threads = report.machine.threads;
    let python = python();
    peer_process::write_sources(folder)?;
    // Before anything large is made: a missing library is told at once.
    let mut processes = Vec::with_capacity(request.peers.len());
    for &peer in &request.peers {
        match PeerProcess::start(&python, folder, peer, threads, interrupt) {
            Ok((process, versions)) => {
                report.versions.extend(versions);
                processes.push((peer, process));
            }
            Err(_) if interrupt.requested() => break,
            Err(error) => return Err(error),
        }
    }
    let mut forms =
        request.from.iter().map(|&from| Form::new(folder, request, from)).collect::<Result<Vec<_>>>()?;
    write_task(folder, &forms, threads)?;
    let limit = request.turns.map_or(Limit::Time(TIME), Limit::Turns);
    let bar = progress_bar((processes.len() + 1) * forms.len(), "peers");
    for form in &mut forms {
        form.measure_reading(limit, interrupt);
        bar.inc(1);
    }
    for (peer, mut process) in processes {
        bar.set_message(full_name(peer.name()).to_owned());
        for (number, form) in forms.iter_mut().enumerate() {
            form.measure(number, peer, &mut process, folder, limit, &mut report);
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    report.interrupted = interrupt.requested();
    report.load_average_after = load_average();
    report.results = forms.into_iter().flat_map(Form::into_rows).collect();
    Ok(report)
}

/// What drive.py reads.
fn write_task(folder: &Path, forms: &[Form], threads: usize) -> Result<()> {
    let forms: Vec<_> = forms.iter().map(Form::task).collect();
    let path = folder.join("task.json");
    let task = json!({ "threads": threads, "forms": forms });
    std::fs::write(&path, task.to_string()).map_err(|error| Error::io(path, "write", error))
}

/// One form of the logits: the inputs, the engine for them, and what was measured.
struct Form {
    inputs: Vec<DrawnLogits>,
    files: Vec<String>,
    mean: Vec<f64>,
    variance: Vec<f64>,
    engine: Engine,
    expected: Expected,
    /// Without times.
    row: Row,
    ours: Vec<f64>,
    rows: Vec<Row>,
}

impl Form {
    fn new(folder: &Path, request: &Request, from: usize) -> Result<Self> {
        let (ResultShape { batch, classes, size }, element_type) = (request.result, request.element_type);
        let shape = LogitsShape::new(batch, classes, size.height / from, size.width / from)?;
        let capacity = Capacity::of(shape, size);
        capacity.check_memory()?;
        let inputs = (0..INPUTS)
            .map(|input| DrawnLogits::new((input * batch) as u16, shape, element_type, Layout::Nchw))
            .collect::<Result<Vec<_>>>()?;
        let files: Vec<String> = (0..INPUTS).map(|input| format!("logits-{from}-{input}.npy")).collect();
        for (input, file) in inputs.iter().zip(&files) {
            write_logits(&folder.join(file), input)?;
        }
        let (mean, variance) = moments(&inputs[0].statistics(size)?)?;
        let statistics = ClassStatistics::from_vectors(&mean, &variance, Provenance::default())?;
        let mut engine = Engine::new(Device::Cpu, Params::default(), Some(&statistics), capacity)?;
        let map = engine.submit(&inputs[0].logits()?, size)?;
        let (score, prediction) =
            (map.score.iter().copied().collect(), map.prediction.iter().copied().collect());
        let standardize = Params::default().through(Stage::Standardize);
        let mut first_stage = Engine::new(Device::Cpu, standardize, Some(&statistics), capacity)?;
        let standardized = first_stage.submit(&inputs[0].logits()?, size)?.score;
        let scale = standardized.iter().fold(0.0_f64, |most, score| most.max(f64::from(score.abs())));
        let row = Row {
            version: OURS,
            stage: "all",
            shape: request.result.to_string(),
            dtype: if element_type == ElementType::F32 { "f32" } else { "f16" },
            from,
            layout: "nchw",
            threads: rayon::current_num_threads(),
            frames: 0,
            latency_us: Latency::default(),
            bytes: (inputs[0].as_bytes().len() + 5 * batch * size.pixels()) as u64,
            gb_per_s: 0.0,
            beside_sml: None,
            samples_us: Vec::new(),
        };
        let expected = Expected { size, score, prediction, scale };
        let (ours, rows) = Default::default();
        Ok(Self { inputs, files, mean, variance, engine, expected, row, ours, rows })
    }

    /// Its part of task.json.
    fn task(&self) -> serde_json::Value {
        let size = self.expected.size;
        json!({
            "size": [size.height, size.width], "inputs": self.files, "mean": self.mean, "variance": self.variance,
        })
    }

    /// The floor: reading the logits once, with all threads.
    fn measure_reading(&mut self, limit: Limit, interrupt: Interrupt) {
        let Self { inputs, engine, expected, .. } = self;
        let ours = |turn: usize| submit(engine, &inputs[turn % INPUTS], expected.size, interrupt);
        let read = |turn: usize| {
            let start = Instant::now();
            black_box(sum(inputs[turn % INPUTS].as_bytes()));
            Ok(us(start.elapsed()))
        };
        let (turns, _) = Turns::measure(limit, || rest(interrupt), ours, read);
        self.keep(READ, &turns);
    }

    /// One peer: compared first, then timed. Why it could not be goes into the report.
    fn measure(
        &mut self,
        number: usize,
        peer: Peer,
        process: &mut PeerProcess,
        folder: &Path,
        limit: Limit,
        report: &mut Report,
    ) {
        let Row { dtype, from, .. } = self.row;
        let reason = |reason| Reason { version: peer.name(), dtype, from, reason };
        let interrupt = process.interrupt();
        match process.prepare(number).and_then(|_| self.difference(folder)) {
            Err(_) if interrupt.requested() => return,
            Err(problem) => return report.skipped.push(reason(problem)),
            Ok(Some(difference)) => return report.different.push(reason(difference)),
            Ok(None) => {}
        }
        let Self { inputs, engine, expected, .. } = self;
        let ours = |turn: usize| submit(engine, &inputs[turn % INPUTS], expected.size, interrupt);
        let (turns, ended) =
            Turns::measure(limit, || rest(interrupt), ours, |turn| process.run(turn % INPUTS));
        if let Err(problem) = ended
            && !interrupt.requested()
        {
            report.skipped.push(reason(problem));
        }
        self.keep(peer.name(), &turns);
    }

    /// How the result that the peer has just written differs; the error says why it cannot be read.
    fn difference(&self, folder: &Path) -> std::result::Result<Option<String>, String> {
        let read =
            |name: &str| std::fs::read(folder.join(name)).map_err(|error| format!("its {name}: {error}"));
        let (score, prediction) = (read("score.bin")?, read("prediction.bin")?);
        let (scores, _) = score.as_chunks::<4>();
        let score: Vec<f32> = scores.iter().map(|bytes| f32::from_ne_bytes(*bytes)).collect();
        Ok(self.expected.difference(&self.inputs[0], &score, &prediction))
    }

    fn keep(&mut self, version: &'static str, turns: &Turns) {
        self.ours.extend(&turns.ours);
        self.rows.extend(Row::of(version, turns, &self.row));
    }

    /// The engine's own first, of all turns.
    fn into_rows(self) -> impl Iterator<Item = Row> {
        let ours = (!self.ours.is_empty()).then(|| self.row.with_samples(OURS, self.ours));
        ours.into_iter().chain(self.rows)
    }
}

/// Mean and variance of each class; of a class that the scene shows too little of, those of all.
fn moments(statistics: &ClassStatistics) -> Result<(Vec<f64>, Vec<f64>)> {
    let pooled = statistics.pooled()?;
    let own = |class: &ClassMoments| class.mean.zip(class.variance).filter(|_| class.is_usable());
    Ok(statistics.classes().iter().map(|class| own(class).unwrap_or(pooled)).unzip())
}

/// One frame: the microseconds that it took, or why there is none.
fn submit(
    engine: &mut Engine,
    input: &DrawnLogits,
    size: Size,
    interrupt: Interrupt,
) -> std::result::Result<f64, String> {
    if interrupt.requested() {
        return Err("interrupted".to_owned());
    }
    let logits = input.logits().map_err(|error| error.to_string())?;
    let start = Instant::now();
    black_box(engine.submit(&logits, size).map_err(|error| error.to_string())?);
    Ok(us(start.elapsed()))
}

fn rest(interrupt: Interrupt) {
    interrupt.wait(REST);
}

fn us(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn write_logits(path: &Path, input: &DrawnLogits) -> Result<()> {
    let LogitsShape { batch, classes, size } = input.shape();
    let shape = [batch, classes, size.height, size.width];
    match input.logits()?.data() {
        LogitsData::F32(data) => write_npy(path, &shape, data),
        LogitsData::F16(data) => write_npy(path, &shape, data),
        // Refused before.
        LogitsData::BF16(data) => write_npy(path, &shape, bytemuck::cast_slice::<_, u16>(data)),
    }
}
