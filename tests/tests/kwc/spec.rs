//! The spec language: what a spec means.
