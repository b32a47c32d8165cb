//! Linear layers: convolutions of tokens by a kernel of one position.

use super::Random;
use super::convolution::Case;

#[test]
fn linear_layers_follow_the_definition() {
    let mut random = Random(0x11e);
    for _ in 0..150 {
        let (batch, tokens) = (random.between(1, 6), random.pick(&[1, 1, 2, 3, 17, 50]));
        Case::pointwise(batch, (random.between(1, 40), random.between(1, 40)), tokens).check(&mut random);
    }
}

#[test]
fn large_linear_layers_follow_the_definition() {
    let mut random = Random(0x1a59e);
    for (batch, ins, outs, tokens) in
        [(1, 700, 150, 1), (13, 530, 130, 1), (2, 300, 130, 30), (1, 40, 600, 120), (1, 260, 10, 1100)]
    {
        for _ in 0..3 {
            Case::pointwise(batch, (ins, outs), tokens).check(&mut random);
        }
    }
}
