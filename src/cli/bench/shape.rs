//! `--shape` and `--from`.

use std::str::FromStr;

use super::case::ResultShape;
use crate::{Error, LogitsShape, Result, Size};

/// Classes of Cityscapes.
pub(super) const CLASSES: usize = 19;

/// Pictures and seeds of scenes are counted in fewer bits than shapes.
pub(super) const MOST_IMAGES: usize = (1 << 12) - 1;
const MOST_PIXELS_A_SIDE: usize = (1 << 20) - 1;

/// `NxCxHxW` or `HxW`.
#[derive(Clone, Copy, Debug)]
pub(super) struct ResultArg {
    pub batch: Option<usize>,
    pub classes: Option<usize>,
    pub size: Size,
}

impl ResultArg {
    /// A picture of Cityscapes.
    pub const CITYSCAPES: Self = Self { batch: None, classes: None, size: Size::new(1024, 2048) };

    /// One image of 19 classes unless it says otherwise.
    pub fn shape(self) -> ResultShape {
        ResultShape {
            batch: self.batch.unwrap_or(1),
            classes: self.classes.unwrap_or(CLASSES),
            size: self.size,
        }
    }
}

impl FromStr for ResultArg {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let invalid = || Error::InvalidParameter {
            field: "shape",
            given: format!("{text:?}"),
            expected: "IMAGESxCLASSESxHEIGHTxWIDTH such as 1x19x1024x2048 with at most 255 classes, or HEIGHTxWIDTH",
        };
        let numbers: Vec<usize> =
            text.split('x').map(str::parse).collect::<std::result::Result<_, _>>().map_err(|_| invalid())?;
        let (batch, classes, size) = match numbers[..] {
            [height, width] => (None, None, Size::new(height, width)),
            [batch, classes, height, width] => (Some(batch), Some(classes), Size::new(height, width)),
            _ => return Err(invalid()),
        };
        let counts = LogitsShape::new(batch.unwrap_or(1), classes.unwrap_or(1), size.height, size.width);
        let side = size.height.max(size.width);
        if counts.is_err() || side > MOST_PIXELS_A_SIDE || batch.is_some_and(|n| n > MOST_IMAGES) {
            return Err(invalid());
        }
        Ok(Self { batch, classes, size })
    }
}

/// Parses `--from`.
pub(super) fn divisor(text: &str) -> Result<usize> {
    text.parse().ok().filter(|divisor| [1, 2, 4, 8, 16].contains(divisor)).ok_or_else(|| {
        Error::InvalidParameter { field: "from", given: format!("{text:?}"), expected: "1, 2, 4, 8 or 16" }
    })
}
