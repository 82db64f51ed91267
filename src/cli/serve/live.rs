//! From the source to the board: the loop, and the drawing of its newest frame.

use std::io::Cursor;
use std::thread;
use std::time::Duration;

use axum::body::Bytes;
use image::RgbImage;
use image::codecs::jpeg::JpegEncoder;
use ndarray::{Array2, Axis};

use super::super::interrupt::Interrupt;
use super::Arguments;
use super::board::{Board, Latency, Shown, Tally};
use super::newest::Newest;
use crate::files::{PictureSource, list_pictures, read_picture};
use crate::render::{self, ScoreRange};
use crate::torch::{FrameTimings, Pipeline, PipelineOptions};
use crate::{Error, PictureView, Result};

/// Quality of the overlay, of 100: edges of small objects stay clean.
const QUALITY: u8 = 85;

/// Pictures and the network that looks at them.
pub(super) struct Source {
    pictures: Vec<PictureSource>,
    pipeline: Pipeline,
}

/// A frame that is to be drawn.
struct Frame {
    id: u64,
    timestamp: Duration,
    picture: RgbImage,
    score: Array2<f32>,
}

impl Source {
    pub(super) fn open(arguments: &Arguments) -> Result<Self> {
        let pictures = list_pictures(&arguments.source)?;
        let backbone = arguments.model.load()?;
        let params = arguments.method.params(backbone.align_corners());
        let statistics = arguments.model.statistics(arguments.stats.as_deref(), &*backbone)?;
        let pipeline =
            Pipeline::new(backbone, params, statistics, PipelineOptions { profile: true, graph: false })?
                .on_warning(super::super::show_warning);
        Ok(Self { pictures, pipeline })
    }

    /// Passes all frames through the network, until the last one or an interrupt.
    pub(super) fn run(&mut self, board: &Board, interrupt: Interrupt) -> Result<()> {
        let newest = Newest::new();
        thread::scope(|scope| {
            let drawing = scope.spawn(|| {
                while let Some(frame) = newest.take() {
                    board.show(drawn(&frame)?);
                }
                Ok(())
            });
            let passed = self.pass(board, interrupt, &newest);
            newest.close();
            let drawn = drawing.join().unwrap_or_else(|_| Ok(()));
            passed.and_then(|tally| drawn.map(|()| board.end(tally)))
        })
    }

    fn pass(&mut self, board: &Board, interrupt: Interrupt, newest: &Newest<Frame>) -> Result<Tally> {
        let mut tally = Tally::default();
        for (id, source) in (0..).zip(&self.pictures) {
            if interrupt.requested() {
                break;
            }
            let picture = read_picture(source)?;
            let map = self.pipeline.run(&PictureView::try_from(&picture)?)?;
            let score = map.score.index_axis(Axis(0), 0).to_owned();
            let timings = self.pipeline.timings()?;
            tally.delivered += 1;
            board.passed(latency(id, &timings), tally);
            newest.put(Frame { id, timestamp: Duration::ZERO, picture, score });
        }
        Ok(tally)
    }
}

fn latency(id: u64, timings: &FrameTimings) -> Latency {
    let milliseconds = |time: Duration| time.as_secs_f32() * 1e3;
    let [preprocess, backbone, standardize, suppress, smooth] =
        timings.rows().map(|(_, time)| milliseconds(time));
    let parts = [0.0, preprocess, backbone, standardize, suppress, smooth, 0.0, 0.0];
    Latency { id, parts, total: milliseconds(timings.total) }
}

fn drawn(frame: &Frame) -> Result<Shown> {
    let range = ScoreRange::upper_half(frame.score.iter().copied());
    let overlay = render::overlay(&frame.picture, frame.score.view(), range)?;
    Ok(Shown {
        id: frame.id,
        timestamp: frame.timestamp.as_secs_f64(),
        size: (overlay.height(), overlay.width()),
        jpeg: jpeg(&overlay)?,
        obstacles: serde_json::Value::Array(Vec::new()),
    })
}

fn jpeg(picture: &RgbImage) -> Result<Bytes> {
    let mut bytes = Cursor::new(Vec::new());
    JpegEncoder::new_with_quality(&mut bytes, QUALITY)
        .encode_image(picture)
        .map_err(|error| Error::io("the overlay", "encode", std::io::Error::other(error)))?;
    Ok(bytes.into_inner().into())
}
