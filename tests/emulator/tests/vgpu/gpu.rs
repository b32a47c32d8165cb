//! The virtual GPU as a program sees it through cudarc.

use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaFunction, CudaModule, CudaStream, LaunchConfig};
use cudarc::nvrtc::Ptx;

use crate::harness::compile;

/// A device with a module on it.
pub(crate) struct Gpu {
    pub(crate) context: Arc<CudaContext>,
    /// A stream other than the default one, so that it can be captured.
    pub(crate) stream: Arc<CudaStream>,
    module: Arc<CudaModule>,
}

impl Gpu {
    /// With a file of `tests/vgpu/cuda`, compiled for `compute_80`.
    pub(crate) fn with(file: &str) -> Self {
        Self::with_defines(file, "compute_80", &[])
    }

    pub(crate) fn with_defines(file: &str, architecture: &str, defines: &[(&str, &str)]) -> Self {
        let context = CudaContext::new(0).expect("a device");
        let stream = context.new_stream().expect("a stream");
        let ptx = compile(file, architecture, defines);
        let module = context.load_module(Ptx::from_src(ptx)).expect("a module that can be loaded");
        Self { context, stream, module }
    }

    pub(crate) fn kernel(&self, name: &str) -> CudaFunction {
        self.module.load_function(name).unwrap_or_else(|error| panic!("{name}: {error}"))
    }
}

/// The shape of a launch without dynamic shared memory.
pub(crate) fn shape(grid: impl Dimensions, block: impl Dimensions) -> LaunchConfig {
    shape_with_shared(grid, block, 0)
}

pub(crate) fn shape_with_shared(grid: impl Dimensions, block: impl Dimensions, bytes: u32) -> LaunchConfig {
    LaunchConfig { grid_dim: grid.dimensions(), block_dim: block.dimensions(), shared_mem_bytes: bytes }
}

/// One, two or three dimensions.
pub(crate) trait Dimensions {
    fn dimensions(self) -> (u32, u32, u32);
}

impl Dimensions for u32 {
    fn dimensions(self) -> (u32, u32, u32) {
        (self, 1, 1)
    }
}

impl Dimensions for (u32, u32) {
    fn dimensions(self) -> (u32, u32, u32) {
        (self.0, self.1, 1)
    }
}

impl Dimensions for (u32, u32, u32) {
    fn dimensions(self) -> (u32, u32, u32) {
        self
    }
}

/// Launches a kernel: `launch!(gpu, "kernel", shape(grid, block), &mut output, &input, &n)`. Gives cudarc's result.
macro_rules! launch {
    ($gpu:expr, $kernel:expr, $shape:expr $(, $argument:expr)* $(,)?) => {{
        use cudarc::driver::PushKernelArg as _;
        let kernel = $gpu.kernel($kernel);
        #[allow(unused_mut, reason = "a kernel may have no parameters")]
        let mut launch = $gpu.stream.launch_builder(&kernel);
        #[expect(unsafe_code, reason = "launching is unsafe on real devices")]
        // SAFETY: on the virtual GPU a wrong kernel is a finding and touches nothing else.
        let result = unsafe { launch$(.arg($argument))*.launch($shape) };
        result
    }};
}
pub(crate) use launch;
