//! What is there: program, processor, threads, libtorch, driver, GPUs, compiler and kernel cache, without a verdict.
//!
//! The types are the same in every build; parts that were not compiled in are `None`.

use std::path::PathBuf;

use serde::Serialize;

use crate::Gpu;

/// Everything that was found out.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Facts {
    pub program: Program,
    pub processor: Processor,
    pub threads: Threads,
    /// `None`: built without the feature `torch`.
    pub libtorch: Option<Libtorch>,
    /// `None`: built without the feature `cuda`.
    pub cuda: Option<Cuda>,
}

/// Something that is looked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(
    not(any(feature = "torch", feature = "cuda")),
    allow(dead_code, reason = "nothing is looked for then")
)]
pub(super) enum Finding<T> {
    /// It is there and answers.
    Present(T),
    /// It is not there; says what was looked for.
    Absent(String),
    /// It is there and does not work; says how it fails.
    Broken(String),
}

impl<T> Finding<T> {
    pub fn present(&self) -> Option<&T> {
        match self {
            Self::Present(thing) => Some(thing),
            Self::Absent(_) | Self::Broken(_) => None,
        }
    }
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Program {
    pub version: &'static str,
    pub features: Vec<&'static str>,
    pub operating_system: &'static str,
    pub architecture: &'static str,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Processor {
    pub name: Option<String>,
    pub instruction_sets: Vec<&'static str>,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Threads {
    /// How many the system lets this process run at once.
    pub available: usize,
    /// Threads of the engine (rayon).
    pub engine: usize,
    /// Threads within one operation of libtorch.
    pub libtorch: Option<usize>,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Libtorch {
    pub path: Option<PathBuf>,
    pub version: Option<String>,
    pub expected_version: &'static str,
    /// Why a small computation failed; `None` if it gave the right numbers.
    pub computation_error: Option<String>,
    /// The file of the CUDA half. `None` if the CPU alone was asked for, and it was left alone.
    pub cuda_half: Option<Finding<PathBuf>>,
    /// GPUs that libtorch can use.
    pub gpus: usize,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Cuda {
    pub driver: Finding<Driver>,
    /// `CUDA_VISIBLE_DEVICES`, which hides GPUs, if it is set.
    pub visible_devices: Option<String>,
    pub nvrtc: Finding<NvrtcFacts>,
    /// What the generic kernels inside the program were compiled for (`sm_90` and so on).
    pub embedded_kernels: Vec<String>,
    /// `None`: the environment names no folder for it.
    pub kernel_cache: Option<KernelCache>,
}

impl Cuda {
    pub fn gpus(&self) -> &[Gpu] {
        self.driver.present().map(|driver| driver.gpus.as_slice()).unwrap_or_default()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Driver {
    /// The newest CUDA release that the driver supports.
    pub cuda: String,
    /// Whether that is enough for the CUDA libraries in use.
    pub is_new_enough: bool,
    /// The CUDA release that those need.
    pub needed_cuda: String,
    pub release: Option<String>,
    pub gpus: Vec<Gpu>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct NvrtcFacts {
    pub path: PathBuf,
    pub builtins: Option<PathBuf>,
    pub release: String,
    /// The architecture that the proof was made for: the first GPU's, else one that is common.
    pub proof_architecture: String,
    /// How the compilation of a small kernel failed; `None` if it gave machine code.
    pub proof_error: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct KernelCache {
    pub folder: PathBuf,
    pub exists: bool,
    pub files: u64,
    pub bytes: u64,
    pub write_error: Option<String>,
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::ComputeCapability;

    /// A machine without a GPU, set up by this repository's own script.
    pub(in super::super) fn plain_machine() -> Facts {
        Facts {
            program: Program {
                version: "1.2.3",
                features: vec!["cli", "torch", "cuda"],
                operating_system: "linux",
                architecture: "x86_64",
            },
            processor: Processor { name: Some("Processor".into()), instruction_sets: vec!["SSE2", "AVX2"] },
            threads: Threads { available: 8, engine: 8, libtorch: Some(4) },
            libtorch: Some(Libtorch {
                path: Some("/clone/.libtorch/lib/libtorch_cpu.so".into()),
                version: Some("2.11.0".into()),
                expected_version: "2.11.0",
                computation_error: None,
                cuda_half: Some(Finding::Absent(
                    "/clone/.libtorch/lib/libtorch_cuda.so does not exist".into(),
                )),
                gpus: 0,
            }),
            cuda: Some(Cuda {
                driver: Finding::Absent("libcuda.so.1 is not on this machine".into()),
                visible_devices: None,
                embedded_kernels: vec!["sm_90".into(), "compute_75".into()],
                nvrtc: Finding::Present(NvrtcFacts {
                    path: "/clone/.libtorch/lib/libnvrtc.so.13".into(),
                    builtins: Some("/clone/.libtorch/lib/libnvrtc-builtins.so.13.0".into()),
                    release: "13.0".into(),
                    proof_architecture: "sm_90".into(),
                    proof_error: None,
                }),
                kernel_cache: Some(KernelCache {
                    folder: "/home/ada/.cache/sml".into(),
                    exists: false,
                    files: 0,
                    bytes: 0,
                    write_error: None,
                }),
            }),
        }
    }

    /// A machine with one GPU and the whole of libtorch.
    pub(in super::super) fn gpu_machine() -> Facts {
        let gpu = Gpu {
            ordinal: 0,
            name: "NVIDIA H200".into(),
            compute_capability: ComputeCapability { major: 9, minor: 0 },
            memory_bytes: 150_110_011_392,
            multiprocessors: 132,
            l2_bytes: 50 << 20,
            pci_address: "0000:5D:00.0".into(),
        };
        let mut facts = plain_machine();
        if let Some(libtorch) = &mut facts.libtorch {
            libtorch.cuda_half = Some(Finding::Present("/venv/torch/lib/libtorch_cuda.so".into()));
            libtorch.gpus = 1;
        }
        if let Some(cuda) = &mut facts.cuda {
            cuda.driver = Finding::Present(Driver {
                cuda: "13.0".into(),
                is_new_enough: true,
                needed_cuda: "13.0".into(),
                release: Some("580.65.06".into()),
                gpus: vec![gpu],
            });
        }
        facts
    }
}
