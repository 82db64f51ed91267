//! Kernels as machine code for a GPU: from the cache folder, else from NVRTC, else the generic ones inside the program.
//!
//! ```text
//! SML_NO_JIT=1 -------------------------------------------------> embedded
//! else  cache folder --absent--> NVRTC --missing or refused-----> embedded
//! ```
//!
//! Generic kernels are not compiled at all where the program carries machine code of them that fits the GPU: NVRTC would
//! make the same, and would take longer for them than for all others, since nothing is pinned that lets it drop branches.
//!
//! Whatever goes wrong on the way is noted and the next source is tried: an error comes only from the last one.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::cached_kernel::CachedKernel;
use super::embedded_kernels::{embedded_architectures, embedded_kernel};
use super::kernel_cache;
use super::kernels::{Architecture, HEADERS, KernelVariant};
use super::nvrtc::{Nvrtc, REMEDY, Source};
use super::nvrtc_files::builtins_of;
use crate::{ComputeCapability, Error, Result};

/// Where a compiled kernel comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The cache folder.
    Cached,
    /// NVRTC, just now.
    Compiled,
    /// The program itself: a generic kernel.
    Embedded,
}

/// A kernel that the driver can load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompiledKernel {
    /// A cubin (an ELF file); or PTX that ends with a zero byte, where no machine code for the GPU can be made.
    pub bytes: Cow<'static, [u8]>,
    /// Where it comes from.
    pub origin: Origin,
    /// What a person should know, one line each: why the kernel is generic, and so slower than it could be, or why it
    /// will be compiled again at the next start. Usually empty.
    pub notes: Vec<String>,
}

/// A variant as machine code for a GPU. See [`KernelSupply`] for the order in which sources are tried.
///
/// # Errors
/// [`Error::Cuda`] if no source has it.
pub fn cubin(variant: &KernelVariant, gpu: ComputeCapability) -> Result<CompiledKernel> {
    KernelSupply::from_environment().cubin(variant, gpu)
}

/// Several variants at once, compiled in parallel, in the order of `variants`.
///
/// # Errors
/// That of the first variant that no source has.
pub fn compile_all(variants: &[KernelVariant], gpu: ComputeCapability) -> Result<Vec<CompiledKernel>> {
    KernelSupply::from_environment().compile_all(variants, gpu)
}

/// Forgets a kernel that the driver refused to load: it is removed from the cache folder, and the next
/// [`cubin`] compiles it anew.
pub fn discard(variant: &KernelVariant, gpu: ComputeCapability) {
    KernelSupply::from_environment().discard(variant, gpu);
}

/// The sources that compiled kernels may come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelSupply {
    /// The cache folder; `None` for none.
    pub folder: Option<PathBuf>,
    /// Whether kernels are compiled, and compiled ones read from the folder. If not, only embedded ones are used.
    pub compile: bool,
}

impl KernelSupply {
    /// As the environment says: `SML_CACHE_DIR` names the folder (see [`kernel_cache`]), `SML_NO_JIT=1` leaves nothing
    /// but embedded kernels.
    pub fn from_environment() -> Self {
        let switched_on = |value: &OsStr| !value.is_empty() && value != "0";
        let embedded_only = std::env::var_os("SML_NO_JIT").is_some_and(|value| switched_on(&value));
        Self { folder: kernel_cache::folder(), compile: !embedded_only }
    }

    /// A variant as machine code for a GPU.
    ///
    /// # Errors
    /// [`Error::Cuda`] if no source has it.
    pub fn cubin(&self, variant: &KernelVariant, gpu: ComputeCapability) -> Result<CompiledKernel> {
        let mut notes = Vec::new();
        let embedded = embedded_kernel(variant, number(gpu));
        let is_made = matches!(embedded, Some((Architecture::Real(_), _))) && *variant == variant.generic();
        if self.compile && !is_made {
            if let Some(bytes) = self.read(variant, gpu) {
                return Ok(CompiledKernel { bytes: bytes.into(), origin: Origin::Cached, notes });
            }
            match self.compile(variant, gpu, &mut notes) {
                Ok(bytes) => {
                    return Ok(CompiledKernel { bytes: bytes.into(), origin: Origin::Compiled, notes });
                }
                Err(reason) => notes.push(format!("{variant} is not specialised: {reason}")),
            }
        }
        match embedded {
            Some((_, bytes)) => Ok(CompiledKernel { bytes: bytes.into(), origin: Origin::Embedded, notes }),
            None => Err(self.nothing_for(variant, gpu, &notes)),
        }
    }

    /// Several variants at once, compiled in parallel, in the order of `variants`.
    ///
    /// # Errors
    /// That of the first variant that no source has.
    pub fn compile_all(
        &self,
        variants: &[KernelVariant],
        gpu: ComputeCapability,
    ) -> Result<Vec<CompiledKernel>> {
        variants.par_iter().map(|variant| self.cubin(variant, gpu)).collect()
    }

