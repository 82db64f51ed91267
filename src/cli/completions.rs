//! `sml completions`: completions of this command line for a shell.

use clap::{Args, Command};
use clap_complete::Shell;

use crate::Result;
use crate::cli::stdout;

/// Print completions for a shell, to be put where that shell looks for them
///
/// For bash: sml completions bash > ~/.local/share/bash-completion/completions/sml
#[derive(Args)]
pub(super) struct Arguments {
    /// The shell
    shell: Shell,
}

impl Arguments {
    /// Prints the completions of `command`.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) if they cannot be written.
    pub(super) fn run(&self, mut command: Command) -> Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "sml", &mut script);
        stdout::print(&String::from_utf8_lossy(&script))
    }
}
