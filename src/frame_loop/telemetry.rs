//! How long the parts of frames took: of one frame, and of all of them as histograms of constant size.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::{Error, Result, StageTimings};

/// What the work on one frame took, as it says itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkTimings {
    /// Preprocessing, and the transfer to the network's or the engine's device.
    pub upload: Duration,
    /// The network.
    pub backbone: Duration,
    /// The engine's stages.
    pub stages: StageTimings,
    /// The transfer of the result to host memory; zero on the CPU, where it is written there.
    pub download: Duration,
}

/// What one frame took in the loop, part by part. On the CPU by the host's clock; the parts on a GPU by its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FrameTelemetry {
    /// From the call of [`submit`](super::Submitter::submit) until the worker took the frame, without the copy: waiting for room (with
    /// [`Policy::Block`](super::Policy::Block)) and for the frames before it.
    pub queue: Duration,
    /// The copy into the loop, preprocessing, and the transfer to the device.
    pub upload: Duration,
    /// The network; zero for a loop around an engine.
    pub backbone: Duration,
    /// Upsampling, prediction and score.
    pub standardize: Duration,
    /// Boundary suppression.
    pub suppress: Duration,
    /// Smoothing.
    pub smooth: Duration,
    /// What the loop does with a result before it delivers it: temporal smoothing and obstacles.
    pub after: Duration,
    /// The transfer of the result to host memory; zero on the CPU.
    pub download: Duration,
    /// From the call of [`submit`](super::Submitter::submit) to the result being ready for the receiver.
    pub total: Duration,
}

/// A part of a frame's way, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "described at the fields of FrameTelemetry")]
pub enum FramePart {
    Queue,
    Upload,
    Backbone,
    Standardize,
    Suppress,
    Smooth,
    After,
    Download,
    Total,
}

impl FramePart {
    /// Every one, in order.
    pub const ALL: [Self; 9] = [
        Self::Queue,
        Self::Upload,
        Self::Backbone,
        Self::Standardize,
        Self::Suppress,
        Self::Smooth,
        Self::After,
        Self::Download,
        Self::Total,
    ];

    /// The name of the field in [`FrameTelemetry`].
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Upload => "upload",
            Self::Backbone => "backbone",
            Self::Standardize => "standardize",
            Self::Suppress => "suppress",
            Self::Smooth => "smooth",
            Self::After => "after",
            Self::Download => "download",
            Self::Total => "total",
        }
    }
}

impl FrameTelemetry {
    /// Time of one part.
    pub fn part(&self, part: FramePart) -> Duration {
        match part {
            FramePart::Queue => self.queue,
            FramePart::Upload => self.upload,
            FramePart::Backbone => self.backbone,
            FramePart::Standardize => self.standardize,
            FramePart::Suppress => self.suppress,
            FramePart::Smooth => self.smooth,
            FramePart::After => self.after,
            FramePart::Download => self.download,
            FramePart::Total => self.total,
        }
    }
}

/// Nanoseconds that a histogram tells apart: differences below this are of no interest.
const FINEST: u64 = 64;
/// The longest time that it holds: an hour. Longer ones count as one.
const LONGEST: u64 = 3_600_000_000_000;
/// Decimal digits that are kept of a time.
const DIGITS: u8 = 3;

/// How often each part took how long, in nanoseconds: HDR histograms that keep three digits of every time. Their memory does not
/// grow, however long the loop runs.
#[derive(Clone)]
pub struct Latencies {
    histograms: [Histogram<u64>; FramePart::ALL.len()],
}

impl Latencies {
    pub(super) fn new() -> Result<Self> {
        let one = Histogram::new_with_bounds(FINEST, LONGEST, DIGITS).map_err(|error| {
            let given = format!("{FINEST} to {LONGEST} ns: {error}");
            Error::InvalidParameter { field: "latencies", given, expected: "bounds of an HDR histogram" }
        })?;
        Ok(Self { histograms: std::array::from_fn(|_| one.clone()) })
    }

    pub(super) fn record(&mut self, telemetry: &FrameTelemetry) {
        for (histogram, part) in self.histograms.iter_mut().zip(FramePart::ALL) {
            let nanoseconds = telemetry.part(part).as_nanos().min(u128::from(LONGEST));
            histogram.saturating_record(nanoseconds as u64);
        }
    }

    /// The histogram of a part, in nanoseconds.
    pub fn histogram(&self, part: FramePart) -> &Histogram<u64> {
        &self.histograms[part as usize]
    }

    /// The time within which the fraction `quantile` (0 to 1) of the frames had this part done; zero before the first one.
    pub fn quantile(&self, part: FramePart, quantile: f64) -> Duration {
        let histogram = self.histogram(part);
        // The upper end of the histogram's step, which may lie above everything that was recorded.
        Duration::from_nanos(histogram.value_at_quantile(quantile).min(histogram.max()))
    }

    /// The longest that a part took, to the histogram's accuracy.
    pub fn max(&self, part: FramePart) -> Duration {
        Duration::from_nanos(self.histogram(part).max())
    }

    /// The mean time of a part.
    pub fn mean(&self, part: FramePart) -> Duration {
        Duration::from_nanos(self.histogram(part).mean() as u64)
    }
}

/// The longest times, and not the thousands of counts.
impl fmt::Debug for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(FramePart::ALL.map(|part| (part.name(), self.max(part)))).finish()
    }
}

/// Numbers of one part, in microseconds.
#[derive(Serialize)]
struct PartLatency {
    mean: f64,
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

/// A map from parts to their mean, percentiles and maximum, in microseconds.
impl Serialize for Latencies {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let microseconds = |time: Duration| time.as_nanos() as f64 / 1e3;
        let mut map = serializer.serialize_map(Some(FramePart::ALL.len()))?;
        for part in FramePart::ALL {
            let [p50, p90, p99, p999] =
                [0.5, 0.9, 0.99, 0.999].map(|quantile| microseconds(self.quantile(part, quantile)));
            let (mean, max) = (microseconds(self.mean(part)), microseconds(self.max(part)));
            map.serialize_entry(part.name(), &PartLatency { mean, p50, p90, p99, p999, max })?;
        }
        map.end()
    }
}
