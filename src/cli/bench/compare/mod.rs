//! `sml bench compare`: two files of measurements, result by result, with a verdict only where there is one.

mod bootstrap;
mod measured_run;

use std::fmt::Write;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use serde::Serialize;

use self::bootstrap::{CONFIDENCE, Interval, LEAST, interval, median};
use self::measured_run::{Measured, MeasuredRun, Subject};
use crate::cli::stdout;
use crate::{Error, Result};

/// A change of the median that is called one: two runs of the same program on one machine are this far apart for reasons that
/// neither run shows (where memory lies, how warm the machine is).
const LEAST_CHANGE: f64 = 0.01;

/// Seed of the first result's interval.
const SEED: u64 = 5;

/// Compare two files that `sml bench --json` printed: is B slower than A?
///
/// Results of the same stage, shape, element type, resolution, layout, threads and options are matched. For each the ratio of B's
/// median to A's is told with a 95 % confidence interval (bootstrap over blocks of neighbouring measurements). B is called faster or
/// slower only where the whole interval says so and the medians are 1 % apart at least. Files of --peers can be compared too.
///
/// What changes from run to run is in no single file: measure both on the same idle machine, in turns, and twice.
#[derive(Args)]
#[command(after_help = "Examples:
  sml bench --json > before.json
  sml bench --json > after.json
  sml bench compare before.json after.json
  sml bench compare before.json after.json --fail-above 5%")]
pub(super) struct Arguments {
    /// Measurements to compare with (JSON)
    #[arg(value_name = "A.json")]
    a: PathBuf,

    /// Measurements to judge (JSON)
    #[arg(value_name = "B.json")]
    b: PathBuf,

    /// End with exit code 1 where a slowdown by more than this is shown: the whole interval lies above it
    #[arg(long, value_name = "PERCENT")]
    fail_above: Option<Percent>,

    /// Print one JSON object: schema 1, with results[] of what was measured, a_p50_us, b_p50_us, ratio, interval, verdict and
    /// fails, and what is only_in_a or only_in_b
    #[arg(long)]
    json: bool,
}

/// `5%` or `5`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Percent(f64);

impl FromStr for Percent {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let number = text.strip_suffix('%').unwrap_or(text).trim().parse::<f64>();
        match number {
            Ok(percent) if percent.is_finite() && percent >= 0.0 => Ok(Self(percent)),
            _ => Err(Error::InvalidParameter {
                field: "fail_above",
                given: format!("{text:?}"),
                expected: "a percentage such as 5%, zero or more",
            }),
        }
    }
}

/// What a comparison shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Faster,
    Slower,
    NoDifferenceShown,
    /// Fewer measurements than an interval needs, or none in the file.
    TooFewMeasurements,
}

#[derive(Serialize)]
struct Comparison {
    schema: u32,
    a: PathBuf,
    b: PathBuf,
    /// Processor or GPU of each, where it is told.
    machines: [String; 2],
    confidence: f64,
    fail_above_percent: Option<f64>,
    /// Whether a slowdown beyond that is shown.
    failed: bool,
    results: Vec<Compared>,
    only_in_a: Vec<Subject>,
    only_in_b: Vec<Subject>,
}

#[derive(Serialize)]
struct Compared {
    #[serde(flatten)]
    subject: Subject,
    a_p50_us: f64,
    b_p50_us: f64,
    /// B over A: above 1 is slower.
    ratio: f64,
    /// Lower and upper end.
    interval: Option<[f64; 2]>,
    verdict: Verdict,
    /// Whether it is slower by more than `--fail-above`.
    fails: bool,
}

impl Arguments {
    /// Runs the command.
    ///
    /// # Errors
    /// When a file is none of measurements or both have nothing in common; when a slowdown beyond `--fail-above` is shown.
    pub(super) fn run(&self) -> Result<()> {
        let comparison = self.compare()?;
        if self.json {
            stdout::print_json(&comparison)?;
        } else {
            stdout::print(&comparison.to_text())?;
        }
        match comparison.results.iter().filter(|one| one.fails).max_by(|a, b| a.ratio.total_cmp(&b.ratio)) {
            None => Ok(()),
            Some(Compared { subject, ratio, .. }) => {
                let problem =
                    format!("{subject} is {:.1} % slower than in {}", change(*ratio), self.a.display());
                let limit = comparison.fail_above_percent.unwrap_or_default();
                Err(Error::file(&self.b, problem, format!("at most {limit} % (--fail-above)")))
            }
        }
    }

