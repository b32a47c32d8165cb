//! Products of matrices: by tiles in f32, and on tensor cores with everything that a fast one uses.

use crate::cuda_threads::numbers;
use crate::gpu::{Gpu, launch, shape};
use crate::harness::{nothing_found, under_vgpu};

/// `a` times `b` in f64, by rows, each element with the sum of its terms' sizes.
fn product(a: &[f64], b: &[f64], [m, n, k]: [usize; 3]) -> Vec<(f64, f64)> {
    let term = |i: usize, l: usize| a[i / n * k + l] * b[l * n + i % n];
    (0..m * n)
        .map(|i| (0..k).map(|l| term(i, l)).fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs())))
        .collect()
}

#[track_caller]
fn assert_product(got: &[f32], expected: &[(f64, f64)], tolerance: f64) {
    for (i, (&got, &(expected, size))) in got.iter().zip(expected).enumerate() {
        let distance = (f64::from(got) - expected).abs();
        assert!(distance <= tolerance * size, "element {i}: {got} instead of {expected}");
    }
}

#[test]
fn tiles_in_f32() {
    const SIZES: [usize; 3] = [128, 192, 80];
    let [m, n, k] = SIZES;
    under_vgpu(
        &[],
        || {
            let gpu = Gpu::with("product_f32.cu");
            let (a, b) = (numbers(1, m * k, 1.0), numbers(2, k * n, 1.0));
            let a_there = gpu.stream.clone_htod(&a).expect("a copy");
            let b_there = gpu.stream.clone_htod(&b).expect("a copy");
            let mut c = gpu.stream.alloc_zeros::<f32>(m * n).expect("memory");
            launch!(gpu, "product", shape((3, 2), 256), &a_there, &b_there, &mut c, &(n as i32), &(k as i32))
                .expect("a launch");
            let wide = |x: &[f32]| x.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
            let expected = product(&wide(&a), &wide(&b), SIZES);
            assert_product(&gpu.stream.clone_dtoh(&c).expect("a copy"), &expected, 1e-6);
        },
        |report| {
            nothing_found(report);
            let counters = report.launches[0].counters.as_deref().expect("counters");
            let f32s = |(class, issued): &(_, kwc_emulator::counters::Issued)| {
                (*class == kwc_emulator::counters::Class::F32).then_some(issued.threads)
            };
            // One fused multiply-add for each of m n k, and nothing else in f32.
            assert_eq!(counters.classes.iter().find_map(f32s), Some((m * n * k) as u64));
        },
    );
}

/// A product on tensor cores: `bits` rounds a number to the format, exactly as the tests' numbers need it.
fn on_tensor_cores(format: &str, architecture: &str, to_bits: fn(f32) -> u16, from_bits: fn(u16) -> f64) {
    let [m, n, k] = TENSOR_SIZES;
    let gpu = Gpu::with_defines("product_mma.cu", architecture, &[("FORMAT", format)]);
    let bits = |x: Vec<f32>| x.into_iter().map(to_bits).collect::<Vec<_>>();
    let (a, b) = (bits(numbers(3, m * k, 1.0)), bits(numbers(4, k * n, 1.0)));
    let (a_there, b_there) = (gpu.stream.clone_htod(&a).expect("a copy"), gpu.stream.clone_htod(&b).expect("a copy"));
    let mut c = gpu.stream.alloc_zeros::<f32>(m * n).expect("memory");
    launch!(gpu, "product", shape((3, 2), 128), &a_there, &b_there, &mut c, &(n as i32), &(k as i32))
        .expect("a launch");
    let wide = |x: Vec<u16>| x.into_iter().map(from_bits).collect::<Vec<_>>();
    let expected = product(&wide(a), &wide(b), TENSOR_SIZES);
    // Products of two halves are exact in f32; what is left are the roundings of the sum.
    assert_product(&gpu.stream.clone_dtoh(&c).expect("a copy"), &expected, 1e-6);
}

/// m, n, k: five steps of the pipeline.
const TENSOR_SIZES: [usize; 3] = [128, 192, 160];

fn f16(format_of: &str) {
    on_tensor_cores("f16", format_of, |x| half::f16::from_f32(x).to_bits(), |x| half::f16::from_bits(x).to_f64());
}

/// Figures of the product on tensor cores that can be worked out by hand.
fn check_tensor_counters(report: &kwc_emulator::report::summary::Report) {
    nothing_found(report);
    let [m, n, k] = TENSOR_SIZES.map(|size| size as u64);
    let counters = report.launches[0].counters.as_deref().expect("counters");
    assert_eq!(counters.tensor_multiply_adds, m * n * k);
    // Each of six blocks brings 64 x k of A and k x 64 of B, two bytes each.
    assert_eq!(counters.async_bytes, 6 * 2 * 64 * k * 2);
    // Two stages of 8 KiB, and the third that is fetched while the first is multiplied.
    assert!((16_384..=24_576).contains(&counters.async_in_flight), "{}", counters.async_in_flight);
    assert_eq!(counters.bank_conflicts, 0, "the swizzle keeps ldmatrix and cp.async free of conflicts");
    assert_eq!(counters.distinct_sectors_read, (m * k + k * n) * 2 / 32);
    assert_eq!(counters.distinct_sectors_written, m * n * 4 / 32);
}

#[test]
fn tensor_cores_in_f16() {
    under_vgpu(&[], || f16("compute_80"), check_tensor_counters);
}

#[test]
fn tensor_cores_in_f16_compiled_for_compute_90() {
    under_vgpu(&["--arch", "sm_90"], || f16("compute_90"), check_tensor_counters);
}

#[test]
fn tensor_cores_in_bf16() {
    under_vgpu(
        &[],
        || {
            on_tensor_cores(
                "bf16",
                "compute_80",
                |x| half::bf16::from_f32(x).to_bits(),
                |x| half::bf16::from_bits(x).to_f64(),
            );
        },
        check_tensor_counters,
    );
}

#[test]
fn an_order_of_warps_and_blocks_changes_nothing() {
    for seed in ["11", "12", "13"] {
        under_vgpu(&["--seed", seed], || f16("compute_80"), check_tensor_counters);
    }
}