    /// Forgets a kernel that the driver refused to load: it is removed from the folder.
    pub fn discard(&self, variant: &KernelVariant, gpu: ComputeCapability) {
        if let (Some(folder), Some(nvrtc)) = (&self.folder, nvrtc_file()) {
            cached(folder, variant, gpu, &nvrtc).remove();
        }
    }

    /// From the folder. NVRTC's version is part of the key, and its files tell it: loading them would take longer than all
    /// the rest.
    fn read(&self, variant: &KernelVariant, gpu: ComputeCapability) -> Option<Vec<u8>> {
        cached(self.folder.as_deref()?, variant, gpu, &nvrtc_file()?).read()
    }

    /// By NVRTC, and into the folder. The error is why there is no kernel.
    fn compile(
        &self,
        variant: &KernelVariant,
        gpu: ComputeCapability,
        notes: &mut Vec<String>,
    ) -> Result<Vec<u8>, String> {
        let nvrtc = Nvrtc::find().map_err(|reason| format!("NVRTC was not found ({reason}); {REMEDY}"))?;
        let bytes = compile_with(nvrtc, variant, gpu).map_err(|error| error.to_string())?;
        let Some(folder) = &self.folder else { return Ok(bytes) };
        if let Err(reason) = cached(folder, variant, gpu, nvrtc.path()).write(&bytes) {
            notes.push(format!("kernels are compiled at every start: {reason}"));
        }
        Ok(bytes)
    }

    fn nothing_for(&self, variant: &KernelVariant, gpu: ComputeCapability, notes: &[String]) -> Error {
        let carried: Vec<_> = embedded_architectures().iter().map(ToString::to_string).collect();
        let carried = match carried.as_slice() {
            [] => "this program carries no compiled kernels: it was built without NVRTC".to_owned(),
            some => format!("this program carries kernels for {} only", some.join(", ")),
        };
        let reasons =
            if self.compile { notes.join("; ") } else { "SML_NO_JIT forbids compiling: unset it".to_owned() };
        Error::Cuda {
            action: format!("make the kernel {variant} for compute capability {gpu}"),
            message: format!("{carried}; {reasons}"),
        }
    }
}

/// Machine code where NVRTC makes it for this GPU or for one that this GPU can stand in for; else PTX.
fn compile_with(nvrtc: &Nvrtc, variant: &KernelVariant, gpu: ComputeCapability) -> Result<Vec<u8>> {
    let numbers = nvrtc.architectures()?;
    let available =
        numbers.iter().flat_map(|&number| [Architecture::Real(number), Architecture::Virtual(number)]);
    let name = format!("{}.cu", variant.file.name());
    let Some(architecture) = Architecture::best_of(available, number(gpu)) else {
        return Err(Error::Cuda {
            action: format!("compile {name}"),
            message: format!(
                "NVRTC {} makes no code for compute capability {gpu}: the oldest that it knows is {}",
                nvrtc.release(),
                numbers.iter().min().map_or_else(|| "none".to_owned(), |least| format!("sm_{least}"))
            ),
        });
    };
    let source = Source { name: &name, text: variant.file.source(), headers: &HEADERS };
    let options = variant.options(architecture);
    match architecture {
        Architecture::Real(_) => nvrtc.compile_to_cubin(&source, &options),
        Architecture::Virtual(_) => nvrtc.compile_to_ptx(&source, &options),
    }
}

/// Ten times the major number plus the minor one, as in `sm_90`.
fn number(gpu: ComputeCapability) -> u32 {
    gpu.major * 10 + gpu.minor
}

/// The NVRTC that would compile. Loading it is the last resort of finding it.
fn nvrtc_file() -> Option<PathBuf> {
    Nvrtc::first_file().or_else(|| Nvrtc::find().ok().map(|nvrtc| nvrtc.path().to_owned()))
}

/// The place of a variant in the cache folder, by everything that its machine code depends on.
fn cached(folder: &Path, variant: &KernelVariant, gpu: ComputeCapability, nvrtc: &Path) -> CachedKernel {
    let target = Architecture::Real(number(gpu));
    let options = variant.options(target);
    let nvrtc = identity(nvrtc);
    let headers = HEADERS.iter().flat_map(|header| [header.0, header.1]);
    let parts =
        [variant.file.source(), &nvrtc].into_iter().chain(headers).chain(options.iter().map(String::as_str));
    CachedKernel::new(folder, &format!("{}-{target}", variant.file.name()), parts)
}

/// A text that differs between releases of NVRTC: names and sizes of its files, of which the builtins' name holds the
/// release.
fn identity(nvrtc: &Path) -> String {
    let mut files = builtins_of(nvrtc);
    files.sort();
    files.push(nvrtc.to_owned());
    let one = |path: &PathBuf| {
        let bytes = path.metadata().map_or(0, |metadata| metadata.len());
        format!("{} {bytes}\n", path.file_name().unwrap_or_default().to_string_lossy())
    };
    files.iter().map(one).collect()
}
