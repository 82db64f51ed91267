//! Moments of max logits on the GPU.

use sml::Error;
use sml::cuda::plan::AccumulatePlan;
use sml::cuda::{CudaStatisticsAccumulator, RawStream};

use crate::setting::{LIMITS, caller_streams};
use crate::stand_in::with_stand_in;

with_stand_in! {
    fn adding_is_two_launches_and_reading_is_one_copy(driver) {
        let mut accumulator = CudaStatisticsAccumulator::new(0, 19).unwrap();
        driver.take_log();
        let (max_logit, prediction, pixels) = (1 << 40, 1 << 41, 1024 * 2048);
        // SAFETY: the stand-in runs nothing, so that addresses may point nowhere.
        unsafe { accumulator.add(max_logit, prediction, pixels, true, RawStream::DEFAULT) }.unwrap();
        let log = driver.take_log();
        log.assert_counts([("cuCtxGetCurrent", 1), ("cuStreamIsCapturing", 1), ("cuLaunchKernel", 2)]);
        let sums = (log.runs[0].pointer(2), log.runs[0].pointer(3));
        let launches = AccumulatePlan::new(19, LIMITS).launches(max_logit, prediction, pixels, true, sums);
        log.runs.iter().zip(&launches).for_each(|(run, launch)| run.assert_is(launch));
        log.assert_ordered();

        // The sums were zeroed when the accumulator was built, and nothing has run since.
        let read = accumulator.read().unwrap();
        assert_eq!(read.non_finite(), 0);
        let statistics = read.finish(Default::default());
        assert!(statistics.classes().len() == 19 && statistics.classes().iter().all(|class| class.count == Some(0)));
        let counts = driver.take_log();
        assert_eq!((counts.counts()["cuMemcpyDtoHAsync_v2"], counts.counts()["cuEventSynchronize"]), (1, 1));

        let [stream] = caller_streams(0);
        // SAFETY: as above; the stream is alive.
        unsafe { accumulator.add(max_logit, prediction, pixels, false, RawStream::from(&stream)) }.unwrap();
        driver.take_log().assert_ordered();
        drop((stream, accumulator));
        driver.take_log();
        driver.assert_nothing_lives();
    }

    /// What the kernels would have summed up is written in their place.
    fn taking_gives_the_sums_once_and_begins_anew(driver) {
        let mut accumulator = CudaStatisticsAccumulator::new(0, 2).unwrap();
        driver.take_log();
        // SAFETY: the stand-in runs nothing, so that addresses may point nowhere.
        unsafe { accumulator.add(1 << 40, 1 << 41, 64, true, RawStream::DEFAULT) }.unwrap();
        let moments = driver.take_log().runs[0].pointer(3);
        // Count, mean and sum of squared deviations of two classes, and the pixels left out.
        let sums: [u64; 9] = [5, 2.5_f64.to_bits(), 8.0_f64.to_bits(), 1, 7.0_f64.to_bits(), 0, 3, 0, 0];
        // SAFETY: the stand-in's device memory, which holds these numbers; both are live.
        let written = unsafe {
            cudarc::driver::sys::cuMemcpyHtoD_v2(moments, sums.as_ptr().cast(), size_of_val(&sums))
        };
        assert_eq!(written, cudarc::driver::sys::CUresult::CUDA_SUCCESS);
        driver.take_log();

        let taken = accumulator.take().unwrap();
        let classes = taken.finish(Default::default()).classes().to_vec();
        assert_eq!((classes[0].count, classes[0].mean, classes[0].variance), (Some(5), Some(2.5), Some(2.0)));
        assert_eq!((classes[1].count, classes[1].mean, taken.non_finite()), (Some(1), Some(7.0), 3));
        let log = driver.take_log();
        assert_eq!((log.counts()["cuMemcpyDtoHAsync_v2"], log.counts()["cuMemsetD8Async"]), (1, 1));
        let position = |name: &str| log.calls.iter().position(|call| call == name);
        assert!(position("cuMemcpyDtoHAsync_v2") < position("cuMemsetD8Async"), "{:?}", log.calls);
        let waited = log.calls.iter().rposition(|call| call == "cuStreamSynchronize");
        assert!(waited > position("cuMemsetD8Async"), "{:?}", log.calls);

        assert_eq!(accumulator.take().unwrap(), sml::StatisticsAccumulator::new(2));
        drop(accumulator);
        driver.take_log();
        driver.assert_nothing_lives();
    }

    fn what_cannot_be_counted_is_refused(driver) {
        for classes in [0, 256] {
            assert!(matches!(CudaStatisticsAccumulator::new(0, classes), Err(Error::Shape { .. })), "{classes}");
        }
        assert!(matches!(CudaStatisticsAccumulator::new(5, 19), Err(Error::Device { .. })));
        assert!(!driver.take_log().counts().contains_key("cuMemAlloc_v2"));
        driver.assert_nothing_lives();
    }
}
