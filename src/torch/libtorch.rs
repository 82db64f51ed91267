//! The libtorch of this process: its version, its CUDA half, and the device that a request comes to.
//!
//! A program links against libtorch's CPU half alone, so that it starts on every machine. The CUDA half is a second
//! library, `libtorch_cuda.so`, in the same folder. Loading it registers CUDA with libtorch, which looks for that
//! registration once, at the first question about CUDA, and remembers the answer. Hence the one rule of this module:
//! [`load_cuda_half`] runs before anything else asks libtorch about CUDA. [`choose_device`] keeps it; programs
//! that call `tch::Cuda` or `tch::Device::cuda_if_available` themselves choose their device here first.
#![allow(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};

use crate::loaded_library::{loaded_library, loader_message};
use crate::{DeviceRequest, Error, Result};

/// The release of libtorch that this crate is built for. Its C++ interface changes from release to release.
pub const EXPECTED_VERSION: &str = "2.11.0";

const CPU_HALF: &str = "libtorch_cpu.so";
const CUDA_HALF: &str = "libtorch_cuda.so";
const DRIVER: &str = "libcuda.so.1";

/// Path of the loaded `libtorch_cpu.so`; `None` where the system does not tell (no `/proc`), or where libtorch is
/// linked statically.
pub fn cpu_half() -> Option<PathBuf> {
    loaded_library(CPU_HALF)
}

/// Version of the libtorch that is loaded, such as `2.11.0` or `2.11.0+cu130`; `None` if nothing tells.
///
/// The library's own function is asked first. Builds without it are recognised by the file that libtorch archives
/// (`build-version`) or Python wheels (`version.py`) carry beside their `lib` folder.
pub fn version() -> Option<String> {
    version_by_symbol().or_else(|| version_by_file(cpu_half()?.parent()?.parent()?))
}

fn version_by_symbol() -> Option<String> {
    // SAFETY: the C declaration is `uint64_t aoti_torch_abi_version()`; it has no preconditions. `this` is the running
    // program with all that it loaded, which outlives the call.
    let packed = unsafe {
        let function = Library::this().get::<unsafe extern "C" fn() -> u64>("aoti_torch_abi_version").ok()?;
        function()
    };
    Some(unpack_version(packed))
}

/// libtorch packs major, minor and patch into the three highest bytes (`torch/headeronly/version.h`).
fn unpack_version(packed: u64) -> String {
    let [major, minor, patch, ..] = packed.to_be_bytes();
    format!("{major}.{minor}.{patch}")
}

fn version_by_file(home: &Path) -> Option<String> {
    if let Ok(text) = fs::read_to_string(home.join("build-version")) {
        return Some(text.trim().to_owned());
    }
    let python = fs::read_to_string(home.join("version.py")).ok()?;
    let value =
        python.lines().find_map(|line| line.strip_prefix("__version__")?.trim_start().strip_prefix('='))?;
    Some(value.trim().trim_matches(['\'', '"']).to_owned())
}

/// What became of libtorch's CUDA half.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CudaHalf {
    /// It is loaded, from this file.
    Loaded(PathBuf),
    /// This libtorch has none: a set-up for the CPU. Holds the path at which it would be.
    NotThere(PathBuf),
    /// It is there and the system's loader refused it.
    Failed {
        /// The file.
        path: PathBuf,
        /// What the loader said.
        message: String,
    },
}

/// Loads libtorch's CUDA half from beside its CPU half. The first call does the work (about a second where the half
/// exists), every later one returns the same answer. Call it before any other question to libtorch about CUDA.
pub fn load_cuda_half() -> &'static CudaHalf {
    static STATE: OnceLock<CudaHalf> = OnceLock::new();
    STATE.get_or_init(|| {
        if let Some(path) = loaded_library(CUDA_HALF) {
            return CudaHalf::Loaded(path);
        }
        let folder = cpu_half().and_then(|path| path.parent().map(Path::to_owned)).unwrap_or_default();
        load_from(&folder.join(CUDA_HALF))
    })
}

fn load_from(path: &Path) -> CudaHalf {
    if !path.is_file() {
        return CudaHalf::NotThere(path.to_owned());
    }
    // SAFETY: loading runs the library's initialisers. The file lies beside the CPU half that this process already
    // trusts and belongs to the same release; its initialisers register CUDA with it and have no other precondition.
    // Symbols are made global because the libraries that the half loads later look up its symbols.
    match unsafe { Library::open(Some(path), RTLD_NOW | RTLD_GLOBAL) } {
        Ok(library) => {
            // libtorch keeps pointers into the half: it must never be unloaded.
            std::mem::forget(library);
            CudaHalf::Loaded(path.to_owned())
        }
        Err(error) => {
            let message = loader_message(&error);
            // Some messages begin with the file, which is told anyway.
            let message =
                message.strip_prefix(&format!("{}: ", path.display())).unwrap_or(&message).to_owned();
            CudaHalf::Failed { path: path.to_owned(), message }
        }
    }
}

/// Number of GPUs that libtorch can use now. Loads the CUDA half first; 0 without it.
pub fn gpu_count() -> usize {
    match load_cuda_half() {
        CudaHalf::Loaded(_) if tch::Cuda::is_available() => tch::Cuda::device_count().try_into().unwrap_or(0),
        _ => 0,
    }
}

