//! Logits in host memory, for an engine on the CPU.

#![allow(unsafe_code)]

use half::{bf16, f16};

use super::arguments::{slice, slice_mut};
use super::engine::{HeldEngine, sml_engine, with};
use super::frame::{Description, sml_anomaly_map, sml_logits, sml_output};
use super::status::{Failure, Outcome, SML_ERROR_DEVICE, guard, sml_status};
use super::versioned;
use crate::{AnomalyMapMut, Device, ElementType, Logits, LogitsData, ScoreMut, Size};

/// Turns a batch of logits in host memory into anomaly maps of `height` x `width`, upsampling them where they are smaller. The
/// result lies in the engine's memory, where `map` then points; after a failure it points nowhere. Complete when it returns.
/// For engines on the CPU.
///
/// # Safety
/// `logits` and `map` point to structures as long as they say. All memory from the first to the last logit can be read, and
/// nobody writes to it during the call; `map` may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sml_engine_submit(
    engine: *mut sml_engine,
    logits: *const sml_logits,
    height: usize,
    width: usize,
    map: *mut sml_anomaly_map,
) -> sml_status {
    guard(|| {
        // SAFETY: the caller's duty.
        let logits = unsafe {
            versioned::write(map, &sml_anomaly_map::NOWHERE)?;
            versioned::read(logits)?
        };
        let size = Size::new(height, width);
        let InEngine(result) = with(engine, |held| {
            let described = describe(held, &logits, size)?;
            // SAFETY: the caller's duty.
            let logits = unsafe { borrow(&logits, &described) }?;
            held.run(|engine| {
                let map = engine.submit(&logits, size)?;
                let (score, prediction) = (map.score.as_ptr(), map.prediction.as_ptr());
                let (batch, non_finite) = (map.non_finite.len(), map.non_finite.as_ptr());
                let here = sml_anomaly_map { batch, height, width, score, prediction, non_finite, ..NOWHERE };
                Ok(InEngine(here))
            })
        })?;
        // SAFETY: the caller's duty.
        unsafe { versioned::write(map, &result) }
    })
}

const NOWHERE: sml_anomaly_map = sml_anomaly_map::NOWHERE;

/// A result in an engine's memory, on its way from the engine's threads to the caller's.
struct InEngine(sml_anomaly_map);

// SAFETY: these are addresses, and nothing here follows them.
unsafe impl Send for InEngine {}

/// As sml_engine_submit, with the result in the caller's memory. Complete when it returns. For engines on the CPU.
///
/// # Safety
/// As for sml_engine_submit; `output` points to a structure as long as it says, its memory may be written to, is as large as
/// it says, and nobody else uses it during the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sml_engine_submit_into(
    engine: *mut sml_engine,
    logits: *const sml_logits,
    output: *const sml_output,
) -> sml_status {
    guard(|| {
        // SAFETY: the caller's duty.
        let (logits, output) = unsafe { (versioned::read(logits)?, versioned::read(output)?) };
        with(engine, |held| {
            let described = describe(held, &logits, output.size())?;
            output.check(&logits, &described)?;
            // SAFETY: the caller's duty; nothing overlaps, as was just checked.
            let (logits, map) =
                unsafe { (borrow(&logits, &described)?, borrow_output(&output, &described)?) };
            held.run(|engine| Ok(engine.submit_into(&logits, map)?))
        })
    })
}

/// Refuses an engine that runs elsewhere, and a batch that it is not made for.
fn describe(held: &mut HeldEngine, logits: &sml_logits, size: Size) -> Outcome<Description> {
    let device = held.engine().device();
    if device != Device::Cpu {
        let message = format!(
            "the engine runs on {device} and takes logits there: use sml_engine_submit_device, or make it for \"cpu\""
        );
        return Err(Failure::new(SML_ERROR_DEVICE, message));
    }
    let described = logits.describe()?;
    held.engine().check(described.shape, size)?;
    Ok(described)
}

/// # Safety
/// All memory from the first to the last logit can be read, and nobody writes to it during `'a`.
unsafe fn borrow<'a>(logits: &sml_logits, described: &Description) -> Outcome<Logits<'a>> {
    let (data, length, name) = (logits.data, described.length, "data of the logits");
    // SAFETY: the caller's duty.
    let data = unsafe {
        match described.element {
            ElementType::F32 => LogitsData::F32(slice(data.cast::<f32>(), length, name)?),
            ElementType::F16 => LogitsData::F16(slice(data.cast::<f16>(), length, name)?),
            ElementType::BF16 => LogitsData::BF16(slice(data.cast::<bf16>(), length, name)?),
        }
    };
    Ok(Logits::strided(data, described.shape, described.strides)?)
}

/// # Safety
/// The output's memory is as large as it says, overlaps nothing, and nobody else uses it during `'a`. The engine takes the shapes.
unsafe fn borrow_output<'a>(output: &sml_output, described: &Description) -> Outcome<AnomalyMapMut<'a>> {
    let (batch, size) = (described.shape.batch, output.size());
    let pixels = batch * size.pixels();
    let half = output.is_half()?;
    // SAFETY: the caller's duty.
    unsafe {
        let score = if half {
            ScoreMut::F16(slice_mut(output.score.cast::<f16>(), pixels, "score of the output")?)
        } else {
            ScoreMut::F32(slice_mut(output.score.cast::<f32>(), pixels, "score of the output")?)
        };
        let prediction = slice_mut(output.prediction, pixels, "prediction of the output")?;
        let non_finite = slice_mut(output.non_finite, batch, "non_finite of the output")?;
        Ok(AnomalyMapMut { size, score, prediction, non_finite })
    }
}
