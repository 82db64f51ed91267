//! The verdicts on driver, GPUs, NVRTC and kernel cache.

use super::checks::{Check, GpuWish};
use super::facts::{Cuda, Driver, Finding, KernelCache, NvrtcFacts};
use crate::{ComputeCapability, DeviceRequest, Gpu};

/// The oldest GPUs for which CUDA 13 still compiles.
const OLDEST_GPU: ComputeCapability = ComputeCapability { major: 7, minor: 5 };

const NVRTC_REMEDY: &str =
    "run scripts/setup.sh in the source folder, or set CUDA_HOME to a CUDA toolkit of version 12 or newer";

/// All of them, in the order of the report.
pub(super) fn judge_cuda(cuda: &Cuda, wish: GpuWish, request: DeviceRequest) -> Vec<Check> {
    let mut checks = vec![driver(&cuda.driver, wish)];
    checks.extend(cuda.gpus().iter().map(|gpu| judge_gpu(gpu, wish)));
    checks.extend(missing_gpu(cuda, wish, request));
    checks.push(nvrtc(&cuda.nvrtc, wish, &cuda.embedded_kernels));
    checks.push(embedded_kernels(&cuda.embedded_kernels));
    checks.push(kernel_cache(cuda.kernel_cache.as_ref(), wish));
    checks
}

fn driver(driver: &Finding<Driver>, wish: GpuWish) -> Check {
    match driver {
        Finding::Present(found) => {
            let release = found.release.as_ref().map(|release| format!("{release}, ")).unwrap_or_default();
            let text = format!("{release}supports CUDA {}", found.cuda);
            if found.is_new_enough {
                return Check::ok("NVIDIA driver", text);
            }
            let text = format!("{text}, and {} is needed", found.needed_cuda);
            wish.problem("NVIDIA driver", text, "update the driver to 580 or newer")
        }
        Finding::Absent(reason) => wish.problem(
            "NVIDIA driver",
            format!("none: the engine runs on the CPU ({reason})"),
            "install the NVIDIA driver; in a container, pass the GPUs through (docker run --gpus all)",
        ),
        // There is a driver, so somebody meant a GPU to work here.
        Finding::Broken(reason) => {
            let needed = wish == GpuWish::Demanded;
            let remedy = "see what nvidia-smi says; after an update of the driver, restart the machine";
            Check { needed, ..Check::problem("NVIDIA driver", reason.clone(), remedy) }
        }
    }
}

fn judge_gpu(gpu: &Gpu, wish: GpuWish) -> Check {
    let name = format!("GPU cuda:{}", gpu.ordinal);
    let text = format!(
        "{}, compute capability {}, {:.1} GiB, {} multiprocessors, {:.0} MiB L2, PCI {}",
        gpu.name,
        gpu.compute_capability,
        gpu.memory_bytes as f64 / f64::from(1 << 30),
        gpu.multiprocessors,
        gpu.l2_bytes as f64 / f64::from(1 << 20),
        gpu.pci_address,
    );
    if gpu.compute_capability >= OLDEST_GPU {
        return Check::ok(name, text);
    }
    let text = format!("{text}: CUDA 13 supports {OLDEST_GPU} and newer");
    wish.problem(name, text, "use a newer GPU, or --device cpu")
}

/// The line for a machine whose driver shows no GPU, or not the one that was asked for.
fn missing_gpu(cuda: &Cuda, wish: GpuWish, request: DeviceRequest) -> Option<Check> {
    let count = cuda.driver.present()?.gpus.len();
    let hidden = cuda.visible_devices.as_ref().map(|list| format!(" (CUDA_VISIBLE_DEVICES is {list:?})"));
    let hidden = hidden.unwrap_or_default();
    let remedy = "check that nvidia-smi lists the GPU and that CUDA_VISIBLE_DEVICES does not hide it";
    match request {
        DeviceRequest::Cuda(ordinal) if ordinal >= count => Some(wish.problem(
            format!("GPU cuda:{ordinal}"),
            format!("the driver shows {count} GPU(s){hidden}"),
            remedy,
        )),
        _ if count == 0 => {
            Some(wish.problem("GPU", format!("none: the engine runs on the CPU{hidden}"), remedy))
        }
        _ => None,
    }
}

fn nvrtc(nvrtc: &Finding<NvrtcFacts>, wish: GpuWish, embedded: &[String]) -> Check {
    match nvrtc {
        Finding::Present(found) => judge_nvrtc(found, wish),
        Finding::Absent(reason) | Finding::Broken(reason) if embedded.is_empty() => wish.problem(
            "NVRTC",
            format!("not loaded: GPU kernels cannot be compiled ({reason})"),
            NVRTC_REMEDY,
        ),
        Finding::Absent(reason) | Finding::Broken(reason) => Check::note(
            "NVRTC",
            format!("not loaded: the generic kernels inside the program serve, which are slower ({reason})"),
        ),
    }
}

fn embedded_kernels(architectures: &[String]) -> Check {
    const NAME: &str = "embedded kernels";
    if architectures.is_empty() {
        return Check::note(
            NAME,
            "none: this program was built without NVRTC, which GPUs need to run it then",
        );
    }
    Check::ok(NAME, format!("generic ones for {}", architectures.join(", ")))
}

fn judge_nvrtc(found: &NvrtcFacts, wish: GpuWish) -> Check {
    let builtins = match &found.builtins {
        Some(path) => path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned(),
        None => "builtins left to the system's search".into(),
    };
    let text = format!("{} ({}, {builtins})", found.release, found.path.display());
    let architecture = &found.proof_architecture;
    match &found.proof_error {
        None => Check::ok("NVRTC", format!("{text}, compiled a kernel for {architecture}")),
        Some(error) => wish.problem(
            "NVRTC",
            format!("{text} compiled no kernel for {architecture}: {error}"),
            NVRTC_REMEDY,
        ),
    }
}

fn kernel_cache(cache: Option<&KernelCache>, wish: GpuWish) -> Check {
    const NAME: &str = "kernel cache";
    let Some(cache) = cache else {
        let text = "no folder: neither SML_CACHE_DIR nor HOME is set";
        return wish.problem(NAME, text, "set SML_CACHE_DIR to a folder that can be written");
    };
    let folder = cache.folder.display();
    if let Some(error) = &cache.write_error {
        let text = format!("{folder} cannot be written ({error}): kernels would be compiled at every start");
        return wish.problem(NAME, text, "make it writable, or set SML_CACHE_DIR to another folder");
    }
    match cache {
        KernelCache { exists: false, .. } => Check::note(
            NAME,
            format!("{folder} is not there: no GPU kernel was compiled yet; it can be created"),
        ),
        KernelCache { files: 0, .. } => {
            Check::ok(NAME, format!("{folder} is empty: no GPU kernel was compiled yet; it can be written"))
        }
        KernelCache { files, bytes, .. } => {
            Check::ok(NAME, format!("{folder} holds {files} file(s), {bytes} bytes, and can be written"))
        }
    }
}
