//! Models that run: every batch, again, from the host and from the device, several at once, wrong inputs, profiles.

use kwc_runtime::Error;
use kwc_runtime::cuda::cudarc::driver::sys::{CUgraphInstantiate_flags, CUstreamCaptureMode};
use kwc_runtime::cuda::{self, CodeUsed, Model};
use kwc_runtime::program::BufferId;
use kwc_runtime::program::cuda::Argument;

use super::{MAX_BATCH, assert_results, assert_runs, code, device, expected, inputs, model, program, weights};
use crate::vgpu::Vgpu;

#[test]
fn every_batch_gives_its_results_and_gives_them_again() {
    for seed in [0, 1] {
        let run = Vgpu::new().seed(seed).body(|| {
            let mut model = model();
            assert_eq!(model.code_used(), &CodeUsed::Ptx { lowered: None });
            assert_eq!((model.batch(), model.output(0).len()), (0, 0));
            // The second round replays graphs, and goes from the large batches' layout to the small ones'.
            for seed in [0, 1, 2] {
                for batch in 1..=MAX_BATCH {
                    assert_runs(&mut model, batch, seed);
                    assert_eq!(model.batch(), batch);
                }
            }
            assert!(model.output(2).is_empty() && model.dump(1).is_empty());
        });
        if let Some(run) = run {
            run.assert_clean();
            assert_eq!((run.launches("combine"), run.launches("finish")), (3 * MAX_BATCH, 3 * MAX_BATCH));
            // Each launch has as many blocks as its extent says: ceil(4 B / 3) to batch 2, ceil((3 + B) / 4) from there.
            let kernel = run.report.kernels.iter().find(|kernel| kernel.name == "combine").unwrap();
            let grids: Vec<u32> = kernel.shapes.iter().map(|shape| shape.grid[0]).collect();
            assert_eq!(grids, [2, 3]);
        }
    }
}

#[test]
fn batches_in_any_order_do_not_disturb_each_other() {
    let run = Vgpu::new().body(|| {
        let mut model = model();
        for (seed, batch) in [5, 1, 3, 2, 5, 4, 1, 2, 3].into_iter().enumerate() {
            assert_runs(&mut model, batch, seed);
        }
    });
    if let Some(run) = run {
        run.assert_clean();
    }
}

#[test]
fn models_on_one_device_are_independent() {
    let run = Vgpu::new().arch("sm_90").body(|| {
        let device = device();
        let load = || Model::load(&device, &program(), &code(), &weights()).unwrap();
        let (mut first, mut second) = (load(), load());
        assert_runs(&mut first, 3, 1);
        assert_runs(&mut second, 2, 7);
        // The first one's results are still there, and it runs on when the other one and the device are gone.
        assert_results(&first, 3, 1);
        drop(second);
        drop(device);
        assert_runs(&mut first, 3, 2);
        // A model may move to another thread, whose context is none yet.
        std::thread::spawn(move || {
            assert_runs(&mut first, 3, 3);
            assert_runs(&mut first, 4, 4);
        })
        .join()
        .unwrap();
    });
    if let Some(run) = run {
        run.assert_clean();
    }
}

#[test]
fn models_run_on_several_threads_at_once() {
    let run = Vgpu::new().body(|| {
        let device = device();
        std::thread::scope(|scope| {
            for seed in 0..3 {
                let device = device.clone();
                scope.spawn(move || {
                    let mut model = Model::load(&device, &program(), &code(), &weights()).unwrap();
                    (1..=MAX_BATCH).for_each(|batch| assert_runs(&mut model, batch, seed));
                });
            }
        });
    });
    if let Some(run) = run {
        run.assert_clean();
    }
}

