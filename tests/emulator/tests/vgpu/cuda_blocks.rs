//! Kernels whose threads work together: shared memory, shuffles, barriers, atomics, blocks that wait for no one.

use cudarc::driver::sys::{CUfunction_attribute, CUresult};

use crate::cuda_threads::numbers;
use crate::gpu::{Gpu, launch, shape, shape_with_shared};
use crate::harness::{nothing_found, run_under_vgpu, under_vgpu};

/// Whether a sum in f32 is as near as that of so many terms can be.
#[track_caller]
fn assert_sum(got: f32, terms: &[f32]) {
    let expected: f64 = terms.iter().map(|&x| f64::from(x)).sum();
    let size: f64 = terms.iter().map(|&x| f64::from(x).abs()).sum();
    assert!((f64::from(got) - expected).abs() <= 1e-6 * size, "{got} instead of {expected}");
}

#[test]
fn sums_over_warps_by_shuffles() {
    under_vgpu(
        &[],
        || {
            let gpu = Gpu::with("reductions.cu");
            let x = numbers(1, 512, 1.0);
            let there = gpu.stream.clone_htod(&x).expect("a copy");
            let mut sums = gpu.stream.alloc_zeros::<f32>(16).expect("memory");
            launch!(gpu, "warps", shape(4, 128), &there, &mut sums).expect("a launch");
            let sums = gpu.stream.clone_dtoh(&sums).expect("a copy");
            sums.iter().zip(x.chunks(32)).for_each(|(&sum, terms)| assert_sum(sum, terms));
        },
        nothing_found,
    );
}

#[test]
fn sums_over_blocks_through_shared_memory() {
    const N: usize = 5000;
    under_vgpu(
        &[],
        || {
            let gpu = Gpu::with("reductions.cu");
            let x = numbers(2, N, 1.0);
            let there = gpu.stream.clone_htod(&x).expect("a copy");
            let mut sums = gpu.stream.alloc_zeros::<f32>(3).expect("memory");
            launch!(gpu, "blocks", shape(3, 256), &there, &mut sums, &(N as u32)).expect("a launch");
            let sums = gpu.stream.clone_dtoh(&sums).expect("a copy");
            for (block, sum) in sums.into_iter().enumerate() {
                let terms: Vec<f32> = (0..N).filter(|i| i / 256 % 3 == block).map(|i| x[i]).collect();
                assert_sum(sum, &terms);
            }
        },
        nothing_found,
    );
}

#[test]
fn a_tree_with_a_barrier_a_level() {
    under_vgpu(
        &[],
        || {
            let gpu = Gpu::with("reductions.cu");
            let mut random = fastrand::Rng::with_seed(3);
            let x: Vec<i32> = (0..1024).map(|_| random.i32(..)).collect();
            let there = gpu.stream.clone_htod(&x).expect("a copy");
            let mut greatest = gpu.stream.alloc_zeros::<i32>(4).expect("memory");
            launch!(gpu, "tree", shape(4, 256), &there, &mut greatest).expect("a launch");
            let expected: Vec<i32> = x.chunks(256).filter_map(|block| block.iter().copied().max()).collect();
            assert_eq!(gpu.stream.clone_dtoh(&greatest).expect("a copy"), expected);
        },
        |report| {
            nothing_found(report);
            // Eight levels, for each of eight warps of four blocks.
            assert_eq!(report.launches[0].counters.as_deref().expect("counters").barriers, 8 * 8 * 4);
        },
    );
}

#[test]
fn votes_of_warps_and_blocks() {
    under_vgpu(
        &[],
        || {
            let gpu = Gpu::with("reductions.cu");
            // Warp 0: lanes 3, 10, 17, 24, 31. Warp 1: all. Warp 2: none.
            let x: Vec<i32> = (0..96)
                .map(|i| match i / 32 {
                    0 => i32::from(i % 7 == 3),
                    1 => i,
                    _ => -i,
                })
                .collect();
            let there = gpu.stream.clone_htod(&x).expect("a copy");
            let mut out = gpu.stream.alloc_zeros::<i32>(15).expect("memory");
            launch!(gpu, "votes", shape(1, 96), &there, &mut out).expect("a launch");
            // Count, first lane from 1, any, all, count in the block.
            let expected = [[5, 4, 1, 0, 37], [32, 1, 1, 1, 37], [0, 0, 0, 0, 37]].concat();
            assert_eq!(gpu.stream.clone_dtoh(&out).expect("a copy"), expected);
        },
        nothing_found,
    );
}

