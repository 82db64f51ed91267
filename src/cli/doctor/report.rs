//! The report: facts and verdicts as lines for a person, or as one JSON object.

use std::fmt::Write as _;

use serde::Serialize;

use super::checks::{Check, Status};
use super::facts::Facts;
use crate::{DeviceRequest, Error, Result};

/// Column at which the text of a line begins, behind verdict and name.
const NAME_WIDTH: usize = 19;

/// The whole report. Its fields are those of the JSON object.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Report {
    /// Whether the device that was asked for can be used.
    ok: bool,
    /// That device.
    device: String,
    /// What it comes to, in one sentence.
    conclusion: String,
    checks: Vec<Check>,
    facts: Facts,
}

impl Report {
    pub fn new(facts: Facts, checks: Vec<Check>, request: DeviceRequest) -> Self {
        let broken: Vec<_> =
            checks.iter().filter(|check| check.is_fatal()).map(|check| check.name.as_str()).collect();
        let gpus = facts.libtorch.as_ref().map_or(0, |libtorch| libtorch.gpus);
        let conclusion = match broken.as_slice() {
            [] if gpus > 0 && facts.cuda.is_some() => "Backbones and engine can run on the GPU.".to_owned(),
            [] if gpus > 0 => "Backbones can run on the GPU; this build's engine runs on the CPU.".to_owned(),
            [] if facts.libtorch.is_none() => "The CPU path works; this build has no backbones.".to_owned(),
            [] => "The CPU path works: backbones and engine run on the CPU.".to_owned(),
            names => format!("Not usable for --device {request}: {}.", names.join(", ")),
        };
        Self { ok: broken.is_empty(), device: request.to_string(), conclusion, checks, facts }
    }

    /// Names of the checks that make the wanted device unusable.
    pub fn broken(&self) -> Vec<&str> {
        self.checks.iter().filter(|check| check.is_fatal()).map(|check| check.name.as_str()).collect()
    }

    /// The JSON object, with a line break behind it.
    ///
    /// # Errors
    /// [`Error::File`] if a path in it is not text.
    pub fn to_json(&self) -> Result<String> {
        let json = serde_json::to_string_pretty(self);
        json.map(|text| text + "\n").map_err(|error| Error::file("stdout", error, "paths that are UTF-8"))
    }

    /// One line a check, a remedy under each problem, and the conclusion.
    pub fn to_text(&self, colour: bool) -> String {
        let mut text = String::new();
        for check in &self.checks {
            let (word, code) = verdict(check.status);
            let word = if colour { format!("\x1b[{code}m{word:<8}\x1b[0m") } else { format!("{word:<8}") };
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{word} {:<NAME_WIDTH$} {}", check.name, check.text);
            if let Some(remedy) = &check.remedy {
                let _ = writeln!(text, "{:8} {:NAME_WIDTH$} remedy: {remedy}", "", "");
            }
        }
        let _ = writeln!(text, "\n{}", self.conclusion);
        text
    }
}

/// Its word, and its colour as an ANSI code.
fn verdict(status: Status) -> (&'static str, &'static str) {
    match status {
        Status::Ok => ("ok", "32"),
        Status::Note => ("note", "36"),
        Status::Problem => ("problem", "1;31"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::checks::judge;
    use super::super::facts::tests::{gpu_machine, plain_machine};
    use super::*;

    fn report(facts: Facts, request: DeviceRequest) -> Report {
        let checks = judge(&facts, request);
        Report::new(facts, checks, request)
    }

    #[test]
    fn every_problem_is_followed_by_its_remedy() {
        let text = report(plain_machine(), DeviceRequest::Cuda(0)).to_text(false);
        let lines: Vec<_> = text.lines().collect();
        let problems = lines.iter().enumerate().filter(|(_, line)| line.starts_with("problem "));
        let followed = problems.map(|(at, _)| lines[at + 1].trim_start().starts_with("remedy: "));
        assert_eq!(followed.collect::<Vec<_>>(), [true, true], "{text}");
        assert!(
            text.ends_with("\nNot usable for --device cuda:0: libtorch CUDA half, NVIDIA driver.\n"),
            "{text}"
        );
    }

    #[test]
    fn colour_is_only_there_when_asked_for() {
        let report = report(plain_machine(), DeviceRequest::Auto);
        assert!(!report.to_text(false).contains('\x1b'));
        assert!(report.to_text(true).contains("\x1b[32mok      \x1b[0m program"));
    }

    #[test]
    fn the_conclusion_tells_where_things_run() {
        assert!(report(plain_machine(), DeviceRequest::Auto).conclusion.starts_with("The CPU path works"));
        assert!(
            report(gpu_machine(), DeviceRequest::Auto).conclusion
                == "Backbones and engine can run on the GPU."
        );
    }
}
