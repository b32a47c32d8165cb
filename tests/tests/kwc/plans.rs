//! Golden plans and the paper's parameter counts.
