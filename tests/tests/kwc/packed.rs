//! Packed weights for the CPU as files: mapped, read, changed, and everything that can be wrong with one.

use std::fs;
use std::path::{Path, PathBuf};

use kwc_compiler::plan::{Options, Planned, plan};
use kwc_compiler::state::{self, Kind};
use kwc_compiler::weights::{State, pack::pack};
use kwc_program::{Program, WeightId};
use kwc_runtime::cpu::{self, Model};
use kwc_runtime::packed::{PackedWeights, Target, is_packed};
use kwc_runtime::{Error, Weights};
use safetensors::SafeTensors;

use crate::golden::checked_text;

/// A dynamic layer, a static one and a norm that is folded into it.
fn spec(eps: &str) -> String {
    format!(
        "
kwc: 1
name: small
input: {{ channels: 8, height: 6, width: 6 }}
warehouses: {{ budget: 1/2, cell_in_ratio: 1/2 }}
layers:
  - conv: {{ name: a, out: 8, kernel: 3, padding: 1, warehouse: w }}
  - conv: {{ name: b, out: 8, kernel: 3, padding: 1, warehouse: w }}
  - conv: {{ name: c, out: 20, kernel: 1 }}
  - batch_norm: {{ name: n, eps: {eps} }}
"
    )
}

fn planned(eps: &str) -> Planned {
    plan(&checked_text(&spec(eps)), &Options::default()).unwrap()
}

/// Weights that are all different and add up to something.
fn weights(planned: &Planned) -> Weights {
    let mut state = State::default();
    let mut seed = 1_u32;
    for tensor in state::tensors(&checked_text(&spec("1e-5"))).into_iter().filter(|t| t.kind != Kind::Counter) {
        let values = (0..tensor.shape.iter().product::<usize>()).map(|_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f32::from(u16::try_from(seed >> 16).unwrap()) / 65536.0 + 0.1
        });
        let values = values.collect();
        state.insert(tensor.name, tensor.shape, values).unwrap();
    }
    let mut weights = Weights::zeroed(planned.program.weight_elements).unwrap();
    pack(planned, &mut state, &mut weights, &mut |_, _| {}).unwrap();
    weights
}

struct File {
    folder: tempfile::TempDir,
    program: Program,
}

impl File {
    fn new() -> Self {
        let planned = planned("1e-5");
        let this = Self { folder: tempfile::tempdir().unwrap(), program: planned.program.clone() };
        PackedWeights::of_block(&planned.program, weights(&planned)).unwrap().write(&this.path()).unwrap();
        this
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("small.weights")
    }

    fn open(&self) -> Result<Weights, Error> {
        Weights::open(&self.path(), &self.program)
    }

    /// What is wrong with it.
    #[track_caller]
    fn problem(&self) -> String {
        problem(&self.open().unwrap_err(), &self.path())
    }
}

