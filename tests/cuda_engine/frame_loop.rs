//! Frame loops around an engine on a GPU and around a network with an engine behind it: copies and kernels on three streams, in order
//! where they must be, overlapping where they can, and all given back.
//!
//! The stand-in notes kernels and copies of the same memory that may overtake each other, and memory that is freed in use.

use std::panic::{AssertUnwindSafe, catch_unwind};

use cudarc::driver::sys::CUresult;
use sml::cuda::{CudaOptions, RawStream};
use sml::frame_loop::{FrameLoop, FrameLoopOptions, FrameStamp, Submission, Submitter};
use sml::{Device, ElementType, Error, Layout, Logits, LogitsShape, PixelFormat};

use crate::end_to_end::{Block, execute};
use crate::log::Log;
use crate::picture_network::{Memory, Network, OnHost, engine, form};
use crate::pictures::Picture;
use crate::setting::{CLASSES, SIZE, build, caller_streams, graph};
use crate::stand_in::{StandIn, with_stand_in};

const PIXELS: usize = SIZE.pixels();
/// Where the scores begin in a block of results.
const HEAD: u64 = 256;

fn image() -> LogitsShape {
    LogitsShape::new(1, CLASSES, SIZE.height, SIZE.width).unwrap()
}

/// What a loop is built around; the network's memory is there for both.
#[derive(Clone, Copy, Debug)]
enum Work {
    Engine,
    Network,
}

const BOTH: [Work; 2] = [Work::Engine, Work::Network];

fn options(queue: usize) -> FrameLoopOptions {
    FrameLoopOptions { queue, results: 4, ..FrameLoopOptions::default() }
}

impl Work {
    fn begin(self, queue: usize, memory: &Memory) -> sml::Result<FrameLoop> {
        match self {
            Self::Engine => {
                let form = (image(), ElementType::F32, Layout::Nchw);
                FrameLoop::around_engine(build(0, CudaOptions::default())?, form, SIZE, options(queue))
            }
            Self::Network => {
                let network = Network::new(engine(Device::Cuda(0), SIZE), memory);
                FrameLoop::around_stream(network, form(SIZE), SIZE, options(queue))
            }
        }
    }

    fn submit(self, submitter: &mut Submitter, id: u64) -> sml::Result<Submission> {
        let stamp = FrameStamp { id, ..FrameStamp::default() };
        match self {
            Self::Engine => {
                let elements = elements(id);
                submitter.submit(Logits::packed(&elements[..], image(), Layout::Nchw).unwrap(), stamp)
            }
            Self::Network => submitter.submit(picture(id).view(), stamp),
        }
    }
}

fn around(options_of_engine: CudaOptions, queue: usize) -> FrameLoop {
    let form = (image(), ElementType::F32, Layout::Nchw);
    FrameLoop::around_engine(build(0, options_of_engine).unwrap(), form, SIZE, options(queue)).unwrap()
}

fn elements(n: u64) -> Vec<f32> {
    (0..CLASSES * PIXELS).map(|i| n as f32 + i as f32 / 1024.0).collect()
}

fn picture(id: u64) -> Picture {
    Picture::new(SIZE, 5, PixelFormat::Bgr8, id)
}

fn submit(frame_loop: &mut FrameLoop, id: u64) -> sml::Result<Submission> {
    let elements = elements(id);
    let logits = Logits::packed(&elements[..], image(), Layout::Nchw).unwrap();
    frame_loop.submit(logits, FrameStamp { id, ..FrameStamp::default() })
}

fn place(log: &Log, call: &str, nth: usize) -> usize {
    let places = log.calls.iter().enumerate().filter(|(_, name)| *name == call);
    places.map(|(place, _)| place).nth(nth).unwrap_or_else(|| panic!("no {call} {nth}: {:?}", log.counts()))
}

fn assert_all_given_back(driver: &StandIn) {
    driver.take_log();
    driver.assert_nothing_lives();
}

