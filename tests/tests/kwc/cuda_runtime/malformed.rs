//! Programs that contradict themselves are refused, with the place.

use kwc_runtime::Error;
use kwc_runtime::cuda::Model;
use kwc_runtime::program::cuda::{Argument, Extent, KernelId, Program};
use kwc_runtime::program::{BufferId, WeightId};

use super::{code, device, program, source_only, weights};
use crate::vgpu::Vgpu;

/// A change that makes the Program unsound, and what the error says.
type Case = (fn(&mut Program), &'static str);

const CASES: &[Case] = &[
    (|p| p.format = 99, "the program has format 99, this runtime reads format"),
    (|p| p.max_batch = 0, "the largest batch is 0"),
    (|p| p.max_batch = 1 << 31, "the largest batch is 2147483648"),
    (|p| p.max_batch = 6, "the variants end at batch 5, and the largest is 6"),
    (|p| p.max_batch = 4, "variant 1: its largest batch is 5, which is not from 3 to 4"),
    (|p| p.variants.to_mut().clear(), "the variants end at batch 0, and the largest is 5"),
    (|p| p.variants.to_mut()[0].batch = 0, "variant 0: its largest batch is 0, which is not from 1 to 5"),
    (|p| p.variants.to_mut().swap(0, 1), "variant 1: its largest batch is 2, which is not from 6 to 5"),
    (|p| p.variants.to_mut()[1].batch = 2, "variant 1: its largest batch is 2, which is not from 3 to 5"),
    (|p| p.variants.to_mut()[0].launches.to_mut().clear(), "variant 0: it launches nothing"),
    (|p| p.variants.to_mut()[1].arena = usize::MAX / 2, "is too large"),
    (|p| p.variants.to_mut()[1].arena = 1000, "variant 1: buffer0 ends beyond the arena of 1000 bytes"),
    (|p| p.variants.to_mut()[0].buffers.to_mut()[3].offset = 4, "buffer3 starts at 4, which is no multiple of 256"),
    (|p| p.variants.to_mut()[0].buffers.to_mut()[2].offset = usize::MAX - 255, "buffer2 ends beyond the arena"),
    (|p| p.variants.to_mut()[0].buffers.to_mut().truncate(4), "variant 0: dump `hidden` has no buffer4"),
    (
        |p| p.variants.to_mut()[1].buffers.to_mut()[1].length = 7,
        "variant 1: input `b` has shape [2], but its buffer1 has 7 bytes",
    ),
    (|p| p.outputs.to_mut()[0].shape = vec![usize::MAX, 2].into(), "output `twice` has shape"),
    (|p| p.outputs.to_mut()[0].shape = vec![4, 0].into(), "output `twice` has shape [4, 0]"),
    (|p| p.weights.to_mut()[0].offset = 512, "weight `weight` ends beyond the packed block of 512 bytes"),
    (|p| p.weights.to_mut()[0].offset = 4, "weight `weight` starts at 4, which is no multiple of 256"),
    (|p| p.weights.to_mut()[0].shape = vec![usize::MAX / 2, 3].into(), "weight `weight` ends beyond"),
    (|p| p.weight_bytes = usize::MAX, "the packed block of 18446744073709551615 bytes is too large"),
    (|p| p.counters = usize::MAX / 2, "counters are too many"),
    (|p| p.counters = 1, "launch 1 (layer `second`) of batches up to 2: there is no counter 1"),
    (|p| p.weights_id = "../../etc".into(), "weights_id is `../../etc`, not 64 hexadecimal digits"),
    (|p| p.source_id = "".into(), "source_id is ``, not 64 hexadecimal digits"),
    (|p| p.kernels.to_mut()[0].threads = 0, "kernel combine has blocks of 0 threads"),
    (|p| p.kernels.to_mut()[0].threads = 1025, "kernel combine has blocks of 1025 threads"),
    (|p| p.kernels.to_mut()[0].symbol = "com\0bine".into(), "a kernel is called `com\\u{0}bine`"),
    (|p| p.kernels.to_mut()[0].symbol = "".into(), "a kernel is called ``"),
    (|p| launch(p).kernel = KernelId(2), "launch 0 (layer `first`) of batches up to 5: there is no kernel 2"),
    (|p| launch(p).grid[1].divisor = 0, "the grid's y has the divisor 0"),
    (|p| launch(p).grid[2] = Extent::fixed(0), "the grid has no blocks in z at batch 3"),
    (|p| launch(p).grid[1] = Extent::fixed(65536), "blocks in y, and 65535 are the most"),
    (
        |p| launch(p).grid[0] = Extent { fixed: 0, per_sample: 1 << 29, divisor: 1 },
        "ceil((0 + 536870912 * 5) / 1) blocks in x, and 2147483647 are the most",
    ),
    (|p| launch(p).arguments.to_mut()[0] = Argument::Buffer(BufferId(6)), "there is no buffer6"),
    (|p| launch(p).arguments.to_mut()[0] = Argument::Weight(WeightId(1)), "there is no weight1"),
    (|p| launch(p).arguments.to_mut()[0] = Argument::Counter(6), "there is no counter 6"),
    (|p| launch(p).arguments = vec![Argument::Batch; 513].into(), "513 arguments exceed the 512"),
];

/// The first launch of the second variant.
fn launch(program: &mut Program) -> &mut kwc_runtime::program::cuda::Launch {
    &mut program.variants.to_mut()[1].launches.to_mut()[0]
}

#[test]
fn contradictions_are_refused_with_their_place() {
    let run = Vgpu::new().body(|| {
        let (device, code, weights) = (device(), source_only(), weights());
        for (change, expected) in CASES {
            let mut program = program();
            change(&mut program);
            let error = Model::load(&device, &program, &code, &weights).unwrap_err();
            assert!(error.to_string().contains(expected), "expected `{expected}`: {error}");
            let kind = matches!(error, Error::Format { .. } | Error::Program { .. } | Error::Launch { .. });
            assert!(kind, "{error:?}");
        }
    });
    if let Some(run) = run {
        assert!(run.report.launches.is_empty() && run.report.findings.is_empty());
    }
}

#[test]
fn a_kernel_that_the_code_lacks_is_named() {
    let _ = Vgpu::new().body(|| {
        let mut program = program();
        program.kernels.to_mut()[1].symbol = "absent".into();
        let error = Model::load(&device(), &program, &code(), &weights()).unwrap_err().to_string();
        assert!(error.contains("the PTX that came with the program: no kernel absent"), "{error}");
    });
}
