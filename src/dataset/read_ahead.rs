//! Reading ahead: worker threads decode the next images while the caller works on the present one.
//!
//! A network keeps its device busy only if the next picture is decoded when it asks for it. Workers take indices in order,
//! never more than `depth` ahead of the caller, so that memory stays bounded however slow the caller is; results are handed
//! over in order, so that whatever is summed up does not depend on the number of threads.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::Result;

/// Calls `read` for each of `0..count` on `threads` worker threads, and `handle` with each result on the calling thread, in
/// order. At most `depth` results are read or being read at any time besides the one that is handled.
///
/// `threads` and `depth` of 0 are taken for 1. What goes wrong with one index is best a part of `T`: then the caller decides
/// whether the others are still wanted.
///
/// # Errors
/// The first error of `handle`; then nothing more is read, and what was read ahead is dropped.
///
/// # Panics
/// When `read` panics, with its message.
pub fn read_ahead<T: Send>(
    count: usize,
    threads: usize,
    depth: usize,
    read: impl Fn(usize) -> T + Sync,
    mut handle: impl FnMut(usize, T) -> Result<()>,
) -> Result<()> {
    let queue = Queue::new(count, depth.max(1));
    std::thread::scope(|scope| {
        // Ends the workers however this closure ends: by an error and by a panic of `handle`, too.
        let _stop = Stop(&queue);
        for _ in 0..threads.max(1).min(count) {
            scope.spawn(|| {
                // A worker that panics must not leave the caller waiting; the scope passes the panic on.
                let on_panic = Stop(&queue);
                while let Some(index) = queue.take_index() {
                    queue.put(index, read(index));
                }
                std::mem::forget(on_panic);
            });
        }
        while let Some((index, value)) = queue.take_value() {
            handle(index, value)?;
        }
        Ok(())
    })
}

/// How many threads decode beside a network that keeps every core busy: half of the cores, 8 at most.
pub fn reading_threads() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (cores / 2).clamp(1, 8)
}

struct Queue<T> {
    count: usize,
    depth: usize,
    state: Mutex<State<T>>,
    /// For workers: there is room ahead, or the end has come.
    room: Condvar,
    /// For the caller: a value has arrived, or the end has come.
    arrived: Condvar,
}

struct State<T> {
    /// The index that the next worker takes.
    next: usize,
    /// Values that the caller has taken.
    taken: usize,
    values: BTreeMap<usize, T>,
    stopped: bool,
}

impl<T> Queue<T> {
    fn new(count: usize, depth: usize) -> Self {
        let state = State { next: 0, taken: 0, values: BTreeMap::new(), stopped: false };
        Self { count, depth, state: Mutex::new(state), room: Condvar::new(), arrived: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing that holds the lock can panic halfway.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_index(&self) -> Option<usize> {
        let full = |state: &mut State<T>| {
            !state.stopped && state.next < self.count && state.next >= state.taken + self.depth
        };
        let mut state = self.room.wait_while(self.lock(), full).unwrap_or_else(PoisonError::into_inner);
        if state.stopped || state.next == self.count {
            return None;
        }
        state.next += 1;
        Some(state.next - 1)
    }

    fn put(&self, index: usize, value: T) {
        self.lock().values.insert(index, value);
        self.arrived.notify_one();
    }

    /// The next value in order; `None` at the end, or when a worker has failed.
    fn take_value(&self) -> Option<(usize, T)> {
        let missing = |state: &mut State<T>| {
            !state.stopped && state.taken < self.count && !state.values.contains_key(&state.taken)
        };
        let mut state = self.arrived.wait_while(self.lock(), missing).unwrap_or_else(PoisonError::into_inner);
        let index = state.taken;
        let value = state.values.remove(&index)?;
        state.taken += 1;
        self.room.notify_one();
        Some((index, value))
    }
}

/// Stops a queue when it is dropped.
struct Stop<'a, T>(&'a Queue<T>);

impl<T> Drop for Stop<'_, T> {
    fn drop(&mut self) {
        self.0.lock().stopped = true;
        self.0.room.notify_all();
        self.0.arrived.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::read_ahead;
    use crate::Error;

    #[test]
    fn results_come_in_order_whatever_the_threads_do() {
        for (count, threads, depth) in [(0, 3, 2), (1, 4, 1), (40, 1, 1), (40, 7, 3), (40, 3, 100), (9, 0, 0)]
        {
            let mut seen = Vec::new();
            let read = |index: usize| {
                // Later indices of each group of five are ready first.
                std::thread::sleep(Duration::from_micros(300 * (5 - index as u64 % 5)));
                index * index
            };
            read_ahead(count, threads, depth, read, |index, value| {
                seen.push((index, value));
                Ok(())
            })
            .unwrap();
            assert_eq!(seen, (0..count).map(|index| (index, index * index)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn memory_is_bounded_by_the_depth() {
        struct Counted<'a>(&'a AtomicUsize);
        impl Drop for Counted<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        let (alive, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let read = |_| {
            most.fetch_max(alive.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            Counted(&alive)
        };
        read_ahead(60, 4, 3, read, |_, _value| {
            std::thread::sleep(Duration::from_micros(200));
            Ok(())
        })
        .unwrap();
        let most = most.into_inner();
        assert!((2..=4).contains(&most), "{most} alive at once for a depth of 3 and the one in work");
        assert_eq!(alive.into_inner(), 0);
    }

    #[test]
    fn reading_goes_on_while_the_caller_works() {
        let ahead = AtomicUsize::new(0);
        read_ahead(
            8,
            2,
            4,
            |_| ahead.fetch_add(1, Ordering::SeqCst),
            |index, _| {
                if index == 0 {
                    let patience = std::time::Instant::now();
                    while ahead.load(Ordering::SeqCst) < 5 && patience.elapsed() < Duration::from_secs(20) {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                    // The one in work and four more, not all.
                    assert_eq!(ahead.load(Ordering::SeqCst), 5);
                }
                Ok(())
            },
        )
        .unwrap();
    }

    #[test]
    fn an_error_ends_the_reading() {
        let reads = AtomicUsize::new(0);
        let result = read_ahead(
            1000,
            3,
            4,
            |_| reads.fetch_add(1, Ordering::SeqCst),
            |index, _| match index {
                5 => Err(Error::file("five", "is bad", "good")),
                _ => Ok(()),
            },
        );
        assert!(result.unwrap_err().to_string().starts_with("five: is bad"));
        assert!(reads.into_inner() <= 12);
    }

    #[test]
    fn a_panic_of_a_worker_or_of_the_caller_does_not_hang() {
        let worker = std::panic::catch_unwind(|| {
            let _ = read_ahead(50, 2, 2, |index| assert_ne!(index, 7), |_, ()| Ok(()));
        });
        assert!(worker.is_err());
        let caller = std::panic::catch_unwind(|| {
            let _ = read_ahead(
                50,
                2,
                2,
                |index| index,
                |index, _| {
                    assert_ne!(index, 7);
                    Ok(())
                },
            );
        });
        assert!(caller.is_err());
    }
}
