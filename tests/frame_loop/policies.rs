//! What the policies do with frames that come too soon, step by step and at random.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use sml::frame_loop::{FrameLoopOptions, Policy, Submission};

use crate::staged_work::{StagedWork, around, stamp, submit};

fn options(policy: Policy, queue: usize) -> FrameLoopOptions {
    FrameLoopOptions { policy, queue, results: 2, ..FrameLoopOptions::default() }
}

/// Waits until it has come to that.
fn until(condition: impl Fn() -> bool) {
    let patience = std::time::Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(std::time::Instant::now() < patience, "it never came to that");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn the_oldest_makes_room() {
    let (work, leave, taken) = StagedWork::held();
    let (mut submitter, mut receiver) = around(work, options(Policy::DropOldest, 2)).split();
    submit(&mut submitter, 0).unwrap();
    // Until the worker has it, the first would be the oldest.
    taken.recv().unwrap();
    let taken: Vec<Submission> = (1..6).map(|id| submit(&mut submitter, id).unwrap()).collect();
    let dropped = |id| Submission::DroppedOldest(stamp(id));
    assert_eq!(taken, [Submission::Accepted, Submission::Accepted, dropped(1), dropped(2), dropped(3)]);
    drop((leave, submitter));
    let ids: Vec<u64> = std::iter::from_fn(|| receiver.receive()).map(|frame| frame.stamp().id).collect();
    assert_eq!(ids, [0, 4, 5]);
    let summary = receiver.finish(drop).unwrap();
    assert_eq!((summary.submitted, summary.delivered, summary.dropped), (6, 3, 3));
}

#[test]
fn the_newest_is_refused() {
    let (work, leave, taken) = StagedWork::held();
    let (mut submitter, mut receiver) = around(work, options(Policy::DropNewest, 2)).split();
    submit(&mut submitter, 0).unwrap();
    taken.recv().unwrap();
    let taken: Vec<Submission> = (1..6).map(|id| submit(&mut submitter, id).unwrap()).collect();
    use Submission::{Accepted, DroppedThis};
    assert_eq!(taken, [Accepted, Accepted, DroppedThis, DroppedThis, DroppedThis]);
    drop((leave, submitter));
    let ids: Vec<u64> = std::iter::from_fn(|| receiver.receive()).map(|frame| frame.stamp().id).collect();
    assert_eq!(ids, [0, 1, 2]);
    assert_eq!(receiver.finish(drop).unwrap().dropped, 3);
}

#[test]
fn the_submitter_waits() {
    let (work, leave, _taken) = StagedWork::held();
    let (mut submitter, receiver) = around(work, options(Policy::Block, 1)).split();
    let source = std::thread::spawn(move || {
        (0..4).for_each(|id| assert_eq!(submit(&mut submitter, id).unwrap(), Submission::Accepted));
    });
    until(|| receiver.summary().submitted == 2);
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(receiver.summary().submitted, 2, "one in work, one waiting, and the third not yet");
    assert_eq!(receiver.summary().under_way(), 2);
    (0..4).for_each(|_| leave.send(()).unwrap());
    let mut ids = Vec::new();
    // The submitter is not closed yet: only when the source is through.
    let summary = {
        let mut receiver = receiver;
        (0..4).for_each(|_| ids.push(receiver.receive().unwrap().stamp().id));
        source.join().unwrap();
        receiver.finish(drop).unwrap()
    };
    assert_eq!(ids, [0, 1, 2, 3]);
    assert_eq!((summary.submitted, summary.delivered, summary.dropped), (4, 4, 0));
}

/// A consumer that holds its results stops the loop and nothing else: the policy says what happens to frames.
#[test]
fn a_consumer_that_stalls_is_waited_for() {
    let (mut submitter, mut receiver) = around(StagedWork::default(), options(Policy::DropOldest, 1)).split();
    let mut dropped = 0;
    let mut held = Vec::new();
    for id in 0..200 {
        if let Submission::DroppedOldest(_) = submit(&mut submitter, id).unwrap() {
            dropped += 1;
        }
        if held.len() < 2 {
            held.push(receiver.receive().unwrap());
        }
    }
    // Two are held, one more result may wait for room, one frame waits.
    assert!(dropped >= 190, "{dropped}");
    assert_eq!(receiver.summary().delivered, 2);
    drop(held);
    drop(submitter);
    let summary = receiver.finish(drop).unwrap();
    assert_eq!((summary.submitted, summary.dropped), (200, dropped));
    assert_eq!(summary.delivered, 200 - dropped);
}

#[test]
fn late_frames_are_marked_counted_and_delivered() {
    let work = StagedWork { sleep: Duration::from_millis(20), ..StagedWork::default() };
    let options = FrameLoopOptions { deadline: Some(Duration::from_millis(10)), ..Default::default() };
    let (mut submitter, mut receiver) = around(work, options).split();
    for id in 0..3 {
        submit(&mut submitter, id).unwrap();
        let frame = receiver.receive().unwrap();
        assert!(frame.missed_deadline() && frame.telemetry().total >= Duration::from_millis(20));
    }
    assert_eq!(receiver.finish(drop).unwrap().missed_deadlines, 3);
}

fn policy() -> impl Strategy<Value = Policy> {
    proptest::sample::select(Policy::ALL.to_vec())
}

/// What a consumer does with a result.
#[derive(Clone, Copy, Debug)]
enum Consumer {
    Prompt,
    Slow,
    /// Holds so many at once.
    Holding(usize),
    /// Goes away after so many.
    Leaving(usize),
}

fn consumer() -> impl Strategy<Value = Consumer> {
    prop_oneof![
        Just(Consumer::Prompt),
        Just(Consumer::Slow),
        (1..3_usize).prop_map(Consumer::Holding),
        (0..20_usize).prop_map(Consumer::Leaving),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Submitted = delivered + dropped, ids ascend, no frame comes twice, and every result is its frame's own.
    #[test]
    fn every_frame_is_accounted_for(
        policy in policy(),
        queue in 1..5_usize,
        results in 2..5_usize,
        frames in 0..120_u64,
        gap in 1..4_u64,
        slow_work in any::<bool>(),
        pause in 0..3_u64,
        consumer in consumer(),
    ) {
        let sleep = Duration::from_micros(if slow_work { 200 } else { 0 });
        let options = FrameLoopOptions { policy, queue, results, keep_picture: true, ..Default::default() };
        let (mut submitter, mut receiver) = around(StagedWork { sleep, ..StagedWork::default() }, options).split();
        let source = std::thread::spawn(move || {
            let mut dropped = BTreeSet::new();
            let mut submitted = 0;
            for id in (0..frames).map(|n| n * gap) {
                match submit(&mut submitter, id) {
                    Ok(Submission::Accepted) => {}
                    Ok(Submission::DroppedThis) => assert!(dropped.insert(id)),
                    Ok(Submission::DroppedOldest(stamp)) => assert!(dropped.insert(stamp.id)),
                    Err(_) => return (submitted, dropped, true),
                }
                submitted += 1;
                std::thread::sleep(Duration::from_micros(50 * pause));
            }
            (submitted, dropped, false)
        });
        let mut delivered = Vec::new();
        let mut held = std::collections::VecDeque::new();
        let mut summary = None;
        loop {
            if let Consumer::Leaving(after) = consumer && delivered.len() >= after {
                summary = Some(receiver.summary());
                break;
            }
            let Some(frame) = receiver.receive() else { break };
            let id = frame.stamp().id;
            prop_assert_eq!(frame.stamp(), stamp(id));
            prop_assert_eq!(frame.score()[(0, 0)], f32::from(id as u8));
            prop_assert_eq!(frame.picture().unwrap().data()[0], id as u8);
            delivered.push(id);
            match consumer {
                Consumer::Slow => std::thread::sleep(Duration::from_micros(300)),
                Consumer::Holding(most) => {
                    held.push_back(frame);
                    if held.len() > most.min(results - 1) {
                        held.pop_front();
                    }
                }
                _ => {}
            }
        }
        prop_assert!(delivered.is_sorted_by(|a, b| a < b), "{:?}", delivered);
        let left = matches!(summary, Some(ref summary) if summary.under_way() > 0) || matches!(consumer, Consumer::Leaving(_));
        if left {
            drop(receiver);
            let (submitted, dropped, _) = source.join().unwrap();
            prop_assert!(submitted <= frames && dropped.len() as u64 <= submitted);
        } else {
            let (submitted, dropped, refused) = source.join().unwrap();
            let summary = receiver.finish(drop).unwrap();
            prop_assert!(!refused);
            prop_assert_eq!(submitted, frames);
            prop_assert_eq!(
                (summary.submitted, summary.delivered, summary.dropped),
                (frames, delivered.len() as u64, dropped.len() as u64)
            );
            let all: BTreeSet<u64> = delivered.iter().copied().chain(dropped.iter().copied()).collect();
            prop_assert_eq!(all.len() as u64, frames, "no frame is both or twice");
            prop_assert!(policy != Policy::Block || dropped.is_empty());
        }
    }
}