#[test]
fn a_transposition_through_shared_memory() {
    const ROWS: usize = 100;
    const COLUMNS: usize = 70;
    under_vgpu(
        &[],
        || {
            let gpu = Gpu::with("transpose.cu");
            let from = numbers(4, ROWS * COLUMNS, 1.0);
            let there = gpu.stream.clone_htod(&from).expect("a copy");
            let mut to = gpu.stream.alloc_zeros::<f32>(ROWS * COLUMNS).expect("memory");
            let shape = shape((3, 4), (32, 8));
            launch!(gpu, "transpose", shape, &there, &mut to, &(ROWS as u32), &(COLUMNS as u32)).expect("a launch");
            let to = gpu.stream.clone_dtoh(&to).expect("a copy");
            for row in 0..ROWS {
                for column in 0..COLUMNS {
                    assert_eq!(to[column * ROWS + row], from[row * COLUMNS + column], "row {row}, column {column}");
                }
            }
        },
        |report| {
            nothing_found(report);
            // Rows of 33 words: 32 lanes down a column are in 32 banks.
            assert_eq!(report.launches[0].counters.as_deref().expect("counters").bank_conflicts, 0);
        },
    );
}

#[test]
fn a_histogram_by_atomics_on_shared_and_global_memory() {
    const N: usize = 10_000;
    under_vgpu(
        &[],
        || {
            let gpu = Gpu::with("atomics.cu");
            let mut random = fastrand::Rng::with_seed(5);
            let x: Vec<u8> = (0..N).map(|_| random.u8(..).min(random.u8(..))).collect();
            let there = gpu.stream.clone_htod(&x).expect("a copy");
            let mut bins = gpu.stream.alloc_zeros::<u32>(256).expect("memory");
            launch!(gpu, "histogram", shape(5, 192), &there, &mut bins, &(N as u32)).expect("a launch");
            let mut expected = [0; 256];
            x.into_iter().for_each(|x| expected[usize::from(x)] += 1);
            assert_eq!(gpu.stream.clone_dtoh(&bins).expect("a copy"), expected);
        },
        |report| {
            nothing_found(report);
            assert_eq!(report.launches[0].counters.as_deref().expect("counters").atomics, [5 * 256, N as u64]);
        },
    );
}

#[test]
fn every_atomic_operation() {
    under_vgpu(
        &[],
        || {
            let gpu = Gpu::with("atomics.cu");
            let mut out = gpu.stream.clone_htod(&[0, 0, 0, 0, -1, 0, 0, 0, 0]).expect("a copy");
            let mut wide = gpu.stream.alloc_zeros::<u64>(1).expect("memory");
            let mut real = gpu.stream.alloc_zeros::<f32>(1).expect("memory");
            launch!(gpu, "everything", shape(3, 61), &mut out, &mut wide, &mut real).expect("a launch");
            // Of 0 to 182: the sum is 182 x 183 / 2, the exclusive or 183. Counting to 9 and from 9 goes round in ten.
            let expected = [16_653, -16_653, -182, 182, -128, 0xF_FFFF, 183, 3, 7];
            assert_eq!(gpu.stream.clone_dtoh(&out).expect("a copy"), expected);
            assert_eq!(gpu.stream.clone_dtoh(&wide).expect("a copy"), [183 << 33]);
            assert_eq!(gpu.stream.clone_dtoh(&real).expect("a copy"), [45.75]);
        },
        nothing_found,
    );
}

#[test]
fn a_product_by_compare_and_swap() {
    under_vgpu(
        &[],
        || {
            let gpu = Gpu::with("atomics.cu");
            let mut out = gpu.stream.clone_htod(&[1u32]).expect("a copy");
            launch!(gpu, "product", shape(5, 48), &mut out, &3u32).expect("a launch");
            assert_eq!(gpu.stream.clone_dtoh(&out).expect("a copy"), [3u32.wrapping_pow(5 * 48)]);
        },
        nothing_found,
    );
}

