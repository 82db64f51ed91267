//! An evaluation at work: takes one image after the other, and keeps what it has on disk.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use image::RgbImage;

use super::journal::Journal;
use super::kept;

use super::records::RecordWriter;
use super::tally::Tally;
use super::{Entry, Failure, Mode, Plan};
use crate::dataset::ContentHash;
use crate::metrics::{ConfusionMatrix, NORMAL, UNEXPECTED};
use crate::{Error, Result, Size};

/// What was measured on one image.
#[derive(Clone, Copy, Debug)]
pub struct Observation<'a> {
    /// Its place in the whole set.
    pub index: usize,
    /// Its name in the set.
    pub name: &'a str,
    /// The files that it consists of.
    pub files: ContentHash,
    /// Rows and columns of labels, scores and prediction.
    pub size: Size,
    /// 1 unexpected, 0 normal, anything else ignored, row by row; `None` where the set labels nothing unexpected.
    pub labels: Option<&'a [u8]>,
    /// Predicted class of each pixel, where known.
    pub prediction: Option<&'a [u8]>,
    /// Anomaly score of each pixel, one map a row of the plan; not read without labels.
    pub scores: &'a [&'a [f32]],
    /// Pixels with a logit that is NaN or infinite.
    pub non_finite: u64,
    /// Labelled against predicted classes of this image, where train ids are labelled.
    pub confusion: Option<&'a ConfusionMatrix>,
}

impl Observation<'_> {
    /// Whether the image can take part.
    ///
    /// # Errors
    /// [`Error::Shape`] when a map has another size than the image, [`Error::UndefinedMetric`] when the score of a labelled
    /// pixel is NaN.
    pub fn check(&self, plan: &Plan) -> Result<()> {
        let pixels = self.size.pixels();
        let fits = |what, given: usize| {
            if given == pixels {
                return Ok(());
            }
            let expected = format!("{pixels}, as {} has", self.size);
            Err(Error::Shape { what, given: given.to_string(), expected })
        };
        self.prediction.map_or(Ok(()), |prediction| fits("number of predictions", prediction.len()))?;
        let Some(labels) = self.labels else { return Ok(()) };
        fits("number of labels", labels.len())?;
        if self.scores.len() != plan.rows.len() {
            return Err(Error::Shape {
                what: "number of scores",
                given: self.scores.len().to_string(),
                expected: format!("{}, one a row of the plan", plan.rows.len()),
            });
        }
        for (score, row) in self.scores.iter().zip(&plan.rows) {
            fits("number of scores", score.len())?;
            let is_labelled = |label: &u8| *label == UNEXPECTED || *label == NORMAL;
            let labelled = score.iter().zip(labels).filter(|(_, label)| is_labelled(label));
            let nan = labelled.filter(|(score, _)| score.is_nan()).count();
            if nan > 0 {
                return Err(Error::UndefinedMetric {
                    metric: "rank of a score",
                    problem: format!("{} is NaN at {nan} labelled pixels", row.name),
                });
            }
        }
        Ok(())
    }

    fn entry(&self) -> Entry {
        let labelled = |label: &&u8| **label == UNEXPECTED || **label == NORMAL;
        let labels = self.labels.unwrap_or_default();
        let size = if self.labels.is_some() { self.size } else { Size::new(0, 0) };
        Entry {
            index: self.index,
            name: self.name.to_owned(),
            files: self.files,
            height: size.height,
            width: size.width,
            labelled: labels.iter().filter(labelled).count(),
            predicted: self.prediction.is_some(),
            non_finite: self.non_finite,
            confusion: self.confusion.cloned(),
        }
    }
}

/// The state of an evaluation in its folder, open for work.
pub struct State {
    folder: PathBuf,
    plan: Plan,
    journal: Journal,
    store: Store,
    done: Vec<usize>,
}

/// Where the pixels go.
enum Store {
    Exact(RecordWriter),
    Histogram(Tally),
}

impl State {
    /// Opens the state in `folder` for `plan`: goes on with what is there, or begins.
    ///
    /// # Errors
    /// [`Error::File`] when the state belongs to another plan (the message says what differs), another process works with
    /// it, or it is damaged; [`Error::Io`].
    pub fn open(folder: &Path, plan: Plan) -> Result<Self> {
        let (mut journal, mut entries) = Journal::open(folder, &plan)?;
        let store = match plan.mode {
            Mode::Exact => {
                let (records, whole) = RecordWriter::open(folder, plan.rows.len(), &entries)?;
                entries.truncate(whole);
                journal.keep(&entries)?;
                Store::Exact(records)
            }
            Mode::Histogram => {
                let tally = Tally::open(folder, plan.rows.len())?;
                entries.clone_from(&tally.entries);
                journal.keep(&[])?;
                Store::Histogram(tally)
            }
        };
        let folder = folder.to_owned();
        Ok(Self { folder, plan, journal, store, done: entries.iter().map(|entry| entry.index).collect() })
    }

    /// Removes the state in `folder`, if there is one.
    ///
    /// # Errors
    /// [`Error::File`] when the folder holds something else, [`Error::Io`].
    pub fn remove(folder: &Path) -> Result<()> {
        let files = match fs::read_dir(folder) {
            Ok(files) => files,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Error::io(folder, "read", error)),
        };
        let mut ours: Vec<PathBuf> = Vec::new();
        for file in files {
            let path = file.map_err(|error| Error::io(folder, "read", error))?.path();
            let extension = path.extension().unwrap_or_default().to_string_lossy().into_owned();
            if !["u8", "f32", "bin", "png", "npy", "json", "jsonl", "part"].contains(&extension.as_str()) {
                let problem = format!("holds {}, which is no part of an evaluation's state", path.display());
                return Err(Error::file(folder, problem, "a folder of sml's own"));
            }
            ours.push(path);
        }
        for path in ours {
            fs::remove_file(&path).map_err(|error| Error::io(&path, "remove", error))?;
        }
        fs::remove_dir(folder).map_err(|error| Error::io(folder, "remove", error))
    }

    /// Places in the set of the images that are done.
    pub fn done(&self) -> &[usize] {
        &self.done
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Keeps an image as a whole, for pictures of the result, before it is added: the score maps of these rows of the plan,
    /// and the photograph if there is one.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn keep(
        &self,
        observation: &Observation<'_>,
        photograph: Option<&RgbImage>,
        rows: &[usize],
    ) -> Result<()> {
        kept::write(&self.folder, observation, photograph, rows)
    }

    /// Adds an image that [`Observation::check`] has accepted.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be written, on a full disk for instance: the run can be gone on with later.
    pub fn add(&mut self, observation: &Observation<'_>) -> Result<()> {
        let entry = observation.entry();
        match &mut self.store {
            Store::Exact(records) => {
                if let Some(labels) = observation.labels {
                    records.append(observation, labels)?;
                }
                self.journal.done(&entry)?;
            }
            Store::Histogram(tally) => tally.add(entry, observation.scores, observation.labels)?,
        }
        self.done.push(observation.index);
        Ok(())
    }

    /// Closes the state after the last image; without it, the last seconds of an evaluation by histograms are lost.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn close(self) -> Result<()> {
        match self.store {
            Store::Exact(_) => Ok(()),
            Store::Histogram(mut tally) => tally.save(),
        }
    }

    /// Notes that an image could not be measured.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn failed(&mut self, index: usize, failure: &Failure) -> Result<()> {
        self.journal.failed(index, failure)
    }
}
