//! Where results go: files in the output folder, one form of them on stdout: tables, unless another one is asked for. Then the
//! tables are on stderr.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use serde::Serialize;

use super::pictures;
use crate::cli::interrupt::Interrupt;
use crate::cli::stdout;
use crate::cli::together::Together;
use crate::evaluation::{Evaluation, Measured, csv, markdown, text};
use crate::files::write_whole;
use crate::metrics::{AnomalyMetrics, ComponentSizes};
use crate::{Error, Result};

/// What becomes of the result.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Output")]
pub(super) struct OutputArgs {
    /// Folder for the results and for the state of the run; made if it is missing. Without it the result is only printed
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,

    /// Print the result as one JSON object on stdout: keys auroc, ap, fpr95, fpr95_interp (0 to 1) of the last score, and
    /// everything about each score under `scores`
    #[arg(long, group = "form")]
    pub json: bool,

    /// Print the result as CSV on stdout
    #[arg(long, group = "form")]
    pub csv: bool,

    /// Print the result as Markdown on stdout
    #[arg(long, group = "form")]
    pub markdown: bool,

    /// Also judge whole objects, as SegmentMeIfYouCan does. Smaller objects than its track's are left out: anomaly (100 pixels,
    /// predicted 500), obstacle (10, predicted 50), or LABELLED,PREDICTED pixels; without a value the dataset tells
    #[arg(long, value_name = "TRACK", num_args = 0..=1, default_missing_value = "auto", require_equals = true)]
    pub components: Option<Track>,
}

/// The JSON form: the result, with the metrics of the last score, that of the whole method, at the top as well.
#[derive(Serialize)]
struct WithHeadline<'a> {
    #[serde(flatten)]
    headline: Option<AnomalyMetrics>,
    #[serde(flatten)]
    evaluation: &'a Evaluation,
}

/// Which objects count.
#[derive(Clone, Copy, Debug)]
pub(super) enum Track {
    Auto,
    Sizes(ComponentSizes),
}

impl FromStr for Track {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let number = |text: &str| text.trim().parse().ok();
        let sizes = match text {
            "auto" => return Ok(Self::Auto),
            "anomaly" => Some(ComponentSizes::ANOMALY_TRACK),
            "obstacle" => Some(ComponentSizes::OBSTACLE_TRACK),
            _ => text.split_once(',').and_then(|(labelled, predicted)| {
                Some(ComponentSizes { labelled: number(labelled)?, predicted: number(predicted)? })
            }),
        };
        sizes.map(Self::Sizes).ok_or_else(|| Error::InvalidParameter {
            field: "--components",
            given: format!("{text:?}"),
            expected: "anomaly, obstacle, or LABELLED,PREDICTED pixels, such as 100,500",
        })
    }
}

impl Track {
    /// The least sizes; a dataset of small obstacles on the road has those of the obstacle track.
    fn sizes(self, dataset: &str) -> ComponentSizes {
        match self {
            Self::Sizes(sizes) => sizes,
            Self::Auto
                if ["lost-and-found", "fishyscapes-lost-and-found", "road-obstacle21"].contains(&dataset) =>
            {
                ComponentSizes::OBSTACLE_TRACK
            }
            Self::Auto => ComponentSizes::ANOMALY_TRACK,
        }
    }
}

impl OutputArgs {
    /// Computes the result, writes it and prints it.
    ///
    /// # Errors
    /// As [`Measured::evaluate`], and when a result cannot be written, or on Ctrl-C.
    pub(super) fn finish(&self, measured: &mut Measured, interrupt: Interrupt) -> Result<()> {
        let bar = crate::cli::progress_bar(measured.plan().rows.len(), "metrics");
        let sizes = self.components.map(|track| track.sizes(&measured.plan().dataset));
        let evaluation = measured.evaluate(crate::cli::today(), sizes, |name: &str| {
            bar.set_message(name.to_owned());
            bar.inc(1);
            interrupt.check(|| "no result yet; the same command goes on from what was measured".to_owned())
        });
        bar.finish_and_clear();
        let evaluation = evaluation?;
        let with_headline = WithHeadline {
            headline: evaluation.scores.last().map(|score| score.pixels),
            evaluation: &evaluation,
        };
        if let Some(folder) = &self.output {
            let mut results = Together::in_folder(folder)?;
            let mut file = |name: &str, content: String| {
                results.write(name, |path| write_whole(path, |out| out.write_all(content.as_bytes())))
            };
            file("results.json", serde_json::to_string_pretty(&with_headline).unwrap_or_default() + "\n")?;
            file("results.csv", csv(&evaluation))?;
            file("results.md", markdown(&evaluation))?;
            pictures::write(measured, &evaluation, &mut results)?;
            results.appear()?;
        }
        let tables = text(&evaluation);
        if self.json || self.csv || self.markdown {
            eprint!("{tables}");
        }
        if self.json {
            stdout::print_json_line(&with_headline)?;
        } else if self.csv {
            stdout::print(&csv(&evaluation))?;
        } else if self.markdown {
            stdout::print(&markdown(&evaluation))?;
        } else {
            stdout::print(&tables)?;
        }
        if let Some(folder) = &self.output {
            eprintln!("-> {}", folder.join("report.html").display());
        }
        Ok(())
    }
}
