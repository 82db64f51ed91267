//! The pixels of an evaluation by histograms: constant memory, and one file that holds images and counts together.
//!
//! The file is replaced as a whole now and then, so that what it says is done is exactly what its histograms have counted;
//! a killed process loses what came after its last replacement. It holds the length of the list of images (64 bits,
//! little-endian), that list as JSON, and the histograms of one score after the other.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::Entry;
use crate::files::write_whole;
use crate::metrics::ScoreHistograms;
use crate::{Error, Result};

/// Time between two replacements of the file.
const INTERVAL: Duration = Duration::from_secs(20);

const EXPECTED: &str = "the histograms of an evaluation; --fresh starts anew";

/// Images with the histograms of their scores.
pub(super) struct Tally {
    path: PathBuf,
    /// Images that are counted.
    pub entries: Vec<Entry>,
    /// One a score.
    pub histograms: Vec<ScoreHistograms>,
    saved: Instant,
}

impl Tally {
    /// Reads what is in `folder`; nothing is counted where there is no file yet.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::File`] when the file is damaged.
    pub fn open(folder: &Path, scores: usize) -> Result<Self> {
        let path = folder.join("histograms.bin");
        let (entries, histograms) = match File::open(&path) {
            Ok(file) => read(&mut BufReader::new(file), scores).map_err(|error| match error.kind() {
                ErrorKind::InvalidData | ErrorKind::UnexpectedEof => Error::file(&path, error, EXPECTED),
                _ => Error::io(&path, "read", error),
            })?,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                (Vec::new(), (0..scores).map(|_| ScoreHistograms::new()).collect())
            }
            Err(error) => return Err(Error::io(&path, "read", error)),
        };
        Ok(Self { path, entries, histograms, saved: Instant::now() })
    }

    /// Counts an image.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be replaced.
    pub fn add(&mut self, entry: Entry, scores: &[&[f32]], labels: Option<&[u8]>) -> Result<()> {
        if let Some(labels) = labels {
            for (histograms, score) in self.histograms.iter_mut().zip(scores) {
                histograms.add(score, labels)?;
            }
        }
        self.entries.push(entry);
        if self.saved.elapsed() >= INTERVAL { self.save() } else { Ok(()) }
    }

    /// Replaces the file.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&mut self) -> Result<()> {
        let images = serde_json::to_vec(&self.entries).unwrap_or_default();
        let histograms = &mut self.histograms;
        write_whole(&self.path, |mut out| {
            out.write_all(&(images.len() as u64).to_le_bytes())?;
            out.write_all(&images)?;
            histograms.iter_mut().try_for_each(|histograms| histograms.write_to(&mut out))
        })?;
        self.saved = Instant::now();
        Ok(())
    }
}

fn read(file: &mut impl Read, scores: usize) -> io::Result<(Vec<Entry>, Vec<ScoreHistograms>)> {
    let mut length = [0; 8];
    file.read_exact(&mut length)?;
    let mut images = Vec::new();
    file.by_ref().take(u64::from_le_bytes(length)).read_to_end(&mut images)?;
    let entries = serde_json::from_slice(&images)?;
    let histograms = (0..scores).map(|_| ScoreHistograms::read_from(file)).collect::<io::Result<_>>()?;
    Ok((entries, histograms))
}
