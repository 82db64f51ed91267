//! A frame launches and does nothing else, with the parameters that the plan gives.

use cudarc::driver::DevicePtr;
use cudarc::driver::sys::{self, CUgraphInstantiate_flags, CUstreamCaptureMode};
use half::f16;
use sml::cuda::plan::{DeviceFrame, DeviceLogits};
use sml::cuda::{CudaOptions, RawStream};
use sml::{ElementType, Engine, Error, Layout, LogitsShape, Size};

use crate::host_heap::allocations;
use crate::log::Log;
use crate::setting::{CLASSES, build, caller_streams, frame, graph, plain, plan_and_workspace};
use crate::stand_in::{StandIn, with_stand_in};

const FRAMES: usize = 100;

fn submit(engine: &mut Engine, frame: &DeviceFrame, stream: RawStream) {
    // SAFETY: the stand-in runs nothing, so that addresses may point nowhere; the stream is alive.
    unsafe { engine.submit_device(frame, stream) }.unwrap();
}

/// The calls of many frames, behind a first one that is not counted. They allocate nothing on the host either.
fn many(driver: &StandIn, engine: &mut Engine, stream: RawStream, frame: impl Fn(u64) -> DeviceFrame) -> Log {
    submit(engine, &frame(0), stream);
    driver.take_log();
    let frames = || (1..=FRAMES as u64).for_each(|n| submit(engine, &frame(n), stream));
    assert_eq!(allocations(frames), 0);
    driver.take_log()
}

/// Panics unless the launches are those of the plan for these frames.
fn assert_as_planned(log: &Log, frame: impl Fn(u64) -> DeviceFrame) {
    let (plan, workspace) = plan_and_workspace(&log.runs[..3]);
    for (n, runs) in (1..).zip(log.runs.chunks(3)) {
        let launches = plan.launches(&frame(n), &workspace);
        assert_eq!(launches.len(), runs.len());
        runs.iter().zip(launches.iter()).for_each(|(run, launch)| run.assert_is(launch));
    }
    log.assert_ordered();
}

