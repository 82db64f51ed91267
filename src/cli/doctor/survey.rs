//! Looking at the machine: the one part of the doctor that does.

#[cfg(any(feature = "torch", feature = "cuda"))]
use super::facts::Finding;
use super::facts::{Cuda, Facts, Libtorch, Processor, Program, Threads};
#[cfg(feature = "cuda")]
use super::facts::{Driver, KernelCache, NvrtcFacts};
use crate::DeviceRequest;

impl Facts {
    /// Looks at everything. For [`DeviceRequest::Cpu`] libtorch's CUDA half is left alone.
    pub fn gather(request: DeviceRequest) -> Self {
        // First: libtorch must load its CUDA half before anything asks it about CUDA.
        let libtorch = gather_libtorch(request);
        Self {
            program: Program::gather(),
            processor: Processor::gather(),
            threads: Threads::gather(),
            libtorch,
            cuda: gather_cuda(),
        }
    }
}

impl Program {
    fn gather() -> Self {
        let features = [
            ("cli", cfg!(feature = "cli")),
            ("files", cfg!(feature = "files")),
            ("torch", cfg!(feature = "torch")),
            ("cuda", cfg!(feature = "cuda")),
        ];
        Self {
            version: env!("CARGO_PKG_VERSION"),
            features: features.into_iter().filter_map(|(name, on)| on.then_some(name)).collect(),
            operating_system: std::env::consts::OS,
            architecture: std::env::consts::ARCH,
        }
    }
}

impl Processor {
    fn gather() -> Self {
        Self { name: processor(), instruction_sets: instruction_sets() }
    }
}

/// The processor's name, where the system tells it.
pub(in crate::cli) fn processor() -> Option<String> {
    processor_name(&std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default())
}

/// The model's name in `/proc/cpuinfo`. 64-bit Arm lists numbers only, and none is found.
fn processor_name(listing: &str) -> Option<String> {
    let line = listing.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[cfg(target_arch = "x86_64")]
fn instruction_sets() -> Vec<&'static str> {
    let sets = [
        ("SSE2", is_x86_feature_detected!("sse2")),
        ("SSE4.2", is_x86_feature_detected!("sse4.2")),
        ("AVX", is_x86_feature_detected!("avx")),
        ("AVX2", is_x86_feature_detected!("avx2")),
        ("FMA", is_x86_feature_detected!("fma")),
        ("F16C", is_x86_feature_detected!("f16c")),
        ("AVX-512F", is_x86_feature_detected!("avx512f")),
        ("AVX-512BW", is_x86_feature_detected!("avx512bw")),
        ("AVX-512DQ", is_x86_feature_detected!("avx512dq")),
        ("AVX-512VL", is_x86_feature_detected!("avx512vl")),
    ];
    sets.into_iter().filter_map(|(name, has)| has.then_some(name)).collect()
}

#[cfg(target_arch = "aarch64")]
fn instruction_sets() -> Vec<&'static str> {
    let sets = [
        ("NEON", std::arch::is_aarch64_feature_detected!("neon")),
        ("FP16", std::arch::is_aarch64_feature_detected!("fp16")),
        ("SVE", std::arch::is_aarch64_feature_detected!("sve")),
    ];
    sets.into_iter().filter_map(|(name, has)| has.then_some(name)).collect()
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn instruction_sets() -> Vec<&'static str> {
    Vec::new()
}

impl Threads {
    fn gather() -> Self {
        #[cfg(feature = "torch")]
        let libtorch = tch::get_num_threads().try_into().ok();
        #[cfg(not(feature = "torch"))]
        let libtorch = None;
        Self {
            available: std::thread::available_parallelism().map_or(1, usize::from),
            engine: rayon::current_num_threads(),
            libtorch,
        }
    }
}

#[cfg(not(feature = "torch"))]
fn gather_libtorch(_: DeviceRequest) -> Option<Libtorch> {
    None
}

#[cfg(feature = "torch")]
fn gather_libtorch(request: DeviceRequest) -> Option<Libtorch> {
    use crate::torch::libtorch::{self, CudaHalf};

    let wants_cuda = request != DeviceRequest::Cpu;
    let cuda_half = wants_cuda.then(|| match libtorch::load_cuda_half() {
        CudaHalf::Loaded(path) => Finding::Present(path.clone()),
        CudaHalf::NotThere(path) => Finding::Absent(format!("{} does not exist", path.display())),
        CudaHalf::Failed { path, message } => Finding::Broken(format!("{}: {message}", path.display())),
    });
    Some(Libtorch {
        path: libtorch::cpu_half(),
        version: libtorch::version(),
        expected_version: libtorch::EXPECTED_VERSION,
        computation_error: try_libtorch().err(),
        cuda_half,
        gpus: if wants_cuda { libtorch::gpu_count() } else { 0 },
    })
}

