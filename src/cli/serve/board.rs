//! What the page shows: the newest picture, and the latencies of the frames before it.
//!
//! The loop and the drawing write it, connections read it. Neither waits for the other: a reader that is slow finds the newest
//! picture when it comes back, and never the ones between.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Bytes;
use serde::Serialize;
use tokio::sync::watch;

use crate::frame_loop::FramePart;

/// Frames whose latencies are kept, and that the page's chart shows.
const KEPT: usize = 240;

/// The parts of a frame's way, in the order of [`Latency::parts`].
pub(super) const PARTS: [FramePart; 8] = [
    FramePart::Queue,
    FramePart::Upload,
    FramePart::Backbone,
    FramePart::Standardize,
    FramePart::Suppress,
    FramePart::Smooth,
    FramePart::After,
    FramePart::Download,
];

/// A frame as the page shows it.
pub(super) struct Shown {
    /// The frame's number.
    pub(super) id: u64,
    /// Seconds on the source's clock.
    pub(super) timestamp: f64,
    /// Rows and columns in pixels.
    pub(super) size: (u32, u32),
    /// The overlay as JPEG.
    pub(super) jpeg: Bytes,
    /// The obstacles as a JSON array.
    pub(super) obstacles: serde_json::Value,
}

/// How long one frame took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Latency {
    /// The frame's number.
    pub(super) id: u64,
    /// Milliseconds of each of [`PARTS`].
    pub(super) parts: [f32; PARTS.len()],
    /// Milliseconds from the frame's arrival to its result.
    pub(super) total: f32,
}

/// What became of all frames.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Tally {
    /// Frames with a result.
    pub(super) delivered: u64,
    /// Frames without one: dropped by the policy, or broken.
    pub(super) left_out: u64,
    /// Frames whose result came too late.
    pub(super) missed_deadlines: u64,
}

/// What is new for one reader.
#[derive(Serialize)]
pub(super) struct Update {
    /// The newest frame; `null` before the first.
    frame: Option<FrameFacts>,
    obstacles: serde_json::Value,
    /// Names of the parts in `latencies`.
    parts: [&'static str; PARTS.len()],
    /// Frame number, milliseconds in all, and milliseconds of each part; oldest first.
    latencies: Vec<(u64, f32, [f32; PARTS.len()])>,
    frames: Tally,
    /// Whether the source has ended.
    ended: bool,
}

#[derive(Serialize)]
struct FrameFacts {
    id: u64,
    timestamp_s: f64,
    height: u32,
    width: u32,
}

#[derive(Default)]
struct State {
    shown: Option<Arc<Shown>>,
    latencies: VecDeque<Latency>,
    /// Frames whose latencies were ever put into `latencies`.
    measured: u64,
    tally: Tally,
    ended: bool,
}

/// See the module's text.
pub(super) struct Board {
    state: Mutex<State>,
    version: watch::Sender<u64>,
}

impl Board {
    pub(super) fn new() -> Self {
        Self { state: Mutex::default(), version: watch::Sender::new(0) }
    }

    /// A frame has come out of the loop.
    pub(super) fn passed(&self, latency: Latency, tally: Tally) {
        let mut state = self.state();
        if state.latencies.len() == KEPT {
            state.latencies.pop_front();
        }
        state.latencies.push_back(latency);
        state.measured += 1;
        state.tally = tally;
    }

    /// A frame has been drawn: readers are woken.
    pub(super) fn show(&self, shown: Shown) {
        self.state().shown = Some(Arc::new(shown));
        self.wake();
    }

    /// No frame will come any more: readers are woken.
    pub(super) fn end(&self, tally: Tally) {
        let mut state = self.state();
        state.tally = tally;
        state.ended = true;
        drop(state);
        self.wake();
    }

    /// The newest frame.
    pub(super) fn newest(&self) -> Option<Arc<Shown>> {
        self.state().shown.clone()
    }

    /// Tells when there is something new.
    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// What is new for a reader that has seen the latencies of the first `seen` frames; `seen` is set anew.
    pub(super) fn update(&self, seen: &mut u64) -> Update {
        let state = self.state();
        let fresh = state.measured.saturating_sub(*seen).min(state.latencies.len() as u64) as usize;
        *seen = state.measured;
        let latencies = state.latencies.range(state.latencies.len() - fresh..);
        let row = |latency: &Latency| (latency.id, latency.total, latency.parts);
        Update {
            frame: state.shown.as_deref().map(|shown| FrameFacts {
                id: shown.id,
                timestamp_s: shown.timestamp,
                height: shown.size.0,
                width: shown.size.1,
            }),
            obstacles: state
                .shown
                .as_ref()
                .map_or_else(|| serde_json::Value::Array(Vec::new()), |shown| shown.obstacles.clone()),
            parts: PARTS.map(FramePart::name),
            latencies: latencies.map(row).collect(),
            frames: state.tally,
            ended: state.ended,
        }
    }

    fn wake(&self) {
        self.version.send_modify(|version| *version += 1);
    }

    /// What is kept is whole at every moment, also after a panic elsewhere.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latency(id: u64) -> Latency {
        Latency { id, parts: [id as f32; PARTS.len()], total: 8.0 * id as f32 }
    }

    fn ids(update: &Update) -> Vec<u64> {
        update.latencies.iter().map(|row| row.0).collect()
    }

    #[test]
    fn a_reader_gets_each_latency_once_and_only_what_is_kept() {
        let board = Board::new();
        let (mut quick, mut slow) = (0, 0);
        (0..3).for_each(|id| board.passed(latency(id), Tally::default()));
        assert_eq!(ids(&board.update(&mut quick)), [0, 1, 2]);
        assert_eq!(ids(&board.update(&mut quick)), [0; 0]);
        (3..300).for_each(|id| board.passed(latency(id), Tally::default()));
        assert_eq!(ids(&board.update(&mut slow)), (60..300).collect::<Vec<_>>());
        assert_eq!(ids(&board.update(&mut quick)).len(), KEPT);
        board.passed(latency(300), Tally { delivered: 301, ..Tally::default() });
        let update = board.update(&mut quick);
        assert_eq!(update.latencies, [(300, 2400.0, [300.0; 8])]);
        assert_eq!(update.frames.delivered, 301);
    }

    #[test]
    fn readers_are_woken_and_find_the_newest_picture() {
        let board = Board::new();
        let mut reader = board.subscribe();
        assert!(board.newest().is_none() && board.update(&mut 0).frame.is_none());
        for id in 0..2 {
            let obstacles = serde_json::json!([{ "id": id }]);
            let jpeg = Bytes::from(vec![id as u8]);
            board.show(Shown { id, timestamp: 0.5, size: (2, 3), jpeg, obstacles });
        }
        assert!(reader.has_changed().unwrap());
        reader.mark_unchanged();
        let update = serde_json::to_value(board.update(&mut 0)).unwrap();
        assert_eq!(
            update["frame"],
            serde_json::json!({ "id": 1, "timestamp_s": 0.5, "height": 2, "width": 3 })
        );
        assert_eq!((&update["obstacles"][0]["id"], &update["ended"]), (&1.into(), &false.into()));
        board.end(Tally::default());
        assert!(reader.has_changed().unwrap() && board.update(&mut 0).ended);
    }
}
