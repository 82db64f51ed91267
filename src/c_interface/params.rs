//! Parameters of the method for C: a handle with a function for each, so that later ones change no structure.

#![allow(unsafe_code)]

use std::ffi::c_char;

use super::arguments::{Out, text};
use super::handles::Handles;
use super::status::{Failure, Outcome, SML_ERROR_INVALID_PARAMETER, guard, sml_status};
use crate::{BorderLabels, MissingStatistics, NonFinite, Params, Replacement, Smoothing, Suppression};

/// Parameters of the method. New ones are those of the paper; each function changes one, and leaves it when it fails.
pub struct sml_params {
    _opaque: [u8; 0],
}

/// What a predicted class without statistics is standardized with.
pub type sml_missing_statistics = i32;
/// Mean and variance over all pixels of all classes; the engine has a warning then. The default.
pub const SML_MISSING_POOLED: sml_missing_statistics = 0;
/// Engines are not made; the message names the classes.
pub const SML_MISSING_ERROR: sml_missing_statistics = 1;
/// Scores become NaN or infinite, as the published code's do.
pub const SML_MISSING_PROPAGATE: sml_missing_statistics = 2;

static PARAMS: Handles<Params> = Handles::new("params");

/// The parameters of a handle; those of the paper for NULL.
pub(super) fn of_handle(handle: *const sml_params) -> Outcome<Params> {
    if handle.is_null() {
        return Ok(Params::default());
    }
    let params = PARAMS.get(handle)?;
    Ok(*PARAMS.wait(&params)?)
}

fn change(handle: *mut sml_params, change: impl FnOnce(&mut Params) -> Outcome) -> sml_status {
    guard(|| {
        let params = PARAMS.get(handle)?;
        change(&mut *PARAMS.wait(&params)?)
    })
}

/// The paper's parameters. `*params`: the new handle, NULL after a failure.
///
/// # Safety
/// `params` may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sml_params_create(params: *mut *mut sml_params) -> sml_status {
    guard(|| {
        // SAFETY: the caller's duty.
        let out = unsafe { Out::new(params, std::ptr::null_mut(), "params") }?;
        out.set(PARAMS.insert(Params::default())?);
        Ok(())
    })
}

/// Parameters from JSON text: {"score": "sml", "suppression": {"width": 4, "iterations": 4}, ...}. What is left out is the
/// paper's; a name that is not known is an error.
///
/// # Safety
/// `json` is UTF-8 text that ends with a NUL; `params` may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sml_params_from_json(
    json: *const c_char,
    params: *mut *mut sml_params,
) -> sml_status {
    guard(|| {
        // SAFETY: the caller's duty.
        let (out, json) = unsafe { (Out::new(params, std::ptr::null_mut(), "params")?, text(json, "json")?) };
        let read = serde_json::from_str(json).map_err(|error| {
            Failure::new(SML_ERROR_INVALID_PARAMETER, format!("parameters as JSON: {error}"))
        })?;
        out.set(PARAMS.insert(read)?);
        Ok(())
    })
}

/// The score: "sml", "max_logit", "msp", "entropy", "energy" or "energy:TEMPERATURE". Only "sml" needs statistics.
///
/// # Safety
/// `score` is UTF-8 text that ends with a NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sml_params_set_score(params: *mut sml_params, score: *const c_char) -> sml_status {
    change(params, |params| {
        // SAFETY: the caller's duty.
        params.score = unsafe { text(score, "score") }?.parse()?;
        Ok(())
    })
}

/// Boundary suppression: width in pixels (0 to 32), and the number of iterations, a divisor of it. 0 iterations switch it off.
#[unsafe(no_mangle)]
pub extern "C" fn sml_params_set_suppression(
    params: *mut sml_params,
    width: u8,
    iterations: u8,
) -> sml_status {
    change(params, |params| {
        params.suppression = match iterations {
            0 => None,
            _ => Some(Suppression::new(width, iterations)?),
        };
        Ok(())
    })
}

/// Smoothing: taps in each direction (odd, 1 to 31), standard deviation in taps, distance of taps in pixels (1 to 64). 0 taps
/// switch it off.
#[unsafe(no_mangle)]
pub extern "C" fn sml_params_set_smoothing(
    params: *mut sml_params,
    taps: u8,
    sigma: f32,
    dilation: u8,
) -> sml_status {
    change(params, |params| {
        params.smoothing = match taps {
            0 => None,
            _ => Some(Smoothing::new(taps, sigma, dilation)?),
        };
        Ok(())
    })
}

/// Whether (1) or not (0) the upsampling maps corner pixels onto corner pixels: as the network's own does. Off by default.
#[unsafe(no_mangle)]
pub extern "C" fn sml_params_set_align_corners(params: *mut sml_params, on: i32) -> sml_status {
    change(params, |params| {
        params.align_corners = on != 0;
        Ok(())
    })
}

/// Whether (1) or not (0) pixels on the frame of the image count as boundary where their class is 2 or more, as in the
/// published code. Off by default.
#[unsafe(no_mangle)]
pub extern "C" fn sml_params_set_border_labels(params: *mut sml_params, on: i32) -> sml_status {
    change(params, |params| {
        params.border_labels = if on != 0 { BorderLabels::One } else { BorderLabels::Ignore };
        Ok(())
    })
}

/// What a predicted class without statistics is standardized with: one of the SML_MISSING_ constants.
#[unsafe(no_mangle)]
pub extern "C" fn sml_params_set_missing_statistics(
    params: *mut sml_params,
    policy: sml_missing_statistics,
) -> sml_status {
    change(params, |params| {
        params.missing = match policy {
            SML_MISSING_POOLED => MissingStatistics::Pooled,
            SML_MISSING_ERROR => MissingStatistics::Error,
            SML_MISSING_PROPAGATE => MissingStatistics::Propagate,
            other => {
                return Err(Failure::argument(format!(
                    "policy is {other}: expected an SML_MISSING_ constant"
                )));
            }
        };
        Ok(())
    })
}

/// The anomaly score of a pixel with a NaN or infinite logit: a finite number. NaN restores the default, in which such
/// logits go through the arithmetic and spoil the pixels around.
#[unsafe(no_mangle)]
pub extern "C" fn sml_params_set_non_finite(params: *mut sml_params, score: f32) -> sml_status {
    change(params, |params| {
        params.non_finite =
            if score.is_nan() { NonFinite::Propagate } else { NonFinite::Replace(Replacement::new(score)?) };
        Ok(())
    })
}

/// Ends the parameters. Engines that were made with them keep their own copy. NULL is allowed.
#[unsafe(no_mangle)]
pub extern "C" fn sml_params_destroy(params: *mut sml_params) -> sml_status {
    guard(|| PARAMS.remove(params))
}
