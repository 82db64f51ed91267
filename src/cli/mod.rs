//! The command line: one file a command, each with its arguments (clap derive) and a `run` that does the work.
//!
//! Results go to stdout or into files; everything meant for a person goes to stderr. Wrong usage exits with 2, a
//! failure with 1, and both print exactly one line that begins with `sml:`.

mod completions;
mod doctor;
mod stdout;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::Result;

#[derive(Parser)]
#[command(name = "sml", version, about, max_term_width = 100, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Doctor(doctor::Arguments),
    Completions(completions::Arguments),
}

impl Command {
    fn run(self) -> Result<()> {
        match self {
            Self::Doctor(arguments) => arguments.run(),
            Self::Completions(arguments) => arguments.run(Cli::command()),
        }
    }
}

/// Entry point of the program: parses `std::env::args`, runs the command, prints an error as one line.
pub fn main() -> ExitCode {
    match Cli::parse().command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sml: {error}");
            ExitCode::FAILURE
        }
    }
}
