//! The C functions of NVRTC, taken from a library that was found by path or by name.
//!
//! The crate's own build script compiles the kernels with these same functions, so this file stands for itself: it knows
//! nothing of the rest of the crate, and whatever goes wrong is told in its own [`Failure`].
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;
use std::ptr;

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

/// An opaque program of NVRTC.
type Handle = *mut c_void;
/// NVRTC's result codes. A plain integer: releases to come may return codes that no enum here knows.
type Code = c_int;
/// A list of strings, each ended by a zero byte.
type Strings = *const *const c_char;

/// NVRTC's functions with the C types of `nvrtc.h`.
struct Functions {
    version: unsafe extern "C" fn(*mut c_int, *mut c_int) -> Code,
    error_string: unsafe extern "C" fn(Code) -> *const c_char,
    architecture_count: unsafe extern "C" fn(*mut c_int) -> Code,
    architectures: unsafe extern "C" fn(*mut c_int) -> Code,
    create: unsafe extern "C" fn(*mut Handle, *const c_char, *const c_char, c_int, Strings, Strings) -> Code,
    compile: unsafe extern "C" fn(Handle, c_int, Strings) -> Code,
    log_size: unsafe extern "C" fn(Handle, *mut usize) -> Code,
    log: unsafe extern "C" fn(Handle, *mut c_char) -> Code,
    cubin_size: unsafe extern "C" fn(Handle, *mut usize) -> Code,
    cubin: unsafe extern "C" fn(Handle, *mut c_char) -> Code,
    ptx_size: unsafe extern "C" fn(Handle, *mut usize) -> Code,
    ptx: unsafe extern "C" fn(Handle, *mut c_char) -> Code,
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
                ptx_size: *library.get("nvrtcGetPTXSize")?,
                ptx: *library.get("nvrtcGetPTX")?,
                destroy: *library.get("nvrtcDestroyProgram")?,
            })
        }
    }
}

/// What NVRTC is given to compile.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Stands for the file name in messages.
    pub name: &'a str,
    /// CUDA C++.
    pub text: &'a str,
    /// Names and texts of the headers that it includes: NVRTC opens no file.
    pub headers: &'a [(&'a str, &'a str)],
}

/// What NVRTC makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    /// Machine code for the real architecture that the options name, such as `sm_90`: an ELF file.
    Cubin,
    /// Code for a virtual architecture, such as `compute_75`, which the driver translates: text that ends with a zero byte.
    Ptx,
}

/// The product of a compilation that went well.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The product's bytes.
    pub bytes: Vec<u8>,
    /// The compiler's warnings; empty if it had none.
    #[allow(dead_code, reason = "for the build script")]
    pub log: String,
}

/// Why NVRTC did not do what it was asked.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The reason in one line: NVRTC's own name for it and the first error of the log.
    pub message: String,
    /// The compiler's messages; empty if it came to none.
    #[allow(dead_code, reason = "for the build script")]
    pub log: String,
}

/// NVRTC, loaded. It may be called from several threads.
pub struct Binding {
    functions: Functions,
    /// Keeps the functions valid.
    _library: Library,
}

impl Binding {
    /// Opens a library by path, or by name where the system's loader looks. The builtins should be loaded before: see
    /// [`preload`].
    pub fn open(name: &Path) -> Result<Self, libloading::Error> {
        // SAFETY: NVRTC's initialisers have no preconditions. The file is one that the installation offers under
        // NVRTC's name; local symbols keep it apart from any other NVRTC in the process.
        let library = unsafe { Library::open(Some(name), RTLD_NOW | RTLD_LOCAL) }?;
        Ok(Self { functions: Functions::find(&library)?, _library: library })
    }

    /// Major and minor number of the CUDA release that it belongs to.
    pub fn release(&self) -> (u32, u32) {
        let (mut major, mut minor) = (0, 0);
        // SAFETY: both pointers are valid for the write of one integer.
        unsafe { (self.functions.version)(&raw mut major, &raw mut minor) };
        (major.unsigned_abs(), minor.unsigned_abs())
    }

    /// The architectures it can compile for, as in `sm_90`: 75, 80, 90 and so on.
    pub fn architectures(&self) -> Result<Vec<u32>, Failure> {
        let mut count = 0;
        // SAFETY: the pointer is valid for the write of one integer.
        self.check(unsafe { (self.functions.architecture_count)(&raw mut count) })?;
        let mut list = vec![0 as c_int; count.unsigned_abs() as usize];
        // SAFETY: NVRTC writes as many integers as it just counted, and the list has room for them.
        self.check(unsafe { (self.functions.architectures)(list.as_mut_ptr()) })?;
        Ok(list.into_iter().map(c_int::unsigned_abs).collect())
    }

