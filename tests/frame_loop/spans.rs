//! A frame's way as `tracing` sees it: spans on the threads that do the work, events with the times.

use std::cell::RefCell;
use std::sync::Mutex;
use std::time::Duration;

use sml::frame_loop::{FrameLoop, FrameLoopOptions, FrameStamp};
use sml::obstacles::ObstacleParams;
use sml::{
    Capacity, ClassStatistics, Device, ElementType, Engine, Layout, Logits, LogitsShape, Params, Size,
    TemporalSmoothing,
};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use tracing_core::span::Current;

use crate::staged_work::{Fault, StagedWork, around, submit};

/// Ids of this test's frames: other tests run in the same process.
const FIRST: u64 = 7_000_000_000;

/// What happened: name of the span (behind those that it lies in) or message of the event, id of the frame, name of the thread.
static SEEN: Mutex<Vec<(String, u64, String)>> = Mutex::new(Vec::new());

/// All spans so far: what they are, their names behind those that they lie in, and their frames' ids.
static SPANS: Mutex<Vec<(&'static Metadata<'static>, String, Option<u64>)>> = Mutex::new(Vec::new());

thread_local! {
    /// Numbers of the spans that the thread is in.
    static ENTERED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

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
        self.all += &format!("{}={value} ", field.name());
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
        metadata.target().starts_with("sml::")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut fields = Fields::default();
        span.record(&mut fields);
        let entered = ENTERED.with_borrow(|entered| entered.last().copied());
        let parent = span.parent().map(Id::into_u64).or(entered.filter(|_| span.is_contextual()));
        let mut spans = SPANS.lock().unwrap();
        let mut name = span.metadata().name().to_owned();
        if let Some((_, outer, id)) = parent.map(|parent| &spans[parent as usize - 1]) {
            name = format!("{outer}:{name}");
            fields.id = fields.id.or(*id);
        }
        note(name.clone(), &fields);
        spans.push((span.metadata(), name, fields.id));
        Id::from_u64(spans.len() as u64)
    }

    fn current_span(&self) -> Current {
        match ENTERED.with_borrow(|entered| entered.last().copied()) {
            Some(number) => Current::new(Id::from_u64(number), SPANS.lock().unwrap()[number as usize - 1].0),
            None => Current::none(),
        }
    }

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        for part in ["queue_us=", "standardize_us=", "total_us="] {
            assert!(!fields.message.contains("is ready") || fields.all.contains(part), "{}", fields.all);
        }
        note(fields.message.clone(), &fields);
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, span: &Id) {
        ENTERED.with_borrow_mut(|entered| entered.push(span.into_u64()));
    }

    fn exit(&self, span: &Id) {
        ENTERED.with_borrow_mut(|entered| assert_eq!(entered.pop(), Some(span.into_u64())));
    }
}

/// A frame through a bare engine, whose stages are a span within the frame's, on whatever thread.
fn engine_stages(id: u64) {
    let statistics = ClassStatistics::from_json(r#"{"mean": [5.0, 6.0], "variance": [1.0, 4.0]}"#).unwrap();
    let (shape, size) = (LogitsShape::new(1, 2, 12, 16).unwrap(), Size::new(24, 32));
    let capacity = Capacity::of(shape, size);
    let engine = Engine::new(Device::Cpu, Params::default(), Some(&statistics), capacity).unwrap();
    let smoothing = TemporalSmoothing { weight: 0.5, ..TemporalSmoothing::default() };
    let options = FrameLoopOptions { temporal_smoothing: Some(smoothing), ..FrameLoopOptions::default() };
    let form = (shape, ElementType::F32, Layout::Nchw);
    let mut frame_loop = FrameLoop::around_engine(engine, form, size, options).unwrap();
    let logits: Vec<f32> = (0..shape.elements()).map(|n| (n % 11) as f32).collect();
    let logits = Logits::packed(&logits[..], shape, Layout::Nchw).unwrap();
    frame_loop.submit(logits, FrameStamp { id, ..FrameStamp::default() }).unwrap();
    frame_loop.receive().unwrap();
    assert_seen(id, "frame:stages", None);
    assert_seen(id, "after:temporal_smoothing", Some("sml after"));
}

/// A frame through the bundled network, whose parts are.
#[cfg(feature = "torch")]
fn network_parts(id: u64) {
    use sml::torch::{Pipeline, PipelineOptions};
    let network = sml::demo::backbone(tch::Device::Cpu).unwrap();
    let statistics = ClassStatistics::from_json(sml::demo::STATISTICS).unwrap();
    let options = PipelineOptions::default();
    let pipeline = Pipeline::new(Box::new(network), Params::default(), Some(statistics), options).unwrap();
    let size = Size::new(40, 64);
    let form = (size, sml::PixelFormat::Rgb8);
    let mut frame_loop = FrameLoop::around_pipeline(pipeline, form, FrameLoopOptions::default()).unwrap();
    let bytes = vec![90; 3 * size.pixels()];
    let picture = sml::PictureView::packed(&bytes, size, sml::PixelFormat::Rgb8).unwrap();
    frame_loop.submit(picture, FrameStamp { id, ..FrameStamp::default() }).unwrap();
    frame_loop.receive().unwrap();
    assert_seen(id, "frame:preprocess", Some("sml frames"));
    assert_seen(id, "frame:backbone", Some("sml frames"));
    assert_seen(id, "frame:stages", None);
}

/// That just once, on the thread of that name where one is named.
#[track_caller]
fn assert_seen(id: u64, name: &str, thread: Option<&str>) {
    let seen = SEEN.lock().unwrap();
    let of_frame: Vec<_> = seen.iter().filter(|one| one.1 == id).collect();
    let like = |one: &&&(String, u64, String)| one.0 == name && thread.is_none_or(|thread| one.2 == thread);
    assert_eq!(of_frame.iter().filter(like).count(), 1, "{name} on {thread:?} in {of_frame:?}");
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
    let here = std::thread::current().name().unwrap().to_owned();
    for id in [first, first + 1] {
        for (name, thread) in [
            ("submit", here.as_str()),
            ("submit:room", here.as_str()),
            ("submit:copy", here.as_str()),
            ("frame", "sml frames"),
            ("after", "sml after"),
            ("after:obstacles", "sml after"),
            ("frame is ready", "sml after"),
            ("frame missed its deadline", "sml after"),
        ] {
            assert_seen(id, name, Some(thread));
        }
    }
    let seen = SEEN.lock().unwrap().clone();
    assert!(!seen.iter().any(|(name, id, _)| *id == first + 2 && name == "frame is ready"));
    engine_stages(first + 10);
    #[cfg(feature = "torch")]
    network_parts(first + 11);
}
