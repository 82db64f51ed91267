//! What giving a frame's kernels to a GPU costs: three kernels that do nothing, as single launches in two ways and as a graph.
//!
//! `host` is what the calls cost the calling thread, sixteen frames in a row so that the driver's queue never fills; `device` is
//! the time on the GPU from frame to frame, by events. Without a GPU it says that it is skipped.

use std::time::{Duration, Instant};

use criterion::Criterion;
use sml::Error;
use sml::cuda::launch_overhead::{LaunchOverhead, Way};

/// Frames that are given without waiting.
const BURST: u64 = 16;

fn main() -> Result<(), Error> {
    let Some(overhead) = LaunchOverhead::new()? else {
        println!("skipped: launch overhead needs a GPU, and none is found here");
        return Ok(());
    };
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("launch");
    let mut failure = Ok(());
    for way in Way::ALL {
        group.bench_function(format!("host/{}", way.name()), |bencher| {
            bencher.iter_custom(|frames| keep(&mut failure, on_host(&overhead, way, frames)));
        });
        group.bench_function(format!("device/{}", way.name()), |bencher| {
            bencher.iter_custom(|frames| keep(&mut failure, overhead.on_device(way, frames)));
        });
    }
    group.finish();
    criterion.final_summary();
    failure
}

/// The time, or none where there is a failure, which is kept.
fn keep(failure: &mut Result<(), Error>, time: Result<Duration, Error>) -> Duration {
    match time {
        Ok(time) => time,
        Err(error) => {
            *failure = Err(error);
            Duration::from_nanos(1)
        }
    }
}

fn on_host(overhead: &LaunchOverhead, way: Way, frames: u64) -> Result<Duration, Error> {
    let mut time = Duration::ZERO;
    let mut left = frames;
    while left > 0 {
        let burst = left.min(BURST);
        overhead.synchronize()?;
        let start = Instant::now();
        (0..burst).try_for_each(|_| overhead.frame(way))?;
        time += start.elapsed();
        left -= burst;
    }
    overhead.synchronize()?;
    Ok(time)
}
