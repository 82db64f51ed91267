//! Which scores an evaluation compares: the rows of its table, each with the parameters that make it.

use serde::{Deserialize, Serialize};

use crate::params::{Score, Temperature};
use crate::{Params, Stage};

/// A row of an evaluation: a score after a stage, or one setting of a sweep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    /// Name of the row, such as `msp` or `sml+suppression`.
    pub name: String,
    /// Parameters of the post-processing that makes it.
    pub params: Params,
}

impl Setting {
    /// A score under `params`, named after the score and the stages that are switched on.
    pub fn new(params: Params) -> Self {
        let mut name = params.score.to_string();
        if params.suppression.is_some() {
            name += "+suppression";
        }
        if params.smoothing.is_some() {
            name += "+smoothing";
        }
        Self { name, params }
    }

    /// The comparison of the paper: the plain scores that it is measured against (msp, max_logit, entropy, energy), then
    /// the score of `params` after each of its stages. No row comes twice.
    pub fn comparison(params: &Params) -> Vec<Self> {
        let plain = [Score::Msp, Score::MaxLogit, Score::Entropy, Score::Energy(Temperature::default())];
        let baselines =
            plain.into_iter().map(|score| Params { score, ..*params }.through(Stage::Standardize));
        let stages = [Stage::Standardize, Stage::Suppress, Stage::Smooth].map(|stage| params.through(stage));
        let mut rows: Vec<Self> = Vec::new();
        for row in baselines.chain(stages).map(Self::new) {
            if rows.iter().all(|other| other.name != row.name) {
                rows.push(row);
            }
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(params: &Params) -> Vec<String> {
        Setting::comparison(params).into_iter().map(|row| row.name).collect()
    }

    #[test]
    fn the_papers_comparison() {
        let want =
            ["msp", "max_logit", "entropy", "energy", "sml", "sml+suppression", "sml+suppression+smoothing"];
        assert_eq!(names(&Params::default()), want);
    }

    #[test]
    fn a_baseline_may_be_the_score_itself_and_stages_may_be_off() {
        let params = Params { score: Score::Energy(Temperature::default()), ..Params::default() };
        assert_eq!(names(&params)[3..], ["energy", "energy+suppression", "energy+suppression+smoothing"]);
        let params = Params { suppression: None, ..Params::default() };
        assert_eq!(names(&params)[4..], ["sml", "sml+smoothing"]);
        let all = Setting::comparison(&params);
        assert_eq!(all[0].params.score, Score::Msp);
        assert!(all[..5].iter().all(|row| row.params.smoothing.is_none()));
    }
}
