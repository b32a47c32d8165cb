//! Golden networks, whole.

use std::collections::BTreeMap;
use std::path::PathBuf;

use kwc_compiler::check::Checked;
use kwc_compiler::plan::Options;
use kwc_compiler::weights::{Checkpoint, State, Tensors};
use kwc_runtime::cpu::{self, Instructions, Model};

use crate::golden::{
    Tensor, assert_near, cases, checked, folder, instruction_sets, json, max_over_std, model, model_with, package,
    tensors, tolerance,
};

/// A golden network whose weights are there.
struct Network {
    name: String,
    checked: Checked,
    /// The checkpoint.
    weights: PathBuf,
    /// `input`, `output`, `output_f64`, `act/...`.
    io: BTreeMap<String, Tensor>,
    /// How far from the reference is near enough, in standard deviations of the reference.
    tolerance: f64,
}

impl Network {
    fn open(folder_name: &str, specs: &str, name: &str) -> Self {
        let golden = json(&format!("{folder_name}/{name}.json"));
        let checked = checked(&package().join(format!("cases/{specs}{name}.yaml")));
        Self {
            name: format!("{folder_name}/{name}"),
            checked,
            weights: folder().join(format!("{folder_name}/{name}.weights.safetensors")),
            io: tensors(&format!("{folder_name}/{name}.io.safetensors")),
            tolerance: tolerance(&golden),
        }
    }

    fn checkpoint(&self) -> Checkpoint {
        Checkpoint::open(&self.weights, None).unwrap()
    }

    fn model(&self, options: &Options, threads: usize) -> Model {
        model(&self.checked, options, &mut self.checkpoint(), threads)
    }

    fn batch(&self) -> usize {
        self.io["input"].shape[0]
    }

    /// The modules whose results are known.
    fn activations(&self) -> Vec<&str> {
        self.io.keys().filter_map(|name| name.strip_prefix("act/")).collect()
    }
}

/// All golden networks whose weights are there.
fn networks() -> Vec<Network> {
    let narrow = cases("networks", ".weights.safetensors").into_iter().map(|n| Network::open("networks", "", &n));
    let full = cases("full", ".weights.safetensors").into_iter().map(|n| Network::open("full", "full/", &n));
    let networks: Vec<Network> = narrow.chain(full).collect();
    assert!(networks.len() >= 5);
    networks
}

const PLANS: [bool; 2] = [true, false];

#[test]
fn outputs_in_batches_and_singly() {
    for network in networks() {
        let input = network.io["input"].f32();
        let reference = &network.io["output_f64"].data;
        let batch = network.batch();
        let ways = instruction_sets().flat_map(|set| [(set, true, 2), (set, false, 1)]);
        let best = Instructions::best();
        for (instructions, fuse, threads) in ways.chain([(best, true, 1), (best, false, 2)]) {
            let options = Options { fuse, ..Options::default() };
            let how = cpu::Options { threads: Some(threads), instructions: Some(instructions) };
            let mut model = model_with(&network.checked, &options, &mut network.checkpoint(), &how);
            model.run(batch, &[&input]).unwrap();
            let whole = max_over_std(model.output(0), reference);

            let mut singles = Vec::new();
            for sample in input.chunks(input.len() / batch) {
                model.run(1, &[sample]).unwrap();
                singles.extend_from_slice(model.output(0));
            }
            let single = max_over_std(&singles, reference);

            let what = format!("{}, {}, fuse {fuse}, threads {threads}", network.name, instructions.name());
            assert_near(&format!("{what}, in a batch"), whole, network.tolerance);
            assert_near(&format!("{what}, singly"), single, network.tolerance);
        }
    }
}

/// Results of modules are known in f32 only. They may differ as much as the output may, in their own spread; attentions,
/// of which only the first layers' are known, no more than those of golden layers.
#[test]
fn results_of_modules() {
    for network in networks() {
        let input = network.io["input"].f32();
        for fuse in PLANS {
            let dumps: Vec<String> = network.activations().into_iter().map(str::to_owned).collect();
            let mut model = network.model(&Options { dumps: dumps.clone(), fuse, ..Options::default() }, 2);
            model.run(network.batch(), &[&input]).unwrap();
            assert!(dumps.len() >= 2, "{}", network.name);
            for (i, path) in dumps.iter().enumerate() {
                assert_eq!(&model.program().dumps[i].name, path);
                let reference = &network.io[&format!("act/{path}")];
                let shape = &model.program().dumps[i].shape;
                assert_eq!(shape.iter().product::<usize>() * network.batch(), reference.data.len(), "{path}");
                let distance = max_over_std(model.dump(i), &reference.data);
                let name = &network.name;
                let tolerance = if path.ends_with(".attention") { 3e-5 } else { network.tolerance };
                assert_near(&format!("{name}, fuse {fuse}, {path}"), distance, tolerance);
            }
            let distance = max_over_std(model.output(0), &network.io["output_f64"].data);
            assert_near(&format!("{}, fuse {fuse}, with dumps", network.name), distance, network.tolerance);
        }
    }
}

#[test]
fn pytorch_archive_gives_the_same_as_safetensors() {
    let network = Network::open("networks", "", "resnet18_static");
    let input = network.io["input"].f32();
    let run = |tensors: &mut dyn Tensors| {
        let mut model = model(&network.checked, &Options::default(), tensors, 1);
        model.run(network.batch(), &[&input]).unwrap();
        model.output(0).to_vec()
    };
    let mut archive = Checkpoint::open(&folder().join("networks/resnet18_static.pth"), None).unwrap();
    let from_archive = run(&mut archive);
    assert_eq!(from_archive, run(&mut network.checkpoint()));
    assert_near("from the archive", max_over_std(&from_archive, &network.io["output_f64"].data), network.tolerance);
}

/// What is not a number stays visible: an attention must not rectify it away.
#[test]
fn nan_in_an_attention_reaches_the_output() {
    let network = networks().into_iter().find(|n| n.name.ends_with("convnext_kw1x")).unwrap();
    let mut checkpoint = network.checkpoint();
    let mut state = State::default();
    for tensor in kwc_compiler::state::tensors(&network.checked) {
        let mut values = vec![0.0; tensor.shape.iter().product()];
        if tensor.name == "stages.0.0.pwconv1.attention.fc1.weight" {
            values.fill(f32::NAN);
        } else {
            checkpoint.read(&tensor.name, 0, &mut values).unwrap();
        }
        state.insert(tensor.name, tensor.shape, values).unwrap();
    }
    let mut model = model(&network.checked, &Options::default(), &mut state, 1);
    model.run(network.batch(), &[&network.io["input"].f32()]).unwrap();
    assert!(model.output(0).iter().all(|y| y.is_nan()));
}
