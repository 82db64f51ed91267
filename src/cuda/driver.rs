//! The NVIDIA driver of this machine and the GPUs that it shows.
//!
//! The driver's library is loaded at run time. The binding used here ends the program if the library is absent, hence
//! [`probe`] asks first and calls afterwards; everything else that calls the driver begins with it.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::fmt;
use std::sync::OnceLock;

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys::{self, CUdevice_attribute as Attribute, CUresult};
use serde::Serialize;

use crate::{ComputeCapability, Error, Gpu, Result};

/// The CUDA release that the libraries in use belong to, and the least that the driver must support.
pub const NEEDED_CUDA: CudaRelease = CudaRelease { major: 13, minor: 0 };

/// A release of CUDA, such as 13.0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct CudaRelease {
    /// Major number: binaries of one major release run on drivers of the same or a later one.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

impl fmt::Display for CudaRelease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// A driver that answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Driver {
    /// The newest CUDA release that it supports.
    pub cuda: CudaRelease,
    /// Its own release, such as `580.65.06`, where the kernel module tells.
    pub release: Option<String>,
    /// The GPUs that this process may use, by ordinal. Empty on a machine whose driver has no GPU to show.
    pub gpus: Vec<Gpu>,
}

/// Asks the driver about itself and its GPUs. `Ok(None)` if this machine has no driver.
///
/// # Errors
/// [`Error::Cuda`] if there is a driver and it does not start or answer.
pub fn probe() -> Result<Option<Driver>> {
    if !is_present() {
        return Ok(None);
    }
    let cuda = supported_cuda()?;
    let gpus = match result::init() {
        Ok(()) => list_gpus()?,
        Err(DriverError(CUresult::CUDA_ERROR_NO_DEVICE)) => Vec::new(),
        Err(error) => return Err(refused("start", error)),
    };
    let release =
        std::fs::read_to_string("/proc/driver/nvidia/version").ok().as_deref().and_then(module_release);
    Ok(Some(Driver { cuda, release, gpus }))
}

/// Whether the driver's library can be loaded.
pub fn is_present() -> bool {
    static PRESENT: OnceLock<bool> = OnceLock::new();
    // SAFETY: opens and closes the driver's library, which does nothing until it is called.
    *PRESENT.get_or_init(|| unsafe { sys::is_culib_present() })
}

fn supported_cuda() -> Result<CudaRelease> {
    let mut packed = 0;
    // SAFETY: the driver is present; `packed` is valid for the write of one integer; needs no earlier initialisation.
    unsafe { sys::cuDriverGetVersion(&raw mut packed) }
        .result()
        .map_err(|error| refused("tell its version", error))?;
    Ok(unpack_release(packed.unsigned_abs()))
}

/// CUDA packs its release as 1000 * major + 10 * minor.
pub(super) fn unpack_release(packed: u32) -> CudaRelease {
    CudaRelease { major: packed / 1000, minor: packed % 1000 / 10 }
}

fn list_gpus() -> Result<Vec<Gpu>> {
    let count = result::device::get_count().map_err(|error| refused("count the GPUs", error))?;
    (0..count).map(|ordinal| describe(ordinal).map_err(|error| refused("describe a GPU", error))).collect()
}

fn describe(ordinal: i32) -> Result<Gpu, DriverError> {
    let device = result::device::get(ordinal)?;
    let attribute = |which| {
        // SAFETY: `device` comes from `cuDeviceGet`, as the call demands.
        unsafe { result::device::get_attribute(device, which) }.map(i32::unsigned_abs)
    };
    // SAFETY: `device` comes from `cuDeviceGet`, as the call demands.
    let memory = unsafe { result::device::total_mem(device) }?;
    Ok(Gpu {
        ordinal: ordinal.unsigned_abs() as usize,
        name: result::device::get_name(device)?,
        compute_capability: ComputeCapability {
            major: attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            minor: attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        },
        memory_bytes: memory as u64,
        multiprocessors: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
        l2_bytes: attribute(Attribute::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE)?.into(),
        pci_address: pci_address(device)?,
    })
}

fn pci_address(device: sys::CUdevice) -> Result<String, DriverError> {
    let mut text = [0u8; 32];
    // SAFETY: `text` is valid for writes of its length, which is passed along; `device` comes from `cuDeviceGet`.
    unsafe { sys::cuDeviceGetPCIBusId(text.as_mut_ptr().cast(), text.len() as i32, device) }.result()?;
    let text = CStr::from_bytes_until_nul(&text).unwrap_or_default();
    Ok(text.to_string_lossy().into_owned())
}

fn refused(action: &str, error: DriverError) -> Error {
    let words = error.error_string().map(|text| text.to_string_lossy().into_owned()).unwrap_or_default();
    Error::Cuda { action: format!("{action} (the driver)"), message: format!("{:?}: {words}", error.0) }
}

/// Release of the kernel module from the first line of its version file: the first word that is numbers and dots.
fn module_release(text: &str) -> Option<String> {
    let is_release =
        |word: &&str| word.contains('.') && word.split('.').all(|part| part.parse::<u32>().is_ok());
    text.lines().next()?.split_whitespace().find(is_release).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_is_unpacked() {
        assert_eq!(unpack_release(13000), NEEDED_CUDA);
        assert_eq!(unpack_release(12080).to_string(), "12.8");
        assert!(unpack_release(12080) < NEEDED_CUDA && unpack_release(13010) > NEEDED_CUDA);
    }

    #[test]
    fn the_kernel_module_is_read_in_both_of_its_spellings() {
        let open = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (dvs-builder)\nGCC\n";
        let closed =
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024\n";
        assert_eq!(module_release(open).unwrap(), "580.65.06");
        assert_eq!(module_release(closed).unwrap(), "535.183.01");
        assert_eq!(module_release("something else\n"), None);
    }

    #[test]
    fn probing_never_panics_and_agrees_with_the_library() {
        match probe() {
            Ok(driver) => assert_eq!(driver.is_some(), is_present()),
            Err(error) => assert!(is_present(), "{error}"),
        }
    }
}
