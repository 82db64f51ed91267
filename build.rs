//! Tells the linker where libtorch lies, so that programs find it at run time without environment variables; and
//! compiles the GPU kernels that the program carries.
//!
//! Two kinds of run path are written into every binary of this package: paths relative to the binary itself, which
//! keep working when the clone is moved, and the absolute path of the libtorch that was linked against.
//!
//! Kernels are compiled by NVRTC, which needs no GPU: every generic kernel for every architecture of
//! `Architecture::EMBEDDED`. A kernel that does not compile fails the build. Where no NVRTC is found the program carries
//! none, and `sml doctor` tells so.

use std::env;
use std::process::ExitCode;

// The library's own definitions and calls: one copy of each.
#[cfg(feature = "cuda")]
#[path = "src/cuda/kernels.rs"]
#[allow(dead_code)]
mod kernels;
#[cfg(feature = "cuda")]
#[path = "src/cuda/nvrtc_binding.rs"]
#[allow(dead_code)]
mod nvrtc_binding;
#[cfg(feature = "cuda")]
#[path = "src/cuda/nvrtc_files.rs"]
mod nvrtc_files;
#[cfg(feature = "cuda")]
#[path = "src/cuda/plan/arguments.rs"]
#[allow(dead_code)]
mod plan;

/// Where `.libtorch/lib` lies seen from `target/<profile>/`, `target/<profile>/{deps,examples}/` and
/// `target/<triple>/<profile>/deps/`.
const RELATIVE: [&str; 3] = ["../..", "../../..", "../../../.."];

