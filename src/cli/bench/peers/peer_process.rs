//! One peer in a Python process of its own, driven frame by frame over its standard input and output.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::Peer;
use crate::cli::interrupt::Interrupt;
use crate::cli::threads as engine_threads;
use crate::{Error, Result};

/// The peers and what drives them, which the program carries.
const SOURCES: [(&str, &str); 5] = [
    ("drive.py", include_str!("../../../../benches/peers/drive.py")),
    ("reference.py", include_str!("../../../../benches/peers/reference.py")),
    ("official_passes.py", include_str!("../../../../benches/peers/official_passes.py")),
    ("careful_torch.py", include_str!("../../../../benches/peers/careful_torch.py")),
    ("opencv_numpy.py", include_str!("../../../../benches/peers/opencv_numpy.py")),
];

/// Where `make bench-env` makes the environment, from the repository's folder.
const ENVIRONMENT: &str = ".python/bin/python";

/// Longest times for importing libraries, for loading inputs and compiling, and for one frame.
const START: Duration = Duration::from_secs(120);
const PREPARE: Duration = Duration::from_secs(300);
const FRAME: Duration = Duration::from_secs(120);

/// How often a wait looks whether the program was asked to end.
const LOOK: Duration = Duration::from_millis(100);

/// glibc gives large blocks back to the system and faults their pages in again for each pass; peers do twice as well when it keeps
/// them.
const ALLOCATOR: [(&str, &str); 3] = [
    ("MALLOC_MMAP_THRESHOLD_", "4294967296"),
    ("MALLOC_TRIM_THRESHOLD_", "17179869184"),
    ("MALLOC_TOP_PAD_", "268435456"),
];

/// Writes the peers' sources into `folder`.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn write_sources(folder: &Path) -> Result<()> {
    SOURCES.iter().try_for_each(|(name, text)| {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(|error| Error::io(path, "write", error))
    })
}

/// The Python to run: `SML_PYTHON`, else the environment of `make bench-env` below the current folder, else `python3`.
pub(super) fn python() -> PathBuf {
    if let Some(named) = std::env::var_os("SML_PYTHON").filter(|name| !name.is_empty()) {
        return named.into();
    }
    let own = std::env::current_dir().unwrap_or_default().join(ENVIRONMENT);
    if own.is_file() { own } else { "python3".into() }
}

/// What a Python without the libraries is told as.
fn unusable(python: &Path, problem: impl ToString) -> Error {
    let expected = "a Python with NumPy, OpenCV and PyTorch 2.11.0: run make bench-env in sml's repository and \
                    sml bench there, or name one with SML_PYTHON";
    Error::file(python, problem, expected)
}

/// One line of the process: of these fields, those that the command asks for.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Answer {
    versions: Option<BTreeMap<String, String>>,
    missing: Option<String>,
    reason: Option<String>,
    seconds: Option<f64>,
    us: Option<f64>,
    error: Option<String>,
}

/// A peer that is running. Dropping it ends it.
pub(super) struct PeerProcess {
    process: Child,
    commands: ChildStdin,
    answers: Receiver<String>,
    /// What its libraries print.
    errors: PathBuf,
    interrupt: Interrupt,
}

impl PeerProcess {
    /// Starts a peer in `folder`, where task, inputs and sources lie, and tells the versions of what it runs on.
    ///
    /// # Errors
    /// [`Error::File`] where there is no such Python or a library is missing.
    pub fn start(
        python: &Path,
        folder: &Path,
        peer: Peer,
        threads: usize,
        interrupt: Interrupt,
    ) -> Result<(Self, BTreeMap<String, String>)> {
        let errors = folder.join("errors.txt");
        let log = File::create(&errors).map_err(|error| Error::io(&errors, "write", error))?;
        let mut command = Command::new(python);
        command.arg(folder.join("drive.py")).arg(folder).arg(peer.name());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        command.env("OMP_NUM_THREADS", threads.to_string()).envs(ALLOCATOR);
        if engine_threads::are_pinned() {
            command.env("OMP_PROC_BIND", "true");
        }
        // Nothing may stay behind when the folder goes.
        command
            .env("TORCHINDUCTOR_CACHE_DIR", folder.join("compiled"))
            .env("TORCHINDUCTOR_COMPILE_THREADS", "1");
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        // Ctrl-C is for this program, which then ends the peer.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut process = command.spawn().map_err(|error| unusable(python, error))?;
        let (Some(commands), Some(output)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(unusable(python, "it has no standard input and output"));
        };
        let (sender, answers) = channel();
        std::thread::spawn(move || {
            // Ends with the process, or with this one's interest.
            let lines = BufReader::new(output).lines().map_while(std::result::Result::ok);
            lines.map(|line| sender.send(line)).find(std::result::Result::is_err);
        });
        let mut peer = Self { process, commands, answers, errors, interrupt };
        match peer.answer(START) {
            Ok(Answer { versions: Some(versions), .. }) => Ok((peer, versions)),
            Ok(Answer { missing: Some(module), reason, .. }) => {
                let reason = reason.unwrap_or_default();
                Err(unusable(python, format!("it cannot import {module} ({reason})")))
            }
            Ok(_) => Err(unusable(python, "it gave an answer that is none")),
            Err(problem) => Err(unusable(python, problem)),
        }
    }

    /// What tells whether the program was asked to end.
    pub fn interrupt(&self) -> Interrupt {
        self.interrupt
    }

    /// Loads the inputs of a form, builds the version and writes its result of the first input. The error says why it could not.
    pub fn prepare(&mut self, form: usize) -> std::result::Result<Duration, String> {
        let answer = self.ask(format_args!("prepare {form}\n"), PREPARE)?;
        let seconds = answer.seconds.filter(|seconds| (0.0..1e6).contains(seconds));
        seconds.map(Duration::from_secs_f64).ok_or_else(|| "it gave an answer that is none".to_owned())
    }

    /// Runs one input, and tells the microseconds that this took as the peer measured them. The error says why it could not.
    pub fn run(&mut self, input: usize) -> std::result::Result<f64, String> {
        let answer = self.ask(format_args!("run {input}\n"), FRAME)?;
        let time = answer.us.filter(|time| time.is_finite() && *time > 0.0);
        time.ok_or_else(|| "it gave an answer that is none".to_owned())
    }

    fn ask(
        &mut self,
        command: std::fmt::Arguments<'_>,
        longest: Duration,
    ) -> std::result::Result<Answer, String> {
        // A process that has ended tells why by its answer, or by its silence.
        let _ = self.commands.write_fmt(command).and_then(|()| self.commands.flush());
        match self.answer(longest)? {
            Answer { error: Some(error), .. } => Err(error),
            answer => Ok(answer),
        }
    }

    fn answer(&mut self, longest: Duration) -> std::result::Result<Answer, String> {
        let until = Instant::now() + longest;
        loop {
            if self.interrupt.requested() {
                return Err("interrupted".to_owned());
            }
            match self.answers.recv_timeout(LOOK) {
                Ok(line) => {
                    return serde_json::from_str(&line)
                        .map_err(|_| "it gave an answer that is none".to_owned());
                }
                Err(RecvTimeoutError::Timeout) if Instant::now() < until => {}
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!("no answer within {} seconds", longest.as_secs()));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(format!("it ended: {}", self.last_words()));
                }
            }
        }
    }

    /// The last line that the process printed.
    fn last_words(&mut self) -> String {
        let ended = self.process.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
        let text = std::fs::read(&self.errors).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        text.lines().rfind(|line| !line.trim().is_empty()).map_or(ended, |line| line.trim().to_owned())
    }
}

impl Drop for PeerProcess {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
