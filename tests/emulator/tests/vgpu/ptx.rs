//! Runs PTX through the Rust interface of a virtual GPU: whole kernels, and instructions in a kernel around them.

use kwc_emulator::counters::{Instruction, Launch};
use kwc_emulator::driver::device::Architecture;
use kwc_emulator::findings::{Finding, Kind};
use kwc_emulator::gpu::{Fault, Gpu, LoadError, Module, Shape};
use kwc_emulator::options::{Checks, Options};
use kwc_emulator::report::Record;

/// What every module begins with.
pub(crate) const HEAD: &str = ".version 8.4\n.target sm_90\n.address_size 64\n";

/// What outputs hold that the instructions don't write, repeated as far as they are wide.
pub(crate) const UNTOUCHED: u32 = 0xdead_beef;

/// Threads of a block where rows are spread over blocks: a warp, so that instructions on shared memory can be run alike.
const BLOCK: usize = 32;

/// A device of compute capability 9.0, whose blocks run on so many threads of the host.
pub(crate) fn device(checks: Checks, seed: u64, threads: usize) -> Gpu {
    Gpu::new(Options { architecture: Architecture::Sm90, checks, counters: true, seed, threads })
}

/// The kernel `test` of a module, ready to run.
pub(crate) struct Program {
    gpu: Gpu,
    module: Module,
}

/// What a run left.
pub(crate) struct Outcome {
    /// The last of the buffers.
    pub(crate) data: Vec<u8>,
    /// How it ended.
    pub(crate) end: Result<(), Fault>,
    /// What was found wrong.
    pub(crate) findings: Vec<Finding>,
    /// What was counted.
    pub(crate) counters: Launch,
}

impl Program {
    /// Instructions in a [`kernel`] around them that has no inputs and outputs; with all checks, on one thread of the
    /// host.
    #[track_caller]
    pub(crate) fn new(body: &str) -> Self {
        Self::with(body, Checks::ALL, 1)
    }

    /// With some checks, on a number of threads of the host.
    #[track_caller]
    pub(crate) fn with(body: &str, checks: Checks, threads: usize) -> Self {
        Self::load(device(checks, 1, threads), &kernel(body, &[], &[]))
    }

    /// Loads a module onto a device.
    #[track_caller]
    pub(crate) fn load(gpu: Gpu, ptx: &str) -> Self {
        match gpu.load(ptx) {
            Ok(module) => Self { gpu, module },
            Err(error) => panic!("{error}\n{ptx}"),
        }
    }

    /// Runs it in one block of 32 threads.
    pub(crate) fn run(&self, data: &[u8]) -> Outcome {
        self.run_grid(1, 32, data)
    }

    /// Runs it on a buffer that holds `data`.
    pub(crate) fn run_grid(&self, blocks: u32, threads: u32, data: &[u8]) -> Outcome {
        self.run_on(&shape(blocks, threads), &[data])
    }

    /// Runs it on buffers with these contents. Its parameters are their addresses; that of an empty one is 0.
    pub(crate) fn run_on(&self, shape: &Shape, buffers: &[&[u8]]) -> Outcome {
        let memory = self.gpu.memory();
        let place = |contents: &&[u8]| {
            if contents.is_empty() {
                return 0;
            }
            let address = memory.allocate(contents.len() as u64).expect("there is memory");
            memory.write(address, contents).expect("it fits");
            address
        };
        let addresses: Vec<u64> = buffers.iter().map(place).collect();
        let parameters: Vec<u8> = addresses.iter().flat_map(|address| address.to_le_bytes()).collect();
        let end = self.gpu.launch(&self.module.kernels["test"], shape, &parameters);
        let mut data = vec![0; buffers.last().map_or(0, |contents| contents.len())];
        if let Some(address) = addresses.last().filter(|_| !data.is_empty()) {
            memory.read(*address, &mut data).expect("it is there");
        }
        for record in self.gpu.take_records() {
            if let Record::Launch { counters: Some(counters), findings, .. } = record {
                return Outcome { data, end, findings, counters: *counters };
            }
        }
        panic!("the launch left no record")
    }
}

