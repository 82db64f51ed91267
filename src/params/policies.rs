//! What happens at image borders, to classes without statistics and to broken pixels.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// How pixels on the image frame take part in the boundary (SPEC section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BorderLabels {
    /// Neighbours outside the image are left out.
    #[default]
    Ignore,
    /// As the kornia version that the official code pins: a frame pixel with a label of 2 or more is boundary too.
    One,
}

/// What a predicted class without statistics is standardized with (SPEC section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissingStatistics {
    /// Mean and variance over all pixels of all classes; the engine reports which classes that concerns.
    #[default]
    Pooled,
    /// Construction fails and names the classes.
    Error,
    /// The official arithmetic: NaN or infinite scores.
    Propagate,
}

/// What becomes of a pixel with a NaN or infinite logit (SPEC section 6).
#[derive(Clone, Copy, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NonFinite {
    /// The official arithmetic.
    #[default]
    Propagate,
    /// Its anomaly score becomes this number and its prediction the argmax over its finite logits.
    Replace(Replacement),
}

/// Anomaly score that replaces that of a broken pixel: finite.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "f32", into = "f32")]
pub struct Replacement(f32);

impl Replacement {
    /// # Errors
    /// When `value` is not finite.
    pub fn new(value: f32) -> Result<Self> {
        Self::try_from(value)
    }

    /// The number itself.
    pub fn get(self) -> f32 {
        self.0
    }
}

impl Default for Replacement {
    /// 10.
    fn default() -> Self {
        Self(10.0)
    }
}

impl TryFrom<f32> for Replacement {
    type Error = Error;

    fn try_from(value: f32) -> Result<Self> {
        if value.is_finite() {
            Ok(Self(value))
        } else {
            Err(Error::InvalidParameter {
                field: "non_finite.replace",
                given: value.to_string(),
                expected: "a finite number",
            })
        }
    }
}

impl From<Replacement> for f32 {
    fn from(replacement: Replacement) -> Self {
        replacement.0
    }
}
