//! NVRTC, NVIDIA's run-time compiler: CUDA C++ in, machine code (a cubin) out. It needs no GPU and no driver.
//!
//! NVRTC is two libraries: `libnvrtc.so` opens `libnvrtc-builtins.so` by its bare name while it compiles, and the
//! system's loader then looks only where it always looks, not in the folder NVRTC came from. So the builtins are loaded
//! first, by full path, from the same folder; when NVRTC asks for them by name, the loader finds them loaded already.
//!
//! Where the files lie is found by `nvrtc_files`. The functions are taken from the library that was found, and not by name
//! from whichever NVRTC the loader would meet first.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::OnceLock;

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

use super::driver::CudaRelease;
use super::nvrtc_files::{MAJORS, builtins_of, candidate_folders, nvrtc_in};
use crate::loaded_library::{loaded_library, loader_message};
use crate::{Error, Result};

/// How to come by NVRTC.
pub(crate) const REMEDY: &str = "run scripts/setup.sh in the source folder, or pip install nvidia-cuda-nvrtc, or set CUDA_HOME to a \
                      CUDA toolkit of version 12 or newer";

/// An opaque program of NVRTC.
type Handle = *mut c_void;
/// NVRTC's result codes. A plain integer: releases to come may return codes that no enum here knows.
type Code = c_int;

/// NVRTC's functions with the C types of `nvrtc.h`.
struct Functions {
    version: unsafe extern "C" fn(*mut c_int, *mut c_int) -> Code,
    error_string: unsafe extern "C" fn(Code) -> *const c_char,
    architecture_count: unsafe extern "C" fn(*mut c_int) -> Code,
    architectures: unsafe extern "C" fn(*mut c_int) -> Code,
    create: unsafe extern "C" fn(
        *mut Handle,
        *const c_char,
        *const c_char,
        c_int,
        *const *const c_char,
        *const *const c_char,
    ) -> Code,
    compile: unsafe extern "C" fn(Handle, c_int, *const *const c_char) -> Code,
    log_size: unsafe extern "C" fn(Handle, *mut usize) -> Code,
    log: unsafe extern "C" fn(Handle, *mut c_char) -> Code,
    cubin_size: unsafe extern "C" fn(Handle, *mut usize) -> Code,
    cubin: unsafe extern "C" fn(Handle, *mut c_char) -> Code,
    destroy: unsafe extern "C" fn(*mut Handle) -> Code,
}

impl Functions {
    fn find(library: &Library) -> Result<Self, libloading::Error> {
        // SAFETY: each field's type is the declaration of the function of that name in `nvrtc.h`, unchanged since
        // CUDA 11.2. The pointers stay valid because the caller keeps the library loaded for as long as they live.
        unsafe {
            Ok(Self {
                version: *library.get("nvrtcVersion")?,
                error_string: *library.get("nvrtcGetErrorString")?,
                architecture_count: *library.get("nvrtcGetNumSupportedArchs")?,
                architectures: *library.get("nvrtcGetSupportedArchs")?,
                create: *library.get("nvrtcCreateProgram")?,
                compile: *library.get("nvrtcCompileProgram")?,
                log_size: *library.get("nvrtcGetProgramLogSize")?,
                log: *library.get("nvrtcGetProgramLog")?,
                cubin_size: *library.get("nvrtcGetCUBINSize")?,
                cubin: *library.get("nvrtcGetCUBIN")?,
                destroy: *library.get("nvrtcDestroyProgram")?,
            })
        }
    }
}

/// The run-time compiler, loaded. It stays loaded until the process ends; NVRTC may be called from several threads.
pub struct Nvrtc {
    functions: Functions,
    path: PathBuf,
    builtins: Option<PathBuf>,
    release: CudaRelease,
    /// Keeps the functions valid.
    _library: Library,
}

