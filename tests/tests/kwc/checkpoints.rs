//! Checkpoints: safetensors and PyTorch archives.

mod archive;
mod damage;
mod differences;

use std::io::Cursor;
use std::path::{Path, PathBuf};

use kwc_compiler::weights::{Checkpoint, Dtype, Error, State, Tensors};
use safetensors::SafeTensors;

use archive::{Archive, Pickle, View};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name)
}

fn open(bytes: Vec<u8>) -> Result<Checkpoint, Error> {
    open_state(bytes, None)
}

fn open_state(bytes: Vec<u8>, state: Option<&str>) -> Result<Checkpoint, Error> {
    Checkpoint::from_source("net.pth", Cursor::new(bytes), state)
}

fn read(checkpoint: &mut Checkpoint, name: &str) -> Vec<f32> {
    let mut values = vec![f32::NAN; checkpoint.info(name).unwrap().elements()];
    checkpoint.read(name, 0, &mut values).unwrap();
    values
}

/// A contiguous view of a whole storage of `f32`.
fn whole<'a>(key: &'a str, shape: &'a [i64], strides: &'a [i64]) -> View<'a> {
    View { storage: "FloatStorage", key, elements: shape.iter().product(), offset: 0, shape, strides }
}

/// `f32` numbers `0, 1, 2, ...`
fn counting(elements: u16) -> Vec<u8> {
    (0..elements).flat_map(|i| f32::from(i).to_le_bytes()).collect()
}

/// The tensors of a safetensors file in f32, through the safetensors crate alone. Counters are left out.
fn reference(name: &str) -> Vec<(String, Vec<usize>, Vec<f32>)> {
    let bytes = std::fs::read(golden(name)).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut list = Vec::new();
    for (name, view) in tensors.iter() {
        let data = view.data();
        let values = match (name.ends_with("num_batches_tracked"), data.len() / view.shape().iter().product::<usize>())
        {
            (true, _) => continue,
            (false, 2) => data.as_chunks().0.iter().map(|&b| half::f16::from_le_bytes(b).to_f32()).collect(),
            (false, _) => data.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
        };
        list.push((name.to_owned(), view.shape().to_vec(), values));
    }
    assert!(!list.is_empty());
    list
}

#[test]
fn safetensors_and_archives_of_one_state_hold_the_same_values() {
    let (network, layers) =
        ("networks/resnet18_static.weights.safetensors", "layers/conv2d_half_budget.weights.safetensors");
    let cases = [
        ("networks/resnet18_static.pth", None, network),
        (network, None, network),
        ("layers/conv2d_half_budget.dataparallel.pth", None, layers),
        ("layers/conv2d_half_budget.dataparallel.pth", Some("model_ema"), layers),
        (layers, None, layers),
    ];
    for (file, state, same) in cases {
        let mut checkpoint = Checkpoint::open(&golden(file), state).unwrap();
        let expected = reference(same);
        let names = checkpoint.tensors().filter(|(_, info)| info.dtype != Dtype::I64).count();
        assert_eq!(names, expected.len(), "{file}");
        for (name, shape, values) in expected {
            assert_eq!(checkpoint.info(&name).unwrap().shape, shape, "{file}: {name}");
            assert_eq!(read(&mut checkpoint, &name), values, "{file}: {name}");
        }
    }
}

#[test]
fn a_half_precision_archive_holds_the_rounded_values() {
    let mut checkpoint = Checkpoint::open(&golden("layers/conv2d_half_budget.f16.pth"), None).unwrap();
    for (name, _, values) in reference("layers/conv2d_half_budget.weights.safetensors") {
        assert_eq!(checkpoint.info(&name).unwrap().dtype, Dtype::F16);
        let rounded: Vec<f32> = values.iter().map(|&v| half::f16::from_f32(v).to_f32()).collect();
        assert_eq!(read(&mut checkpoint, &name), rounded, "{name}");
    }
}

#[test]
fn pieces_of_a_tensor_are_parts_of_the_whole() {
    let name = "layers.0.attention.fc2.weight";
    for file in ["layers/conv2d_half_budget.dataparallel.pth", "layers/conv2d_half_budget.weights.safetensors"] {
        let mut checkpoint = Checkpoint::open(&golden(file), None).unwrap();
        let expected = reference("layers/conv2d_half_budget.weights.safetensors");
        let (_, _, whole) = expected.iter().find(|(n, _, _)| n == name).unwrap();
        for (start, length) in [(0, 1), (1, 0), (7, 70_001), (84_095, 1), (84_096, 0), (3, 5), (65_535, 4)] {
            let mut piece = vec![f32::NAN; length];
            checkpoint.read(name, start, &mut piece).unwrap();
            assert_eq!(piece, whole[start..start + length], "{start}, {length}");
        }
        for start in [84_096, 84_000, usize::MAX] {
            let error = checkpoint.read(name, start, &mut [0.0; 97]).unwrap_err();
            assert!(matches!(error, Error::Range { elements: 84_096, .. }), "{error}");
        }
    }
}

