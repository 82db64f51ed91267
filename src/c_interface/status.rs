//! Status codes, and the message of a thread's latest failure.

#![allow(unsafe_code, reason = "a name without mangling counts as such")]

use std::any::Any;
use std::cell::RefCell;
use std::ffi::{CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::Error;

/// What a function came to: SML_OK, or one of the SML_ERROR_ codes. Codes keep their numbers; later releases may add some.
pub type sml_status = i32;

/// All went well.
pub const SML_OK: sml_status = 0;
/// An argument is NULL, not aligned, not UTF-8, not a known constant, or overlaps another.
pub const SML_ERROR_INVALID_ARGUMENT: sml_status = 1;
/// A handle is NULL, of another kind, or was destroyed.
pub const SML_ERROR_INVALID_HANDLE: sml_status = 2;
/// Another thread is in a call on the same engine. Nothing was done.
pub const SML_ERROR_BUSY: sml_status = 3;
/// A parameter of the method is out of its range.
pub const SML_ERROR_INVALID_PARAMETER: sml_status = 4;
/// Logits, outputs and engine do not fit each other.
pub const SML_ERROR_SHAPE: sml_status = 5;
/// Class statistics are missing, contradict themselves or do not fit the logits.
pub const SML_ERROR_STATISTICS: sml_status = 6;
/// The operating system refused to read a file.
pub const SML_ERROR_IO: sml_status = 7;
/// A file does not hold what it should.
pub const SML_ERROR_FILE: sml_status = 8;
/// The device cannot be used, or is not the one that the engine runs on.
pub const SML_ERROR_DEVICE: sml_status = 9;
/// The CUDA driver or its compiler refused something.
pub const SML_ERROR_CUDA: sml_status = 10;
/// The GPU has not enough free memory.
pub const SML_ERROR_DEVICE_MEMORY: sml_status = 11;
/// Work on the GPU failed earlier: nothing of this process on that GPU can be used any more.
pub const SML_ERROR_POISONED: sml_status = 12;
/// This library was built without the feature, or is older than the header that the program was compiled with.
pub const SML_ERROR_UNSUPPORTED: sml_status = 13;
/// There is nothing to tell yet: stages that were not timed.
pub const SML_ERROR_NOT_MEASURED: sml_status = 14;
/// A defect of this library, caught. The handle that was in use can only be destroyed.
pub const SML_ERROR_PANIC: sml_status = 15;

thread_local! {
    static MESSAGE: RefCell<CString> = RefCell::default();
}

/// Text of the latest failure on the calling thread, one line of UTF-8: what was given, what was expected, what to do. Empty
/// before the first one, never NULL. Calls that succeed leave it alone. The text is valid until the next failure on this
/// thread, or the end of the thread.
#[unsafe(no_mangle)]
pub extern "C" fn sml_last_error_message() -> *const c_char {
    MESSAGE.try_with(|message| message.borrow().as_ptr()).unwrap_or(c"".as_ptr())
}

/// Name of a status, such as "SML_ERROR_SHAPE"; "unknown status" for other numbers. The text is constant.
#[unsafe(no_mangle)]
pub extern "C" fn sml_status_name(status: sml_status) -> *const c_char {
    let name = match status {
        SML_OK => c"SML_OK",
        SML_ERROR_INVALID_ARGUMENT => c"SML_ERROR_INVALID_ARGUMENT",
        SML_ERROR_INVALID_HANDLE => c"SML_ERROR_INVALID_HANDLE",
        SML_ERROR_BUSY => c"SML_ERROR_BUSY",
        SML_ERROR_INVALID_PARAMETER => c"SML_ERROR_INVALID_PARAMETER",
        SML_ERROR_SHAPE => c"SML_ERROR_SHAPE",
        SML_ERROR_STATISTICS => c"SML_ERROR_STATISTICS",
        SML_ERROR_IO => c"SML_ERROR_IO",
        SML_ERROR_FILE => c"SML_ERROR_FILE",
        SML_ERROR_DEVICE => c"SML_ERROR_DEVICE",
        SML_ERROR_CUDA => c"SML_ERROR_CUDA",
        SML_ERROR_DEVICE_MEMORY => c"SML_ERROR_DEVICE_MEMORY",
        SML_ERROR_POISONED => c"SML_ERROR_POISONED",
        SML_ERROR_UNSUPPORTED => c"SML_ERROR_UNSUPPORTED",
        SML_ERROR_NOT_MEASURED => c"SML_ERROR_NOT_MEASURED",
        SML_ERROR_PANIC => c"SML_ERROR_PANIC",
        _ => c"unknown status",
    };
    name.as_ptr()
}

/// Why a call failed.
#[derive(Debug)]
pub(super) struct Failure {
    status: sml_status,
    message: String,
}

pub(super) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    pub fn new(status: sml_status, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    /// An argument that the caller must not give.
    pub fn argument(message: impl Into<String>) -> Self {
        Self::new(SML_ERROR_INVALID_ARGUMENT, message)
    }

    #[cfg(test)]
    pub fn status(&self) -> sml_status {
        self.status
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let status = match &error {
            Error::InvalidParameter { .. } => SML_ERROR_INVALID_PARAMETER,
            Error::Shape { .. } => SML_ERROR_SHAPE,
            Error::StatisticsNeeded { .. }
            | Error::InvalidStatistics { .. }
            | Error::ClassesWithoutStatistics { .. } => SML_ERROR_STATISTICS,
            Error::Io { .. } => SML_ERROR_IO,
            Error::File { .. } => SML_ERROR_FILE,
            Error::Device { .. } => SML_ERROR_DEVICE,
            Error::Cuda { .. } => SML_ERROR_CUDA,
            Error::DeviceMemory { .. } => SML_ERROR_DEVICE_MEMORY,
            Error::Poisoned { .. } => SML_ERROR_POISONED,
            // Of parts of the library that no function of the header calls.
            _ => SML_ERROR_UNSUPPORTED,
        };
        Self::new(status, error.to_string())
    }
}

/// Runs the body of a function of the header. No panic leaves it.
pub(super) fn guard(call: impl FnOnce() -> Outcome) -> sml_status {
    // A handle that was in use is left poisoned by its lock, and everything else is the caller's: nothing half-done is seen.
    let failure = match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(())) => return SML_OK,
        Ok(Err(failure)) => failure,
        Err(payload) => {
            let message = format!("a defect of the library, caught: {}", words(&*payload));
            // Dropping what a panic carries could panic again.
            std::mem::forget(payload);
            Failure::new(SML_ERROR_PANIC, message)
        }
    };
    remember(&failure.message);
    failure.status
}

