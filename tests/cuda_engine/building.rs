//! Building an engine: what it allocates, what it gives back, and how it fails.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;
use std::time::SystemTime;

use sml::cuda::compiled_kernels::{KernelSupply, Origin};
use sml::cuda::driver;
use sml::cuda::nvrtc::Nvrtc;
use sml::cuda::plan::Plan;
use sml::cuda::{CudaOptions, RawStream};
use sml::{ComputeCapability, Device, Engine, Error, Params, Score};

use crate::setting::{LIMITS, build, capacity, frame, graph, plain, plan_and_workspace};
use crate::stand_in::with_stand_in;

fn refusal(ordinal: usize) -> String {
    let error = build(ordinal, CudaOptions::default()).err().unwrap();
    assert!(
        matches!(&error, Error::Device { device, .. } if *device == format!("cuda:{ordinal}")),
        "{error}"
    );
    let text = error.to_string();
    assert!(!text.contains('\n'), "{text}");
    text
}

#[test]
fn without_a_driver_there_is_an_error_with_a_remedy() {
    if driver::is_present() {
        println!("skipped: this machine has an NVIDIA driver");
        return;
    }
    let text = refusal(0);
    assert!(text.contains("has no NVIDIA driver") && text.contains("use the CPU"), "{text}");
}

/// When the files in a folder and below were written.
fn written(folder: &Path) -> BTreeSet<(OsString, SystemTime)> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries
        .flat_map(|entry| match entry.metadata().unwrap() {
            metadata if metadata.is_dir() => written(&entry.path()),
            metadata => BTreeSet::from([(entry.file_name(), metadata.modified().unwrap())]),
        })
        .collect()
}

