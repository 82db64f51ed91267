//! What the method does to the logits: score, boundary suppression, smoothing, and the policies around them.
//!
//! The defaults are the paper's. Every value that exists is valid: the parts with a range have constructors that
//! check it, and JSON goes through the same constructors.

mod policies;
mod score;
mod smoothing;
mod suppression;

use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use policies::{BorderLabels, MissingStatistics, NonFinite, Replacement};
pub use score::{Score, Temperature};
pub use smoothing::Smoothing;
pub use suppression::Suppression;

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
    use crate::Error;

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
