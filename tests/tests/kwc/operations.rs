//! Golden operations.
