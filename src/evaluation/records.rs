//! The pixels of an exact evaluation on disk: labels, predictions and one file a score.
//!
//! Per image, one after the other and in the order of the journal: `labels.u8` holds the label of every pixel, row by row;
//! `predictions.u8` and `score-NN.f32` (little-endian) hold the predicted class and the score of the labelled pixels alone, in the
//! same order. The journal tells the lengths. So one score at a time can be brought back, as the map that it was on the
//! labelled pixels.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::journal::open_at;
use super::{Entry, Observation};
use crate::metrics::{NORMAL, UNEXPECTED};
use crate::{Error, Result};

/// Whether a pixel of this label takes part.
fn is_labelled(label: u8) -> bool {
    label == UNEXPECTED || label == NORMAL
}

/// A file of records of some bytes a pixel.
struct Stream {
    path: PathBuf,
    file: File,
}

impl Stream {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|error| Error::io(&self.path, "write", error))
    }
}

fn labels_path(folder: &Path) -> PathBuf {
    folder.join("labels.u8")
}

fn predictions_path(folder: &Path) -> PathBuf {
    folder.join("predictions.u8")
}

fn score_path(folder: &Path, score: usize) -> PathBuf {
    folder.join(format!("score-{score:02}.f32"))
}

/// Appends images.
pub(super) struct RecordWriter {
    labels: Stream,
    predictions: Stream,
    scores: Vec<Stream>,
}

impl RecordWriter {
    /// Opens the files of `scores` scores behind the records of `entries`, and cuts off what follows. Tells how many of the
    /// entries have all their records: none behind the first that lacks some is counted.
    pub fn open(folder: &Path, scores: usize, entries: &[Entry]) -> Result<(Self, usize)> {
        let length = |path: PathBuf| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        let there = Ends {
            labels: length(labels_path(folder)),
            predictions: length(predictions_path(folder)),
            scores: (0..scores).map(|score| length(score_path(folder, score))).min().unwrap_or(0),
        };
        let mut ends = Ends::default();
        let mut whole = 0;
        for entry in entries {
            let next = ends.behind(entry, scores > 0);
            if !next.within(&there, scores > 0) {
                break;
            }
            (ends, whole) = (next, whole + 1);
        }
        let stream = |path: PathBuf, length| Ok(Stream { file: open_at(&path, length)?, path });
        let writer = Self {
            labels: stream(labels_path(folder), ends.labels)?,
            predictions: stream(predictions_path(folder), ends.predictions)?,
            scores: (0..scores)
                .map(|score| stream(score_path(folder, score), ends.scores))
                .collect::<Result<_>>()?,
        };
        Ok((writer, whole))
    }

    /// Appends the labelled pixels of an image, which has labels.
    pub fn append(&mut self, observation: &Observation<'_>, labels: &[u8]) -> Result<()> {
        let mut bytes = Vec::new();
        for (stream, score) in self.scores.iter_mut().zip(observation.scores) {
            bytes.clear();
            for (value, _) in score.iter().zip(labels).filter(|(_, label)| is_labelled(**label)) {
                bytes.extend_from_slice(&value.to_le_bytes());
            }
            stream.append(&bytes)?;
        }
        if let Some(prediction) = observation.prediction {
            bytes.clear();
            let of_labelled = prediction.iter().zip(labels).filter(|(_, label)| is_labelled(**label));
            bytes.extend(of_labelled.map(|(class, _)| *class));
            self.predictions.append(&bytes)?;
        }
        self.labels.append(labels)
    }
}

/// Where the records of an image begin or end in each file, in bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Ends {
    labels: u64,
    predictions: u64,
    scores: u64,
}

impl Ends {
    fn behind(self, entry: &Entry, any_scores: bool) -> Self {
        let labelled = entry.labelled as u64;
        Self {
            labels: self.labels + (entry.height * entry.width) as u64,
            predictions: self.predictions + if entry.predicted { labelled } else { 0 },
            scores: self.scores + if any_scores { 4 * labelled } else { 0 },
        }
    }

    fn within(&self, there: &Self, any_scores: bool) -> bool {
        self.labels <= there.labels
            && self.predictions <= there.predictions
            && (!any_scores || self.scores <= there.scores)
    }
}

