//! Parameters of the boundary suppression.

use std::num::NonZeroU8;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::parse;
use crate::{Error, Result};

/// Iterative boundary suppression (paper section 3.3, SPEC section 4).
///
/// Text form: `W,N` (width, iterations).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "SuppressionFields", deny_unknown_fields)]
pub struct Suppression {
    width: u8,
    iterations: NonZeroU8,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SuppressionFields {
    width: u8,
    iterations: u8,
}

impl TryFrom<SuppressionFields> for Suppression {
    type Error = Error;

    fn try_from(fields: SuppressionFields) -> Result<Self> {
        Self::new(fields.width, fields.iterations)
    }
}

impl Suppression {
    /// Largest boundary width.
    pub const MAX_WIDTH: u8 = 32;

    /// A boundary `width` in pixels (0 to 32) that shrinks to nothing in `iterations` steps.
    ///
    /// # Errors
    /// When `width` is over 32, `iterations` is 0, or `iterations` does not divide `width`.
    pub fn new(width: u8, iterations: u8) -> Result<Self> {
        if width > Self::MAX_WIDTH {
            return Err(Error::InvalidParameter {
                field: "suppression.width",
                given: width.to_string(),
                expected: "0 to 32",
            });
        }
        let invalid = |expected| Error::InvalidParameter {
            field: "suppression.iterations",
            given: iterations.to_string(),
            expected,
        };
        let count =
            NonZeroU8::new(iterations).ok_or_else(|| invalid("1 or more (use none to switch it off)"))?;
        if !width.is_multiple_of(iterations) {
            return Err(invalid("a divisor of the width"));
        }
        Ok(Self { width, iterations: count })
    }

    /// Boundary width in pixels.
    pub fn width(self) -> u8 {
        self.width
    }

    /// Number of iterations.
    pub fn iterations(self) -> u8 {
        self.iterations.get()
    }

    /// Radius of the mask in each iteration: pixels within this L1 distance of a boundary pixel are averaged.
    /// For the default (4, 4) it is 3, 2, 1, 0.
    pub fn radii(self) -> impl Iterator<Item = u8> {
        let (width, count) = (self.width, self.iterations.get());
        (0..count).map(move |i| if width == 0 || i + 1 == count { 0 } else { width - width / count * i - 1 })
    }

    /// Largest radius, that of the first iteration.
    pub fn reach(self) -> u8 {
        self.radii().next().unwrap_or(0)
    }
}

impl Default for Suppression {
    /// Width 4 in 4 iterations.
    fn default() -> Self {
        Self { width: 4, iterations: NonZeroU8::MIN.saturating_add(3) }
    }
}

impl FromStr for Suppression {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let numbers = text.split_once(',').and_then(|(w, n)| Some((parse(w)?, parse(n)?)));
        let (width, iterations) = numbers.ok_or_else(|| Error::InvalidParameter {
            field: "suppression",
            given: format!("{text:?}"),
            expected: "WIDTH,ITERATIONS (two whole numbers, such as 4,4) or none",
        })?;
        Self::new(width, iterations)
    }
}
