//! From the source to the board: the loop, and the drawing of its newest frame.

use std::io::Cursor;
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use axum::body::Bytes;
use image::RgbImage;
use image::codecs::jpeg::JpegEncoder;
use serde::Serialize;

use super::super::interrupt::Interrupt;
use super::super::loop_args::{Opened, Use};
use super::super::overlays::Overlays;
use super::super::watch::feed::Feed;
use super::Arguments;
use super::board::{Board, Latency, PARTS, Shown, Tally};
use super::newest::Newest;
use crate::frame_loop::{AnomalyFrame, FrameTelemetry, LoopSummary, Received, Receiver};
use crate::obstacles::Obstacle;
use crate::video::Ffmpeg;
use crate::{Error, Result};

/// Quality of the overlay, of 100: edges of small objects stay clean.
const QUALITY: u8 = 85;
/// How often an interrupt is looked for while no result comes.
const GLANCE: Duration = Duration::from_millis(50);
/// Results that the loop lends: one that is looked at, one that waits to be drawn, one that is drawn, and one more.
const RESULTS: usize = 4;

/// A loop that is ready, with the source that feeds it.
pub(super) struct Live {
    feed: Feed,
    receiver: Receiver,
    overlays: Overlays,
    /// Names of the classes.
    classes: Vec<String>,
}

impl Live {
    /// Opens the source and loads the network.
    ///
    /// # Errors
    /// When an option, the source or the network is not usable.
    pub(super) fn open(arguments: &Arguments) -> Result<Self> {
        let wanted = Use { results: Some(RESULTS), pictures: true, obstacles: false };
        let Opened { source, submitter, receiver, classes } =
            arguments.frames.open(&Ffmpeg::default(), &wanted)?;
        let feed = Feed::start(source, submitter)?;
        Ok(Self { feed, receiver, overlays: Overlays::new(arguments.range), classes })
    }

    /// Passes all frames through the loop, until the last one or an interrupt.
    ///
    /// # Errors
    /// What ended the source, the loop or the drawing early.
    pub(super) fn run(self, board: &Board, interrupt: Interrupt) -> Result<LoopSummary> {
        let Self { feed, mut receiver, mut overlays, classes } = self;
        let newest = Newest::new();
        thread::scope(|scope| {
            let drawing = scope.spawn(|| {
                while let Some(frame) = newest.take() {
                    board.show(shown(&frame, &mut overlays, &classes)?);
                }
                Ok(())
            });
            let mut passage = Passage { board, newest: &newest, tally: Tally::default() };
            passage.pass_all(&mut receiver, interrupt, &drawing);
            let early = interrupt.requested() || drawing.is_finished();
            if early {
                feed.stop();
            }
            let ended = receiver.finish(|frame| if early { drop(frame) } else { passage.pass(frame) });
            let mut tally = passage.tally;
            newest.close();
            let drawn = drawing.join().unwrap_or_else(|_| {
                Err(Error::LoopPanicked { message: "in the drawing of an overlay".to_owned() })
            });
            let broken = feed.join();
            let (summary, broken) = drawn.and(ended.and_then(|summary| Ok((summary, broken?))))?;
            tally.left_out = summary.dropped + broken;
            board.end(tally);
            Ok(summary)
        })
    }
}

/// Results on their way out of the loop.
struct Passage<'a> {
    board: &'a Board,
    newest: &'a Newest<AnomalyFrame>,
    tally: Tally,
}

impl Passage<'_> {
    /// Passes results on until the last one, an interrupt, or the end of the drawing.
    fn pass_all(
        &mut self,
        receiver: &mut Receiver,
        interrupt: Interrupt,
        drawing: &ScopedJoinHandle<'_, Result<()>>,
    ) {
        while !interrupt.requested() && !drawing.is_finished() {
            match receiver.receive_timeout(GLANCE) {
                Received::Frame(frame) => self.pass(frame),
                Received::TimedOut => {}
                Received::Ended => return,
            }
        }
    }

    fn pass(&mut self, frame: AnomalyFrame) {
        let id = frame.stamp().id;
        self.tally.delivered += 1;
        self.tally.missed_deadlines += u64::from(frame.missed_deadline());
        // Frames are numbered from 0.
        self.tally.left_out = (id + 1).saturating_sub(self.tally.delivered);
        self.board.passed(latency(id, &frame.telemetry()), self.tally);
        self.newest.put(frame);
    }
}

fn latency(id: u64, telemetry: &FrameTelemetry) -> Latency {
    let milliseconds = |time: Duration| time.as_secs_f32() * 1e3;
    Latency {
        id,
        parts: PARTS.map(|part| milliseconds(telemetry.part(part))),
        total: milliseconds(telemetry.total),
    }
}

fn shown(frame: &AnomalyFrame, overlays: &mut Overlays, classes: &[String]) -> Result<Shown> {
    let overlay = overlays.draw(frame)?;
    let obstacles = frame.obstacles().iter().map(|obstacle| {
        let surroundings = obstacle.surrounding_class.and_then(|class| classes.get(usize::from(class)));
        Found { obstacle, surroundings: surroundings.map(String::as_str) }
    });
    Ok(Shown {
        id: frame.stamp().id,
        timestamp: frame.stamp().timestamp.as_secs_f64(),
        size: (overlay.height(), overlay.width()),
        jpeg: jpeg(&overlay)?,
        obstacles: serde_json::json!(obstacles.collect::<Vec<_>>()),
    })
}

/// An obstacle as the page is told of it.
#[derive(Serialize)]
struct Found<'a> {
    #[serde(flatten)]
    obstacle: &'a Obstacle,
    /// Name of the class that it lies in.
    surroundings: Option<&'a str>,
}

fn jpeg(picture: &RgbImage) -> Result<Bytes> {
    let mut bytes = Cursor::new(Vec::new());
    JpegEncoder::new_with_quality(&mut bytes, QUALITY)
        .encode_image(picture)
        .map_err(|error| Error::io("the overlay", "encode", std::io::Error::other(error)))?;
    Ok(bytes.into_inner().into())
}
