//! What the kernels of usual frames may take, on every architecture: no local memory, no spilled registers, few enough
//! registers and little enough shared memory for the planned number of blocks, and wide loads where logits are read.
//!
//! Neither a GPU nor a driver is needed: the numbers are in the compiled kernels. `make kernel-report` shows them.
#![cfg(feature = "cuda")]
#![allow(clippy::panic, clippy::unwrap_used, reason = "functions that tests share fail as tests do")]

mod cubin;
#[path = "../../examples/kernel_cubins/planned.rs"]
#[allow(dead_code)]
mod planned;

use std::collections::HashMap;

use cubin::entries;
use planned::{PlannedLaunch, architecture_name, planned_launches};
use rayon::prelude::*;
use sml::cuda::compiled_kernels::KernelSupply;
use sml::cuda::kernels::KernelVariant;
use sml::cuda::nvrtc::{Nvrtc, Source};

/// Whether this machine has NVRTC. Where it has not, the test says so, and fails if nothing may be missing.
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

/// Blocks that a multiprocessor must be able to run at a time.
fn planned_blocks(entry: &str, architecture: u32) -> u32 {
    // Those with 100 KiB of shared memory, and Turing with 64.
    let (little, least) = (matches!(architecture, 86 | 89 | 120), architecture == 75);
    match entry {
        "standardize_rows" | "standardize_upsample" => 4,
        "standardize_pixels" => 3,
        // Its tile lives in shared memory.
        "suppress" if little || least => 3,
        "suppress" => 4,
        "smooth" => 4,
        "accumulate" => 2,
        "merge_moments" => 16,
        "preprocess" | "preprocess_resized" => 4,
        other => panic!("{other} has no plan: decide how many of its blocks a multiprocessor should run"),
    }
}

#[test]
fn usual_frames_keep_within_the_budget_on_every_architecture() {
    if nvrtc().is_none() {
        return;
    }
    let planned = planned_launches();
    let supply = KernelSupply { folder: None, compile: true };
    let mut kernels: Vec<(&KernelVariant, u32)> = Vec::new();
    for PlannedLaunch { variant, multiprocessor, .. } in &planned {
        if !kernels.contains(&(variant, multiprocessor.architecture)) {
            kernels.push((variant, multiprocessor.architecture));
        }
    }
    let compiled: HashMap<_, _> = kernels
        .par_iter()
        .map(|&(variant, architecture)| {
            let of_it = |planned: &&PlannedLaunch| planned.multiprocessor.architecture == architecture;
            let gpu = planned.iter().find(of_it).unwrap().multiprocessor.gpu();
            ((variant, architecture), entries(&supply.cubin(variant, gpu).unwrap().bytes))
        })
        .collect();

    let mut seen = std::collections::BTreeSet::new();
    for PlannedLaunch { frame, variant, multiprocessor, launch } in &planned {
        let name = format!("{variant} for {} ({frame})", architecture_name(multiprocessor));
        let entry = &compiled[&(variant, multiprocessor.architecture)][launch.entry];
        assert_eq!((entry.stack_bytes, entry.local_accesses), (0, 0), "{name} uses local memory: {entry:?}");
        let blocks = multiprocessor.blocks_at_a_time(
            launch.block.iter().product(),
            entry.registers,
            entry.static_shared_bytes + launch.shared_bytes,
        );
        let least = planned_blocks(launch.entry, multiprocessor.architecture);
        assert!(blocks >= least, "{name}: {blocks} blocks at a time and {least} are planned: {entry:?}");
        if launch.entry == "standardize_rows" {
            // One load a class, all of them in flight.
            assert!(entry.wide_global_loads >= 19, "{name}: {entry:?}");
        }
        seen.insert(launch.entry);
    }
    for entry in ["standardize_rows", "standardize_pixels", "standardize_upsample", "suppress", "smooth"] {
        assert!(seen.contains(entry), "{entry} is used by no frame");
    }
}

/// Generic kernels keep in registers what specialised ones have as constants: a few of those may spill, arrays may not.
#[test]
fn generic_kernels_use_next_to_no_local_memory() {
    const MOST_BYTES: u32 = 32;
    if nvrtc().is_none() {
        return;
    }
    let supply = KernelSupply { folder: None, compile: false };
    for multiprocessor in planned::MULTIPROCESSORS {
        for variant in KernelVariant::all_generic() {
            let kernel = supply.cubin(&variant, multiprocessor.gpu()).unwrap();
            for (name, entry) in entries(&kernel.bytes) {
                let place = format!("{variant}: {name} for {}", architecture_name(&multiprocessor));
                if entry.stack_bytes > 0 {
                    eprintln!("{place} spills {} bytes", entry.stack_bytes);
                }
                assert!(entry.stack_bytes <= MOST_BYTES, "{place}: {entry:?}");
            }
        }
    }
}

/// The budget would mean nothing if the reader saw no local memory where there is some.
#[test]
fn a_kernel_that_spills_is_seen() {
    let Some(nvrtc) = nvrtc() else { return };
    let text = r#"
extern "C" __global__ void spills(const float* x, float* y, int n) {
    __shared__ float tile[300];
    float a[96];
    #pragma unroll
    for (int i = 0; i < 96; i++) a[i] = x[i * 32 + threadIdx.x];
    for (int k = 0; k < n; k++) {
        #pragma unroll
        for (int i = 0; i < 96; i++) a[i] = a[i] * a[(i + 7) % 96] + x[i];
    }
    tile[threadIdx.x] = a[n & 1];
    __syncthreads();
    #pragma unroll
    for (int i = 0; i < 96; i++) y[i * 32 + threadIdx.x] = a[i] + tile[n];
}
extern "C" __global__ void copies(const uint4* __restrict__ x, uint4* y) { y[threadIdx.x] = x[threadIdx.x]; }
"#;
    let source = Source { name: "spills.cu", text, headers: &[] };
    for multiprocessor in planned::MULTIPROCESSORS {
        let architecture = format!("--gpu-architecture={}", architecture_name(&multiprocessor));
        let cubin = nvrtc.compile_to_cubin(&source, &[architecture.as_str(), "--maxrregcount=40"]).unwrap();
        let found = entries(&cubin);
        let spills = &found["spills"];
        assert_eq!((spills.registers, spills.static_shared_bytes), (40, 1200), "{architecture}: {spills:?}");
        assert!(spills.stack_bytes > 200 && spills.local_accesses > 100, "{architecture}: {spills:?}");
        assert!(spills.global_loads >= 96 && spills.wide_global_loads == 0, "{architecture}: {spills:?}");
        let copies = &found["copies"];
        assert_eq!((copies.global_loads, copies.wide_global_loads), (1, 1), "{architecture}: {copies:?}");
        assert_eq!((copies.stack_bytes, copies.local_accesses), (0, 0), "{architecture}: {copies:?}");
    }
}