#[test]
fn views_of_a_storage_are_gathered() {
    let view =
        |offset, shape, strides| View { storage: "FloatStorage", key: "0", elements: 4096, offset, shape, strides };
    let pickle = Pickle::new()
        .state(&[
            ("transposed", view(0, &[64, 32], &[1, 64])),
            ("channels_last", view(10, &[4, 3, 2, 5], &[30, 1, 15, 3])),
            ("expanded", view(7, &[3, 2], &[0, 1])),
            ("part", view(4000, &[2, 48], &[48, 1])),
            ("scalar", view(4095, &[], &[])),
            ("ones", view(5, &[1, 2, 1], &[99, 1, 77])),
            ("empty", view(0, &[3, 0], &[1, 1])),
        ])
        .end();
    let mut checkpoint = open(Archive::torch(&pickle, &[("0", counting(4096))]).bytes()).unwrap();

    let transposed: Vec<f32> = (0..64_u16).flat_map(|r| (0..32_u16).map(move |c| f32::from(r + 64 * c))).collect();
    assert_eq!(read(&mut checkpoint, "transposed"), transposed);
    let mut piece = [0.0; 40];
    checkpoint.read("transposed", 100, &mut piece).unwrap();
    assert_eq!(piece, transposed[100..140]);

    let channels_last = read(&mut checkpoint, "channels_last");
    assert_eq!(channels_last.len(), 120);
    for (i, value) in channels_last.into_iter().enumerate() {
        let (n, c, y, x) = (i / 30, i / 10 % 3, i / 5 % 2, i % 5);
        assert_eq!(value, (10 + 30 * n + c + 15 * y + 3 * x) as f32);
    }
    assert_eq!(read(&mut checkpoint, "expanded"), [7.0, 8.0, 7.0, 8.0, 7.0, 8.0]);
    assert_eq!(read(&mut checkpoint, "part"), (4000..4096).map(|i| i as f32).collect::<Vec<_>>());
    assert_eq!(read(&mut checkpoint, "scalar"), [4095.0]);
    assert!(checkpoint.info("scalar").unwrap().shape.is_empty());
    assert_eq!(read(&mut checkpoint, "ones"), [5.0, 6.0]);
    assert!(read(&mut checkpoint, "empty").is_empty());
}

#[test]
fn a_transposed_matrix_may_be_larger_than_what_is_in_memory() {
    let (rows, columns) = (1500, 400);
    let bytes: Vec<u8> = (0..rows * columns).flat_map(|i| (i as f32).to_le_bytes()).collect();
    let view = View {
        storage: "FloatStorage",
        key: "0",
        elements: (rows * columns) as i64,
        offset: 0,
        shape: &[400, 1500],
        strides: &[1, 400],
    };
    let pickle = Pickle::new().state(&[("t", view)]).end();
    let mut checkpoint = open(Archive::torch(&pickle, &[("0", bytes)]).bytes()).unwrap();
    for (i, value) in read(&mut checkpoint, "t").into_iter().enumerate() {
        assert_eq!(value, (i % rows * columns + i / rows) as f32);
    }
}

#[test]
fn every_floating_point_type_is_converted_and_integers_are_no_weights() {
    let values = [0.0, -0.0, 1.0, -2.5, 65504.0, 0.000_061_035_156];
    // Sign, exponent and fraction by hand: 1, -2.5 and 2^-14.
    let f16: [u16; 6] = [0, 0x8000, 0x3c00, 0xc100, 0x7bff, 0x0400];
    let bf16: [u16; 3] = [0x3f80, 0xc020, 0x3880];
    let storages = [
        ("d", values.iter().flat_map(|v: &f64| v.to_le_bytes()).collect()),
        ("h", f16.iter().flat_map(|v| v.to_le_bytes()).collect()),
        ("b", bf16.iter().flat_map(|v| v.to_le_bytes()).collect()),
        ("i", vec![1; 8]),
    ];
    let view = |storage, key, shape: &'static [i64]| View {
        storage,
        key,
        elements: shape[0],
        offset: 0,
        shape,
        strides: &[1],
    };
    let pickle = Pickle::new()
        .state(&[
            ("double", view("DoubleStorage", "d", &[6])),
            ("half", view("HalfStorage", "h", &[6])),
            ("brain", view("BFloat16Storage", "b", &[3])),
            ("counter", view("LongStorage", "i", &[1])),
        ])
        .end();
    let mut checkpoint = open(Archive::torch(&pickle, &storages).bytes()).unwrap();
    let expected = values.map(|v| v as f32).map(f32::to_bits);
    for name in ["double", "half"] {
        let bits: Vec<u32> = read(&mut checkpoint, name).into_iter().map(f32::to_bits).collect();
        assert_eq!(bits, expected, "{name}");
    }
    assert_eq!(read(&mut checkpoint, "brain"), [1.0, -2.5, 2.0_f32.powi(-14)]);
    let error = checkpoint.read("counter", 0, &mut [0.0]).unwrap_err();
    insta::assert_snapshot!(error, @r"
    tensor `counter` in `net.pth` holds i64, and a weight must be f16, bf16, f32 or f64
    hint: convert it before saving: `tensor.float()`
    ");
    let error = checkpoint.read("countr", 0, &mut [0.0]).unwrap_err();
    insta::assert_snapshot!(error, @"`net.pth` has no tensor `countr`");
}

