//! Pictures and reports of results.
//!
//! Everything here is a pure function from arrays to pictures in memory or to text; files are written elsewhere.
//! Arrays are H x W views: scores are anomaly scores (float32, higher = more anomalous), predictions and labels are
//! train ids and masks (u8).
//!
//! * [`palette`]: predictions in the Cityscapes colours;
//! * [`colormap`]: scores as a heat map;
//! * [`overlay`](fn@overlay): the heat map blended on the photograph;
//! * [`draw_obstacles`]: numbered boxes on any of these;
//! * [`color_bar`]: a scale with numbers beside any of these;
//! * [`mask`]: unexpected pixels in white;
//! * [`montage`](fn@montage): pictures side by side with captions;
//! * [`PaperFigure`]: photographs beside the masks of each method;
//! * [`curves`](fn@curves): ROC and precision-recall curves as SVG and as a picture;
//! * [`class_histograms`](fn@class_histograms): how scores are distributed in each class, likewise;
//! * [`latency_figure`](fn@latency_figure): latency over the frames, and its histogram;
//! * [`scaling_figure`](fn@scaling_figure): how cost grows along an axis;
//! * [`report`]: a web page of scenes with a table of metrics;
//! * [`evaluation_report`](fn@evaluation_report): a web page of a whole evaluation, in one file;
//! * [`table`]: the table as text.

mod canvas;
mod class_histograms;
mod class_scores;
pub mod color_bar;
pub mod colormap;
mod curves;
mod evaluation_report;
mod figure;
mod html;
mod latency_figure;
mod letters;
mod marker;
pub mod mask;
mod montage;
mod obstacle_boxes;
mod overlay;
pub mod palette;
mod paper_figure;
#[cfg(any(all(feature = "cli", feature = "torch"), feature = "rerun"))]
mod photograph;
pub mod report;
mod report_picture;
mod scaling_figure;
pub mod table;
mod text;

use image::{ImageBuffer, Pixel};
use ndarray::ArrayView2;

pub use class_histograms::{ClassPanel, class_histograms};
pub use class_scores::{ClassScoreHistograms, ClassScores, ScoreCounts};
pub use color_bar::with_color_bar;
pub use colormap::{ScoreRange, heat_map};
pub use curves::{Curve, curves};
pub use evaluation_report::{ReportPictures, ReportScene, evaluation_report};
pub use figure::Figure;
pub use latency_figure::{LatencySeries, latency_figure};
pub use montage::{Panel, montage};
pub use obstacle_boxes::draw_obstacles;
pub use overlay::overlay;
pub use palette::colorize;
pub use paper_figure::PaperFigure;
#[cfg(any(all(feature = "cli", feature = "torch"), feature = "rerun"))]
pub(crate) use photograph::photograph;
pub use report_picture::ReportPicture;
pub use scaling_figure::{ScalingPoints, scaling_figure};

use crate::{Error, Result};

/// A picture with one pixel for each element of an array.
fn picture_of<T, P: Pixel<Subpixel = u8>>(
    what: &'static str,
    array: ArrayView2<'_, T>,
    color: impl Fn(&T) -> P,
) -> Result<ImageBuffer<P, Vec<u8>>> {
    let (height, width) = array.dim();
    let shape = || Error::Shape {
        what,
        given: format!("{height} x {width}"),
        expected: "sides from 1 to 4294967295".to_owned(),
    };
    if height == 0 || width == 0 {
        return Err(shape());
    }
    let (columns, rows) =
        (u32::try_from(width).map_err(|_| shape())?, u32::try_from(height).map_err(|_| shape())?);
    let mut bytes = Vec::with_capacity(array.len() * usize::from(P::CHANNEL_COUNT));
    for element in array {
        bytes.extend_from_slice(color(element).channels());
    }
    ImageBuffer::from_raw(columns, rows, bytes).ok_or_else(shape)
}
