//! Structures that may grow: each begins with its own size in the caller's eyes.
//!
//! A caller of an older header gives less than the library knows: what is missing counts as zero, so zero means "as before"
//! in every field that is added. A caller of a newer header gives more: what the library does not know must be zero, or he
//! asks for something that it cannot do.

#![allow(unsafe_code)]

use std::mem::MaybeUninit;

use super::status::{Failure, Outcome, SML_ERROR_UNSUPPORTED};

/// More than any release will need: a size above it is memory that was not set.
const MOST_BYTES: usize = 4096;

/// A structure of the header.
///
/// # Safety
/// It is `repr(C)`, its first field is `struct_size` of type `usize`, and any bytes that are initialised are a valid value of it.
pub(super) unsafe trait Versioned: Copy {
    /// Its name in the header.
    const NAME: &'static str;
    /// Its size in the first release that had it.
    const FIRST_BYTES: usize;
}

/// Reads a structure that a caller gives.
///
/// # Safety
/// `pointer` is NULL or points to a structure of the caller's, as long as its first field says.
pub(super) unsafe fn read<T: Versioned>(pointer: *const T) -> Outcome<T> {
    // SAFETY: the caller's duty.
    let given = unsafe { size_of_given(pointer) }?;
    let known = given.min(size_of::<T>());
    let mut value = MaybeUninit::<T>::zeroed();
    // SAFETY: the caller's structure is `given` bytes long and the value has room for `known`; they are apart. All of the
    // value's bytes are initialised, by zeros first, and any are valid.
    let value = unsafe {
        std::ptr::copy_nonoverlapping(pointer.cast::<u8>(), value.as_mut_ptr().cast(), known);
        value.assume_init()
    };
    for place in known..given {
        // SAFETY: within the caller's structure.
        if unsafe { pointer.cast::<u8>().add(place).read() } != 0 {
            let message = format!(
                "{} is of a newer header than this library ({}), and uses what it does not know: \
                 install the library of that header",
                T::NAME,
                env!("CARGO_PKG_VERSION")
            );
            return Err(Failure::new(SML_ERROR_UNSUPPORTED, message));
        }
    }
    Ok(value)
}

/// Fills a structure of the caller's, as far as he knows it. His size stays.
///
/// # Safety
/// As for [`read`], and the structure may be written to.
pub(super) unsafe fn write<T: Versioned>(pointer: *mut T, value: &T) -> Outcome {
    // SAFETY: the caller's duty.
    let given = unsafe { size_of_given(pointer) }?;
    let bytes = given.min(size_of::<T>()) - size_of::<usize>();
    // SAFETY: both are that long behind their first field, and apart: one is the caller's, one the library's.
    unsafe {
        let from = std::ptr::from_ref(value).cast::<u8>().add(size_of::<usize>());
        std::ptr::copy_nonoverlapping(from, pointer.cast::<u8>().add(size_of::<usize>()), bytes);
    }
    Ok(())
}

/// # Safety
/// As for [`read`].
unsafe fn size_of_given<T: Versioned>(pointer: *const T) -> Outcome<usize> {
    let name = T::NAME;
    if pointer.is_null() || !pointer.is_aligned() {
        let address = pointer.addr();
        return Err(Failure::argument(format!("{address:#x} is no {name}: expected a pointer to one")));
    }
    // SAFETY: not NULL and aligned, and at least as long as its first field by the caller's duty.
    let given = unsafe { pointer.cast::<usize>().read() };
    if (T::FIRST_BYTES..=MOST_BYTES).contains(&given) {
        return Ok(given);
    }
    let message = format!("struct_size of a {name} is {given}: expected sizeof({name}), and other fields 0");
    Err(Failure::argument(message))
}

#[cfg(test)]
mod tests {
    use super::super::status::{SML_ERROR_INVALID_ARGUMENT, SML_ERROR_UNSUPPORTED};
    use super::*;

    /// As it was, as this library knows it, and as it will be.
    #[repr(C)]
    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Thing<const LATER: usize> {
        struct_size: usize,
        old: u64,
        later: [u64; LATER],
    }

    // SAFETY: repr(C), begins with its size, numbers only.
    unsafe impl Versioned for Thing<1> {
        const NAME: &'static str = "thing";
        const FIRST_BYTES: usize = size_of::<Thing<0>>();
    }

    fn thing<const LATER: usize>(later: [u64; LATER]) -> Thing<LATER> {
        Thing { struct_size: size_of::<Thing<LATER>>(), old: 7, later }
    }

    fn read_from<const LATER: usize>(from: &Thing<LATER>) -> Outcome<Thing<1>> {
        // SAFETY: a structure that says how long it is.
        unsafe { read(std::ptr::from_ref(from).cast::<Thing<1>>()) }
    }

    fn status<T>(outcome: Outcome<T>) -> i32 {
        outcome.err().map_or(0, |failure| failure.status())
    }

    #[test]
    fn older_same_and_newer_structures_are_read() {
        assert_eq!(read_from(&thing([])).unwrap(), Thing { struct_size: 16, old: 7, later: [0] });
        assert_eq!(read_from(&thing([9])).unwrap(), thing([9]));
        assert_eq!(read_from(&thing([9, 0])).unwrap().later, [9]);
        assert_eq!(status(read_from(&thing([9, 1]))), SML_ERROR_UNSUPPORTED);
    }

    #[test]
    fn sizes_that_cannot_be_are_refused() {
        for struct_size in [0, 8, 15, 4097, usize::MAX] {
            let outcome = read_from(&Thing { struct_size, ..thing([9]) });
            assert_eq!(status(outcome), SML_ERROR_INVALID_ARGUMENT, "{struct_size}");
        }
        for address in [0, 4, 12] {
            // SAFETY: neither is followed.
            let outcome = unsafe { read(std::ptr::without_provenance::<Thing<1>>(address)) };
            assert_eq!(status(outcome), SML_ERROR_INVALID_ARGUMENT, "{address}");
        }
    }

    #[test]
    fn no_more_is_written_than_the_caller_has() {
        let (mut old, mut same, mut newer) = (thing([]), thing([1]), thing([1, 2]));
        let value = Thing { struct_size: 0, old: 5, later: [6] };
        for to in [(&raw mut old).cast(), (&raw mut same).cast(), (&raw mut newer).cast::<Thing<1>>()] {
            // SAFETY: a structure that says how long it is.
            unsafe { write(to, &value) }.unwrap();
        }
        assert_eq!(old, Thing { old: 5, ..thing([]) });
        assert_eq!(same, Thing { old: 5, ..thing([6]) });
        assert_eq!(newer, Thing { old: 5, ..thing([6, 2]) });
    }
}
