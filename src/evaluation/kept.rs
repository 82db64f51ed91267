//! Images that are kept as a whole, for pictures of the result: a handful, in the state folder beside the records.
//!
//! Of image 12 these are, as far as they exist, `picture-00012.png` (photograph), `-prediction.png`, `-labels.png`, and
//! `-ROW.npy` (score maps). They are written before the journal knows of the image, so that an image that is done has them.

use std::path::{Path, PathBuf};

use image::RgbImage;
use ndarray::Array2;

use super::Observation;
use crate::files::{
    PictureSource, read_label_map, read_picture, read_score_map, write_grey_png, write_npy, write_rgb_png,
};
use crate::{Result, Size};

/// An image with everything that was measured on it.
#[derive(Clone, Debug)]
pub struct KeptImage {
    /// Its place in the set.
    pub index: usize,
    /// Its name in the set.
    pub name: String,
    /// The photograph.
    pub photograph: Option<RgbImage>,
    /// Predicted classes.
    pub prediction: Option<Array2<u8>>,
    /// 1 unexpected, 0 normal, anything else ignored.
    pub labels: Option<Array2<u8>>,
    /// Anomaly scores of some rows of the plan, by their number.
    pub maps: Vec<(usize, Array2<f32>)>,
}

fn path(folder: &Path, index: usize, what: &str) -> PathBuf {
    folder.join(format!("picture-{index:05}{what}"))
}

fn map_name(row: usize) -> String {
    format!("-{row:03}.npy")
}

/// Writes an image with the maps of `rows`.
pub(super) fn write(
    folder: &Path,
    observation: &Observation<'_>,
    photograph: Option<&RgbImage>,
    rows: &[usize],
) -> Result<()> {
    let (index, size) = (observation.index, observation.size);
    if let Some(photograph) = photograph {
        let size = Size::new(photograph.height() as usize, photograph.width() as usize);
        write_rgb_png(&path(folder, index, ".png"), size, photograph.as_raw())?;
    }
    if let Some(prediction) = observation.prediction {
        write_grey_png(&path(folder, index, "-prediction.png"), size, prediction)?;
    }
    let Some(labels) = observation.labels else { return Ok(()) };
    write_grey_png(&path(folder, index, "-labels.png"), size, labels)?;
    for &row in rows {
        if let Some(score) = observation.scores.get(row) {
            write_npy(&path(folder, index, &map_name(row)), &[size.height, size.width], score)?;
        }
    }
    Ok(())
}

/// Reads an image back; `None` when it was not kept.
pub(super) fn read(folder: &Path, index: usize, name: &str, rows: usize) -> Result<Option<KeptImage>> {
    let there = |what: &str| Some(path(folder, index, what)).filter(|path| path.exists());
    let photograph = there(".png").map(|path| read_picture(&PictureSource::File(path))).transpose()?;
    let prediction = there("-prediction.png").map(|path| read_label_map(&path)).transpose()?;
    let labels = there("-labels.png").map(|path| read_label_map(&path)).transpose()?;
    let maps = (0..rows)
        .filter_map(|row| there(&map_name(row)).map(|path| Ok((row, read_score_map(&path)?))))
        .collect::<Result<Vec<_>>>()?;
    if photograph.is_none() && prediction.is_none() && maps.is_empty() {
        return Ok(None);
    }
    Ok(Some(KeptImage { index, name: name.to_owned(), photograph, prediction, labels, maps }))
}