/// A shape of one dimension.
pub(crate) fn shape(blocks: u32, threads: u32) -> Shape {
    Shape { grid: [blocks, 1, 1], block: [threads, 1, 1], dynamic_shared: 0 }
}

impl Outcome {
    /// The buffer as words.
    pub(crate) fn words(&self) -> Vec<u32> {
        self.data.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).collect()
    }

    /// The buffer as words, after a run with which nothing was wrong.
    #[track_caller]
    pub(crate) fn clean(&self) -> Vec<u32> {
        assert_eq!((self.end, &self.findings[..]), (Ok(()), &[][..]));
        self.words()
    }

    /// The only finding. It must be of `kind` and at `opcode`.
    #[track_caller]
    pub(crate) fn only_finding(&self, kind: Kind, opcode: &str) -> &Finding {
        let [finding] = &self.findings[..] else { panic!("not one finding: {:#?}", self.findings) };
        assert_eq!((finding.kind, finding.instruction.as_str()), (kind, opcode), "{finding:#?}");
        finding
    }

    /// What the only instruction of that opcode did.
    #[track_caller]
    pub(crate) fn site(&self, opcode: &str) -> &Instruction {
        let found: Vec<_> = self.counters.instructions.iter().filter(|one| one.opcode == opcode).collect();
        let [site] = found[..] else { panic!("{} of {opcode}", found.len()) };
        site
    }
}

/// Runs the kernel `test` of a module, whose only parameter is the address of some words.
#[track_caller]
pub(crate) fn launch(ptx: &str, grid: [u32; 3], block: [u32; 3], words: &[u32]) -> Outcome {
    launch_with(ptx, Shape { grid, block, dynamic_shared: 0 }, words, 1)
}

/// As [`launch`], with a shape and the seed of the order of warps.
#[track_caller]
pub(crate) fn launch_with(ptx: &str, shape: Shape, words: &[u32], seed: u64) -> Outcome {
    Program::load(device(Checks::ALL, seed, 1), ptx).run_on(&shape, &[&bytes(words)])
}

/// Runs instructions once in a warp; nothing may be wrong. Gives the words of the buffer.
#[track_caller]
pub(crate) fn words_after(body: &str, data: &[u32]) -> Vec<u32> {
    Program::new(body).run(&bytes(data)).clean()
}

/// Words as bytes.
pub(crate) fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// The bits of a type, which its name says.
fn bits_of(ty: &str) -> u32 {
    ty.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().expect("a type's name ends with its bits")
}

/// [`UNTOUCHED`] as a register of so many bits holds it.
fn untouched(bits: u32) -> u64 {
    let twice = u64::from(UNTOUCHED) << 32 | u64::from(UNTOUCHED);
    twice & (u64::MAX >> (64 - bits))
}

/// The PTX of a kernel `test(data, inputs, outputs)` around `body`, which finds inputs in `%i0`, `%i1`, ... of so many bits
/// and leaves outputs in `%o0`, `%o1`, ...
///
/// Inputs and outputs are rows of a 64-bit word for each register, a row for each thread. The body finds the address of
/// `data` in `%data`, and in `%mine` that of the thread's own word of 4 bytes in it; the thread's number in its warp in
/// `%lane`, in its block in `%me`, in the grid in `%thread`, and the block's in `%block`. For values between, there are
/// `%h0` to `%h15` of 16 bits, `%r0` to `%r31`, `%d0` to `%d31` and the predicates `%p0` to `%p7`.
fn kernel(body: &str, inputs: &[u32], outputs: &[u32]) -> String {
    let mut text = format!(
        "{HEAD}.visible .entry test(.param .u64 data, .param .u64 inputs, .param .u64 outputs)\n{{\n\
         .reg .b16 %h<16>;\n.reg .b32 %r<32>, %lane, %me, %block, %size, %thread;\n\
         .reg .b64 %d<32>, %data, %mine, %in, %out;\n.reg .pred %p<8>;\n\
         mov.u32 %lane, %laneid;\nmov.u32 %me, %tid.x;\nmov.u32 %block, %ctaid.x;\nmov.u32 %size, %ntid.x;\n\
         mad.lo.u32 %thread, %block, %size, %me;\n\
         ld.param.u64 %data, [data];\nmad.wide.u32 %mine, %thread, 4, %data;\n"
    );
    let mut add = |line: String| text.push_str(&line);
    let rows = |register: &str, parameter: &str, count: usize| {
        format!(
            "ld.param.u64 {register}, [{parameter}];\nmad.wide.u32 {register}, %thread, {}, {register};\n",
            8 * count
        )
    };
    if !inputs.is_empty() {
        add(rows("%in", "inputs", inputs.len()));
    }
    if !outputs.is_empty() {
        add(rows("%out", "outputs", outputs.len()));
    }
    for (n, bits) in inputs.iter().enumerate() {
        add(format!(".reg .b{bits} %i{n};\nld.global.b{bits} %i{n}, [%in+{}];\n", 8 * n));
    }
    for (n, bits) in outputs.iter().enumerate() {
        add(format!(".reg .b{bits} %o{n};\nmov.b{bits} %o{n}, {:#x};\n", untouched(*bits)));
    }
    add(format!("{body}\n"));
    for (n, bits) in outputs.iter().enumerate() {
        add(format!("st.global.b{bits} [%out+{}], %o{n};\n", 8 * n));
    }
    text + "ret;\n}\n"
}

