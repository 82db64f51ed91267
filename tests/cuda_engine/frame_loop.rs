//! A frame loop around an engine on a GPU: copies and kernels on three streams, in order where they must be, overlapping where they
//! can, and all given back.
//!
//! The stand-in notes kernels and copies of the same memory that may overtake each other, and memory that is freed in use.

use cudarc::driver::sys::CUresult;
use sml::cuda::CudaOptions;
use sml::frame_loop::{FrameLoop, FrameLoopOptions, FrameStamp, Submission};
use sml::{ElementType, Error, Layout, Logits, LogitsShape};

use crate::end_to_end::Block;
use crate::log::Log;
use crate::setting::{CLASSES, SIZE, build, graph};
use crate::stand_in::{StandIn, with_stand_in};

const PIXELS: usize = SIZE.pixels();
/// Where the scores begin in a block of results.
const HEAD: u64 = 256;

fn image() -> LogitsShape {
    LogitsShape::new(1, CLASSES, SIZE.height, SIZE.width).unwrap()
}

fn around(options: CudaOptions, queue: usize) -> FrameLoop {
    let form = (image(), ElementType::F32, Layout::Nchw);
    let options_of_loop = FrameLoopOptions { queue, results: 4, ..FrameLoopOptions::default() };
    FrameLoop::around_engine(build(0, options).unwrap(), form, SIZE, options_of_loop).unwrap()
}

fn elements(n: u64) -> Vec<f32> {
    (0..CLASSES * PIXELS).map(|i| n as f32 + i as f32 / 1024.0).collect()
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
                    // Four around the copies, four around the kernels.
                    ("cuEventRecord", 8), ("cuEventElapsedTime_v2", 5),
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

    /// The next frame is given to the GPU before the last one is waited for.
    fn copies_and_kernels_of_two_frames_overlap(driver) {
        let mut frame_loop = around(CudaOptions::default(), 8);
        driver.take_log();
        let mut overlapped = 0;
        let mut id = 0;
        for _ in 0..40 {
            // Frames that wait together are taken one behind the other.
            for _ in 0..6 {
                submit(&mut frame_loop, id).unwrap();
                id += 1;
            }
            for _ in 0..6 {
                frame_loop.receive().unwrap();
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
        assert!(overlapped > 40, "{overlapped} of 200 frames were given before the one before was waited for");
        drop(frame_loop);
        assert_all_given_back(driver);
    }

    /// Whichever call of a loop at work fails, the loop ends with that error, accounts for its frames and gives everything back.
    fn whichever_call_fails_the_loop_ends_by_it(driver) {
        let calls = {
            let mut frame_loop = around(CudaOptions::default(), 4);
            driver.take_log();
            for id in 0..3 {
                submit(&mut frame_loop, id).unwrap();
                frame_loop.receive().unwrap();
            }
            driver.take_log().counts().into_keys().map(str::to_owned).collect::<Vec<_>>()
        };
        driver.take_log();
        for call in calls {
            // A thread gets its context once.
            let most = if call == "cuCtxSetCurrent" { 1 } else { 2 };
            for nth in 1..=most {
                let (mut submitter, mut receiver) = around(CudaOptions::default(), 4).split();
                driver.fail(&call, nth, CUresult::CUDA_ERROR_INVALID_VALUE as i32);
                let mut submitted = 0;
                for id in 0..40 {
                    let elements = elements(id);
                    let logits = Logits::packed(&elements[..], image(), Layout::Nchw).unwrap();
                    match submitter.submit(logits, FrameStamp { id, ..FrameStamp::default() }) {
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
                    other => panic!("{call} {nth}: {other:?}"),
                }
                assert_all_given_back(driver);
            }
        }
        // And a new one works.
        let mut frame_loop = around(CudaOptions::default(), 4);
        submit(&mut frame_loop, 0).unwrap();
        assert!(frame_loop.receive().is_some());
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
