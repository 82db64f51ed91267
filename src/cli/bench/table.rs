//! What was measured, as a table for people.

use std::fmt::Write;

use super::report::{Latency, Machine, Report, Row};

impl Report {
    pub fn to_text(&self) -> String {
        let mut text = self.header();
        let Some(whole) = self.results.last().map(|row| row.latency_us) else { return text };
        let (unit, divisor) = if whole.p50 < 1e3 { ("us", 1.0) } else { ("ms", 1e3) };
        let columns = ["p50", "p90", "p99", "p99.9", "max", "mean", "stddev"];
        let _ = write!(text, "\n{:<16}", format!("stage ({unit})"));
        columns.iter().for_each(|name| text += &format!("{name:>11}"));
        text += "    share\n";
        for Row { stage, latency_us: latency, .. } in &self.results {
            let Latency { p50, p90, p99, p999, max, mean, stddev } = latency;
            let _ =
                write!(text, "{:<16}", stage.replace("post_processing", "post-processing").replace('_', " "));
            [p50, p90, p99, p999, max, mean, stddev]
                .iter()
                .for_each(|time| text += &format!("{:>11.3}", **time / divisor));
            let _ = writeln!(text, " {:>6.2} %", 100.0 * latency.mean / whole.mean);
        }
        self.add_bandwidth(&mut text);
        text
    }

    fn header(&self) -> String {
        let Machine { cpu, threads, instruction_set, device, gpu, .. } = &self.machine;
        let cpu = cpu.as_deref().unwrap_or("processor of unknown name");
        let gpu = gpu.as_ref().map(|name| format!(", {name}")).unwrap_or_default();
        let Self { version, what, frames, warmup, inputs, first, .. } = self;
        format!(
            "sml {version} on {device}{gpu}; {cpu}, {threads} threads, {instruction_set}\n{what}\n\
             {frames} frames after the first and {warmup} to warm up; {inputs} inputs take turns\n\
             construction {:.1} ms, first frame {:.1} ms\n",
            first.construction_us / 1e3,
            first.frame_us / 1e3
        )
    }

    /// What the whole moves, and the limit.
    fn add_bandwidth(&self, text: &mut String) {
        let rates = self.results.last().map(|row| (row.bytes, row.gb_per_s, row.read_gb_per_s));
        if let Some((Some(bytes), Some(rate), Some(read))) = rates {
            let megabytes = bytes as f64 / 1e6;
            let _ = writeln!(
                text,
                "\n{megabytes:.1} MB a frame at the median: {rate:.2} GB/s, {:.1} % of the {read:.2} GB/s that \
                 reading alone reaches",
                100.0 * rate / read
            );
        }
    }
}
