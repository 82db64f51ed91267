//! What the driver's result codes mean for an engine.

use cudarc::driver::result::DriverError;
use cudarc::driver::sys::CUresult;

use crate::Error;

/// The error for an operation that the driver refused: `action` completes "CUDA could not".
pub(super) fn refused(action: impl Into<String>, error: DriverError) -> Error {
    Error::Cuda { action: action.into(), message: describe(error) }
}

/// Name and words of a result code, in one line.
pub(super) fn describe(error: DriverError) -> String {
    let words = error.error_string().map(|text| text.to_string_lossy().into_owned()).unwrap_or_default();
    format!("{:?}: {words}", error.0)
}

/// Whether a code says that the GPU's work failed and that every later call of this process on this GPU will fail
/// likewise ("sticky" errors). All others concern the one call that returned them.
///
/// They surface at whichever call comes next, so the work that failed was given earlier.
pub(super) fn breaks_the_context(error: DriverError) -> bool {
    use CUresult as R;
    matches!(
        error.0,
        R::CUDA_ERROR_DEINITIALIZED
            | R::CUDA_ERROR_DEVICE_UNAVAILABLE
            | R::CUDA_ERROR_ECC_UNCORRECTABLE
            | R::CUDA_ERROR_NVLINK_UNCORRECTABLE
            | R::CUDA_ERROR_CONTAINED
            | R::CUDA_ERROR_ILLEGAL_ADDRESS
            | R::CUDA_ERROR_LAUNCH_TIMEOUT
            | R::CUDA_ERROR_CONTEXT_IS_DESTROYED
            | R::CUDA_ERROR_ASSERT
            | R::CUDA_ERROR_HARDWARE_STACK_ERROR
            | R::CUDA_ERROR_ILLEGAL_INSTRUCTION
            | R::CUDA_ERROR_MISALIGNED_ADDRESS
            | R::CUDA_ERROR_INVALID_ADDRESS_SPACE
            | R::CUDA_ERROR_INVALID_PC
            | R::CUDA_ERROR_LAUNCH_FAILED
            | R::CUDA_ERROR_TENSOR_MEMORY_LEAK
            | R::CUDA_ERROR_EXTERNAL_DEVICE
            | R::CUDA_ERROR_UNKNOWN
    )
}

/// Whether a module's image is the problem, and not the memory or the GPU that should take it.
pub(super) fn is_about_the_image(error: DriverError) -> bool {
    use CUresult as R;
    matches!(
        error.0,
        R::CUDA_ERROR_INVALID_IMAGE
            | R::CUDA_ERROR_NO_BINARY_FOR_GPU
            | R::CUDA_ERROR_INVALID_PTX
            | R::CUDA_ERROR_UNSUPPORTED_PTX_VERSION
            | R::CUDA_ERROR_INVALID_SOURCE
            | R::CUDA_ERROR_SHARED_OBJECT_INIT_FAILED
            | R::CUDA_ERROR_NOT_FOUND
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_work_is_told_from_a_refused_call() {
        for code in [CUresult::CUDA_ERROR_ILLEGAL_ADDRESS, CUresult::CUDA_ERROR_LAUNCH_FAILED] {
            assert!(breaks_the_context(DriverError(code)), "{code:?}");
        }
        for code in [
            CUresult::CUDA_ERROR_INVALID_VALUE,
            CUresult::CUDA_ERROR_OUT_OF_MEMORY,
            CUresult::CUDA_ERROR_STREAM_CAPTURE_IMPLICIT,
        ] {
            assert!(!breaks_the_context(DriverError(code)), "{code:?}");
        }
    }
}
