//! The limits: how fast memory is copied and read on the device, in buffers that no cache holds; and the flushing of caches,
//! which is the same work for another end.

use std::hint::black_box;
use std::time::Instant;

use rayon::prelude::*;

use super::machine::last_level_cache;
use crate::{Device, Result};

/// Measurements of which the median counts; one more before them wakes what sleeps.
const MEASUREMENTS: usize = 5;

/// Bytes a task: few enough for all threads to have some, many enough for a task to be worth starting.
const PART: usize = 1 << 20;

/// How many times the last-level cache a buffer is, within limits, and what stands in for a cache of unknown size.
const CACHES: u64 = 4;
const LEAST_BYTES: u64 = 64 << 20;
const MOST_BYTES: u64 = 512 << 20;
const UNKNOWN_CACHE: u64 = 32 << 20;

/// Size of a GPU's buffers, and passes over them that one measurement takes together.
#[cfg(all(feature = "torch", feature = "cuda"))]
const GPU_BYTES: i64 = 1 << 30;
#[cfg(all(feature = "torch", feature = "cuda"))]
const GPU_PASSES: u32 = 10;

/// GB/s.
#[derive(Clone, Copy)]
pub(super) struct Bandwidth {
    /// Bytes read and bytes written.
    pub copy: f64,
    /// Bytes read: a sum over the buffer.
    pub read: f64,
}

impl Bandwidth {
    /// Measures both. `None` where there is no memory for the buffers.
    ///
    /// # Errors
    /// When the device fails.
    pub fn of(device: Device) -> Result<Option<Self>> {
        match device {
            Device::Cpu => Ok(on_host()),
            #[cfg(all(feature = "torch", feature = "cuda"))]
            Device::Cuda(ordinal) => on_gpu(ordinal),
            #[cfg(all(feature = "cuda", not(feature = "torch")))]
            Device::Cuda(_) => Ok(None),
        }
    }
}

fn on_host() -> Option<Bandwidth> {
    let bytes =
        (CACHES * last_level_cache().unwrap_or(UNKNOWN_CACHE)).clamp(LEAST_BYTES, MOST_BYTES) as usize;
    let (source, mut target) = (written(bytes, 1)?, written(bytes, 2)?);
    let gigabytes = bytes as f64 / 1e9;
    let read = median(|| {
        black_box(sum(&source));
    });
    let copy = median(|| {
        target
            .par_chunks_mut(PART)
            .zip(source.par_chunks(PART))
            .for_each(|(to, from)| to.copy_from_slice(from));
        black_box(&target);
    });
    Some(Bandwidth { copy: 2.0 * gigabytes / copy, read: gigabytes / read })
}

/// Memory that has been written: the system gives pages that were never written from one page of zeros.
fn written(bytes: usize, value: u8) -> Option<Vec<u8>> {
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(bytes).ok()?;
    buffer.resize(bytes, value);
    Some(buffer)
}

/// Seconds.
fn median(mut work: impl FnMut()) -> f64 {
    work();
    let mut seconds = [0.0; MEASUREMENTS].map(|_: f64| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64()
    });
    seconds.sort_by(f64::total_cmp);
    seconds[MEASUREMENTS / 2]
}

/// A sum over all bytes that does nothing but read them, with all threads.
pub(super) fn sum(bytes: &[u8]) -> u64 {
    bytes
        .par_chunks(PART)
        .map(|part| {
            let (before, words, after) = bytemuck::pod_align_to::<u8, u64>(part);
            let mut sums = [0_u64; 16];
            let blocks = words.chunks_exact(sums.len());
            let ends = before.iter().chain(after).map(|&byte| u64::from(byte));
            let rest = ends.chain(blocks.remainder().iter().copied()).fold(0, u64::wrapping_add);
            for block in blocks {
                sums.iter_mut().zip(block).for_each(|(sum, word)| *sum = sum.wrapping_add(*word));
            }
            sums.into_iter().fold(rest, u64::wrapping_add)
        })
        .reduce(|| 0, u64::wrapping_add)
}

