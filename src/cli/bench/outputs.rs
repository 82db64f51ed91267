//! The files that a run leaves: checked before it begins, so that a long measurement does not end in a refusal.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::Args;

use super::report::Report;
use super::{csv, hdr};
use crate::files::{write_rgb_png, write_whole};
use crate::latency::Samples;
use crate::render::{Figure, LatencySeries, ScalingPoints, latency_figure, scaling_figure};
use crate::{Error, Result, Size};

/// Files beside the table on stdout.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Files")]
pub(super) struct OutputArgs {
    /// Write one line for each stage (and point of a sweep) as comma-separated values
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,

    /// Draw latency over the frames and as a histogram, or with --sweep the cost along the axis with the fitted line
    #[arg(long, value_name = "FILE.svg|png")]
    plot: Option<PathBuf>,

    /// Write histograms that the tools around HdrHistogram read: an interval log (.hlog, one tag a stage, nanoseconds,
    /// version 2 compressed) or the table of percentiles of the whole frame (.hgrm, microseconds)
    #[arg(long, value_name = "FILE.hlog|hgrm")]
    hdr: Option<PathBuf>,
}

/// All measurements of one stage of one case.
pub(super) struct Kept {
    /// The stage, and with a sweep the point: without spaces and commas.
    pub label: String,
    pub samples: Samples,
}

/// What was measured.
pub(super) struct Finished {
    pub report: Report,
    /// As many as the report's results, in their order.
    pub kept: Vec<Kept>,
    pub began: SystemTime,
    pub passed: Duration,
}

impl OutputArgs {
    /// # Errors
    /// [`Error::InvalidParameter`] for endings that say nothing and for one file with two contents; [`Error::Io`] for folders that are
    /// missing.
    pub fn check(&self) -> Result<()> {
        let wrong = |field, path: &Path, expected| Error::InvalidParameter {
            field,
            given: format!("{:?}", path.display().to_string()),
            expected,
        };
        if let Some(path) = self.plot.as_deref().filter(|path| !ends_with(path, &["svg", "png"])) {
            return Err(wrong("--plot", path, "a file that ends in .svg or .png"));
        }
        if let Some(path) = self.hdr.as_deref().filter(|path| !ends_with(path, &["hlog", "hgrm"])) {
            return Err(wrong("--hdr", path, "a file that ends in .hlog (log) or .hgrm (percentiles)"));
        }
        let paths: Vec<&Path> =
            [&self.csv, &self.plot, &self.hdr].into_iter().flatten().map(|p| &**p).collect();
        for (place, path) in paths.iter().enumerate() {
            if paths[..place].contains(path) {
                return Err(wrong("a file", path, "another one for each of --csv, --plot and --hdr"));
            }
            check_target(path)?;
        }
        Ok(())
    }

    /// Writes what was asked for. Each file appears when it is complete.
    ///
    /// # Errors
    /// [`Error::Io`] that names the file.
    pub fn write(&self, finished: &Finished) -> Result<()> {
        let Finished { report, kept, began, passed } = finished;
        if let Some(path) = &self.csv {
            let text = csv::table(&report.results, &report.machine.device, &report.version);
            write_whole(path, |out| out.write_all(text.as_bytes()))?;
        }
        if let Some(path) = &self.hdr {
            if ends_with(path, &["hlog"]) {
                write_whole(path, |out| hdr::write_log(out, kept, *began, *passed))?;
            } else if let Some(Kept { samples, .. }) = kept.last() {
                let text = hdr::percentiles(samples.histogram());
                write_whole(path, |out| out.write_all(text.as_bytes()))?;
            }
        }
        match &self.plot {
            Some(path) => draw(path, &figure(finished)?),
            None => Ok(()),
        }
    }
}

fn ends_with(path: &Path, endings: &[&str]) -> bool {
    path.extension().and_then(|ending| ending.to_str()).is_some_and(|ending| endings.contains(&ending))
}

/// The folder is there, and the name is not a folder's.
fn check_target(path: &Path) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        let missing = format!("the folder {} does not exist", folder.display());
        return Err(Error::io(path, "write", std::io::Error::new(std::io::ErrorKind::NotFound, missing)));
    }
    if path.is_dir() {
        return Err(Error::io(path, "write", std::io::ErrorKind::IsADirectory.into()));
    }
    Ok(())
}

fn draw(path: &Path, figure: &Figure) -> Result<()> {
    if ends_with(path, &["svg"]) {
        let text = figure.svg()?;
        return write_whole(path, |out| out.write_all(text.as_bytes()));
    }
    let picture = figure.picture()?;
    let size = Size::new(picture.height() as usize, picture.width() as usize);
    write_rgb_png(path, size, picture.as_raw())
}

fn figure(Finished { report, kept, .. }: &Finished) -> Result<Figure> {
    if let Some(sweep) = &report.sweep {
        let points: Vec<(f64, f64)> = sweep.points.iter().map(|point| (point.x, point.p50_us)).collect();
        return scaling_figure(&ScalingPoints {
            title: &format!("{}, {}", sweep.stage, report.machine.device),
            axis: super::sweep::axis_title(&sweep.axis),
            points: &points,
            slope: sweep.slope,
        });
    }
    let Some((row, kept)) = report.results.last().zip(kept.last()) else {
        return Err(Error::Shape {
            what: "figure of latencies",
            given: "without a measurement".to_owned(),
            expected: "one frame or more".to_owned(),
        });
    };
    latency_figure(&LatencySeries {
        title: &format!(
            "{}, {} {} from 1/{}, {}",
            row.stage, row.shape, row.dtype, row.from, report.machine.device
        ),
        microseconds: kept.samples.kept(),
        every: kept.samples.stride(),
        p50: row.latency_us.p50,
        p99: row.latency_us.p99,
    })
}
