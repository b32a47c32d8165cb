//! Checkpoints: safetensors and PyTorch archives.

use std::path::{Path, PathBuf};

use kwc_compiler::weights::{Checkpoint, Dtype, Tensors};
use safetensors::SafeTensors;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name)
}

fn read(checkpoint: &mut Checkpoint, name: &str) -> Vec<f32> {
    let mut values = vec![f32::NAN; checkpoint.info(name).unwrap().elements()];
    checkpoint.read(name, 0, &mut values).unwrap();
    values
}

/// The tensors of a safetensors file in f32, through the safetensors crate alone. Counters are left out.
fn reference(name: &str) -> Vec<(String, Vec<usize>, Vec<f32>)> {
    let bytes = std::fs::read(golden(name)).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut list = Vec::new();
    for (name, view) in tensors.iter() {
        let values = match view.dtype() {
            safetensors::Dtype::F32 => {
                view.data().chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
            }
            safetensors::Dtype::F16 => {
                view.data().chunks(2).map(|b| half::f16::from_le_bytes(b.try_into().unwrap()).to_f32()).collect()
            }
            safetensors::Dtype::I64 => continue,
            other => panic!("{name} is {other}"),
        };
        list.push((name.to_owned(), view.shape().to_vec(), values));
    }
    assert!(!list.is_empty());
    list
}

#[test]
fn safetensors_and_archives_of_one_state_hold_the_same_values() {
    let cases = [
        ("networks/resnet18_static.pth", "networks/resnet18_static.weights.safetensors"),
        ("networks/resnet18_static.weights.safetensors", "networks/resnet18_static.weights.safetensors"),
        ("layers/conv2d_half_budget.dataparallel.pth", "layers/conv2d_half_budget.weights.safetensors"),
        ("layers/conv2d_half_budget.weights.safetensors", "layers/conv2d_half_budget.weights.safetensors"),
    ];
    for (file, same) in cases {
        let mut checkpoint = Checkpoint::open(&golden(file), None).unwrap();
        let expected = reference(same);
        let names = checkpoint.tensors().filter(|(_, info)| info.dtype != Dtype::I64).count();
        assert_eq!(names, expected.len(), "{file}");
        for (name, shape, values) in expected {
            assert_eq!(checkpoint.info(&name).unwrap().shape, shape, "{file}: {name}");
            assert_eq!(read(&mut checkpoint, &name), values, "{file}: {name}");
        }
    }
}
