//! The ffmpeg program: where it is, and a process of it.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::{Error, Result};

/// Where the ffmpeg program is.
#[derive(Clone, Debug)]
pub struct Ffmpeg {
    program: OsString,
}

impl Default for Ffmpeg {
    /// What the environment variable `SML_FFMPEG` names, or else `ffmpeg` on `PATH`.
    fn default() -> Self {
        let named = std::env::var_os("SML_FFMPEG").filter(|name| !name.is_empty());
        Self { program: named.unwrap_or_else(|| "ffmpeg".into()) }
    }
}

impl Ffmpeg {
    /// This program.
    pub fn at(program: impl Into<OsString>) -> Self {
        Self { program: program.into() }
    }

    /// An ffmpeg that says little, to be given its arguments.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["-hide_banner", "-nostats", "-loglevel", "info"]);
        command
    }

    /// Starts the command. Its messages are read as they come.
    ///
    /// # Errors
    /// [`Error::File`] where there is no such program, with what to do; [`Error::Io`] where it cannot be started.
    pub(super) fn start(&self, mut command: Command) -> Result<Process> {
        let program = Path::new(&self.program);
        let mut child = command.stderr(Stdio::piped()).spawn().map_err(|error| match error.kind() {
            ErrorKind::NotFound => Error::file(
                program,
                "there is no such program, and videos and cameras need it",
                "ffmpeg on PATH or at SML_FFMPEG (a folder of pictures, raw frames on -, and --frames do without)",
            ),
            _ => Error::io(program, "start", error),
        })?;
        let messages = Arc::new(Mutex::new(Messages::default()));
        let reader = child.stderr.take().map(|stderr| {
            let messages = Arc::clone(&messages);
            thread::spawn(move || read_messages(stderr, &messages))
        });
        Ok(Process { child: Arc::new(Mutex::new(child)), messages, reader })
    }
}

/// Ends a process of ffmpeg from any thread.
#[derive(Clone, Debug)]
pub struct Stopper(Arc<Mutex<Child>>);

impl Stopper {
    /// Ends it now. Whoever reads from it sees the end of the stream.
    pub fn stop(&self) {
        // It may have ended by itself.
        let _ = unpoisoned(&self.0).kill();
    }
}

/// What ffmpeg said so far.
#[derive(Debug, Default)]
struct Messages {
    /// Its last line, and the last one with an error.
    last: String,
    error: String,
    /// Whether the lines are about its output.
    output: bool,
    /// Frames a second of its output.
    rate: Option<f64>,
}

/// A running ffmpeg. Dropped, it is ended.
#[derive(Debug)]
pub(super) struct Process {
    child: Arc<Mutex<Child>>,
    messages: Arc<Mutex<Messages>>,
    reader: Option<JoinHandle<()>>,
}

/// How often a process is looked at whose end is waited for.
const GLANCE: Duration = Duration::from_millis(4);

impl Process {
    pub fn stopper(&self) -> Stopper {
        Stopper(Arc::clone(&self.child))
    }

    /// Gives the child to `take` what it needs of it.
    pub fn with_child<T>(&self, take: impl FnOnce(&mut Child) -> T) -> T {
        take(&mut unpoisoned(&self.child))
    }

    /// Frames a second that it announced for its output. It does so before its first frame, but through another pipe: waits a
    /// little.
    pub fn rate(&self) -> Option<f64> {
        let patience = Instant::now() + Duration::from_secs(1);
        loop {
            let rate = unpoisoned(&self.messages).rate;
            if rate.is_some() || Instant::now() >= patience || self.has_ended() {
                return rate;
            }
            thread::sleep(GLANCE);
        }
    }

    fn has_ended(&self) -> bool {
        self.reader.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits until it ends, `patience` at the longest, then ends it. `Err` holds what it said last where it failed.
    pub fn wait(&mut self, patience: Option<Duration>) -> std::result::Result<(), String> {
        let begin = Instant::now();
        let status = loop {
            match unpoisoned(&self.child).try_wait() {
                Ok(Some(status)) => break Ok(status),
                Ok(None) => {}
                Err(error) => break Err(error.to_string()),
            }
            if patience.is_some_and(|patience| begin.elapsed() > patience) {
                self.stopper().stop();
            }
            thread::sleep(GLANCE);
        };
        if let Some(reader) = self.reader.take() {
            // It has no panics of its own.
            let _ = reader.join();
        }
        let status = status?;
        if status.success() {
            return Ok(());
        }
        let messages = unpoisoned(&self.messages);
        // Once it is at work, its last words are about its streams.
        let last = Some(&messages.last).filter(|last| !messages.output && !last.is_empty());
        let said = Some(&messages.error).filter(|error| !error.is_empty()).or(last);
        Err(said.map_or(status.to_string(), |said| format!("{said}; {status}")))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.reader.is_some() {
            self.stopper().stop();
            // Its failure is that it was ended.
            let _ = self.wait(None);
        }
    }
}

fn unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads what ffmpeg says until it is silent for good.
fn read_messages(stderr: ChildStderr, messages: &Mutex<Messages>) {
    let mut lines = BufReader::new(stderr);
    let mut line = Vec::new();
    // A message without a line break does not end: it is cut.
    while std::io::Read::take(&mut lines, 1 << 16).read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        let text = String::from_utf8_lossy(&line);
        let text = text.trim();
        if !text.is_empty() {
            unpoisoned(messages).hear(text);
        }
        line.clear();
    }
}

impl Messages {
    fn hear(&mut self, line: &str) {
        if line.starts_with("Output #") {
            self.output = true;
        }
        if self.output && self.rate.is_none() && line.contains("Video:") {
            self.rate = line.split(", ").find_map(rate);
        }
        // What part of ffmpeg speaks, and where that lies in memory, says nothing to the user.
        let said = match line.split_once("] ") {
            Some((part, said)) if part.starts_with('[') => said,
            _ => line,
        };
        if said.contains("rror") || said.contains("nvalid") {
            said.clone_into(&mut self.error);
        }
        said.clone_into(&mut self.last);
    }
}

/// The number of `12.5 fps`, and of `10k fps`.
fn rate(text: &str) -> Option<f64> {
    let number = text.strip_suffix(" fps")?;
    let (number, factor) = number.strip_suffix('k').map_or((number, 1.0), |number| (number, 1000.0));
    number.parse::<f64>().ok().map(|number| number * factor).filter(|rate| rate.is_finite() && *rate > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_output() {
        let mut messages = Messages::default();
        for line in [
            "Stream #0:0[0x1](und): Video: h264 (High), yuv420p, 160x90, 21 kb/s, 12 fps, 12 tbr, 12288 tbn (default)",
            "Output #0, image2pipe, to 'pipe:':",
            "encoder         : Lavc61",
            "Stream #0:0(und): Video: ppm, rgb24(pc, progressive), 160x90 [SAR 1:1], q=2-31, 200 kb/s, 29.97 fps, 29.97 tbn",
            "Stream #0:1(und): Video: ppm, 160x90, 5 fps",
        ] {
            messages.hear(line);
        }
        assert_eq!(messages.rate, Some(29.97));
        assert_eq!((rate("1k fps"), rate("0 fps"), rate("fps")), (Some(1000.0), None, None));
    }

    #[test]
    fn errors_are_remembered_without_addresses() {
        let mut messages = Messages::default();
        messages
            .hear("[in#0 @ 0x563a480b3d80] Error opening input: Invalid data found when processing input");
        messages.hear("Exiting normally");
        assert_eq!(messages.error, "Error opening input: Invalid data found when processing input");
        assert_eq!(messages.last, "Exiting normally");
    }
}
