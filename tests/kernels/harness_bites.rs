//! The harness itself: right kernels give right results in every order, and each kind of fault is found.

use std::collections::BTreeMap;

use crate::kernel_harness::{Failure, Job, Launch, Order, Source, compile, elements, run};

const ORDERS: [Order; 4] = [Order::Ascending, Order::Descending, Order::Random(1), Order::Random(2)];

/// Runs a toy on `input` with one fault (0: none); returns its output.
fn toy(
    entry: &'static str,
    fault: i64,
    block: u32,
    shared_bytes: u32,
    input: &[f32],
    order: Order,
) -> Result<Vec<f32>, Failure> {
    let files =
        BTreeMap::from([("toys.cu".to_owned(), include_str!("../kernel_harness/toys.cu").to_owned())]);
    let source = Source { name: "toys".to_owned(), files, defines: vec![("SML_FAULT".to_owned(), fault)] };
    let library = compile(&source).unwrap_or_else(|problem| panic!("{problem}"));
    let mut job = Job::new(order);
    // Only the endless loop takes as long as it may.
    job.seconds = if fault == 12 { 2 } else { 60 };
    let from = job.buffer(bytemuck::cast_slice(input).to_vec(), 16);
    let output = if entry == "last_block" { vec![0; 8] } else { vec![0xff; input.len() * 4] };
    let to = job.buffer(output, 48);
    let mut arguments = bytemuck::bytes_of(&[from, to]).to_vec();
    arguments.extend_from_slice(bytemuck::bytes_of(&[input.len() as i32, 0]));
    let grid = [(input.len() as u32).div_ceil(block), 1, 1];
    job.launches.push(Launch {
        library,
        entry,
        grid,
        block: [block, 1, 1],
        shared_bytes,
        arguments,
        pointers: 2,
    });
    let buffers = run(&job)?;
    Ok(elements(&buffers[1]))
}

fn input() -> Vec<f32> {
    (0..200).map(|i| (i % 7) as f32 - 2.0).collect()
}

/// A fault of which a report must tell.
fn reported(entry: &'static str, fault: i64, block: u32, shared_bytes: u32, input: &[f32], words: &[&str]) {
    for order in ORDERS {
        let failure = toy(entry, fault, block, shared_bytes, input, order);
        let Err(Failure(report)) = failure else { panic!("{entry} with fault {fault}: nothing was found") };
        for word in words {
            assert!(report.contains(word), "{entry} with fault {fault}: {word:?} is missing in:\n{report}");
        }
    }
}

fn block_sums(input: &[f32]) -> Vec<f32> {
    input.chunks(64).flat_map(|block| vec![block.iter().sum(); block.len()]).collect()
}

#[test]
fn blocks_with_barriers() {
    for order in ORDERS {
        assert_eq!(toy("block_sum", 0, 64, 256, &input(), order).unwrap(), block_sums(&input()), "{order:?}");
    }
}

#[test]
fn warps_with_shuffles_and_votes() {
    let input: Vec<f32> = input()[..192].to_vec();
    let warp = |warp: &[f32]| {
        let positive = warp.iter().filter(|&&v| v > 0.0).count() as f32;
        vec![warp.iter().sum::<f32>() + 1000.0 * positive; 32]
    };
    let want: Vec<f32> = input.chunks(32).flat_map(warp).collect();
    for order in ORDERS {
        assert_eq!(toy("warp_sum", 0, 96, 0, &input, order).unwrap(), want, "{order:?}");
    }
}

#[test]
fn threads_that_end_early_and_votes_of_the_others() {
    for order in ORDERS {
        assert_eq!(toy("copy_quads", 0, 64, 0, &input(), order).unwrap(), input(), "{order:?}");
        assert_eq!(toy("last_block", 0, 1, 0, &[0.0; 2], order).unwrap(), [2.0, 1.0], "{order:?}");
    }
}

#[test]
fn a_missing_barrier_changes_the_result() {
    for fault in [1, 2] {
        let differs =
            |order| toy("block_sum", fault, 64, 256, &input(), order).unwrap() != block_sums(&input());
        let found: Vec<Order> = ORDERS.into_iter().filter(|&order| differs(order)).collect();
        assert_eq!(found, ORDERS, "fault {fault} shows only in some orders");
    }
}

#[test]
fn barriers_that_not_all_threads_reach() {
    let words =
        ["wait at different places", "32 threads, the first of them (0, 0, 0)", "__syncthreads, toys.cu:"];
    reported("block_sum", 3, 64, 256, &input(), &words);
    reported("block_sum", 4, 64, 256, &input(), &words);
}

#[test]
fn lanes_that_a_warp_waits_for_in_vain() {
    let words = ["wait at different places", "__shfl_xor_sync, toys.cu:", "mask 0xffffffff"];
    reported(
        "warp_sum",
        8,
        96,
        0,
        &input(),
        &[&words[..], &["3 threads, the first of them (7, 0, 0), have ended"]].concat(),
    );
    reported("warp_sum", 9, 96, 0, &input(), &[&words[..], &["__ballot_sync"]].concat());
}

#[test]
fn memory_outside_of_buffers_and_shared_arrays() {
    let input: Vec<f32> = input()[..192].to_vec();
    let where_ = ["in kernel block_sum, block ("];
    // One element behind the output: written by the first thread without an element of its own.
    reported("block_sum", 5, 64, 256, &input[..100], &["heap-buffer-overflow", "WRITE of size 4", where_[0]]);
    reported("block_sum", 6, 64, 256, &input, &["heap-buffer-overflow", "READ of size 4", where_[0]]);
    let positive: Vec<f32> = input.iter().map(|v| v.abs() + 1.0).collect();
    reported("block_sum", 7, 64, 256, &positive, &["index 64 out of bounds", where_[0]]);
    // Less dynamic shared memory than the kernel uses.
    reported("block_sum", 0, 64, 252, &input, &["heap-buffer-overflow", "thread (63, 0, 0)"]);
}

#[test]
fn misaligned_vectors() {
    reported("copy_quads", 10, 64, 0, &input(), &["misaligned address", "16 byte", "in kernel copy_quads"]);
    reported("copy_quads", 11, 64, 0, &input(), &["misaligned address", "in kernel copy_quads"]);
}

#[test]
fn endless_loops_and_undefined_arithmetic() {
    let Err(Failure(report)) = toy("last_block", 12, 1, 0, &[0.0; 2], Order::Ascending) else { panic!() };
    assert!(
        report.contains("it takes longer than it may\nin kernel last_block, block (0, 0, 0)"),
        "{report}"
    );
    reported("last_block", 13, 1, 0, &[0.0; 2], &["signed integer overflow", "in kernel last_block"]);
}

#[test]
fn launches_that_no_gpu_would_take() {
    let problem = |block, shared_bytes| {
        toy("block_sum", 0, block, shared_bytes, &input(), Order::Ascending).unwrap_err().0
    };
    assert!(problem(2048, 0).contains("a block of 2048 threads"));
    assert!(problem(64, 300_000).contains("300000 bytes of shared memory"));
}
