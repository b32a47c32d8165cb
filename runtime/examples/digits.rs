//! A network inside a program: reads a handwritten digit and says which it is.
//!
//! The network is compiled while this program is; its weights are packed ahead, by the same options:
//!
//! ```sh
//! kwc compile tests/cases/digits_resnet18_kw1x.yaml --weights tests/golden/digits/digits_resnet18_kw1x.pth -o digits
//! cargo run --release -p kwc-runtime --example digits -- digits/weights.safetensors seven.pgm
//! ```
//!
//! The image is a grey one of 28x28 pixels in the binary PGM format, white on black.

#![expect(clippy::print_stdout, reason = "the result goes to standard output")]

use std::error::Error;
use std::path::Path;

use kwc_runtime::cuda::{Device, PackedWeights};

mod network {
    kwc_runtime::include_model!("../tests/cases/digits_resnet18_kw1x.yaml", target = cuda);
}

/// Width and height of the network's input.
const SIZE: usize = 28;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [weights, image] = arguments.as_slice() else {
        return Err("usage: digits WEIGHTS.safetensors IMAGE.pgm".into());
    };
    let image = pixels(&std::fs::read(image)?)?;
    let device = Device::new(0)?;
    let weights = PackedWeights::read(Path::new(weights))?;
    let mut model = network::Model::load(&device, &weights)?;
    let scores = model.run(1, &image)?.output;
    let best = scores.iter().enumerate().max_by(|(_, a), (_, b)| a.total_cmp(b));
    let (digit, score) = best.ok_or("the network has no classes")?;
    let all: f32 = scores.iter().map(|other| (other - score).exp()).sum();
    println!("{digit}, {:.1} %", 100.0 / all);
    Ok(())
}

/// The input that an image is: pixels from 0 to 1, normalised as in training.
fn pixels(file: &[u8]) -> Result<Vec<f32>, String> {
    let body = file.len().checked_sub(SIZE * SIZE).ok_or("the image is too small")?;
    let (header, pixels) = file.split_at(body);
    let words: Vec<&[u8]> = header.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect();
    if words != [b"P5".as_slice(), b"28", b"28", b"255"] {
        return Err("the image is no binary PGM file of 28x28 pixels".to_owned());
    }
    Ok(pixels.iter().map(|&pixel| (f32::from(pixel) / 255.0 - 0.1307) / 0.3081).collect())
}
