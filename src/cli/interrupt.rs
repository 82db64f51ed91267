//! Ctrl-C and SIGTERM as something that a command looks at between two steps, or waits for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::{Error, Result};

/// Tells whether the program has been asked to end. The second time it ends at once.
#[derive(Clone, Copy)]
pub(super) struct Interrupt(&'static Asked);

struct Asked {
    once: AtomicBool,
    told: Mutex<()>,
    change: Condvar,
}

static ASKED: Asked = Asked { once: AtomicBool::new(false), told: Mutex::new(()), change: Condvar::new() };

/// Exit code of a program that SIGINT ends: 128 and the signal's number.
pub(super) const INTERRUPTED: u8 = 130;

impl Interrupt {
    /// From now on, Ctrl-C and SIGTERM are looked for here instead of ending the program. So is SIGHUP, unless it is ignored: under
    /// `nohup` the program outlives the terminal. (SIGINT is looked for even if it was ignored, as it is for a script's background jobs.)
    ///
    /// # Errors
    /// [`Error::Io`] where the system does not let signals be caught.
    pub(super) fn catch() -> Result<Self> {
        static CAUGHT: Mutex<bool> = Mutex::new(false);
        let mut caught = CAUGHT.lock().unwrap_or_else(PoisonError::into_inner);
        if !*caught {
            let hangup = (!hangups_are_ignored()).then_some(SIGHUP);
            let refused = |error| Error::io("Ctrl-C", "catch", error);
            let mut signals = Signals::new([SIGINT, SIGTERM].into_iter().chain(hangup)).map_err(refused)?;
            let wait = move || signals.forever().for_each(|_| ASKED.ask());
            thread::Builder::new().name("sml signals".to_owned()).spawn(wait).map_err(refused)?;
            *caught = true;
        }
        // A command that asks twice gets the same.
        Ok(Self(&ASKED))
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

impl Asked {
    fn ask(&self) {
        if self.once.swap(true, Ordering::SeqCst) {
            std::process::exit(INTERRUPTED.into());
        }
        drop(self.told.lock().unwrap_or_else(PoisonError::into_inner));
        self.change.notify_all();
    }
}

/// Whether SIGHUP is ignored, as it is under `nohup`.
fn hangups_are_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // Bit 0 is signal 1.
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 != 0)
}
