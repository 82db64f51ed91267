//! `sml eval merge`: one result from the shards of a set.

use std::path::PathBuf;

use clap::Args;

use super::evaluate::state_folder;
use super::output::OutputArgs;
use crate::cli::interrupt::Interrupt;
use crate::evaluation::Measured;
use crate::{Error, Result};

/// Put the shards of an evaluation together: the result is that of one run over all images
#[derive(Args)]
pub(super) struct Arguments {
    /// Output folders of the shards
    #[arg(required = true, value_name = "DIR")]
    parts: Vec<PathBuf>,

    #[command(flatten)]
    output: OutputArgs,
}

impl Arguments {
    /// Runs the command.
    ///
    /// # Errors
    /// When a folder holds no state, the states do not go together, images are missing, or the output is not usable.
    pub(super) fn run(&self) -> Result<()> {
        let folders: Vec<PathBuf> = self.parts.iter().map(|part| state_folder(part)).collect();
        let mut measured = Measured::read(&folders)?;
        if measured.missing() > 0 {
            let problem = format!(
                "{} of {} images are in none of the parts",
                measured.missing(),
                measured.plan().images
            );
            let expected = "every shard, each run to its end";
            return Err(Error::file(&self.parts[0], problem, expected));
        }
        self.output.finish(&mut measured, Interrupt::catch()?)
    }
}
