//! Going along the axis of a sweep.

use std::time::{Duration, SystemTime};

use super::bandwidth::Bandwidth;
use super::outputs::{Finished, Kept};
use super::report::{First, Machine, Memory, Report, Row, SCHEMA, SweepPoint};
use super::rows::About;
use super::settings::Settings;
use super::sweep::{Axis, Point, does_not_fit};
use super::{Arguments, engine_alone, growth, kept};
use crate::cli::interrupt::Interrupt;
use crate::cli::progress_bar;
use crate::{Device, Error, Result};

/// What has been measured along the way.
#[derive(Default)]
struct Way {
    rows: Vec<Row>,
    kept: Vec<Kept>,
    points: Vec<SweepPoint>,
    left_out: Vec<String>,
    first: Option<First>,
    memory: Memory,
    passed: Duration,
    frames: u64,
    inputs: usize,
    clocks: Option<super::report::Clocks>,
}

impl Arguments {
    /// The engine alone, at every point of the axis that fits into memory. A point that Ctrl-C cut short counts if a frame was measured.
    ///
    /// # Errors
    /// Those of [`engine_alone::measure`], and when no point fits.
    pub(super) fn measure_sweep(
        &self,
        axis: Axis,
        device: Device,
        settings: &Settings,
        interrupt: Interrupt,
    ) -> Result<Finished> {
        if axis == Axis::Threads && device != Device::Cpu {
            return Err(Error::InvalidParameter {
                field: "--sweep",
                given: format!("threads with {device} as device"),
                expected: "the CPU (--device cpu): a GPU's frames have no threads of the host",
            });
        }
        let base = self.case()?;
        let mut given = self.shape.unwrap_or(axis.default_shape());
        given.batch = self.batch.map(usize::from).or(given.batch);
        let base = match axis {
            Axis::Batch => base,
            _ => super::Case {
                result: super::case::ResultShape { batch: given.batch.unwrap_or(1), ..base.result },
                ..base
            },
        };
        let machine = Machine::of(device)?;
        let bandwidth = Bandwidth::of(device)?;
        let (began, mut way) = (SystemTime::now(), Way::default());
        for point in axis.points(&base, given)? {
            if interrupt.requested() {
                break;
            }
            if let Some(reason) = does_not_fit(&point.case)? {
                way.left_out.push(reason);
                continue;
            }
            way.go(axis, &point, device, settings, bandwidth, interrupt)?;
        }
        if way.points.is_empty() && !interrupt.requested() {
            return Err(Error::Shape {
                what: "first point of the sweep",
                given: way.left_out.first().cloned().unwrap_or_default(),
                expected: "one that fits into memory: give a smaller --shape".to_owned(),
            });
        }
        let stage = way.rows.last().map(|row| row.stage.clone()).unwrap_or_default();
        let sweep = growth::of(axis, stage, way.points, way.left_out);
        let what = format!(
            "engine alone, sweep of {}: logits {} {} from 1/{}",
            axis.name(),
            base.dtype(),
            base.layout(),
            base.from
        );
        let report = Report {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            machine,
            what,
            options: settings.options(self.stages, base.result.batch, None),
            frames: way.frames,
            warmup: settings.warmup,
            inputs: way.inputs,
            measured_s: way.passed.as_secs_f64(),
            interrupted: interrupt.requested(),
            first: way.first.unwrap_or_default(),
            memory: way.memory,
            clocks: way.clocks,
            results: way.rows,
            sweep: Some(sweep),
        };
        Ok(Finished { report, kept: way.kept, began, passed: way.passed })
    }
}

impl Way {
    fn go(
        &mut self,
        axis: Axis,
        point: &Point,
        device: Device,
        settings: &Settings,
        bandwidth: Option<Bandwidth>,
        interrupt: Interrupt,
    ) -> Result<()> {
        let Point { x, case, pool } = point;
        let bar = progress_bar(0, axis.name());
        bar.set_message(format!("{}", case.result));
        let outcome = engine_alone::measure(case, device, settings, pool.as_deref(), interrupt, &bar)?;
        let threads =
            pool.as_ref().map_or_else(rayon::current_num_threads, |pool| pool.current_num_threads());
        let about = About::case(case, threads);
        let measured = outcome.measured;
        let rows = about.rows(&measured.stages, bandwidth, |stage| case.bytes(stage))?;
        let Some(last) = rows.last() else { return Ok(()) };
        self.points.push(SweepPoint {
            x: *x,
            shape: last.shape.clone(),
            p50_us: last.latency_us.p50,
            p99_us: last.latency_us.p99,
            ns_per_pixel: 1e3 * last.latency_us.p50 / case.result.pixels() as f64,
            deviation: None,
            input_bytes: case.logit_bytes()? * outcome.inputs as u64,
            reason: None,
        });
        self.frames += measured.frames();
        self.passed += measured.passed;
        self.first.get_or_insert(outcome.first);
        self.inputs = self.inputs.max(outcome.inputs);
        self.memory.peak_bytes = self.memory.peak_bytes.max(outcome.memory.peak_bytes);
        self.memory.device_bytes = self.memory.device_bytes.max(outcome.memory.device_bytes);
        self.clocks = match (self.clocks.take(), measured.clocks) {
            (Some(mut all), Some(new)) => {
                all.after = new.after;
                all.held_back_us = all.held_back_us.zip(new.held_back_us).map(|(a, b)| a + b);
                Some(all)
            }
            (all, new) => all.or(new),
        };
        let name = format!("{x}");
        self.rows.extend(rows);
        self.kept.extend(measured.stages.into_iter().filter_map(|recorded| kept(recorded, Some(&name))));
        Ok(())
    }
}
