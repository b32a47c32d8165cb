//! Golden networks, whole.