fn run(program: &Program, weights: Weights) -> Vec<f32> {
    let input: Vec<f32> = (0..8 * 36).map(|i: u16| f32::from(i % 29) / 29.0 - 0.3).collect();
    let mut model = Model::new(program.clone(), weights, &cpu::Options::default()).unwrap();
    model.run(1, &[&input]).unwrap();
    model.output(0).to_vec()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

/// What is wrong with a file, in either way to load it.
#[track_caller]
fn problem(error: &Error, path: &Path) -> String {
    let Error::WeightsFile { file, problem } = error else { panic!("{error}") };
    assert_eq!(file.as_str(), path.to_str().unwrap());
    problem.clone()
}

#[test]
fn a_packed_file_is_the_block_in_memory_bit_for_bit() {
    let (file, planned) = (File::new(), planned("1e-5"));
    let expected = weights(&planned);
    let mapped = file.open().unwrap();
    assert!(mapped.is_mapped() || cfg!(not(all(unix, target_endian = "little"))));
    assert_eq!(mapped.as_ptr().addr() % 64, 0);
    let read = Weights::read(&file.path(), &file.program).unwrap();
    assert!(!read.is_mapped() && !expected.is_mapped());
    assert_eq!(bits(&mapped), bits(&expected));
    assert_eq!(bits(&read), bits(&expected));
    assert!(is_packed(&file.path()));

    let output = run(&file.program, expected);
    assert!(output.iter().any(|x| *x != output[0]) && output.iter().all(|x| x.is_finite()));
    assert_eq!(bits(&run(&file.program, mapped)), bits(&output));
    assert_eq!(bits(&run(&file.program, read)), bits(&output));
}

#[test]
fn a_packed_file_says_what_it_is_and_begins_at_a_cache_line() {
    let (file, planned) = (File::new(), planned("1e-5"));
    let bytes = fs::read(file.path()).unwrap();
    let (header, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!((8 + header) % 64, 0);
    let entries = metadata.metadata().as_ref().unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let data = tensors.tensor("weights").unwrap();
    assert_eq!((&*entries["target"], &*entries["network"], &*entries["format"]), ("cpu", "small", "2"));
    assert_eq!(entries["weights_id"], file.program.weights_id);
    assert_eq!(entries["sha256"], kwc_compiler::hash::of(data.data()));
    let expected: Vec<u8> = weights(&planned).iter().flat_map(|x| x.to_le_bytes()).collect();
    assert_eq!(data.data(), expected);

    let read = PackedWeights::read(&file.path()).unwrap();
    assert_eq!((read.target(), read.network()), (Target::Cpu, "small"));
    assert_eq!(read, PackedWeights::of_block(&file.program, weights(&planned)).unwrap());
}

#[test]
fn what_is_changed_of_mapped_weights_stays_in_the_process() {
    let file = File::new();
    let before = fs::read(file.path()).unwrap();
    let mut model = Model::new(file.program.clone(), file.open().unwrap(), &cpu::Options::default()).unwrap();
    let input = vec![0.5; 8 * 36];
    model.run(1, &[&input]).unwrap();
    let first = model.output(0).to_vec();
    for index in 0..file.program.weights.len() {
        model.weight_mut(WeightId(u32::try_from(index).unwrap())).fill(0.25);
    }
    model.run(1, &[&input]).unwrap();
    assert_ne!(model.output(0), first);
    let mut other = file.open().unwrap();
    other.fill(3.0);
    assert!(other.iter().all(|x| *x == 3.0));
    drop((model, other));
    assert_eq!(fs::read(file.path()).unwrap(), before);
    assert_eq!(bits(&file.open().unwrap()), bits(&Weights::read(&file.path(), &file.program).unwrap()));
}

/// Another file in its place does not disturb who has mapped the old one.
#[cfg(unix)]
#[test]
fn a_map_stays_that_of_the_file_that_was_opened() {
    let file = File::new();
    let mapped = file.open().unwrap();
    let expected = bits(&mapped);
    let zeros = Weights::zeroed(file.program.weight_elements).unwrap();
    PackedWeights::of_block(&file.program, zeros).unwrap().write(&file.path()).unwrap();
    assert_eq!(bits(&mapped), expected);
    assert!(file.open().unwrap().iter().all(|x| *x == 0.0));
    fs::remove_file(file.path()).unwrap();
    assert_eq!(bits(&mapped), expected);
}

#[test]
fn data_that_are_not_aligned_are_read() {
    let file = File::new();
    let bytes = fs::read(file.path()).unwrap();
    let header = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
    let text = bytes[8..8 + header].trim_ascii_end();
    let moved = [(text.len() as u64 + 3).to_le_bytes().as_slice(), text, b"   ", &bytes[8 + header..]].concat();
    let expected = bits(&file.open().unwrap());
    fs::write(file.path(), &moved).unwrap();
    let read = file.open().unwrap();
    assert_eq!(read.is_mapped(), (8 + text.len() + 3).is_multiple_of(64));
    assert_eq!(bits(&read), expected);
}

#[test]
fn wrong_files_of_packed_weights_are_refused() {
    let file = File::new();
    let bytes = fs::read(file.path()).unwrap();
    let refused = |bytes: &[u8]| {
        fs::write(file.path(), bytes).unwrap();
        let error = file.open().unwrap_err();
        assert_eq!(Weights::read(&file.path(), &file.program).unwrap_err(), error);
        problem(&error, &file.path())
    };
    for length in (0..bytes.len()).filter(|length| *length < 600 || length % 97 == 0).chain([bytes.len() - 1]) {
        let problem = refused(&bytes[..length]);
        assert!(problem.contains("no file of packed weights") || problem.contains("cut off"), "{length}: {problem}");
    }
    assert!(refused(&[bytes.as_slice(), b"x"].concat()).contains("added to"));
    let replaced = |from: &str, to: &str| {
        let place = bytes.windows(from.len()).position(|part| part == from.as_bytes()).unwrap();
        let mut bytes = bytes.clone();
        bytes[place..place + from.len()].copy_from_slice(to.as_bytes());
        bytes
    };
    let problem_of = |from: &str, to: &str| refused(&replaced(from, to));
    let problem = problem_of("\"format\":\"2\"", "\"format\":\"7\"");
    assert!(problem.contains("it has format 7, and this runtime reads 2: pack the checkpoint again"), "{problem}");
    let problem = problem_of("\"target\":\"cpu\"", "\"target\":\"tpu\"");
    assert!(problem.contains("target `tpu`, which this runtime does not know"), "{problem}");
    let id = file.program.weights_id.to_string();
    let problem = problem_of(&id, &"e".repeat(64));
    assert!(problem.contains("packed for `small` with the table eeee"), "{problem}");
    assert!(problem.contains("pack the checkpoint for this program"), "{problem}");
    // A byte of the header that is another is an error, or changes nothing of the weights.
    fs::write(file.path(), &bytes).unwrap();
    let expected = bits(&Weights::read(&file.path(), &file.program).unwrap());
    let header = bytes.len() - 4 * file.program.weight_elements;
    for place in 0..header {
        let mut changed = bytes.clone();
        changed[place] ^= 4;
        fs::write(file.path(), changed).unwrap();
        match file.open() {
            Ok(weights) => assert_eq!(bits(&weights), expected, "{place}"),
            Err(error) => assert!(!self::problem(&error, &file.path()).is_empty(), "{place}"),
        }
    }
    // What only the hash shows is for who asks for it.
    let mut changed = bytes.clone();
    *changed.last_mut().unwrap() ^= 1;
    fs::write(file.path(), changed).unwrap();
    let error = Weights::read(&file.path(), &file.program).unwrap_err();
    assert!(error.to_string().contains("it is damaged, copy it again"), "{error}");
    assert!(file.open().is_ok());

    fs::write(file.path(), "text").unwrap();
    assert!(!is_packed(&file.path()) && !is_packed(file.folder.path()) && !is_packed(Path::new("absent")));
    fs::remove_file(file.path()).unwrap();
    assert!(file.problem().contains("No such file"));
}

#[test]
fn packed_weights_of_another_network_or_target_are_refused() {
    let file = File::new();
    // The same layers, but an epsilon is folded into the weights: they lie alike and are others.
    let other = planned("1e-1").program;
    assert_eq!(other.weight_elements, file.program.weight_elements);
    assert_ne!(other.weights_id, file.program.weights_id);
    assert_eq!(planned("1e-5").program.weights_id, file.program.weights_id);
    let error = Weights::open(&file.path(), &other).unwrap_err();
    assert!(problem(&error, &file.path()).contains("pack the checkpoint for this program"), "{error}");
    // The same where the file was opened for one Program and given to another.
    let error = Model::new(other.clone(), file.open().unwrap(), &cpu::Options::default()).unwrap_err();
    let expected = Error::WeightsId {
        network: "small".to_owned(),
        expected: other.weights_id.to_string(),
        found_network: "small".to_owned(),
        found: file.program.weights_id.to_string(),
    };
    assert_eq!(error, expected);
    // Fewer weights than the Program has, under its id.
    let mut longer = file.program.clone();
    longer.weight_elements += 16;
    let error = Weights::open(&file.path(), &longer).unwrap_err();
    assert!(problem(&error, &file.path()).contains("weights of 4 bytes, and it holds"), "{error}");
    let count = PackedWeights::of_block(&longer, Weights::zeroed(3).unwrap()).unwrap_err();
    assert_eq!(count, Error::WeightCount { expected: longer.weight_elements, found: 3 });

    let cuda =
        kwc_compiler::plan::cuda::plan(&checked_text(&spec("1e-5")), &kwc_compiler::plan::cuda::Options::default());
    let cuda = cuda.unwrap().program;
    let packed = PackedWeights::new(&cuda, vec![0; cuda.weight_bytes]).unwrap();
    packed.write(&file.path()).unwrap();
    let problem = file.problem();
    assert!(problem.contains("packed for the target `cuda`, and the program `small` is for `cpu`"), "{problem}");
    assert!(problem.contains("kwc compile --target cpu --weights"), "{problem}");
}
