//! Checkpoints: safetensors and PyTorch archives.
