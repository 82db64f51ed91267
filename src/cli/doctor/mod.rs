//! `sml doctor`: what this machine and this build can do, and what to do about what they cannot.
//!
//! Three steps: `survey` looks at the machine and notes the [`facts`], [`checks`] judges them, [`report`] puts both into
//! words or JSON. Only the first step touches the machine, so that the others are tested on machines of every kind.

mod checks;
mod facts;
mod gpu_checks;
mod report;
mod survey;

use clap::Args;

use crate::cli::stdout;
use crate::{DeviceRequest, Error, Result};
use facts::Facts;
use report::Report;
pub(super) use survey::processor;

/// Check libtorch, GPU, compiler, caches, processor and threads, and say how to mend what is broken
///
/// The report goes to stdout. The exit code is 0 if the CPU path works; a machine without a GPU is no problem. With
/// --device cuda:N it is 0 only if everything for that GPU works too.
#[derive(Args)]
pub(super) struct Arguments {
    /// What has to work: auto (the CPU; GPUs are checked where there are any), cpu, or cuda:N
    #[arg(long, default_value_t, value_name = "DEVICE")]
    device: DeviceRequest,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Arguments {
    /// Prints the report.
    ///
    /// # Errors
    /// [`Error::Device`] if something that the device needs is broken, after the report was printed.
    pub(super) fn run(&self) -> Result<()> {
        let facts = Facts::gather(self.device);
        let checks = checks::judge(&facts, self.device);
        let report = Report::new(facts, checks, self.device);
        if self.json {
            stdout::print(&report.to_json()?)?;
        } else {
            stdout::print(&report.to_text(stdout::wants_colour()))?;
        }
        match report.broken().as_slice() {
            [] => Ok(()),
            broken => Err(Error::Device {
                device: self.device.to_string(),
                problem: format!("not usable as it is ({})", broken.join(", ")),
                remedy: "the report names a remedy for each".into(),
            }),
        }
    }
}
