//! Golden layers.
