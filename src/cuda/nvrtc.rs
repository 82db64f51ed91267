//! NVRTC, NVIDIA's run-time compiler: CUDA C++ in, machine code (a cubin) out. It needs no GPU and no driver.
//!
//! NVRTC is two libraries: `libnvrtc.so` opens `libnvrtc-builtins.so` by its bare name while it compiles, and the
//! system's loader then looks only where it always looks, not in the folder NVRTC came from. So the builtins are loaded
//! first, by full path, from the same folder; when NVRTC asks for them by name, the loader finds them loaded already.
//!
//! `SML_NVRTC` names the library's file; without it, where the files lie is found by `nvrtc_files`. The calls themselves are in `nvrtc_binding`. The functions are taken from
//! the library that was found, and not by name from whichever NVRTC the loader would meet first.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::driver::CudaRelease;
use super::nvrtc_binding::{Binding, Compiled, Failure, Product, preload};
use super::nvrtc_files::{MAJORS, builtins_of, folders_around, nvrtc_in};
use crate::loaded_library::{loaded_library, loader_message};
use crate::{Error, Result};

pub use super::nvrtc_binding::Source;

/// How to come by NVRTC.
pub(crate) const REMEDY: &str = "run scripts/setup.sh in the source folder, or pip install nvidia-cuda-nvrtc, or set CUDA_HOME to a \
                      CUDA toolkit of version 12 or newer";

