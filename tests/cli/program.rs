//! Runs the real program in a folder of its own and judges how it ended.

use std::collections::BTreeSet;
#[cfg(feature = "torch")]
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// A folder of its own for a test, in which the program runs: arguments name files relative to it.
pub struct Folder {
    folder: tempfile::TempDir,
}

impl Folder {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file, and the folders above it.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        let path = self.path(name);
        std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    pub fn read_json(&self, name: &str) -> Value {
        serde_json::from_slice(&self.read(name)).unwrap()
    }

    /// Names of everything that lies directly in a folder, hidden files too.
    pub fn names(&self, folder: &str) -> BTreeSet<String> {
        let entries = std::fs::read_dir(self.path(folder)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// Asserts that the folder is missing or empty.
    #[track_caller]
    pub fn assert_nothing_in(&self, folder: &str) {
        if self.path(folder).exists() {
            assert!(self.names(folder).is_empty(), "left in {folder}: {:?}", self.names(folder));
        }
    }

    /// The program with these arguments, here.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sml"));
        command.args(arguments).current_dir(self.folder.path());
        // Tests run side by side: OpenMP's idle threads must not spin.
        command.env("OMP_WAIT_POLICY", "passive").stdin(Stdio::null());
        command
    }

    /// Runs the program with these arguments.
    pub fn sml(&self, arguments: &[&str]) -> Finished {
        Finished::of(self.command(arguments), arguments)
    }

    /// Runs the program with bytes on its standard input.
    #[cfg(feature = "torch")]
    pub fn sml_reading(&self, arguments: &[&str], input: &[u8]) -> Finished {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A program that refuses early closes the pipe; its exit code is what the test is about.
        let _ = child.stdin.take().unwrap().write_all(input);
        Finished { output: child.wait_with_output().unwrap(), line: arguments.join(" ") }
    }
}

/// A run that has ended.
pub struct Finished {
    output: Output,
    line: String,
}

impl Finished {
    pub fn of(mut command: Command, arguments: &[&str]) -> Self {
        Self { output: command.output().unwrap(), line: arguments.join(" ") }
    }

    pub fn stdout(&self) -> &str {
        std::str::from_utf8(&self.output.stdout).unwrap()
    }

    pub fn stderr(&self) -> &str {
        std::str::from_utf8(&self.output.stderr).unwrap()
    }

    #[track_caller]
    fn assert_code(&self, code: i32) {
        let ended = self.output.status.code();
        assert_eq!(
            ended,
            Some(code),
            "sml {}\n{}\nstdout: {}\nstderr: {}",
            self.line,
            self.output.status,
            self.stdout(),
            self.stderr()
        );
    }

    /// The program ended with this code.
    #[track_caller]
    pub fn ended_with_code(self, code: i32) {
        self.assert_code(code);
    }

    /// The program did what it was asked.
    #[track_caller]
    pub fn succeeded(self) -> Self {
        self.assert_code(0);
        self
    }

    /// The program failed: one line on stderr that holds each of `parts`, and nothing on stdout.
    #[track_caller]
    pub fn failed(self, parts: &[&str]) -> Self {
        self.assert_code(1);
        self.assert_one_line(parts);
        self
    }

    /// A command found its arguments wrong: as a failure, with the exit code of wrong usage.
    #[track_caller]
    pub fn refused(self, parts: &[&str]) -> Self {
        self.assert_code(2);
        self.assert_one_line(parts);
        self
    }

    /// The parser found the arguments wrong, and told more than a line about them.
    #[track_caller]
    pub fn misused(self, parts: &[&str]) -> Self {
        self.assert_code(2);
        assert_eq!(self.stdout(), "", "sml {}", self.line);
        let first = self.stderr().lines().next().unwrap_or_default();
        assert!(first.starts_with("error: "), "sml {}: {}", self.line, self.stderr());
        self.assert_told(parts);
        self
    }

    /// The program ended with this code and exactly this on stderr.
    #[track_caller]
    pub fn ended_with(self, code: i32, stderr: &str) {
        self.assert_code(code);
        assert_eq!(self.stderr(), stderr, "sml {}", self.line);
    }

    #[track_caller]
    fn assert_one_line(&self, parts: &[&str]) {
        assert_eq!(self.stdout(), "", "sml {}", self.line);
        let errors = self.stderr();
        assert!(errors.starts_with("sml: ") && errors.ends_with('\n'), "sml {}: {errors:?}", self.line);
        assert_eq!(errors.lines().count(), 1, "sml {}: {errors}", self.line);
        assert!(!errors.trim_end().contains(char::is_control), "sml {}: {errors:?}", self.line);
        self.assert_told(parts);
    }

    /// Each of `parts` stands on stderr.
    #[track_caller]
    pub fn assert_told(&self, parts: &[&str]) {
        for part in parts {
            assert!(
                self.stderr().contains(part),
                "sml {}\nlacks {part:?} on stderr:\n{}",
                self.line,
                self.stderr()
            );
        }
    }

    /// The one JSON object on stdout.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(self.stdout())
            .unwrap_or_else(|error| panic!("sml {}: {error}: {:?}", self.line, self.stdout()))
    }

    /// The JSON objects on stdout, one a line.
    #[cfg(feature = "torch")]
    pub fn json_lines(&self) -> Vec<Value> {
        self.stdout().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}
