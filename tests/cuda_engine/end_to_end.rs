//! The whole engine without a GPU: what it gives to the stand-in driver runs on the host, in the memory that the engine
//! allocated and filled, and the result is the CPU engine's.
//!
//! The stand-in's device memory is the host's. After each frame its launches, as the driver was given them, are run by the
//! execution harness on a copy of that memory, and what they wrote is put back.

use std::sync::Arc;

use cudarc::driver::{CudaContext, result};
use half::{bf16, f16};
use sml::cuda::kernels::{KernelFile, KernelVariant};
use sml::cuda::plan::{AccumulatePlan, DeviceFrame, DeviceLogits};
use sml::cuda::{CudaOptions, CudaStatisticsAccumulator, RawStream};
use sml::{Capacity, ElementType, Engine, Layout, Params, Provenance, Score, Size, StatisticsAccumulator};

use crate::frames_of_logits::{Frame, logits, statistics};
use crate::kernel_harness::{Job, Launch, Library, Order, Source, compile, run as run_on_host};
use crate::log::Run;
use crate::setting::LIMITS;
use crate::stand_in::with_stand_in;

/// A piece of device memory.
pub struct Block {
    pub address: u64,
    bytes: usize,
    /// For the caller's; the engine's own is freed by the engine.
    _owner: Option<Arc<CudaContext>>,
}

impl Block {
    pub fn new(context: &Arc<CudaContext>, contents: &[u8]) -> Self {
        // SAFETY: the context is current; the copy is within the new allocation. It is freed when this is dropped.
        let address = unsafe {
            let address = result::malloc_sync(contents.len()).unwrap();
            result::memcpy_htod_sync(address, contents).unwrap();
            address
        };
        Self { address, bytes: contents.len(), _owner: Some(Arc::clone(context)) }
    }

    pub fn of_engine(address: u64, bytes: usize) -> Self {
        Self { address, bytes, _owner: None }
    }

    pub fn contents(&self) -> Vec<u8> {
        // SAFETY: a live allocation of the stand-in, which lies in host memory; nothing writes to it meanwhile.
        unsafe { std::slice::from_raw_parts(self.address as *const u8, self.bytes) }.to_vec()
    }

    pub fn write(&self, contents: &[u8]) {
        assert_eq!(contents.len(), self.bytes);
        // SAFETY: as above, and nothing reads it meanwhile.
        unsafe { std::ptr::copy_nonoverlapping(contents.as_ptr(), self.address as *mut u8, self.bytes) };
    }

    pub fn elements<T: bytemuck::AnyBitPattern>(&self) -> Vec<T> {
        self.contents().chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned).collect()
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if self._owner.is_some() {
            // SAFETY: allocated by `new`, freed once, after the engine was waited for.
            unsafe { result::free_sync(self.address) }.unwrap();
        }
    }
}

/// The kernel of a launch, compiled for the host, and the pointers at the beginning of its arguments.
fn kernel(name: &str, element: ElementType) -> (Library, &'static str, usize) {
    const STANDARDIZE: [&str; 4] =
        ["standardize", "standardize_rows", "standardize_pixels", "standardize_upsample"];
    const OTHERS: [(&str, KernelFile, usize); 6] = [
        ("suppress", KernelFile::Suppress, 3),
        ("smooth", KernelFile::Smooth, 2),
        ("accumulate", KernelFile::Accumulate, 4),
        ("merge_moments", KernelFile::Accumulate, 4),
        ("preprocess", KernelFile::Preprocess, 6),
        ("preprocess_resized", KernelFile::Preprocess, 6),
    ];
    let (file, defines, name, pointers) = match STANDARDIZE.iter().position(|entry| *entry == name) {
        Some(entry) => {
            let defines = vec![("SML_ELEMENT", element as i64), ("SML_ENTRY", entry as i64)];
            (KernelFile::Standardize, defines, STANDARDIZE[entry], 7)
        }
        None => {
            let &(name, file, pointers) = OTHERS.iter().find(|(entry, ..)| *entry == name).unwrap();
            let typed = file == KernelFile::Preprocess;
            (file, typed.then_some(("SML_ELEMENT", element as i64)).into_iter().collect(), name, pointers)
        }
    };
    (compile(&Source::kernel(&KernelVariant { file, defines })).unwrap(), name, pointers)
}