/// The run-time compiler, loaded. It stays loaded until the process ends; NVRTC may be called from several threads.
pub struct Nvrtc {
    binding: Binding,
    path: PathBuf,
    builtins: Option<PathBuf>,
    release: CudaRelease,
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
        match LOADED.get() {
            Some(nvrtc) => Ok(nvrtc),
            None => Self::search().map(|found| LOADED.get_or_init(|| found)),
        }
    }

    /// The file that [`load`](Self::load) will try first, or has loaded: looking for it costs a tenth of loading it.
    /// `None` where NVRTC can only be found by the system's loader.
    pub(super) fn first_file() -> Option<PathBuf> {
        match LOADED.get() {
            Some(nvrtc) => Some(nvrtc.path.clone()),
            None => named_file().or_else(|| candidate_folders().iter().find_map(|folder| nvrtc_in(folder))),
        }
    }

    /// The first that loads. The reason for a failure is what the loader said of the first file that exists, else of
    /// the last name that was tried.
    fn search() -> Result<Self, String> {
        if let Some(path) = named_file() {
            preload(&builtins_of(&path));
            return Self::open(&path)
                .map_err(|message| format!("SML_NVRTC names a file that does not load: {message}"));
        }
        let mut reason = None;
        for path in candidate_folders().iter().filter_map(|folder| nvrtc_in(folder)) {
            preload(&builtins_of(&path));
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
        let binding = Binding::open(name).map_err(|error| loader_message(&error))?;
        let (major, minor) = binding.release();
        let path =
            if name.is_absolute() { Some(name.to_owned()) } else { loaded_library(&name.to_string_lossy()) };
        Ok(Self {
            binding,
            path: path.unwrap_or_else(|| name.to_owned()),
            builtins: loaded_library("libnvrtc-builtins.so"),
            release: CudaRelease { major, minor },
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
        self.binding.architectures().map_err(|failure| refused("list architectures".into(), failure))
    }

    /// Compiles CUDA C++ to a cubin.
    ///
    /// `options` are NVRTC's own, one each, and must name a real architecture (`--gpu-architecture=sm_90`): virtual ones
    /// (`compute_90`) give PTX and no cubin.
    ///
    /// # Errors
    /// [`Error::Cuda`] if the source does not compile, with the compiler's first error; or if the builtins are missing.
    pub fn compile_to_cubin(&self, source: &Source<'_>, options: &[impl AsRef<str>]) -> Result<Vec<u8>> {
        self.compile(source, options, Product::Cubin)
    }

    /// Compiles CUDA C++ to PTX, which the driver translates for its GPU: text that ends with a zero byte.
    ///
    /// `options` must name a virtual architecture (`--gpu-architecture=compute_75`). The driver must know the release of
    /// PTX that NVRTC writes: that of its own CUDA release.
    ///
    /// # Errors
    /// Those of [`compile_to_cubin`](Self::compile_to_cubin).
    pub fn compile_to_ptx(&self, source: &Source<'_>, options: &[impl AsRef<str>]) -> Result<Vec<u8>> {
        self.compile(source, options, Product::Ptx)
    }

    fn compile(&self, source: &Source<'_>, options: &[impl AsRef<str>], product: Product) -> Result<Vec<u8>> {
        match self.binding.compile(source, options, product) {
            Ok(Compiled { bytes, .. }) => Ok(bytes),
            Err(failure) => Err(refused(format!("compile {}", source.name), failure)),
        }
    }
}

static LOADED: OnceLock<Nvrtc> = OnceLock::new();

fn refused(action: String, failure: Failure) -> Error {
    Error::Cuda { action, message: failure.message }
}

/// The file that the environment names, and then the only one that is tried.
fn named_file() -> Option<PathBuf> {
    std::env::var_os("SML_NVRTC").filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Folders that may hold NVRTC, in the order in which they are tried. They need not exist.
fn candidate_folders() -> Vec<PathBuf> {
    let libtorch = loaded_library("libtorch_cpu.so").and_then(|path| path.parent().map(Path::to_owned));
    let program = std::env::current_exe().ok().and_then(|path| path.parent().map(Path::to_owned));
    let toolkits = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(std::env::var_os).map(PathBuf::from);
    folders_around(libtorch.as_deref(), program.as_deref(), toolkits)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWICE: Source<'_> = Source {
        name: "twice.cu",
        text: "extern \"C\" __global__ void twice(float* x) {\n    x[threadIdx.x] *= 2.0f;\n}\n",
        headers: &[],
    };

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
            let cubin = nvrtc.compile_to_cubin(&TWICE, &[option]).unwrap();
            assert!(cubin.starts_with(b"\x7fELF"), "sm_{architecture}");
            assert!(cubin.windows(5).any(|bytes| bytes == b"twice"), "sm_{architecture}");
        }
    }

    #[test]
    fn a_mistake_in_the_source_is_one_line_with_its_place() {
        let Some(nvrtc) = nvrtc() else { return };
        let text = "__global__ void broken() {\n    undeclared = 1;\n}\n";
        let source = Source { name: "broken.cu", text, headers: &[] };
        let error = nvrtc.compile_to_cubin(&source, &["--gpu-architecture=sm_90"]).unwrap_err().to_string();
        assert!(error.contains("broken.cu(2)") && error.contains("undeclared"), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }

    #[test]
    fn options_that_give_no_cubin_are_errors() {
        let Some(nvrtc) = nvrtc() else { return };
        for option in ["--gpu-architecture=compute_90", "--gpu-architecture=sm_1", "--no-such-option"] {
            let error = nvrtc.compile_to_cubin(&TWICE, &[option]).unwrap_err().to_string();
            assert!(error.starts_with("CUDA could not compile twice.cu: "), "{option}: {error}");
        }
        let zero = Source { name: "zero.cu", text: "\0", headers: &[] };
        assert!(nvrtc.compile_to_cubin(&zero, &["--gpu-architecture=sm_90"]).is_err());
    }

    #[test]
    fn headers_are_read_from_memory_and_nowhere_else() {
        let Some(nvrtc) = nvrtc() else { return };
        let text =
            "#include \"factor.cuh\"\nextern \"C\" __global__ void scale(float* x) { *x *= FACTOR; }\n";
        let options = ["--gpu-architecture=sm_90"];
        let with = |headers| nvrtc.compile_to_cubin(&Source { name: "scale.cu", text, headers }, &options);
        assert!(with(&[("factor.cuh", "#define FACTOR 3.0f\n")]).unwrap().starts_with(b"\x7fELF"));
        assert_ne!(
            with(&[("factor.cuh", "#define FACTOR 3.0f\n")]).unwrap(),
            with(&[("factor.cuh", "#define FACTOR 5.0f\n")]).unwrap()
        );
        let error = with(&[("factor.cuh", "#error no factor\n")]).unwrap_err().to_string();
        assert!(error.contains("factor.cuh(1)") && error.contains("no factor"), "{error}");
        assert!(with(&[]).unwrap_err().to_string().contains("factor.cuh"));
    }

    #[test]
    fn ptx_is_text_that_ends_with_a_zero_byte() {
        let Some(nvrtc) = nvrtc() else { return };
        let ptx = nvrtc.compile_to_ptx(&TWICE, &["--gpu-architecture=compute_75"]).unwrap();
        let text = std::str::from_utf8(ptx.strip_suffix(b"\0").unwrap()).unwrap();
        assert!(text.contains(".target sm_75") && text.contains("twice") && !text.contains('\0'));
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
