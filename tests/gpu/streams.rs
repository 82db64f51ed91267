//! Streams: the default one, the engine's own, several in turn, threads, and captures into graphs of the caller.

use cudarc::driver::CudaContext;
use cudarc::driver::sys::{self, CUgraphExec, CUstream, CUstreamCaptureMode};
use sml::cuda::RawStream;
use sml::torch::{StreamGuard, current_stream};
use sml::{Params, Score};
use tch::{Device, IndexOp, Kind, Tensor};

use crate::frames::Frame;
use crate::gpu;
use crate::maps::{Outputs, assert_same, engine_there, frame, on_host, tensor};

fn small(seed: u64) -> Frame {
    frame([1, 19, 32, 64], (128, 256), Params::default(), seed)
}

#[test]
fn a_guard_changes_the_current_stream_and_puts_it_back() {
    let Some((_, _turn)) = gpu() else { return };
    assert_eq!(current_stream(0).unwrap(), RawStream::DEFAULT);
    let engines = [1, 2].map(|seed| engine_there(&small(seed), false));
    let [first, second] = &engines;
    assert_ne!(first.stream(), second.stream());
    let outer = first.stream_guard().unwrap();
    assert_eq!(Some(current_stream(0).unwrap()), first.stream());
    {
        let _inner = second.stream_guard().unwrap();
        assert_eq!(Some(current_stream(0).unwrap()), second.stream());
        // Another thread has a current stream of its own.
        std::thread::spawn(|| assert_eq!(current_stream(0).unwrap(), RawStream::DEFAULT)).join().unwrap();
    }
    assert_eq!(Some(current_stream(0).unwrap()), first.stream());
    drop(outer);
    assert_eq!(current_stream(0).unwrap(), RawStream::DEFAULT);
}

/// Frames follow each other without waiting on the host, each on another stream than the one before. The logits of each
/// are written on its own stream, just before.
#[test]
fn frames_on_streams_in_turn_do_not_disturb_each_other() {
    let Some((device, _turn)) = gpu() else { return };
    let frames: Vec<Frame> = (0..6).map(small).collect();
    let sources: Vec<Tensor> =
        frames.iter().map(|frame| tensor(frame, Kind::Half).to_device(device)).collect();
    let wanted: Vec<_> = frames.iter().zip(&sources).map(|(frame, logits)| on_host(frame, logits)).collect();
    let context = CudaContext::new(0).unwrap();
    let callers = [context.new_stream().unwrap(), context.new_stream().unwrap()];
    tch::Cuda::synchronize(0);
    for graph in [false, true] {
        let mut engine = engine_there(&frames[0], graph);
        let mut results = Vec::new();
        for n in 0..60 {
            let stream = match n % 4 {
                0 => RawStream::DEFAULT,
                1 => engine.stream().unwrap(),
                other => RawStream::from(&callers[other - 2]),
            };
            // SAFETY: the streams are of this GPU. Tensors made under the guard are kept until the device was waited for,
            // and the streams that are destroyed at the end of the test outlive them.
            let _guard = unsafe { StreamGuard::new(stream, 0) }.unwrap();
            let logits = sources[n % 6].copy();
            let mut outputs = Outputs::of(&frames[0], Kind::Float, device);
            engine.submit_tensor_into(&logits, outputs.lend()).unwrap();
            results.push((logits, outputs));
        }
        tch::Cuda::synchronize(0);
        for (n, (_, outputs)) in results.iter().enumerate() {
            assert_same(&outputs.to_host(), &wanted[n % 6], Score::Sml, &format!("frame {n}, graph {graph}"));
        }
    }
    // libtorch's allocator keeps memory for them.
    std::mem::forget(callers);
}

/// Logits that take the GPU a while, so that a frame given to another stream would read what was there before.
fn slow_logits(device: Device, shape: [i64; 4], turn: i64) -> Tensor {
    let mut mixed = Tensor::randn([2048, 2048], (Kind::Float, device));
    let turned = Tensor::randn([2048, 2048], (Kind::Float, device)) / 2048_f64.sqrt();
    for _ in 0..20 {
        mixed = mixed.matmul(&turned);
    }
    let elements: i64 = shape.iter().product();
    (mixed.flatten(0, -1).i(turn..turn + elements).view(shape) / mixed.std(false)).contiguous()
}

/// libtorch's work before and after a frame is in order with it, though nobody waits: the result is read by libtorch after
/// the logits' memory went back to its allocator and to the next tensor.
#[test]
fn frames_come_behind_the_network_on_its_stream() {
    let Some((device, _turn)) = gpu() else { return };
    let frame = small(6);
    let shape = [1, 19, 32, 64];
    let mut engine = engine_there(&frame, false);
    for own_stream in [false, true] {
        let _guard = own_stream.then(|| engine.stream_guard().unwrap());
        for turn in 0..10 {
            let logits = slow_logits(device, shape, turn);
            let (score, prediction) = {
                let given = logits.copy();
                let map = engine.submit_tensor(&given, frame.size).unwrap();
                (map.score.copy(), map.prediction.copy())
            };
            let _overwrites = Tensor::full(shape, 1e9, (Kind::Float, device));
            let want = on_host(&frame, &logits);
            let score = Vec::<f32>::try_from(score.to_device(Device::Cpu).flatten(0, -1)).unwrap();
            let prediction = Vec::<u8>::try_from(prediction.to_device(Device::Cpu).flatten(0, -1)).unwrap();
            assert!(score.iter().eq(&want.score), "frame {turn}, own stream {own_stream}");
            assert!(prediction.iter().eq(&want.prediction), "frame {turn}, own stream {own_stream}");
        }
    }
}

