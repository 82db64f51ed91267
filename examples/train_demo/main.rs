//! Trains the bundled network, a narrow DABNet, on street scenes that this program draws itself.
//!
//! `cargo run --release --example train_demo -- -o assets/demo` is the whole recipe of `assets/demo`. It draws scenes
//! in the background while the network learns, and writes into the folder:
//!
//! - `demo.safetensors`: the weights; `training.csv`: the loss, step by step;
//! - `validation.csv`: intersection over union on held-out normal scenes;
//! - `statistics.json`: class statistics of normal scenes, and thresholds measured on scenes with unexpected objects;
//! - `scenes/`: test scenes, with objects that no training scene has.
//!
//! With `--weights FILE` nothing is trained, and the rest is made for those weights.
//!
//! The same seed, number of steps and number of threads give the same weights bit for bit on the same machine. Beside
//! other busy programs `OMP_WAIT_POLICY=passive` in the environment makes it several times faster: libtorch's threads
//! then sleep at barriers, where they would spin.

mod batches;
mod calibrate;
mod pipeline;
mod scene;
mod splits;
mod train;
mod validate;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use sml::Result;
use sml::files::prepare_folder;

use crate::train::Training;

/// Trains the bundled network on scenes drawn by this program.
#[derive(Parser, Debug)]
struct Arguments {
    /// Folder for weights, statistics, tables and test scenes; it is created.
    #[arg(short, long)]
    output: PathBuf,
    /// Trains nothing: makes the rest for the network with these weights (.safetensors).
    #[arg(long, value_name = "FILE", conflicts_with_all = ["steps", "minutes", "batch"])]
    weights: Option<PathBuf>,
    /// Training steps.
    #[arg(long, default_value_t = 3000, value_parser = clap::value_parser!(u64).range(1..))]
    steps: u64,
    /// Ends earlier, after this time; the weights then depend on the machine's speed.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    minutes: Option<u64>,
    /// Seed of scenes, augmentation and initial weights.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Threads of libtorch; another number rounds differently and gives other weights.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(i32).range(1..))]
    threads: i32,
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
    tch::set_num_threads(arguments.threads);
    let weights = match &arguments.weights {
        Some(file) => file.clone(),
        None => train(arguments)?,
    };
    let network = pipeline::load_network(&weights)?;
    let folder = &arguments.output;
    prepare_folder(folder)?;
    validate::write_validation(&network, arguments.seed, &folder.join("validation.csv"))?;
    calibrate::write_statistics(&network, arguments.seed, &folder.join("statistics.json"))?;
    splits::write_test_scenes(arguments.seed, &folder.join("scenes"))
}

/// Trains and returns the file with the weights.
fn train(arguments: &Arguments) -> Result<PathBuf> {
    prepare_folder(&arguments.output)?;
    tch::manual_seed(arguments.seed.cast_signed());
    let mut training = Training::new(arguments.seed, arguments.batch)?;
    training.run(arguments.steps, arguments.minutes, &arguments.output)?;
    training.write_weights(&arguments.output)
}
