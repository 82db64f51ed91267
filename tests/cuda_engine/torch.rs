//! libtorch's current stream and the guard that changes it, by a stand-in for the functions of its CUDA half.

use sml::cuda::RawStream;
use sml::torch::{StreamGuard, current_stream};
use sml::{Device, Error};

use crate::setting::{build, frame, plain};
use crate::stand_in::with_stand_in;

with_stand_in! {
    fn the_engines_stream_is_current_under_its_guard(driver) {
        let mut engine = plain();
        let own = engine.stream().unwrap();
        assert_eq!(current_stream(0).unwrap(), RawStream::DEFAULT);
        {
            let _guard = engine.stream_guard().unwrap();
            assert_eq!(current_stream(0).unwrap(), own);
            std::thread::spawn(|| assert_eq!(current_stream(0).unwrap(), RawStream::DEFAULT)).join().unwrap();
            // SAFETY: the stand-in runs nothing, so that addresses may point nowhere; the stream is the engine's.
            unsafe { engine.submit_device(&frame(0), current_stream(0).unwrap()) }.unwrap();
        }
        assert_eq!(current_stream(0).unwrap(), RawStream::DEFAULT);
        driver.take_log().assert_ordered();
    }

    fn guards_are_nested_and_belong_to_their_gpu(_driver) {
        let engines = [0, 1].map(|ordinal| build(ordinal, Default::default()).unwrap());
        let [first, second] = engines.each_ref().map(|engine| engine.stream().unwrap());
        let outer = engines[0].stream_guard().unwrap();
        {
            let _other_gpu = engines[1].stream_guard().unwrap();
            // SAFETY: CUDA's default stream always exists.
            let _inner = unsafe { StreamGuard::new(RawStream::DEFAULT, 0) }.unwrap();
            assert_eq!([0, 1].map(|gpu| current_stream(gpu).unwrap()), [RawStream::DEFAULT, second]);
        }
        assert_eq!([0, 1].map(|gpu| current_stream(gpu).unwrap()), [first, RawStream::DEFAULT]);
        drop(outer);
        assert_eq!(current_stream(0).unwrap(), RawStream::DEFAULT);
    }

    /// libtorch's allocator keeps memory for streams that it has worked on: such a stream is never destroyed.
    fn a_stream_that_libtorch_has_worked_on_stays(driver) {
        let engine = plain();
        drop(engine.stream_guard().unwrap());
        drop(engine);
        let log = driver.take_log();
        assert!(!log.counts().contains_key("cuStreamDestroy_v2"));
        assert!(log.counts().contains_key("cuDevicePrimaryCtxRelease_v2"));
        drop(plain());
        assert_eq!(driver.take_log().counts()["cuStreamDestroy_v2"], 1);
    }

    fn what_libtorch_refuses_is_an_error(_driver) {
        // SAFETY: nothing uses the stream: libtorch knows no such GPU.
        let guard = unsafe { StreamGuard::new(RawStream::DEFAULT, 5) }.err().unwrap();
        for error in [current_stream(5).unwrap_err(), guard] {
            assert!(matches!(error, Error::Torch { .. }), "{error}");
            assert!(error.to_string().contains("printed on stderr"), "{error}");
        }
        assert_eq!(plain().device(), Device::Cuda(0));
    }
}
