//! What was measured, as tables for people.

use std::fmt::Write;

use super::growth::FLAT;
use super::report::{ClockReading, First, Latency, Machine, Report, Row, Sweep};
use super::subject::is_whole;
use super::sweep::axis_title;

const UNKNOWN: &str = "processor of unknown name";

impl Report {
    pub fn to_text(&self) -> String {
        let mut text = self.header();
        match &self.sweep {
            Some(sweep) => add_sweep(&mut text, sweep),
            None => self.add_stages(&mut text),
        }
        self.add_surroundings(&mut text);
        if self.interrupted {
            text += "interrupted: this is what was measured so far\n";
        }
        text
    }

    fn header(&self) -> String {
        let Machine { cpu, instruction_set, device, gpu, driver, load_average, .. } = &self.machine;
        let threads = self.machine.threads();
        let cpu = cpu.as_deref().unwrap_or(UNKNOWN);
        let gpu = gpu.as_ref().map(|name| format!(", {name}")).unwrap_or_default();
        let driver = driver.as_ref().map(|release| format!(" (driver {release})")).unwrap_or_default();
        let load = load_average.map(|load| format!(", load average {load:.2} before")).unwrap_or_default();
        let Self { version, what, frames, warmup, inputs, options, .. } = self;
        let turns = match options.cache.as_str() {
            "cold" => format!("{inputs} inputs take turns, caches flushed before each frame"),
            "hot" => "one input again and again".to_owned(),
            _ => format!("{inputs} inputs take turns"),
        };
        let beside = match options.concurrency {
            0 | 1 => String::new(),
            engines => format!(", {engines} engines side by side"),
        };
        let graph = match options.graph {
            Some(true) => ", frames as CUDA graphs",
            _ => "",
        };
        format!(
            "sml {version} on {device}{gpu}{driver}; {cpu}, {threads}, {instruction_set}{load}\n{what}\n\
             {frames} frames after the first and {warmup} to warm up; {turns}{beside}{graph}\n{}",
            first(&self.first)
        )
    }

    fn add_stages(&self, text: &mut String) {
        let Some(last) = self.results.last() else { return };
        let whole = last.latency_us;
        let (unit, divisor) = unit(whole.p50);
        let columns = ["p50", "p90", "p99", "p99.9", "max", "mean", "stddev"];
        let _ = write!(text, "\n{:<16}", format!("stage ({unit})"));
        columns.iter().for_each(|name| *text += &format!("{name:>11}"));
        let shares = is_whole(&last.stage);
        *text += if shares { "    share\n" } else { "\n" };
        for Row { stage, latency_us: latency, .. } in &self.results {
            let Latency { p50, p90, p99, p999, max, mean, stddev } = latency;
            let name = stage.replace("post_processing", "post-processing").replace('_', " ");
            let _ = write!(text, "{name:<16}");
            for time in [p50, p90, p99, p999, max, mean, stddev] {
                let _ = write!(text, "{:>11.3}", time / divisor);
            }
            let _ = match shares {
                true => writeln!(text, " {:>6.2} %", 100.0 * latency.mean / whole.mean),
                false => writeln!(text),
            };
        }
        text.push('\n');
        add_rate(text, last);
        add_bandwidth(text, last);
    }

    /// Memory and clocks.
    fn add_surroundings(&self, text: &mut String) {
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        if let Some(peak) = self.memory.peak_bytes {
            let _ = write!(text, "host memory {:.1} MB at the most, inputs included", megabytes(peak));
            let _ = match self.memory.device_bytes {
                Some(device) => writeln!(text, "; engines on the device {:.1} MB", megabytes(device)),
                None => writeln!(text),
            };
        }
        let Some(clocks) = &self.clocks else { return };
        if let (Some(before), Some(after)) = (reading(&clocks.before), reading(&clocks.after)) {
            let _ = writeln!(text, "clocks before: {before}; after: {after}");
        }
        if let Some(held @ 1..) = clocks.held_back_us {
            let _ = writeln!(
                text,
                "the system kept this process from running for {:.1} ms meanwhile (cgroup quota)",
                held as f64 / 1e3
            );
        }
    }
}

fn unit(microseconds: f64) -> (&'static str, f64) {
    if microseconds < 1e3 { ("us", 1.0) } else { ("ms", 1e3) }
}

fn first(first: &First) -> String {
    let First { construction_us, construction_again_us, kernels_compiled, compile_us, frame_us, warmup_us } =
        first;
    let mut text = format!("construction {:.1} ms", construction_us / 1e3);
    if let Some(again) = construction_again_us {
        let _ = write!(text, " (once more {:.1} ms", again / 1e3);
        if let (Some(kernels), Some(compile)) = (kernels_compiled, compile_us) {
            let _ = write!(text, "; {kernels} kernels compiled, {:.1} ms of it", compile / 1e3);
        }
        text.push(')');
    }
    let _ = writeln!(text, ", first frame {:.1} ms, warm-up {:.1} ms", frame_us / 1e3, warmup_us / 1e3);
    text
}

