//! Arguments as C gives them: text, numbers behind a pointer, and places for what a function makes.

#![allow(unsafe_code)]

use std::ffi::{CStr, OsStr, c_char};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::status::{Failure, Outcome};

/// Text up to its NUL.
///
/// # Safety
/// `pointer` is NULL, or text that ends with a NUL and lives as long as `'a`.
unsafe fn bytes<'a>(pointer: *const c_char, name: &str) -> Outcome<&'a CStr> {
    if pointer.is_null() {
        return Err(Failure::argument(format!("{name} is NULL: expected text")));
    }
    // SAFETY: not NULL; the rest is the caller's duty.
    Ok(unsafe { CStr::from_ptr(pointer) })
}

/// UTF-8 text.
///
/// # Safety
/// As for [`bytes`].
pub(super) unsafe fn text<'a>(pointer: *const c_char, name: &str) -> Outcome<&'a str> {
    // SAFETY: the caller's duty.
    let text = unsafe { bytes(pointer, name) }?;
    text.to_str().map_err(|error| Failure::argument(format!("{name} is not UTF-8: {error}")))
}

/// The path of a file: whatever bytes the system takes.
///
/// # Safety
/// As for [`bytes`].
pub(super) unsafe fn path<'a>(pointer: *const c_char, name: &str) -> Outcome<&'a Path> {
    // SAFETY: the caller's duty.
    let path = unsafe { bytes(pointer, name) }?;
    Ok(Path::new(OsStr::from_bytes(path.to_bytes())))
}

/// Refuses an address that cannot be one of `T`.
pub(super) fn check_address<T>(pointer: *const T, name: &str) -> Outcome {
    if pointer.is_null() || !pointer.is_aligned() {
        let expected = format!("an address that is a multiple of {}", align_of::<T>());
        return Err(Failure::argument(format!("{name} is {:#x}: expected {expected}", pointer.addr())));
    }
    Ok(())
}

/// `length` elements to read.
///
/// # Safety
/// `pointer` is NULL, not aligned, or points to `length` elements, which nobody writes to during `'a`.
pub(super) unsafe fn slice<'a, T>(pointer: *const T, length: usize, name: &str) -> Outcome<&'a [T]> {
    check_address(pointer, name)?;
    check_bytes::<T>(pointer.addr(), length, name)?;
    // SAFETY: aligned, not NULL, and no longer than memory can be; the rest is the caller's duty.
    Ok(unsafe { std::slice::from_raw_parts(pointer, length) })
}

/// `length` elements to write.
///
/// # Safety
/// `pointer` is NULL, not aligned, or points to `length` elements that nobody else uses during `'a`, and every value of its bytes is
/// one of `T`.
pub(super) unsafe fn slice_mut<'a, T>(pointer: *mut T, length: usize, name: &str) -> Outcome<&'a mut [T]> {
    check_address(pointer, name)?;
    check_bytes::<T>(pointer.addr(), length, name)?;
    // SAFETY: aligned, not NULL, and no longer than memory can be. The memory comes from a caller in another language, so its
    // bytes have some values for this program, and all are valid. The rest is the caller's duty.
    Ok(unsafe { std::slice::from_raw_parts_mut(pointer, length) })
}

/// Refuses elements that reach beyond the end of memory.
fn check_bytes<T>(address: usize, length: usize, name: &str) -> Outcome {
    let bytes = length.checked_mul(size_of::<T>()).filter(|&bytes| bytes <= isize::MAX as usize);
    if bytes.and_then(|bytes| address.checked_add(bytes)).is_none() {
        let message = format!("{length} elements from {address:#x}, as {name}, do not fit into memory");
        return Err(Failure::argument(message));
    }
    Ok(())
}

/// A place for one result of a function.
pub(super) struct Out<T>(*mut T);

impl<T> Out<T> {
    /// Puts `value` there for the time being, so that the caller finds it when the function fails later.
    ///
    /// # Safety
    /// `pointer` is NULL, not aligned, or points to a `T` that may be written to until the function returns.
    pub unsafe fn new(pointer: *mut T, value: T, name: &str) -> Outcome<Self> {
        check_address(pointer, name)?;
        // SAFETY: aligned and not NULL; the rest is the caller's duty. What was there needs no drop: it is C's.
        unsafe { pointer.write(value) };
        Ok(Self(pointer))
    }

    pub fn set(self, value: T) {
        // SAFETY: `new` demands that the place may be written to until the function returns.
        unsafe { self.0.write(value) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked_before_they_are_followed() {
        let numbers = [1_u32, 2, 3];
        let at = |address| std::ptr::without_provenance::<u32>(address);
        // SAFETY: the first is the array, the others are refused by their addresses or lengths.
        unsafe {
            assert_eq!(slice(numbers.as_ptr(), 3, "numbers").unwrap(), numbers);
            assert!(slice(at(0), 3, "numbers").is_err());
            assert!(slice(at(6), 3, "numbers").is_err());
            assert!(slice(numbers.as_ptr(), usize::MAX / 2, "numbers").is_err());
            assert!(slice(at(usize::MAX - 7), 2, "numbers").is_err());
            assert!(slice_mut(at(2).cast_mut(), 1, "numbers").is_err());
            assert!(Out::new(at(0).cast_mut(), 0, "number").is_err());
            assert!(text(std::ptr::null(), "text").is_err());
            assert!(text(c"\xff".as_ptr(), "text").is_err());
            assert_eq!(text(c"gr\u{fc}n".as_ptr(), "text").unwrap(), "gr\u{fc}n");
        }
    }
}
