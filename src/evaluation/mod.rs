//! The evaluation of anomaly scores on a labelled dataset: what was evaluated, how, and every number that came out.
//!
//! [`Evaluation`] is the one form of a result: the JSON that `sml eval --json` prints, and what tables, curves and the
//! report are made of. It holds numbers only; pictures lie beside it.

mod results;

pub use crate::metrics::{ComponentMetrics, CurvePoint, ThresholdRow};
pub use results::{ClosedSet, DatasetFacts, Evaluation, Failure, Mode, ScoreResult};
