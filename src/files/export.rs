//! Files that the benchmarks take as submissions.

use std::path::{Component, Path, PathBuf};

use half::f16;
use ndarray::ArrayView2;

use super::hdf5;
use super::npy::write_npy;
use super::whole_file::write_whole;
use crate::{Error, Result};

/// Writes a score map (height x width, higher is more anomalous) for SegmentMeIfYouCan's program: the dataset `value`
/// of float16 in `FOLDER/anomaly_p/METHOD/DATASET/FRAME.hdf5`, where `FOLDER` is the program's `DIR_OUTPUTS`. Missing
/// folders are created. Returns the path.
///
/// `dataset` is one of the program's names, such as `AnomalyTrack-all` or `ObstacleTrack-all`, and `frame` is the
/// image's name without extension. As in the program itself, scores beyond 65504 become infinite, and scores that
/// differ by less than a thousandth may become equal.
///
/// # Errors
/// [`Error::InvalidParameter`] when a name is no name of a file; [`Error::Io`] when the file cannot be written.
pub fn segment_me_if_you_can(
    folder: &Path,
    method: &str,
    dataset: &str,
    frame: &str,
    scores: ArrayView2<'_, f32>,
) -> Result<PathBuf> {
    let folder = folder.join("anomaly_p").join(name("method", method)?).join(name("dataset", dataset)?);
    let path = folder.join(format!("{}.hdf5", name("frame", frame)?));
    create_folder_of(&path)?;
    let elements: Vec<f16> = scores.iter().map(|&score| f16::from_f32(score)).collect();
    write_whole(&path, |out| hdf5::write(out, hdf5::VALUE, scores.dim().into(), &elements))?;
    Ok(path)
}

/// Writes what Fishyscapes expects for an image called `frame`: `FRAME_anomaly.npy`, the scores as float32 (higher is
/// more anomalous), and `FRAME_segmentation.npy`, the predicted train ids as uint8, where they are given. Missing
/// folders are created.
///
/// # Errors
/// As [`segment_me_if_you_can`]; [`Error::Shape`] when the two maps differ in size.
pub fn fishyscapes(
    folder: &Path,
    frame: &str,
    scores: ArrayView2<'_, f32>,
    segmentation: Option<ArrayView2<'_, u8>>,
) -> Result<()> {
    let frame = name("frame", frame)?;
    let (height, width) = scores.dim();
    if let Some(other) = segmentation.as_ref().filter(|segmentation| segmentation.dim() != scores.dim()) {
        return Err(Error::Shape {
            what: "size of a segmentation",
            given: format!("{}x{}", other.nrows(), other.ncols()),
            expected: format!("that of its scores, {height}x{width}"),
        });
    }
    let path = |kind: &str| folder.join(format!("{frame}_{kind}.npy"));
    create_folder_of(&path("anomaly"))?;
    write_npy(&path("anomaly"), &[height, width], &scores.iter().copied().collect::<Vec<_>>())?;
    if let Some(segmentation) = segmentation {
        let ids: Vec<u8> = segmentation.iter().copied().collect();
        write_npy(&path("segmentation"), &[height, width], &ids)?;
    }
    Ok(())
}

/// A name that stays below the folder that it is put in. It may have several parts.
fn name<'a>(field: &'static str, name: &'a str) -> Result<&'a str> {
    let parts = Path::new(name).components();
    if !name.is_empty()
        && !name.ends_with('/')
        && parts.into_iter().all(|part| matches!(part, Component::Normal(_)))
    {
        return Ok(name);
    }
    let expected = "a name of a file, without \"..\" and not from the root";
    Err(Error::InvalidParameter { field, given: format!("{name:?}"), expected })
}

fn create_folder_of(path: &Path) -> Result<()> {
    match path.parent() {
        Some(folder) => {
            std::fs::create_dir_all(folder).map_err(|source| Error::io(folder, "create the folder", source))
        }
        None => Ok(()),
    }
}