with_stand_in! {
    /// The logits are where the kernels read them, and the result is what lies where the kernels write it.
    fn a_frame_is_copied_in_worked_on_and_copied_out(driver) {
        for options in [CudaOptions::default(), graph()] {
            let mut frame_loop = around(options, 2);
            let mut blocks: Vec<Block> = Vec::new();
            for id in 0..6_u64 {
                driver.take_log();
                submit(&mut frame_loop, id).unwrap();
                let frame = frame_loop.receive().unwrap();
                let log = driver.take_log();
                log.assert_ordered();
                assert_eq!(log.runs.len(), 3);
                for (call, count) in [
                    ("cuMemcpyHtoDAsync_v2", 1), ("cuMemcpyDtoHAsync_v2", 1), ("cuStreamWaitEvent", 2),
                    // Four around the copies, one where the work begins, four around the kernels.
                    ("cuEventRecord", 9), ("cuEventElapsedTime_v2", 5),
                ] {
                    assert_eq!(log.counts()[call], count, "{call}");
                }
                assert!(!log.counts().contains_key("cuStreamSynchronize"), "{:?}", log.counts());
                let logits = Block::of_engine(log.runs[0].pointer(0), 4 * CLASSES * PIXELS);
                assert_eq!(logits.contents(), bytemuck::cast_slice::<f32, u8>(&elements(id)));

                // The stand-in runs no kernel: the result is what the lane's memory holds, which the test writes.
                let score = log.runs[2].pointer(1);
                let scores = frame.score();
                if let Some(block) = blocks.iter().find(|block| block.address == score) {
                    let written: &[f32] = &block.elements::<f32>();
                    assert_eq!(scores.as_slice().unwrap(), written, "frame {id}");
                    assert_eq!(scores[(0, 0)], (id - 2) as f32);
                }
                blocks.retain(|block| block.address != score);
                let block = Block::of_engine(score, 4 * PIXELS);
                block.write(bytemuck::cast_slice(&vec![id as f32; PIXELS]));
                blocks.push(block);
                assert_eq!(blocks.len(), 2.min(id as usize + 1), "two lanes in turn");
                assert!(score.is_multiple_of(HEAD));

                // The stand-in's clock is the number of launches: one a stage, none in a copy.
                let telemetry = frame.telemetry();
                for stage in [telemetry.standardize, telemetry.suppress, telemetry.smooth] {
                    assert_eq!(stage.as_micros(), 1000);
                }
                assert!(telemetry.download.is_zero());
            }
            assert_eq!(frame_loop.finish(drop).unwrap().delivered, 6);
            assert_all_given_back(driver);
        }
    }

    /// Each frame is prepared, goes through the network and is post-processed in the memory of its lane, and the parts are measured.
    /// The kernels run on the host, and what they left is what the lane's next frame brings: the CPU's bits.
    fn pictures_go_through_a_network_to_the_cpus_bits(driver) {
        for options_of_engine in [CudaOptions::default(), graph()] {
            let memory = Memory::new(SIZE);
            let network = Network::new(build(0, options_of_engine).unwrap(), &memory);
            driver.take_log();
            let mut frame_loop = FrameLoop::around_stream(network, form(SIZE), SIZE, options(2)).unwrap();
            let log = driver.take_log();
            // Two frames of zeros before the loop begins.
            assert_eq!(log.runs.len(), 10);
            log.assert_ordered();
            let mut host = OnHost::new(SIZE);
            let mut own = Vec::new();
            for id in 0..6_u64 {
                frame_loop.submit(picture(id).view(), FrameStamp { id, ..FrameStamp::default() }).unwrap();
                let frame = frame_loop.receive().unwrap();
                let log = driver.take_log();
                log.assert_ordered();
                let runs = &log.runs;
                assert_eq!(runs.len(), 5);
                for (call, count) in [
                    ("cuMemcpyHtoDAsync_v2", 1), ("cuMemcpyDtoHAsync_v2", 1),
                    // One for each copy; the engine's own order needs none.
                    ("cuStreamWaitEvent", 2),
                    // As for an engine, behind the preprocessing and the network, and for the order of each of these two alone, which do
                    // not know how long the stream lives.
                    ("cuEventRecord", 13), ("cuEventElapsedTime_v2", 7),
                ] {
                    assert_eq!(log.counts()[call], count, "{call}");
                }
                for call in ["cuStreamSynchronize", "cuMemAlloc_v2", "cuMemHostAlloc"] {
                    assert!(!log.counts().contains_key(call), "{:?}", log.counts());
                }
                let telemetry = frame.telemetry();
                let ms = |time: std::time::Duration| time.as_micros() / 1000;
                // One launch each, by the stand-in's clock; the copy into the loop is no launch.
                assert!(ms(telemetry.upload) >= 1 && telemetry.download.is_zero());
                for part in [telemetry.backbone, telemetry.standardize, telemetry.suppress, telemetry.smooth] {
                    assert_eq!(ms(part), 1, "{telemetry:?}");
                }
                if id >= 2 {
                    let picture = picture(id - 2);
                    let map = host.run(&picture.view());
                    assert_eq!(frame.score().as_slice(), map.score.as_slice(), "frame {id}");
                    assert_eq!(frame.prediction().as_slice(), map.prediction.as_slice(), "frame {id}");
                    assert_eq!(frame.non_finite(), map.non_finite[0]);
                }
                if own.is_empty() {
                    let map = 2 * PIXELS * 4;
                    let workspace = [
                        (runs[2].pointer(1), CLASSES * 8), (runs[2].pointer(5), 2 * 12),
                        (runs[2].pointer(2), map), (runs[3].pointer(2), map),
                    ];
                    own = workspace.map(|(address, bytes)| Block::of_engine(address, bytes)).into();
                }
                let pixels = Block::of_engine(runs[0].pointer(0), 3 * PIXELS);
                let packed = picture(id).rearranged(PixelFormat::Bgr8, 0);
                assert!(pixels.contents() == packed.data, "frame {id}");
                let result = Block::of_engine(runs[4].pointer(1) - HEAD, HEAD as usize + 5 * PIXELS);
                let [input, logits] =
                    [memory.input, memory.logits].map(|address| Block::of_engine(address, memory.bytes));
                let network = [&pixels, &input, &logits, &result];
                execute(runs, ElementType::F32, &network.into_iter().chain(&own).collect::<Vec<_>>());
            }
            assert_eq!(frame_loop.finish(drop).unwrap().delivered, 6);
            drop(memory);
            assert_all_given_back(driver);
        }
    }

    /// The next frame is given to the GPU before the last one is waited for.
    fn copies_and_kernels_of_two_frames_overlap(driver) {
        for work in BOTH {
            let memory = Memory::new(SIZE);
            let (mut submitter, mut receiver) = work.begin(8, &memory).unwrap().split();
            driver.take_log();
            let mut overlapped = 0;
            let mut id = 0;
            for _ in 0..40 {
                // Frames that wait together are taken one behind the other.
                for _ in 0..6 {
                    work.submit(&mut submitter, id).unwrap();
                    id += 1;
                }
                for _ in 0..6 {
                    receiver.receive().unwrap();
                }
                let log = driver.take_log();
                log.assert_ordered();
                overlapped += (0..5)
                    .filter(|&n| {
                        // Two waits a frame: for its result, and for the last of its kernels.
                        place(&log, "cuMemcpyHtoDAsync_v2", n + 1) < place(&log, "cuEventSynchronize", 2 * n)
                    })
                    .count();
            }
            // What is left is the worker being quicker than the submitter.
            assert!(overlapped > 40, "{work:?}: {overlapped} of 200 frames were given before the one before was done");
            drop((submitter, receiver, memory));
            assert_all_given_back(driver);
        }
    }

    /// Whichever call of a loop at work fails, the loop ends with that error, accounts for its frames and gives everything back.
    fn whichever_call_fails_the_loop_ends_by_it(driver) {
        for work in BOTH {
            let memory = Memory::new(SIZE);
            let living = driver.living();
            let calls = {
                let (mut submitter, mut receiver) = work.begin(4, &memory).unwrap().split();
                driver.take_log();
                for id in 0..3 {
                    work.submit(&mut submitter, id).unwrap();
                    receiver.receive().unwrap();
                }
                driver.take_log().counts().into_keys().map(str::to_owned).collect::<Vec<_>>()
            };
            driver.take_log();
            for call in calls {
                // A thread gets its context once.
                let most = if call == "cuCtxSetCurrent" { 1 } else { 2 };
                for nth in 1..=most {
                    let (mut submitter, mut receiver) = work.begin(4, &memory).unwrap().split();
                    driver.fail(&call, nth, CUresult::CUDA_ERROR_INVALID_VALUE as i32);
                    let mut submitted = 0;
                    for id in 0..40 {
                        match work.submit(&mut submitter, id) {
                            Ok(_) => submitted += 1,
                            Err(error) => {
                                assert!(matches!(error, Error::LoopEnded { .. }), "{error}");
                                break;
                            }
                        }
                        // No more than that is under way; a loop that has ended gives none.
                        if id >= 3 && receiver.receive().is_none() {
                            break;
                        }
                    }
                    driver.fail_no_more();
                    drop(submitter);
                    while receiver.receive().is_some() {}
                    let summary = receiver.summary();
                    assert_eq!((summary.submitted, summary.under_way()), (submitted, 0), "{call} {nth}");
                    match receiver.finish(drop) {
                        Err(Error::Cuda { .. }) => {}
                        other => panic!("{work:?}, {call} {nth}: {other:?}"),
                    }
                    driver.take_log();
                    assert_eq!(driver.living(), living, "{call} {nth}");
                }
            }
            // And a new one works.
            let (mut submitter, mut receiver) = work.begin(4, &memory).unwrap().split();
            work.submit(&mut submitter, 0).unwrap();
            assert!(receiver.receive().is_some());
        }
    }

    /// Whichever call of the building fails, it is an error, and what was there is given back.
    fn a_loop_that_cannot_be_built_leaves_nothing(driver) {
        let memory = Memory::new(SIZE);
        let living = driver.living();
        for work in BOTH {
            driver.take_log();
            let built = work.begin(2, &memory).unwrap();
            let log = driver.take_log();
            drop(built);
            driver.take_log();
            for call in ["cuMemAlloc_v2", "cuMemHostAlloc", "cuEventCreate", "cuStreamCreate", "cuMemsetD8Async", "cuStreamSynchronize"] {
                for nth in 1..=log.counts()[call] {
                    driver.fail(call, nth, CUresult::CUDA_ERROR_INVALID_VALUE as i32);
                    // The test's own unwraps fail, too, where the network is built.
                    let built = catch_unwind(AssertUnwindSafe(|| work.begin(2, &memory).map(drop)));
                    driver.fail_no_more();
                    assert!(!matches!(built, Ok(Ok(()))), "{work:?}, {call} {nth}");
                    driver.take_log();
                    assert_eq!(driver.living(), living, "{call} {nth}");
                }
            }
        }
    }

    /// Work on another stream than it says is found out: so would be a mistake in these tests' subject.
    fn work_on_another_stream_may_overtake_the_copies(driver) {
        let [stream] = caller_streams(0);
        let memory = Memory::new(SIZE);
        let network = Network::new(engine(Device::Cuda(0), SIZE), &memory).astray(RawStream::from(&stream));
        let mut frame_loop = FrameLoop::around_stream(network, form(SIZE), SIZE, options(2)).unwrap();
        driver.take_log();
        frame_loop.submit(picture(0).view(), FrameStamp::default()).unwrap();
        frame_loop.receive().unwrap();
        let told = catch_unwind(AssertUnwindSafe(|| driver.take_log())).unwrap_err();
        let told = told.downcast_ref::<String>().unwrap();
        assert!(told.contains("a kernel that may overtake a copy of its memory"), "{told}");
        drop(frame_loop);
        // What was given there is complete before the memory goes.
        stream.synchronize().unwrap();
    }

    /// Work that failed on the GPU ends the loop, and the memory is given back all the same.
    fn a_failure_on_the_gpu_ends_the_loop(driver) {
        let mut frame_loop = around(CudaOptions::default(), 2);
        submit(&mut frame_loop, 0).unwrap();
        drop(frame_loop.receive().unwrap());
        driver.fail("cuLaunchKernel", 2, CUresult::CUDA_ERROR_ILLEGAL_ADDRESS as i32);
        submit(&mut frame_loop, 1).unwrap();
        let error = frame_loop.finish(|frame| panic!("frame {} has no result", frame.stamp().id)).unwrap_err();
        assert!(error.to_string().contains("CUDA_ERROR_ILLEGAL_ADDRESS"), "{error}");
    }
}
