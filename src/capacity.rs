//! How large the frames of an engine may be.

use crate::logits::{LogitsShape, Size};
use crate::{Error, Result};

/// Of the result: a float32 score and a class. What else an engine needs does not grow with the number of rows.
const BYTES_PER_PIXEL: usize = 5;

/// The largest batch that an engine accepts: each dimension of a frame may be anything up to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Images in a batch.
    pub batch: usize,
    /// Classes.
    pub classes: usize,
    /// Rows and columns of the logits.
    pub logits: Size,
    /// Rows and columns of the result.
    pub output: Size,
}

impl Capacity {
    /// Room for logits of `shape`, with results of `output` size.
    pub fn of(shape: LogitsShape, output: Size) -> Self {
        Self { batch: shape.batch, classes: shape.classes, logits: shape.size, output }
    }

    /// Refuses dimensions that no logits or results have.
    pub(crate) fn check(self) -> Result<()> {
        LogitsShape::new(self.batch, self.classes, self.logits.height, self.logits.width)?;
        LogitsShape::new(self.batch, 1, self.output.height, self.output.width)?;
        Ok(())
    }

    /// Refuses a result for which the host has no memory: a failed allocation would end the process.
    pub(crate) fn check_memory(self) -> Result<()> {
        let bytes = self.batch.saturating_mul(self.output.pixels()).saturating_mul(BYTES_PER_PIXEL);
        Vec::<u8>::new().try_reserve_exact(bytes).map_err(|_| Error::Shape {
            what: "size of the result",
            given: format!("{} images of {}", self.batch, self.output),
            expected: format!("one that fits into memory: this takes {} GiB", bytes >> 30),
        })
    }
}