/// A product of matrices whose result is known: it goes through libtorch's dispatch, threads and BLAS.
#[cfg(feature = "torch")]
fn try_libtorch() -> Result<(), String> {
    const SIDE: i64 = 64;
    let compute = || -> Result<f64, tch::TchError> {
        let ones = tch::Tensor::f_ones([SIDE, SIDE], (tch::Kind::Float, tch::Device::Cpu))?;
        f64::try_from(ones.f_matmul(&ones)?.f_sum(tch::Kind::Double)?)
    };
    let expected = (SIDE * SIDE * SIDE) as f64;
    match compute() {
        Ok(sum) if sum == expected => Ok(()),
        Ok(sum) => Err(format!("a product of matrices sums to {sum} and not to {expected}")),
        // libtorch appends a stack trace.
        Err(error) => Err(error.to_string().lines().next().unwrap_or_default().trim().to_owned()),
    }
}

#[cfg(not(feature = "cuda"))]
fn gather_cuda() -> Option<Cuda> {
    None
}

#[cfg(feature = "cuda")]
fn gather_cuda() -> Option<Cuda> {
    let driver = gather_driver();
    let first = driver.present().and_then(|driver| driver.gpus.first());
    // Without a GPU the compiler is tried for one that is common.
    let architecture = first.map_or_else(|| "sm_90".into(), |gpu| gpu.compute_capability.architecture());
    Some(Cuda {
        driver,
        visible_devices: std::env::var("CUDA_VISIBLE_DEVICES").ok(),
        nvrtc: gather_nvrtc(architecture),
        embedded_kernels: crate::cuda::embedded_architectures().iter().map(ToString::to_string).collect(),
        kernel_cache: gather_kernel_cache(),
    })
}

#[cfg(feature = "cuda")]
fn gather_driver() -> Finding<Driver> {
    use crate::cuda::driver::{NEEDED_CUDA, probe};

    match probe() {
        Ok(Some(found)) => Finding::Present(Driver {
            cuda: found.cuda.to_string(),
            is_new_enough: found.cuda >= NEEDED_CUDA,
            needed_cuda: NEEDED_CUDA.to_string(),
            release: found.release,
            gpus: found.gpus,
        }),
        Ok(None) => Finding::Absent("libcuda.so.1 is not on this machine".into()),
        Err(error) => Finding::Broken(error.to_string()),
    }
}

#[cfg(feature = "cuda")]
fn gather_kernel_cache() -> Option<KernelCache> {
    use crate::cuda::kernel_cache;

    let folder = kernel_cache::folder()?;
    let found = kernel_cache::inspect(&folder);
    Some(KernelCache {
        folder,
        exists: found.exists,
        files: found.files,
        bytes: found.bytes,
        write_error: found.write_error,
    })
}

#[cfg(feature = "cuda")]
fn gather_nvrtc(proof_architecture: String) -> Finding<NvrtcFacts> {
    use crate::cuda::nvrtc::{Nvrtc, Source};

    /// Uses an intrinsic, so that the builtins have to be there.
    const PROOF: Source<'_> = Source {
        name: "proof.cu",
        text: r#"extern "C" __global__ void proof(float* x) {
    x[threadIdx.x] = __fsqrt_rn(x[threadIdx.x]);
}"#,
        headers: &[],
    };
    let nvrtc = match Nvrtc::find() {
        Ok(nvrtc) => nvrtc,
        Err(reason) => return Finding::Absent(reason),
    };
    let option = format!("--gpu-architecture={proof_architecture}");
    let proof = nvrtc.compile_to_cubin(&PROOF, &[option]);
    Finding::Present(NvrtcFacts {
        path: nvrtc.path().to_owned(),
        builtins: nvrtc.builtins().map(Into::into),
        release: nvrtc.release().to_string(),
        proof_architecture,
        proof_error: proof.err().map(|error| error.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_named_where_the_system_names_it() {
        let x86 = "processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel name\t: AMD EPYC 9654\nprocessor\t: 1\n";
        assert_eq!(processor_name(x86).unwrap(), "AMD EPYC 9654");
        assert_eq!(processor_name("processor\t: 0\nCPU implementer\t: 0x41\n"), None);
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn every_x86_64_processor_has_sse2() {
        assert!(instruction_sets().contains(&"SSE2"));
    }
}
