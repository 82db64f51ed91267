//! What `sml watch` and `sml serve` have in common: a source, a network, and a frame loop from one to the other.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::method::MethodArgs;
use super::model::ModelArgs;
use super::obstacle_args::ObstacleArgs;
use super::watch::source::{Source, SourceArgs};
use crate::frame_loop::{FrameLoop, FrameLoopOptions, Policy, Receiver, Submitter};
use crate::torch::{Pipeline, PipelineOptions};
use crate::video::Ffmpeg;
use crate::{Error, Result};

/// Where frames come from, what they go through, and at which pace.
#[derive(Args)]
pub(super) struct LoopArgs {
    #[command(flatten)]
    source: SourceArgs,

    #[command(flatten)]
    pace: PaceArgs,

    #[command(flatten)]
    obstacles: ObstacleArgs,

    /// Class statistics (JSON), as `sml calibrate` writes them; bundled for the demo network and for the published
    /// DABNet weights
    #[arg(long, value_name = "FILE")]
    stats: Option<PathBuf>,

    #[command(flatten)]
    model: ModelArgs,

    #[command(flatten)]
    method: MethodArgs,
}

/// What a command does with results.
pub(super) struct Use {
    /// Results that it holds at a time ([`FrameLoopOptions::results`]); the loop's own choice where `None`.
    pub results: Option<usize>,
    /// Whether it looks at the pictures.
    pub pictures: bool,
    /// Whether it is nothing without obstacles.
    pub obstacles: bool,
}

/// A loop that is ready for the frames of its source.
pub(super) struct Opened {
    pub source: Source,
    pub submitter: Submitter,
    pub receiver: Receiver,
    /// Names of the network's classes.
    pub classes: Vec<String>,
}

impl LoopArgs {
    /// Loads the network, opens the source and builds the loop.
    ///
    /// # Errors
    /// When an option, the source or the network is not usable.
    pub(super) fn open(&self, ffmpeg: &Ffmpeg, wanted: &Use) -> Result<Opened> {
        let backbone = self.model.load()?;
        let classes = backbone.class_names().to_vec();
        let params = self.method.params(backbone.align_corners());
        let statistics = self.model.statistics(self.stats.as_deref(), &*backbone)?;
        let naming = super::naming(self.stats.as_deref());
        let obstacles = self.obstacles.params(&params, statistics.as_ref()).map_err(&naming)?;
        if obstacles.is_none() {
            if wanted.obstacles {
                return Err(Error::InvalidParameter {
                    field: "--obstacles",
                    given: "given without a threshold, and none was calibrated".to_owned(),
                    expected: "--threshold SCORE, or statistics of `sml calibrate --thresholds`",
                });
            }
            eprintln!("no threshold is given and none was calibrated: obstacles are not looked for");
        }
        let measured = PipelineOptions { profile: true, ..PipelineOptions::default() };
        let pipeline = Pipeline::new(backbone, params, statistics, measured)?.on_warning(super::show_warning);
        let source = self.source.open(ffmpeg)?;
        let usual = self.pace.options(source.live);
        let options = FrameLoopOptions {
            results: wanted.results.unwrap_or(usual.results),
            keep_picture: wanted.pictures,
            obstacles,
            temporal_smoothing: self.obstacles.temporal_smoothing(),
            ..usual
        };
        let form = (source.frames.size(), source.frames.format());
        let frames = FrameLoop::around_pipeline(pipeline, form, options).map_err(&naming)?;
        let (submitter, receiver) = frames.split();
        Ok(Opened { source, submitter, receiver, classes })
    }
}

/// How frames that come too fast, and results that come too late, are dealt with.
#[derive(Args)]
#[command(next_help_heading = "Pace")]
struct PaceArgs {
    /// What happens to frames that come while others still wait: block (the source waits), drop-oldest or drop-newest. By default cameras
    /// drop the oldest and everything else waits
    #[arg(long, value_name = "POLICY")]
    policy: Option<Policy>,

    /// Frames that may wait
    #[arg(long, value_name = "FRAMES", default_value_t = 2)]
    queue: usize,

    /// Count results that take longer than this from the frame's arrival
    #[arg(long, value_name = "MS", value_parser = milliseconds)]
    deadline: Option<Duration>,
}

impl PaceArgs {
    /// The loop's options, for a source whose frames come when they come (`live`) or wait.
    fn options(&self, live: bool) -> FrameLoopOptions {
        let usual = if live { Policy::DropOldest } else { Policy::Block };
        FrameLoopOptions {
            policy: self.policy.unwrap_or(usual),
            queue: self.queue,
            deadline: self.deadline,
            ..FrameLoopOptions::default()
        }
    }
}

fn milliseconds(text: &str) -> Result<Duration> {
    let time = text.parse().ok().filter(|ms: &f64| *ms > 0.0 && *ms <= 3.6e6);
    time.map(|ms| Duration::from_secs_f64(ms / 1e3)).ok_or_else(|| Error::InvalidParameter {
        field: "deadline",
        given: format!("{text:?}"),
        expected: "milliseconds, above 0",
    })
}
