//! What is done with a result after the worker made it, on the loop's second thread: smoothing over time and finding obstacles.

use std::time::Instant;

use tracing::debug_span;

use super::form::FrameInput;
use super::memory::map;
use super::queues::Queues;
use super::ring::Output;
use super::worker::contained;
use super::{FrameForm, FrameLoopOptions};
use crate::obstacles::ObstacleFinder;
use crate::temporal_smoothing::PictureChange;
use crate::{Result, Size, TemporalSmoother};

/// What the options ask for.
pub(super) struct After {
    form: FrameForm,
    smoothing: Option<(TemporalSmoother, PictureChange)>,
    finder: Option<ObstacleFinder>,
}

impl After {
    /// # Errors
    /// [`Error::InvalidParameter`](crate::Error::InvalidParameter) for parameters out of range.
    pub fn new(form: FrameForm, size: Size, options: &FrameLoopOptions) -> Result<Self> {
        let smoother = |smoothing| TemporalSmoother::new(smoothing, size);
        let smoothing = options.temporal_smoothing.map(smoother).transpose()?;
        let finder = options.obstacles.clone().map(|params| ObstacleFinder::new(params, size)).transpose()?;
        Ok(Self { form, smoothing: smoothing.map(|smoother| (smoother, PictureChange::default())), finder })
    }

    /// # Errors
    /// Those of the smoother and the finder, for results of another size than theirs.
    pub fn run(&mut self, output: &mut Output) -> Result<()> {
        if let Some((smoother, change)) = &mut self.smoothing {
            let _span = debug_span!("temporal_smoothing").entered();
            let picture = output.picture.as_ref().map(|memory| self.form.view(memory.as_bytes()));
            let change = match picture.transpose()? {
                Some(FrameInput::Picture(picture)) => change.measure(&picture),
                _ => None,
            };
            smoother.smooth(output.result.score_mut(), change)?;
        }
        if let Some(finder) = &mut self.finder {
            let _span = debug_span!("obstacles").entered();
            let Output { result, obstacles, .. } = output;
            let found =
                finder.find(map(result.score(), result.size), map(result.prediction(), result.size))?;
            obstacles.clear();
            obstacles.extend_from_slice(found);
        }
        Ok(())
    }
}

/// Does `work` with what the worker made, until there is nothing more. A failure ends the loop.
pub(super) fn run(queues: &Queues, mut work: impl FnMut(&mut Output) -> Result<()>) {
    let mut lost = 0;
    let ended = contained(|| {
        while let Some(mut output) = queues.next_made() {
            lost = 1;
            let begun = Instant::now();
            debug_span!("after", id = output.stamp.id).in_scope(|| work(&mut output))?;
            output.telemetry.after = begun.elapsed();
            lost = 0;
            queues.deliver(output);
        }
        Ok(())
    });
    queues.end(ended.err(), lost);
}

#[cfg(test)]
mod tests {
    use super::super::work::AtOnce;
    use super::super::{FrameInput, FrameLoop, FrameStamp, FrameWork, Submitter, WorkTimings};
    use super::*;
    use crate::obstacles::ObstacleParams;
    use crate::{AnomalyMapMut, Error, PictureView, PixelFormat};

    const SIZE: Size = Size::new(2, 3);
    const FORM: FrameForm = FrameForm::Picture { size: SIZE, format: PixelFormat::Rgb8 };

    struct Nothing;

    impl FrameWork for Nothing {
        fn run(&mut self, _: &FrameInput<'_>, _: AnomalyMapMut<'_>) -> Result<WorkTimings> {
            Ok(WorkTimings::default())
        }
    }

    #[derive(Clone, Copy, PartialEq)]
    enum Fault {
        Fail,
        Panic,
    }

    const FAULTS: [Fault; 2] = [Fault::Fail, Fault::Panic];

    /// A loop whose second thread meets a fault at frame `k`.
    fn faulty(k: u64, fault: Fault) -> FrameLoop {
        let obstacles = Some(ObstacleParams::above(0.0));
        let options = FrameLoopOptions { obstacles, ..FrameLoopOptions::default() };
        let after = move |output: &mut Output| match fault {
            _ if output.stamp.id != k => Ok(()),
            Fault::Fail => {
                let (given, expected) = ("a fault".to_owned(), "none".to_owned());
                Err(Error::Shape { what: "result", given, expected })
            }
            Fault::Panic => panic!("a fault"),
        };
        FrameLoop::start(Box::new(AtOnce::new(Nothing, FORM)), FORM, SIZE, options, after).unwrap()
    }

    /// Submits until the loop refuses, and returns why.
    fn source(mut submitter: Submitter) -> Error {
        let picture = PictureView::packed(&[0; 18], SIZE, PixelFormat::Rgb8).unwrap();
        let submit = |id| submitter.submit(picture, FrameStamp { id, ..FrameStamp::default() });
        (0..1_000_000).map(submit).find_map(Result::err).unwrap()
    }

    fn assert_is(error: &Error, fault: Fault) {
        match error {
            Error::Shape { given, .. } if fault == Fault::Fail => assert_eq!(given, "a fault"),
            Error::LoopPanicked { message } if fault == Fault::Panic => assert_eq!(message, "a fault"),
            other => panic!("{other:?}"),
        }
    }

    /// Results from before the fault come, then none; the submitter is told; every frame is accounted for, and the failure is the
    /// second thread's own.
    #[test]
    fn a_fault_there_ends_the_loop() {
        for (k, fault) in (0..8).flat_map(|k| FAULTS.map(|fault| (k, fault))) {
            let (submitter, mut receiver) = faulty(k, fault).split();
            let source = std::thread::spawn(move || source(submitter));
            let results = std::iter::from_fn(|| receiver.receive());
            let ids: Vec<u64> = results.map(|frame| frame.stamp().id).collect();
            assert_eq!(ids, (0..k).collect::<Vec<_>>());
            let told = source.join().unwrap();
            assert!(matches!(&told, Error::LoopEnded { reason } if reason.contains("a fault")), "{told}");
            let summary = receiver.summary();
            assert_eq!((summary.delivered, summary.under_way()), (k, 0));
            assert_eq!(summary.delivered + summary.dropped, summary.submitted);
            assert_is(&receiver.finish(|_| panic!("there is none left")).unwrap_err(), fault);
        }
    }

    /// Who waits is woken: the submitter for room, and the receiver for a result, also where the loop's first thread waits itself.
    #[test]
    fn a_fault_there_wakes_who_waits() {
        for fault in FAULTS {
            let (submitter, mut receiver) = faulty(2, fault).split();
            let source = std::thread::spawn(move || source(submitter));
            // While these are held, others wait for memory.
            let held = [receiver.receive().unwrap(), receiver.receive().unwrap()];
            assert!(receiver.receive().is_none());
            drop(held);
            assert!(matches!(source.join().unwrap(), Error::LoopEnded { .. }));
            assert_is(&receiver.finish(drop).unwrap_err(), fault);
        }
    }
}