impl Nvrtc {
    /// Finds and loads NVRTC; later calls return the same one. A failure is not remembered: the next call looks again.
    ///
    /// # Errors
    /// [`Error::Cuda`] if there is none, or none that loads.
    pub fn load() -> Result<&'static Self> {
        let missing =
            |reason| Error::Cuda { action: "load NVRTC".into(), message: format!("{reason}; {REMEDY}") };
        Self::find().map_err(missing)
    }

    /// Like [`load`](Self::load), with nothing but the reason for a failure.
    pub(crate) fn find() -> Result<&'static Self, String> {
        static LOADED: OnceLock<Nvrtc> = OnceLock::new();
        match LOADED.get() {
            Some(nvrtc) => Ok(nvrtc),
            None => Self::search().map(|found| LOADED.get_or_init(|| found)),
        }
    }

    /// The first that loads. The reason for a failure is what the loader said of the first file that exists, else of
    /// the last name that was tried.
    fn search() -> Result<Self, String> {
        let mut reason = None;
        for path in candidate_folders().iter().filter_map(|folder| nvrtc_in(folder)) {
            preload_builtins(&path);
            match Self::open(&path) {
                Ok(nvrtc) => return Ok(nvrtc),
                Err(message) => reason = reason.or(Some(message)),
            }
        }
        let names = MAJORS.map(|major| PathBuf::from(format!("libnvrtc.so.{major}")));
        let mut refusal = String::new();
        for name in &names {
            match Self::open(name) {
                Ok(nvrtc) => return Ok(nvrtc),
                Err(message) => refusal = message,
            }
        }
        Err(reason.unwrap_or(refusal))
    }

    /// Opens a library by path or by name. The error is the loader's message, in one line.
    fn open(name: &Path) -> Result<Self, String> {
        // SAFETY: NVRTC's initialisers have no preconditions. The file is one that the installation offers under
        // NVRTC's name; local symbols keep it apart from any other NVRTC in the process.
        let library = unsafe { Library::open(Some(name), RTLD_NOW | RTLD_LOCAL) }
            .map_err(|error| loader_message(&error))?;
        let functions = Functions::find(&library).map_err(|error| loader_message(&error))?;
        let (mut major, mut minor) = (0, 0);
        // SAFETY: both pointers are valid for the write of one integer.
        unsafe { (functions.version)(&raw mut major, &raw mut minor) };
        let release = CudaRelease { major: major.unsigned_abs(), minor: minor.unsigned_abs() };
        let path =
            if name.is_absolute() { Some(name.to_owned()) } else { loaded_library(&name.to_string_lossy()) };
        Ok(Self {
            functions,
            path: path.unwrap_or_else(|| name.to_owned()),
            builtins: loaded_library("libnvrtc-builtins.so"),
            release,
            _library: library,
        })
    }

    /// The file it was loaded from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The builtins that were loaded with it. `None` if NVRTC is left to find them by itself, as in a toolkit that the
    /// system's loader knows.
    pub fn builtins(&self) -> Option<&Path> {
        self.builtins.as_deref()
    }

    /// Its release.
    pub fn release(&self) -> CudaRelease {
        self.release
    }

    /// The architectures it can compile for, as in `sm_90`: 75, 80, 90 and so on.
    ///
    /// # Errors
    /// [`Error::Cuda`] if NVRTC refuses to tell.
    pub fn architectures(&self) -> Result<Vec<u32>> {
        let mut count = 0;
        // SAFETY: the pointer is valid for the write of one integer.
        self.check("list architectures", unsafe { (self.functions.architecture_count)(&raw mut count) })?;
        let mut list = vec![0 as c_int; count.unsigned_abs() as usize];
        // SAFETY: NVRTC writes as many integers as it just counted, and the list has room for them.
        self.check("list architectures", unsafe { (self.functions.architectures)(list.as_mut_ptr()) })?;
        Ok(list.into_iter().map(c_int::unsigned_abs).collect())
    }

    /// Compiles CUDA C++ to a cubin.
    ///
    /// `name` stands for the file name in messages. `options` are NVRTC's own, one each, and must name a real
    /// architecture (`--gpu-architecture=sm_90`): virtual ones (`compute_90`) give PTX and no cubin.
    ///
    /// # Errors
    /// [`Error::Cuda`] if the source does not compile, with the compiler's first error; or if the builtins are missing.
    pub fn compile_to_cubin(&self, source: &str, name: &str, options: &[&str]) -> Result<Vec<u8>> {
        let action = format!("compile {name}");
        let source = c_string(source, &action)?;
        let c_name = c_string(name, &action)?;
        let options = options.iter().map(|option| c_string(option, &action)).collect::<Result<Vec<_>>>()?;
        let program = Program::create(self, &source, &c_name, &action)?;
        program.compile(&options, &action)?;
        program.cubin(&action)
    }

    fn check(&self, action: &str, code: Code) -> Result<()> {
        if code == 0 {
            return Ok(());
        }
        Err(Error::Cuda { action: action.to_owned(), message: self.describe(code) })
    }

    fn describe(&self, code: Code) -> String {
        // SAFETY: NVRTC returns a pointer to a constant string for every code, also for those it does not know.
        let text = unsafe {
            let text = (self.functions.error_string)(code);
            if text.is_null() { c"unknown error" } else { CStr::from_ptr(text) }
        };
        text.to_string_lossy().into_owned()
    }
}

