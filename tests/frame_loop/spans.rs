//! A frame's way as `tracing` sees it: spans on the threads that do the work, events with the times.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sml::frame_loop::FrameLoopOptions;
use sml::obstacles::ObstacleParams;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::staged_work::{Fault, StagedWork, around, submit};

/// Ids of this test's frames: other tests run in the same process.
const FIRST: u64 = 7_000_000_000;

/// What happened: name of the span or message of the event, id of the frame, name of the thread.
static SEEN: Mutex<Vec<(String, u64, String)>> = Mutex::new(Vec::new());

struct Notes;

#[derive(Default)]
struct Fields {
    id: Option<u64>,
    message: String,
    all: String,
}

impl Visit for Fields {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "id" {
            self.id = Some(value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        }
        self.all += &format!("{}={value:?} ", field.name());
    }
}

fn note(name: String, fields: &Fields) {
    if let Some(id) = fields.id.filter(|id| *id >= FIRST) {
        let thread = std::thread::current().name().unwrap_or_default().to_owned();
        SEEN.lock().unwrap().push((name, id, thread));
    }
}

impl Subscriber for Notes {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("sml::frame_loop")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        static SPANS: AtomicU64 = AtomicU64::new(1);
        let mut fields = Fields::default();
        span.record(&mut fields);
        note(span.metadata().name().to_owned(), &fields);
        Id::from_u64(SPANS.fetch_add(1, Ordering::Relaxed))
    }

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        assert!(!fields.message.contains("is ready") || fields.all.contains("standardize"), "{}", fields.all);
        note(fields.message.clone(), &fields);
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[test]
fn a_frame_leaves_spans_and_events() {
    tracing::subscriber::set_global_default(Notes).unwrap();
    let work = StagedWork {
        sleep: Duration::from_millis(2),
        fault: Some((2, Fault::Fail)),
        ..StagedWork::default()
    };
    let options = FrameLoopOptions {
        deadline: Some(Duration::from_millis(1)),
        obstacles: Some(ObstacleParams::above(1e9)),
        ..FrameLoopOptions::default()
    };
    let (mut submitter, mut receiver) = around(work, options).split();
    // The lowest byte of the first is 0: the third fails.
    let first = FIRST.next_multiple_of(256);
    for id in first..first + 2 {
        submit(&mut submitter, id).unwrap();
        receiver.receive().unwrap();
    }
    submit(&mut submitter, first + 2).unwrap();
    assert!(receiver.receive().is_none());
    let seen = SEEN.lock().unwrap().clone();
    let here = std::thread::current().name().unwrap().to_owned();
    for id in [first, first + 1] {
        for (name, thread) in [
            ("submit", here.as_str()),
            ("frame", "sml frames"),
            ("after", "sml after"),
            ("frame is ready", "sml after"),
            ("frame missed its deadline", "sml after"),
        ] {
            let expected = (name.to_owned(), id, thread.to_owned());
            let times = seen.iter().filter(|one| **one == expected).count();
            assert_eq!(times, 1, "{expected:?} in {seen:?}");
        }
    }
    assert!(!seen.iter().any(|(name, id, _)| *id == first + 2 && name == "frame is ready"));
}
