//! How fast kernels run on one core: thread instructions a second of a product in f32, with counters and with all
//! checks, and floating-point operations a second of one on tensor cores.
//!
//! `cargo bench -p kwc-emulator` prints them as elements a second.

#![expect(clippy::expect_used, clippy::panic, reason = "a benchmark that can't run has nothing better to do")]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kwc_emulator::driver::device::Architecture;
use kwc_emulator::exec::Kernel;
use kwc_emulator::gpu::{Gpu, Shape};
use kwc_emulator::options::{Checks, Options};
use kwc_emulator::report::Record;
use kwc_nvrtc::{Code, Nvrtc};

/// Rows and columns of all matrices.
const F32_SIZE: u32 = 256;
const MMA_SIZE: u32 = 512;

/// A product of square matrices that is ready to be launched.
struct Product {
    gpu: Gpu,
    kernel: Arc<Kernel>,
    shape: Shape,
    parameters: Vec<u8>,
}

impl Product {
    /// `file` is in `tests/vgpu/cuda`; its kernel is `product(a, b, c, n, k)` with tiles of 64 x 64.
    fn new(file: &str, defines: &[(&str, &str)], size: u32, element: u64, threads: u32, checks: Checks) -> Self {
        let options = Options { architecture: Architecture::Sm80, checks, counters: true, seed: 0, threads: 1 };
        let gpu = Gpu::new(options);
        let module = gpu.load(&compile(file, defines)).expect("PTX that the interpreter knows");
        let kernel = Arc::clone(&module.kernels["product"]);
        let elements = u64::from(size) * u64::from(size);
        let matrix = |bytes: u64| {
            let address = gpu.memory().allocate(bytes).expect("memory");
            gpu.memory().fill(address, &[0], bytes).expect("it is there");
            address
        };
        let arguments = [
            matrix(elements * element).to_le_bytes().to_vec(),
            matrix(elements * element).to_le_bytes().to_vec(),
            matrix(elements * 4).to_le_bytes().to_vec(),
            size.to_le_bytes().to_vec(),
            size.to_le_bytes().to_vec(),
        ];
        let mut parameters = vec![0; kernel.parameter_bytes as usize];
        for (&(offset, bytes), argument) in kernel.parameters.iter().zip(&arguments) {
            parameters[offset as usize..][..bytes as usize].copy_from_slice(argument);
        }
        let shape = Shape { grid: [size / 64, size / 64, 1], block: [threads, 1, 1], dynamic_shared: 0 };
        Self { gpu, kernel, shape, parameters }
    }

    /// Launches it once. Gives the thread instructions; there must be no findings.
    fn run(&self) -> u64 {
        self.gpu.launch(&self.kernel, &self.shape, &self.parameters).expect("a kernel without faults");
        let mut instructions = 0;
        for record in self.gpu.take_records() {
            if let Record::Launch { counters: Some(counters), findings, .. } = record {
                assert!(findings.is_empty(), "{findings:?}");
                instructions += counters.classes.iter().map(|(_, issued)| issued.threads).sum::<u64>();
            }
        }
        instructions
    }
}

fn compile(file: &str, defines: &[(&str, &str)]) -> String {
    let nvrtc = Nvrtc::find_or_fetch(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("nvrtc"))
        .unwrap_or_else(|error| panic!("{error}"));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vgpu/cuda").join(file);
    let source = std::fs::read_to_string(&path).expect("the test's kernel");
    let mut options = kwc_nvrtc::Options::new("compute_80");
    options.defines = defines.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    match nvrtc.compile(&source, file, &options).unwrap_or_else(|error| panic!("{error}")).code {
        Code::Ptx(ptx) => ptx,
        Code::Cubin(_) => panic!("compute_80 makes PTX"),
    }
}

fn speed(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("thread instructions");
    group.sample_size(20);
    for (name, checks) in [("counters", Checks::NONE), ("counters and all checks", Checks::ALL)] {
        let product = Product::new("product_f32.cu", &[], F32_SIZE, 4, 256, checks);
        group.throughput(Throughput::Elements(product.run()));
        group
            .bench_function(BenchmarkId::new("f32 product", name), |bencher| bencher.iter(|| black_box(product.run())));
    }
    group.finish();

    let mut group = criterion.benchmark_group("floating-point operations");
    group.sample_size(20);
    let product = Product::new("product_mma.cu", &[("FORMAT", "f16")], MMA_SIZE, 2, 128, Checks::NONE);
    let size = u64::from(MMA_SIZE);
    group.throughput(Throughput::Elements(2 * size * size * size));
    group.bench_function(BenchmarkId::new("f16 mma.sync product", "counters"), |bencher| {
        bencher.iter(|| black_box(product.run()));
    });
    group.finish();
}

criterion_group!(benches, speed);
criterion_main!(benches);