/// One compilation. Dropping it frees what NVRTC holds for it.
struct Program<'a> {
    nvrtc: &'a Nvrtc,
    handle: Handle,
}

impl<'a> Program<'a> {
    /// NVRTC may keep pointing at source and name while the program lives, hence their lifetime.
    fn create(nvrtc: &'a Nvrtc, source: &'a CStr, name: &'a CStr, action: &str) -> Result<Self> {
        let mut handle = ptr::null_mut();
        // SAFETY: source and name are strings that end with a zero byte and outlive the program; zero headers are
        // announced, for which null lists are allowed; the handle is valid for the write of one pointer.
        let code = unsafe {
            (nvrtc.functions.create)(
                &raw mut handle,
                source.as_ptr(),
                name.as_ptr(),
                0,
                ptr::null(),
                ptr::null(),
            )
        };
        nvrtc.check(action, code)?;
        Ok(Self { nvrtc, handle })
    }

    fn compile(&self, options: &[CString], action: &str) -> Result<()> {
        let options: Vec<_> = options.iter().map(|option| option.as_ptr()).collect();
        // SAFETY: the program is alive; the list holds as many strings as announced, each alive during the call.
        let code =
            unsafe { (self.nvrtc.functions.compile)(self.handle, options.len() as c_int, options.as_ptr()) };
        if code == 0 {
            return Ok(());
        }
        let log = self.log();
        let first = log
            .lines()
            .find(|line| line.contains("error"))
            .or(log.lines().find(|line| !line.trim().is_empty()));
        let message = match first {
            Some(line) => format!("{}: {}", self.nvrtc.describe(code), line.trim()),
            None => self.nvrtc.describe(code),
        };
        Err(Error::Cuda { action: action.to_owned(), message })
    }

    /// The compiler's messages; empty if there are none or NVRTC does not give them.
    fn log(&self) -> String {
        let mut size = 0;
        // SAFETY: the program is alive and the pointer valid for the write of one size.
        let code = unsafe { (self.nvrtc.functions.log_size)(self.handle, &raw mut size) };
        if code != 0 || size == 0 {
            return String::new();
        }
        let mut bytes = vec![0u8; size];
        // SAFETY: NVRTC writes as many bytes as it just told, the final zero included.
        if unsafe { (self.nvrtc.functions.log)(self.handle, bytes.as_mut_ptr().cast()) } != 0 {
            return String::new();
        }
        String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_owned()
    }

    fn cubin(&self, action: &str) -> Result<Vec<u8>> {
        let mut size = 0;
        // SAFETY: the program is alive and the pointer valid for the write of one size.
        self.nvrtc.check(action, unsafe { (self.nvrtc.functions.cubin_size)(self.handle, &raw mut size) })?;
        if size == 0 {
            let message =
                "no machine code was made: name a real architecture, such as --gpu-architecture=sm_90";
            return Err(Error::Cuda { action: action.to_owned(), message: message.into() });
        }
        let mut bytes = vec![0u8; size];
        // SAFETY: NVRTC writes as many bytes as it just told.
        let code = unsafe { (self.nvrtc.functions.cubin)(self.handle, bytes.as_mut_ptr().cast()) };
        self.nvrtc.check(action, code)?;
        Ok(bytes)
    }
}

