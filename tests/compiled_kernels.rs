//! Kernels as machine code: compiled, cached, shared by processes, and embedded. Neither a GPU nor a driver is needed.
//!
//! What depends on the environment runs in processes of its own: this very test program, asked to run one test
//! ([`as_a_process`]) that does what `SML_TEST_PROCESS` says.
#![cfg(feature = "cuda")]
#![allow(clippy::panic, clippy::unwrap_used, reason = "functions that tests share fail as tests do")]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use sml::cuda::compiled_kernels::{self, CompiledKernel, KernelSupply, Origin};
use sml::cuda::kernels::{Architecture, KernelFile, KernelVariant};
use sml::cuda::nvrtc::Nvrtc;
use sml::cuda::plan::{GpuLimits, Plan};
use sml::{Capacity, ComputeCapability, Params, Size};

const H200: ComputeCapability = ComputeCapability { major: 9, minor: 0 };

fn supply(folder: &Path) -> KernelSupply {
    KernelSupply { folder: Some(folder.to_owned()), compile: true }
}

/// Two specialised kernels that compile fast.
fn quick_variants() -> [KernelVariant; 2] {
    [(6, 7), (3, 5)].map(|(dilation, taps)| KernelVariant {
        file: KernelFile::Smooth,
        defines: vec![("SML_DILATION", dilation), ("SML_TAPS", taps)],
    })
}

/// Whether this machine has NVRTC. Where it has not, the test says so, and fails if nothing may be missing.
fn nvrtc_is_here() -> bool {
    let Err(error) = Nvrtc::load() else { return true };
    assert!(std::env::var_os("SML_REQUIRE_DATA").is_none(), "{error}");
    eprintln!("skipped: {error}");
    false
}

/// Entry points of a kernel: every function declared `extern "C" __global__` in its source.
fn entries(file: KernelFile) -> Vec<String> {
    let declarations = file.source().split("extern \"C\" __global__ void").skip(1);
    let name = |text: &str| {
        let before_parameters = text.split("(const ").next().unwrap();
        before_parameters.split_whitespace().next_back().unwrap().to_owned()
    };
    declarations.map(name).collect()
}

/// The architecture that an ELF file for NVIDIA GPUs is made for, as in `sm_90`.
fn architecture_of(cubin: &[u8]) -> u32 {
    assert!(cubin.starts_with(b"\x7fELF"));
    assert_eq!(u16::from_le_bytes([cubin[18], cubin[19]]), 190, "ELF machine number of CUDA");
    let flags = u32::from_le_bytes(cubin[48..52].try_into().unwrap());
    // Since CUDA 13 (ABI version 8) the architecture stands in the second byte, before in the first.
    if cubin[8] >= 8 { flags >> 8 & 0xff } else { flags & 0xff }
}

fn assert_has_entries(code: &[u8], file: KernelFile) {
    for entry in entries(file) {
        let symbol = [entry.as_bytes(), b"\0"].concat();
        assert!(code.windows(symbol.len()).any(|bytes| bytes == symbol), "{entry} is missing");
    }
}

#[test]
fn the_second_request_is_served_from_the_folder() {
    if !nvrtc_is_here() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let supply = supply(&folder.path().join("cache"));
    let [variant, other] = quick_variants();
    let first = supply.cubin(&variant, H200).unwrap();
    assert_eq!((first.origin, first.notes.as_slice()), (Origin::Compiled, [].as_slice()));
    assert_eq!(architecture_of(&first.bytes), 90);
    assert_has_entries(&first.bytes, variant.file);

    let second = supply.cubin(&variant, H200).unwrap();
    assert_eq!(second, CompiledKernel { origin: Origin::Cached, ..first.clone() });
    assert_eq!(supply.cubin(&other, H200).unwrap().origin, Origin::Compiled, "another kernel");
    let turing = ComputeCapability { major: 7, minor: 5 };
    assert_eq!(architecture_of(&supply.cubin(&variant, turing).unwrap().bytes), 75, "another GPU");

    supply.discard(&variant, H200);
    assert_eq!(supply.cubin(&variant, H200).unwrap(), first, "what was discarded is compiled anew");
}

