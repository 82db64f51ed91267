//! `--rerun`, also in a program that was built without it.

#[cfg(feature = "rerun")]
pub(super) use crate::rerun_log::{RerunLog, RerunTarget};
#[cfg(not(feature = "rerun"))]
pub(super) use absent::{RerunLog, RerunTarget};

/// The same names where nothing can be logged: the option is refused with what to do, and no log ever exists.
#[cfg(not(feature = "rerun"))]
mod absent {
    use std::convert::Infallible;
    use std::str::FromStr;

    use crate::frame_loop::AnomalyFrame;
    use crate::render::ScoreRange;
    use crate::{Error, Result};

    #[derive(Clone, Debug)]
    pub(in super::super) struct RerunTarget(Infallible);

    pub(in super::super) struct RerunLog(Infallible);

    impl FromStr for RerunTarget {
        type Err = Error;

        fn from_str(text: &str) -> Result<Self> {
            Err(Error::InvalidParameter {
                field: "--rerun",
                given: format!("{text:?} in an sml that was built without it"),
                expected: "one that was built with it: cargo build --release --features rerun",
            })
        }
    }

    impl RerunLog {
        pub(in super::super) fn open(target: &RerunTarget, _class_names: &[String]) -> Result<Self> {
            match target.0 {}
        }

        pub(in super::super) fn log(&mut self, _frame: &AnomalyFrame, _range: ScoreRange) -> Result<()> {
            match self.0 {}
        }

        pub(in super::super) fn finish(self) -> Result<()> {
            match self.0 {}
        }
    }
}
