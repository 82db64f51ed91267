//! Handles: names of the library's objects, as C knows them.
//!
//! A handle has the type of a pointer and is the number of a row in a table: the library never follows it. Numbers are
//! never given twice, so that a handle that was destroyed, or is of another kind, is told from a living one. No address of
//! memory is such a number: they are odd, and begin with 1.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, TryLockError};

use super::status::{
    Failure, Outcome, SML_ERROR_BUSY, SML_ERROR_INVALID_HANDLE, SML_ERROR_PANIC, SML_ERROR_UNSUPPORTED,
};

/// All objects of one kind.
pub(super) struct Handles<T> {
    /// What the kind is called in messages.
    name: &'static str,
    rows: RwLock<BTreeMap<usize, Arc<Mutex<T>>>>,
}

impl<T> Handles<T> {
    pub const fn new(name: &'static str) -> Self {
        Self { name, rows: RwLock::new(BTreeMap::new()) }
    }

    /// A handle for a new object. `H` is the opaque type that C sees.
    pub fn insert<H>(&self, object: T) -> Outcome<*mut H> {
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        let number = NEXT
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |number| number.checked_add(2))
            .map_err(|_| Failure::new(SML_ERROR_UNSUPPORTED, "no numbers are left for handles"))?;
        let mut rows = self.rows.write().unwrap_or_else(PoisonError::into_inner);
        rows.insert(number, Arc::new(Mutex::new(object)));
        Ok(std::ptr::without_provenance_mut(number))
    }

    /// The object of a handle.
    pub fn get<H>(&self, handle: *const H) -> Outcome<Arc<Mutex<T>>> {
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        rows.get(&handle.addr()).map(Arc::clone).ok_or_else(|| self.invalid(handle.addr()))
    }

    /// Takes an object away, unless a call on it is going on. NULL names nothing, and is left in peace.
    pub fn remove<H>(&self, handle: *mut H) -> Outcome {
        if handle.is_null() {
            return Ok(());
        }
        let object = self.get(handle)?;
        // Held while the row goes, so that no call begins in between. One that panicked may well be destroyed.
        let held = match object.try_lock() {
            Ok(held) => held,
            Err(TryLockError::Poisoned(held)) => held.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(self.busy()),
        };
        let row = self.rows.write().unwrap_or_else(PoisonError::into_inner).remove(&handle.addr());
        drop(held);
        // The object itself ends when this returns, and no lock of the table is held then.
        row.map(drop).ok_or_else(|| self.invalid(handle.addr()))
    }

    /// Use of an object that one thread has at a time, without waiting for another.
    pub fn lock<'a>(&self, object: &'a Mutex<T>) -> Outcome<MutexGuard<'a, T>> {
        object.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => self.busy(),
            TryLockError::Poisoned(_) => self.broken(),
        })
    }

    /// Use of an object whose calls are short: others wait.
    pub fn wait<'a>(&self, object: &'a Mutex<T>) -> Outcome<MutexGuard<'a, T>> {
        object.lock().map_err(|_| self.broken())
    }

    fn invalid(&self, number: usize) -> Failure {
        let Self { name, .. } = self;
        let message = if number == 0 {
            format!("the {name} is NULL: expected a handle that sml_{name}_ functions made")
        } else {
            format!("{number:#x} is no {name}: expected a handle that was made as one and not destroyed yet")
        };
        Failure::new(SML_ERROR_INVALID_HANDLE, message)
    }

    fn busy(&self) -> Failure {
        let message =
            format!("the {} is in use by another thread: give each thread its own, or take turns", self.name);
        Failure::new(SML_ERROR_BUSY, message)
    }

    fn broken(&self) -> Failure {
        let message = format!("an earlier call on this {} ended in a defect: destroy it", self.name);
        Failure::new(SML_ERROR_PANIC, message)
    }
}

#[cfg(test)]
mod tests {
    use super::super::status::{SML_ERROR_INVALID_HANDLE as INVALID, SML_ERROR_PANIC as PANIC};
    use super::*;

    struct Opaque;

    fn status<T>(outcome: Outcome<T>) -> i32 {
        outcome.err().map_or(0, |failure| failure.status())
    }

    #[test]
    fn only_living_handles_of_the_kind_are_taken() {
        let (words, numbers) = (Handles::new("word"), Handles::new("number"));
        let word: *mut Opaque = words.insert("a").unwrap();
        let number: *mut Opaque = numbers.insert(1).unwrap();
        assert!(word.addr() % 2 == 1 && number.addr() % 2 == 1);
        assert_eq!(*words.get(word).unwrap().lock().unwrap(), "a");
        assert_eq!(status(words.get(number)), INVALID);
        assert_eq!(status(numbers.get(word)), INVALID);
        assert_eq!(status(words.get(std::ptr::null::<Opaque>())), INVALID);
        assert_eq!(status(words.remove(std::ptr::null_mut::<Opaque>())), 0);
        assert_eq!(status(words.remove(word)), 0);
        assert_eq!(status(words.remove(word)), INVALID);
        let next: *mut Opaque = words.insert("b").unwrap();
        assert_ne!(next, word);
    }

    #[test]
    fn an_object_in_use_is_neither_shared_nor_destroyed() {
        let handles = Handles::new("word");
        let handle: *mut Opaque = handles.insert("a").unwrap();
        let object = handles.get(handle).unwrap();
        let held = handles.lock(&object).unwrap();
        assert_eq!(status(handles.lock(&object)), SML_ERROR_BUSY);
        assert_eq!(status(handles.remove(handle)), SML_ERROR_BUSY);
        drop(held);
        assert_eq!(status(handles.remove(handle)), 0);
    }

    #[test]
    fn after_a_panic_an_object_can_only_be_destroyed() {
        let handles = Handles::new("word");
        let handle: *mut Opaque = handles.insert("a").unwrap();
        let object = handles.get(handle).unwrap();
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _held = handles.lock(&object).unwrap();
            panic!("injected");
        }))
        .unwrap_err();
        assert_eq!(status(handles.lock(&object)), PANIC);
        assert_eq!(status(handles.wait(&object)), PANIC);
        assert_eq!(status(handles.remove(handle)), 0);
    }
}