    /// Compiles. `options` are NVRTC's own, one each; `product` must fit the architecture that they name.
    pub fn compile<Text: AsRef<str>>(
        &self,
        source: &Source<'_>,
        options: &[Text],
        product: Product,
    ) -> Result<Compiled, Failure> {
        let name = c_string(source.name)?;
        let text = c_string(source.text)?;
        let header_names = c_strings(source.headers.iter().map(|header| header.0))?;
        let header_texts = c_strings(source.headers.iter().map(|header| header.1))?;
        let options = c_strings(options.iter().map(AsRef::as_ref))?;
        let program = Program::create(self, &name, &text, &header_names, &header_texts)?;
        program.compile(&options)?;
        Ok(Compiled { bytes: program.product(product)?, log: program.log() })
    }

    fn check(&self, code: Code) -> Result<(), Failure> {
        if code == 0 {
            return Ok(());
        }
        Err(Failure { message: self.describe(code), log: String::new() })
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

/// Loads libraries that NVRTC will open by name, its builtins, and keeps them until the process ends. If one does not
/// load, NVRTC is left to look for it by itself, and a compilation shows whether it found any.
pub fn preload(builtins: &[impl AsRef<Path>]) {
    for path in builtins {
        // SAFETY: the builtins are data for NVRTC, without preconditions to being loaded.
        if let Ok(library) = unsafe { Library::open(Some(path.as_ref()), RTLD_NOW | RTLD_LOCAL) } {
            // NVRTC looks it up by name at every compilation: it stays loaded.
            std::mem::forget(library);
        }
    }
}

fn c_string(text: &str) -> Result<CString, Failure> {
    let refused = |_| Failure { message: "a zero byte is in the text".into(), log: String::new() };
    CString::new(text).map_err(refused)
}

fn c_strings<'a>(texts: impl Iterator<Item = &'a str>) -> Result<Vec<CString>, Failure> {
    texts.map(c_string).collect()
}

fn pointers(texts: &[CString]) -> Vec<*const c_char> {
    texts.iter().map(|text| text.as_ptr()).collect()
}

/// One compilation. Dropping it frees what NVRTC holds for it.
struct Program<'a> {
    nvrtc: &'a Binding,
    handle: Handle,
}

impl<'a> Program<'a> {
    /// NVRTC may keep pointing at the texts while the program lives, hence their lifetime.
    fn create(
        nvrtc: &'a Binding,
        name: &'a CStr,
        text: &'a CStr,
        header_names: &'a [CString],
        header_texts: &'a [CString],
    ) -> Result<Self, Failure> {
        let mut handle = ptr::null_mut();
        let (names, texts) = (pointers(header_names), pointers(header_texts));
        // SAFETY: source, name and headers are strings that end with a zero byte and outlive the program; both lists
        // hold as many headers as announced; the handle is valid for the write of one pointer.
        let code = unsafe {
            (nvrtc.functions.create)(
                &raw mut handle,
                text.as_ptr(),
                name.as_ptr(),
                names.len() as c_int,
                texts.as_ptr(),
                names.as_ptr(),
            )
        };
        nvrtc.check(code)?;
        Ok(Self { nvrtc, handle })
    }

    fn compile(&self, options: &[CString]) -> Result<(), Failure> {
        let options = pointers(options);
        // SAFETY: the program is alive; the list holds as many strings as announced, each alive during the call.
        let code =
            unsafe { (self.nvrtc.functions.compile)(self.handle, options.len() as c_int, options.as_ptr()) };
        if code == 0 {
            return Ok(());
        }
        let (log, reason) = (self.log(), self.nvrtc.describe(code));
        let first = log
            .lines()
            .find(|line| line.contains("error"))
            .or(log.lines().find(|line| !line.trim().is_empty()));
        let message = first.map_or_else(|| reason.clone(), |line| format!("{reason}: {}", line.trim()));
        Err(Failure { message, log })
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

    fn product(&self, product: Product) -> Result<Vec<u8>, Failure> {
        let functions = &self.nvrtc.functions;
        let (size_of, copy, wanted) = match product {
            Product::Cubin => (
                functions.cubin_size,
                functions.cubin,
                "machine code was made: name a real architecture, such as --gpu-architecture=sm_90",
            ),
            Product::Ptx => (
                functions.ptx_size,
                functions.ptx,
                "PTX was made: name a virtual architecture, such as --gpu-architecture=compute_75",
            ),
        };
        let mut size = 0;
        // SAFETY: the program is alive and the pointer valid for the write of one size.
        self.nvrtc.check(unsafe { size_of(self.handle, &raw mut size) })?;
        if size == 0 {
            return Err(Failure { message: format!("no {wanted}"), log: self.log() });
        }
        let mut bytes = vec![0u8; size];
        // SAFETY: NVRTC writes as many bytes as it just told.
        self.nvrtc.check(unsafe { copy(self.handle, bytes.as_mut_ptr().cast()) })?;
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
