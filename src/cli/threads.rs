//! Where rayon's threads run.
//!
//! A kernel may leave two threads on one processor while another is idle: virtual machines' do for milliseconds at a time, which
//! is a whole frame. Threads that are pinned have a processor each.

use std::sync::atomic::{AtomicBool, Ordering};

use rayon::{BroadcastContext, ThreadPool};

use crate::{Error, Result};

static PINNED: AtomicBool = AtomicBool::new(false);

/// True when `--pin-threads` was given.
pub(super) fn are_pinned() -> bool {
    PINNED.load(Ordering::Relaxed)
}

/// Gives each thread of rayon's global pool a processor of those that the process may use.
///
/// # Errors
/// [`Error::InvalidParameter`] where the system cannot do it.
pub(super) fn pin() -> Result<()> {
    let refused = || Error::InvalidParameter {
        field: "--pin-threads",
        given: format!("it on {}", std::env::consts::OS),
        expected: "a system that lets a thread choose its processor",
    };
    let processors = processors().ok_or_else(refused)?;
    let done = rayon::broadcast(|thread| choose(&processors, &thread));
    if done.contains(&false) {
        return Err(refused());
    }
    PINNED.store(true, Ordering::Relaxed);
    Ok(())
}

/// Does for another pool what was done for the global one.
pub(super) fn pin_likewise(pool: &ThreadPool) {
    if let (true, Some(processors)) = (are_pinned(), processors()) {
        pool.broadcast(|thread| choose(&processors, &thread));
    }
}

fn processors() -> Option<Vec<core_affinity::CoreId>> {
    core_affinity::get_core_ids().filter(|processors| !processors.is_empty())
}

fn choose(processors: &[core_affinity::CoreId], thread: &BroadcastContext<'_>) -> bool {
    core_affinity::set_for_current(processors[thread.index() % processors.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thread_has_one_processor() {
        let Some(processors) = processors() else {
            return eprintln!("skipped: the system does not tell its processors");
        };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        assert_eq!(pool.broadcast(|thread| choose(&processors, &thread)), [true, true]);
        let chosen = pool.broadcast(|_| super::processors().unwrap());
        assert!(chosen.iter().all(|processors| processors.len() == 1), "{chosen:?}");
        assert_eq!(chosen[0] == chosen[1], processors.len() == 1);
    }
}
