//! Kernels whose threads work alone: arithmetic, divergence, calls.

use crate::gpu::{Gpu, launch, shape};
use crate::harness::{nothing_found, under_vgpu};

/// Numbers between -`range` and `range`, the same in every run.
pub(crate) fn numbers(seed: u64, count: usize, range: f32) -> Vec<f32> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..count).map(|_| (random.f32() * 2.0 - 1.0) * range).collect()
}

#[track_caller]
fn assert_close(got: f32, expected: f64, tolerance: f64) {
    let distance = (f64::from(got) - expected).abs();
    assert!(distance <= tolerance * expected.abs().max(1.0), "{got} instead of {expected}");
}

fn axpy(architecture: &str) {
    const N: usize = 1000;
    let gpu = Gpu::with_defines("elementwise.cu", architecture, &[]);
    let (x, y) = (numbers(1, N, 10.0), numbers(2, N, 10.0));
    let x_there = gpu.stream.clone_htod(&x).expect("a copy");
    let mut y_there = gpu.stream.clone_htod(&y).expect("a copy");
    launch!(gpu, "axpy", shape(4, 256), &-1.75f32, &x_there, &mut y_there, &(N as u32)).expect("a launch");
    let got = gpu.stream.clone_dtoh(&y_there).expect("a copy");
    for i in 0..N {
        assert_close(got[i], -1.75 * f64::from(x[i]) + f64::from(y[i]), 2e-7);
    }
}

#[test]
fn one_element_a_thread() {
    under_vgpu(
        &[],
        || axpy("compute_80"),
        |report| {
            nothing_found(report);
            assert_eq!(report.architecture.as_deref(), Some("sm_80"));
            assert_eq!(report.launches.len(), 1);
        },
    );
}

#[test]
fn code_for_compute_90_runs_on_an_h100() {
    under_vgpu(
        &["--arch", "sm_90"],
        || axpy("compute_90"),
        |report| {
            nothing_found(report);
            assert_eq!(report.architecture.as_deref(), Some("sm_90"));
        },
    );
}

#[test]
fn four_elements_an_access_in_a_loop_over_the_grid() {
    under_vgpu(
        &[],
        || {
            let gpu = Gpu::with("elementwise.cu");
            let x = numbers(3, 4 * 777, 100.0);
            let mut there = gpu.stream.clone_htod(&x).expect("a copy");
            launch!(gpu, "scale", shape(3, 96), &0.5f32, &mut there, &777u32).expect("a launch");
            let got = gpu.stream.clone_dtoh(&there).expect("a copy");
            // Halving is exact.
            assert_eq!(got, x.iter().map(|x| x / 2.0).collect::<Vec<_>>());
        },
        nothing_found,
    );
}

#[test]
fn approximate_functions_are_as_exact_as_documented() {
    const N: usize = 500;
    under_vgpu(
        &[],
        || {
            let gpu = Gpu::with("elementwise.cu");
            let x = numbers(4, N, 8.0);
            let there = gpu.stream.clone_htod(&x).expect("a copy");
            let mut y = gpu.stream.alloc_zeros::<f32>(6 * N).expect("memory");
            launch!(gpu, "functions", shape(4, 128), &there, &mut y, &(N as u32)).expect("a launch");
            let y = gpu.stream.clone_dtoh(&y).expect("a copy");
            for (i, x) in x.iter().map(|&x| f64::from(x)).enumerate() {
                let expected = [
                    1.0 / (1.0 + (-x).exp()),
                    1.0 / (x * x + 1.0).sqrt(),
                    (x * x + 1.0).ln(),
                    x.tanh(),
                    (x * x + 0.5).sqrt() / (x * x + 2.0),
                    error_function(x),
                ];
                for (row, expected) in expected.into_iter().enumerate() {
                    assert_close(y[row * N + i], expected, 2e-6);
                }
            }
        },
        nothing_found,
    );
}

/// By its Maclaurin series; for |x| up to 5, beyond which it is 1 to twelve digits.
fn error_function(x: f64) -> f64 {
    if x.abs() > 5.0 {
        return x.signum();
    }
    let (mut sum, mut term) = (x, x);
    for n in 1..200 {
        let n = f64::from(n);
        term *= -x * x / n;
        sum += term / (2.0 * n + 1.0);
    }
    sum * std::f64::consts::FRAC_2_SQRT_PI
}

