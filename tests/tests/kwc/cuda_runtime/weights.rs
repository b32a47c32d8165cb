//! Files of packed weights, and weights of other Programs.

use std::fs;

use kwc_runtime::Error;
use kwc_runtime::cuda::{Model, PackedWeights};
use safetensors::SafeTensors;

use super::{code, device, program, weights};
use crate::vgpu::Vgpu;

/// What is wrong with a file of weights.
#[track_caller]
fn problem(error: Error) -> String {
    let Error::WeightsFile { file, problem } = error else { panic!("{error}") };
    assert!(!file.is_empty());
    problem
}

#[test]
fn a_file_gives_back_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let (path, again) = (folder.path().join("small.weights"), folder.path().join("again.weights"));
    let weights = weights();
    weights.write(&path).unwrap();
    let read = PackedWeights::read(&path).unwrap();
    assert_eq!(read, weights);
    assert_eq!((read.network(), read.weights_id()), ("small", program().weights_id.as_ref()));
    read.write(&again).unwrap();
    let bytes = fs::read(&path).unwrap();
    assert_eq!(fs::read(&again).unwrap(), bytes);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "no temporary file stays");
    assert_eq!(PackedWeights::from_file_bytes("embedded", &bytes).unwrap(), weights);

    // Another reader of the format sees the same.
    let file = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.tensor("weights").unwrap().data(), weights.bytes());
    let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    let metadata = metadata.metadata().as_ref().unwrap();
    assert_eq!(metadata["sha256"], kwc_compiler::hash::of(weights.bytes()));
    assert_eq!(weights.sha256(), metadata["sha256"]);
    assert_eq!(metadata["network"], "small");
    assert_eq!((&*metadata["format"], &*metadata["target"]), ("2", "cuda"));
}

#[test]
fn a_name_of_any_characters_survives() {
    let mut program = program();
    program.name = "\"ein\\netz\" \u{1F600}\n".into();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w");
    let weights = PackedWeights::new(&program, vec![7; 512]).unwrap();
    weights.write(&path).unwrap();
    assert_eq!(PackedWeights::read(&path).unwrap().network(), program.name);
}

#[test]
fn damaged_and_foreign_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("small.weights");
    weights().write(&path).unwrap();
    let bytes = fs::read(&path).unwrap();
    let refused = |bytes: &[u8]| {
        let embedded = problem(PackedWeights::from_file_bytes("embedded", bytes).unwrap_err());
        fs::write(&path, bytes).unwrap();
        assert_eq!(problem(PackedWeights::read(&path).unwrap_err()), embedded);
        embedded
    };
    // Cut off at every place, from the front to the last byte.
    for length in 0..bytes.len() {
        let problem = refused(&bytes[..length]);
        assert!(problem.contains("no file of packed weights") || problem.contains("cut off"), "{length}: {problem}");
    }
    assert!(refused(&[bytes.as_slice(), b"x"].concat()).contains("added to"));
    // Every bit of the weights counts.
    for place in [bytes.len() - 1, bytes.len() - 256, bytes.len() - 512] {
        let mut changed = bytes.clone();
        changed[place] ^= 1;
        assert!(refused(&changed).contains("it is damaged, copy it again"), "{place}");
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let mut other = bytes.clone();
    let place = text.find("\"format\":\"2\"").unwrap() + "\"format\":\"".len();
    other[place] = b'3';
    assert!(refused(&other).contains("it has format 3, and this runtime reads 2: pack the checkpoint again"));
    assert!(refused(&[0xff; 100]).contains("`kwc compile --weights` makes one"));
    // A safetensors file of other things.
    let checkpoint = b"{\"fc.weight\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}";
    let file = [(checkpoint.len() as u64).to_le_bytes().as_slice(), checkpoint, &[0; 4]].concat();
    assert!(refused(&file).contains("its metadata have no `format`"));
    // A header that promises more than memory holds.
    let header = text[8..].split_once("}}").unwrap().0.replace("512", "18446744073709551615");
    let header = format!("{header}}}}}");
    let file = [(header.len() as u64).to_le_bytes().as_slice(), header.as_bytes(), &[0; 512]].concat();
    refused(&file);

    let missing = problem(PackedWeights::read(&folder.path().join("none")).unwrap_err());
    assert!(missing.contains("No such file"), "{missing}");
    problem(PackedWeights::read(folder.path()).unwrap_err());
    problem(weights().write(&folder.path().join("none/w")).unwrap_err());
}

#[test]
fn weights_of_another_program_are_refused() {
    let error = PackedWeights::new(&program(), vec![0; 511]).unwrap_err();
    assert!(error.to_string().contains("its weights take 512 bytes, and 511 are packed"), "{error}");
    let _ = Vgpu::new().body(|| {
        let mut other = program();
        other.name = "other".into();
        other.weights_id = "f".repeat(64).into();
        let packed = PackedWeights::new(&other, vec![0; 512]).unwrap();
        let error = Model::load(&device(), &program(), &code(), &packed).unwrap_err();
        let expected = Error::WeightsId {
            network: "small".to_owned(),
            expected: program().weights_id.to_string(),
            found_network: "other".to_owned(),
            found: "f".repeat(64),
        };
        assert_eq!(error, expected);
        assert!(error.to_string().contains("pack the checkpoint for this program"));
    });
}
