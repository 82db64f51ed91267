//! Class statistics for C.

#![allow(unsafe_code)]

use std::ffi::c_char;

use super::arguments::{Out, path, slice, text};
use super::handles::Handles;
use super::status::{Outcome, guard, sml_status};
use crate::{ClassMoments, ClassStatistics, Provenance};

/// Class statistics: mean and variance of the max logit of each predicted class, measured on normal images.
pub struct sml_statistics {
    _opaque: [u8; 0],
}

static STATISTICS: Handles<ClassStatistics> = Handles::new("statistics");

/// The statistics of a handle, or none for NULL.
pub(super) fn of_handle(handle: *const sml_statistics) -> Outcome<Option<ClassStatistics>> {
    if handle.is_null() {
        return Ok(None);
    }
    let statistics = STATISTICS.get(handle)?;
    Ok(Some(STATISTICS.wait(&statistics)?.clone()))
}

/// Reads statistics from a JSON file, as `sml calibrate` and `sml stats` write them.
///
/// `path`: bytes as the system takes them, with a NUL behind. `*statistics`: the new handle, NULL after a failure.
///
/// # Safety
/// `path` ends with a NUL; `statistics` may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sml_statistics_read(
    path: *const c_char,
    statistics: *mut *mut sml_statistics,
) -> sml_status {
    guard(|| {
        // SAFETY: the caller's duty.
        let (out, path) = unsafe { (place(statistics)?, self::path(path, "path")?) };
        out.set(STATISTICS.insert(ClassStatistics::read(path)?)?);
        Ok(())
    })
}

/// Statistics from JSON text: {"mean": [...], "variance": [...]}, one number a class, null for a class without data.
///
/// # Safety
/// `json` is UTF-8 text that ends with a NUL; `statistics` may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sml_statistics_from_json(
    json: *const c_char,
    statistics: *mut *mut sml_statistics,
) -> sml_status {
    guard(|| {
        // SAFETY: the caller's duty.
        let (out, json) = unsafe { (place(statistics)?, text(json, "json")?) };
        out.set(STATISTICS.insert(ClassStatistics::from_json(json)?)?);
        Ok(())
    })
}

/// Statistics from numbers, one a class in the order of the classes: mean and (unbiased) variance of the max logit, and the
/// number of pixels measured, which may be NULL when it is not known. NaN marks a class without data.
///
/// # Safety
/// `mean`, `variance` and `count` (unless NULL) point to `classes` numbers; `statistics` may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sml_statistics_from_vectors(
    mean: *const f64,
    variance: *const f64,
    count: *const u64,
    classes: usize,
    statistics: *mut *mut sml_statistics,
) -> sml_status {
    guard(|| {
        // SAFETY: the caller's duty.
        let (out, mean, variance) = unsafe {
            (place(statistics)?, slice(mean, classes, "mean")?, slice(variance, classes, "variance")?)
        };
        let count = if count.is_null() {
            None
        } else {
            // SAFETY: the caller's duty.
            Some(unsafe { slice(count, classes, "count") }?)
        };
        let moments = (0..classes).map(|class| ClassMoments {
            count: count.map(|count| count[class]),
            mean: Some(mean[class]),
            variance: Some(variance[class]),
        });
        out.set(STATISTICS.insert(ClassStatistics::new(moments.collect(), Provenance::default())?)?);
        Ok(())
    })
}

/// Number of classes.
///
/// # Safety
/// `classes` may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sml_statistics_classes(
    statistics: *const sml_statistics,
    classes: *mut usize,
) -> sml_status {
    guard(|| {
        // SAFETY: the caller's duty.
        let out = unsafe { Out::new(classes, 0, "classes") }?;
        let statistics = STATISTICS.get(statistics)?;
        out.set(STATISTICS.wait(&statistics)?.classes().len());
        Ok(())
    })
}

/// Ends the statistics. Engines that were made with them keep their own copy. NULL is allowed.
#[unsafe(no_mangle)]
pub extern "C" fn sml_statistics_destroy(statistics: *mut sml_statistics) -> sml_status {
    guard(|| STATISTICS.remove(statistics))
}

/// # Safety
/// As for [`Out::new`].
unsafe fn place(statistics: *mut *mut sml_statistics) -> Outcome<Out<*mut sml_statistics>> {
    // SAFETY: the caller's duty.
    unsafe { Out::new(statistics, std::ptr::null_mut(), "statistics") }
}
