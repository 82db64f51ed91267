//! What goes wrong, and how a loop ends by it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use sml::frame_loop::{FrameForm, FrameInput, FrameLoop, FrameLoopOptions, FrameWork, Policy, WorkTimings};
use sml::{AnomalyMapMut, Error, PixelFormat, Result};

use crate::staged_work::{FORM, Fault, SIZE, StagedWork, around, submit};

fn faulty(name: u8, fault: Fault, options: FrameLoopOptions) -> FrameLoop {
    around(StagedWork { fault: Some((name, fault)), ..StagedWork::default() }, options)
}

/// Results from before the fault come, then none; the error is the work's own; a submitter is told; and a new loop works.
#[test]
fn the_work_fails_at_any_frame() {
    for (k, fault) in (0..12).flat_map(|k| [(k, Fault::Fail), (k, Fault::Panic)]) {
        for policy in Policy::ALL {
            let options = FrameLoopOptions { policy, queue: 3, ..FrameLoopOptions::default() };
            let (mut submitter, mut receiver) = faulty(k, fault, options).split();
            let source = std::thread::spawn(move || {
                for id in 0..1_000_000 {
                    // The byte of a picture is the id's lowest: fault or not, some frame has it.
                    if let Err(error) = submit(&mut submitter, id) {
                        return (id, error);
                    }
                    if policy != Policy::Block {
                        std::thread::sleep(Duration::from_micros(100));
                    }
                }
                panic!("the loop took a million frames");
            });
            let mut ids = Vec::new();
            while let Some(frame) = receiver.receive() {
                assert_ne!(frame.stamp().id as u8, k);
                ids.push(frame.stamp().id);
            }
            let (submitted, refusal) = source.join().unwrap();
            assert!(matches!(&refusal, Error::LoopEnded { reason } if reason.contains("at ")), "{refusal}");
            let summary = receiver.summary();
            assert_eq!(summary.submitted, submitted);
            assert_eq!((summary.delivered, summary.under_way()), (ids.len() as u64, 0));
            assert_eq!(summary.delivered + summary.dropped, submitted);
            if policy == Policy::Block {
                assert_eq!(ids, (0..u64::from(k)).collect::<Vec<_>>());
            }
            let error = receiver.finish(|_| panic!("there is none left")).unwrap_err();
            match fault {
                Fault::Fail => assert!(
                    matches!(&error, Error::Cuda { message, .. } if *message == format!("fault at {k}")),
                    "{error}"
                ),
                Fault::Panic => assert!(
                    matches!(&error, Error::LoopPanicked { message } if message.ends_with(&format!("at {k}"))),
                    "{error}"
                ),
            }
        }
    }
    let mut again = around(StagedWork::default(), FrameLoopOptions::default());
    let bytes = vec![7; 45];
    let picture = sml::PictureView::packed(&bytes, SIZE, PixelFormat::Rgb8).unwrap();
    again.submit(picture, Default::default()).unwrap();
    assert_eq!(again.receive().unwrap().score()[(0, 0)], 7.0);
}

/// A submitter that waits for room is woken by the fault.
#[test]
fn a_fault_wakes_who_waits() {
    let (mut work, leave, _taken) = StagedWork::held();
    work.fault = Some((0, Fault::Panic));
    let options = FrameLoopOptions { queue: 1, ..FrameLoopOptions::default() };
    let (mut submitter, receiver) = around(work, options).split();
    let source = std::thread::spawn(move || (0..10).find_map(|id| submit(&mut submitter, id).err()));
    std::thread::sleep(Duration::from_millis(50));
    leave.send(()).unwrap();
    let told = source.join().unwrap().unwrap().to_string();
    assert!(told.contains("the work fell over at 0"), "{told}");
    assert!(matches!(receiver.finish(drop), Err(Error::LoopPanicked { .. })));
}

/// A receiver that goes away ends the loop for the submitter, and waits for the thread.
#[test]
fn the_receiver_leaves() {
    let (mut submitter, receiver) = around(StagedWork::default(), FrameLoopOptions::default()).split();
    submit(&mut submitter, 0).unwrap();
    drop(receiver);
    let told = submit(&mut submitter, 1).unwrap_err().to_string();
    assert!(told.contains("it was closed"), "{told}");
}