#[test]
fn samples_on_the_device_give_outputs_there() {
    let run = Vgpu::new().body(|| {
        let device = device();
        let mut model = Model::load(&device, &program(), &code(), &weights()).unwrap();
        let own = device.stream().unwrap();
        for batch in [1, 3, MAX_BATCH, 3] {
            // Inputs on a stream of the caller's, one output there and one on the model's; longer than needed.
            let stream = model.stream().clone();
            let values = inputs(batch, batch);
            let a = own.clone_htod(&values[0]).unwrap();
            let b = own.clone_htod(&[values[1].clone(), vec![99.0; 3]].concat()).unwrap();
            let mut twice = own.alloc_zeros::<f32>(batch * 4 + 2).unwrap();
            let mut total = stream.alloc_zeros::<f32>(batch).unwrap();
            model.run_device(batch, &[&a, &b], &mut [&mut twice, &mut total]).unwrap();
            drop((a, b));
            let expected = expected(&values);
            assert_eq!(own.clone_dtoh(&twice).unwrap(), [expected[0].clone(), vec![0.0; 2]].concat());
            assert_eq!(stream.clone_dtoh(&total).unwrap(), expected[1]);
            assert!(model.output(0).is_empty(), "nothing has run from the host");
        }
        // Runs from the host go on as before.
        assert_runs(&mut model, 2, 4);
        // What does not fit is refused, and leaves the last results.
        let short = own.alloc_zeros::<f32>(3).unwrap();
        let mut twice = own.alloc_zeros::<f32>(4).unwrap();
        let mut total = own.alloc_zeros::<f32>(1).unwrap();
        let error = model.run_device(1, &[&short, &short], &mut [&mut twice, &mut total]).unwrap_err();
        assert!(matches!(error, Error::InputLength { ref name, expected: 4, found: 3, .. } if name == "a"), "{error}");
        let input = own.alloc_zeros::<f32>(4).unwrap();
        let error = model.run_device(1, &[&input, &input], &mut [&mut twice]).unwrap_err();
        assert_eq!(error, cuda::Error::OutputCount { expected: 2, found: 1 }.into());
        let error = model.run_device(1, &[&input, &input], &mut [&mut total, &mut twice]).unwrap_err();
        assert_eq!(error, cuda::Error::OutputLength { name: "twice".to_owned(), expected: 4, found: 1 }.into());
        assert_results(&model, 2, 4);
    });
    if let Some(run) = run {
        run.assert_clean();
    }
}

#[test]
fn inputs_that_do_not_fit_are_refused_and_leave_the_results() {
    let run = Vgpu::new().body(|| {
        let mut model = model();
        assert_runs(&mut model, 2, 0);
        let (a, b) = ([0.0; 24], [0.0; 12]);
        let mut refused = |batch: usize, inputs: &[&[f32]]| {
            let error = model.run(batch, inputs).unwrap_err();
            assert_results(&model, 2, 0);
            error
        };
        assert_eq!(refused(0, &[&[], &[]]), Error::EmptyBatch);
        let too_large = Error::BatchTooLarge { batch: 6, maximum: 5 };
        assert_eq!(refused(6, &[&a, &b]), too_large);
        assert_eq!(refused(usize::MAX, &[&a, &b]), Error::BatchTooLarge { batch: usize::MAX, maximum: 5 });
        assert!(too_large.to_string().contains("was compiled for 5"));
        assert_eq!(refused(1, &[&a[..4]]), Error::InputCount { expected: 2, found: 1 });
        assert_eq!(refused(1, &[&a[..4], &b[..2], &b[..2]]), Error::InputCount { expected: 2, found: 3 });
        let length = |found| Error::InputLength { name: "b".to_owned(), shape: vec![2], batch: 3, expected: 6, found };
        assert_eq!(refused(3, &[&a[..12], &b[..5]]), length(5));
        assert_eq!(refused(3, &[&a[..12], &b[..7]]), length(7));
        assert_runs(&mut model, 3, 1);
    });
    if let Some(run) = run {
        run.assert_clean();
    }
}

