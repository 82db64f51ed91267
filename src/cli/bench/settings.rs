//! How is measured: what the options come to once they are understood.

use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;

use super::measurement::Plan;
use super::report::Options;
use crate::latency::Limit;
use crate::{Device, Error, Result, Stage};

/// What lies in the caches when a frame begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cache {
    /// What the frames before have left: several inputs take turns.
    Turns,
    /// Nothing of the frame.
    Cold,
    /// As much of the frame as fits.
    Hot,
}

impl Cache {
    fn name(self) -> &'static str {
        match self {
            Self::Turns => "turns",
            Self::Cold => "cold",
            Self::Hot => "hot",
        }
    }
}

/// How is measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub limit: Limit,
    pub warmup: u64,
    pub cache: Cache,
    /// CUDA graphs; `None` on the CPU.
    pub graph: Option<bool>,
    /// Engines side by side.
    pub concurrency: usize,
}

impl Settings {
    pub fn plan(&self, device: Device) -> Plan {
        Plan { limit: self.limit, warmup: self.warmup, cold: self.cache == Cache::Cold, device }
    }

    /// For the report.
    pub fn options(&self, stages: StagesArg, batch: usize, model: Option<String>) -> Options {
        let duration_s = match self.limit {
            Limit::Duration(longest) => Some(longest.as_secs_f64()),
            Limit::Frames(_) => None,
        };
        Options {
            stages: stages.name().to_owned(),
            model,
            graph: self.graph,
            cache: self.cache.name().to_owned(),
            batch,
            concurrency: self.concurrency,
            duration_s,
        }
    }
}

/// `--stages`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum StagesArg {
    /// Whole frames, and what each stage takes of them
    #[default]
    All,
    /// Upsampling, prediction and score: frames end behind it
    Standardize,
    /// Boundary suppression: frames end behind it, and go through standardize unmeasured
    Suppress,
    /// Smoothing: frames go through the stages before it unmeasured
    Smooth,
}

impl StagesArg {
    pub fn only(self) -> Option<Stage> {
        match self {
            Self::All => None,
            Self::Standardize => Some(Stage::Standardize),
            Self::Suppress => Some(Stage::Suppress),
            Self::Smooth => Some(Stage::Smooth),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Standardize => "standardize",
            Self::Suppress => "suppress",
            Self::Smooth => "smooth",
        }
    }
}

/// `on` or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Switch {
    /// One CUDA graph a frame
    On,
    /// One launch a kernel
    Off,
}

/// A time such as `90`, `1.5s`, `500ms`, `10m` or `2h`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct DurationArg(pub Duration);

impl FromStr for DurationArg {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        /// Thirty days.
        const LONGEST: f64 = 30.0 * 86_400.0;
        let units = [("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("", 1.0)];
        let (number, unit) = units
            .into_iter()
            .find_map(|(name, unit)| Some((text.strip_suffix(name)?, unit)))
            .unwrap_or((text, 1.0));
        let plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let seconds = number.parse::<f64>().ok().filter(|_| plain).map(|number| number * unit);
        match seconds.filter(|seconds| (1e-3..=LONGEST).contains(seconds)) {
            Some(seconds) => Ok(Self(Duration::from_secs_f64(seconds))),
            None => Err(Error::InvalidParameter {
                field: "duration",
                given: format!("{text:?}"),
                expected: "a time from 1ms to 720h such as 90, 1.5s, 500ms, 10m or 2h",
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        for (text, milliseconds) in
            [("90", 90_000), ("1.5s", 1500), ("500ms", 500), ("10m", 600_000), ("2h", 7_200_000)]
        {
            let DurationArg(duration) = text.parse().unwrap();
            assert_eq!(duration, Duration::from_millis(milliseconds), "{text}");
        }
        for text in ["", "s", "-1", "1e3", "0", "0.1ms", "1d", "inf", "NaN", "1 s", "800h"] {
            assert!(text.parse::<DurationArg>().is_err(), "{text}");
        }
    }
}
