//! The engine beside its peers: as a table for people, and as JSON for machines (benches/NOTES.md documents both).

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use super::super::report::Machine;
use super::turns::Turns;
use crate::latency::Latency;

/// Number of the JSON's form.
const SCHEMA: u32 = 1;

/// Name of the engine among the versions, and of the floor.
pub(super) const OURS: &str = "sml";
pub(super) const READ: &str = "read";

/// A run of `sml bench --peers`.
#[derive(Serialize)]
pub(super) struct Report {
    pub schema: u32,
    pub program: &'static str,
    pub version: &'static str,
    pub machine: Machine,
    /// Of Python and its libraries.
    pub versions: BTreeMap<String, String>,
    /// Mean number of running processes over the minute before the end: with nothing else, as many as there are threads.
    pub load_average_after: Option<f64>,
    /// Inputs that take turns.
    pub inputs: usize,
    /// Whether Ctrl-C ended it before its time.
    pub interrupted: bool,
    pub results: Vec<Row>,
    /// Peers that were not timed: they could not run.
    pub skipped: Vec<Reason>,
    /// Peers that were not timed: they computed something else.
    pub different: Vec<Reason>,
}

/// One version on one form of the logits, all stages.
#[derive(Serialize)]
pub(super) struct Row {
    pub version: &'static str,
    pub stage: &'static str,
    /// The result's, N x C x H x W.
    pub shape: String,
    pub dtype: &'static str,
    /// Pixels of the result for each row or column of the logits.
    pub from: usize,
    pub layout: &'static str,
    pub threads: usize,
    /// Measurements.
    pub frames: usize,
    pub latency_us: Latency,
    /// Bytes that have to be read and written at least.
    pub bytes: u64,
    /// By the median.
    pub gb_per_s: f64,
    /// Beside the engine, in the same minutes; for peers only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beside_sml: Option<Beside>,
    /// Measurements in the order in which they were taken.
    pub samples_us: Vec<f64>,
}

/// A peer's times over the engine's: above 1 the engine is the faster one.
#[derive(Serialize)]
pub(super) struct Beside {
    /// In each turn both ran the same input, one behind the other.
    pub turns: usize,
    /// Of the engine in these turns.
    pub sml_latency_us: Latency,
    /// Of both medians.
    pub ratio_of_medians: f64,
    /// Of the ratios of all turns.
    pub ratio: Ratio,
}

/// Ratios of single turns.
#[derive(Clone, Copy, Serialize)]
pub(super) struct Ratio {
    pub median: f64,
    pub p10: f64,
    pub p90: f64,
    pub least: f64,
    pub most: f64,
}

impl Ratio {
    /// By nearest ranks; `None` of no ratios.
    pub fn of(mut ratios: Vec<f64>) -> Option<Self> {
        ratios.sort_by(f64::total_cmp);
        let rank =
            |part: f64| ratios.get(((part * ratios.len() as f64).ceil() as usize).saturating_sub(1)).copied();
        let [median, p10, p90, most] = [rank(0.5)?, rank(0.1)?, rank(0.9)?, rank(1.0)?];
        Some(Self { median, p10, p90, least: rank(0.0)?, most })
    }
}

/// Why a version has no times.
#[derive(Serialize)]
pub(super) struct Reason {
    pub version: &'static str,
    pub dtype: &'static str,
    pub from: usize,
    pub reason: String,
}

impl Report {
    pub fn begin(machine: Machine, inputs: usize) -> Self {
        let (versions, results, skipped, different) = Default::default();
        Self {
            schema: SCHEMA,
            program: "sml bench --peers",
            version: env!("CARGO_PKG_VERSION"),
            machine,
            versions,
            load_average_after: None,
            inputs,
            interrupted: false,
            results,
            skipped,
            different,
        }
    }

