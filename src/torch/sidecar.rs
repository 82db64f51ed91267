//! The sidecar of a TorchScript module: `FILE.toml` beside `FILE.pt` states what the module's file cannot.

use std::fmt;
use std::path::Path;

use serde::Deserialize;

use super::{ChannelOrder, Precision, Preprocessing};
use crate::{Error, Result, Size};

/// What a sidecar looks like, for the error of whoever has none yet.
const EXAMPLE: &str = "a TOML file with channel_order = \"rgb\", scale = 0.00392156862745098, \
                       mean = [0.485, 0.456, 0.406], std = [0.229, 0.224, 0.225], output_stride = 8, \
                       align_corners = false, class_names = [\"road\", ...] and, where the module takes one size only, \
                       input_size = { height = 1024, width = 2048 }, where \
                       it returns more than a tensor, output = \"out\" or output = 0, each on a line of its own";

/// How a TorchScript module wants its input and what its output means.
///
/// Every field must be stated but `input_size`, `input_multiple`, `output` and `precision`: a wrong guess would not fail, it
/// would only give bad maps.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sidecar {
    /// The one size the module takes; every picture is resized to it.
    input_size: Option<InputSize>,
    /// Without `input_size`: sides must be multiples of this; `output_stride` if it is not stated.
    input_multiple: Option<usize>,
    /// Channel order the module was trained with.
    channel_order: ChannelOrder,
    /// Factor on the pixels 0..=255, for example 1/255.
    scale: f64,
    /// Subtracted after scaling, by channel in `channel_order`.
    mean: [f64; 3],
    /// Divisor after subtraction, by channel in `channel_order`.
    std: [f64; 3],
    /// Input sides over logit sides.
    output_stride: usize,
    /// Whether training upsampled the logits with corners aligned.
    align_corners: bool,
    /// One name a channel of the logits.
    class_names: Vec<String>,
    /// Where the logits are in what the module returns, if that is no tensor: the key in a dictionary, or the index in a
    /// tuple or list.
    output: Option<OutputPart>,
    /// Element type of the module's input, where its parameters do not tell: those of a frozen module are constants.
    precision: Option<Precision>,
}

/// A part of what a module returns.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(
    untagged,
    expecting = "output is neither a key of a dictionary, in quotes, nor an index in a tuple or list, counted from 0"
)]
pub(super) enum OutputPart {
    /// An entry of a dictionary.
    Key(String),
    /// An element of a tuple or list.
    Index(usize),
}

impl fmt::Display for OutputPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => write!(f, "{key:?}"),
            Self::Index(index) => write!(f, "{index}"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct InputSize {
    height: usize,
    width: usize,
}

impl Sidecar {
    /// Reads and checks the sidecar `file`.
    ///
    /// # Errors
    /// [`Error::File`] when there is none (the text shows what to write), when it is not such TOML, or when a value is out
    /// of range; [`Error::Io`] when it cannot be read.
    pub fn read(file: &Path) -> Result<Self> {
        let text = match std::fs::read_to_string(file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::file(file, "the module's sidecar is missing", EXAMPLE));
            }
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                return Err(Error::file(file, "not text in UTF-8", EXAMPLE));
            }
            read => read.map_err(|error| Error::io(file, "read", error))?,
        };
        let sidecar: Self = toml::from_str(&text).map_err(|error| {
            let line = error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
            Error::file(file, format!("line {line}: {}", error.message().replace('\n', " ")), EXAMPLE)
        })?;
        sidecar.check(file)?;
        Ok(sidecar)
    }

    fn check(&self, file: &Path) -> Result<()> {
        let finite = |values: &[f64]| values.iter().all(|value| value.is_finite());
        let rules = [
            (self.scale.is_finite() && self.scale != 0.0, "scale", "a finite number other than 0"),
            (finite(&self.mean), "mean", "three finite numbers"),
            (finite(&self.std) && !self.std.contains(&0.0), "std", "three finite numbers other than 0"),
            (self.output_stride > 0, "output_stride", "at least 1"),
            (self.input_multiple != Some(0), "input_multiple", "at least 1"),
            (
                self.input_size.is_none_or(|size| size.height > 0 && size.width > 0),
                "input_size",
                "sides of at least 1",
            ),
            ((1..=255).contains(&self.class_names.len()), "class_names", "1 to 255 names"),
        ];
        match rules.into_iter().find(|&(kept, ..)| !kept) {
            Some((_, field, expected)) => {
                Err(Error::file(file, format!("{field} is out of range"), expected))
            }
            None => Ok(()),
        }
    }

    /// The part that concerns the module's input.
    pub fn preprocessing(&self) -> Preprocessing {
        Preprocessing {
            input_size: self.input_size.map(|InputSize { height, width }| Size { height, width }),
            multiple: self.input_multiple.unwrap_or(self.output_stride),
            channel_order: self.channel_order,
            scale: self.scale,
            mean: self.mean,
            std: self.std,
        }
    }

    /// Input sides over logit sides.
    pub fn output_stride(&self) -> usize {
        self.output_stride
    }

    /// Whether training upsampled the logits with corners aligned.
    pub fn align_corners(&self) -> bool {
        self.align_corners
    }

    /// Where the logits are in what the module returns; `None` for the tensor itself, the first one of a tuple or list,
    /// or the entry "out" of a dictionary.
    pub(super) fn output(&self) -> Option<&OutputPart> {
        self.output.as_ref()
    }

    /// Element type of the module's input, if it is stated.
    pub fn precision(&self) -> Option<Precision> {
        self.precision
    }

    /// One name a channel of the logits.
    pub fn class_names(&self) -> &[String] {
        &self.class_names
    }
}
