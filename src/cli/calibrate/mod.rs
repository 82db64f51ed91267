//! `sml calibrate`: class statistics from normal pictures or saved logits, and thresholds if they are asked for.
//!
//! The first pass over the inputs measures mean and variance of the max logit of each class ([`measurement`]), in memory that
//! does not depend on their number, with [`inputs`] read ahead on worker threads and a [`checkpoint`] if one is wanted.
//! [`thresholds`] need the finished statistics, so they take a second pass.

mod checkpoint;
mod inputs;
mod measurement;
mod origin;
mod summary;
mod thresholds;

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use clap::{ArgAction, Args};

use super::dataset::DatasetArgs;
use super::interrupt::Interrupt;
use super::method::{LayoutArg, MethodArgs, size};
use super::model::ModelArgs;
use super::stdout;
use crate::dataset::{Dataset, Finding, FindingKind, Shard, read_ahead};
use crate::evaluation::Failure;
use crate::files::{prepare_folder, write_whole};
use crate::torch::Backbone;
use crate::{ClassStatistics, Error, Params, Result, Size, cityscapes};
use checkpoint::Checkpoint;
use inputs::{Decoded, Input, Inputs};
use measurement::{ConditionOn, LogitsOptions, Measured, Meter};
use summary::Summary;
use thresholds::{Labelled, SecondPass};

