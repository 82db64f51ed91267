//! Ablations: every combination of some values of the post-processing's parameters, as the paper's tables vary them.

use std::fmt;
use std::str::FromStr;

use super::Setting;
use crate::{Error, Params, Result, Smoothing, Suppression};

/// Most values of one axis, and most settings of a sweep: each setting has an engine of its own.
const MOST: usize = 256;

/// A parameter that a sweep varies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Parameter {
    Width,
    Iterations,
    Kernel,
    Sigma,
    Dilation,
}

const PARAMETERS: [(&str, Parameter); 5] = [
    ("width", Parameter::Width),
    ("iterations", Parameter::Iterations),
    ("kernel", Parameter::Kernel),
    ("sigma", Parameter::Sigma),
    ("dilation", Parameter::Dilation),
];

/// One parameter with the values that it takes.
///
/// Text form: `NAME=VALUES`, where NAME is width, iterations (of the suppression), kernel, sigma or dilation (of the
/// smoothing), and VALUES are numbers and ranges `FIRST..LAST` (both ends included) with commas between.
///
/// ```
/// use sml::evaluation::SweepAxis;
///
/// let axis: SweepAxis = "dilation=3..5,9".parse()?;
/// assert_eq!(axis.to_string(), "dilation=3,4,5,9");
/// # Ok::<(), sml::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct SweepAxis {
    parameter: Parameter,
    values: Vec<f32>,
}

impl FromStr for SweepAxis {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let invalid =
            |expected| Error::InvalidParameter { field: "--sweep", given: format!("{text:?}"), expected };
        let named = text.split_once('=').and_then(|(name, values)| {
            let (_, parameter) = PARAMETERS.iter().find(|(known, _)| *known == name)?;
            Some((*parameter, values))
        });
        let (parameter, list) = named.ok_or_else(|| {
            invalid("width=, iterations=, kernel=, sigma= or dilation= with values, such as dilation=3..9")
        })?;
        let mut values = Vec::new();
        for part in list.split(',') {
            let numbers = match part.split_once("..") {
                Some((first, last)) => range(first, last),
                None => part.parse().ok().map(|number| vec![number]),
            };
            let numbers =
                numbers.ok_or_else(|| invalid("numbers and ranges FIRST..LAST with commas between"))?;
            values.extend(numbers);
        }
        let mut seen: Vec<f32> = Vec::new();
        values.retain(|value| {
            let new = !seen.contains(value);
            seen.push(*value);
            new
        });
        if values.len() > MOST {
            return Err(invalid("at most 256 values"));
        }
        for &value in &values {
            alone(parameter, value)?;
        }
        Ok(Self { parameter, values })
    }
}

/// Whole numbers from `first` to `last`.
fn range(first: &str, last: &str) -> Option<Vec<f32>> {
    let (first, last): (u8, u8) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then(|| (first..=last).map(f32::from).collect())
}

impl fmt::Display for SweepAxis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values: Vec<String> = self.values.iter().map(f32::to_string).collect();
        write!(f, "{}={}", name(self.parameter), values.join(","))
    }
}

fn name(parameter: Parameter) -> &'static str {
    PARAMETERS.iter().find(|(_, other)| *other == parameter).map_or("", |(name, _)| name)
}

/// Refuses a value that no combination makes valid.
fn alone(parameter: Parameter, value: f32) -> Result<()> {
    match parameter {
        Parameter::Width => Suppression::new(whole(parameter, value)?, 1).map(drop),
        Parameter::Iterations => Suppression::new(0, whole(parameter, value)?).map(drop),
        Parameter::Kernel => Smoothing::new(whole(parameter, value)?, 1.0, 1).map(drop),
        Parameter::Sigma => Smoothing::new(7, value, 1).map(drop),
        Parameter::Dilation => Smoothing::new(7, 1.0, whole(parameter, value)?).map(drop),
    }
}

