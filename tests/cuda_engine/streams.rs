//! Streams, threads, and several engines and GPUs in one process.

use cudarc::driver::{CudaContext, result};
use sml::cuda::RawStream;
use sml::{Engine, Error};

use crate::setting::{build, caller_streams, frame, graph, plain};
use crate::stand_in::with_stand_in;

fn submit(engine: &mut Engine, n: u64, stream: RawStream) {
    // SAFETY: the stand-in runs nothing, so that addresses may point nowhere; the stream is alive.
    unsafe { engine.submit_device(&frame(n), stream) }.unwrap();
}

with_stand_in! {
    /// Behind frames on CUDA's default stream and the engine's own, the event is recorded when the stream changes.
    fn a_change_of_stream_waits_for_the_frame_before(driver) {
        let mut engine = plain();
        let own = engine.stream().unwrap();
        submit(&mut engine, 0, RawStream::DEFAULT);
        driver.take_log();
        submit(&mut engine, 1, own);
        driver.take_log().assert_counts([
            ("cuCtxGetCurrent", 1),
            // Of the new stream, and of the earlier one before the event is recorded there.
            ("cuStreamIsCapturing", 2),
            ("cuEventRecord", 1),
            ("cuStreamWaitEvent", 1),
            ("cuLaunchKernel", 3),
        ]);
        submit(&mut engine, 2, own);
        assert_eq!(driver.take_log().calls.len(), 5);
        submit(&mut engine, 3, RawStream::DEFAULT);
        driver.take_log().assert_ordered();
    }

    /// Nobody knows how long a caller's stream lives, so the event is recorded at once.
    fn behind_frames_on_a_callers_stream_the_event_is_recorded_at_once(driver) {
        let mut engine = plain();
        let [first, second] = caller_streams(0);
        submit(&mut engine, 0, RawStream::from(&first));
        driver.take_log();
        submit(&mut engine, 1, RawStream::from(&first));
        driver.take_log().assert_counts([
            ("cuCtxGetCurrent", 1),
            ("cuStreamIsCapturing", 1),
            ("cuStreamGetId", 1),
            ("cuLaunchKernel", 3),
            ("cuEventRecord", 1),
        ]);
        submit(&mut engine, 2, RawStream::from(&second));
        driver.take_log().assert_counts([
            ("cuCtxGetCurrent", 1),
            ("cuStreamIsCapturing", 1),
            ("cuStreamGetId", 1),
            ("cuStreamGetDevice", 1),
            ("cuStreamWaitEvent", 1),
            ("cuLaunchKernel", 3),
            ("cuEventRecord", 1),
        ]);
    }

    fn frames_stay_in_order_on_streams_in_any_turn(driver) {
        for options in [Default::default(), graph()] {
            let mut engine = build(0, options).unwrap();
            let callers = caller_streams::<3>(0);
            let mut streams: Vec<RawStream> = callers.iter().map(RawStream::from).collect();
            streams.extend([RawStream::DEFAULT, engine.stream().unwrap()]);
            let mut turn = 0;
            for n in 0..200 {
                turn = (turn * 7 + n as usize / 5 + 1) % streams.len();
                submit(&mut engine, n, streams[turn]);
            }
            let log = driver.take_log();
            assert_eq!(log.runs.len(), 600);
            log.assert_ordered();
            drop(engine);
        }
    }

    /// Streams come and go, at the same address too; dropping the engine asks nothing of those that are gone.
    fn a_callers_streams_may_be_destroyed_after_their_frame(driver) {
        let mut engine = plain();
        for n in 0..20 {
            let [stream] = caller_streams(0);
            submit(&mut engine, n, RawStream::from(&stream));
        }
        let log = driver.take_log();
        assert_eq!(log.runs.len(), 60);
        log.assert_ordered();
        drop(engine);
        driver.take_log();
        driver.assert_nothing_lives();
    }

    fn a_stream_of_another_gpu_is_an_error(driver) {
        let mut engine = plain();
        submit(&mut engine, 0, RawStream::DEFAULT);
        let [elsewhere] = caller_streams(1);
        // SAFETY: the stream is alive; that it is of another GPU is what is tested.
        let error = unsafe { engine.submit_device(&frame(1), RawStream::from(&elsewhere)) }.unwrap_err();
        assert!(matches!(&error, Error::Device { device, .. } if device == "cuda:0"), "{error}");
        assert!(error.to_string().contains("the stream is of another GPU"), "{error}");
        driver.take_log();
        submit(&mut engine, 2, RawStream::DEFAULT);
        // The engine goes on as before, on a thread that is at work on the other GPU meanwhile.
        driver.take_log().assert_counts([
            ("cuCtxGetCurrent", 1),
            ("cuCtxSetCurrent", 2),
            ("cuStreamIsCapturing", 1),
            ("cuLaunchKernel", 3),
        ]);
    }

    /// A thread without a context gets one; a thread at work on another GPU gets its own back.
    fn every_thread_can_submit(driver) {
        let mut engine = build(1, Default::default()).unwrap();
        engine = std::thread::spawn(move || {
            submit(&mut engine, 0, RawStream::DEFAULT);
            engine
        })
        .join()
        .unwrap();
        engine = std::thread::spawn(move || {
            let other = CudaContext::new(0).unwrap();
            let before = result::ctx::get_current().unwrap();
            submit(&mut engine, 1, RawStream::DEFAULT);
            engine.synchronize().unwrap();
            assert_eq!(result::ctx::get_current().unwrap(), before);
            drop(other);
            engine
        })
        .join()
        .unwrap();
        let log = driver.take_log();
        assert_eq!(log.runs.len(), 6);
        assert!(log.runs.iter().all(|run| run.gpu == 1));
        log.assert_ordered();
        std::thread::spawn(move || drop(engine)).join().unwrap();
        driver.take_log();
        driver.assert_nothing_lives();
    }

    fn several_engines_and_gpus_share_a_process(driver) {
        let mut engines = [0, 1, 0].map(|ordinal| build(ordinal, Default::default()).unwrap());
        for n in 0..10 {
            for engine in &mut engines {
                submit(engine, n, RawStream::DEFAULT);
            }
        }
        let gpus: Vec<usize> = driver.take_log().runs.iter().map(|run| run.gpu).collect();
        let expected: Vec<usize> = [0, 0, 0, 1, 1, 1, 0, 0, 0].repeat(10);
        assert_eq!(gpus, expected);
        let [first, second, third] = engines;
        drop((second, first));
        driver.take_log();
        let mut third = third;
        submit(&mut third, 11, RawStream::DEFAULT);
        drop(third);
        driver.take_log();
        driver.assert_nothing_lives();
    }
}