with_stand_in! {
    fn everything_is_given_back(driver) {
        for options in [CudaOptions::default(), graph()] {
            let mut engine = build(0, options).unwrap();
            assert_eq!(engine.device(), Device::Cuda(0));
            // Two maps of float32, three pairs of float32, and a count and a ticket for each of two images.
            assert_eq!(engine.device_bytes(), 2 * (2 * 32 * 64 * 4) + 3 * 8 + 2 * 12);
            for n in 0..3 {
                // SAFETY: the stand-in runs nothing, so that addresses may point nowhere.
                unsafe { engine.submit_device(&frame(n), RawStream::DEFAULT) }.unwrap();
            }
            // Frames are in flight: freeing what they use before they are complete would show.
            drop(engine);
            driver.take_log();
            driver.assert_nothing_lives();
        }
        drop(plain());
        driver.take_log();
        driver.assert_nothing_lives();
    }

    /// The stand-in's device memory is the host's, and can be looked at.
    fn class_statistics_are_uploaded_and_counters_zeroed(driver) {
        let mut engine = plain();
        driver.take_log();
        // SAFETY: the stand-in runs nothing, so that addresses may point nowhere.
        unsafe { engine.submit_device(&frame(0), RawStream::DEFAULT) }.unwrap();
        let (_, workspace) = plan_and_workspace(&driver.take_log().runs);
        let all = [workspace.standardization, workspace.counters, workspace.standardized, workspace.suppressed];
        assert!(all.iter().all(|address| address.is_multiple_of(256)), "{all:x?}");
        // SAFETY: live allocations of the engine, of these sizes, which nothing writes to.
        let (table, counters) = unsafe {
            (*(workspace.standardization as *const [f32; 6]), *(workspace.counters as *const [u8; 24]))
        };
        assert_eq!(table, [1.0, 1.0, 2.0, 2.0, 3.0, 0.5], "mean and standard deviation, class by class");
        assert_eq!(counters, [0; 24]);
    }

    fn stages_that_are_off_take_no_memory(driver) {
        let params = Params { score: Score::MaxLogit, suppression: None, smoothing: None, ..Params::default() };
        let mut engine = Engine::new(Device::Cuda(0), params, None, capacity()).unwrap();
        assert_eq!(engine.device_bytes(), 2 * 12);
        driver.take_log();
        // SAFETY: the stand-in runs nothing, so that addresses may point nowhere.
        unsafe { engine.submit_device(&frame(0), RawStream::DEFAULT) }.unwrap();
        let log = driver.take_log();
        let score = frame(0).score;
        assert!(log.runs.len() == 1 && log.runs[0].pointer(2) == score, "{:?}", log.runs);
    }

    fn a_machine_without_gpus_says_so(driver) {
        driver.set("gpus", 0);
        let text = refusal(0);
        assert!(text.contains("shows no GPU") && text.contains("CUDA_VISIBLE_DEVICES"), "{text}");
    }

    fn an_ordinal_that_does_not_exist_says_which_do(driver) {
        assert!(refusal(7).contains("the GPUs are cuda:0 to cuda:1"));
        driver.set("gpus", 1);
        assert!(refusal(1).contains("the only GPU is cuda:0"));
    }

    fn an_old_driver_says_what_is_needed(driver) {
        driver.set("cuda_version", 12080);
        let text = refusal(0);
        assert!(text.contains("supports CUDA 12.8 and 13.0 is needed"), "{text}");
        assert!(text.contains("install NVIDIA driver 580 or newer"), "{text}");
        let calls = driver.take_log().counts().keys().copied().map(str::to_owned).collect::<Vec<_>>();
        assert!(!calls.iter().any(|call| call == "cuDevicePrimaryCtxRetain"), "{calls:?}");
    }

    fn memory_that_does_not_suffice_is_named(driver) {
        driver.set("memory_bytes", 20_000);
        let error = build(0, CudaOptions::default()).err().unwrap();
        assert!(
            matches!(error, Error::DeviceMemory { bytes: 16_384, free: Some(3_568), .. }),
            "{error:?}"
        );
        let text = error.to_string();
        assert_eq!(
            text,
            "cuda:0 has no memory for suppressed scores: 16.0 KiB are needed and 3.5 KiB are free: \
             build the engine for fewer or smaller images, or free memory of other programs"
        );
        driver.take_log();
        driver.assert_nothing_lives();
    }

    fn a_kernel_that_does_not_fit_the_gpu_names_both(driver) {
        driver.fail("cuModuleLoadData", 2, 209);
        let text = build(0, CudaOptions::default()).err().unwrap().to_string();
        assert!(text.starts_with("CUDA could not load the kernel standardize["), "{text}");
        assert!(text.contains("on cuda:0, of compute capability 9.0: CUDA_ERROR_NO_BINARY_FOR_GPU"), "{text}");
        assert!(text.contains("pip install nvidia-cuda-nvrtc") && !text.contains('\n'), "{text}");
        driver.take_log();
        driver.assert_nothing_lives();
    }

    /// Half a file may lie in the cache folder. The driver refuses it, and it is made anew.
    fn a_kernel_from_the_cache_that_does_not_load_is_compiled_again(driver) {
        if let Err(error) = Nvrtc::load() {
            println!("skipped: {error}");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        // SAFETY: the process runs this test alone, on one thread.
        unsafe {
            std::env::set_var("SML_CACHE_DIR", folder.path());
            std::env::remove_var("SML_NO_JIT");
        }
        drop(plain());
        let supply = KernelSupply { folder: Some(folder.path().to_owned()), compile: true };
        let plan = Plan::new(Params::default(), capacity(), LIMITS);
        let gpu = ComputeCapability { major: 9, minor: 0 };
        // The first kernel to be loaded is a specialised one, which only the folder has.
        let first = supply.cubin(&plan.variants()[0], gpu).unwrap();
        assert_eq!(first.origin, Origin::Cached);
        let before = written(folder.path());
        driver.take_log();

        driver.fail("cuModuleLoadData", 1, 200);
        drop(plain());
        let loads = driver.take_log().counts()["cuModuleLoadData"];
        assert_eq!(loads, plan.variants().len() + 1);
        assert_eq!(supply.cubin(&plan.variants()[0], gpu).unwrap(), first, "the new one is in the folder");
        let after = written(folder.path());
        assert_eq!((before.len(), before.difference(&after).count()), (after.len(), 1), "one file is new");

        // A kernel that is refused again is an error.
        driver.fail("cuModuleLoadData", 1, 200);
        driver.fail("cuModuleLoadData", 2, 200);
        let error = build(0, CudaOptions::default()).err().unwrap().to_string();
        assert!(error.contains("load the kernel standardize[") && error.contains("INVALID_IMAGE"), "{error}");
        assert!(error.contains("update the NVIDIA driver") && !error.contains('\n'), "{error}");
        driver.take_log();
        driver.assert_nothing_lives();
    }

    /// Every call that building makes is refused once. Whatever comes of it, it is no panic, and nothing is left behind.
    fn whichever_call_is_refused_nothing_is_left_behind(driver) {
        const OPERATING_SYSTEM: i32 = 304;
        for options in [CudaOptions::default(), graph()] {
            drop(build(0, options).unwrap());
            let log = driver.take_log();
            // Dropping gives back; if that is refused there is nobody to tell and nothing to undo.
            let gives_back = |call: &str| ["Destroy", "Free", "Unload", "Release"].iter().any(|word| call.contains(word));
            for (call, count) in log.counts().into_iter().filter(|(call, _)| !gives_back(call)) {
                // Of calls that come in dozens, the first and the last few tell enough.
                for nth in (1..=count).filter(|nth| *nth <= 4 || *nth + 4 > count) {
                    driver.fail(call, nth, OPERATING_SYSTEM);
                    match build(0, options) {
                        // What was refused was making a context current to give something back, or another one again.
                        Ok(_) => assert!(call.starts_with("cuCtx"), "{call} {nth} was refused and nobody told"),
                        Err(error) => {
                            let text = error.to_string();
                            let told = matches!(error, Error::Cuda { .. } | Error::Device { .. });
                            assert!(told && !text.contains('\n'), "{call}: {text}");
                        }
                    }
                    driver.fail_no_more();
                    driver.take_log();
                    driver.assert_nothing_lives();
                }
            }
        }
    }
}