/// The images of one state folder or of several, in the order of the set.
pub(super) struct Records<'a> {
    images: Vec<Located<'a>>,
}

struct Located<'a> {
    folder: &'a Path,
    entry: &'a Entry,
    begin: Ends,
}

impl<'a> Records<'a> {
    /// Over the entries of each folder, in the order of its journal.
    pub fn new(states: &[(&'a Path, &'a [Entry])], any_scores: bool) -> Self {
        let mut images = Vec::new();
        for (folder, entries) in states {
            let mut begin = Ends::default();
            for entry in *entries {
                images.push(Located { folder, entry, begin });
                begin = begin.behind(entry, any_scores);
            }
        }
        images.sort_by_key(|image| image.entry.index);
        Self { images }
    }

    /// Brings the images back one after the other with the score of that number.
    pub fn each(&self, score: usize, mut handle: impl FnMut(&Record<'_>) -> Result<()>) -> Result<()> {
        let mut open: Option<(&Path, [Source; 3])> = None;
        let (mut bytes, mut labels, mut predictions) = (Vec::new(), Vec::new(), Vec::new());
        for Located { folder, entry, begin } in &self.images {
            let files = match open.take() {
                Some((there, files)) if there == *folder => files,
                _ => [
                    Source::new(labels_path(folder)),
                    Source::new(predictions_path(folder)),
                    Source::new(score_path(folder, score)),
                ],
            };
            let [labels_file, predictions_file, score_file] = &mut open.insert((folder, files)).1;
            labels_file.read(begin.labels, entry.height * entry.width, &mut labels)?;
            let predicted = if entry.predicted { entry.labelled } else { 0 };
            predictions_file.read(begin.predictions, predicted, &mut predictions)?;
            score_file.read(begin.scores, 4 * entry.labelled, &mut bytes)?;
            let scores: Vec<f32> = bytes
                .chunks_exact(4)
                .map(|chunk| f32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]))
                .collect();
            if labels.iter().filter(|label| is_labelled(**label)).count() != scores.len() {
                let problem = format!("does not fit the labels of {}", entry.name);
                return Err(Error::file(
                    score_path(folder, score),
                    problem,
                    "whole records; --fresh starts anew",
                ));
            }
            handle(&Record { entry, labels: &labels, predictions: &predictions, scores: &scores })?;
        }
        Ok(())
    }
}

/// A file of records, opened when it is first read.
struct Source {
    path: PathBuf,
    file: Option<File>,
}

impl Source {
    fn new(path: PathBuf) -> Self {
        Self { path, file: None }
    }

    fn read(&mut self, at: u64, length: usize, into: &mut Vec<u8>) -> Result<()> {
        into.resize(length, 0);
        if length == 0 {
            return Ok(());
        }
        let mut read = || {
            let mut file = match self.file.take() {
                Some(file) => file,
                None => File::open(&self.path)?,
            };
            file.seek(SeekFrom::Start(at))?;
            file.read_exact(into)?;
            self.file = Some(file);
            Ok(())
        };
        read().map_err(|error| Error::io(&self.path, "read", error))
    }
}

/// An image, with one of its scores.
pub(super) struct Record<'a> {
    /// What the journal says about it.
    pub entry: &'a Entry,
    /// Label of each pixel.
    pub labels: &'a [u8],
    /// Predicted class of each labelled pixel; empty where it is not known.
    pub predictions: &'a [u8],
    /// Score of each labelled pixel.
    pub scores: &'a [f32],
}

impl Record<'_> {
    /// The labels of the labelled pixels.
    pub fn labels_of_labelled(&self) -> Vec<u8> {
        self.labels.iter().copied().filter(|&label| is_labelled(label)).collect()
    }

    /// The score of every pixel, with `elsewhere` where no label is.
    pub fn map(&self, elsewhere: f32) -> Vec<f32> {
        let mut scores = self.scores.iter();
        let score = |&label: &u8| if is_labelled(label) { scores.next().copied() } else { None };
        self.labels.iter().map(score).map(|score| score.unwrap_or(elsewhere)).collect()
    }
}