#[test]
fn long_integers_and_doubles() {
    const N: usize = 64;
    under_vgpu(
        &[],
        || {
            let gpu = Gpu::with("elementwise.cu");
            let mut random = fastrand::Rng::with_seed(5);
            let a: Vec<i64> = (0..N).map(|_| random.i64(..)).collect();
            let b: Vec<f64> = (0..N).map(|_| random.f64() * 1e10).collect();
            let (a_there, b_there) =
                (gpu.stream.clone_htod(&a).expect("a copy"), gpu.stream.clone_htod(&b).expect("a copy"));
            let mut c = gpu.stream.alloc_zeros::<i64>(N).expect("memory");
            let mut d = gpu.stream.alloc_zeros::<f64>(N).expect("memory");
            launch!(gpu, "wide", shape(1, 64), &a_there, &b_there, &mut c, &mut d, &(N as u32)).expect("a launch");
            let (c, d) = (gpu.stream.clone_dtoh(&c).expect("a copy"), gpu.stream.clone_dtoh(&d).expect("a copy"));
            for i in 0..N {
                let divisor = if i == 7 { 3 } else { i as i64 - 7 };
                let high = (i128::from(a[i]) * i128::from(a[i])) >> 64;
                assert_eq!(c[i], (a[i] / divisor).wrapping_add(high as i64));
                assert_eq!(d[i], b[i].mul_add(b[i], a[i] as f64) / 3.0);
            }
        },
        nothing_found,
    );
}

/// `Parameters` of `elementwise.cu`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Parameters {
    scale: f32,
    offsets: [i32; 3],
    bias: i64,
}

#[expect(unsafe_code, reason = "cudarc asks for it")]
// SAFETY: the layout is C's, and every part may be copied to a device.
unsafe impl cudarc::driver::DeviceRepr for Parameters {}

#[test]
fn structures_constants_and_arrays_of_a_thread() {
    under_vgpu(
        &[],
        || {
            let gpu = Gpu::with("elementwise.cu");
            let p = Parameters { scale: 4.0, offsets: [3, -20, 100], bias: -1_000_000 };
            let mut out = gpu.stream.alloc_zeros::<i32>(50).expect("memory");
            launch!(gpu, "spaces", shape(1, 50), &p, &mut out).expect("a launch");
            let out = gpu.stream.clone_dtoh(&out).expect("a copy");
            for i in 0..50 {
                let local: Vec<i32> = (0..8).map(|j| j * j + p.offsets[j as usize % 3]).collect();
                // 4 x (0.5, 1.5, 2.5, 3.5)
                let scaled = [2, 6, 10, 14][i as usize % 4];
                assert_eq!(out[i as usize], local[((i * 5 + 3) & 7) as usize] + scaled - 1_000_000, "thread {i}");
            }
        },
        nothing_found,
    );
}

#[test]
fn lanes_leave_a_loop_one_by_one() {
    const N: u32 = 1000;
    under_vgpu(
        &[],
        || {
            let gpu = Gpu::with("divergence.cu");
            let start: Vec<u32> = (1..=N).collect();
            let there = gpu.stream.clone_htod(&start).expect("a copy");
            let mut steps = gpu.stream.alloc_zeros::<u32>(N as usize).expect("memory");
            launch!(gpu, "collatz", shape(8, 128), &there, &mut steps, &N).expect("a launch");
            let steps = gpu.stream.clone_dtoh(&steps).expect("a copy");
            for (n, steps) in start.into_iter().zip(steps) {
                let sequence = std::iter::successors(Some(u64::from(n)), |&n| match n {
                    1 => None,
                    n if n % 2 == 0 => Some(n / 2),
                    n => Some(3 * n + 1),
                });
                assert_eq!(steps as usize, sequence.count() - 1, "from {n}");
            }
        },
        |report| {
            nothing_found(report);
            let counters = report.launches[0].counters.as_deref().expect("counters");
            assert!(counters.divergent_branches > 0);
        },
    );
}

