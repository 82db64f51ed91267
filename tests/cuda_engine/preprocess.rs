//! Pictures to a network's input, and results to the host, as the driver sees it.

use cudarc::driver::CudaContext;
use sml::cuda::{CudaPreprocessor, DeviceResults, FrameStream, Mark, RawStream};
use sml::{ElementType, Error, InputMut, Layout, PixelFormat, Preprocessing, Preprocessor, Size};

use crate::end_to_end::{Block, execute};
use crate::pictures::{Picture, imagenet};
use crate::setting::{caller_streams, frame, plain};
use crate::stand_in::with_stand_in;

const SIZE: Size = Size::new(21, 50);

fn build(preprocessing: &Preprocessing) -> CudaPreprocessor {
    let kind = (SIZE, PixelFormat::Bgr8);
    CudaPreprocessor::new(0, preprocessing, kind, ElementType::F32, Layout::Nchw).unwrap()
}

fn picture(seed: u64) -> Picture {
    Picture::new(SIZE, 5, PixelFormat::Bgr8, seed)
}

with_stand_in! {
    fn a_picture_is_one_copy_and_one_launch_and_only_the_third_waits(driver) {
        let mut preprocessor = build(&imagenet());
        let input = 1 << 40;
        driver.take_log();
        for n in 0..5 {
            // SAFETY: the stand-in runs nothing, so that the input's address may point nowhere.
            unsafe { preprocessor.submit(&picture(n).view(), input, RawStream::DEFAULT) }.unwrap();
            let log = driver.take_log();
            let counts = log.counts();
            let allocated = |call| counts.get(call).copied().unwrap_or(0);
            // With the first picture from the host comes the memory for them.
            assert_eq!(["cuMemAlloc_v2", "cuMemHostAlloc"].map(allocated), if n == 0 { [1, 2] } else { [0, 0] });
            assert_eq!(allocated("cuEventSynchronize"), usize::from(n >= 2), "picture {n}");
            for call in ["cuMemcpyHtoDAsync_v2", "cuEventRecord", "cuLaunchKernel", "cuStreamIsCapturing"] {
                assert_eq!(counts[call], 1, "{call}, picture {n}");
            }
            let most = [usize::MAX, 5, 8][2.min(n as usize)];
            assert!(log.calls.len() <= most, "{counts:?}");
            log.assert_ordered();
            assert_eq!((log.runs[0].kernel.as_str(), log.runs[0].pointer(1)), ("preprocess", input));
        }
        // One in device memory already is a launch alone, also on another stream.
        let [stream] = caller_streams(0);
        driver.take_log();
        // SAFETY: as above; the stream is alive.
        unsafe { preprocessor.submit_device(1 << 41, 150, input, RawStream::from(&stream)) }.unwrap();
        let log = driver.take_log();
        assert!(!log.counts().contains_key("cuMemcpyHtoDAsync_v2"));
        assert_eq!(log.runs[0].pointer(0), 1 << 41);
        log.assert_ordered();
        drop((preprocessor, stream));
        driver.take_log();
        driver.assert_nothing_lives();
    }

    /// The launches run on the host, in the memory that was allocated and filled: the CPU's bytes.
    fn pictures_become_the_cpus_input(driver) {
        let context = CudaContext::new(0).unwrap();
        for preprocessing in [imagenet(), Preprocessing { input_size: Some(Size::new(16, 64)), ..imagenet() }] {
            let mut preprocessor = build(&preprocessing);
            let mut host = Preprocessor::new(&preprocessing, SIZE).unwrap();
            let mut want = vec![0.0_f32; 3 * host.input_size().pixels()];
            let input = Block::new(&context, &vec![0xee; 4 * want.len()]);
            let tables = preprocessor.plan().tables().len();
            for seed in 0..4 {
                let picture = picture(seed);
                driver.take_log();
                // SAFETY: the input is that large, and lives until the launch has run.
                unsafe { preprocessor.submit(&picture.view(), input.address, RawStream::DEFAULT) }.unwrap();
                let runs = driver.take_log().runs;
                let pixels = Block::of_engine(runs[0].pointer(0), SIZE.height * 160);
                let tables = (tables > 0).then(|| Block::of_engine(runs[0].pointer(2), tables));
                let memory: Vec<&Block> = [&pixels, &input].into_iter().chain(&tables).collect();
                execute(&runs, ElementType::F32, &memory);
                host.apply(&picture.view(), Layout::Nchw, InputMut::F32(&mut want)).unwrap();
                assert!(input.contents() == bytemuck::cast_slice::<f32, u8>(&want), "picture {seed}");
            }
            // It waits for its kernel, which writes to the input.
            drop(preprocessor);
        }
    }

    fn what_does_not_fit_is_refused(driver) {
        let mut preprocessor = build(&imagenet());
        driver.take_log();
        for (size, format) in [(Size::new(21, 51), PixelFormat::Bgr8), (SIZE, PixelFormat::Rgb8)] {
            let picture = Picture::new(size, 0, format, 1);
            // SAFETY: nothing is launched.
            let error = unsafe { preprocessor.submit(&picture.view(), 0, RawStream::DEFAULT) }.unwrap_err();
            assert!(matches!(error, Error::Shape { .. }), "{error}");
        }
        driver.take_log().assert_counts([]);
        let kind = (SIZE, PixelFormat::Bgr8);
        let nowhere = CudaPreprocessor::new(7, &imagenet(), kind, ElementType::F16, Layout::Nhwc);
        assert!(matches!(nowhere, Err(Error::Device { .. })));
    }

    /// Whichever call of the building is refused: an error, and nothing is left behind.
    fn building_that_fails_leaves_nothing(driver) {
        const INVALID_VALUE: i32 = 1;
        let kind = (SIZE, PixelFormat::Bgr8);
        let smaller = Preprocessing { input_size: Some(Size::new(8, 8)), ..imagenet() };
        let new = || CudaPreprocessor::new(0, &smaller, kind, ElementType::F32, Layout::Nchw);
        drop(new().unwrap());
        for call in ["cuMemAlloc_v2", "cuMemcpyHtoD_v2", "cuEventCreate", "cuStreamCreate"] {
            driver.take_log();
            driver.fail(call, 1, INVALID_VALUE);
            assert!(matches!(new(), Err(Error::Cuda { .. })), "{call}");
            driver.take_log();
            driver.assert_nothing_lives();
        }
    }

    /// So it is with the first picture from the host, whose successor is taken all the same.
    fn memory_that_is_refused_is_an_error_and_the_next_picture_comes(driver) {
        for (call, count) in [("cuMemAlloc_v2", 1), ("cuMemHostAlloc", 2), ("cuEventCreate", 2)] {
            for nth in 1..=count {
                let mut preprocessor = build(&imagenet());
                driver.take_log();
                let living = driver.living();
                driver.fail(call, nth, 1);
                // SAFETY: the stand-in runs nothing.
                let mut submit = || unsafe { preprocessor.submit(&picture(0).view(), 1 << 40, RawStream::DEFAULT) };
                assert!(matches!(submit(), Err(Error::Cuda { .. })), "{call} {nth}");
                driver.take_log();
                assert_eq!(driver.living(), living, "{call} {nth}");
                submit().unwrap();
                driver.take_log().assert_ordered();
            }
        }
    }

    fn a_copy_that_is_refused_is_named_and_the_next_picture_comes(driver) {
        let mut preprocessor = build(&imagenet());
        driver.fail("cuMemcpyHtoDAsync_v2", 1, 1);
        // SAFETY: the stand-in runs nothing.
        let mut submit = || unsafe { preprocessor.submit(&picture(0).view(), 1 << 40, RawStream::DEFAULT) };
        let error = submit().unwrap_err().to_string();
        assert!(error.starts_with("CUDA could not copy a picture to the GPU (cuda:0): "), "{error}");
        for _ in 0..3 {
            submit().unwrap();
        }
        driver.take_log().assert_ordered();
    }

    fn results_come_to_the_host_and_the_clock_runs_between_marks(driver) {
        let context = CudaContext::new(0).unwrap();
        let mut frames = FrameStream::new(0).unwrap();
        let mut preprocessor = build(&imagenet());
        assert!(matches!(frames.map(), Err(Error::Shape { .. })));
        assert_eq!(frames.between(Mark::Start, Mark::End).unwrap(), None);
        for (turn, size) in [(3, 5), (3, 5), (8, 2)].map(|(h, w)| Size::new(h, w)).into_iter().enumerate() {
            let scores: Vec<f32> = (0..size.pixels()).map(|i| (i * (turn + 1)) as f32 - 7.5).collect();
            let predictions: Vec<u8> = (0..size.pixels()).map(|i| (i + turn) as u8).collect();
            let [score, prediction, non_finite] =
                [bytemuck::cast_slice(&scores), &predictions, bytemuck::bytes_of(&(turn as u64))]
                    .map(|bytes| Block::new(&context, bytes));
            driver.take_log();
            frames.mark(Mark::Start).unwrap();
            // SAFETY: the stand-in runs nothing.
            unsafe { preprocessor.submit(&picture(0).view(), 1 << 40, frames.stream()) }.unwrap();
            frames.mark(Mark::Prepared).unwrap();
            let from = DeviceResults {
                score: score.address,
                prediction: prediction.address,
                non_finite: non_finite.address,
                size,
            };
            // SAFETY: the blocks are that large and live until the copies are complete.
            unsafe { frames.fetch(from) }.unwrap();
            let log = driver.take_log();
            assert_eq!(log.counts().contains_key("cuMemHostAlloc"), turn != 1, "pinned anew for another size only");
            assert_eq!(log.counts()["cuMemcpyDtoHAsync_v2"], 3);
            frames.mark(Mark::End).unwrap();
            let map = frames.map().unwrap();
            assert_eq!(map.score.dim(), (1, size.height, size.width));
            assert!(map.score.iter().eq(&scores) && map.prediction.iter().eq(&predictions));
            assert_eq!(map.non_finite, [turn as u64]);
            // The stand-in counts a millisecond for each launch.
            let one = Some(std::time::Duration::from_millis(1));
            assert_eq!(frames.between(Mark::Start, Mark::Prepared).unwrap(), one);
            assert_eq!(frames.between(Mark::Start, Mark::End).unwrap(), one);
            assert_eq!(frames.between(Mark::Start, Mark::Logits).unwrap(), None);
            frames.finish().unwrap();
        }
    }

    /// What is captured does not run, and runs with each replay.
    fn a_stretch_of_the_stream_is_captured_and_replayed(driver) {
        let mut engine = plain();
        let mut frames = FrameStream::new(0).unwrap();
        // SAFETY: the stand-in runs nothing, so that addresses may point nowhere; the stream is alive.
        let mut give = |frames: &mut FrameStream| unsafe { engine.submit_device(&frame(4), frames.stream()) };
        driver.take_log();
        // SAFETY: as above.
        let ((), graph) = unsafe { frames.capture(&mut give) }.unwrap();
        let log = driver.take_log();
        assert_eq!((log.captured.len(), log.runs.len()), (3, 0));
        for _ in 0..2 {
            // SAFETY: as above.
            unsafe { frames.replay(&graph) }.unwrap();
            let log = driver.take_log();
            log.assert_counts([("cuCtxGetCurrent", 1), ("cuStreamIsCapturing", 1), ("cuGraphLaunch", 1)]);
            assert!(log.runs.len() == 3 && log.runs.iter().all(|run| run.graph));
            assert_eq!(log.runs[0].pointer(0), frame(4).logits.pointer);
            log.assert_ordered();
        }
        frames.finish().unwrap();

        // A failure on the way, and a capture that something made invalid: the stream is as before.
        let refusal = || Err::<(), _>(Error::UndefinedMetric { metric: "none", problem: String::new() });
        // SAFETY: as above.
        let failed = unsafe { frames.capture(|_| refusal()) };
        assert!(matches!(failed, Err(Error::UndefinedMetric { .. })));
        // The last one leaves the stand-in's stream in its capture, since the call does nothing.
        for call in
            ["cuStreamBeginCapture_v2", "cuGraphInstantiateWithFlags", "cuGraphUpload", "cuStreamEndCapture"]
        {
            driver.fail(call, 1, 901);
            // SAFETY: as above.
            let error = unsafe { frames.capture(&mut give) }.unwrap_err().to_string();
            assert!(error.starts_with("CUDA could not capture a whole frame into a graph on cuda:0: "), "{error}");
        }
    }
}
