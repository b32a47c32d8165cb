//! The plan report: what a partition costs, for people and for machines.