#[test]
fn lanes_that_break_and_continue_meet_again() {
    under_vgpu(
        &[],
        || {
            let gpu = Gpu::with("divergence.cu");
            let mut out = gpu.stream.alloc_zeros::<i32>(32).expect("memory");
            launch!(gpu, "nested", shape(1, 32), &mut out).expect("a launch");
            let of_lane = |lane: i32| {
                let mut sum = 0;
                for i in (0..lane).filter(|i| i % 5 != 3) {
                    sum += (i..40).take_while(|j| (i * j + lane) % 11 != 0).map(|j| i ^ j).sum::<i32>();
                    if sum > 5000 {
                        break;
                    }
                }
                sum
            };
            let expected: i32 = (0..32).map(of_lane).sum();
            assert_eq!(gpu.stream.clone_dtoh(&out).expect("a copy"), [expected; 32]);
        },
        nothing_found,
    );
}

#[test]
fn a_jump_table() {
    under_vgpu(
        &[],
        || {
            let gpu = Gpu::with("divergence.cu");
            let which: Vec<i32> = (0..64).map(|i| i * 7 % 9 - 1).collect();
            let there = gpu.stream.clone_htod(&which).expect("a copy");
            let mut out = gpu.stream.alloc_zeros::<i32>(64).expect("memory");
            launch!(gpu, "cases", shape(1, 64), &there, &mut out).expect("a launch");
            let expected: Vec<i32> = (0..64)
                .zip(which)
                .map(|(i, which)| match which {
                    0 => i + 10,
                    1 => i * 3,
                    2 => (i << 4) ^ 0x55,
                    3 => 1 ^ 0x55,
                    4 => -i,
                    5 => i * i,
                    6 => 77,
                    _ => -1,
                })
                .collect();
            assert_eq!(gpu.stream.clone_dtoh(&out).expect("a copy"), expected);
        },
        nothing_found,
    );
}

#[test]
fn functions_that_call_themselves() {
    under_vgpu(
        &[],
        || {
            let gpu = Gpu::with("calls.cu");
            let mut out = gpu.stream.alloc_zeros::<u32>(64).expect("memory");
            launch!(gpu, "recursion", shape(1, 64), &mut out).expect("a launch");
            let fibonacci = [0, 1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610];
            let expected: Vec<u32> = fibonacci.into_iter().cycle().take(64).collect();
            assert_eq!(gpu.stream.clone_dtoh(&out).expect("a copy"), expected);
        },
        nothing_found,
    );
}

#[test]
fn structures_go_to_functions_and_come_back() {
    under_vgpu(
        &[],
        || {
            let gpu = Gpu::with("calls.cu");
            let mut out = gpu.stream.alloc_zeros::<f64>(64).expect("memory");
            launch!(gpu, "structures", shape(1, 32), &mut out).expect("a launch");
            let out = gpu.stream.clone_dtoh(&out).expect("a copy");
            for i in 0..32 {
                let (mut re, mut im) = (1.0 + f64::from(i), 2.0);
                let (b_re, b_im) = (0.5, -0.25 * f64::from(i));
                for _ in 0..i % 4 {
                    (re, im) = (re * b_re - im * b_im, re * b_im + im * b_re);
                }
                let sign = if i % 2 == 0 { 1.0 } else { -1.0 };
                for (got, expected) in [(out[2 * i as usize], sign * re), (out[2 * i as usize + 1], sign * im)] {
                    // The device contracts products and sums.
                    assert!((got - expected).abs() <= 1e-12 * expected.abs().max(1.0), "{got} instead of {expected}");
                }
            }
        },
        nothing_found,
    );
}

#[test]
fn some_lanes_call_to_other_depths() {
    under_vgpu(
        &[],
        || {
            let gpu = Gpu::with("calls.cu");
            let mut out = gpu.stream.alloc_zeros::<i32>(64).expect("memory");
            launch!(gpu, "divergent", shape(1, 64), &mut out).expect("a launch");
            let expected: Vec<i32> = (0..64)
                .map(|i: i32| {
                    let mut local = [-1, -2, -3, -4];
                    if i % 3 != 0 {
                        local[i as usize % 4] = i32::from(i % 2 == 0);
                    }
                    local[0] * 1000 + local[1] * 100 + local[2] * 10 + local[3]
                })
                .collect();
            assert_eq!(gpu.stream.clone_dtoh(&out).expect("a copy"), expected);
        },
        nothing_found,
    );
}
