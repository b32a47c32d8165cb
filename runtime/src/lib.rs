//! Runtime of compiled KernelWarehouse networks.
