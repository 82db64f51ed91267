//! The evaluation of anomaly scores on a labelled dataset: what was evaluated, how, and every number that came out.
//!
//! [`Evaluation`] is the one form of a result: the JSON that `sml eval --json` prints, and what tables, curves and the
//! report are made of. It holds numbers only; pictures lie beside it.
//!
//! It comes about in three steps, so that a set of any size fits, and a run that was killed goes on where it was. A [`Plan`]
//! says what is measured. A [`State`] takes one [`Observation`] an image and keeps labelled pixels in files and what is done in
//! a journal. [`Measured`] reads one such state, or those of all shards, and computes the result score by score.

mod engines;
mod journal;
mod kept;
mod plan;
mod records;
mod results;
mod setting;
mod state;
mod summary;
mod sweep;
mod tables;
mod tally;

pub use crate::metrics::{ComponentMetrics, CurvePoint, ThresholdRow};
pub use engines::{Engines, ScoreMaps};
pub use journal::Entry;
pub use kept::KeptImage;
pub use plan::{Plan, Row};
pub use results::{ClosedSet, DatasetFacts, Evaluation, Failure, Mode, ScoreResult};
pub use setting::Setting;
pub use state::{Observation, State};
pub use summary::Measured;
pub(crate) use sweep::telling_names;
pub use sweep::{Sweep, SweepAxis};
pub use tables::{
    CLOSED_SET_METRIC, COMPONENT_METRICS, Definition, PIXEL_METRICS, SIGN_AND_IGNORED, csv, definitions,
    markdown, text,
};