fn main() -> ExitCode {
    println!("cargo:rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_TORCH").is_some() {
        write_run_paths();
    }
    #[cfg(feature = "cuda")]
    if let Err(message) = embed::write_kernels() {
        eprintln!("{message}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn write_run_paths() {
    for up in RELATIVE {
        println!("cargo:rustc-link-arg=-Wl,-rpath,$ORIGIN/{up}/.libtorch/lib");
    }
    // Set by torch-sys' build script for its direct dependents.
    if let Ok(lib) = env::var("DEP_TCH_LIBTORCH_LIB") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{lib}");
    }
}

#[cfg(feature = "cuda")]
mod embed {
    use std::env;
    use std::fmt::Write as _;
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::kernels::{Architecture, HEADERS, KernelFile, KernelVariant};
    use super::nvrtc_binding::{Binding, Product, Source, preload};
    use super::nvrtc_files::{MAJORS, builtins_of, folders_around, nvrtc_in};

    /// One kernel to embed and the name of its file.
    struct Job {
        variant: KernelVariant,
        architecture: Architecture,
        file: String,
    }

    /// Writes the kernels, and the table of them that src/cuda/embedded_kernels.rs includes, to `OUT_DIR`. The error is
    /// what the build should end with.
    pub fn write_kernels() -> Result<(), String> {
        let folder = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
        ask_to_run_again();
        let jobs = match find_nvrtc() {
            Some(nvrtc) => compile(&nvrtc, &folder)?,
            None => Vec::new(),
        };
        write(&folder.join("embedded_kernels.rs"), text_of(&jobs).as_bytes())
    }

    /// When kernels or the places of NVRTC change. What this script is made of is known to cargo.
    fn ask_to_run_again() {
        for file in KernelFile::ALL {
            println!("cargo:rerun-if-changed=kernels/{}.cu", file.name());
        }
        for (name, _) in HEADERS {
            println!("cargo:rerun-if-changed=kernels/{name}");
        }
        for name in ["SML_NVRTC", "LIBTORCH", "CUDA_HOME", "CUDA_PATH"] {
            println!("cargo:rerun-if-env-changed={name}");
        }
    }

    /// The NVRTC that `SML_NVRTC` names; else the first that loads: beside the libtorch that is linked, in the source
    /// folder, in a toolkit, or where the system's loader looks.
    fn find_nvrtc() -> Option<Binding> {
        if let Some(path) = env::var_os("SML_NVRTC").filter(|value| !value.is_empty()).map(PathBuf::from) {
            preload(&builtins_of(&path));
            return Binding::open(&path).ok();
        }
        let linked = env::var_os("DEP_TCH_LIBTORCH_LIB").map(PathBuf::from);
        let given = env::var_os("LIBTORCH").map(|libtorch| Path::new(&libtorch).join("lib"));
        let fetched =
            env::var_os("CARGO_MANIFEST_DIR").map(|sources| Path::new(&sources).join(".libtorch/lib"));
        let toolkits = || ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(env::var_os).map(PathBuf::from);
        let places = [linked, given, fetched];
        let folders = places.iter().flatten().flat_map(|lib| folders_around(Some(lib), None, toolkits()));
        for path in folders.filter_map(|folder| nvrtc_in(&folder)) {
            preload(&builtins_of(&path));
            if let Ok(nvrtc) = Binding::open(&path) {
                println!("cargo:rerun-if-changed={}", path.display());
                return Some(nvrtc);
            }
        }
        MAJORS.iter().find_map(|major| Binding::open(Path::new(&format!("libnvrtc.so.{major}"))).ok())
    }

    /// Compiles every generic kernel for every architecture that this NVRTC knows, on all cores.
    fn compile(nvrtc: &Binding, folder: &Path) -> Result<Vec<Job>, String> {
        let known = nvrtc.architectures().map_err(|failure| failure.message)?;
        let is_known = |architecture: &Architecture| match architecture {
            Architecture::Real(number) | Architecture::Virtual(number) => known.contains(number),
        };
        let mut jobs = Vec::new();
        for variant in KernelVariant::all_generic() {
            for architecture in Architecture::EMBEDDED.into_iter().filter(is_known) {
                let file = format!("kernel_{}", jobs.len());
                jobs.push(Job { variant: variant.clone(), architecture, file });
            }
        }
        let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
                scope.spawn(|| {
                    while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if let (Err(message), Ok(mut failures)) =
                            (compile_one(nvrtc, job, folder), failures.lock())
                        {
                            failures.push(message);
                        }
                    }
                });
            }
        });
        // The same mistake is made for every architecture: one report of it is enough.
        let failures = failures.into_inner().map_err(|_| "a thread that compiles kernels ended early")?;
        failures.into_iter().next().map_or(Ok(jobs), Err)
    }

    fn compile_one(nvrtc: &Binding, job: &Job, folder: &Path) -> Result<(), String> {
        let Job { variant, architecture, file } = job;
        let name = format!("kernels/{}.cu", variant.file.name());
        let source = Source { name: &name, text: variant.file.source(), headers: &HEADERS };
        let product = match architecture {
            Architecture::Real(_) => Product::Cubin,
            Architecture::Virtual(_) => Product::Ptx,
        };
        let options = variant.options(*architecture);
        let (code, recipe_file) = (folder.join(file), folder.join(format!("{file}.recipe")));
        // Whatever the code depends on. After a change of one kernel the others' code is still there and stays.
        let recipe = format!("{:?} {source:?} {options:?}", nvrtc.release());
        if code.is_file() && fs::read_to_string(&recipe_file).is_ok_and(|old| old == recipe) {
            return Ok(());
        }
        let compiled = nvrtc.compile(&source, &options, product).map_err(|failure| {
            format!("{variant} for {architecture}: {}\n{}", failure.message, failure.log)
        })?;
        for line in compiled.log.lines().filter(|line| line.contains("warning")) {
            println!("cargo:warning={variant} for {architecture}: {line}");
        }
        // The recipe last: a build that is interrupted leaves no code with the wrong one.
        let _ = fs::remove_file(&recipe_file);
        write(&code, &compiled.bytes)?;
        write(&recipe_file, recipe.as_bytes())
    }

    fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
        fs::write(path, bytes).map_err(|error| format!("{}: {error}", path.display()))
    }

    fn text_of(jobs: &[Job]) -> String {
        let mut text = String::from("static KERNELS: &[EmbeddedKernel] = &[\n");
        for Job { variant, architecture, file } in jobs {
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "    (\"{variant}\", Architecture::{architecture:?}, &Aligned(*include_bytes!(\"{file}\")).0),"
            );
        }
        text.push_str("];\n");
        text
    }
}
