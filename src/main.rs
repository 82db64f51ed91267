//! The `sml` program: parses the command line, runs the command, turns an error into one line and an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    sml::cli::main()
}
