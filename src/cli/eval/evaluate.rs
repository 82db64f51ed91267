//! `sml eval` itself: image after image into the state, and from the state to the result.

use std::path::{Path, PathBuf};

use clap::{ArgAction, Args, ValueEnum};

use super::export::Export;
use super::output::OutputArgs;
use super::scorer::Scorer;
use super::source::Inputs;
use crate::cli::dataset::DatasetArgs;
use crate::cli::interrupt::Interrupt;
use crate::cli::method::{LayoutArg, MethodArgs};
#[cfg(feature = "torch")]
use crate::cli::model::ModelArgs;
use crate::dataset::{Shard, read_ahead, reading_threads};
use crate::evaluation::{Failure, Measured, State, SweepAxis};
use crate::files::prepare_folder;
use crate::{Error, Result};

/// Images that are read ahead of the one at work.
const DEPTH: usize = 4;

/// What is evaluated on what, and how.
#[derive(Args)]
pub(super) struct EvaluateArgs {
    #[command(flatten)]
    pub dataset: DatasetArgs,

    /// Saved logits (.npy, .npz, .safetensors) instead of a network: one file an image, of any framework, named as its labels
    #[arg(long, value_name = "DIR", help_heading = "Saved logits or scores", conflicts_with = "scores")]
    pub logits: Option<PathBuf>,

    /// Memory order of saved logits; nchw by default
    #[arg(long, value_enum, help_heading = "Saved logits or scores")]
    pub layout: Option<LayoutArg>,

    /// Sampling grid on which saved logits are upsampled to the labels' size: true maps corner pixels onto corner pixels; false
    /// by default
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, help_heading = "Saved logits or scores")]
    pub align_corners: Option<bool>,

    /// Saved anomaly scores (.npy, .npz, .hdf5, 16-bit .png): one file an image, named as its labels, higher is more anomalous.
    /// Several folders, one a method, are compared with each other
    #[arg(long, value_name = "DIR", help_heading = "Saved logits or scores", num_args = 1..)]
    pub scores: Vec<PathBuf>,

    /// Labels (.png, .npy) for saved logits or scores, where they are not of a dataset in --root: 1 unexpected, 0 normal,
    /// anything else ignored
    #[arg(long, value_name = "DIR", help_heading = "Saved logits or scores")]
    pub labels: Option<PathBuf>,

    /// Class statistics (JSON), as `sml calibrate` writes them; needed by the score sml, bundled for the demo network and for
    /// the published DABNet weights
    #[arg(long, value_name = "FILE")]
    pub stats: Option<PathBuf>,

    /// How pixel metrics are computed: exact needs 4 bytes of disk a labelled pixel and score and sorts one score at a time in
    /// memory; histogram needs neither and prints how far off it may be
    #[arg(long, value_enum, default_value_t)]
    pub mode: ModeArg,

    /// Ablation: evaluate every combination of these values instead of the stages. NAME is width, iterations, kernel, sigma or
    /// dilation, VALUES are numbers and ranges (both ends included) with commas between
    #[arg(long, value_name = "NAME=VALUES", num_args = 1.., conflicts_with = "scores")]
    pub sweep: Vec<SweepAxis>,

    /// Take part I of N of the images; `sml eval merge` puts the parts together
    #[arg(long, value_name = "I/N", conflicts_with = "form", requires = "output")]
    pub shard: Option<Shard>,

    /// End with an error at the first image that cannot be evaluated, instead of leaving it out
    #[arg(long)]
    pub strict: bool,

    /// Start anew, whatever state the output folder holds
    #[arg(long)]
    pub fresh: bool,

    /// Also write the last score of each image as a benchmark takes it: segment-me-if-you-can (float16 in .hdf5) or fishyscapes
    /// (.npy, with the prediction)
    #[arg(long, value_names = ["FORMAT", "DIR"], num_args = 2)]
    pub export: Vec<String>,

    /// Images that are shown in the report, spread over the set
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub pictures: usize,

    /// Keep the state in the output folder after the end, for `sml eval merge`; a shard always keeps it
    #[arg(long, requires = "output")]
    pub keep_state: bool,

    #[command(flatten)]
    pub output: OutputArgs,

    #[cfg(feature = "torch")]
    #[command(flatten)]
    pub model: ModelArgs,

    #[command(flatten)]
    pub method: MethodArgs,
}

/// How pixel metrics are computed.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(super) enum ModeArg {
    /// From all scores, exactly
    #[default]
    Exact,
    /// From histograms, in constant memory
    Histogram,
}

/// The folder of the state within an output folder.
pub(super) fn state_folder(output: &Path) -> PathBuf {
    output.join("state")
}