impl Drop for Program<'_> {
    fn drop(&mut self) {
        // SAFETY: the handle comes from `nvrtcCreateProgram` and is destroyed once, here. A failure would leak a little
        // memory and nothing else.
        unsafe { (self.nvrtc.functions.destroy)(&raw mut self.handle) };
    }
}

fn c_string(text: &str, action: &str) -> Result<CString> {
    let refused = |_| Error::Cuda { action: action.to_owned(), message: "a zero byte is in the text".into() };
    CString::new(text).map_err(refused)
}

/// Loads the builtins of an NVRTC. If that fails, NVRTC is left to look for them by itself, and a compilation shows
/// whether it found any.
fn preload_builtins(nvrtc: &Path) {
    for path in builtins_of(nvrtc) {
        // SAFETY: the builtins are data for NVRTC, without preconditions to being loaded.
        if let Ok(library) = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) } {
            // NVRTC looks it up by name at every compilation: it stays loaded.
            std::mem::forget(library);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KERNEL: &str = "extern \"C\" __global__ void twice(float* x) {\n    x[threadIdx.x] *= 2.0f;\n}\n";

    /// NVRTC of this machine. Where it is missing the test says so, and fails if data may not be missing.
    fn nvrtc() -> Option<&'static Nvrtc> {
        match Nvrtc::load() {
            Ok(nvrtc) => Some(nvrtc),
            Err(error) => {
                assert!(std::env::var_os("SML_REQUIRE_DATA").is_none(), "{error}");
                eprintln!("skipped: {error}");
                None
            }
        }
    }

    #[test]
    fn a_kernel_is_compiled_for_every_architecture_that_nvrtc_offers() {
        let Some(nvrtc) = nvrtc() else { return };
        let architectures = nvrtc.architectures().unwrap();
        assert!(architectures.contains(&90), "{architectures:?}");
        for architecture in architectures {
            let option = format!("--gpu-architecture=sm_{architecture}");
            let cubin = nvrtc.compile_to_cubin(KERNEL, "twice.cu", &[&option]).unwrap();
            assert!(cubin.starts_with(b"\x7fELF"), "sm_{architecture}");
            assert!(cubin.windows(5).any(|bytes| bytes == b"twice"), "sm_{architecture}");
        }
    }

    #[test]
    fn a_mistake_in_the_source_is_one_line_with_its_place() {
        let Some(nvrtc) = nvrtc() else { return };
        let source = "__global__ void broken() {\n    undeclared = 1;\n}\n";
        let error = nvrtc
            .compile_to_cubin(source, "broken.cu", &["--gpu-architecture=sm_90"])
            .unwrap_err()
            .to_string();
        assert!(error.contains("broken.cu(2)") && error.contains("undeclared"), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }

    #[test]
    fn options_that_give_no_cubin_are_errors() {
        let Some(nvrtc) = nvrtc() else { return };
        for option in ["--gpu-architecture=compute_90", "--gpu-architecture=sm_1", "--no-such-option"] {
            let error = nvrtc.compile_to_cubin(KERNEL, "twice.cu", &[option]).unwrap_err().to_string();
            assert!(error.starts_with("CUDA could not compile twice.cu: "), "{option}: {error}");
        }
        assert!(nvrtc.compile_to_cubin("\0", "zero.cu", &["--gpu-architecture=sm_90"]).is_err());
    }

    #[test]
    fn what_is_no_library_is_refused_in_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("libnvrtc.so.13");
        std::fs::write(&path, "not a library").unwrap();
        let message = Nvrtc::open(&path).err().unwrap();
        assert!(
            message.ends_with("libnvrtc.so.13: file too short") && !message.contains('\n'),
            "{message:?}"
        );
    }
}