#[cfg(all(feature = "torch", feature = "cuda"))]
fn on_gpu(ordinal: usize) -> Result<Option<Bandwidth>> {
    use tch::{Device, Kind, Tensor};
    let options = (Kind::Float, Device::Cuda(ordinal));
    let ones = || Tensor::f_ones([GPU_BYTES / 4], options);
    let (Ok(source), Ok(mut target)) = (ones(), ones()) else { return Ok(None) };
    let mut failure = None;
    let mut seconds = |work: &mut dyn FnMut() -> std::result::Result<(), tch::TchError>| {
        median(|| {
            for _ in 0..GPU_PASSES {
                failure = failure.take().or_else(|| work().err());
            }
            tch::Cuda::synchronize(ordinal as i64);
        }) / f64::from(GPU_PASSES)
    };
    let read = seconds(&mut || source.f_sum(Kind::Float).map(drop));
    let copy = seconds(&mut || target.f_copy_(&source));
    match failure {
        Some(error) => Err(crate::torch::torch_error("measure the bandwidth")(error)),
        None => {
            let gigabytes = GPU_BYTES as f64 / 1e9;
            Ok(Some(Bandwidth { copy: 2.0 * gigabytes / copy, read: gigabytes / read }))
        }
    }
}

/// Pushes everything out of the device's caches by reading and writing a buffer of twice their size.
pub(super) enum Flusher {
    Host(Vec<u8>),
    #[cfg(all(feature = "torch", feature = "cuda"))]
    Gpu {
        buffer: tch::Tensor,
        ordinal: i64,
    },
}

impl Flusher {
    /// # Errors
    /// When there is no memory for the buffer.
    pub fn on(device: Device) -> Result<Self> {
        match device {
            #[cfg(all(feature = "torch", feature = "cuda"))]
            Device::Cuda(ordinal) => {
                let found = crate::cuda::driver::probe()?.map(|driver| driver.gpus).unwrap_or_default();
                let cache = found.into_iter().find(|gpu| gpu.ordinal == ordinal).map(|gpu| gpu.l2_bytes);
                let bytes = 2 * cache.unwrap_or(LEAST_BYTES);
                let options = (tch::Kind::Float, tch::Device::Cuda(ordinal));
                let buffer = tch::Tensor::f_zeros([(bytes / 4) as i64], options)
                    .map_err(crate::torch::torch_error("allocate the buffer that flushes the caches"))?;
                Ok(Self::Gpu { buffer, ordinal: ordinal as i64 })
            }
            _ => {
                let bytes = 2 * last_level_cache().unwrap_or(UNKNOWN_CACHE);
                let missing = || crate::Error::Shape {
                    what: "buffer that flushes the caches",
                    given: format!("{} MiB", bytes >> 20),
                    expected: "memory for it".to_owned(),
                };
                written(bytes as usize, 1).map(Self::Host).ok_or_else(missing)
            }
        }
    }

    /// Waits until it is done.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn flush(&mut self) -> Result<()> {
        match self {
            // In parts that the threads share, so that also the caches of their own are full of it.
            Self::Host(buffer) => buffer
                .par_chunks_mut(PART)
                .for_each(|part| part.iter_mut().for_each(|byte| *byte = byte.wrapping_add(1))),
            #[cfg(all(feature = "torch", feature = "cuda"))]
            Self::Gpu { buffer, ordinal } => {
                let done = buffer.f_add_scalar_(1.0).map(drop);
                done.map_err(crate::torch::torch_error("flush the caches"))?;
                tch::Cuda::synchronize(*ordinal);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_reads_every_byte() {
        let mut bytes = vec![0; 3 * PART + 13];
        assert_eq!(sum(&bytes), 0);
        let places = [0, 7, PART - 1, PART, 2 * PART + 5, 3 * PART + 12];
        let sums: Vec<u64> = places
            .iter()
            .map(|&place| {
                bytes[place] = 1;
                sum(&bytes)
            })
            .collect();
        assert!(sums.windows(2).all(|pair| pair[0] != pair[1]) && sums[0] != 0, "{sums:?}");
    }

    #[test]
    fn flushing_writes_the_whole_buffer() {
        let mut flusher = Flusher::Host(written(PART + 5, 1).unwrap());
        flusher.flush().unwrap();
        flusher.flush().unwrap();
        match flusher {
            Flusher::Host(buffer) => assert!(buffer.iter().all(|&byte| byte == 3)),
            #[cfg(all(feature = "torch", feature = "cuda"))]
            Flusher::Gpu { .. } => unreachable!(),
        }
    }
}
