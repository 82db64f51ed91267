//! `sml watch`: frames of a camera, a video or a folder through a [`FrameLoop`](crate::frame_loop::FrameLoop), to overlays, obstacles and latencies.
//!
//! Three threads: [`feed`] reads the source and submits, the loop's own ones work, and the command's takes the results and writes
//! them ([`outputs`]). Whoever is slow makes the others wait or lose frames, as the policy says.
//!
//! However it ends, at the end of the source, by Ctrl-C, or by a fault, results that are ready are written and files completed first.

pub(super) mod feed;
mod outputs;
pub(super) mod source;

use std::time::{Duration, Instant};

use clap::Args;
use indicatif::ProgressBar;
use serde::Serialize;

use self::feed::Feed;
use self::outputs::{OutputArgs, Outputs};
use super::interrupt::Interrupt;
use super::loop_args::{LoopArgs, Opened, Use};
use crate::frame_loop::{LoopSummary, Received, Receiver};
use crate::video::Ffmpeg;
use crate::{Error, Result};

/// How often an interrupt is looked for while no result comes.
const GLANCE: Duration = Duration::from_millis(50);

/// Watch a camera, a video or a folder of frames: overlays, obstacles, latencies
///
/// Every frame goes through the network and the post-processing; obstacles are found in the anomaly map and followed from frame to
/// frame. At the end, by itself or by Ctrl-C, files are completed and latencies printed.
///
/// A frame that cannot be decoded, a decoder that fails, a full disk and a failing network end it with one line on stderr and exit code 1, with
/// everything before it written.
#[derive(Args)]
#[command(after_help = "Examples:
  sml watch frames/ --frames overlays --obstacles obstacles.jsonl
  sml watch drive.mp4 --video overlay.mp4 --fpr 0.005 --drivable road,sidewalk --drivable-margin 8
  sml watch rtsp://camera/stream --obstacles - --deadline 100
  ffmpeg -i drive.mkv -f rawvideo -pix_fmt bgr24 - | sml watch - --raw-size 720x1280 --raw-format bgr24 --video o.mp4")]
pub(super) struct Arguments {
    #[command(flatten)]
    frames: LoopArgs,

    #[command(flatten)]
    output: OutputArgs,

    /// Print the counts and the latencies as a JSON object on stdout
    #[arg(long)]
    json: bool,
}

/// What is printed at the end.
#[derive(Serialize)]
struct Summary {
    interrupted: bool,
    seconds: f64,
    frames_per_second: f64,
    broken_pictures: u64,
    obstacles: u64,
    #[serde(flatten)]
    counts: LoopSummary,
}

impl Arguments {
    /// Runs the command.
    ///
    /// # Errors
    /// When an option, the source, the network or an output is not usable, at first or later. What came before is written.
    pub(super) fn run(&self) -> Result<()> {
        self.check()?;
        let interrupt = Interrupt::catch()?;
        let ffmpeg = Ffmpeg::default();
        let wanted =
            Use { results: None, pictures: self.output.draws(), obstacles: self.output.writes_obstacles() };
        let Opened { source, submitter, receiver, classes } = self.frames.open(&ffmpeg, &wanted)?;
        let (size, rate) = (source.frames.size(), source.rate());
        let outputs = self.output.open(&ffmpeg, size, rate, &classes, source.pictures.clone())?;
        let progress = super::progress_bar(source.pictures.len(), "frames");
        let watch = Watch { outputs, progress, interrupt, feed: Feed::start(source, submitter)? };
        self.report(&watch.run(receiver)?)
    }

    fn check(&self) -> Result<()> {
        if self.json && self.output.uses_stdout() {
            return Err(Error::InvalidParameter {
                field: "--json",
                given: "given with --obstacles -".to_owned(),
                expected: "--obstacles FILE: both would write to stdout",
            });
        }
        Ok(())
    }

    fn report(&self, summary: &Summary) -> Result<()> {
        let ended = if summary.interrupted { "interrupted after" } else { "ended after" };
        eprintln!(
            "{ended} {:.1} s: {:.1} frames a second, {}, {}",
            summary.seconds,
            summary.frames_per_second,
            super::counted(summary.obstacles, "obstacle"),
            super::counted(summary.broken_pictures, "broken picture"),
        );
        eprintln!("{}", summary.counts);
        for file in self.output.names() {
            eprintln!("-> {}", file.display());
        }
        if self.json { super::stdout::print_json(summary) } else { Ok(()) }
    }
}

/// A run, while results come.
struct Watch {
    outputs: Outputs,
    progress: ProgressBar,
    interrupt: Interrupt,
    feed: Feed,
}

impl Watch {
    /// Takes all results and ends everything in order, whatever happens: first what feeds the loop, then the loop, then the files.
    fn run(mut self, mut receiver: Receiver) -> Result<Summary> {
        let begin = Instant::now();
        let taken = self.take_all(&mut receiver);
        let (failed, interrupted) = (taken.is_err(), self.interrupt.requested());
        if failed || interrupted || self.outputs.abandoned() {
            self.feed.stop();
        }
        let outputs = &mut self.outputs;
        let mut rest = Ok(());
        let counts = receiver.finish(|frame| {
            if !failed && rest.is_ok() {
                rest = outputs.take(&frame);
            }
        });
        let seconds = begin.elapsed().as_secs_f64();
        self.progress.finish_and_clear();
        let broken_pictures = self.feed.join();
        let obstacles = self.outputs.obstacles();
        // Whichever output failed, the others are completed.
        let finished = self.outputs.finish();
        let written = taken.and(rest).and(finished);
        let (counts, broken_pictures) =
            written.and(counts.and_then(|counts| Ok((counts, broken_pictures?))))?;
        let frames_per_second = counts.delivered as f64 / seconds.max(f64::MIN_POSITIVE);
        Ok(Summary { interrupted, seconds, frames_per_second, broken_pictures, obstacles, counts })
    }

    /// Writes results until the last one, an interrupt, an output that cannot be written, or a reader of stdout that goes away.
    fn take_all(&mut self, receiver: &mut Receiver) -> Result<()> {
        while !self.interrupt.requested() && !self.outputs.abandoned() {
            match receiver.receive_timeout(GLANCE) {
                Received::Frame(frame) => {
                    self.outputs.take(&frame)?;
                    self.progress.inc(1);
                }
                Received::TimedOut => {}
                Received::Ended => break,
            }
        }
        Ok(())
    }
}
