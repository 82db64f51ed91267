//! Ctrl-C and SIGTERM as something that a command looks at between two steps, or waits for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crate::{Error, Result};

/// Tells whether the program has been asked to end. The second time it ends at once.
#[derive(Clone, Copy)]
pub(super) struct Interrupt(&'static Asked);

#[derive(Default)]
struct Asked {
    once: AtomicBool,
    told: Mutex<()>,
    change: Condvar,
}

/// Exit code of a program that SIGINT ends: 128 and the signal's number.
pub(super) const INTERRUPTED: u8 = 130;

impl Interrupt {
    /// From now on, Ctrl-C and SIGTERM (and SIGHUP) are looked for here instead of ending the program.
    ///
    /// # Errors
    /// [`Error::Io`] where the system does not let signals be caught.
    pub(super) fn catch() -> Result<Self> {
        static ASKED: OnceLock<Asked> = OnceLock::new();
        let asked = ASKED.get_or_init(Asked::default);
        let handler = move || {
            if asked.once.swap(true, Ordering::SeqCst) {
                std::process::exit(INTERRUPTED.into());
            }
            drop(asked.told.lock().unwrap_or_else(PoisonError::into_inner));
            asked.change.notify_all();
        };
        // A script's background jobs come with SIGINT ignored; `try_set_handler` would leave SIGTERM alone for that, too.
        let caught = match hangups_are_ignored() {
            true => ctrlc::try_set_handler(handler),
            false => ctrlc::set_handler(handler),
        };
        match caught {
            // A command that asks twice gets the same.
            Ok(()) | Err(ctrlc::Error::MultipleHandlers) => Ok(Self(asked)),
            Err(ctrlc::Error::System(source)) => Err(Error::io("Ctrl-C", "catch", source)),
            Err(error) => Err(Error::io("Ctrl-C", "catch", std::io::Error::other(error.to_string()))),
        }
    }

    /// Whether the program has been asked to end.
    pub(super) fn requested(self) -> bool {
        self.0.once.load(Ordering::SeqCst)
    }

    /// Ends work that has been asked to end: an error with what is `kept` of it, and how to go on.
    ///
    /// # Errors
    /// [`Error::Interrupted`] when the program has been asked to end.
    pub(super) fn check(self, kept: impl FnOnce() -> String) -> Result<()> {
        if self.requested() { Err(Error::Interrupted { kept: kept() }) } else { Ok(()) }
    }

    /// Waits until the program is asked to end, `most` at the longest. Tells whether it was.
    pub(super) fn wait(self, most: Duration) -> bool {
        let told = self.0.told.lock().unwrap_or_else(PoisonError::into_inner);
        let _told = self.0.change.wait_timeout_while(told, most, |()| !self.requested());
        self.requested()
    }
}

/// Whether the program runs under `nohup`, which is to survive the end of the terminal: then no signal is caught, since SIGHUP
/// would be, too.
fn hangups_are_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // Bit 0 is signal 1.
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 != 0)
}