fn words(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("a panic without words")
}

fn remember(message: &str) {
    // Text of C ends at its first NUL.
    let message = CString::new(message.replace('\0', " ")).unwrap_or_default();
    // At the end of a thread there is nobody left to tell.
    let _ = MESSAGE.try_with(|latest| latest.replace(message));
}

#[cfg(test)]
mod tests {
    use std::ffi::CStr;

    use super::*;

    /// As a caller reads it.
    fn message() -> String {
        // SAFETY: the text is valid until the next failure on this thread, and copied before.
        #[allow(unsafe_code)]
        unsafe { CStr::from_ptr(sml_last_error_message()) }.to_str().unwrap().to_owned()
    }

    #[test]
    fn a_panic_is_a_status_with_its_words() {
        extern "C" fn panicking(how: i32) -> sml_status {
            guard(|| match how {
                0 => panic!("injected"),
                1 => panic!("injected {how}"),
                _ => std::panic::panic_any(how),
            })
        }
        for (how, words) in [(0, "injected"), (1, "injected 1"), (2, "a panic without words")] {
            assert_eq!(panicking(how), SML_ERROR_PANIC);
            assert!(message().ends_with(words), "{}", message());
        }
    }

    #[test]
    fn what_a_panic_carries_is_not_dropped() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("dropped");
            }
        }
        assert_eq!(guard(|| std::panic::panic_any(Bomb)), SML_ERROR_PANIC);
    }

    #[test]
    fn messages_are_of_their_thread_and_outlive_success() {
        assert_eq!(std::thread::spawn(message).join().unwrap(), "");
        assert_eq!(guard(|| Err(Failure::argument("one\0two"))), SML_ERROR_INVALID_ARGUMENT);
        assert_eq!(guard(|| Ok(())), SML_OK);
        assert_eq!(message(), "one two");
        assert_eq!(std::thread::spawn(message).join().unwrap(), "");
    }
}
