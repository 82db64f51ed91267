//! Memory asked for before it is needed.
//!
//! A processor follows a few streams of memory by itself, but loses them at every page of 4 KiB, and a run of logits is as many
//! streams as classes pass at once. So the loops over runs ask for what they will read a little later; and for what they will write, since
//! a store to memory that no cache holds waits for it, too.

/// Bytes between what is read and what is asked for. benches/NOTES.md has what other distances take.
const AHEAD: usize = 1536;

/// The same for a single stream.
const FAR_AHEAD: usize = 8192;

/// Bytes that arrive together.
const LINE: usize = 64;

/// Asks for what lies [`AHEAD`] of the element `at` of a run, in the run or beyond its end.
#[inline(always)]
pub(super) fn ahead<T>(run: &[T], at: usize) {
    ask(run.as_ptr().wrapping_add(at + AHEAD / size_of::<T>()));
}

/// As [`ahead`], for all of the run: of a single stream that is left alone now and then, while what was read is worked on.
#[inline(always)]
pub(super) fn far_ahead<T>(run: &[T]) {
    behind(run, FAR_AHEAD / size_of::<T>());
}

/// Asks for as much memory as the run has, so many elements behind its beginning.
#[inline(always)]
pub(crate) fn behind<T>(run: &[T], elements: usize) {
    let start = run.as_ptr().wrapping_add(elements);
    for at in (0..run.len()).step_by(LINE / size_of::<T>()) {
        ask(start.wrapping_add(at));
    }
}

/// It is a hint: any address will do.
#[inline(always)]
fn ask<T>(address: *const T) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    if let Some(sse) = pulp::core_arch::x86::Sse::try_new() {
        const INTO_ALL_CACHES: i32 = std::arch::x86_64::_MM_HINT_T0;
        sse._mm_prefetch::<INTO_ALL_CACHES>(address.cast());
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = address;
}