/// Frames a second, and how long a call keeps its caller.
fn add_rate(text: &mut String, row: &Row) {
    if let Some(rate) = row.frames_per_s {
        let _ = write!(text, "{rate:.1} images/s");
        let _ = match row.submit_us {
            Some(submit) if submit == row.latency_us => {
                writeln!(text, "; the call returns when the result is complete")
            }
            Some(submit) => {
                let Latency { p50, p99, .. } = submit;
                writeln!(
                    text,
                    "; the call returns after {p50:.1} us (p99 {p99:.1} us), before the result is complete"
                )
            }
            None => writeln!(text),
        };
    }
}

/// What a frame moves, and the limits.
fn add_bandwidth(text: &mut String, row: &Row) {
    let (Some(bytes), Some(rate)) = (row.bytes, row.gb_per_s) else { return };
    let _ = write!(text, "{:.1} MB a frame at the median: {rate:.2} GB/s", bytes as f64 / 1e6);
    if let (Some(copy), Some(copy_percent)) = (row.copy_gb_per_s, row.copy_percent) {
        let _ = write!(text, ", {copy_percent:.1} % of copying memory ({copy:.2} GB/s)");
    }
    if let (Some(read), Some(read_percent)) = (row.read_gb_per_s, row.read_percent) {
        let _ = write!(text, ", {read_percent:.1} % of reading it ({read:.2} GB/s)");
    }
    text.push('\n');
}

fn reading(clocks: &ClockReading) -> Option<String> {
    let ClockReading { cpu_mhz, gpu_sm_mhz, gpu_memory_mhz, gpu_celsius, gpu_watts, gpu_throttling } = clocks;
    let throttling = gpu_throttling.as_ref().filter(|reasons| !reasons.is_empty());
    let parts = [
        cpu_mhz.map(|mhz| format!("CPU {mhz:.0} MHz")),
        gpu_sm_mhz.map(|mhz| format!("GPU {mhz} MHz")),
        gpu_memory_mhz.map(|mhz| format!("its memory {mhz} MHz")),
        gpu_celsius.map(|celsius| format!("{celsius} degrees C")),
        gpu_watts.map(|watts| format!("{watts:.0} W")),
        throttling.map(|reasons| format!("held back by {}", reasons.join(", "))),
    ];
    let known: Vec<String> = parts.into_iter().flatten().collect();
    (!known.is_empty()).then(|| known.join(", "))
}

fn add_sweep(text: &mut String, sweep: &Sweep) {
    let longest = sweep.points.iter().map(|point| point.p50_us).fold(0.0, f64::max);
    let (unit, divisor) = unit(longest);
    let title = axis_title(&sweep.axis);
    let _ = writeln!(
        text,
        "\n{title:>24} {:>18} {:>12} {:>12} {:>12}  {}",
        "shape",
        format!("p50 ({unit})"),
        format!("p99 ({unit})"),
        "ns/pixel",
        if sweep.points.iter().any(|point| point.deviation.is_some()) { "from its median" } else { "" }
    );
    for point in &sweep.points {
        let _ = write!(
            text,
            "{:>24.3} {:>18} {:>12.3} {:>12.3} {:>12.4}",
            point.x,
            point.shape,
            point.p50_us / divisor,
            point.p99_us / divisor,
            point.ns_per_pixel
        );
        if let Some(deviation) = point.deviation {
            let _ = write!(text, "  {:+.1} %", 100.0 * deviation);
        }
        if let Some(reason) = &point.reason {
            let _ = write!(text, ": {reason}");
        }
        text.push('\n');
    }
    sweep.left_out.iter().for_each(|reason| *text += &format!("left out {reason}\n"));
    if let Some(slope) = sweep.slope {
        let _ = write!(text, "\n{}: slope {slope:.3} of the logarithms", sweep.stage);
    }
    if let (Some(fixed), Some(rise)) = (sweep.fixed_us, sweep.unit_us) {
        let _ = write!(text, "; fitted line {fixed:.1} us + {rise:.2} us for each unit of the axis");
    }
    text.push('\n');
    if sweep.points.iter().any(|point| point.deviation.is_some()) {
        let uneven = sweep.points.iter().filter(|point| point.reason.is_some()).count();
        let _ = match uneven {
            0 => writeln!(text, "cost per pixel is flat: all within {:.0} % of its median", 100.0 * FLAT),
            _ => writeln!(
                text,
                "cost per pixel is not flat: {uneven} of {} points beyond {:.0} % of its median",
                sweep.points.len(),
                100.0 * FLAT
            ),
        };
    }
}
