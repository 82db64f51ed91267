//! The command line: one file a command, each with its arguments (clap derive) and a `run` that does the work.
//!
//! Results go to stdout or into files; everything meant for a person goes to stderr. Wrong usage exits with 2, a
//! failure with 1, and a failure prints exactly one line that begins with `sml:`.

mod bench;
#[cfg(feature = "torch")]
mod calibrate;
mod completions;
mod dataset;
#[cfg(feature = "torch")]
mod demo;
mod doctor;
mod eval;
mod interrupt;
#[cfg(feature = "torch")]
mod logits;
#[cfg(feature = "torch")]
mod loop_args;
mod method;
#[cfg(feature = "torch")]
mod model;
#[cfg(feature = "torch")]
mod obstacle_args;
#[cfg(feature = "torch")]
mod overlays;
#[cfg(feature = "torch")]
mod pipeline;
mod post;
#[cfg(feature = "torch")]
mod rerun;
#[cfg(feature = "torch")]
mod run;
#[cfg(all(feature = "serve", feature = "torch"))]
mod serve;
mod stats;
mod stdout;
mod threads;
#[cfg(feature = "torch")]
mod threshold;
mod together;
#[cfg(feature = "torch")]
mod watch;

use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::{Engine, Error, Result, Warning};

/// Find what a segmentation network has never learned
///
/// Standardized Max Logits (Jung et al., ICCV 2021): turns the logits of any street-scene segmentation network into a
/// map of unexpected objects, without training anything anew.
#[derive(Parser)]
#[command(name = "sml", version, max_term_width = 100, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,

    /// Keep each thread of the CPU engine on a processor of its own. For steady latencies on a machine that does little else: a
    /// kernel may leave two threads on one processor for the length of a frame, those of virtual machines above all
    #[arg(long, global = true, help_heading = "Threads")]
    pin_threads: bool,
}

impl Cli {
    fn run(self) -> Result<()> {
        if self.pin_threads {
            threads::pin()?;
        }
        self.command.run()
    }
}

#[derive(Subcommand)]
enum Command {
    #[cfg(feature = "torch")]
    Run(Box<run::Arguments>),
    #[cfg(feature = "torch")]
    Watch(Box<watch::Arguments>),
    Post(post::Arguments),
    #[cfg(feature = "torch")]
    Logits(logits::Arguments),
    #[cfg(feature = "torch")]
    Calibrate(Box<calibrate::Arguments>),
    #[cfg(feature = "torch")]
    Model(model::Arguments),
    Stats(stats::Arguments),
    Dataset(Box<dataset::Arguments>),
    Eval(Box<eval::Arguments>),
    Bench(Box<bench::Arguments>),
    #[cfg(all(feature = "serve", feature = "torch"))]
    Serve(Box<serve::Arguments>),
    #[cfg(feature = "torch")]
    Demo(demo::Arguments),
    Doctor(doctor::Arguments),
    Completions(completions::Arguments),
}

impl Command {
    fn run(self) -> Result<()> {
        match self {
            #[cfg(feature = "torch")]
            Self::Run(arguments) => arguments.run(),
            #[cfg(feature = "torch")]
            Self::Watch(arguments) => arguments.run(),
            Self::Post(arguments) => arguments.run(),
            #[cfg(feature = "torch")]
            Self::Logits(arguments) => arguments.run(),
            #[cfg(feature = "torch")]
            Self::Calibrate(arguments) => arguments.run(),
            #[cfg(feature = "torch")]
            Self::Model(arguments) => arguments.run(),
            Self::Stats(arguments) => arguments.run(),
            Self::Dataset(arguments) => arguments.run(),
            Self::Eval(arguments) => arguments.run(),
            Self::Bench(arguments) => arguments.run(),
            #[cfg(all(feature = "serve", feature = "torch"))]
            Self::Serve(arguments) => arguments.run(),
            #[cfg(feature = "torch")]
            Self::Demo(arguments) => arguments.run(),
            Self::Doctor(arguments) => arguments.run(),
            Self::Completions(arguments) => arguments.run(Cli::command()),
        }
    }
}

/// Exit code of wrong usage, whether the parser finds it or a command does; clap's own.
const WRONG_USAGE: u8 = 2;

/// Entry point of the program: parses `std::env::args`, runs the command, prints an error as one line.
pub fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sml: {}", on_one_line(&error.to_string()));
            match error {
                Error::InvalidParameter { .. } => ExitCode::from(WRONG_USAGE),
                Error::Interrupted { .. } => ExitCode::from(interrupt::INTERRUPTED),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

/// Control characters escaped: a file's name may hold line breaks, and commands to the terminal.
fn on_one_line(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// Lets an error about class statistics name the file that they come from.
fn naming(file: Option<&Path>) -> impl Fn(Error) -> Error {
    move |error| match (error, file) {
        (Error::InvalidStatistics { problem, expected }, Some(file)) => Error::file(file, problem, expected),
        (Error::ClassesWithoutStatistics { classes }, Some(file)) => {
            let problem = format!("classes {classes:?} have no statistics");
            Error::file(
                file,
                problem,
                "2 pixels or more of each class and some variance, or --missing pooled",
            )
        }
        (error, _) => error,
    }
}

/// Shows what the engine's construction found.
fn warn(engine: &Engine) {
    engine.warnings().iter().for_each(show_warning);
}

fn show_warning(warning: &Warning) {
    eprintln!("sml: warning: {warning}");
}

/// A number with its noun: "1 image", "2 images".
fn counted(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// A bar on stderr for `length` pieces of work, hidden where stderr is no terminal.
fn progress_bar(length: usize, what: &'static str) -> indicatif::ProgressBar {
    let style = indicatif::ProgressStyle::with_template("{prefix} {bar:30} {pos}/{len} {eta} {msg}");
    let bar = indicatif::ProgressBar::new(length as u64).with_prefix(what);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Today's date in UTC, as YYYY-MM-DD.
fn today() -> String {
    let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    date(since_1970.as_secs() / 86_400)
}

/// The day `days` after 1970-01-01 in the Gregorian calendar. Years are counted from March, so that the leap day is a
/// year's last, and in cycles of 400 years, which have 146,097 days.
fn date(days: u64) -> String {
    let day = days + 719_468;
    let (cycle, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    format!("{:04}-{month:02}-{day:02}", year + 400 * cycle + u64::from(month <= 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn dates() {
        let known = [(0, "1970-01-01"), (59, "1970-03-01"), (11_016, "2000-02-29"), (20_779, "2026-11-22")];
        for (days, text) in known {
            assert_eq!(date(days), text);
        }
    }
}
