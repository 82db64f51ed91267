//! From the source to the board: the loop, and the drawing of its newest frame.

use std::io::Cursor;
use std::thread;
use std::time::Duration;

use axum::body::Bytes;
use image::RgbImage;
use image::codecs::jpeg::JpegEncoder;
use ndarray::{Array2, Axis};
use serde::Serialize;

use super::super::interrupt::Interrupt;
use super::Arguments;
use super::board::{Board, Latency, Shown, Tally};
use super::newest::Newest;
use crate::files::{PictureSource, list_pictures, read_picture};
use crate::obstacles::{Obstacle, ObstacleFinder, ObstacleParams};
use crate::render::{self, ScoreRange};
use crate::torch::{FrameTimings, Pipeline, PipelineOptions};
use crate::{ClassStatistics, Error, PictureView, Result, Size};

/// Quality of the overlay, of 100: edges of small objects stay clean.
const QUALITY: u8 = 85;

/// Pictures and the network that looks at them.
pub(super) struct Source {
    pictures: Vec<PictureSource>,
    pipeline: Pipeline,
    /// Score from which on a pixel belongs to an obstacle.
    threshold: Option<f32>,
    /// Of the size of the first picture.
    finder: Option<ObstacleFinder>,
    classes: Vec<String>,
}

/// Share of the unexpected pixels that the threshold finds, by the calibration.
const FOUND: f64 = 0.8;

/// A frame that is to be drawn.
struct Frame {
    id: u64,
    timestamp: Duration,
    picture: RgbImage,
    score: Array2<f32>,
    obstacles: Vec<Obstacle>,
}

impl Source {
    pub(super) fn open(arguments: &Arguments) -> Result<Self> {
        let pictures = list_pictures(&arguments.source)?;
        let backbone = arguments.model.load()?;
        let params = arguments.method.params(backbone.align_corners());
        let statistics = arguments.model.statistics(arguments.stats.as_deref(), &*backbone)?;
        let points = statistics.as_ref().and_then(ClassStatistics::operating_points);
        let threshold = points.map(|points| points.threshold_at_tpr(FOUND, &params)).transpose()?;
        let classes = backbone.class_names().to_vec();
        let pipeline =
            Pipeline::new(backbone, params, statistics, PipelineOptions { profile: true, graph: false })?
                .on_warning(super::super::show_warning);
        Ok(Self { pictures, pipeline, threshold, finder: None, classes })
    }

    /// Passes all frames through the network, until the last one or an interrupt.
    pub(super) fn run(&mut self, board: &Board, interrupt: Interrupt) -> Result<()> {
        let newest = Newest::new();
        let classes = self.classes.clone();
        thread::scope(|scope| {
            let drawing = scope.spawn(|| {
                while let Some(frame) = newest.take() {
                    board.show(drawn(&frame, &classes)?);
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
            let prediction = map.prediction.index_axis(Axis(0), 0);
            if let (None, Some(threshold)) = (&self.finder, self.threshold) {
                let size = Size::new(picture.height() as usize, picture.width() as usize);
                self.finder = Some(ObstacleFinder::new(ObstacleParams::above(threshold), size)?);
            }
            let obstacles = match &mut self.finder {
                Some(finder) => finder.find(score.view(), prediction)?.to_vec(),
                None => Vec::new(),
            };
            let timings = self.pipeline.timings()?;
            tally.delivered += 1;
            board.passed(latency(id, &timings), tally);
            newest.put(Frame { id, timestamp: Duration::ZERO, picture, score, obstacles });
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

fn drawn(frame: &Frame, classes: &[String]) -> Result<Shown> {
    let range = ScoreRange::upper_half(frame.score.iter().copied());
    let mut overlay = render::overlay(&frame.picture, frame.score.view(), range)?;
    render::draw_obstacles(&mut overlay, &frame.obstacles);
    let obstacles = frame.obstacles.iter().map(|obstacle| {
        let surroundings = obstacle.surrounding_class.and_then(|class| classes.get(usize::from(class)));
        Found { obstacle, surroundings: surroundings.map(String::as_str) }
    });
    Ok(Shown {
        id: frame.id,
        timestamp: frame.timestamp.as_secs_f64(),
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