    /// A table a form of the logits.
    pub fn to_text(&self) -> String {
        let Machine { cpu, instruction_set, load_average, .. } = &self.machine;
        let threads = self.machine.threads();
        let cpu = cpu.as_deref().unwrap_or("processor of unknown name");
        let load = |load: Option<f64>| load.map_or("unknown".to_owned(), |load| format!("{load:.2}"));
        let versions: Vec<String> =
            self.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
        let mut text = format!(
            "sml {} beside what runs in Python, in turns, on the same inputs; results were compared first\n\
             {cpu}, {threads}, {instruction_set}; {}\n\
             load average {} before, {} after\n",
            self.version,
            versions.join(", "),
            load(*load_average),
            load(self.load_average_after),
        );
        let mut form = None;
        for row in &self.results {
            if form != Some((&row.shape, row.from)) {
                form = Some((&row.shape, row.from));
                let from = if row.from == 1 { String::new() } else { format!(" from 1/{}", row.from) };
                let _ = writeln!(
                    text,
                    "\n{:<28}{:>10}{:>10}{:>12}  {:<18}{:>6}",
                    format!("{}{from}, {}", row.shape, row.dtype),
                    "p50 ms",
                    "p90 ms",
                    "over sml's",
                    "  p10 .. p90",
                    "turns"
                );
            }
            row.add_line(&mut text);
        }
        for (reasons, what) in [(&self.skipped, "not timed"), (&self.different, "not timed, it differs")] {
            for Reason { version, dtype, from, reason } in reasons {
                let _ = writeln!(text, "{}, {dtype} 1/{from}: {what}: {reason}", full_name(version));
            }
        }
        if self.interrupted {
            text += "interrupted: this is what was measured so far\n";
        }
        text
    }
}

impl Row {
    fn add_line(&self, text: &mut String) {
        let Latency { p50, p90, .. } = self.latency_us;
        let _ = write!(text, "{:<28}{:>10.2}{:>10.2}", full_name(self.version), p50 / 1e3, p90 / 1e3);
        if let Some(Beside { turns, ratio: Ratio { median, p10, p90, .. }, .. }) = &self.beside_sml {
            let spread = format!("{p10:.2} .. {p90:.2}");
            let _ = write!(text, "{median:>10.2} x    {spread:<16}{turns:>6}");
        }
        text.push('\n');
    }

    /// What the turns of one peer came to; `None` where there were none.
    pub fn of(peer: &'static str, turns: &Turns, form: &Row) -> Option<Self> {
        let ratio = Ratio::of(turns.ratios())?;
        let (latency, ours) = (latency(&turns.theirs), latency(&turns.ours));
        let beside = Beside {
            turns: turns.number(),
            sml_latency_us: ours,
            ratio_of_medians: latency.p50 / ours.p50,
            ratio,
        };
        let mut row = form.with_samples(peer, turns.theirs.clone());
        row.beside_sml = Some(beside);
        Some(row)
    }

    /// The same form with the measurements of a version.
    pub fn with_samples(&self, version: &'static str, samples_us: Vec<f64>) -> Self {
        let latency_us = latency(&samples_us);
        Self {
            version,
            stage: self.stage,
            shape: self.shape.clone(),
            dtype: self.dtype,
            from: self.from,
            layout: self.layout,
            threads: self.threads,
            frames: samples_us.len(),
            latency_us,
            bytes: self.bytes,
            gb_per_s: if latency_us.p50 > 0.0 { self.bytes as f64 / 1e3 / latency_us.p50 } else { 0.0 },
            beside_sml: None,
            samples_us,
        }
    }
}

/// A version as people call it.
pub(super) fn full_name(version: &str) -> &str {
    match version {
        READ => "reading the logits",
        "official eager" => "PyTorch, official passes",
        "careful eager" => "PyTorch, careful",
        "careful compiled" => "careful, torch.compile",
        "opencv" => "OpenCV and NumPy",
        "opencv banded" => "OpenCV and NumPy, banded",
        other => other,
    }
}

/// Percentiles by nearest rank, and moments.
fn latency(samples: &[f64]) -> Latency {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = |part: f64| {
        let rank = (part * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    };
    let number = sorted.len().max(1) as f64;
    let mean = sorted.iter().sum::<f64>() / number;
    let variance = sorted.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / number;
    Latency {
        p50: rank(0.5),
        p90: rank(0.9),
        p99: rank(0.99),
        p999: rank(0.999),
        max: rank(1.0),
        mean,
        stddev: variance.sqrt(),
    }
}