with_stand_in! {
    fn a_frame_is_one_launch_a_kernel_and_nothing_else(driver) {
        let mut engine = plain();
        for stream in [RawStream::DEFAULT, engine.stream().unwrap()] {
            let log = many(driver, &mut engine, stream, frame);
            log.assert_counts([
                ("cuCtxGetCurrent", FRAMES),
                ("cuStreamIsCapturing", FRAMES),
                ("cuLaunchKernel", 3 * FRAMES),
            ]);
            assert_as_planned(&log, frame);
            assert!(log.runs.iter().all(|run| !run.graph));
        }
    }

    fn a_frame_is_one_graph_whose_arguments_change(driver) {
        let mut engine = build(0, graph()).unwrap();
        for stream in [RawStream::DEFAULT, engine.stream().unwrap()] {
            let log = many(driver, &mut engine, stream, frame);
            log.assert_counts([
                ("cuCtxGetCurrent", FRAMES),
                ("cuStreamIsCapturing", FRAMES),
                ("cuGraphExecKernelNodeSetParams_v2", 3 * FRAMES),
                ("cuGraphLaunch", FRAMES),
            ]);
            assert_as_planned(&log, frame);
            assert!(log.runs.iter().all(|run| run.graph));
        }
    }

    /// Where only the logits are elsewhere, only the kernel that reads them is told.
    fn a_graph_is_told_only_what_changed(driver) {
        let mut engine = build(0, graph()).unwrap();
        let moving_logits = |n| {
            let mut fixed = frame(0);
            fixed.logits.pointer = frame(n).logits.pointer;
            fixed
        };
        let log = many(driver, &mut engine, RawStream::DEFAULT, moving_logits);
        assert_eq!(log.counts()["cuGraphExecKernelNodeSetParams_v2"], FRAMES);
        assert_as_planned(&log, moving_logits);
        let log = many(driver, &mut engine, RawStream::DEFAULT, |_| frame(0));
        log.assert_counts([
            ("cuCtxGetCurrent", FRAMES),
            ("cuStreamIsCapturing", FRAMES),
            ("cuGraphLaunch", FRAMES),
        ]);
        assert_as_planned(&log, |_| frame(0));
    }

    /// Frames of every size and kind, in turn: graphs are kept for each sequence of kernels, and the usual ones are built
    /// with the engine.
    fn frames_of_many_kinds_share_an_engine(driver) {
        let mut engine = build(0, graph()).unwrap();
        let usual = [ElementType::F32, ElementType::F16, ElementType::BF16]
            .into_iter()
            .flat_map(|element| [Layout::Nchw, Layout::Nhwc].map(|layout| (element, layout)));
        driver.take_log();
        let as_usual = usual.clone().map(|(element, layout)| {
            let mut frame = frame(1);
            frame.logits.element = element;
            frame.logits.strides = layout.strides(frame.logits.shape);
            frame
        });
        for frame in as_usual {
            submit(&mut engine, &frame, RawStream::DEFAULT);
        }
        let log = driver.take_log();
        assert!(!log.counts().contains_key("cuGraphInstantiateWithFlags"), "{:?}", log.counts());
        assert_eq!(log.runs.len(), 6 * 3);

        let others = usual.flat_map(|(element, layout)| {
            [Size::new(1, 1), Size::new(7, 13), Size::new(8, 16), Size::new(32, 64)].map(|size| {
                let mut frame = frame(2);
                let shape = LogitsShape::new(1, CLASSES, size.height, size.width).unwrap();
                frame.logits.shape = shape;
                frame.logits.element = element;
                frame.logits.strides = layout.strides(shape);
                (frame, size)
            })
        });
        let (plan, workspace) = plan_and_workspace(&log.runs[..3]);
        for (mut frame, size) in others {
            for (output, half_score) in [(size, true), (Size::new(32, 64), false), (Size::new(5, 9), true)] {
                (frame.size, frame.half_score) = (output, half_score);
                submit(&mut engine, &frame, RawStream::DEFAULT);
                let log = driver.take_log();
                let launches = plan.launches(&frame, &workspace);
                log.runs.iter().zip(launches.iter()).for_each(|(run, launch)| run.assert_is(launch));
                assert_eq!(log.runs.len(), launches.len());
                log.assert_ordered();
            }
        }
        drop(engine);
        driver.take_log();
        driver.assert_nothing_lives();
    }

    /// A capture fails at any allocation, waiting or copy, whichever thread makes it.
    fn a_frame_can_be_captured_into_a_graph_of_the_caller(driver) {
        for options in [CudaOptions::default(), graph()] {
            let mut engine = build(0, options).unwrap();
            let [stream] = caller_streams(0);
            submit(&mut engine, &frame(0), RawStream::from(&stream));
            driver.take_log();
            stream.begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_GLOBAL).unwrap();
            submit(&mut engine, &frame(1), RawStream::from(&stream));
            submit(&mut engine, &frame(2), RawStream::from(&stream));
            let captured = stream.end_capture(CUgraphInstantiate_flags(0)).unwrap().unwrap();
            let log = driver.take_log();
            assert_eq!((log.captured.len(), log.runs.len()), (6, 0));
            assert_eq!(log.counts()["cuLaunchKernel"], 6);

            captured.launch().unwrap();
            let replayed = driver.take_log();
            assert_as_planned(&replayed, frame);
            assert_eq!(replayed.runs.len(), 6);
            // The engine goes on outside the capture as if there had been none.
            submit(&mut engine, &frame(3), RawStream::from(&stream));
            assert_eq!(driver.take_log().runs.len(), 3);
            engine.synchronize().unwrap();
        }
    }

    /// CUDA's default stream must not be used while a stream that it waits for is captured. Finding out must not break
    /// the capture.
    fn the_default_stream_during_a_capture_is_an_error(driver) {
        let mut engine = plain();
        submit(&mut engine, &frame(0), RawStream::DEFAULT);
        let [other] = caller_streams(0);
        let blocking = blocking_stream();
        // SAFETY: the stream is alive, and its context was made current by `caller_streams`.
        unsafe {
            sys::cuStreamBeginCapture_v2(blocking, CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED)
                .result()
                .unwrap();
            let error = engine.submit_device(&frame(1), RawStream::DEFAULT).unwrap_err().to_string();
            assert!(error.starts_with("CUDA could not tell whether the stream is being captured: "), "{error}");
            let mut captured = std::ptr::null_mut();
            sys::cuStreamEndCapture(blocking, &raw mut captured).result().unwrap();
            sys::cuGraphDestroy(captured).result().unwrap();
            sys::cuStreamDestroy_v2(blocking).result().unwrap();
        }
        submit(&mut engine, &frame(2), RawStream::DEFAULT);
        drop(other);
        assert_eq!(driver.take_log().runs.len(), 6);
    }

    /// An address that a kernel cannot use would end all work of the process on the GPU.
    fn addresses_that_no_kernel_can_use_are_refused(driver) {
        let mut engine = plain();
        driver.take_log();
        let change = |edit: fn(&mut DeviceFrame)| {
            let mut frame = frame(0);
            edit(&mut frame);
            frame
        };
        for (wrong, told) in [
            (change(|frame| frame.logits.pointer = 0), "address of the logits is 0x0: expected one in the GPU's memory"),
            (change(|frame| frame.logits.pointer += 2), "a multiple of 4"),
            (change(|frame| frame.score += 2), "address of the anomaly scores"),
            (change(|frame| frame.prediction = 0), "address of the predictions"),
            (change(|frame| frame.non_finite += 4), "a multiple of 8"),
            (change(|frame| frame.size.width = 65), "width of the result is 65: expected 1 to 64"),
        ] {
            // SAFETY: the stand-in runs nothing, and the frame is refused.
            let error = unsafe { engine.submit_device(&wrong, RawStream::DEFAULT) }.unwrap_err();
            assert!(matches!(error, Error::Shape { .. }) && error.to_string().contains(told), "{error}");
        }
        driver.take_log().assert_counts([]);
        let odd_half = change(|frame| {
            (frame.logits.element, frame.half_score) = (ElementType::F16, true);
            frame.logits.pointer += 2;
            frame.score += 2;
            frame.prediction += 1;
        });
        submit(&mut engine, &odd_half, RawStream::DEFAULT);
        assert_eq!(driver.take_log().runs.len(), 3);
    }

    fn slices_of_cudarc_are_logits(driver) {
        let [stream] = caller_streams(0);
        let shape = LogitsShape::new(2, CLASSES, 32, 64).unwrap();
        let slice = stream.alloc_zeros::<f16>(shape.elements()).unwrap();
        let logits = DeviceLogits::in_slice(&slice, &stream, shape, Layout::Nhwc).unwrap();
        assert_eq!((logits.element, logits.shape), (ElementType::F16, shape));
        assert_eq!(logits.strides, Layout::Nhwc.strides(shape));
        let mut engine = plain();
        driver.take_log();
        submit(&mut engine, &DeviceFrame { logits, ..frame(0) }, RawStream::from(&stream));
        assert_eq!(driver.take_log().runs[0].pointer(0), slice.device_ptr(&stream).0);
        let half = slice.slice(..shape.elements() / 2);
        let error = DeviceLogits::in_slice(&half, &stream, shape, Layout::Nchw).unwrap_err().to_string();
        assert!(error.contains("length of the slice of logits is 6144: expected at least 12288"), "{error}");
        engine.synchronize().unwrap();
        drop((engine, slice, stream));
        driver.take_log();
        driver.assert_nothing_lives();
    }

    fn measured_frames_have_an_event_between_any_two_kernels(driver) {
        for options in [CudaOptions::default(), graph()] {
            let mut engine = build(0, options).unwrap();
            submit(&mut engine, &frame(0), RawStream::DEFAULT);
            assert_eq!(engine.timings().unwrap(), None);
            engine.profile(true).unwrap();
            engine.profile(true).unwrap();
            assert_eq!(engine.timings().unwrap(), None, "no frame was measured yet");
            driver.take_log();
            submit(&mut engine, &frame(1), RawStream::DEFAULT);
            driver.take_log().assert_counts([
                ("cuCtxGetCurrent", 1),
                ("cuStreamIsCapturing", 1),
                ("cuEventRecord", 4),
                ("cuLaunchKernel", 3),
            ]);
            // The stand-in's clock is the number of launches.
            let timings = engine.timings().unwrap().unwrap();
            for stage in [timings.standardize, timings.suppress, timings.smooth] {
                assert_eq!(stage.as_micros(), 1000);
            }
            engine.profile(false).unwrap();
            assert_eq!(engine.timings().unwrap(), None);
            driver.take_log();
            submit(&mut engine, &frame(2), RawStream::DEFAULT);
            assert!(!driver.take_log().counts().contains_key("cuEventRecord"));
        }
        driver.take_log();
        driver.assert_nothing_lives();
    }
}

fn blocking_stream() -> sys::CUstream {
    let mut stream = std::ptr::null_mut();
    // SAFETY: valid for the write of one handle; a context is current.
    unsafe { sys::cuStreamCreate(&raw mut stream, 0) }.result().unwrap();
    stream
}