/// Runs launches on the host, in the order in which the driver was given them.
pub fn execute(runs: &[Run], element: ElementType, memory: &[&Block]) {
    let mut job = Job::new(Order::Random(3));
    let buffers: Vec<u64> = memory.iter().map(|block| job.buffer(block.contents(), 0)).collect();
    let relocated = |address: u64| {
        let within = |block: &&Block| (block.address..block.address + block.bytes as u64).contains(&address);
        let place =
            memory.iter().position(within).unwrap_or_else(|| panic!("{address:#x} is nobody's memory"));
        buffers[place] + (address - memory[place].address)
    };
    for run in runs {
        let (library, entry, pointers) = kernel(&run.kernel, element);
        let mut arguments = run.arguments.clone();
        for n in (0..pointers).filter(|&n| run.pointer(n) != 0) {
            arguments[8 * n..8 * n + 8].copy_from_slice(&relocated(run.pointer(n)).to_le_bytes());
        }
        let Run { grid, block, shared_bytes, .. } = *run;
        job.launches.push(Launch { library, entry, grid, block, shared_bytes, arguments, pointers });
    }
    let results = run_on_host(&job).unwrap_or_else(|failure| panic!("{}", failure.0));
    memory.iter().zip(results).for_each(|(block, result)| block.write(&result));
}

fn encoded(frame: &Frame, element: ElementType) -> Vec<u8> {
    let values = frame.logits.iter();
    match element {
        ElementType::F32 => values.flat_map(|v| v.to_le_bytes()).collect(),
        ElementType::F16 => values.flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect(),
        ElementType::BF16 => values.flat_map(|&v| bf16::from_f32(v).to_le_bytes()).collect(),
    }
}

/// The same logits as the element type holds them.
fn rounded(frame: Frame, element: ElementType) -> Frame {
    let logits = match element {
        ElementType::F32 => frame.logits,
        ElementType::F16 => frame.logits.mapv(|v| f16::from_f32(v).to_f32()),
        ElementType::BF16 => frame.logits.mapv(|v| bf16::from_f32(v).to_f32()),
    };
    Frame { logits, ..frame }
}

/// Memory of a caller for one frame: logits, score, prediction, counts; the results poisoned.
fn memory_of(context: &Arc<CudaContext>, frame: &Frame, element: ElementType) -> [Block; 4] {
    let pixels = frame.shape().batch * frame.size.pixels();
    let results = [4 * pixels, pixels, 8 * frame.shape().batch].map(|bytes| vec![0xee; bytes]);
    let [score, prediction, non_finite] = results.map(|bytes| Block::new(context, &bytes));
    [Block::new(context, &encoded(frame, element)), score, prediction, non_finite]
}

fn device_frame(frame: &Frame, element: ElementType, memory: &[Block; 4]) -> DeviceFrame {
    let [logits, score, prediction, non_finite] = memory;
    let shape = frame.shape();
    DeviceFrame {
        logits: DeviceLogits {
            pointer: logits.address,
            element,
            shape,
            strides: Layout::Nchw.strides(shape),
        },
        size: frame.size,
        score: score.address,
        half_score: false,
        prediction: prediction.address,
        non_finite: non_finite.address,
    }
}

