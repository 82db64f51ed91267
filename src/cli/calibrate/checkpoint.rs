//! The state of a measurement in a file, so that one that was broken off goes on where it was.
//!
//! The file is replaced as a whole every few seconds, so that whatever ends the process leaves either the older or the newer
//! state. It says which measurement it belongs to: going on with other pictures, another network or other options would mix
//! what does not belong together, and is refused with what differs.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::inputs::Inputs;
use super::measurement::Measured;
use crate::files::{read_at_most, write_whole};
use crate::{Error, LogitsShape, Result};

/// Far more than the sums of 255 classes and a list of failures take.
const LARGEST: u64 = 256 << 20;
const EXPECTED: &str = "a checkpoint of `sml calibrate`, or no file";

/// What a measurement is of: names of properties with their values, for comparison and for messages.
pub(super) type Identity = BTreeMap<String, String>;

/// The file, and when it was last written.
pub(super) struct Checkpoint<'a> {
    path: &'a Path,
    every: Duration,
    written: Instant,
    identity: Identity,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    /// Version of this form.
    format: u32,
    /// Absent in files of something else.
    measurement: Identity,
    measured: Measured,
}

const FORMAT: u32 = 1;

impl<'a> Checkpoint<'a> {
    /// Reads the state that `path` holds, or begins it with an empty one: so that a folder that cannot be written to is
    /// found before the work.
    pub fn open(
        path: &'a Path,
        every: Duration,
        identity: Identity,
        inputs: usize,
    ) -> Result<(Self, Measured)> {
        let mut checkpoint = Self { path, every, written: Instant::now(), identity };
        let measured = match path.symlink_metadata() {
            Ok(_) => checkpoint.read(inputs)?,
            Err(_) => Measured::default(),
        };
        checkpoint.write(&measured)?;
        Ok((checkpoint, measured))
    }

    fn read(&self, inputs: usize) -> Result<Measured> {
        let bytes = read_at_most(self.path, LARGEST)?;
        let saved: Saved = serde_json::from_slice(&bytes)
            .map_err(|error| Error::file(self.path, format!("is no checkpoint ({error})"), EXPECTED))?;
        if saved.format != FORMAT {
            let problem = format!("is a checkpoint of form {}", saved.format);
            return Err(Error::file(self.path, problem, format!("form {FORMAT}, which this version writes")));
        }
        self.compare(&saved.measurement)?;
        let Measured { sums, confusion, .. } = &saved.measured;
        let classes = sums.as_ref().map_or(1, crate::StatisticsAccumulator::classes);
        let fits = (1..=LogitsShape::MAX_CLASSES).contains(&classes)
            && saved.measured.inputs <= inputs
            && confusion.as_ref().is_none_or(|matrix| matrix.iou().len() == classes);
        match fits {
            true => Ok(saved.measured),
            false => Err(Error::file(self.path, "contradicts itself", EXPECTED)),
        }
    }

    /// Refuses the state of another measurement.
    fn compare(&self, theirs: &Identity) -> Result<()> {
        let names =
            self.identity.keys().chain(theirs.keys().filter(|name| !self.identity.contains_key(*name)));
        let value =
            |identity: &Identity, name: &String| identity.get(name).cloned().unwrap_or("none".to_owned());
        let differences: Vec<String> = names
            .filter(|name| theirs.get(*name) != self.identity.get(*name))
            .map(|name| format!("{name} was {} and is {}", value(theirs, name), value(&self.identity, name)))
            .collect();
        if differences.is_empty() {
            return Ok(());
        }
        let problem = format!("is of another measurement ({})", differences.join("; "));
        Err(Error::file(
            self.path,
            problem,
            "the checkpoint of this one, or no file: remove it to begin anew",
        ))
    }

    /// Writes the state if the last time is long enough ago.
    pub fn keep(&mut self, measured: &Measured) -> Result<()> {
        if self.written.elapsed() >= self.every { self.write(measured) } else { Ok(()) }
    }

    /// Writes the state.
    pub fn write(&mut self, measured: &Measured) -> Result<()> {
        let saved = Saved { format: FORMAT, measurement: self.identity.clone(), measured: measured.clone() };
        let text = serde_json::to_vec(&saved).map_err(|error| Error::io(self.path, "write", error.into()))?;
        write_whole(self.path, |out| out.write_all(&text))?;
        self.written = Instant::now();
        Ok(())
    }

    /// Removes the file when the result is written: the next measurement begins anew.
    pub fn remove(self) -> Result<()> {
        std::fs::remove_file(self.path).map_err(|source| Error::io(self.path, "remove", source))
    }
}

/// Names and sizes of all inputs, as one digest.
pub(super) fn digest_of(inputs: &Inputs) -> String {
    let mut hash = Sha256::new();
    for index in 0..inputs.len() {
        let size = std::fs::metadata(inputs.path(index)).map_or(0, |metadata| metadata.len());
        hash.update(inputs.name(index));
        // Ends the name: none holds this byte.
        hash.update([0]);
        hash.update(size.to_le_bytes());
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
