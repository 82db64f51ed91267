//! The loop around what is measured.

use std::sync::atomic::{AtomicU64, Ordering};
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

/// Measures frame after frame until the limit is reached or `stop` says so, and tells the time that passed. `frame` is given the
/// number of the frame and writes one time for each of `samples` into `times`, which is as long; `measured` counts up with each.
/// Allocates nothing itself.
///
/// # Errors
/// Those of `frame`; what was measured before stays in `samples`.
pub fn measure(
    limit: Limit,
    stop: impl Fn() -> bool,
    measured: &AtomicU64,
    samples: &mut [Samples],
    times: &mut [Duration],
    mut frame: impl FnMut(u64, &mut [Duration]) -> Result<()>,
) -> Result<Duration> {
    let start = Instant::now();
    let mut number = 0;
    while !stop() && !limit.is_reached(number, start) {
        frame(number, times)?;
        samples.iter_mut().zip(&*times).for_each(|(samples, time)| samples.add(*time));
        number += 1;
        measured.fetch_add(1, Ordering::Relaxed);
    }
    Ok(start.elapsed())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::Error;

    /// Measures into two rows of samples.
    fn two(
        limit: Limit,
        stop: impl Fn() -> bool,
        frame: impl FnMut(u64, &mut [Duration]) -> Result<()>,
    ) -> (Result<Duration>, [Samples; 2], u64) {
        let mut samples = [(); 2].map(|()| Samples::with_room_for(None).unwrap());
        let measured = AtomicU64::new(0);
        let ended = measure(limit, stop, &measured, &mut samples, &mut [Duration::ZERO; 2], frame);
        (ended, samples, measured.into_inner())
    }

    #[test]
    fn as_many_frames_as_were_asked_for() {
        let (ended, samples, measured) = two(
            Limit::Frames(5),
            || false,
            |number, times| {
                times.copy_from_slice(&[Duration::from_micros(number), Duration::from_micros(2 * number)]);
                Ok(())
            },
        );
        assert!(ended.is_ok());
        assert_eq!(samples[0].kept(), [0.0, 1.0, 2.0, 3.0, 4.0]);
        assert_eq!(samples[1].kept(), [0.0, 2.0, 4.0, 6.0, 8.0]);
        assert_eq!(measured, 5);
    }

    #[test]
    fn a_duration_is_the_least_time_that_passes() {
        let limit = Limit::Duration(Duration::from_millis(20));
        let (ended, samples, _) = two(
            limit,
            || false,
            |_, _| {
                std::thread::sleep(Duration::from_millis(1));
                Ok(())
            },
        );
        assert!(ended.unwrap() >= Duration::from_millis(20));
        assert!((1..=20).contains(&samples[0].count()), "{}", samples[0].count());
    }

    #[test]
    fn stop_ends_the_loop_after_the_frame_at_hand_and_keeps_it() {
        let stop = Cell::new(false);
        let (ended, samples, measured) = two(
            Limit::Frames(100),
            || stop.get(),
            |number, _| {
                stop.set(number == 3);
                Ok(())
            },
        );
        assert!(ended.is_ok());
        assert_eq!((samples[0].count(), measured), (4, 4));
    }

    #[test]
    fn a_failing_frame_ends_it_and_leaves_the_earlier_ones() {
        let (ended, samples, measured) = two(
            Limit::Frames(9),
            || false,
            |number, _| match number {
                2 => Err(Error::StatisticsNeeded { score: "sml".to_owned() }),
                _ => Ok(()),
            },
        );
        assert!(ended.is_err());
        assert_eq!((samples[1].count(), measured), (2, 2));
    }
}