/// The outputs of threads that end before they store them.
fn unstored(outputs: &[u32], threads: usize) -> Vec<u8> {
    let row: Vec<u8> = outputs.iter().flat_map(|bits| untouched(*bits).to_le_bytes()).collect();
    row.repeat(threads)
}

/// Runs `body` in a thread for each row of `inputs`. Inputs and outputs have the numbers of bits that `widths` says; the
/// body finds its inputs in `%i0`, `%i1`, ... and leaves outputs in `%o0`, `%o1`, ... Nothing may be wrong.
#[track_caller]
pub(crate) fn lanes_of<const I: usize, const O: usize>(
    body: &str,
    widths: ([u32; I], [u32; O]),
    inputs: &[[u64; I]],
) -> Vec<[u64; O]> {
    let blocks = inputs.len().div_ceil(BLOCK).max(1);
    let mut rows: Vec<u8> = inputs.iter().flatten().flat_map(|value| value.to_le_bytes()).collect();
    rows.resize(blocks * BLOCK * I * 8, 0);
    let program = Program::load(device(Checks::ALL, 1, 1), &kernel(body, &widths.0, &widths.1));
    let shape = shape(blocks as u32, BLOCK as u32);
    let outcome = program.run_on(&shape, &[&[], &rows, &unstored(&widths.1, blocks * BLOCK)]);
    assert_eq!((outcome.end, &outcome.findings[..]), (Ok(()), &[][..]), "{body}");
    let values = outcome.data.as_chunks().0.iter().map(|value| u64::from_le_bytes(*value));
    let values: Vec<u64> = values.take(inputs.len() * O).collect();
    values.as_chunks().0.to_vec()
}

/// What `body` leaves in `%o0` for each row of operands. `types` are those of `%o0`, `%i0`, `%i1`, ...
#[track_caller]
pub(crate) fn results_of<const N: usize>(body: &str, types: &[&str], inputs: &[[u64; N]]) -> Vec<u64> {
    assert_eq!(types.len(), N + 1, "{body}");
    let widths = (std::array::from_fn(|n| bits_of(types[n + 1])), [bits_of(types[0])]);
    lanes_of(body, widths, inputs).into_iter().map(|[result]| result).collect()
}

/// Asserts that `body` leaves in `%o0` what `expected` says of its operands.
#[track_caller]
pub(crate) fn assert_lanes<const N: usize>(
    body: &str,
    types: &[&str],
    inputs: &[[u64; N]],
    expected: impl Fn([u64; N]) -> u64,
) {
    let results = results_of(body, types, inputs);
    assert_eq!(results.len(), inputs.len());
    let mut wrong = inputs.iter().zip(results).filter(|(input, result)| expected(**input) != *result);
    if let Some((input, result)) = wrong.next() {
        let expected = expected(*input);
        let more = wrong.count();
        panic!("{body} of {input:#x?} gave {result:#x}, expected {expected:#x}; {more} more are wrong");
    }
}