impl EvaluateArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// When the set, an option or the output is not usable, or a metric is not defined on the set.
    pub(super) fn run(&self) -> Result<()> {
        let temporary;
        let output = match &self.output.output {
            Some(folder) => folder.as_path(),
            None => {
                let made = tempfile::Builder::new().prefix("sml-eval-").tempdir();
                temporary =
                    made.map_err(|error| Error::io(std::env::temp_dir(), "create a folder in it", error))?;
                temporary.path()
            }
        };
        let export = Export::of(&self.export)?;
        let (inputs, mut plan, mut scorer) = self.prepare()?;
        if let Some(export) = &export {
            prepare_folder(export.folder())?;
            plan.options.insert("--export".to_owned(), export.name().to_owned());
        }
        let folder = state_folder(output);
        if self.fresh {
            State::remove(&folder)?;
        }
        let interrupt = Interrupt::catch()?;
        let mut state = State::open(&folder, plan)?;
        let whole = self.measure(&inputs, &mut scorer, &mut state, export.as_ref(), interrupt);
        // What was measured before an interruption is kept, too.
        match whole {
            Ok(()) => state.close()?,
            Err(error @ Error::Interrupted { .. }) => return state.close().and(Err(error)),
            Err(error) => return Err(error),
        }
        let mut measured = Measured::read(std::slice::from_ref(&folder))?;
        if measured.non_finite() > 0 {
            eprintln!("sml: warning: {} pixels have NaN or infinite logits", measured.non_finite());
        }
        if let Some(shard) = self.shard {
            for failure in measured.failures() {
                eprintln!("sml: warning: {} is left out: {}", failure.image, failure.problem);
            }
            eprintln!("shard {shard}: {} images -> {}", measured.images(), folder.display());
            return Ok(());
        }
        match &export {
            // Test sets come without labels: what they are run for is the export.
            Some(export) if measured.images() > 0 && !measured.is_labelled() => {
                eprintln!("no image has labels: nothing to evaluate");
                eprintln!("{} images -> {}", measured.images(), export.folder().display());
            }
            _ => self.output.finish(&mut measured, interrupt)?,
        }
        if self.keep_state { Ok(()) } else { State::remove(&folder) }
    }

    /// Takes every image of this run that is not done yet; on Ctrl-C the one at work is the last.
    fn measure(
        &self,
        inputs: &Inputs,
        scorer: &mut Scorer,
        state: &mut State,
        export: Option<&Export>,
        interrupt: Interrupt,
    ) -> Result<()> {
        let is_mine = |index: &usize| self.shard.is_none_or(|shard| shard.holds(*index));
        let mine: Vec<usize> = (0..inputs.images.len()).filter(is_mine).collect();
        let done: std::collections::HashSet<usize> = state.done().iter().copied().collect();
        let todo: Vec<usize> = mine.iter().copied().filter(|index| !done.contains(index)).collect();
        if todo.len() < mine.len() {
            eprintln!("going on: {} of {} images are done", mine.len() - todo.len(), mine.len());
        }
        let bar = crate::cli::progress_bar(todo.len(), "images");
        let (mut warned, mut undefined_labels) = (0, 0);
        let read = |position: usize| inputs.read(todo[position]);
        let ended = read_ahead(todo.len(), reading_threads(), DEPTH, read, |position, loaded| {
            let (index, name) = (todo[position], &inputs.images[todo[position]].name);
            let measured = loaded.and_then(|loaded| {
                if export.is_none() && loaded.labels.is_none() && loaded.train_ids.is_none() {
                    return Err(Error::file(name, "has no labels", "labels to evaluate it on, or --export"));
                }
                let measurement = scorer.measure(loaded, state.plan())?;
                measurement.observe(index, name, |observation| observation.check(state.plan()))?;
                Ok(measurement)
            });
            for warning in &scorer.warnings()[warned..] {
                bar.suspend(|| eprintln!("sml: warning: {warning}"));
            }
            warned = scorer.warnings().len();
            match measured {
                Ok(measurement) => {
                    undefined_labels += measurement.loaded.undefined_labels;
                    if let Some(export) = export {
                        export.write(state.plan(), name, &measurement)?;
                    }
                    let shown = self.is_shown(index, inputs.images.len());
                    let photograph = if shown { inputs.photograph(index, &measurement) } else { None };
                    measurement.observe(index, name, |observation| {
                        if shown {
                            state.keep(observation, photograph.as_deref(), &state.plan().shown_rows())?;
                        }
                        state.add(observation)
                    })?;
                }
                Err(error) if self.strict || !is_of_the_image(&error) => return Err(of_image(name, error)),
                Err(error) => {
                    let problem = error.to_string();
                    // Told at once where someone watches; the result lists it in any case.
                    bar.println(format!("{name} is left out: {problem}"));
                    state.failed(index, &Failure { image: name.clone(), problem })?;
                }
            }
            bar.inc(1);
            interrupt.check(|| self.kept(state.done().len(), mine.len()))
        });
        bar.finish_and_clear();
        ended?;
        if undefined_labels > 0 {
            eprintln!(
                "sml: warning: {undefined_labels} pixels have labels that {} does not define; they are ignored",
                inputs.name
            );
        }
        Ok(())
    }
}

impl EvaluateArgs {
    /// What an interruption leaves of the images.
    fn kept(&self, done: usize, images: usize) -> String {
        match &self.output.output {
            Some(_) => format!("{done} of {images} images are done; the same command goes on from there"),
            None => "nothing is kept without -o DIR".to_owned(),
        }
    }

    /// Whether the report shows this image: `pictures` of them are spread over the set, whatever the shard.
    fn is_shown(&self, index: usize, images: usize) -> bool {
        let wanted = self.pictures.min(images);
        self.output.output.is_some() && (0..wanted).any(|number| number * images / wanted == index)
    }
}

/// Whether an error is the fault of one image, so that the others can be evaluated all the same.
fn is_of_the_image(error: &Error) -> bool {
    matches!(
        error,
        Error::File { .. } | Error::Io { .. } | Error::Shape { .. } | Error::UndefinedMetric { .. }
    )
}

/// Lets an error name its image, where it names no file.
fn of_image(name: &str, error: Error) -> Error {
    match error {
        Error::Shape { what, given, expected } => Error::file(name, format!("{what} is {given}"), expected),
        Error::UndefinedMetric { problem, .. } => Error::file(name, problem, "scores that are numbers"),
        other => other,
    }
}