#[test]
fn many_kernels_come_in_the_order_they_were_asked_for() {
    if !nvrtc_is_here() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let variants = quick_variants();
    let supply = supply(&folder.path().join("cache"));
    let compiled = supply.compile_all(&variants, H200).unwrap();
    for (variant, kernel) in variants.iter().zip(&compiled) {
        assert_eq!(kernel.origin, Origin::Compiled);
        assert_has_entries(&kernel.bytes, variant.file);
    }
    let start = Instant::now();
    let cached = supply.compile_all(&variants, H200).unwrap();
    eprintln!("{} kernels from the folder in {:?}", cached.len(), start.elapsed());
    assert!(cached.iter().all(|kernel| kernel.origin == Origin::Cached));
    assert!(cached.iter().zip(&compiled).all(|(cached, compiled)| cached.bytes == compiled.bytes));
}

/// Construction should take less than a second when nothing is cached, and less than 50 ms when all is. Times depend on the
/// machine and are printed; what is compiled does not.
#[test]
fn an_engine_compiles_what_is_specialised_and_only_once() {
    if !nvrtc_is_here() {
        return;
    }
    let output = Size::new(1024, 2048);
    let folder = tempfile::tempdir().unwrap();
    let supply = supply(&folder.path().join("cache"));
    for fraction in [1, 4] {
        let logits = Size::new(output.height / fraction, output.width / fraction);
        let capacity = Capacity { batch: 1, classes: 19, logits, output };
        let limits = GpuLimits { multiprocessors: 132, shared_bytes: 227 << 10 };
        let plan = Plan::new(Params::default(), capacity, limits);
        let request = || {
            let start = Instant::now();
            let kernels = supply.compile_all(plan.variants(), H200).unwrap();
            let count = |origin| kernels.iter().filter(|kernel| kernel.origin == origin).count();
            let counts = [Origin::Compiled, Origin::Cached, Origin::Embedded].map(count);
            eprintln!(
                "logits of 1/{fraction}: {counts:?} compiled, cached, embedded in {:.1?}",
                start.elapsed()
            );
            counts
        };
        let generic = plan.variants().iter().filter(|variant| **variant == variant.generic()).count();
        let [compiled, cached, embedded] = request();
        // The later stages are the same for both resolutions.
        assert_eq!((compiled + cached, embedded), (plan.variants().len() - generic, generic));
        assert_eq!(cached, if fraction == 1 { 0 } else { 2 });
        assert_eq!(request(), [0, compiled + cached, embedded]);
    }
}

#[test]
fn a_generic_kernel_that_the_program_carries_is_not_compiled_again() {
    if !nvrtc_is_here() {
        return;
    }
    let supply = KernelSupply { folder: None, compile: true };
    let generic = quick_variants()[0].generic();
    let origin = |major, minor| supply.cubin(&generic, ComputeCapability { major, minor }).unwrap().origin;
    assert_eq!(origin(9, 0), Origin::Embedded);
    assert_eq!(origin(10, 3), Origin::Embedded, "machine code for 10.0 runs on 10.3");
    assert_eq!(origin(11, 0), Origin::Compiled, "the program carries PTX, NVRTC makes machine code");
}

#[test]
fn a_gpu_between_two_that_nvrtc_knows_gets_the_machine_code_of_the_older() {
    if !nvrtc_is_here() {
        return;
    }
    let [variant, _] = quick_variants();
    let supply = KernelSupply { folder: None, compile: true };
    let code = |major, minor| supply.cubin(&variant, ComputeCapability { major, minor }).unwrap();
    assert_eq!(architecture_of(&code(9, 1).bytes), 90);
    let unknown = code(99, 0);
    assert_eq!(unknown.origin, Origin::Compiled);
    let text = std::str::from_utf8(unknown.bytes.strip_suffix(b"\0").unwrap()).unwrap();
    assert!(
        text.contains(".target sm_") && text.contains(".entry smooth"),
        "PTX, which the driver translates"
    );
}

#[test]
fn an_unwritable_folder_costs_time_and_is_told() {
    if !nvrtc_is_here() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("file"), "").unwrap();
    let supply = supply(&root.path().join("file/cache"));
    let [variant, _] = quick_variants();
    for _ in 0..2 {
        let kernel = supply.cubin(&variant, H200).unwrap();
        assert_eq!(kernel.origin, Origin::Compiled);
        let [note] = kernel.notes.as_slice() else { panic!("{:?}", kernel.notes) };
        assert!(note.starts_with("kernels are compiled at every start: ") && !note.contains('\n'), "{note}");
    }
}