with_stand_in! {
    fn frames_through_the_whole_engine_give_the_cpus_result(driver) {
        let context = CudaContext::new(0).unwrap();
        for (graph, element, size) in [
            (false, ElementType::F32, Size::new(24, 40)),
            (true, ElementType::F16, Size::new(48, 80)),
        ] {
            let frame = |seed| {
                let frame = Frame {
                    logits: logits(2, 5, 24, 40, seed),
                    size,
                    params: Params::default(),
                    statistics: statistics(5, 77),
                };
                rounded(frame, element)
            };
            let first = frame(0);
            let capacity = Capacity::of(first.shape(), size);
            let mut engine = Engine::on_cuda(
                0, CudaOptions { graph }, first.params, Some(&first.statistics), capacity
            ).unwrap();
            driver.take_log();
            let mut own = Vec::new();
            for seed in 0..4 {
                let frame = frame(seed);
                let memory = memory_of(&context, &frame, element);
                // SAFETY: the memory is as large as the frame says, and lives until the launches have run.
                unsafe {
                    engine.submit_device(&device_frame(&frame, element, &memory), RawStream::DEFAULT)
                }.unwrap();
                let runs = driver.take_log().runs;
                if own.is_empty() {
                    let map = 2 * size.pixels() * 4;
                    let workspace = [
                        (runs[0].pointer(1), 5 * 8), (runs[0].pointer(5), 2 * 12),
                        (runs[0].pointer(2), map), (runs[1].pointer(2), map),
                    ];
                    own = workspace.map(|(address, bytes)| Block::of_engine(address, bytes)).into();
                }
                let all: Vec<&Block> = memory.iter().chain(&own).collect();
                execute(&runs, element, &all);
                let [_, score, prediction, non_finite] = &memory;
                let (want_score, want_prediction, want_counts) = frame.run(&mut frame.engine());
                assert_eq!(prediction.contents(), want_prediction, "frame {seed}");
                assert_eq!(score.elements::<u32>(), want_score, "frame {seed}");
                assert_eq!(non_finite.elements::<u64>(), want_counts, "frame {seed}");
                engine.synchronize().unwrap();
            }
        }
    }

    fn moments_through_the_whole_accumulator_are_the_hosts(driver) {
        let context = CudaContext::new(0).unwrap();
        let mut accumulator = CudaStatisticsAccumulator::new(0, 5).unwrap();
        let mut host = StatisticsAccumulator::new(5);
        let mut own = Vec::new();
        for seed in 0..3 {
            let params = Params { score: Score::MaxLogit, suppression: None, smoothing: None, ..Params::default() };
            let mut logits = logits(1, 5, 40, 130, seed);
            logits[[0, 2, 7, 9]] = f32::INFINITY;
            let frame = Frame { logits, size: Size::new(40, 130), params, statistics: statistics(5, 1) };
            let (scores, predictions, _) = frame.run(&mut frame.engine());
            let max_logits: Vec<f32> = scores.iter().map(|&bits| -f32::from_bits(bits)).collect();
            host.add(&max_logits, &predictions).unwrap();

            let maps = [bytemuck::cast_slice(&scores), &predictions[..]].map(|bytes| Block::new(&context, bytes));
            driver.take_log();
            // SAFETY: both maps are that large, and live until the launches have run.
            unsafe {
                let pixels = frame.size.pixels();
                accumulator.add(maps[0].address, maps[1].address, pixels, true, RawStream::DEFAULT)
            }.unwrap();
            let runs = driver.take_log().runs;
            if own.is_empty() {
                let (moments, partials) = AccumulatePlan::new(5, LIMITS).bytes();
                let addresses = [(runs[0].pointer(2), partials), (runs[0].pointer(3), moments)];
                own = addresses.map(|(address, bytes)| Block::of_engine(address, bytes)).into();
            }
            execute(&runs, ElementType::F32, &maps.iter().chain(&own).collect::<Vec<_>>());
            // The maps are freed, and must be out of use.
            accumulator.read().unwrap();
        }
        let there = accumulator.read().unwrap();
        assert_eq!(there.non_finite(), 3);
        let [there, host] = [there, host].map(|sums| sums.finish(Provenance::default()));
        for (got, want) in there.classes().iter().zip(host.classes()) {
            assert_eq!(got.count, want.count);
            for (got, want) in [(got.mean, want.mean), (got.variance, want.variance)] {
                let error = (got.unwrap_or(0.0) - want.unwrap_or(0.0)).abs();
                assert!(got.is_some() == want.is_some() && error <= 1e-11, "{got:?} and not {want:?}");
            }
        }
    }
}