/// Operands and the result that they have.
pub(crate) type Case<const N: usize> = ([u64; N], u64);

/// Asserts that `body` leaves in `%o0` what is written out for its operands.
#[track_caller]
pub(crate) fn assert_results<const N: usize>(body: &str, types: &[&str], cases: &[Case<N>]) {
    let inputs: Vec<[u64; N]> = cases.iter().map(|(input, _)| *input).collect();
    for ((input, expected), result) in cases.iter().zip(results_of(body, types, &inputs)) {
        assert_eq!(result, *expected, "{body} of {input:#x?} gave {result:#x}, expected {expected:#x}");
    }
}

/// Why a module with `body` can't be loaded. `%i0` and `%o0` have 16 bits, `%i1` and `%o1` 32, `%i2` and `%o2` 64.
#[track_caller]
pub(crate) fn refusal_of(body: &str) -> LoadError {
    refusal_with(body, &[16, 32, 64], &[16, 32, 64])
}

/// Why a module with `body` can't be loaded, where `%o0`, `%i0`, `%i1`, ... are of these types.
#[track_caller]
pub(crate) fn refused(body: &str, types: &[&str]) -> LoadError {
    let widths: Vec<u32> = types.iter().map(|ty| bits_of(ty)).collect();
    refusal_with(body, &widths[1..], &widths[..1])
}

#[track_caller]
fn refusal_with(body: &str, inputs: &[u32], outputs: &[u32]) -> LoadError {
    device(Checks::ALL, 1, 1).load(&kernel(body, inputs, outputs)).expect_err(body)
}

/// A register of each lane.
pub(crate) type Lanes = [u32; 32];

/// A value for each lane.
pub(crate) fn lanes(mut value: impl FnMut(u32) -> u32) -> Lanes {
    std::array::from_fn(|lane| value(lane as u32))
}

/// Instructions on 32-bit registers of one warp, ready to run: they find their inputs in `%i0`, `%i1`, ... and leave
/// outputs in `%o0`, `%o1`, ..., which start as [`UNTOUCHED`].
pub(crate) struct Instructions {
    program: Program,
    outputs: usize,
}

impl Instructions {
    /// With all checks.
    #[track_caller]
    pub(crate) fn new(body: &str, inputs: usize, outputs: usize) -> Self {
        Self::with_checks(body, inputs, outputs, Checks::ALL)
    }

    #[track_caller]
    pub(crate) fn with_checks(body: &str, inputs: usize, outputs: usize, checks: Checks) -> Self {
        let text = kernel(body, &vec![32; inputs], &vec![32; outputs]);
        Self { program: Program::load(device(checks, 1, 1), &text), outputs }
    }

    /// Runs them in a block of 32 threads.
    #[track_caller]
    pub(crate) fn run(&self, inputs: &[Lanes]) -> Outcome {
        self.run_with(32, inputs)
    }

    /// Runs them in a block of `threads` threads, at most 32. They must come to their end.
    #[track_caller]
    pub(crate) fn run_with(&self, threads: u32, inputs: &[Lanes]) -> Outcome {
        let rows = (0..32).flat_map(|lane| inputs.iter().map(move |register| u64::from(register[lane])));
        let rows: Vec<u8> = rows.flat_map(u64::to_le_bytes).collect();
        let outputs = unstored(&vec![32; self.outputs], 32);
        let outcome = self.program.run_on(&shape(1, threads), &[&[], &rows, &outputs]);
        assert_eq!(outcome.end, Ok(()));
        outcome
    }
}

impl Outcome {
    /// The outputs of [`Instructions`].
    pub(crate) fn outputs(&self) -> Vec<Lanes> {
        let words = self.words();
        let count = words.len() / 64;
        (0..count).map(|register| std::array::from_fn(|lane| words[2 * (count * lane + register)])).collect()
    }
}

/// Runs instructions on registers of a warp once; nothing may be wrong.
#[track_caller]
pub(crate) fn outputs_of<const N: usize>(body: &str, inputs: &[Lanes]) -> [Lanes; N] {
    let outcome = Instructions::new(body, inputs.len(), N).run(inputs);
    outcome.clean();
    outcome.outputs().try_into().expect("as many outputs as were asked for")
}