/// A submitter that dies with its thread ends the loop in order: what it submitted is delivered.
#[test]
fn the_source_dies() {
    let (mut submitter, receiver) = around(StagedWork::default(), FrameLoopOptions::default()).split();
    let source = std::thread::spawn(move || {
        submit(&mut submitter, 0).unwrap();
        submit(&mut submitter, 1).unwrap();
        panic!("the decoder died");
    });
    assert!(source.join().is_err());
    let mut ids = Vec::new();
    let summary = receiver.finish(|frame| ids.push(frame.stamp().id)).unwrap();
    assert_eq!((ids, summary.submitted), (vec![0, 1], 2));
}

/// A consumer that panics with a result in its hands gives it back, and the loop is given up.
#[test]
fn the_consumer_panics() {
    let (mut submitter, mut receiver) = around(StagedWork::default(), FrameLoopOptions::default()).split();
    submit(&mut submitter, 0).unwrap();
    let consumer = std::thread::spawn(move || {
        let _frame = receiver.receive().unwrap();
        panic!("the consumer fell over");
    });
    assert!(consumer.join().is_err());
    assert!(matches!(submit(&mut submitter, 1), Err(Error::LoopEnded { .. })));
}

/// A decoder that falls over while it fills the loop's memory gives that back: were it lost, the loop would stand still in the end.
#[test]
fn the_source_panics_while_it_fills() {
    let options = FrameLoopOptions { queue: 1, ..FrameLoopOptions::default() };
    let (mut submitter, mut receiver) = around(StagedWork::default(), options).split();
    for id in 0..20 {
        let fallen = catch_unwind(AssertUnwindSafe(|| {
            submitter.submit_with::<Error>(crate::staged_work::stamp(2 * id), |_| panic!("a torn frame"))
        }));
        assert!(fallen.is_err());
        submit(&mut submitter, 2 * id + 1).unwrap();
        assert_eq!(receiver.receive().unwrap().stamp().id, 2 * id + 1);
    }
    assert_eq!(receiver.finish(drop).unwrap().submitted, 20);
}

/// Work that falls over when it is given back.
struct FallsLast;

impl FrameWork for FallsLast {
    fn run(&mut self, _: &FrameInput<'_>, _: AnomalyMapMut<'_>) -> Result<WorkTimings> {
        Ok(WorkTimings::default())
    }
}

impl Drop for FallsLast {
    fn drop(&mut self) {
        panic!("it fell over last");
    }
}

#[test]
fn work_that_panics_when_it_is_dropped_ends_the_loop_like_any_other() {
    let mut frame_loop = FrameLoop::around(FallsLast, FORM, SIZE, FrameLoopOptions::default()).unwrap();
    let bytes = vec![7; 45];
    let picture = sml::PictureView::packed(&bytes, SIZE, PixelFormat::Rgb8).unwrap();
    frame_loop.submit(picture, Default::default()).unwrap();
    let mut results = 0;
    let error = frame_loop.finish(|_| results += 1).unwrap_err();
    assert!(matches!(&error, Error::LoopPanicked { message } if message == "it fell over last"), "{error}");
    assert_eq!(results, 1);
}

/// Work whose threads can be told from those of the other tests.
struct Unprepared(bool);

impl FrameWork for Unprepared {
    fn prepare(&mut self) -> Result<()> {
        assert!(!self.0, "no weights");
        Err(Error::Torch { action: "load".to_owned(), message: "no file".to_owned() })
    }

    fn run(&mut self, _: &FrameInput<'_>, _: AnomalyMapMut<'_>) -> Result<WorkTimings> {
        panic!("never prepared");
    }
}

#[test]
fn work_that_cannot_be_prepared_makes_no_loop() {
    let build = |panics| FrameLoop::around(Unprepared(panics), FORM, SIZE, FrameLoopOptions::default());
    let error = build(false).unwrap_err();
    assert_eq!(error.to_string(), "libtorch could not load: no file");
    let error = build(true).unwrap_err();
    assert!(matches!(&error, Error::LoopPanicked { message } if message == "no weights"), "{error}");
}

/// Frames without memory are an error, not the end of the process.
#[test]
fn forms_that_no_memory_holds_are_refused() {
    let size = sml::Size::new(1 << 22, 1 << 22);
    let form = FrameForm::Picture { size, format: PixelFormat::Rgba8 };
    let error = FrameLoop::around(StagedWork::default(), form, size, FrameLoopOptions::default());
    assert!(matches!(error, Err(Error::Shape { .. })));
}
