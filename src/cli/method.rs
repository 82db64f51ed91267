//! Options that describe the method itself, shared by every command that runs it.

use std::str::FromStr;

use clap::{Args, ValueEnum};

use crate::{
    BorderLabels, ElementType, Error, Layout, MissingStatistics, NonFinite, Params, Replacement, Result,
    Score, Size, Smoothing, Suppression,
};

/// Parameters of the post-processing. What is not given has the paper's value.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Method")]
pub struct MethodArgs {
    /// Per-pixel score: msp, max_logit, sml, entropy, energy or energy:TEMPERATURE
    #[arg(long, value_name = "SCORE", default_value = "sml")]
    score: Score,

    /// Boundary suppression: WIDTH,ITERATIONS or none
    #[arg(long, value_name = "W,N|none", default_value = "4,4")]
    suppression: Switch<Suppression>,

    /// Dilated smoothing: KERNEL_SIZE,SIGMA,DILATION or none
    #[arg(long, value_name = "K,SIGMA,D|none", default_value = "7,1,6")]
    smoothing: Switch<Smoothing>,

    /// Whether pixels on the image frame with a label of 2 or more count as boundary (one: as the kornia version that
    /// the official code pins)
    #[arg(long, value_name = "POLICY", value_enum, default_value_t = Border::Ignore)]
    border_labels: Border,

    /// What classes without statistics are standardized with
    #[arg(long, value_name = "POLICY", value_enum, default_value_t = Missing::Pooled)]
    missing: Missing,

    /// What becomes of pixels with NaN or infinite logits: propagate, or replace:SCORE
    #[arg(long, value_name = "POLICY", default_value = "propagate", value_parser = non_finite)]
    non_finite: NonFinite,
}

impl MethodArgs {
    /// The parameters, with upsampling on the grid that `align_corners` says.
    pub fn params(&self, align_corners: bool) -> Params {
        Params {
            score: self.score,
            suppression: self.suppression.into_option(),
            border_labels: match self.border_labels {
                Border::Ignore => BorderLabels::Ignore,
                Border::One => BorderLabels::One,
            },
            smoothing: self.smoothing.into_option(),
            align_corners,
            missing: match self.missing {
                Missing::Pooled => MissingStatistics::Pooled,
                Missing::Error => MissingStatistics::Error,
                Missing::Propagate => MissingStatistics::Propagate,
            },
            non_finite: self.non_finite,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Border {
    Ignore,
    One,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Missing {
    Pooled,
    Error,
    Propagate,
}

/// A stage with its parameters, or the word "none".
#[derive(Clone, Copy, Debug)]
enum Switch<T> {
    Off,
    On(T),
}

impl<T: Copy> Switch<T> {
    fn into_option(self) -> Option<T> {
        match self {
            Self::Off => None,
            Self::On(stage) => Some(stage),
        }
    }
}

impl<T: FromStr<Err = Error>> FromStr for Switch<T> {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == "none" { Ok(Self::Off) } else { text.parse().map(Self::On) }
    }
}

fn non_finite(text: &str) -> Result<NonFinite> {
    let invalid = || Error::InvalidParameter {
        field: "non_finite",
        given: format!("{text:?}"),
        expected: "propagate, replace (by 10) or replace:SCORE",
    };
    match text {
        "propagate" => Ok(NonFinite::Propagate),
        "replace" => Ok(NonFinite::Replace(Replacement::default())),
        _ => {
            let value = text.strip_prefix("replace:").ok_or_else(invalid)?;
            Ok(NonFinite::Replace(Replacement::new(value.parse().map_err(|_| invalid())?)?))
        }
    }
}

/// Parses `HxW`.
pub fn size(text: &str) -> Result<Size> {
    let numbers = text.split_once('x').and_then(|(h, w)| Some((h.parse().ok()?, w.parse().ok()?)));
    match numbers {
        Some((height, width)) if (1..1 << 20).contains(&height) && (1..1 << 20).contains(&width) => {
            Ok(Size::new(height, width))
        }
        _ => Err(Error::InvalidParameter {
            field: "size",
            given: format!("{text:?}"),
            expected: "HEIGHTxWIDTH in pixels, such as 1024x2048",
        }),
    }
}

/// Memory order of logits in a file.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum LayoutArg {
    /// Images, classes, rows, columns
    #[default]
    Nchw,
    /// Images, rows, columns, classes
    Nhwc,
}

impl From<LayoutArg> for Layout {
    fn from(layout: LayoutArg) -> Self {
        match layout {
            LayoutArg::Nchw => Self::Nchw,
            LayoutArg::Nhwc => Self::Nhwc,
        }
    }
}

/// Element type that logits are converted to before the method runs.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ElementTypeArg {
    /// IEEE 754 single precision
    #[value(alias = "f32")]
    Float32,
    /// IEEE 754 half precision
    #[value(alias = "f16")]
    Float16,
    /// The upper half of float32
    #[value(alias = "bf16")]
    Bfloat16,
}

impl From<ElementTypeArg> for ElementType {
    fn from(element_type: ElementTypeArg) -> Self {
        match element_type {
            ElementTypeArg::Float32 => Self::F32,
            ElementTypeArg::Float16 => Self::F16,
            ElementTypeArg::Bfloat16 => Self::BF16,
        }
    }
}
