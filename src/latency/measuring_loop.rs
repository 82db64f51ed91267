//! The loop around what is measured.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::Samples;
use crate::Result;

/// When a loop ends of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// After so many frames.
    Frames(u64),
    /// With the first frame that ends after this time.
    Duration(Duration),
}

impl Limit {
    /// Frames, where their number is known beforehand.
    pub fn frames(self) -> Option<u64> {
        match self {
            Self::Frames(frames) => Some(frames),
            Self::Duration(_) => None,
        }
    }

    fn is_reached(self, frames: u64, start: Instant) -> bool {
        match self {
            Self::Frames(most) => frames >= most,
            Self::Duration(longest) => start.elapsed() >= longest,
        }
    }
}

/// What a loop and the world around it tell each other.
#[derive(Debug, Default)]
pub struct Signals {
    stop: AtomicBool,
    frames: AtomicU64,
}

impl Signals {
    /// For a `static`.
    pub const fn new() -> Self {
        Self { stop: AtomicBool::new(false), frames: AtomicU64::new(0) }
    }

    /// Ends every loop after the frame at hand.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Whether loops were told to end.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Frames that all loops have measured.
    pub fn frames(&self) -> u64 {
        self.frames.load(Ordering::Relaxed)
    }
}

/// Measures frame after frame until the limit is reached or `signals` say stop, and tells the time that passed. `frame` is given
/// the number of the frame and writes one time for each of `samples` into `times`, which is as long. Allocates nothing itself.
///
/// # Errors
/// Those of `frame`; what was measured before stays in `samples`.
pub fn measure(
    limit: Limit,
    signals: &Signals,
    samples: &mut [Samples],
    times: &mut [Duration],
    mut frame: impl FnMut(u64, &mut [Duration]) -> Result<()>,
) -> Result<Duration> {
    let start = Instant::now();
    let mut number = 0;
    while !signals.is_stopped() && !limit.is_reached(number, start) {
        frame(number, times)?;
        samples.iter_mut().zip(&*times).for_each(|(samples, time)| samples.add(*time));
        number += 1;
        signals.frames.fetch_add(1, Ordering::Relaxed);
    }
    Ok(start.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    fn room() -> ([Samples; 2], [Duration; 2]) {
        ([(); 2].map(|()| Samples::with_room_for(None).unwrap()), [Duration::ZERO; 2])
    }

    fn write(number: u64, times: &mut [Duration]) {
        times.copy_from_slice(&[Duration::from_micros(number), Duration::from_micros(2 * number)]);
    }

    #[test]
    fn as_many_frames_as_were_asked_for() {
        let (mut samples, mut times) = room();
        let signals = Signals::new();
        let measured = measure(Limit::Frames(5), &signals, &mut samples, &mut times, |number, times| {
            write(number, times);
            Ok(())
        });
        assert!(measured.is_ok());
        assert_eq!(samples[0].kept(), [0.0, 1.0, 2.0, 3.0, 4.0]);
        assert_eq!(samples[1].kept(), [0.0, 2.0, 4.0, 6.0, 8.0]);
        assert_eq!(signals.frames(), 5);
    }

    #[test]
    fn a_duration_is_the_least_time_that_passes() {
        let (mut samples, mut times) = room();
        let limit = Limit::Duration(Duration::from_millis(20));
        let nap = |_, _: &mut [Duration]| {
            std::thread::sleep(Duration::from_millis(1));
            Ok(())
        };
        let passed = measure(limit, &Signals::new(), &mut samples, &mut times, nap).unwrap();
        assert!(passed >= Duration::from_millis(20));
        assert!((1..=20).contains(&samples[0].count()), "{}", samples[0].count());
    }

    #[test]
    fn stop_ends_the_loop_after_the_frame_at_hand_and_keeps_it() {
        let (mut samples, mut times) = room();
        let signals = Signals::new();
        let stop_at_3 = |number, _: &mut [Duration]| {
            if number == 3 {
                signals.stop();
            }
            Ok(())
        };
        measure(Limit::Frames(100), &signals, &mut samples, &mut times, stop_at_3).unwrap();
        assert_eq!((samples[0].count(), signals.frames()), (4, 4));
    }

    #[test]
    fn a_failing_frame_ends_it_and_leaves_the_earlier_ones() {
        let (mut samples, mut times) = room();
        let fail_at_2 = |number, _: &mut [Duration]| match number {
            2 => Err(Error::StatisticsNeeded { score: "sml".to_owned() }),
            _ => Ok(()),
        };
        assert!(measure(Limit::Frames(9), &Signals::new(), &mut samples, &mut times, fail_at_2).is_err());
        assert_eq!(samples[1].count(), 2);
    }
}
