//! Frames that fail: a call that is refused, and work that failed on the GPU.

use cudarc::driver::sys::CUresult;
use sml::cuda::{CudaOptions, RawStream};
use sml::{Engine, Error, Result};

use crate::setting::{build, caller_streams, frame, graph, plain};
use crate::stand_in::{StandIn, with_stand_in};

const INVALID_VALUE: i32 = CUresult::CUDA_ERROR_INVALID_VALUE as i32;
const ILLEGAL_ADDRESS: i32 = CUresult::CUDA_ERROR_ILLEGAL_ADDRESS as i32;

fn submit(engine: &mut Engine, n: u64, stream: RawStream) -> Result<()> {
    // SAFETY: the stand-in runs nothing, so that addresses may point nowhere; the stream is alive.
    unsafe { engine.submit_device(&frame(n), stream) }
}

with_stand_in! {
    fn a_launch_that_is_refused_is_named_and_the_engine_goes_on(driver) {
        let mut engine = plain();
        driver.fail("cuLaunchKernel", 2, INVALID_VALUE);
        let error = submit(&mut engine, 0, RawStream::DEFAULT).unwrap_err().to_string();
        assert!(error.starts_with("CUDA could not launch the kernel suppress on cuda:0: CUDA_ERROR_INVALID_VALUE"), "{error}");
        driver.take_log();
        submit(&mut engine, 1, RawStream::DEFAULT).unwrap();
        let log = driver.take_log();
        assert_eq!(log.runs.len(), 3);
        log.assert_ordered();

        let mut engine = build(0, graph()).unwrap();
        driver.fail("cuGraphLaunch", 1, INVALID_VALUE);
        let error = submit(&mut engine, 0, RawStream::DEFAULT).unwrap_err().to_string();
        assert!(error.starts_with("CUDA could not launch a frame's graph on cuda:0: "), "{error}");
        driver.take_log();
        // The arguments were changed before the graph was refused: the next frame changes them again.
        submit(&mut engine, 1, RawStream::DEFAULT).unwrap();
        assert_eq!(driver.take_log().runs[0].pointer(0), frame(1).logits.pointer);
        driver.fail("cuGraphExecKernelNodeSetParams_v2", 2, INVALID_VALUE);
        submit(&mut engine, 2, RawStream::DEFAULT).unwrap_err();
        submit(&mut engine, 1, RawStream::DEFAULT).unwrap();
        let log = driver.take_log();
        assert_eq!(log.runs[0].pointer(0), frame(1).logits.pointer);
        assert_eq!(log.runs[2].pointer(1), frame(1).score);
    }

    fn work_that_failed_is_reported_once_and_then_the_engine_is_poisoned(driver) {
        let mut engine = plain();
        submit(&mut engine, 0, RawStream::DEFAULT).unwrap();
        driver.fail("cuLaunchKernel", 1, ILLEGAL_ADDRESS);
        assert_poisoned_after_one_failure(driver, &mut engine);
    }

    fn so_it_is_with_graphs(driver) {
        let mut engine = build(0, graph()).unwrap();
        submit(&mut engine, 0, RawStream::DEFAULT).unwrap();
        driver.fail("cuGraphLaunch", 1, ILLEGAL_ADDRESS);
        assert_poisoned_after_one_failure(driver, &mut engine);
    }

    /// Also by the call that waits, and by the one that reads the clock.
    fn a_failure_surfaces_wherever_the_gpu_is_asked_next(driver) {
        let mut engine = plain();
        submit(&mut engine, 0, RawStream::DEFAULT).unwrap();
        driver.fail("cuEventSynchronize", 1, CUresult::CUDA_ERROR_UNKNOWN as i32);
        assert!(matches!(engine.synchronize().unwrap_err(), Error::Cuda { .. }));
        assert!(matches!(submit(&mut engine, 1, RawStream::DEFAULT).unwrap_err(), Error::Poisoned { .. }));

        let mut engine = plain();
        engine.profile(true).unwrap();
        submit(&mut engine, 0, RawStream::DEFAULT).unwrap();
        driver.fail("cuEventElapsedTime_v2", 1, ILLEGAL_ADDRESS);
        assert!(matches!(engine.timings().unwrap_err(), Error::Cuda { .. }));
        assert!(matches!(engine.timings().unwrap_err(), Error::Poisoned { .. }));
        drop(engine);
        // The failure is the process's: no new engine can be built, and that is an error too.
        let error = build(0, CudaOptions::default()).err().unwrap().to_string();
        assert!(error.contains("CUDA_ERROR_ILLEGAL_ADDRESS"), "{error}");
    }

    /// Every call of a frame is refused once. The frame fails, and those after it come in order.
    fn whichever_call_is_refused_the_engine_survives_or_says_so(driver) {
        for options in [CudaOptions::default(), graph()] {
            let [first, second] = caller_streams(0);
            let streams = [RawStream::from(&first), RawStream::DEFAULT, RawStream::from(&second)];
            let calls = {
                let mut engine = build(0, options).unwrap();
                driver.take_log();
                for n in 0..9 {
                    submit(&mut engine, n, streams[n as usize % 3]).unwrap();
                }
                let log = driver.take_log();
                log.counts().into_iter().map(|(call, count)| (call.to_owned(), count)).collect::<Vec<_>>()
            };
            for (call, count) in calls {
                for nth in 1..=count {
                    let mut engine = build(0, options).unwrap();
                    driver.fail(&call, nth, INVALID_VALUE);
                    let mut refused = 0;
                    for n in 0..12 {
                        match submit(&mut engine, n, streams[n as usize % 3]) {
                            Ok(()) => {}
                            // The end of a frame on a caller's stream could not be marked.
                            Err(Error::Poisoned { .. }) if call == "cuEventRecord" => {}
                            Err(Error::Cuda { .. }) => refused += 1,
                            Err(error) => panic!("{call} {nth}: {error}"),
                        }
                    }
                    assert_eq!(refused, 1, "{call} {nth}");
                    driver.take_log().assert_ordered();
                }
            }
        }
    }
}

fn assert_poisoned_after_one_failure(driver: &StandIn, engine: &mut Engine) {
    let error = submit(engine, 1, RawStream::DEFAULT).unwrap_err();
    assert!(matches!(error, Error::Cuda { .. }), "{error}");
    assert!(error.to_string().ends_with("(work that cuda:0 was given earlier has failed)"), "{error}");
    driver.take_log();
    for error in [submit(engine, 2, RawStream::DEFAULT).unwrap_err(), engine.synchronize().unwrap_err()] {
        assert!(matches!(error, Error::Poisoned { .. }), "{error}");
        let text = error.to_string();
        assert!(text.starts_with("the engine on cuda:0 cannot be used any more"), "{text}");
        assert!(
            text.contains("CUDA_ERROR_ILLEGAL_ADDRESS") && text.ends_with("start the process again"),
            "{text}"
        );
    }
    driver.take_log().assert_counts([]);
}
