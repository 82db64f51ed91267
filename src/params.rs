//! What the method does to the logits: score, boundary suppression, smoothing, and the policies around them.
//!
//! The defaults are the paper's. Every value that exists is valid: the parts with a range have constructors that
//! check it, and JSON goes through the same constructors.

use std::fmt;
use std::num::NonZeroU8;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Parameters of the whole post-processing (SPEC sections 1 to 6). `Params::default()` is the paper's setting.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// Which per-pixel score is computed from the logits.
    pub score: Score,
    /// Iterative boundary suppression; `None` switches it off.
    #[serde(with = "optional_stage")]
    pub suppression: Option<Suppression>,
    /// How image borders take part in the boundary.
    pub border_labels: BorderLabels,
    /// Dilated Gaussian smoothing; `None` switches it off.
    #[serde(with = "optional_stage")]
    pub smoothing: Option<Smoothing>,
    /// Sampling grid of the bilinear upsampling: `true` maps corner pixels onto corner pixels.
    pub align_corners: bool,
    /// What a predicted class without statistics is standardized with.
    pub missing: MissingStatistics,
    /// What becomes of a pixel with a NaN or infinite logit.
    pub non_finite: NonFinite,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            score: Score::default(),
            suppression: Some(Suppression::default()),
            border_labels: BorderLabels::default(),
            smoothing: Some(Smoothing::default()),
            align_corners: false,
            missing: MissingStatistics::default(),
            non_finite: NonFinite::default(),
        }
    }
}

impl Params {
    /// The same parameters, cut off after `stage`: the later stages are switched off.
    #[must_use]
    pub fn through(mut self, stage: Stage) -> Self {
        if stage < Stage::Smooth {
            self.smoothing = None;
        }
        if stage < Stage::Suppress {
            self.suppression = None;
        }
        self
    }
}

/// The stages of the post-processing, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Upsampling, prediction and score of each pixel.
    Standardize,
    /// Iterative boundary suppression.
    Suppress,
    /// Dilated Gaussian smoothing.
    Smooth,
}

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
    /// Names accepted by [`FromStr`], for messages and completions.
    pub const NAMES: [&'static str; 5] = ["msp", "max_logit", "sml", "entropy", "energy"];

    /// True when the score standardizes, and therefore needs class statistics.
    pub fn needs_statistics(self) -> bool {
        self == Self::Sml
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
        let (radius, sigma) = (i32::from(self.kernel_size / 2), f64::from(self.sigma));
        let raw: Vec<f64> =
            (-radius..=radius).map(|x| (-f64::from(x * x) / (2.0 * sigma * sigma)).exp()).collect();
        let sum: f64 = raw.iter().sum();
        raw.iter().map(|w| w / sum).collect()
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

fn parse<T: FromStr>(text: &str) -> Option<T> {
    text.trim().parse().ok()
}

/// A stage that can be switched off: its fields, or the word "none"; absent means the default.
mod optional_stage {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Off {
        None,
    }

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum OnOrOff<T> {
        Off(Off),
        On(T),
    }

    pub fn serialize<T: Serialize, S: Serializer>(stage: &Option<T>, to: S) -> Result<S::Ok, S::Error> {
        match stage {
            Some(stage) => stage.serialize(to),
            None => Off::None.serialize(to),
        }
    }

    pub fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<T>, D::Error> {
        Ok(match OnOrOff::deserialize(from)? {
            OnOrOff::Off(Off::None) => None,
            OnOrOff::On(stage) => Some(stage),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn radii_are_those_of_the_specification() {
        let radii = |w, n| Suppression::new(w, n).unwrap().radii().collect::<Vec<_>>();
        assert_eq!(radii(4, 4), [3, 2, 1, 0]);
        assert_eq!(radii(8, 4), [7, 5, 3, 0]);
        assert_eq!(radii(4, 2), [3, 0]);
        assert_eq!(radii(4, 1), [0]);
        assert_eq!(radii(0, 3), [0, 0, 0]);
        assert_eq!(radii(32, 32)[0], 31);
    }

    #[test]
    fn errors_name_the_field() {
        let message = |error: Error| error.to_string();
        assert!(message(Suppression::new(33, 1).unwrap_err()).starts_with("suppression.width is 33"));
        assert!(message(Suppression::new(4, 3).unwrap_err()).starts_with("suppression.iterations is 3"));
        assert!(message(Suppression::new(4, 0).unwrap_err()).starts_with("suppression.iterations is 0"));
        assert!(message(Smoothing::new(8, 1.0, 6).unwrap_err()).starts_with("smoothing.kernel_size is 8"));
        assert!(message(Smoothing::new(7, 0.0, 6).unwrap_err()).starts_with("smoothing.sigma is 0"));
        assert!(message(Smoothing::new(7, 1.0, 0).unwrap_err()).starts_with("smoothing.dilation is 0"));
        assert!(message("energy:-1".parse::<Score>().unwrap_err()).starts_with("temperature is -1"));
        let broken = r#"{"suppression": {"width": 40, "iterations": 4}}"#;
        assert!(serde_json::from_str::<Params>(broken).is_err());
        assert!(serde_json::from_str::<Params>(r#"{"scores": "sml"}"#).is_err());
    }

    #[test]
    fn json_round_trip() {
        let all = [
            Params::default(),
            Params {
                score: Score::Energy(Temperature::new(0.5).unwrap()),
                suppression: None,
                border_labels: BorderLabels::One,
                smoothing: None,
                align_corners: true,
                missing: MissingStatistics::Propagate,
                non_finite: NonFinite::Replace(Replacement::default()),
            },
        ];
        for params in all {
            let json = serde_json::to_string(&params).unwrap();
            assert_eq!(serde_json::from_str::<Params>(&json).unwrap(), params, "{json}");
        }
        assert_eq!(serde_json::from_str::<Params>("{}").unwrap(), Params::default());
    }
}
