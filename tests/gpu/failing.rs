//! Work that fails on the GPU. Nothing can be done there in that process afterwards, so it is a process of its own.

use std::process::Command;

use sml::cuda::RawStream;
use sml::cuda::plan::{DeviceFrame, DeviceLogits};
use sml::{Capacity, Device, ElementType, Engine, Error, Layout, Params, Size};

use crate::gpu;
use crate::maps::{engine_there, frame};

/// Set in the process whose GPU work shall fail.
const MARK: &str = "SML_TEST_BREAKS_THE_GPU";

#[test]
fn a_wrong_address_is_reported_once_and_then_the_engine_is_poisoned() {
    if std::env::var_os(MARK).is_some() {
        return read_where_nothing_is();
    }
    let Some((_, _turn)) = gpu() else { return };
    let (_, module) = module_path!().split_once("::").unwrap();
    let test = format!("{module}::a_wrong_address_is_reported_once_and_then_the_engine_is_poisoned");
    let output = Command::new(std::env::current_exe().unwrap())
        .args([&test, "--exact", "--nocapture", "--test-threads=1"])
        .env(MARK, "1")
        .output()
        .unwrap();
    let text =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
fn more_memory_than_there_is_is_refused_in_words() {
    let Some((_, _turn)) = gpu() else { return };
    let frame = frame([1, 3, 8, 8], (8, 8), Params::default(), 1);
    let size = Size::new(1024, 2048);
    let capacity = Capacity { batch: 100_000, classes: 3, logits: size, output: size };
    let error = Engine::new(Device::Cuda(0), frame.params, Some(&frame.statistics), capacity).err().unwrap();
    assert!(matches!(error, Error::DeviceMemory { free: Some(_), .. }), "{error}");
    assert!(error.to_string().contains("781.2 GiB are needed"), "{error}");
    // Nothing is the worse for it.
    engine_there(&frame, false).synchronize().unwrap();
}

fn read_where_nothing_is() {
    let frame = frame([1, 3, 16, 16], (16, 16), Params::default(), 1);
    let mut engine = engine_there(&frame, false);
    let (shape, nowhere) = (frame.shape(), 1 << 20);
    let wrong = DeviceFrame {
        logits: DeviceLogits {
            pointer: nowhere,
            element: ElementType::F32,
            shape,
            strides: Layout::Nchw.strides(shape),
        },
        size: frame.size,
        score: nowhere,
        half_score: false,
        prediction: nowhere,
        non_finite: nowhere,
    };
    // SAFETY: the addresses are wrong on purpose: the GPU refuses them, and this process does nothing else with it.
    let submit = |engine: &mut Engine| unsafe { engine.submit_device(&wrong, RawStream::DEFAULT) };
    let error = submit(&mut engine).and_then(|()| engine.synchronize()).unwrap_err();
    assert!(matches!(error, Error::Cuda { .. }), "{error}");
    assert!(error.to_string().ends_with("(work that cuda:0 was given earlier has failed)"), "{error}");
    for _ in 0..2 {
        let error = submit(&mut engine).unwrap_err();
        assert!(matches!(error, Error::Poisoned { .. }), "{error}");
    }
    assert!(matches!(engine.synchronize().unwrap_err(), Error::Poisoned { .. }));
    drop(engine);
    // The failure is the process's: a new engine is refused too, in words.
    let capacity = Capacity::of(shape, frame.size);
    let built = Engine::new(Device::Cuda(0), frame.params, Some(&frame.statistics), capacity);
    let error = built.err().unwrap();
    assert!(matches!(error, Error::Cuda { .. }), "{error}");
}
