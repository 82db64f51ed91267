//! A place for one thing, where the newest wins: between a loop that must not wait and a drawing that takes its time.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// See the module's text.
pub(super) struct Newest<T> {
    place: Mutex<Place<T>>,
    changed: Condvar,
}

struct Place<T> {
    thing: Option<T>,
    closed: bool,
}

impl<T> Newest<T> {
    pub(super) fn new() -> Self {
        Self { place: Mutex::new(Place { thing: None, closed: false }), changed: Condvar::new() }
    }

    /// Puts a thing there. What nobody has taken is dropped.
    pub(super) fn put(&self, thing: T) {
        let before = self.place().thing.replace(thing);
        self.changed.notify_one();
        drop(before);
    }

    /// Waits for a thing; `None` when all are taken and none will come.
    pub(super) fn take(&self) -> Option<T> {
        let mut place = self.place();
        while place.thing.is_none() && !place.closed {
            place = self.changed.wait(place).unwrap_or_else(PoisonError::into_inner);
        }
        place.thing.take()
    }

    /// Nothing will be put there any more.
    pub(super) fn close(&self) {
        self.place().closed = true;
        self.changed.notify_all();
    }

    fn place(&self) -> MutexGuard<'_, Place<T>> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_wins_and_the_last_is_never_lost() {
        let newest = Newest::new();
        std::thread::scope(|scope| {
            let taken = scope.spawn(|| std::iter::from_fn(|| newest.take()).collect::<Vec<u32>>());
            (0..1000).for_each(|thing| newest.put(thing));
            newest.close();
            let taken = taken.join().unwrap();
            assert!(taken.is_sorted() && taken.last() == Some(&999), "{taken:?}");
        });
        assert_eq!(newest.take(), None);
    }
}
