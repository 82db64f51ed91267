//! The results, as a table for people and as JSON.

use std::fmt;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use sml::Gpu;
use sml::torch::libtorch;

use crate::Failure;
use crate::frame::{CLASSES, output};
use crate::inputs::Form;
use crate::measure::Latency;

/// Version of the JSON's form; benches/NOTES.md describes it.
const SCHEMA: u32 = 1;

/// One measurement.
pub struct Row<'a> {
    pub form: Form,
    pub stage: &'static str,
    pub cache: &'static str,
    pub graph: bool,
    pub latency: &'a Latency,
    /// The same once more: the difference shows the noise.
    pub again: Option<&'a Latency>,
    /// The host's cost of a frame, and the time of a frame on an idle GPU.
    pub host: Option<(&'a Latency, &'a Latency)>,
}

/// Everything that was measured.
pub struct Report {
    machine: Value,
    copy: f64,
    read: f64,
    /// What the events alone take, in microseconds.
    nothing: f64,
    results: Vec<Value>,
    different: Vec<String>,
    lines: Vec<String>,
}

impl Report {
    pub fn begin(gpu: &Gpu, (copy, read): (f64, f64), nothing: f64) -> Self {
        let machine = json!({
            "date": ask("date", &["-u", "+%FT%TZ"]),
            "gpu": gpu.name,
            "compute_capability": gpu.compute_capability.to_string(),
            "multiprocessors": gpu.multiprocessors,
            "l2_bytes": gpu.l2_bytes,
            "driver": ask_smi("driver_version"),
            "clocks_mhz": clocks(),
            "torch": libtorch::version(),
            "sml": env!("CARGO_PKG_VERSION"),
        });
        let (results, different, lines) = Default::default();
        Self { machine, copy, read, nothing, results, different, lines }
    }

    /// Notes a form whose result is wrong; it is not timed.
    pub fn different(&mut self, form: Form, graph: bool, difference: String) {
        self.different.push(format!("sml, {form}, {}: {difference}", how(graph)));
    }

    pub fn all_right(&self) -> bool {
        self.different.is_empty()
    }

    pub fn add(&mut self, row: Row<'_>) {
        let Row { form, stage, cache, graph, latency, again, host } = row;
        let bytes = form.bytes(stage);
        let rate = bytes as f64 / latency.median() / 1e3;
        let mut result = json!({
            "version": "sml", "stage": stage, "shape": format!("1x{CLASSES}x{}x{}", output().height, output().width),
            "dtype": form.dtype(), "from": form.stride(), "layout": form.layout(), "cache": cache, "graph": graph,
            "frames": latency.frames(),
            "latency_us": {
                "p50": latency.median(), "p90": latency.percentile(900), "p99": latency.percentile(990),
                "p999": latency.percentile(999), "max": latency.max(), "mean": latency.mean(),
                "stddev": latency.deviation(),
            },
            "repeat_p50_us": again.map(Latency::median),
            "bytes": bytes, "gb_per_s": rate, "copy_gb_per_s": self.copy, "read_gb_per_s": self.read,
        });
        if let Some((host, alone)) = host {
            result["host_submit_us"] = json!({ "p50": host.median(), "p99": host.percentile(990) });
            result["idle_gpu_us"] = json!({ "p50": alone.median(), "p99": alone.percentile(990) });
        }
        self.results.push(result);
        let time =
            |latency: Option<&Latency>| latency.map_or(String::new(), |l| format!("{:.1}", l.median()));
        self.lines.push(format!(
            "{:16} {stage:12} {cache:5} {:8} {:>8.1} {:>8} {:>8.1} {:>8.1} {:>8.1} {rate:>7.0} {:>5.0} {:>7} {:>7}",
            form.to_string(),
            how(graph),
            latency.median(),
            time(again),
            latency.percentile(990),
            latency.percentile(999),
            latency.max(),
            100.0 * rate / self.copy,
            time(host.map(|(host, _)| host)),
            time(host.map(|(_, alone)| alone)),
        ));
    }

    /// Notes the clocks that the measurements ended with.
    pub fn finish(&mut self) {
        self.machine["clocks_mhz_after"] = clocks();
    }

    /// Writes the JSON under its name once it is whole.
    pub fn write(&self, path: &Path) -> Result<(), Failure> {
        let whole = json!({
            "schema": SCHEMA, "program": "benches/gpu_latency", "machine": self.machine, "events_alone_us": self.nothing,
            "results": self.results, "skipped": [], "different": self.different,
        });
        let unfinished = Path::new(&format!("{}.unfinished", path.display())).to_owned();
        std::fs::write(&unfinished, serde_json::to_string_pretty(&whole)? + "\n")?;
        Ok(std::fs::rename(&unfinished, path)?)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:16} {:12} {:5} {:8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>7} {:>5} {:>7} {:>7}",
            "logits",
            "stage",
            "cache",
            "given as",
            "p50 us",
            "again",
            "p99",
            "p99.9",
            "max",
            "GB/s",
            "%",
            "host",
            "idle"
        )?;
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))?;
        self.different.iter().try_for_each(|line| writeln!(f, "error: {line}"))?;
        write!(
            f,
            "copy {:.0} GB/s (read + write), read {:.0} GB/s; % is of the copy; events alone {:.1} us; clocks {}",
            self.copy, self.read, self.nothing, self.machine["clocks_mhz_after"]
        )
    }
}

fn how(graph: bool) -> &'static str {
    if graph { "graph" } else { "launches" }
}

/// Clocks of the first GPU now, and what holds them down.
fn clocks() -> Value {
    json!({
        "sm": ask_smi("clocks.sm"), "memory": ask_smi("clocks.mem"),
        "held_down_by": ask_smi("clocks_event_reasons.active"),
    })
}

/// One field that the driver's tool tells, if it is there.
fn ask_smi(field: &str) -> Option<String> {
    ask("nvidia-smi", &[&format!("--query-gpu={field}"), "--format=csv,noheader,nounits", "--id=0"])
}

fn ask(program: &str, arguments: &[&str]) -> Option<String> {
    let output =
        Command::new(program).args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
