//! The state folder of an evaluation: what has been done, so that a run that ended early goes on where it was.
//!
//! `plan.json` says what the state belongs to, `journal.jsonl` holds one line an image that is done. A line is written
//! only after everything else that belongs to its image, so that whatever a killed process left behind the last whole
//! line is a tail that nobody refers to. One process at a time holds the folder, by a lock on `plan.json`.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Failure, Plan};
use crate::dataset::ContentHash;
use crate::files::prepare_folder;
use crate::metrics::ConfusionMatrix;
use crate::{Error, Result};

const PLAN: &str = "plan.json";
const JOURNAL: &str = "journal.jsonl";
const EXPECTED: &str = "the state of an evaluation by this version of sml; --fresh starts anew";

/// An image that is done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its place in the whole set.
    pub index: usize,
    /// Its name in the set.
    pub name: String,
    /// The files that it consists of.
    pub files: ContentHash,
    /// Rows of its labels; 0 where the set has no labels of unexpected objects.
    pub height: usize,
    /// Columns of its labels.
    pub width: usize,
    /// Pixels labelled unexpected or normal.
    pub labelled: usize,
    /// Whether the predicted classes of these pixels are known.
    pub predicted: bool,
    /// Pixels with a logit that is NaN or infinite.
    pub non_finite: u64,
    /// Labelled against predicted classes, where train ids are labelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confusion: Option<ConfusionMatrix>,
}

/// A line of the journal.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    Done(Entry),
    Failed { index: usize, failure: Failure },
}

/// What a journal holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Done {
    /// Images that are measured, in the order in which they were.
    pub entries: Vec<Entry>,
    /// Images that could not be, by their place in the set.
    pub failures: Vec<(usize, Failure)>,
}

/// The open journal, for appending.
pub struct Journal {
    folder: PathBuf,
    file: File,
    /// Kept open for its lock.
    _lock: File,
}

impl Journal {
    /// Opens the state in `folder` for `plan`, or begins one. Images that failed are tried again.
    ///
    /// # Errors
    /// [`Error::File`] when the state belongs to another plan (the message says what differs), another process works with
    /// it, or it is no such state; [`Error::Io`].
    pub fn open(folder: &Path, plan: &Plan) -> Result<(Self, Vec<Entry>)> {
        prepare_folder(folder)?;
        let path = folder.join(PLAN);
        let mut lock = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|error| Error::io(&path, "open", error))?;
        if lock.try_lock().is_err() {
            return Err(Error::file(folder, "is in use by another process", "no other evaluation in it"));
        }
        let mut text = String::new();
        lock.read_to_string(&mut text).map_err(|error| Error::io(&path, "read", error))?;
        let journal = folder.join(JOURNAL);
        if text.is_empty() {
            // Written as a whole or not at all: a process killed here leaves text that is no plan, which `--fresh` ends.
            let text = serde_json::to_string_pretty(plan).unwrap_or_default();
            lock.write_all(text.as_bytes()).map_err(|error| Error::io(&path, "write", error))?;
            remove_if_there(&journal)?;
        } else {
            check(folder, plan, &parse_plan(&path, &text)?)?;
        }
        let (done, length) = read_lines(&journal)?;
        let file = open_at(&journal, length)?;
        Ok((Self { folder: folder.to_owned(), file, _lock: lock }, done.entries))
    }

    /// Reads the state in `folder`, without changing it.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn read(folder: &Path) -> Result<(Plan, Done)> {
        let path = folder.join(PLAN);
        let text = fs::read_to_string(&path).map_err(|error| Error::io(&path, "read", error))?;
        let plan = parse_plan(&path, &text)?;
        let (done, _) = read_lines(&folder.join(JOURNAL))?;
        Ok((plan, done))
    }

    /// Keeps the first `count` entries alone, without failures: what came behind them was not whole.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn keep(&mut self, entries: &[Entry]) -> Result<()> {
        let path = self.folder.join(JOURNAL);
        let text: String = entries.iter().map(|entry| line_of(&Line::Done(entry.clone()))).collect();
        self.file.set_len(0).map_err(|error| Error::io(&path, "write", error))?;
        self.append_text(&text)
    }

    /// Notes that an image is done.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn done(&mut self, entry: &Entry) -> Result<()> {
        self.append_text(&line_of(&Line::Done(entry.clone())))
    }

    /// Notes that an image could not be measured.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn failed(&mut self, index: usize, failure: &Failure) -> Result<()> {
        self.append_text(&line_of(&Line::Failed { index, failure: failure.clone() }))
    }

    fn append_text(&mut self, text: &str) -> Result<()> {
        let append = self.file.seek(SeekFrom::End(0)).and_then(|_| self.file.write_all(text.as_bytes()));
        append.map_err(|error| Error::io(self.folder.join(JOURNAL), "write", error))
    }
}

fn line_of(line: &Line) -> String {
    // Names, numbers and digests always serialize.
    serde_json::to_string(line).unwrap_or_default() + "\n"
}

fn parse_plan(path: &Path, text: &str) -> Result<Plan> {
    serde_json::from_str(text).map_err(|error| Error::file(path, format!("is damaged ({error})"), EXPECTED))
}

fn check(folder: &Path, plan: &Plan, there: &Plan) -> Result<()> {
    let shard = |plan: &Plan| plan.shard.clone().unwrap_or_else(|| "1/1".to_owned());
    let difference = plan.difference(there).or_else(|| {
        let (mine, theirs) = (shard(plan), shard(there));
        (mine != theirs).then(|| format!("the shard is {theirs} and not {mine}"))
    });
    match difference {
        None => Ok(()),
        Some(difference) => Err(Error::file(
            folder,
            format!("holds the state of another evaluation: {difference}"),
            "the same options to go on with it, another folder, or --fresh to start anew",
        )),
    }
}

/// The whole lines of a journal, and their length in bytes. A missing journal is empty.
fn read_lines(path: &Path) -> Result<(Done, u64)> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(Error::io(path, "read", error)),
    };
    let (mut done, mut length) = (Done::default(), 0);
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        if line.last() != Some(&b'\n') {
            break;
        }
        match serde_json::from_slice(line) {
            Ok(Line::Done(entry)) => {
                // An image that failed before and was tried again.
                done.failures.retain(|(index, _)| *index != entry.index);
                done.entries.push(entry);
            }
            Ok(Line::Failed { index, failure }) => {
                done.failures.retain(|(other, _)| *other != index);
                done.failures.push((index, failure));
            }
            Err(error) => return Err(Error::file(path, format!("is damaged ({error})"), EXPECTED)),
        }
        length += line.len() as u64;
    }
    done.failures.sort_by_key(|(index, _)| *index);
    Ok((done, length))
}

/// Opens a file for appending behind its first `length` bytes; the rest is cut off.
pub(super) fn open_at(path: &Path, length: u64) -> Result<File> {
    let open = || {
        let mut file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        file.set_len(length)?;
        file.seek(SeekFrom::End(0))?;
        Ok(file)
    };
    open().map_err(|error| Error::io(path, "open", error))
}

pub(super) fn remove_if_there(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io(path, "remove", error)),
        _ => Ok(()),
    }
}