    fn compare(&self) -> Result<Comparison> {
        let (a, b) = (MeasuredRun::read(&self.a)?, MeasuredRun::read(&self.b)?);
        let fail_above = self.fail_above.map(|Percent(percent)| percent);
        let (mut left, mut results, mut only_in_a) = (b.results, Vec::new(), Vec::new());
        for one in a.results {
            // Equal subjects within a file are matched in their order.
            match left.iter().position(|other| other.subject == one.subject) {
                Some(place) => {
                    let seed = SEED + results.len() as u64;
                    results.push(Compared::of(&one, &left.remove(place), seed, fail_above));
                }
                None => only_in_a.push(one.subject),
            }
        }
        if results.is_empty() {
            let problem = format!("it has no result that {} has too", a.path.display());
            return Err(Error::file(b.path, problem, "runs of the same shapes, types and options"));
        }
        Ok(Comparison {
            schema: 1,
            a: a.path,
            b: b.path,
            machines: [a.machine, b.machine],
            confidence: CONFIDENCE,
            fail_above_percent: fail_above,
            failed: results.iter().any(|one| one.fails),
            results,
            only_in_a,
            only_in_b: left.into_iter().map(|one| one.subject).collect(),
        })
    }
}

impl Compared {
    fn of(a: &Measured, b: &Measured, seed: u64, fail_above: Option<f64>) -> Self {
        let middle = |one: &Measured| match one.samples.is_empty() {
            true => one.latency.p50,
            false => median(&mut one.samples.clone()),
        };
        let (a_p50_us, b_p50_us) = (middle(a), middle(b));
        let ratio = b_p50_us / a_p50_us;
        let interval = interval(&a.samples, &b.samples, seed);
        let verdict = match interval {
            None => Verdict::TooFewMeasurements,
            Some(Interval { low, .. }) if low > 1.0 && ratio >= 1.0 + LEAST_CHANGE => Verdict::Slower,
            Some(Interval { high, .. }) if high < 1.0 && ratio <= 1.0 / (1.0 + LEAST_CHANGE) => {
                Verdict::Faster
            }
            Some(_) => Verdict::NoDifferenceShown,
        };
        let beyond = |percent: f64| interval.is_some_and(|interval| change(interval.low) > percent);
        let fails = verdict == Verdict::Slower && fail_above.is_some_and(beyond);
        let interval = interval.map(|Interval { low, high }| [low, high]);
        Self { subject: a.subject.clone(), a_p50_us, b_p50_us, ratio, interval, verdict, fails }
    }
}

/// A ratio as per cent of change.
fn change(ratio: f64) -> f64 {
    100.0 * (ratio - 1.0)
}

impl Comparison {
    fn to_text(&self) -> String {
        let mut text = format!("A {}\nB {}\n", self.a.display(), self.b.display());
        let [a, b] = &self.machines;
        if a != b {
            let _ =
                writeln!(text, "note: A is of {a:?}, B of {b:?}: the difference may be that of the machines");
        }
        let names: Vec<String> = self.results.iter().map(|one| one.subject.to_string()).collect();
        let width = names.iter().map(|name| name.chars().count()).max().unwrap_or_default();
        let _ = writeln!(
            text,
            "\n{:width$}  {:>12}  {:>12}  {:>7}  {:<17}  B is",
            "", "A p50 us", "B p50 us", "B / A", "95 % interval"
        );
        for (name, one) in names.iter().zip(&self.results) {
            let interval =
                one.interval.map_or("-".to_owned(), |[low, high]| format!("{low:.4} .. {high:.4}"));
            let verdict = match one.verdict {
                Verdict::Faster => format!("faster by {:.1} %", -change(one.ratio)),
                Verdict::Slower => format!("slower by {:.1} %", change(one.ratio)),
                Verdict::NoDifferenceShown => "no difference shown".to_owned(),
                Verdict::TooFewMeasurements => format!("not judged: fewer than {LEAST} measurements"),
            };
            let _ = writeln!(
                text,
                "{name:width$}  {:>12.2}  {:>12.2}  {:>7.4}  {interval:<17}  {verdict}{}",
                one.a_p50_us,
                one.b_p50_us,
                one.ratio,
                if one.fails { ", more than allowed" } else { "" }
            );
        }
        for (subjects, file) in [(&self.only_in_a, "A"), (&self.only_in_b, "B")] {
            for subject in subjects {
                let _ = writeln!(text, "only in {file}: {subject}");
            }
        }
        text
    }
}
