//! What the engine alone is given, and what it has to move at least.

use std::fmt;

use super::subject::is_whole;
use crate::{ElementType, Layout, LogitsShape, Params, Result, Size, Stage, Suppression};

/// Shape of a result, and the classes that it tells apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ResultShape {
    pub batch: usize,
    pub classes: usize,
    pub size: Size,
}

impl ResultShape {
    /// Of all images.
    pub fn pixels(&self) -> u64 {
        (self.batch * self.size.pixels()) as u64
    }
}

impl fmt::Display for ResultShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}x{}", self.batch, self.classes, self.size)
    }
}

/// What the engine is given, and how far it goes.
#[derive(Clone, Copy)]
pub(super) struct Case {
    pub result: ResultShape,
    pub element_type: ElementType,
    pub layout: Layout,
    /// Pixels of the result for each row or column of the logits.
    pub from: usize,
    /// The one stage that is measured; all of them without it.
    pub only: Option<Stage>,
    pub suppression: Option<Suppression>,
}

impl Case {
    /// # Errors
    /// When a dimension is 0.
    pub fn logits_shape(&self) -> Result<LogitsShape> {
        let Size { height, width } = self.result.size;
        LogitsShape::new(self.result.batch, self.result.classes, height / self.from, width / self.from)
    }

    /// The engine goes through the stage that is measured, and no further.
    pub fn params(&self) -> Params {
        let params = Params { suppression: self.suppression, ..Params::default() };
        self.only.map_or(params, |stage| params.through(stage))
    }

    /// Bytes of one input.
    ///
    /// # Errors
    /// As [`Case::logits_shape`].
    pub fn logit_bytes(&self) -> Result<u64> {
        let element = if self.element_type == ElementType::F32 { 4 } else { 2 };
        Ok(self.logits_shape()?.elements() as u64 * element)
    }

    /// The least that a stage reads and writes of a frame. A score is 4 bytes, a class 1. Suppression reads both and writes a
    /// score, smoothing reads and writes a score; of the whole, what lies between the stages is not counted.
    ///
    /// # Errors
    /// As [`Case::logits_shape`].
    pub fn bytes(&self, stage: &str) -> Result<Option<u64>> {
        let pixels = self.result.pixels();
        Ok(match stage {
            "suppress" => Some(9 * pixels),
            "smooth" => Some(8 * pixels),
            stage if stage == "standardize" || is_whole(stage) => Some(self.logit_bytes()? + 5 * pixels),
            _ => None,
        })
    }

    pub fn dtype(&self) -> &'static str {
        match self.element_type {
            ElementType::F32 => "f32",
            ElementType::F16 => "f16",
            ElementType::BF16 => "bf16",
        }
    }

    pub fn layout(&self) -> &'static str {
        match self.layout {
            Layout::Nchw => "nchw",
            Layout::Nhwc => "nhwc",
        }
    }

    pub fn suppression(&self) -> String {
        suppression_text(self.params().suppression)
    }
}

/// As `--suppression` of other commands takes it.
pub(super) fn suppression_text(suppression: Option<Suppression>) -> String {
    match suppression {
        Some(suppression) => format!("{},{}", suppression.width(), suppression.iterations()),
        None => "none".to_owned(),
    }
}
