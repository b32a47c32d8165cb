//! Weights: reading checkpoints, comparing them with a network's state dict, packing them for a Program.

pub mod pack;