/// A pickle whose top level is a dict of states: in each, `w` is one element of a storage `0, 1, 2, ...`
fn states(names: &[&str]) -> Vec<u8> {
    let mut pickle = Pickle::new().raw(b"}(");
    for (offset, name) in (0..).zip(names) {
        let view = View { storage: "FloatStorage", key: "0", elements: 8, offset, shape: &[1], strides: &[1] };
        pickle = pickle.text(name).state(&[("w", view)]);
    }
    let pickle = pickle.text("epoch").int(299).text("lr").raw(b"G\0\0\0\0\0\0\0\0").text("args").raw(b"N");
    Archive::torch(&pickle.raw(b"u").end(), &[("0", counting(8))]).bytes()
}

#[test]
fn the_state_is_model_or_state_dict_or_the_one_that_is_named() {
    let cases = [
        (vec!["optimizer", "state_dict", "model", "model_ema"], None, 2.0),
        (vec!["optimizer", "state_dict", "model_ema"], None, 1.0),
        (vec!["optimizer", "state_dict", "model", "model_ema"], Some("model_ema"), 3.0),
    ];
    for (names, state, expected) in cases {
        let mut checkpoint = open_state(states(&names), state).unwrap();
        assert_eq!(read(&mut checkpoint, "w"), [expected], "{names:?} {state:?}");
    }
    for state in [None, Some("model")] {
        let error = open_state(states(&["model_ema", "ema2"]), state).unwrap_err();
        insta::allow_duplicates! {
            let text = error.to_string().replace(" `model`", "").replace(" under or `state_dict`, and isn't one itself", "");
            insta::assert_snapshot!(text, @r"
            `net.pth` has no state dict; it holds
              `model_ema`: a state dict of 1 tensor
              `ema2`: a state dict of 1 tensor
              `epoch`: an integer
              `lr`: a float
              `args`: None
            hint: name the state dict with `--state NAME`, or save it alone: `torch.save(model.state_dict(), ...)`
            ");
        }
    }
    let error =
        Checkpoint::open(&golden("layers/conv2d_half_budget.weights.safetensors"), Some("model_ema")).unwrap_err();
    let text = error.to_string();
    assert!(text.ends_with("so there is no `model_ema` in it\nhint: leave `--state` out"), "{text}");
}

#[test]
fn what_wrappers_put_before_all_names_is_dropped() {
    let names = |names: &[&str]| -> Vec<String> {
        let tensors: Vec<_> = names.iter().map(|&name| (name, whole("0", &[2], &[1]))).collect();
        let pickle = Pickle::new().state(&tensors).end();
        let checkpoint = open(Archive::torch(&pickle, &[("0", counting(2))]).bytes()).unwrap();
        checkpoint.tensors().map(|(name, _)| name.to_owned()).collect()
    };
    assert_eq!(names(&["module.a", "module.b.c"]), ["a", "b.c"]);
    assert_eq!(names(&["_orig_mod.module.a", "_orig_mod.module.b"]), ["a", "b"]);
    assert_eq!(names(&["module.a", "b"]), ["module.a", "b"]);
}

#[test]
fn what_training_files_hold_besides_is_skipped() {
    let view = whole("0", &[2], &[1]);
    // An ordered dict with `_metadata`, a parameter, a shared tensor, and values of every kind around it.
    let pickle = Pickle::new()
        .raw(b"}(")
        .text("args")
        .raw(b"cargparse\nNamespace\n)\x81}")
        .text("lr")
        .raw(b"G\x3f\x50\x62\x4d\xd2\xf1\xa9\xfcsb")
        .text("size")
        .raw(b"ctorch\nSize\n")
        .int(3)
        .raw(b"\x85\x85R")
        .text("dtype")
        .raw(b"ctorch\nfloat16\n")
        .text("names")
        .raw(b"c__builtin__\nset\n](")
        .text("a")
        .text("b")
        .raw(b"e\x85R")
        .text("seed")
        .raw(b"\x8a\x0a0123456789")
        .text("random")
        .raw(b"c_codecs\nencode\n")
        .text("\u{e9}")
        .text("latin1")
        .raw(b"\x86R")
        .text("model")
        .raw(b"ccollections\nOrderedDict\n)R(")
        .text("p")
        .raw(b"ctorch._utils\n_rebuild_parameter\n")
        .tensor(&view)
        .raw(b"q\x05\x88ccollections\nOrderedDict\n)R\x87R")
        .text("shared")
        .raw(b"h\x05u}")
        .text("_metadata")
        .raw(b"ccollections\nOrderedDict\n)R")
        .text("version")
        .raw(b"K\x01ssbu")
        .end();
    let mut checkpoint = open(Archive::torch(&pickle, &[("0", counting(2))]).bytes()).unwrap();
    assert_eq!(checkpoint.tensors().map(|(name, _)| name).collect::<Vec<_>>(), ["p", "shared"]);
    assert_eq!(read(&mut checkpoint, "p"), [0.0, 1.0]);
    assert_eq!(read(&mut checkpoint, "shared"), [0.0, 1.0]);
}

#[test]
fn newer_protocols_are_read() {
    let short = |text: &str| [&[0x8c, text.len() as u8], text.as_bytes(), b"\x94"].concat();
    let mut body = Pickle(Vec::new()).raw(b"}\x94(").raw(&short("w"));
    body = body.raw(&short("torch._utils")).raw(&short("_rebuild_tensor_v2")).raw(b"\x93\x94((");
    body = body.raw(&short("storage")).raw(&short("torch")).raw(&short("FloatStorage")).raw(b"\x93\x94");
    body = body.raw(&short("0")).raw(&short("cpu")).raw(b"K\x02t\x94QK\0K\x02\x85\x94K\x01\x85\x94\x89");
    body = body.raw(&short("collections")).raw(&short("OrderedDict")).raw(b"\x93\x94)R\x94t\x94R\x94u.");
    for protocol in [4, 5] {
        let head = [&[0x80, protocol, 0x95][..], &(body.0.len() as u64).to_le_bytes()].concat();
        let pickle = [head, body.0.clone()].concat();
        let mut checkpoint = open(Archive::torch(&pickle, &[("0", counting(2))]).bytes()).unwrap();
        assert_eq!(read(&mut checkpoint, "w"), [0.0, 1.0]);
    }
}

#[test]
fn large_archives_keep_their_sizes_in_extra_fields() {
    let pickle = Pickle::new().state(&[("w", whole("0", &[4], &[1]))]).end();
    let mut archive = Archive::torch(&pickle, &[("0", counting(4))]);
    archive.zip64 = true;
    assert_eq!(read(&mut open(archive.bytes()).unwrap(), "w"), [0.0, 1.0, 2.0, 3.0]);
}

#[test]
fn a_state_in_memory_is_written_as_safetensors() {
    let mut state = State::default();
    state.insert("z", vec![2, 3], vec![1.0, -2.0, 3.5, 0.0, 1e-30, 7.0]).unwrap();
    state.insert("a", vec![], vec![9.0]).unwrap();
    state.insert("none", vec![0, 4], vec![]).unwrap();
    let written = |state: &State| {
        let mut bytes = Vec::new();
        state.write_safetensors(&mut bytes).unwrap();
        bytes
    };
    let bytes = written(&state);
    assert_eq!(bytes, written(&state.clone()));

    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let z: Vec<u8> = [1.0_f32, -2.0, 3.5, 0.0, 1e-30, 7.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    assert_eq!((tensors.tensor("z").unwrap().shape(), tensors.tensor("z").unwrap().data()), (&[2, 3][..], &z[..]));
    assert_eq!(tensors.tensor("a").unwrap().data(), 9.0_f32.to_le_bytes());
    assert_eq!(tensors.len(), 3);

    let mut checkpoint = open(bytes).unwrap();
    assert_eq!(read(&mut checkpoint, "z"), [1.0, -2.0, 3.5, 0.0, 1e-30, 7.0]);
    assert_eq!(checkpoint.info("none").unwrap().shape, [0, 4]);

    let mut two = [0.0; 2];
    state.read("z", 1, &mut two).unwrap();
    assert_eq!(two, [-2.0, 3.5]);
    let errors = [
        state.read("z", 5, &mut two).unwrap_err().to_string(),
        state.read("y", 0, &mut two).unwrap_err().to_string(),
        state.insert("q", vec![2, 2], vec![0.0; 3]).unwrap_err().to_string(),
    ];
    insta::assert_snapshot!(errors.join("\n"), @r"
    tensor `z` in `the state in memory` has 6 elements; 5 to 7 were asked for
    `the state in memory` has no tensor `y`
    tensor `q` has shape [2, 2], which 3 elements don't fill
    ");
}
