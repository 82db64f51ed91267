//! A file of measurements, as far as a comparison needs it.
//!
//! `sml bench --json`, `sml bench --peers --json` and benches/gpu_latency write schema 1 with fields of their own; these are those
//! that tell results apart, and the times. What is absent matches what is absent.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::files::read_at_most;
use crate::latency::Latency;
use crate::{Error, Result};

/// Number of the JSON's form.
const SCHEMA: u32 = 1;

/// Size of a file that is worth reading: 10,000 measurements of each of some hundred results.
const MOST_BYTES: u64 = 1 << 28;

/// A file.
#[derive(Debug)]
pub(super) struct MeasuredRun {
    pub path: PathBuf,
    /// Processor and device, as far as they are told.
    pub machine: String,
    pub results: Vec<Measured>,
}

/// What a result is of: only equals are compared.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Subject {
    /// What was measured, where it was not only the engine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    pub stage: String,
    pub shape: String,
    pub dtype: String,
    pub from: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layout: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suppression: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub graph: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<usize>,
}

/// One result.
#[derive(Debug)]
pub(super) struct Measured {
    pub subject: Subject,
    pub latency: Latency,
    /// Microseconds, in their order.
    pub samples: Vec<f64>,
}

#[derive(Deserialize)]
struct File {
    schema: u32,
    #[serde(default)]
    machine: Machine,
    #[serde(default)]
    options: Options,
    results: Vec<Row>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Machine {
    cpu: Option<String>,
    gpu: Option<String>,
}

/// What holds for all results of a file of `sml bench`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Options {
    model: Option<String>,
    graph: Option<bool>,
    cache: Option<String>,
    concurrency: Option<usize>,
}

#[derive(Deserialize)]
struct Row {
    #[serde(flatten)]
    subject: Subject,
    latency_us: Latency,
    #[serde(default)]
    samples_us: Vec<f64>,
}

impl MeasuredRun {
    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be read, [`Error::File`] when it holds something else.
    pub fn read(path: &Path) -> Result<Self> {
        let expected = "JSON of schema 1, as sml bench --json prints it";
        let bytes = read_at_most(path, MOST_BYTES)?;
        let File { schema, machine, options, results } =
            serde_json::from_slice(&bytes).map_err(|error| Error::file(path, error, expected))?;
        if schema != SCHEMA {
            return Err(Error::file(path, format!("schema {schema}"), expected));
        }
        let results = results.into_iter().map(|row| row.under(&options)).collect::<Vec<_>>();
        let impossible = |time: &f64| !time.is_finite() || *time <= 0.0;
        for Measured { subject, latency, samples } in &results {
            if let Some(time) = samples.iter().chain([&latency.p50]).find(|time| impossible(time)) {
                return Err(Error::file(path, format!("{subject} took {time} us"), "times above zero"));
            }
        }
        let device = machine.gpu.or(machine.cpu).unwrap_or_default();
        Ok(Self { path: path.to_owned(), machine: device, results })
    }
}

impl Row {
    fn under(self, options: &Options) -> Measured {
        let Self { mut subject, latency_us, samples_us } = self;
        subject.model = subject.model.or_else(|| options.model.clone());
        subject.cache = subject.cache.or_else(|| options.cache.clone());
        subject.graph = subject.graph.or(options.graph);
        subject.concurrency = subject.concurrency.or(options.concurrency);
        Measured { subject, latency: latency_us, samples: samples_us }
    }
}

impl fmt::Display for Subject {
    /// `all 1x19x1024x2048 f32 1/4 nchw`, and what else is told.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, stage, shape, dtype, from, layout, .. } = self;
        if let Some(version) = version {
            write!(f, "{version} ")?;
        }
        write!(f, "{stage} {shape} {dtype} 1/{from}")?;
        for text in [layout, &self.suppression, &self.cache, &self.model].into_iter().flatten() {
            if !text.is_empty() {
                write!(f, " {text}")?;
            }
        }
        if self.graph == Some(true) {
            f.write_str(" graph")?;
        }
        if let Some(threads) = self.threads.filter(|&threads| threads > 0) {
            write!(f, ", {}", crate::cli::counted(threads as u64, "thread"))?;
        }
        match self.concurrency {
            Some(engines) if engines > 1 => write!(f, ", {engines} engines"),
            _ => Ok(()),
        }
    }
}
