//! Which score each pixel gets.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Per-pixel score (SPEC section 2). Inside the stages a high score means "normal".
#[derive(Clone, Copy, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Score {
    /// Maximum softmax probability.
    Msp,
    /// The maximum logit itself.
    MaxLogit,
    /// The maximum logit, standardized with mean and variance of the predicted class (paper section 3.2).
    #[default]
    Sml,
    /// Negative entropy of the softmax, divided by `ln(classes)`.
    Entropy,
    /// Free energy: `T * logsumexp(logits / T)`.
    Energy(Temperature),
}

impl Score {
    /// True when the score standardizes, and therefore needs class statistics.
    pub fn needs_statistics(self) -> bool {
        self == Self::Sml
    }

    /// True when the score depends on the max logit and the predicted class alone.
    pub(crate) fn is_the_winners(self) -> bool {
        matches!(self, Self::Sml | Self::MaxLogit)
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Msp => f.write_str("msp"),
            Self::MaxLogit => f.write_str("max_logit"),
            Self::Sml => f.write_str("sml"),
            Self::Entropy => f.write_str("entropy"),
            Self::Energy(t) if *t == Temperature::default() => f.write_str("energy"),
            Self::Energy(Temperature(t)) => write!(f, "energy:{t}"),
        }
    }
}

impl FromStr for Score {
    type Err = Error;

    /// Parses `msp`, `max_logit`, `sml`, `entropy`, `energy` or `energy:T`.
    fn from_str(text: &str) -> Result<Self> {
        let invalid = || Error::InvalidParameter {
            field: "score",
            given: format!("{text:?}"),
            expected: "msp, max_logit, sml, entropy, energy or energy:TEMPERATURE",
        };
        match text {
            "msp" => Ok(Self::Msp),
            "max_logit" | "max-logit" => Ok(Self::MaxLogit),
            "sml" => Ok(Self::Sml),
            "entropy" => Ok(Self::Entropy),
            "energy" => Ok(Self::Energy(Temperature::default())),
            _ => {
                let temperature = text.strip_prefix("energy:").ok_or_else(invalid)?;
                Ok(Self::Energy(Temperature::new(temperature.parse().map_err(|_| invalid())?)?))
            }
        }
    }
}

impl From<Score> for String {
    fn from(score: Score) -> Self {
        score.to_string()
    }
}

impl TryFrom<String> for Score {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

/// Temperature of the energy score: finite and greater than 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Temperature(f32);

impl Temperature {
    /// # Errors
    /// When `value` is not finite or not greater than 0.
    pub fn new(value: f32) -> Result<Self> {
        if value.is_finite() && value > 0.0 {
            Ok(Self(value))
        } else {
            Err(Error::InvalidParameter {
                field: "temperature",
                given: value.to_string(),
                expected: "a finite number greater than 0",
            })
        }
    }

    /// The number itself.
    pub fn get(self) -> f32 {
        self.0
    }
}

impl Default for Temperature {
    /// 1.
    fn default() -> Self {
        Self(1.0)
    }
}