#[test]
fn the_program_carries_every_generic_kernel_for_every_architecture() {
    if !nvrtc_is_here() {
        return;
    }
    let supply = KernelSupply { folder: None, compile: false };
    for architecture in Architecture::EMBEDDED {
        // No cubin fits a GPU that comes after all of them.
        let number = if let Architecture::Real(number) = architecture { number } else { 990 };
        let gpu = ComputeCapability { major: number / 10, minor: number % 10 };
        for variant in KernelVariant::all_generic() {
            let kernel = supply.cubin(&variant, gpu).unwrap();
            assert_eq!((kernel.origin, kernel.notes.len()), (Origin::Embedded, 0), "{variant}");
            match architecture {
                Architecture::Real(number) => {
                    assert_eq!(architecture_of(&kernel.bytes), number, "{variant}");
                    assert_has_entries(&kernel.bytes, variant.file);
                }
                Architecture::Virtual(number) => {
                    let text = std::str::from_utf8(kernel.bytes.strip_suffix(b"\0").unwrap()).unwrap();
                    assert!(text.contains(&format!(".target sm_{number}")), "{variant}");
                    for entry in entries(variant.file) {
                        assert!(text.contains(&format!(".entry {entry}(")), "{entry} is missing");
                    }
                }
            }
        }
    }
}

#[test]
fn a_gpu_that_no_kernel_fits_is_an_error_with_a_remedy() {
    let kepler = ComputeCapability { major: 3, minor: 5 };
    let [variant, _] = quick_variants();
    for compile in [true, false] {
        let supply = KernelSupply { folder: None, compile };
        let error = supply.cubin(&variant, kepler).unwrap_err().to_string();
        assert!(
            error.starts_with("CUDA could not make the kernel smooth[SML_DILATION=6 SML_TAPS=7] for compute capability 3.5: "),
            "{error}"
        );
        assert!(!error.contains('\n'), "{error}");
        assert!(compile || error.ends_with("SML_NO_JIT forbids compiling: unset it"), "{error}");
    }
}

/// Runs in a process that another test started; does nothing in any other.
#[test]
fn as_a_process() {
    if std::env::var_os("SML_TEST_PROCESS").is_none() {
        return;
    }
    // The test runner's own text stands before.
    println!();
    for variant in quick_variants() {
        let kernel = compiled_kernels::cubin(&variant, H200).unwrap();
        println!("{:?} {} {:?}", kernel.origin, architecture_of(&kernel.bytes), kernel.notes);
    }
}

fn start_process(variables: &[(&str, &str)]) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "as_a_process", "--nocapture", "--test-threads=1"]);
    command.env_remove("SML_NO_JIT").env_remove("SML_NVRTC").env("SML_TEST_PROCESS", "1");
    command.envs(variables.iter().copied());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// The process's lines about kernels.
fn report(process: Child) -> Vec<String> {
    let output = process.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text.lines().filter(|line| line.contains(" 90 ")).map(str::to_owned).collect()
}

#[test]
fn processes_that_start_together_share_the_folder() {
    if !nvrtc_is_here() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("cache");
    let variables = [("SML_CACHE_DIR", folder.to_str().unwrap())];
    let processes: Vec<_> = (0..6).map(|_| start_process(&variables)).collect();
    for process in processes {
        let lines = report(process);
        assert_eq!(lines.len(), 2);
        assert!(lines.iter().all(|line| line.ends_with(" 90 []")), "{lines:?}");
    }
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2, "one file a kernel, nothing temporary");
    assert_eq!(report(start_process(&variables)), ["Cached 90 []"; 2]);
}

#[test]
fn without_compilation_the_embedded_kernels_serve() {
    if !nvrtc_is_here() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("cache");
    let variables = [("SML_CACHE_DIR", folder.to_str().unwrap()), ("SML_NO_JIT", "1")];
    assert_eq!(report(start_process(&variables)), ["Embedded 90 []"; 2]);
    assert!(!folder.exists());
}

#[test]
fn without_nvrtc_the_embedded_kernels_serve_and_the_reason_is_told() {
    if !nvrtc_is_here() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let missing = root.path().join("libnvrtc.so.13");
    let variables =
        [("SML_CACHE_DIR", root.path().to_str().unwrap()), ("SML_NVRTC", missing.to_str().unwrap())];
    let lines = report(start_process(&variables));
    assert_eq!(lines.len(), 2);
    for line in lines {
        assert!(line.starts_with("Embedded 90 [\""), "{line}");
        assert!(
            line.contains("is not specialised: NVRTC was not found") && line.contains("libnvrtc.so.13"),
            "{line}"
        );
    }
}
