//! The one error type of the crate.
//!
//! Every variant says what was given, what was expected and, where it is not plain from that, what to do. The text
//! is one line, so that a program can print it as it is.

use std::path::{Path, PathBuf};

/// Result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong. The display text is one line, meant for a person.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A parameter of the method is out of its range.
    #[error("{field} is {given}: expected {expected}")]
    InvalidParameter {
        /// Name of the field, as it is spelled in JSON and in the documentation.
        field: &'static str,
        /// The value that was given.
        given: String,
        /// The values that are accepted.
        expected: &'static str,
    },

    /// Logits, outputs or engine do not fit each other.
    #[error("{what} is {given}: expected {expected}")]
    Shape {
        /// The thing whose shape is wrong.
        what: &'static str,
        /// The shape, stride or length that was given.
        given: String,
        /// What would have fitted.
        expected: String,
    },

    /// The score needs class statistics and none were given.
    #[error(
        "score {score} needs class statistics and none were given: calibrate them, or choose another score"
    )]
    StatisticsNeeded {
        /// The score that asks for them.
        score: String,
    },

    /// Class statistics contradict themselves or the logits.
    #[error("class statistics: {problem}: expected {expected}")]
    InvalidStatistics {
        /// What is wrong.
        problem: String,
        /// What would be right.
        expected: String,
    },

    /// Classes without statistics while the policy is [`MissingStatistics::Error`](crate::MissingStatistics::Error).
    #[error(
        "classes {classes:?} have no statistics (fewer than 2 pixels, or no variance): \
         calibrate on more images, or let them use the pooled statistics"
    )]
    ClassesWithoutStatistics {
        /// Train ids of those classes.
        classes: Vec<usize>,
    },

    /// The operating system refused to read or write.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried, as a verb: "read", "write", "create the folder".
        action: &'static str,
        /// What the system said.
        source: std::io::Error,
    },

    /// A file does not hold what its name or use promises.
    #[error("{}: {problem}: expected {expected}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What was found in it.
        problem: String,
        /// What it should hold.
        expected: String,
    },

    /// The device that was asked for cannot be used.
    #[error("device {device}: {problem}: {remedy}")]
    Device {
        /// The device as the caller named it.
        device: String,
        /// Why it cannot be used.
        problem: String,
        /// What to do.
        remedy: String,
    },

    /// libtorch refused an operation.
    #[error("libtorch could not {action}: {message}")]
    Torch {
        /// What was tried.
        action: String,
        /// First line of libtorch's own message.
        message: String,
    },

    /// The CUDA driver or NVRTC refused an operation.
    #[error("CUDA could not {action}: {message}")]
    Cuda {
        /// What was tried.
        action: String,
        /// What CUDA said, as one line.
        message: String,
    },

    /// A GPU has not enough free memory for an engine.
    #[error(
        "{device} has no memory for {purpose}: {} are needed{}: \
         build the engine for fewer or smaller images, or free memory of other programs",
        amount(*bytes),
        free.map_or(String::new(), |free| format!(" and {} are free", amount(free)))
    )]
    DeviceMemory {
        /// The GPU, as `cuda:0`.
        device: String,
        /// What the memory is for.
        purpose: &'static str,
        /// What was asked for.
        bytes: u64,
        /// What is free, if the driver tells.
        free: Option<u64>,
    },

    /// Work on a GPU failed earlier, after which nothing that this process has on that GPU can be used.
    #[error(
        "the engine on {device} cannot be used any more since work on the GPU failed ({failure}): \
         start the process again"
    )]
    Poisoned {
        /// The GPU, as `cuda:0`.
        device: String,
        /// What the driver said then.
        failure: String,
    },

    /// A frame loop takes no more frames.
    #[error(
        "the frame loop has ended ({reason}): finish it to learn what became of its frames, and build a new one"
    )]
    LoopEnded {
        /// Why.
        reason: String,
    },

    /// The work on a frame panicked, which ended its loop.
    #[error("the frame loop's work panicked: {message}: the loop has ended, and a new one can be built")]
    LoopPanicked {
        /// What the panic said.
        message: String,
    },

    /// A metric is not defined on the given pixels.
    #[error("no {metric}: {problem}")]
    UndefinedMetric {
        /// Name of the metric.
        metric: &'static str,
        /// Why.
        problem: String,
    },

    /// Someone asked the program to end, by Ctrl-C or SIGTERM.
    #[error("interrupted: {kept}")]
    Interrupted {
        /// What is kept of the work, and how to go on.
        kept: String,
    },
}

impl Error {
    /// An [`Error::Io`] at `path`.
    pub fn io(path: impl AsRef<Path>, action: &'static str, source: std::io::Error) -> Self {
        Self::Io { path: path.as_ref().to_owned(), action, source }
    }

    /// An [`Error::File`] at `path`.
    pub fn file(path: impl AsRef<Path>, problem: impl ToString, expected: impl ToString) -> Self {
        Self::File {
            path: path.as_ref().to_owned(),
            problem: problem.to_string(),
            expected: expected.to_string(),
        }
    }
}

/// A number of bytes as people read it.
fn amount(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let unit = UNITS.iter().find(|(size, _)| bytes >= *size);
    unit.map_or_else(
        || format!("{bytes} bytes"),
        |(size, name)| format!("{:.1} {name}", bytes as f64 / *size as f64),
    )
}

#[cfg(test)]
mod tests {
    use super::amount;

    #[test]
    fn amounts_are_readable() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (1536, "1.5 KiB"),
            (79_700_000, "76.0 MiB"),
            (150 << 30, "150.0 GiB"),
        ] {
            assert_eq!(amount(bytes), text);
        }
    }
}
