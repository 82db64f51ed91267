//! Parameters of the smoothing.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::parse;
use crate::{Error, Result};

/// Dilated Gaussian smoothing (paper section 3.4, SPEC section 5).
///
/// Text form: `K,SIGMA,D` (kernel size, sigma in taps, dilation).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "SmoothingFields", deny_unknown_fields)]
pub struct Smoothing {
    kernel_size: u8,
    sigma: f32,
    dilation: u8,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SmoothingFields {
    kernel_size: u8,
    sigma: f32,
    dilation: u8,
}

impl TryFrom<SmoothingFields> for Smoothing {
    type Error = Error;

    fn try_from(fields: SmoothingFields) -> Result<Self> {
        Self::new(fields.kernel_size, fields.sigma, fields.dilation)
    }
}

impl Smoothing {
    /// Largest kernel size.
    pub const MAX_KERNEL_SIZE: u8 = 31;
    /// Largest dilation.
    pub const MAX_DILATION: u8 = 64;

    /// A Gaussian of `kernel_size` taps each way (odd, 1 to 31), `sigma` in taps, taps `dilation` pixels apart.
    ///
    /// # Errors
    /// When one of them is out of its range.
    pub fn new(kernel_size: u8, sigma: f32, dilation: u8) -> Result<Self> {
        let invalid =
            |field, given: String, expected| Err(Error::InvalidParameter { field, given, expected });
        if kernel_size.is_multiple_of(2) || kernel_size > Self::MAX_KERNEL_SIZE {
            return invalid("smoothing.kernel_size", kernel_size.to_string(), "an odd number from 1 to 31");
        }
        if !(sigma.is_finite() && (0.01..=1000.0).contains(&sigma)) {
            return invalid("smoothing.sigma", sigma.to_string(), "a number from 0.01 to 1000");
        }
        if dilation == 0 || dilation > Self::MAX_DILATION {
            return invalid("smoothing.dilation", dilation.to_string(), "1 to 64");
        }
        Ok(Self { kernel_size, sigma, dilation })
    }

    /// Taps in each direction.
    pub fn kernel_size(self) -> u8 {
        self.kernel_size
    }

    /// Standard deviation in taps.
    pub fn sigma(self) -> f32 {
        self.sigma
    }

    /// Distance of neighbouring taps in pixels.
    pub fn dilation(self) -> u8 {
        self.dilation
    }

    /// Pixels between the centre and the outermost tap.
    pub fn reach(self) -> usize {
        usize::from(self.kernel_size / 2) * usize::from(self.dilation)
    }

    /// The weights of one direction in float64, `kernel_size` of them, with sum 1. The two-dimensional kernel is
    /// their outer product.
    pub fn weights(self) -> Vec<f64> {
        self.normalized_weights().collect()
    }

    /// The weights rounded to float32, as the engine uses them.
    pub(crate) fn weights_f32(self) -> impl Iterator<Item = f32> {
        self.normalized_weights().map(|weight| weight as f32)
    }

    fn normalized_weights(self) -> impl Iterator<Item = f64> {
        let (radius, sigma) = (i32::from(self.kernel_size / 2), f64::from(self.sigma));
        let raw = move |x: i32| (-f64::from(x * x) / (2.0 * sigma * sigma)).exp();
        let sum: f64 = (-radius..=radius).map(raw).sum();
        (-radius..=radius).map(move |x| raw(x) / sum)
    }
}

impl Default for Smoothing {
    /// 7 taps, sigma 1, dilation 6.
    fn default() -> Self {
        Self { kernel_size: 7, sigma: 1.0, dilation: 6 }
    }
}

impl FromStr for Smoothing {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let fields: Vec<&str> = text.split(',').collect();
        let numbers = match fields[..] {
            [k, sigma, d] => parse(k).zip(parse(sigma)).zip(parse(d)),
            _ => None,
        };
        let ((kernel_size, sigma), dilation) = numbers.ok_or_else(|| Error::InvalidParameter {
            field: "smoothing",
            given: format!("{text:?}"),
            expected: "KERNEL_SIZE,SIGMA,DILATION (such as 7,1,6) or none",
        })?;
        Self::new(kernel_size, sigma, dilation)
    }
}