/// Measure class statistics on normal pictures, for the score sml
///
/// The inputs should be what the network was trained on, without unexpected objects. Mean and variance are those of the max
/// logit over all pixels predicted as each class, at the pictures' full size.
#[derive(Args)]
#[command(after_help = "Examples:
  sml calibrate --dataset cityscapes --split train --root cityscapes/ --model dabnet --weights dabnet.safetensors \\
      --checkpoint calibration.json -o statistics.json
  sml calibrate street/ --model dabnet --weights dabnet.safetensors -o statistics.json
  sml calibrate logits/*.npy --size 1024x2048 -o statistics.json
  sml calibrate normal/ --thresholds --labelled objects/ --labels masks/ --model network.pt -o statistics.json

On several machines: `--shard 1/3 -o part1.json` on the first and so on, then `sml stats merge part*.json -o statistics.json`.")]
pub(super) struct Arguments {
    /// Normal pictures (files, folders, patterns), or saved logits (.npy, .npz, .safetensors)
    #[arg(required_unless_present = "root", conflicts_with = "root", value_name = "IMAGES|LOGITS")]
    inputs: Vec<PathBuf>,

    /// File for the statistics (JSON)
    #[arg(short, long, value_name = "STATS.json")]
    output: PathBuf,

    /// Keep the state of the measurement in FILE, and go on from there if it exists; removed when the result is written
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,

    /// Seconds between two writings of the checkpoint; 0 writes it after every image
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds, requires = "checkpoint")]
    checkpoint_every: Duration,

    /// Measure a part of the inputs only, such as 2/5; `sml stats merge` puts the parts together
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,

    /// What a pixel's class is taken from; `label` needs a dataset with train ids, such as cityscapes
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = ConditionOn::Predicted)]
    condition_on: ConditionOn,

    /// Also measure the network's mIoU on the dataset's labels
    #[arg(long)]
    miou: bool,

    /// Stop at the first input that cannot be measured, instead of leaving it out
    #[arg(long)]
    strict: bool,

    /// Print a summary as one JSON object
    #[arg(long)]
    json: bool,

    /// Also measure thresholds by false positive rate on these inputs, in a second pass
    #[arg(long, conflicts_with = "shard")]
    thresholds: bool,

    /// Pictures with unexpected objects: thresholds by false and by true positive rate are measured on them instead
    #[arg(long, value_name = "IMAGES", requires = "labels", num_args = 1.., conflicts_with = "shard")]
    labelled: Vec<PathBuf>,

    /// Folder with a PNG of each labelled picture's name (or NAME_unexpected.png): 1 unexpected, 0 normal, else ignored
    #[arg(long, value_name = "DIR", requires = "labelled")]
    labels: Option<PathBuf>,

    /// Saved logits: size to upsample them to; by default their own
    #[arg(long, value_name = "HxW", value_parser = size)]
    size: Option<Size>,

    /// Saved logits: sampling grid of the upsampling; false by default
    #[arg(long, value_name = "BOOL", action = ArgAction::Set)]
    align_corners: Option<bool>,

    /// Saved logits: memory order; nchw by default
    #[arg(long, value_enum)]
    layout: Option<LayoutArg>,

    #[command(flatten)]
    dataset: DatasetArgs,

    #[command(flatten)]
    model: ModelArgs,

    #[command(flatten)]
    method: MethodArgs,
}

impl Arguments {
    /// Runs the command.
    ///
    /// # Errors
    /// When the inputs, the network or the output are not usable, or with `--strict` any single input; the output is not
    /// touched then.
    pub(super) fn run(&self) -> Result<()> {
        self.check_method()?;
        check_writable(&self.output)?;
        let inputs = Inputs::open(self.dataset.open()?, &self.inputs, self.shard)?;
        self.check_options(&inputs)?;
        let backbone: Option<Rc<dyn Backbone>> = match inputs.is_logits() {
            true => None,
            false => Some(self.model.load()?.into()),
        };
        self.check_labels(&inputs, backbone.as_deref())?;
        if let Inputs::Dataset(dataset) = &inputs {
            tell_findings(dataset, self.needs_labels());
        }

        let identity = self.identity(&inputs, backbone.as_deref());
        let opened = self
            .checkpoint
            .as_ref()
            .map(|path| Checkpoint::open(path, self.checkpoint_every, identity, inputs.len()))
            .transpose()?;
        let (mut checkpoint, measured) = opened.unzip();
        let interrupt = Interrupt::catch()?;
        let measured = measured.unwrap_or_default();
        let measured = self.measure(&inputs, backbone.clone(), &mut checkpoint, measured, interrupt)?;

        let Some(sums) = &measured.sums else { return Err(nothing_measured(&inputs, &measured)) };
        let provenance = self.provenance(&inputs, backbone.as_deref(), &measured);
        let mut statistics = sums.finish(provenance);
        if self.measures_thresholds() {
            statistics = self.with_thresholds(&inputs, backbone, statistics, &measured, interrupt)?;
        }
        write_whole(&self.output, |out| out.write_all(statistics.to_json().as_bytes()))?;
        checkpoint.map(Checkpoint::remove).transpose()?;
        let summary = Summary {
            output: &self.output,
            measured: &measured,
            statistics: &statistics,
            condition: self.condition_on,
        };
        summary.tell();
        if self.json { stdout::print_json(&summary.to_json()) } else { Ok(()) }
    }

    fn measures_thresholds(&self) -> bool {
        self.thresholds || !self.labelled.is_empty()
    }

    /// Only thresholds depend on the method.
    fn check_method(&self) -> Result<()> {
        let paper = Params::default();
        if self.measures_thresholds() || self.method.params(paper.align_corners) == paper {
            return Ok(());
        }
        Err(Error::InvalidParameter {
            field: "the method",
            given: "changed, while no thresholds are measured".to_owned(),
            expected: "to be changed with --thresholds or --labelled only: statistics do not depend on it",
        })
    }

    /// Options of saved logits with saved logits, and those of networks with pictures.
    fn check_options(&self, inputs: &Inputs) -> Result<()> {
        if inputs.is_logits() {
            if !self.labelled.is_empty() {
                return Err(Error::InvalidParameter {
                    field: "--labelled",
                    given: "given with saved logits".to_owned(),
                    expected: "to come with pictures and their network",
                });
            }
            return self.model.check_unused();
        }
        if self.size.is_some() || self.align_corners.is_some() || self.layout.is_some() {
            return Err(Error::InvalidParameter {
                field: "--size, --align-corners or --layout",
                given: "given with pictures".to_owned(),
                expected: "to come with saved logits only: a network brings its own",
            });
        }
        Ok(())
    }

    /// Ground truth is compared with the network's classes, so it has to be there and of the same classes.
    fn check_labels(&self, inputs: &Inputs, backbone: Option<&dyn Backbone>) -> Result<()> {
        if !self.needs_labels() {
            return Ok(());
        }
        let refuse = |given: String, expected| {
            Err(Error::InvalidParameter { field: "--condition-on label or --miou", given, expected })
        };
        match inputs {
            Inputs::Dataset(dataset) if !dataset.has_train_ids() => refuse(
                format!("given with {}", dataset.name()),
                "a dataset with labels of classes: cityscapes",
            ),
            Inputs::Dataset(_) => match backbone.map_or(0, |backbone| backbone.class_names().len()) {
                n if n == cityscapes::CLASSES.len() => Ok(()),
                n => refuse(
                    format!("given with a network of {n} classes"),
                    "a network of the labels' 19 classes",
                ),
            },
            _ => refuse(
                "given without a dataset".to_owned(),
                "--root with a dataset that has labels of classes",
            ),
        }
    }

    fn needs_labels(&self) -> bool {
        self.condition_on == ConditionOn::Label || self.miou
    }

    fn logits_options(&self) -> LogitsOptions {
        LogitsOptions { size: self.size, layout: self.layout.unwrap_or_default().into() }
    }

    /// The network's sampling grid, or the one that the options say for saved logits.
    fn align_corners(&self, backbone: Option<&dyn Backbone>) -> bool {
        backbone.map_or(self.align_corners.unwrap_or_default(), Backbone::align_corners)
    }

    /// The first pass, from where `measured` ends; on Ctrl-C the input at work is the last.
    fn measure(
        &self,
        inputs: &Inputs,
        backbone: Option<Rc<dyn Backbone>>,
        checkpoint: &mut Option<Checkpoint<'_>>,
        mut measured: Measured,
        interrupt: Interrupt,
    ) -> Result<Measured> {
        let align_corners = self.align_corners(backbone.as_deref());
        let mut meter =
            Meter::new(backbone, self.condition_on, self.miou, self.logits_options(), align_corners);
        let done = measured.inputs;
        if done > 0 {
            eprintln!("going on behind {done} of {} inputs", inputs.len());
        }
        let progress = super::progress_bar(inputs.len(), "statistics").with_position(done as u64);
        progress.reset_eta();
        let (threads, depth) = inputs.reading();
        let read = |index: usize| inputs.read(done + index);
        let ended = read_ahead(inputs.len() - done, threads, depth, read, |index, input| {
            let index = done + index;
            if let Err(error) = self.measure_one(inputs, index, input, &mut meter, &mut measured) {
                let failure = self.failure(inputs, index, error)?;
                progress.suspend(|| {
                    eprintln!("sml: warning: left out: {}", super::on_one_line(&failure.problem))
                });
                measured.failures.push(failure);
            }
            measured.inputs = index + 1;
            progress.inc(1);
            checkpoint.as_mut().map_or(Ok(()), |checkpoint| checkpoint.keep(&measured))?;
            interrupt.check(|| self.kept(measured.inputs, inputs.len()))
        });
        progress.finish_and_clear();
        if let (Some(checkpoint), Ok(()) | Err(Error::Interrupted { .. })) = (checkpoint, &ended) {
            checkpoint.write(&measured)?;
        }
        ended.map(|()| measured)
    }

    /// What an interruption leaves of the inputs.
    fn kept(&self, done: usize, inputs: usize) -> String {
        match &self.checkpoint {
            Some(_) => format!("{done} of {inputs} inputs are done; the same command goes on from there"),
            None => "nothing is kept without --checkpoint FILE".to_owned(),
        }
    }

    fn measure_one(
        &self,
        inputs: &Inputs,
        index: usize,
        input: Result<Input>,
        meter: &mut Meter,
        measured: &mut Measured,
    ) -> Result<()> {
        let input = input?;
        if let (Decoded::Logits(file), Some(sums)) = (&input.decoded, &measured.sums) {
            let given = file.logits(self.logits_options().layout)?.shape().classes;
            if given != sums.classes() {
                return Err(Error::InvalidStatistics {
                    problem: format!("{} has {given} classes", inputs.path(index).display()),
                    expected: format!("{}, as the first input has", sums.classes()),
                });
            }
        }
        meter.add(input, measured)
    }

    /// What is kept of an input that could not be measured.
    ///
    /// # Errors
    /// The error itself with `--strict`, for an only input, and when it is not that input's fault.
    fn failure(&self, inputs: &Inputs, index: usize, error: Error) -> Result<Failure> {
        let is_the_inputs = matches!(error, Error::Io { .. } | Error::File { .. } | Error::Shape { .. });
        if self.strict || inputs.len() == 1 || !is_the_inputs {
            return Err(error);
        }
        let text = error.to_string();
        let path = inputs.path(index).display().to_string();
        let problem = if text.contains(&path) { text } else { format!("{path}: {text}") };
        Ok(Failure { image: inputs.name(index), problem })
    }

    /// Thresholds under the method's parameters, in a second pass over the inputs or over the labelled pictures.
    fn with_thresholds(
        &self,
        inputs: &Inputs,
        backbone: Option<Rc<dyn Backbone>>,
        statistics: ClassStatistics,
        measured: &Measured,
        interrupt: Interrupt,
    ) -> Result<ClassStatistics> {
        let params = self.method.params(self.align_corners(backbone.as_deref()));
        let logits = self.logits_options();
        let kept = self.kept(inputs.len(), inputs.len());
        let pass = SecondPass { backbone, logits, params, statistics: &statistics, interrupt, kept };
        let points = match &self.labels {
            None => {
                let failed = |name: &str| measured.failures.iter().any(|failure| failure.image == name);
                pass.on_normal(inputs, &failed)?
            }
            Some(labels) => pass.on_labelled(&Labelled { pictures: &self.labelled, labels })?,
        };
        Ok(statistics.with_operating_points(points))
    }
}

fn seconds(text: &str) -> Result<Duration> {
    let duration = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    duration.ok_or_else(|| Error::InvalidParameter {
        field: "checkpoint-every",
        given: text.to_owned(),
        expected: "seconds, 0 or more",
    })
}

/// Proves that a file can be created in the output's folder, so that hours of work do not end in a refusal.
fn check_writable(output: &Path) -> Result<()> {
    match output.parent().filter(|folder| folder.is_dir()) {
        Some(folder) => prepare_folder(folder),
        // The working folder, or none, which writing has a message for.
        None => Ok(()),
    }
}

/// Shows what does not fit in a dataset, in a few lines; labels that are not needed may be missing.
fn tell_findings(dataset: &Dataset, with_labels: bool) {
    const MOST: usize = 3;
    let of_pictures = |finding: &&Finding| with_labels || finding.kind == FindingKind::Count;
    let findings: Vec<&Finding> = dataset.findings().iter().filter(of_pictures).collect();
    for finding in findings.iter().take(MOST) {
        eprintln!("sml: warning: {}", super::on_one_line(&finding.to_string()));
    }
    if findings.len() > MOST {
        eprintln!("sml: warning: and {} more; `sml dataset check` tells them", findings.len() - MOST);
    }
}

fn nothing_measured(inputs: &Inputs, measured: &Measured) -> Error {
    let problem = match measured.failures.len() {
        0 => "holds nothing to measure".to_owned(),
        failures => format!("is the first of {failures} inputs, none of which could be measured"),
    };
    Error::file(inputs.path(0), problem, "pictures or logits")
}