fn whole(parameter: Parameter, value: f32) -> Result<u8> {
    if value.fract() == 0.0 && (0.0..=255.0).contains(&value) {
        return Ok(value as u8);
    }
    Err(Error::InvalidParameter {
        field: "--sweep",
        given: format!("{}={value}", name(parameter)),
        expected: "a whole number from 0 to 255",
    })
}

/// The settings of a sweep.
#[derive(Clone, Debug, PartialEq)]
pub struct Sweep {
    /// The valid ones, named after the stages and, in brackets, the values of this setting. The first axis varies
    /// slowest.
    pub settings: Vec<Setting>,
    /// The combinations that are none, each with the reason, in one line.
    pub skipped: Vec<String>,
}

impl Sweep {
    /// All combinations of the axes' values; what no axis varies is as in `params`. A stage that is off in `params` and
    /// varied by an axis is on, with its defaults.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] when a parameter has two axes, no combination is valid, or there are over 256.
    pub fn new(params: &Params, axes: &[SweepAxis]) -> Result<Self> {
        let given = || axes.iter().map(SweepAxis::to_string).collect::<Vec<_>>().join(" ");
        let invalid = |expected| Error::InvalidParameter { field: "--sweep", given: given(), expected };
        let twice = |axis: &SweepAxis| axes.iter().filter(|a| a.parameter == axis.parameter).count() > 1;
        if axes.iter().any(twice) {
            return Err(invalid("each parameter once, with all its values"));
        }
        let total = axes.iter().map(|axis| axis.values.len()).try_fold(1_usize, usize::checked_mul);
        let total = total.filter(|&n| n <= MOST).ok_or_else(|| invalid("at most 256 combinations"))?;
        let (mut settings, mut skipped) = (Vec::new(), Vec::new());
        for number in 0..total {
            let values = combination(axes, number);
            let text: Vec<String> =
                values.iter().map(|(parameter, value)| format!("{}={value}", name(*parameter))).collect();
            let text = text.join(" ");
            match applied(params, &values) {
                Ok(params) => {
                    let plain = Setting::new(params);
                    settings.push(Setting { name: format!("{} [{text}]", plain.name), params });
                }
                Err(error) => skipped.push(format!("{text} is left out: {error}")),
            }
        }
        if settings.is_empty() {
            return Err(invalid("a valid combination: the width must be a multiple of the iterations"));
        }
        Ok(Self { settings, skipped })
    }
}

/// The values of combination `number`; the last axis varies fastest.
fn combination(axes: &[SweepAxis], mut number: usize) -> Vec<(Parameter, f32)> {
    let mut values: Vec<(Parameter, f32)> = axes
        .iter()
        .rev()
        .map(|axis| {
            let value = axis.values[number % axis.values.len()];
            number /= axis.values.len();
            (axis.parameter, value)
        })
        .collect();
    values.reverse();
    values
}

fn applied(params: &Params, values: &[(Parameter, f32)]) -> Result<Params> {
    let value = |wanted| values.iter().find(|(parameter, _)| *parameter == wanted).map(|(_, value)| *value);
    let whole_or = |wanted, default| value(wanted).map_or(Ok(default), |value| whole(wanted, value));
    let mut params = *params;
    if value(Parameter::Width).or(value(Parameter::Iterations)).is_some() {
        let base = params.suppression.unwrap_or_default();
        params.suppression = Some(Suppression::new(
            whole_or(Parameter::Width, base.width())?,
            whole_or(Parameter::Iterations, base.iterations())?,
        )?);
    }
    if value(Parameter::Kernel).or(value(Parameter::Sigma)).or(value(Parameter::Dilation)).is_some() {
        let base = params.smoothing.unwrap_or_default();
        params.smoothing = Some(Smoothing::new(
            whole_or(Parameter::Kernel, base.kernel_size())?,
            value(Parameter::Sigma).unwrap_or(base.sigma()),
            whole_or(Parameter::Dilation, base.dilation())?,
        )?);
    }
    Ok(params)
}

