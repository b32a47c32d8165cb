//! Tests of kwc live in this package.
