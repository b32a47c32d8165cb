//! Runs a Program for CUDA on a virtual GPU in this process: its launches, one by one, with every check on.

use kwc_compiler::pipeline::CudaNetwork;
use kwc_emulator::counters::Launch as Counters;
use kwc_emulator::driver::device::Architecture;
use kwc_emulator::findings::Finding;
use kwc_emulator::gpu::{Gpu, Shape};
use kwc_emulator::options::{Checks, Options};
use kwc_emulator::report::Record;
use kwc_nvrtc::Code;
use kwc_program::BufferId;
use kwc_program::cuda::{Argument, Port};

use crate::vgpu::nvrtc;

/// PTX of a network's kernels, with line information.
pub(crate) fn ptx(network: &CudaNetwork) -> String {
    let mut options = kwc_nvrtc::Options::new("compute_80");
    options.line_info = true;
    options.more = vec!["--std=c++17".to_owned()];
    match nvrtc().compile(&network.source, "kernels.cu", &options) {
        Ok(output) => match output.code {
            Code::Ptx(ptx) => ptx,
            Code::Cubin(_) => panic!("compute_80 makes PTX"),
        },
        Err(error) => panic!("{error}"),
    }
}

/// What a run gives.
pub(crate) struct Ran {
    /// One per output.
    pub(crate) outputs: Vec<Vec<f32>>,
    /// One per dump.
    pub(crate) dumps: Vec<Vec<f32>>,
    /// Counters of each launch, in order, with the kernel's name.
    pub(crate) launches: Vec<(String, Counters)>,
    /// What the virtual GPU found wrong.
    pub(crate) findings: Vec<Finding>,
}

/// Runs a network on `batch` samples. `seed` orders warps and blocks.
pub(crate) fn run(network: &CudaNetwork, weights: &[u8], batch: usize, inputs: &[&[f32]], seed: u64) -> Ran {
    run_ptx(network, &ptx(network), weights, batch, inputs, seed)
}

/// The same with PTX that was compiled before.
pub(crate) fn run_ptx(
    network: &CudaNetwork,
    ptx: &str,
    weights: &[u8],
    batch: usize,
    inputs: &[&[f32]],
    seed: u64,
) -> Ran {
    let options = Options { architecture: Architecture::Sm80, checks: Checks::ALL, counters: true, seed, threads: 2 };
    run_with(network, ptx, weights, batch, inputs, options)
}

/// The same without checks, for counters of large networks.
pub(crate) fn count(
    network: &CudaNetwork,
    ptx: &str,
    weights: &[u8],
    batch: usize,
    inputs: &[&[f32]],
) -> Vec<(String, Counters)> {
    let options =
        Options { architecture: Architecture::Sm80, checks: Checks::NONE, counters: true, seed: 0, threads: 2 };
    run_with(network, ptx, weights, batch, inputs, options).launches
}

fn run_with(
    network: &CudaNetwork,
    ptx: &str,
    weights: &[u8],
    batch: usize,
    inputs: &[&[f32]],
    options: Options,
) -> Ran {
    let program = &network.planned.program;
    let gpu = Gpu::new(options);
    let module = gpu.load(ptx).unwrap_or_else(|error| panic!("{error}"));
    let variant = program.variant(batch).expect("the batch is small enough");
    let memory = gpu.memory();
    let weight_base = memory.allocate(weights.len().max(1) as u64).unwrap();
    memory.write(weight_base, weights).unwrap();
    let arena = memory.allocate((variant.arena * batch).max(1) as u64).unwrap();
    let counters = memory.allocate((program.counters * 4).max(4) as u64).unwrap();
    memory.fill(counters, &[0], (program.counters * 4).max(4) as u64).unwrap();
    let place = |BufferId(id): BufferId| arena + (variant.buffers[id as usize].offset * batch) as u64;
    for (index, input) in (0..).zip(inputs) {
        let bytes: Vec<u8> = input.iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!(bytes.len(), variant.buffers[index as usize].length * batch, "length of input {index}");
        memory.write(place(BufferId(index)), &bytes).unwrap();
    }
    for launch in variant.launches.iter() {
        let entry = &program.kernels[launch.kernel.0 as usize];
        let kernel = &module.kernels[&*entry.symbol];
        let mut parameters = vec![0; kernel.parameter_bytes as usize];
        assert_eq!(kernel.parameters.len(), launch.arguments.len(), "parameters of {}", entry.symbol);
        for (&(offset, bytes), argument) in kernel.parameters.iter().zip(launch.arguments.iter()) {
            let value = match *argument {
                Argument::Buffer(id) => place(id),
                Argument::Weight(id) => weight_base + program.weights[id.0 as usize].offset as u64,
                Argument::Counter(first) => counters + u64::from(first) * 4,
                Argument::Batch => batch as u64,
                Argument::Int(number) => u64::from(number.cast_unsigned()),
            };
            parameters[offset as usize..][..bytes as usize].copy_from_slice(&value.to_le_bytes()[..bytes as usize]);
        }
        let grid = launch.grid.map(|extent| u32::try_from(extent.blocks(batch)).unwrap());
        let shape = Shape { grid, block: [entry.threads, 1, 1], dynamic_shared: entry.shared_bytes };
        if let Err(fault) = gpu.launch(kernel, &shape, &parameters) {
            panic!("{} ({}): {fault}: {:#?}", entry.symbol, launch.layer, gpu.take_records());
        }
    }
    let mut left = vec![0; program.counters * 4];
    memory.read(counters, &mut left).unwrap();
    assert!(left.iter().all(|&byte| byte == 0), "a kernel left its counters behind");
    let read = |first: usize, ports: &[Port]| -> Vec<Vec<f32>> {
        let read = |(index, port): (usize, &Port)| {
            let mut bytes = vec![0; port.elements() * batch * 4];
            memory.read(place(BufferId(u32::try_from(first + index).unwrap())), &mut bytes).unwrap();
            bytes.chunks_exact(4).map(|x| f32::from_le_bytes(x.try_into().unwrap())).collect()
        };
        ports.iter().enumerate().map(read).collect()
    };
    let outputs = read(program.inputs.len(), &program.outputs);
    let dumps = read(program.inputs.len() + program.outputs.len(), &program.dumps);
    let mut ran = Ran { outputs, dumps, launches: Vec::new(), findings: Vec::new() };
    for record in gpu.take_records() {
        if let Record::Launch { counters, kernel, findings, .. } = record {
            ran.findings.extend(findings);
            ran.launches.extend(counters.map(|counters| (kernel, *counters)));
        }
    }
    ran
}
