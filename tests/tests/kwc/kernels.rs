//! The CPU's operations against plain loops.
