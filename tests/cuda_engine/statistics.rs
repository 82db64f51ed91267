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

    fn what_cannot_be_counted_is_refused(driver) {
        for classes in [0, 256] {
            assert!(matches!(CudaStatisticsAccumulator::new(0, classes), Err(Error::Shape { .. })), "{classes}");
        }
        assert!(matches!(CudaStatisticsAccumulator::new(5, 19), Err(Error::Device { .. })));
        assert!(!driver.take_log().counts().contains_key("cuMemAlloc_v2"));
        driver.assert_nothing_lives();
    }
}
