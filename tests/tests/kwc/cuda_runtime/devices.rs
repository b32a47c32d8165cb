//! Devices that are there, and that are not.

use kwc_runtime::Error;
use kwc_runtime::cuda::{self, Device, Model};

use super::{code, program, weights};
use crate::vgpu::{Vgpu, nvrtc};

/// The error of the CUDA part.
#[track_caller]
fn cuda_error(error: Error) -> cuda::Error {
    let Error::Cuda(error) = error else { panic!("not of CUDA: {error}") };
    *error
}

#[test]
fn a_device_says_what_it_is() {
    let run = Vgpu::new().arch("sm_89").body(|| {
        let device = Device::new(0).unwrap();
        assert_eq!(device.compute_capability(), (8, 9));
        assert!(device.to_string().starts_with(device.name()) && device.to_string().ends_with(" (sm_89)"), "{device}");
        let error = cuda_error(Device::new(3).unwrap_err());
        assert_eq!(error, cuda::Error::NoDevice { ordinal: 3, count: 1 });
        assert!(error.to_string().contains("CUDA_VISIBLE_DEVICES"));
    });
    if let Some(run) = run {
        assert!(run.report.findings.is_empty());
    }
}

#[test]
fn without_a_driver_there_is_an_error_and_no_panic() {
    let _ = Vgpu::without_driver().body(|| {
        let error = cuda_error(Device::new(0).unwrap_err());
        assert!(matches!(error, cuda::Error::NoDriver { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("libcuda.so.1") && text.contains("nvidia-smi"), "{text}");
        // It stays an error.
        assert_eq!(cuda_error(Device::new(0).unwrap_err()), error);
    });
}

#[test]
fn a_driver_without_the_functions_is_too_old() {
    // A library that is there and is no driver.
    let directory = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(nvrtc().path(), directory.path().join("libcuda.so")).unwrap();
    let _ = Vgpu::without_driver().variable("LD_LIBRARY_PATH", directory.path()).body(|| {
        let error = cuda_error(Device::new(0).unwrap_err());
        assert_eq!(error, cuda::Error::OldDriver { symbol: "cuInit" });
    });
}

#[test]
fn a_kernel_that_does_not_fit_the_device_is_named() {
    // Blocks of an A100 have 163 KiB of shared memory, those of an A10 99 KiB.
    for (arch, bytes, limit) in [("sm_80", 163 * 1024, 166_912), ("sm_86", 100 * 1024, 101_376)] {
        let _ = Vgpu::new().arch(arch).variable("BYTES", bytes.to_string()).variable("LIMIT", limit.to_string()).body(
            || {
                let number = |name| std::env::var(name).unwrap().parse::<u32>().unwrap();
                let mut program = program();
                program.kernels.to_mut()[1].shared_bytes = number("BYTES");
                let error = Model::load(&Device::new(0).unwrap(), &program, &code(), &weights()).unwrap_err();
                let error = cuda_error(error);
                let cuda::Error::Kernel { kernel, layer, what, .. } = &error else { panic!("{error}") };
                assert_eq!((kernel.as_str(), layer.as_str()), ("finish", "second"));
                // The kernel itself has four bytes.
                let expected =
                    format!("takes {} bytes of shared memory, and there are {}", number("BYTES") + 4, number("LIMIT"));
                assert!(what.contains(&expected), "{what}");
            },
        );
    }
}

#[test]
fn memory_that_the_device_does_not_have_is_an_error() {
    let run = Vgpu::new().body(|| {
        let mut program = program();
        program.variants.to_mut()[1].arena = 1 << 44;
        let error = Model::load(&Device::new(0).unwrap(), &program, &code(), &weights()).unwrap_err();
        let error = cuda_error(error);
        assert!(matches!(error, cuda::Error::Memory { what: "the activations", .. }), "{error}");
        assert!(error.to_string().contains("are free"), "{error}");
    });
    if let Some(run) = run {
        assert!(run.report.findings.is_empty());
    }
}
