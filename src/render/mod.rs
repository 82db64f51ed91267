//! Pictures and reports of results.
//!
//! Everything here is a pure function from arrays to pictures in memory or to text; files are written elsewhere.
//! Arrays are H x W views: scores are anomaly scores (float32, higher = more anomalous), predictions and labels are
//! train ids and masks (u8).
//!
//! * [`palette`]: predictions in the Cityscapes colours;
//! * [`colormap`]: scores as a heat map;
//! * [`overlay`](fn@overlay): the heat map blended on the photograph;
//! * [`color_bar`]: a scale with numbers beside any of these;
//! * [`mask`]: unexpected pixels in white;
//! * [`montage`](fn@montage): pictures side by side with captions;
//! * [`report`]: a web page of scenes with a table of metrics;
//! * [`table`]: the table as text.

pub mod color_bar;
pub mod colormap;
pub mod mask;
mod montage;
mod overlay;
pub mod palette;
pub mod report;
pub mod table;
mod text;

use image::{ImageBuffer, Pixel};
use ndarray::ArrayView2;

pub use color_bar::with_color_bar;
pub use colormap::{ScoreRange, heat_map};
pub use montage::{Panel, montage};
pub use overlay::overlay;
pub use palette::colorize;

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
