//! Results on the standard output.

use std::io::{self, IsTerminal, Write};

use crate::{Error, Result};

/// Writes a result. A reader that has gone away (`sml … | head`) is no error: it has what it wanted.
///
/// # Errors
/// [`Error::Io`] if the output cannot be written, on a full disk for instance.
pub(super) fn print(text: &str) -> Result<()> {
    is_read(text).map(|_| ())
}

/// The same; tells whether there is a reader still.
fn is_read(text: &str) -> Result<bool> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Error::io("stdout", "write", error)),
    }
}

/// Whether text on the standard output may be coloured: on a terminal, unless `NO_COLOR` is set or the terminal is a
/// plain one.
pub(super) fn wants_colour() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let plain = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    !refused && !plain && io::stdout().is_terminal()
}

/// Writes a result as one JSON object over several lines.
///
/// # Errors
/// As [`print`].
pub(super) fn print_json(value: &impl serde::Serialize) -> Result<()> {
    print(&format!("{}\n", json(serde_json::to_string_pretty(value))?))
}

/// Writes a result as one JSON object on one line.
///
/// # Errors
/// As [`print`].
pub(super) fn print_json_line(value: &impl serde::Serialize) -> Result<()> {
    print(&format!("{}\n", json(serde_json::to_string(value))?))
}

/// The same; tells whether there is a reader still, for whom to go on.
///
/// # Errors
/// As [`print`].
#[cfg(feature = "torch")]
pub(super) fn json_line_is_read(value: &impl serde::Serialize) -> Result<bool> {
    is_read(&format!("{}\n", json(serde_json::to_string(value))?))
}

fn json(text: serde_json::Result<String>) -> Result<String> {
    text.map_err(|error| Error::io("stdout", "write", error.into()))
}
