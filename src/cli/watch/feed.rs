//! The thread that reads the source and gives its frames to the loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::source::Source;
use crate::frame_loop::{FrameStamp, Submitter};
use crate::{Error, PictureView, Result};

/// The longest sleep after which it is seen that the end was asked for.
const NAP: Duration = Duration::from_millis(20);
/// How long a source that is asked to end may take. One that waits for its next byte does not hear; it ends with the program.
const PATIENCE: Duration = Duration::from_secs(1);

/// The running thread.
pub(in super::super) struct Feed {
    thread: JoinHandle<Result<u64>>,
    stop: Arc<AtomicBool>,
    stopper: Option<crate::video::Stopper>,
}

impl Feed {
    /// Begins.
    pub(in super::super) fn start(source: Source, submitter: Submitter) -> Result<Self> {
        let rate = source.rate();
        let stop = Arc::new(AtomicBool::new(false));
        let stopper = source.stopper.clone();
        let ending = Arc::clone(&stop);
        let thread = thread::Builder::new()
            .name("sml source".to_owned())
            .spawn(move || feed(source, submitter, rate, &ending))
            .map_err(|error| Error::io("the source's thread", "start", error))?;
        Ok(Self { thread, stop, stopper })
    }

    /// Asks it to end.
    pub(in super::super) fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(stopper) = &self.stopper {
            stopper.stop();
        }
    }

    /// Waits for its end, not for long where that was asked for. Tells how many broken pictures were left out.
    ///
    /// # Errors
    /// What ended the source early, unless it was asked to end.
    pub(in super::super) fn join(self) -> Result<u64> {
        let stopped = self.stop.load(Ordering::SeqCst);
        let begin = Instant::now();
        while stopped && !self.thread.is_finished() {
            if begin.elapsed() > PATIENCE {
                return Ok(0);
            }
            thread::sleep(NAP);
        }
        match self.thread.join() {
            Ok(Err(_)) if stopped => Ok(0),
            Ok(fed) => fed,
            Err(_) => Err(Error::LoopPanicked { message: "in the source of the frames".to_owned() }),
        }
    }
}

fn feed(mut source: Source, mut submitter: Submitter, rate: f64, stop: &AtomicBool) -> Result<u64> {
    let (size, format) = (source.frames.size(), source.frames.format());
    let mut pixels = vec![0; size.pixels() * format.bytes()];
    let (begin, mut broken) = (Instant::now(), 0);
    for id in 0.. {
        if let Some(pace) = source.pace {
            sleep_until(begin + seconds(id, pace), stop);
        }
        if stop.load(Ordering::SeqCst) {
            break;
        }
        match source.frames.read(&mut pixels) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) if source.skip_broken && source.frames.survives_errors() => {
                eprintln!("sml: warning: left out: {error}");
                broken += 1;
                continue;
            }
            Err(error) => return Err(error),
        }
        let timestamp = if source.live { begin.elapsed() } else { seconds(id, rate) };
        match submitter.submit(PictureView::packed(&pixels, size, format)?, FrameStamp { id, timestamp }) {
            Ok(_) => {}
            // Why, the loop tells whoever finishes it.
            Err(Error::LoopEnded { .. }) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(broken)
}

/// When frame `id` is due.
fn seconds(id: u64, rate: f64) -> Duration {
    Duration::try_from_secs_f64(id as f64 / rate).unwrap_or(Duration::MAX)
}

fn sleep_until(due: Instant, stop: &AtomicBool) {
    while !stop.load(Ordering::SeqCst) {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        thread::sleep(left.min(NAP));
    }
}