/// What tells the rows of a sweep apart: `dilation=5 width=4` of `sml+suppression+smoothing [dilation=5 width=4]`, so that it fits
/// where names are cut. Names that are not all settings of one score stay as they are.
pub(crate) fn telling_names<'a>(names: &[&'a str]) -> Vec<&'a str> {
    let parts: Option<Vec<(&str, &str)>> =
        names.iter().map(|name| name.strip_suffix(']')?.split_once(" [")).collect();
    match parts {
        Some(parts) if parts.len() > 1 && parts.iter().all(|(score, _)| *score == parts[0].0) => {
            parts.into_iter().map(|(_, setting)| setting).collect()
        }
        _ => names.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sweep(axes: &[&str]) -> Result<Sweep> {
        let axes: Result<Vec<SweepAxis>> = axes.iter().map(|text| text.parse()).collect();
        Sweep::new(&Params::default(), &axes?)
    }

    #[test]
    fn combinations_in_order_and_invalid_ones_skipped() {
        let sweep = sweep(&["width=0,4", "iterations=1,3", "dilation=5..6"]).unwrap();
        let names: Vec<&str> = sweep.settings.iter().map(|s| s.name.split_once(' ').unwrap().1).collect();
        assert_eq!(
            names,
            [
                "[width=0 iterations=1 dilation=5]",
                "[width=0 iterations=1 dilation=6]",
                "[width=0 iterations=3 dilation=5]",
                "[width=0 iterations=3 dilation=6]",
                "[width=4 iterations=1 dilation=5]",
                "[width=4 iterations=1 dilation=6]"
            ]
        );
        assert_eq!(sweep.skipped.len(), 2);
        assert!(sweep.skipped[0].contains("a divisor of the width"), "{:?}", sweep.skipped);
        let params = sweep.settings[5].params;
        assert_eq!(params.suppression.unwrap(), Suppression::new(4, 1).unwrap());
        assert_eq!(params.smoothing.unwrap(), Smoothing::new(7, 1.0, 6).unwrap());
    }

    #[test]
    fn a_stage_that_is_off_is_switched_on_by_its_axis() {
        let params = Params { smoothing: None, ..Params::default() };
        let sweep = Sweep::new(&params, &["sigma=0.5,2".parse().unwrap()]).unwrap();
        assert_eq!(sweep.settings[1].params.smoothing.unwrap().sigma(), 2.0);
        assert_eq!(sweep.settings[1].name, "sml+suppression+smoothing [sigma=2]");
    }

    #[test]
    fn wrong_axes_are_refused() {
        for text in [
            "",
            "dilation",
            "dilation=",
            "depth=3",
            "dilation=9..3",
            "dilation=0",
            "width=33",
            "width=1.5",
            "iterations=0",
            "kernel=4",
            "sigma=0",
            "sigma=nan",
            "dilation=1..300",
            "dilation=a",
        ] {
            assert!(matches!(text.parse::<SweepAxis>(), Err(Error::InvalidParameter { .. })), "{text}");
        }
        assert!(sweep(&["width=4", "width=8"]).is_err());
        assert!(sweep(&["width=3", "iterations=2"]).is_err());
        assert!(sweep(&["width=1..32", "dilation=1..64"]).is_err());
    }

    #[test]
    fn settings_of_one_score_go_by_their_settings() {
        assert_eq!(telling_names(&["sml [a=1 b=2]", "sml [a=1 b=3]"]), ["a=1 b=2", "a=1 b=3"]);
        for names in [["sml [a=1]", "msp [a=1]"], ["sml [a=1]", "sml"]] {
            assert_eq!(telling_names(&names), names);
        }
        assert_eq!(telling_names(&["sml [a=1]"]), ["sml [a=1]"]);
    }
}
