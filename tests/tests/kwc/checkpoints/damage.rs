//! Files that are broken, hostile or something else: an error every time, never a panic, never a large allocation.

use std::fmt::Write as _;
use std::fs;

use kwc_compiler::weights::{Checkpoint, Error, Tensors};
use proptest::prelude::*;

use super::archive::{Archive, Method, Pickle, View};
use super::{counting, golden, open, whole};

/// Opens bytes and, if that works, reads all tensors. That it returns is the point.
fn survive(bytes: Vec<u8>) -> Result<(), Error> {
    let mut checkpoint = open(bytes)?;
    let tensors: Vec<(String, usize)> =
        checkpoint.tensors().map(|(name, info)| (name.to_owned(), info.elements())).collect();
    let mut out = vec![0.0; 1000];
    for (name, elements) in tensors {
        checkpoint.read(&name, 0, &mut out[..elements.min(1000)])?;
        checkpoint.read(&name, elements.saturating_sub(1), &mut out[..elements.min(1)])?;
    }
    Ok(())
}

/// A small archive with two states and a strided tensor.
fn small_pickle() -> Vec<u8> {
    let strided = View { storage: "FloatStorage", key: "1", elements: 6, offset: 0, shape: &[3, 2], strides: &[1, 3] };
    Pickle::new()
        .raw(b"}(")
        .text("model")
        .state(&[("a.weight", whole("0", &[2, 3], &[3, 1])), ("b.weight", strided.clone())])
        .text("model_ema")
        .state(&[("a.weight", whole("0", &[6], &[1]))])
        .text("args")
        .raw(b"cargparse\nNamespace\n)\x81}")
        .text("lr")
        .raw(b"G\x3f\x50\x62\x4d\xd2\xf1\xa9\xfcsbu")
        .end()
}

fn small_archive() -> Vec<u8> {
    Archive::torch(&small_pickle(), &[("0", counting(6)), ("1", counting(6))]).bytes()
}

#[test]
fn a_truncated_file_is_an_error() {
    survive(small_archive()).unwrap();
    let small = small_archive();
    for length in 0..small.len() {
        assert!(survive(small[..length].to_vec()).is_err(), "{length}");
    }
    for file in ["layers/conv2d_half_budget.f16.pth", "layers/conv2d_half_budget.weights.safetensors"] {
        let bytes = fs::read(golden(file)).unwrap();
        for length in (0..bytes.len()).step_by(997) {
            assert!(open(bytes[..length].to_vec()).is_err(), "{file}, {length}");
        }
    }
}

#[test]
fn flipped_bits_never_panic() {
    let small = small_archive();
    let safetensors = fs::read(golden("layers/linear.weights.safetensors")).unwrap();
    let header = safetensors.len().min(1000);
    for (bytes, end) in [(&small, small.len()), (&safetensors, header)] {
        for at in 0..end {
            for mask in [1, 0x80, 0xff] {
                let mut bytes = bytes.clone();
                bytes[at] ^= mask;
                let _ = survive(bytes);
            }
        }
    }
}

#[test]
fn a_pickle_with_flipped_bits_never_panics() {
    // Around the checksum: the archive is made anew for every pickle.
    let pickle = small_pickle();
    let storages = [("0", counting(6)), ("1", counting(6))];
    for at in 0..pickle.len() {
        for mask in [1, 2, 0x10, 0x80, 0xff] {
            let mut pickle = pickle.clone();
            pickle[at] ^= mask;
            let _ = survive(Archive::torch(&pickle, &storages).bytes());
        }
        assert!(survive(Archive::torch(&pickle[..at], &storages).bytes()).is_err(), "{at}");
    }
}

/// Instructions of pickles, whole and with plausible arguments.
fn instruction() -> impl Strategy<Value = Vec<u8>> {
    let whole = prop::sample::select(vec![
        "N",
        "}",
        "]",
        ")",
        "(",
        "t",
        "u",
        "s",
        "a",
        "e",
        "l",
        "d",
        "b",
        "R",
        "Q",
        "0",
        "1",
        "2",
        ".",
        "K\u{2}",
        "h\u{1}",
        "q\u{1}",
        "X\u{7}\0\0\0storage",
        "X\u{1}\0\0\0a",
        "ctorch\nFloatStorage\n",
        "ctorch._utils\n_rebuild_tensor_v2\n",
        "ccollections\nOrderedDict\n",
        "cargparse\nNamespace\n",
        "ctorch\nSize\n",
        "ctorch._utils\n_rebuild_parameter\n",
    ]);
    prop_oneof![
        4 => whole.prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::sample::select(vec![0x81_u8, 0x85, 0x86, 0x87, 0x88, 0x8f, 0x90, 0x91, 0x93, 0x94]).prop_map(|b| vec![b]),
        1 => any::<u8>().prop_map(|b| vec![b]),
        1 => any::<i64>().prop_map(|v| Pickle(Vec::new()).int(v).0),
    ]
}