#[test]
fn every_thread_draws_another_ticket_in_an_order_of_the_seed() {
    let body = || {
        let gpu = Gpu::with("atomics.cu");
        let mut next = gpu.stream.alloc_zeros::<u32>(1).expect("memory");
        let mut drawn = gpu.stream.clone_htod(&[u32::MAX; 640]).expect("a copy");
        launch!(gpu, "tickets", shape(10, 64), &mut next, &mut drawn).expect("a launch");
        let mut drawn = gpu.stream.clone_dtoh(&drawn).expect("a copy");
        println!("order {drawn:?}");
        drawn.sort_unstable();
        assert!(drawn.into_iter().eq(0..640));
    };
    let order = |seed: &str| {
        let run = run_under_vgpu(&["--threads", "1", "--seed", seed], body)?;
        nothing_found(&run.report);
        Some(run.output.lines().find(|line| line.contains("order ["))?.to_owned())
    };
    let [first, again, other] = ["1", "1", "2"].map(order);
    assert_eq!(first, again, "a seed gives the same order again");
    // In the process that runs the body there are none.
    if first.is_some() {
        assert_ne!(first, other, "another seed gives another order");
    }
}

#[test]
fn a_sum_over_all_blocks_by_fence_and_ticket() {
    const N: usize = 20_000;
    under_vgpu(
        &[],
        || {
            let gpu = Gpu::with("ticket.cu");
            let x = numbers(6, N, 1.0);
            let there = gpu.stream.clone_htod(&x).expect("a copy");
            let mut partial = gpu.stream.alloc_zeros::<f32>(12).expect("memory");
            let mut ticket = gpu.stream.alloc_zeros::<u32>(1).expect("memory");
            for _ in 0..2 {
                let mut total = gpu.stream.alloc_zeros::<f32>(1).expect("memory");
                let shape = shape(12, 256);
                launch!(gpu, "sum", shape, &there, &mut partial, &mut ticket, &mut total, &(N as u32))
                    .expect("a launch");
                assert_sum(gpu.stream.clone_dtoh(&total).expect("a copy")[0], &x);
            }
        },
        nothing_found,
    );
}

#[test]
fn more_shared_memory_than_48_kib() {
    const COUNT: usize = 20_000;
    const BYTES: u32 = 4 * COUNT as u32;
    under_vgpu(
        &[],
        || {
            let gpu = Gpu::with("dynamic_shared.cu");
            let x = numbers(7, COUNT, 1.0);
            let there = gpu.stream.clone_htod(&x).expect("a copy");
            let mut to = gpu.stream.alloc_zeros::<f32>(COUNT).expect("memory");
            let shape = shape_with_shared(1, 256, BYTES);
            let refused = launch!(gpu, "reverse", shape, &there, &mut to, &(COUNT as u32)).expect_err("too much");
            assert_eq!(refused.0, CUresult::CUDA_ERROR_INVALID_VALUE);
            let attribute = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            gpu.kernel("reverse").set_attribute(attribute, BYTES as i32).expect("the A100 has 163 KiB a block");
            launch!(gpu, "reverse", shape, &there, &mut to, &(COUNT as u32)).expect("a launch");
            let to = gpu.stream.clone_dtoh(&to).expect("a copy");
            assert!(to.iter().zip(x.iter().rev()).all(|(&to, &from)| to == from + x[0]));
        },
        |report| {
            nothing_found(report);
            let counters = report.launches[0].counters.as_deref().expect("counters");
            assert_eq!((counters.static_shared, counters.dynamic_shared), (4, BYTES));
            // Of 164 KiB, each block takes 78.1 and the 1 that the system keeps.
            assert_eq!(counters.resident_blocks, 2);
            assert!(report.calls.iter().any(|call| call.error == "CUDA_ERROR_INVALID_VALUE"), "{:?}", report.calls);
        },
    );
}
