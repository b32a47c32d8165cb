//! The trained digits network.