/// Two threads with an engine each, and one engine that goes from thread to thread.
#[test]
fn threads_submit_at_the_same_time() {
    let Some((device, _turn)) = gpu() else { return };
    let run = |seed: u64| {
        move || {
            let frame = small(seed);
            let logits = tensor(&frame, Kind::Float).to_device(device);
            let want = on_host(&frame, &logits);
            let mut engine = engine_there(&frame, seed.is_multiple_of(2));
            for n in 0..50 {
                let _guard = (n % 2 == 0).then(|| engine.stream_guard().unwrap());
                // The logits were written on the default stream, which the engine's own does not wait for.
                tch::Cuda::synchronize(0);
                let got = engine.submit_tensor(&logits, frame.size).unwrap().to_host().unwrap();
                assert_same(&got, &want, Score::Sml, &format!("thread {seed}, frame {n}"));
            }
        }
    };
    let threads = [1, 2].map(|seed| std::thread::spawn(run(seed)));
    threads.into_iter().for_each(|thread| thread.join().unwrap());

    let frame = small(9);
    let logits = tensor(&frame, Kind::Float);
    let want = on_host(&frame, &logits);
    let mut engine = engine_there(&frame, true);
    for n in 0..4 {
        let (frame, logits, want) = (frame.clone(), logits.copy(), want.clone());
        engine = std::thread::spawn(move || {
            let got = engine.submit_tensor(&logits.to_device(device), frame.size).unwrap().to_host().unwrap();
            assert_same(&got, &want, Score::Sml, &format!("thread {n}"));
            engine
        })
        .join()
        .unwrap();
    }
}

/// While a stream is captured, a call that allocates, waits or copies makes the capture fail.
#[test]
fn a_frame_can_be_captured_and_replayed() {
    let Some((device, _turn)) = gpu() else { return };
    let frames = [small(1), small(2), small(3)];
    for graph in [false, true] {
        let mut engine = engine_there(&frames[0], graph);
        let stream = engine.stream().unwrap();
        let _guard = engine.stream_guard().unwrap();
        let logits = tensor(&frames[0], Kind::Half).to_device(device);
        let mut outputs = Outputs::of(&frames[0], Kind::Float, device);
        tch::Cuda::synchronize(0);
        let exec = capture(stream, || engine.submit_tensor_into(&logits, outputs.lend()).unwrap());
        for frame in &frames {
            let source = tensor(frame, Kind::Half);
            logits.shallow_clone().copy_(&source);
            for output in [&outputs.score, &outputs.prediction, &outputs.non_finite] {
                let _ = output.shallow_clone().fill_(3);
            }
            // SAFETY: engine, logits and outputs are alive, and all work on them is on this stream.
            unsafe { sys::cuGraphLaunch(exec, stream.as_raw() as CUstream) }.result().unwrap();
            assert_same(&outputs.to_host(), &on_host(frame, &source), Score::Sml, "a replay");
        }
        // The engine goes on outside the graph.
        let got = engine.submit_tensor(&logits, frames[2].size).unwrap().to_host().unwrap();
        assert_same(&got, &on_host(&frames[2], &logits), Score::Sml, "after the capture");
        // SAFETY: instantiated above; its work is complete.
        unsafe { sys::cuGraphExecDestroy(exec) }.result().unwrap();
    }
}

fn capture(stream: RawStream, work: impl FnOnce()) -> CUgraphExec {
    let context = CudaContext::new(0).unwrap();
    context.bind_to_thread().unwrap();
    let handle = stream.as_raw() as CUstream;
    let (mut graph, mut exec) = (std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: the stream is alive and of the bound context; each pointer is valid for the write of one handle.
    unsafe {
        sys::cuStreamBeginCapture_v2(handle, CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)
            .result()
            .unwrap();
        work();
        sys::cuStreamEndCapture(handle, &raw mut graph).result().unwrap();
        sys::cuGraphInstantiateWithFlags(&raw mut exec, graph, 0).result().unwrap();
        sys::cuGraphDestroy(graph).result().unwrap();
    }
    exec
}

/// The results of the default stream and of the engine's own are the same, with a graph and without.
#[test]
fn neither_stream_nor_graph_changes_a_bit() {
    let Some((device, _turn)) = gpu() else { return };
    let frame = small(4);
    let logits = tensor(&frame, Kind::BFloat16).to_device(device);
    let want = on_host(&frame, &logits);
    tch::Cuda::synchronize(0);
    for graph in [false, true] {
        for own in [false, true] {
            let mut engine = engine_there(&frame, graph);
            let _guard = own.then(|| engine.stream_guard().unwrap());
            for _ in 0..3 {
                let got = engine.submit_tensor(&logits, frame.size).unwrap().to_host().unwrap();
                assert_same(&got, &want, Score::Sml, &format!("graph {graph}, own stream {own}"));
            }
        }
    }
    assert_eq!(logits.device(), Device::Cuda(0));
}