/// The device on which libtorch shall work.
///
/// [`DeviceRequest::Auto`] gives the first GPU that libtorch can use, else the CPU; it never fails, and on a machine
/// without the NVIDIA driver it does not even load the CUDA half.
///
/// # Errors
/// [`Error::Device`] if a GPU is asked for and cannot be used: no driver, no CUDA half or one that does not load, no
/// GPU, or fewer GPUs than the ordinal asks for.
pub fn choose_device(request: DeviceRequest) -> Result<tch::Device> {
    match request {
        DeviceRequest::Cpu => Ok(tch::Device::Cpu),
        DeviceRequest::Auto if driver_loads().is_ok() && gpu_count() > 0 => Ok(tch::Device::Cuda(0)),
        DeviceRequest::Auto => Ok(tch::Device::Cpu),
        DeviceRequest::Cuda(ordinal) => {
            let refusal = |(problem, remedy)| Error::Device { device: request.to_string(), problem, remedy };
            check_gpu(ordinal).map_err(refusal)?;
            Ok(tch::Device::Cuda(ordinal))
        }
    }
}

/// Whether the NVIDIA driver's library loads; else what the loader says.
fn driver_loads() -> Result<(), String> {
    static STATE: OnceLock<Result<(), String>> = OnceLock::new();
    STATE
        .get_or_init(|| {
            // SAFETY: the driver's library is made to be loaded by any process and does nothing until it is called.
            // It stays loaded, as it does in every program that uses a GPU.
            let driver = unsafe { Library::new(DRIVER) };
            driver.map(std::mem::forget).map_err(|error| loader_message(&error))
        })
        .clone()
}

/// Problem and remedy if libtorch cannot use the GPU of this ordinal.
fn check_gpu(ordinal: usize) -> Result<(), (String, String)> {
    if let Err(message) = driver_loads() {
        return Err((
            format!("the NVIDIA driver's {DRIVER} does not load ({message})"),
            "install the NVIDIA driver (in a container, pass the GPUs through), or use --device cpu".into(),
        ));
    }
    match load_cuda_half() {
        CudaHalf::Loaded(_) => {}
        CudaHalf::NotThere(path) => {
            return Err((
                format!("this libtorch has no CUDA half ({} does not exist)", path.display()),
                cuda_half_remedy(),
            ));
        }
        CudaHalf::Failed { path, message } => {
            return Err((format!("{} does not load ({message})", path.display()), cuda_half_remedy()));
        }
    }
    match gpu_count() {
        0 => Err((
            "libtorch sees no GPU".into(),
            "run `sml doctor` to see the driver's GPUs, and check CUDA_VISIBLE_DEVICES".into(),
        )),
        count if ordinal >= count => Err((
            format!("libtorch sees {count} GPU(s)"),
            format!("use cuda:0 to cuda:{}, or check CUDA_VISIBLE_DEVICES", count - 1),
        )),
        _ => Ok(()),
    }
}

/// How to come by a libtorch with both halves.
pub(crate) fn cuda_half_remedy() -> String {
    format!(
        "install the whole of libtorch (pip install torch=={EXPECTED_VERSION}) and build with LIBTORCH set to its folder \
         site-packages/torch, or use --device cpu"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loaded_libtorch_is_the_expected_release() {
        // A call into libtorch, so that the linker keeps it in this test.
        assert!(tch::get_num_threads() >= 1);
        let path = cpu_half().expect("libtorch is loaded");
        assert!(path.ends_with("libtorch_cpu.so") && path.is_file());
        assert_eq!(version().unwrap(), EXPECTED_VERSION);
        assert_eq!(version_by_symbol().unwrap(), EXPECTED_VERSION);
    }

    #[test]
    fn the_version_is_unpacked_from_its_bytes() {
        assert_eq!(unpack_version((2 << 56) | (11 << 48) | (3 << 40) | 7), "2.11.3");
    }

    #[test]
    fn the_version_is_read_from_archives_and_wheels() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(version_by_file(home.path()), None);
        let python = "from typing import Optional\n\n__all__ = ['__version__']\n__version__ = '2.11.0+cu130'\ncuda = '13.0'\n";
        fs::write(home.path().join("version.py"), python).unwrap();
        assert_eq!(version_by_file(home.path()).unwrap(), "2.11.0+cu130");
        fs::write(home.path().join("build-version"), "2.11.0\n").unwrap();
        assert_eq!(version_by_file(home.path()).unwrap(), "2.11.0");
    }

    #[test]
    fn a_cuda_half_is_missing_or_refused_with_the_loaders_words() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(CUDA_HALF);
        assert_eq!(load_from(&path), CudaHalf::NotThere(path.clone()));
        fs::write(&path, "not a library").unwrap();
        match load_from(&path) {
            CudaHalf::Failed { path: failed, message } => {
                assert_eq!(failed, path);
                assert_eq!(message, "file too short");
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn auto_and_cpu_never_fail() {
        assert_eq!(choose_device(DeviceRequest::Cpu).unwrap(), tch::Device::Cpu);
        let device = choose_device(DeviceRequest::Auto).unwrap();
        assert_eq!(device.is_cuda(), gpu_count() > 0);
    }

    #[test]
    fn a_gpu_that_is_not_there_is_an_error_with_a_remedy() {
        let ordinal = gpu_count().max(7);
        let error = choose_device(DeviceRequest::Cuda(ordinal)).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::Device { .. }), "{text}");
        assert!(text.starts_with(&format!("device cuda:{ordinal}: ")) && !text.contains('\n'), "{text}");
    }
}
