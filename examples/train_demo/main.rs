//! Trains the bundled network: a narrow DABNet on street scenes that this program draws itself.
//!
//! `cargo run --release --example train_demo -- -o demo` draws scenes in the background while the network learns, and
//! writes into the folder: `demo.safetensors` (weights), `demo_statistics.json` (class statistics of normal scenes),
//! `training.csv` and `validation.csv` (loss, held-out intersection over union), and `scenes/` (test scenes with objects
//! that no training scene has). The same seed, number of steps and number of threads give the same weights bit for bit
//! on the same machine. Beside other busy programs `OMP_WAIT_POLICY=passive` in the environment makes it several times
//! faster: libtorch's threads then sleep at barriers, where they would spin.

mod evaluate;
mod files;
mod samples;
mod scene;
mod train;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use sml::Result;

use crate::train::Training;

/// Trains the bundled network on scenes drawn by this program.
#[derive(Parser, Debug)]
struct Arguments {
    /// Folder for weights, statistics, tables and test scenes; it is created.
    #[arg(short, long)]
    output: PathBuf,
    /// Training steps.
    #[arg(long, default_value_t = 3000, value_parser = clap::value_parser!(u64).range(1..))]
    steps: u64,
    /// Ends earlier, after this time; the weights then depend on the machine's speed.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    minutes: Option<u64>,
    /// Seed of scenes, augmentation and initial weights.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Threads of libtorch; without it, one for each processor.
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..))]
    threads: Option<i32>,
    /// Scenes in a step.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=64))]
    batch: u64,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("train_demo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    files::create_folder(&arguments.output)?;
    if let Some(threads) = arguments.threads {
        tch::set_num_threads(threads);
    }
    tch::manual_seed(arguments.seed.cast_signed());
    let mut training = Training::new(arguments.seed, arguments.batch)?;
    training.run(arguments.steps, arguments.minutes, &arguments.output)?;
    let weights = training.write_weights(&arguments.output)?;
    evaluate::write_reports(training.network(), arguments.seed, &weights, &arguments.output)?;
    files::write_test_scenes(arguments.seed, &arguments.output.join("scenes"))
}