proptest! {
    #[test]
    fn any_program_is_read_or_refused(program in prop::collection::vec(instruction(), 0..60)) {
        let pickle = [b"\x80\x02".to_vec(), program.concat()].concat();
        let _ = survive(Archive::torch(&pickle, &[("a", counting(6))]).bytes());
    }

    #[test]
    fn any_bytes_are_read_or_refused(head in 0..4_usize, bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let heads: [&[u8]; 4] = [b"", b"PK\x03\x04", b"\x10\0\0\0\0\0\0\0{", b"\x80\x02"];
        let _ = survive([heads[head], &bytes].concat());
    }
}

#[test]
fn sizes_that_are_only_claimed_are_not_allocated() {
    let claims = [u64::MAX, u64::MAX / 2, 1 << 40, 1 << 27, 100_000_000];
    for claim in claims {
        let file = [&claim.to_le_bytes()[..], b"{\"a\":1}"].concat();
        assert!(matches!(open(file), Err(Error::Damaged { .. })), "header of {claim}");
    }
    let tensor = |dims: &str, end: u64| {
        let header = format!(r#"{{"a":{{"dtype":"F32","shape":{dims},"data_offsets":[0,{end}]}}}}"#);
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat()
    };
    for (dims, end) in
        [("[4611686018427387904]", 0), ("[1000000000000]", 4_000_000_000_000), ("[65536,65536,65536,65536]", 0)]
    {
        assert!(matches!(open(tensor(dims, end)), Err(Error::Damaged { .. })), "{dims}");
    }
    for (opcode, width) in [(b'X', 4), (b'B', 4), (0x8b, 4), (0x8d, 8), (0x8e, 8), (0x96, 8), (0x95, 8)] {
        let pickle = Pickle::new().raw(&[opcode]).raw(&[0xff; 8][..width]).raw(b"abc.");
        assert!(matches!(open(Archive::torch(&pickle.0, &[]).bytes()), Err(Error::Damaged { .. })), "{opcode:#x}");
    }
    let huge = 1 << 62;
    let view =
        |elements, offset, shape, strides| View { storage: "FloatStorage", key: "0", elements, offset, shape, strides };
    let views = [
        view(huge, 0, &[2], &[1]),
        view(6, 0, &[1 << 62], &[1]),
        view(6, 0, &[1 << 62], &[0]),
        view(6, 0, &[1 << 40, 1 << 40], &[0, 0]),
        view(6, 0, &[2, 2], &[i64::MAX, 1]),
        view(6, i64::MAX, &[2], &[1]),
        view(6, 5, &[2], &[1]),
        view(-1, 0, &[2], &[1]),
        view(6, -1, &[2], &[1]),
        view(6, 0, &[-2], &[1]),
        view(6, 5, &[2], &[-1]),
        view(6, 0, &[2], &[1, 1]),
        view(5, 0, &[2], &[1]),
        view(7, 0, &[2], &[1]),
    ];
    for view in views {
        let pickle = Pickle::new().state(&[("w", view.clone())]).end();
        let error = survive(Archive::torch(&pickle, &[("0", counting(6))]).bytes()).unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{:?} {:?}: {error}", view.shape, view.strides);
    }
    // Many elements that are all the same one take no memory and are fine.
    let pickle = Pickle::new().state(&[("w", view(6, 0, &[1 << 40], &[0]))]).end();
    survive(Archive::torch(&pickle, &[("0", counting(6))]).bytes()).unwrap();
}

#[test]
fn deep_and_long_pickles_are_bounded() {
    let deep = Pickle::new().raw(b")").raw(&[0x85; 500_000]).end();
    assert!(matches!(open(Archive::torch(&deep, &[]).bytes()), Err(Error::Unsupported { .. })));
    let marks = Pickle::new().raw(&[b'('; 2_000_000]).end();
    assert!(matches!(open(Archive::torch(&marks, &[]).bytes()), Err(Error::Damaged { .. })));
    let values = Pickle::new().raw(&[b'}'; 2_000_000]).end();
    assert!(matches!(open(Archive::torch(&values, &[]).bytes()), Err(Error::Unsupported { .. })));
    let copies = Pickle::new().raw(b"}").raw(&[b'2'; 2_000_000]).end();
    assert!(matches!(open(Archive::torch(&copies, &[]).bytes()), Err(Error::Damaged { .. })));
    // One large tuple as the shape of many tensors must not be copied into each.
    let mut pickle = Pickle::new().raw(b"(").raw(&[b'N'; 400_000]).raw(b"tq\x010}(");
    for i in 0..50_000 {
        pickle = pickle.int(i).raw(b"ctorch\nSize\nh\x01\x85R");
    }
    assert!(open(Archive::torch(&pickle.raw(b"u").end(), &[]).bytes()).is_err());
}

#[test]
fn nothing_but_a_state_dict_is_loaded() {
    let view = whole("0", &[6], &[1]);
    let file = |pickle: &[u8]| Archive::torch(pickle, &[("0", counting(6))]).bytes();
    let state = |name: &str| Pickle::new().raw(b"}(").text("model").state(&[("w", view.clone())]).text(name);
    let cases = [
        ("a command", state("x").raw(b"cos\nsystem\n").text("touch this").raw(b"\x85Ru").end()),
        (
            "a command, by protocol 4",
            state("x").text("posix").text("system").raw(b"\x93").text("ls").raw(b"\x85Ru").end(),
        ),
        ("code", state("x").raw(b"cbuiltins\neval\n").text("1").raw(b"\x85Ru").end()),
        ("only named, never called", state("x").raw(b"csubprocess\nPopen\nu").end()),
        ("a number of numpy's", state("best_acc").raw(b"cnumpy.core.multiarray\nscalar\nu").end()),
        ("a whole model", Pickle::new().raw(b"cmodels.resnet\nResNet\n)\x81").end()),
        ("an unknown storage", state("q").raw(b"ctorch\nQInt8Storage\nu").end()),
        ("a name with control characters", state("q").raw(b"cterm\x1b[2J\nx\ry\nu").end()),
        ("an extension code", state("q").raw(b"\x82\x01u").end()),
        ("protocol 0", b"(dp0\n.".to_vec()),
        ("a list", Pickle::new().raw(b"]").end()),
        ("an empty dict", Pickle::new().raw(b"}").end()),
        (
            "tensors beside something else",
            Pickle::new().state(&[("w", view.clone())]).raw(b"(").text("n").raw(b"Nu").end(),
        ),
    ];
    let mut texts = String::new();
    for (what, pickle) in cases {
        let error = open(file(&pickle)).unwrap_err();
        let _ = writeln!(texts, "# {what}\n{error}\n");
    }
    insta::assert_snapshot!("refused", texts.trim_end());
}

#[test]
fn files_of_other_kinds_are_told_apart() {
    let state = Pickle::new().state(&[("w", whole("0", &[6], &[1]))]).end();
    let with = |extra: &[(&str, &[u8])]| {
        let mut archive = Archive::torch(&state, &[("0", counting(6))]);
        for (name, bytes) in extra {
            archive.add(name, bytes.to_vec());
        }
        archive.bytes()
    };
    let mut big_endian = Archive::default();
    big_endian.add("n/data.pkl", state.clone()).add("n/byteorder", b"big".to_vec()).add("n/data/0", counting(6));
    let mut compressed = Archive::default();
    compressed.add("n/data.pkl", state.clone()).add_as("n/data/0", counting(6), Method::Deflated);
    let mut tar = vec![0; 600];
    tar[257..262].copy_from_slice(b"ustar");
    let wrong_type = br#"{"a":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]}}"#;
    let safetensors = |header: &[u8], data: &[u8]| [&(header.len() as u64).to_le_bytes()[..], header, data].concat();
    let mut broken_pickle = with(&[]);
    let elements = broken_pickle.windows(7).position(|bytes| bytes == b"J\x06\0\0\0tQ").unwrap();
    broken_pickle[elements + 1] ^= 1;
    let cases = [
        ("nothing", Vec::new()),
        ("text", b"not a checkpoint, whatever its name says\n".to_vec()),
        ("tar", tar),
        ("legacy", b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.".to_vec()),
        ("a bare pickle", b"\x80\x04}.".to_vec()),
        ("gzip", b"\x1f\x8b\x08\0\0\0\0\0".to_vec()),
        ("git-lfs", b"version https://git-lfs".to_vec()),
        ("a zip archive of arrays", Archive::default().add("a.npy", vec![1, 2]).bytes()),
        ("TorchScript", with(&[("net/constants.pkl", b"\x80\x02).")])),
        ("two folders", with(&[("other/data.pkl", b"\x80\x02}.")])),
        ("one name twice", with(&[("net/data/0", b"")])),
        ("big-endian", big_endian.bytes()),
        ("compressed", compressed.bytes()),
        ("no storage", Archive::torch(&state, &[]).bytes()),
        ("a short storage", Archive::torch(&state, &[("0", counting(5))]).bytes()),
        ("a wrong checksum", broken_pickle),
        ("half an archive", with(&[])[..200].to_vec()),
        ("no JSON", safetensors(b"{\"a\": \x1b}", b"")),
        ("no offsets", safetensors(br#"{"a":{"dtype":"F32","shape":[1]}}"#, b"")),
        ("data missing", safetensors(br#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, b"ab")),
        ("data left over", safetensors(br#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, b"abcdef")),
        ("a type of eight bits", safetensors(wrong_type, b"a")),
    ];
    let mut texts = String::new();
    for (what, bytes) in cases {
        let error = open(bytes).unwrap_err();
        let _ = writeln!(texts, "# {what}\n{error}\n");
    }
    insta::assert_snapshot!("kinds", texts.trim_end());

    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path().to_owned(), folder.path().join("none.pth")] {
        assert!(matches!(Checkpoint::open(&path, None), Err(Error::Read { .. })), "{path:?}");
    }
}