#[test]
fn a_profile_has_every_launch_and_leaves_the_results() {
    let run = Vgpu::new().body(|| {
        let mut model = model();
        // On zeros, as nothing has run.
        let profile = model.profile(4, 2).unwrap();
        assert_eq!((profile.batch, profile.launches.len()), (4, 2));
        let [first, second] = &profile.launches[..] else { panic!("{profile:?}") };
        assert_eq!(
            (first.layer.as_str(), first.kernel.as_str(), first.grid, first.threads),
            ("first", "combine", [2, 1, 1], 32)
        );
        assert_eq!((second.layer.as_str(), second.kernel.as_str(), second.grid), ("second", "finish", [2, 4, 1]));
        for times in [first.time, second.time, profile.graph] {
            assert!(times.least >= 0.0 && times.median >= times.least, "{times:?}");
        }
        assert_runs(&mut model, 2, 3);
        model.profile(2, 1).unwrap();
        model.profile(5, 0).unwrap();
        assert_results(&model, 2, 3);
        assert_eq!(model.profile(0, 1).unwrap_err(), Error::EmptyBatch);
        assert_eq!(model.profile(6, 1).unwrap_err(), Error::BatchTooLarge { batch: 6, maximum: 5 });
    });
    if let Some(run) = run {
        run.assert_clean();
        // Unmeasured, measured one by one, measured as a graph: (1 + 2 + 2), one run, (1 + 1 + 1) twice.
        assert_eq!(run.launches("combine"), 12);
    }
}

#[test]
fn buffers_can_be_looked_at() {
    let run = Vgpu::new().body(|| {
        let mut model = model();
        assert_eq!(model.buffer(BufferId(4)).unwrap(), [0_u8; 0]);
        assert_runs(&mut model, 3, 2);
        let [_, _, hidden] = expected(&inputs(3, 2));
        let bytes: Vec<u8> = hidden.iter().flat_map(|value| value.to_le_bytes()).collect();
        assert_eq!(model.buffer(BufferId(4)).unwrap(), bytes);
        let parts: Vec<u8> = hidden.chunks(2).flat_map(|pair| (pair[0] + pair[1]).to_le_bytes()).collect();
        assert_eq!(model.buffer(BufferId(5)).unwrap(), parts);
        assert_eq!(model.buffer(BufferId(6)).unwrap(), [0_u8; 0]);
    });
    if let Some(run) = run {
        run.assert_clean();
    }
}

#[test]
fn a_kernel_that_fails_is_an_error_and_the_model_can_be_dropped() {
    let run = Vgpu::new().body(|| {
        let mut program = program();
        // The batch is what the low bits of an address are.
        program.variants.to_mut()[0].launches.to_mut()[0].arguments.to_mut()[4] = Argument::Buffer(BufferId(0));
        let mut model = Model::load(&device(), &program, &code(), &weights()).unwrap();
        let [a, b] = inputs(1, 0);
        for _ in 0..2 {
            let error = model.run(1, &[&a, &b]).unwrap_err();
            let Error::Cuda(error) = error else { panic!("{error}") };
            assert!(matches!(&*error, cuda::Error::Call { reason, .. } if reason.contains("CUDA_ERROR")), "{error}");
            assert!(model.output(0).is_empty() && model.dump(0).is_empty());
        }
        drop(model);
    });
    if let Some(run) = run {
        assert!(run.report.findings.iter().all(|finding| finding.kernel == "combine"), "{:?}", run.report.findings);
        assert!(!run.report.findings.is_empty());
    }
}

#[test]
fn a_stream_that_is_captured_elsewhere_is_an_error() {
    let run = Vgpu::new().body(|| {
        let mut model = model();
        let stream = model.stream().clone();
        stream.begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL).unwrap();
        let [a, b] = inputs(1, 0);
        let error = model.run(1, &[&a, &b]).unwrap_err();
        assert!(error.to_string().contains("CUDA_ERROR"), "{error}");
        // Waiting for the stream has broken the other capture; the model runs once that has ended.
        let _ = stream.end_capture(CUgraphInstantiate_flags(0));
        assert_runs(&mut model, 1, 0);
    });
    if let Some(run) = run {
        run.assert_clean();
    }
}
